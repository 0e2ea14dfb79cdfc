"""Tests of pool waits: connections of HTTP clients, and threads of executors."""

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import anyio
import httpcore
import httpx
import pytest

from pytest_agentperf.measure.concurrency.waits import poolwaits
from pytest_agentperf.measure.concurrency.waits.ledger import WaitLedger

from ...conftest import FakeClock  # noqa: TID252 -- the fixtures of the layer

pytestmark = pytest.mark.asyncio

ANSWER = [b"HTTP/1.1 200 OK\r\n", b"Content-Length: 2\r\n", b"\r\n", b"ok"]


@pytest.fixture
def ledger(clock: FakeClock) -> WaitLedger:
    return WaitLedger(clock)


@pytest.fixture(params=["httpcore", "httpcore2"])
def core(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


def pool_of(core: ModuleType, size: int) -> Any:
    """Return a pool of connections that lead to a script."""
    return core.AsyncConnectionPool(
        max_connections=size, network_backend=core.AsyncMockBackend(ANSWER * 10)
    )


@pytest.mark.parametrize(("size", "count"), [(1, 1), (2, 0)])
async def test_connection_of_httpcore_is_waited_for_when_all_are_in_use(
    core: Any, size: int, count: int, ledger: WaitLedger, clock: FakeClock
) -> None:
    async def ask(pool: Any) -> None:
        async with pool.stream("GET", "http://example.com/") as response:
            clock.advance(0.5)
            await response.aread()

    ledger.start()
    async with pool_of(core, size) as pool, pool.stream("GET", "http://example.com/") as first:
        asking = asyncio.create_task(ask(pool))
        for _ in range(20):
            await asyncio.sleep(0)
        clock.advance(0.25)
        await first.aread()
        await first.aclose()
        await asking
    ledger.stop()
    pools = [total for total in ledger.totals if total.kind == "pool"]
    assert sum(total.count for total in pools) == count
    assert [(total.name, total.seconds) for total in pools] == [
        ("connection of httpcore to http://example.com:80", 0.25)
    ][:count]
    assert "event" not in {total.kind for total in ledger.totals}


async def test_connection_of_httpx_is_waited_for_with_the_users_line(ledger: WaitLedger) -> None:
    async def ask(client: httpx.AsyncClient) -> None:
        await client.get("http://example.com/")

    transport = httpx.AsyncHTTPTransport()
    transport._pool = pool_of(httpcore, 1)
    async with httpx.AsyncClient(transport=transport) as client:
        ledger.start()
        await asyncio.gather(*(ask(client) for _ in range(2)))
        ledger.stop()
    (total,) = (total for total in ledger.totals if total.kind == "pool")
    assert total.longest.place
    assert total.longest.place.function == "ask"


async def test_connection_of_httpcore_is_waited_for_under_trio(clock: FakeClock) -> None:
    def run() -> WaitLedger:
        ledger = WaitLedger(clock)

        async def work() -> None:
            async def ask() -> None:
                await pool.request("GET", "http://example.com/")

            async with pool_of(httpcore, 1) as pool, anyio.create_task_group() as group:
                ledger.start()
                for _ in range(3):
                    group.start_soon(ask)
            ledger.stop()

        anyio.run(work, backend="trio")
        return ledger

    ledger = await asyncio.to_thread(run)
    assert [total.kind for total in ledger.totals] == ["pool"]


@pytest.mark.parametrize(("size", "count"), [(1, 1), (2, 0)])
async def test_connection_of_aiohttp_is_waited_for_when_all_are_in_use(
    size: int, count: int, ledger: WaitLedger
) -> None:
    aiohttp = pytest.importorskip("aiohttp")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"".join(ANSWER))
        writer.close()

    async def ask(session: Any) -> None:
        async with session.get(url) as response:
            await response.read()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    url = f"http://{host}:{port}/"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=size)) as session:
        ledger.start()
        await asyncio.gather(ask(session), ask(session))
        ledger.stop()
    server.close()
    await asyncio.sleep(0.01)  # aiohttp has no way to wait for its connections' end
    pools = [total for total in ledger.totals if total.kind == "pool"]
    assert sum(total.count for total in pools) == count
    assert {total.name for total in pools} == {
        name for name in [f"connection of aiohttp to {host}:{port}"] if count
    }


async def test_pool_of_a_release_that_works_otherwise_is_named(
    ledger: WaitLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(httpcore._async.connection_pool, "AsyncPoolRequest")
    ledger.start()
    ledger.stop()
    assert ledger.notes == ("waits for connections of httpcore are not seen in this release",)


async def test_thread_is_waited_for_when_all_are_busy(ledger: WaitLedger, clock: FakeClock) -> None:
    busy, release = threading.Event(), threading.Event()

    def hold() -> None:
        busy.set()
        release.wait()

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        ledger.start()
        first = loop.run_in_executor(executor, hold)
        await asyncio.to_thread(busy.wait)
        second = loop.run_in_executor(executor, divmod, 7, 2)
        clock.advance(0.5)
        release.set()
        await first
        assert await second == (3, 1)
        ledger.stop()
    (total,) = ledger.totals
    assert (total.kind, total.name) == ("executor", "thread of executor 'mine' (1 at most)")
    assert (total.count, total.seconds) == (1, 0.5)
    assert total.longest.place
    assert total.longest.place.source.startswith("second = loop.run_in_executor(")


async def test_thread_that_is_idle_or_still_to_be_started_is_not_waited_for(
    ledger: WaitLedger,
) -> None:
    ledger.start()
    with ThreadPoolExecutor(2) as executor:
        gate = threading.Barrier(2)
        await asyncio.gather(
            *(asyncio.get_running_loop().run_in_executor(executor, gate.wait) for _ in range(2))
        )
    ledger.stop()
    assert ledger.totals == ()


async def test_function_that_had_to_wait_for_a_thread_fails_as_ever(ledger: WaitLedger) -> None:
    release = threading.Event()

    def fail(*, message: str) -> None:
        raise ValueError(message)

    with ThreadPoolExecutor(1) as executor:
        ledger.start()
        executor.submit(release.wait)
        failing = executor.submit(fail, message="boom")
        release.set()
        with pytest.raises(ValueError, match="boom"):
            await asyncio.wrap_future(failing)
        ledger.stop()
    assert [total.kind for total in ledger.totals] == ["executor"]


async def test_executor_whose_state_is_elsewhere_is_left_alone_and_named(
    ledger: WaitLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other:
        def __init__(self, size: int) -> None:
            self.size = size

        def submit(self) -> None:
            pass

    before = Other.submit
    monkeypatch.setattr(poolwaits, "ThreadPoolExecutor", Other)
    ledger.start()
    assert Other.submit is before
    ledger.stop()
    assert ledger.notes == ("waits for threads of an executor are not seen with this Python",)
