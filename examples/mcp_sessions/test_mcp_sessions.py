"""Calls of an MCP server through a pool of sessions, over stdio and over streamable HTTP.

Run them with their budgets: pytest examples --perf-budget examples/budgets.toml
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import mcp
import pytest
import pytest_asyncio
from mcp_sessions.sessions import Session, session_pool

from pytest_agentperf import PerfTimer
from pytest_agentperf.reference.pool import Pool

pytestmark = pytest.mark.asyncio

SERVER = str(Path(__file__).with_name("server.py"))
CITIES = ["Paris", "Oslo", "Lima", "Cairo"] * 4


@asynccontextmanager
async def http_server() -> AsyncIterator[str]:
    """Start the server on a free port of this machine; end it afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(sys.executable, SERVER, "http", str(port))
    try:
        async with asyncio.timeout(30):
            while not await is_listening(port):
                assert process.returncode is None, "the server did not start"
                await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def is_listening(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@pytest_asyncio.fixture(params=["stdio", "streamable HTTP"])
async def pool(request: pytest.FixtureRequest) -> AsyncIterator[Pool[Session]]:
    """Open two sessions, close them in another task than opened them, and leave nothing behind."""
    async with contextlib.AsyncExitStack() as stack:
        server: str | mcp.StdioServerParameters
        if request.param == "stdio":
            server = mcp.StdioServerParameters(command=sys.executable, args=[SERVER, "stdio"])
        else:
            server = await stack.enter_async_context(http_server())
        pool = session_pool(server)
        await pool.start()
        yield pool
        await pool.close(timeout=10)
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def forecast(pool: Pool[Session], city: str, delay: float = 0.005) -> Session:
    """Ask for a forecast, check the answer and return the session that gave it."""
    async with pool.acquire() as owned:
        arguments = {"city": city, "delay": delay}
        result = await owned.session.call_tool("forecast", arguments)
        assert result.structured_content == {"result": f"It will be sunny in {city}."}
        return owned


# Sixteen callers at once share two sessions; each gets the answer to its own question.
@pytest.mark.perf(rounds=5)
@pytest.mark.perf_budget(latency="10s")
async def test_callers_share_sessions(perf_timer: PerfTimer, pool: Pool[Session]) -> None:
    async def ask_all() -> None:
        used = await asyncio.gather(*(forecast(pool, city) for city in CITIES))
        assert len(set(used)) == 2

    await perf_timer(ask_all)
    assert (pool.stats().created, pool.stats().errors) == (2, 0)


# One after the other, the callers go round.
async def test_sessions_take_turns(pool: Pool[Session]) -> None:
    used = [await forecast(pool, "Oslo") for _ in range(4)]
    assert used[:2] == used[2:]
    assert used[0] is not used[1]


# A caller that gives up harms neither the session nor the others that use it.
async def test_session_survives_a_cancelled_call(pool: Pool[Session]) -> None:
    patient = asyncio.create_task(forecast(pool, "Lima", delay=0.5))
    callers = [asyncio.create_task(forecast(pool, "Oslo", delay=60)) for _ in range(4)]
    await asyncio.sleep(0.1)
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    assert all(caller.cancelled() for caller in callers)
    await patient
    assert {await forecast(pool, "Paris") for _ in range(2)} >= {patient.result()}
    assert (pool.stats().created, pool.stats().closed) == (2, {})


# A server that dies takes its callers' answers along, but not the pool.
@pytest.mark.parametrize("pool", ["stdio"], indirect=True)
async def test_pool_replaces_a_session_whose_server_was_killed(pool: Pool[Session]) -> None:
    async with pool.acquire() as owned:
        result = await owned.session.call_tool("process")
        assert result.structured_content is not None
    calls = [asyncio.create_task(forecast(pool, "Oslo", delay=60)) for _ in range(4)]
    await asyncio.sleep(0.1)
    os.kill(result.structured_content["result"], signal.SIGKILL)
    done, _ = await asyncio.wait(calls, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    assert all(isinstance(call.exception(), mcp.MCPError) for call in done)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    await asyncio.gather(*(forecast(pool, city) for city in CITIES))
    await pool.start()  # waits for the new session
    assert (pool.stats().created, pool.stats().closed) == (3, {"broken": 1})
