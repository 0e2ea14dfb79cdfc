"""Pools of HTTP clients, against a server on this machine."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from pytest_agentperf.core.errors import CheckError, UsageError
from pytest_agentperf.measure.pool.door import PerfPool

from .conftest import http_server

SIX = range(6)


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    async with http_server() as url:
        yield url


@pytest.fixture
def url_of_a_thread() -> Iterator[str]:
    """Serve in a thread, for clients that would block the loop."""
    loop, found = asyncio.new_event_loop(), threading.Event()
    urls: list[str] = []

    async def serve() -> None:
        async with http_server() as url:
            urls.append(url)
            stopped = asyncio.Event()
            loops.append(stopped)
            found.set()
            await stopped.wait()

    loops: list[asyncio.Event] = []
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert found.wait(10)
    yield urls[0]
    loop.call_soon_threadsafe(loops[0].set)
    thread.join()
    loop.close()


@pytest.fixture(params=["httpx", "httpx2"])
def httpx(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


@pytest.mark.asyncio
async def test_httpx_client_with_too_few_connections(
    perf_pool: PerfPool, httpx: Any, url: str
) -> None:
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=2)) as client:
        async with perf_pool(client) as use:
            await asyncio.gather(*(client.get(url) for _ in SIX))
        assert client._transport._pool.connections
    assert (use.acquired, use.failed, use.created, use.in_use_max) == (6, 0, 2, 2)
    assert (use.utilization_max, use.waits, len(use.leaked)) == (1.0, 4, 0)
    assert use.reuse_rate == pytest.approx(4 / 6)
    assert use.wait.max >= 0.005  # at least one request of the server
    assert 2 < use.recommended_size() <= 6
    with pytest.raises(CheckError, match="4 of 6 callers waited for a connection of httpcore pool"):
        use.assert_not_exhausted()


@pytest.mark.asyncio
async def test_httpx_client_with_enough_connections(
    perf_pool: PerfPool, httpx: Any, url: str
) -> None:
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=7)) as client:
        async with perf_pool(client) as use:
            await asyncio.gather(*(client.get(url) for _ in SIX))
        use.assert_not_exhausted()
        use.assert_waits()
        use.assert_no_leaks()


@pytest.mark.asyncio
async def test_httpx_response_that_is_not_read_leaks_and_its_line_is_named(
    perf_pool: PerfPool, httpx: Any, url: str
) -> None:
    async with httpx.AsyncClient() as client:
        async with perf_pool(client) as use:
            response = await client.send(client.build_request("GET", url), stream=True)
        await response.aclose()
    assert "test_webpools.py" in str(use.findings[0])
    assert 'client.send(client.build_request("GET", url), stream=True)' in str(use.findings[0])


@pytest.mark.asyncio
async def test_httpx_caller_that_is_cancelled_or_too_late_got_none(
    perf_pool: PerfPool, httpx: Any, url: str
) -> None:
    limits, timeout = httpx.Limits(max_connections=1), httpx.Timeout(5, pool=0.02)
    async with (
        httpx.AsyncClient(limits=limits, timeout=timeout) as client,
        perf_pool(client) as use,
    ):
        held = await client.send(client.build_request("GET", url), stream=True)
        with pytest.raises(httpx.PoolTimeout):
            await client.get(url)
        waiter = asyncio.create_task(client.get(url))
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        await held.aclose()
        await client.get(url)
    assert (use.acquired, use.failed, use.in_use_max, use.leaked) == (2, 2, 1, ())


@pytest.mark.asyncio
async def test_httpx_failed_connect_is_given_back(perf_pool: PerfPool, httpx: Any) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        async with httpx.AsyncClient() as client, perf_pool(client) as use:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"http://127.0.0.1:{bound.getsockname()[1]}")
    assert (use.in_use_max, use.leaked) == (1, ())


def test_httpx_sync_client(perf_pool: PerfPool, httpx: Any, url_of_a_thread: str) -> None:
    url = url_of_a_thread
    client = httpx.Client(limits=httpx.Limits(max_connections=2), timeout=30)
    with client, perf_pool(client) as use:
        with client.stream("GET", url) as one, client.stream("GET", url) as other:
            threads = [threading.Thread(target=client.get, args=(url,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            deadline = time.monotonic() + 30
            while len(client._transport._pool._requests) < 6:
                assert time.monotonic() < deadline
                time.sleep(0.001)
            one.read()
            other.read()
        for thread in threads:
            thread.join()
    assert (use.acquired, use.created, use.in_use_max, use.leaked) == (6, 2, 2, ())
    assert use.waits == 4


@pytest.mark.asyncio
async def test_httpx_connections_opened_before_are_reused(
    perf_pool: PerfPool, httpx: Any, url: str
) -> None:
    async with httpx.AsyncClient() as client:
        await client.get(url)
        async with perf_pool(client) as use:
            await client.get(url)
    assert (use.created, use.reuse_rate) == (0, 1.0)


@pytest.mark.asyncio
async def test_httpx_client_for_each_call_reuses_nothing(
    perf_pool: PerfPool, httpx: Any, url: str
) -> None:
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(limits=limits) as client, perf_pool(client) as use:
        for _ in SIX:
            await client.get(url)
    assert use.reuse_rate == 0
    assert "no connection of httpcore pool was reused: 6 leases opened 6" in str(use.findings[0])


def test_httpx_client_without_a_pool_is_refused(perf_pool: PerfPool, httpx: Any) -> None:
    with (
        httpx.Client(transport=httpx.MockTransport(lambda _: None)) as client,
        pytest.raises(UsageError, match="perf_pool cannot read <httpx"),
    ):
        perf_pool(client)


@pytest.mark.asyncio
async def test_hooks_of_httpcore_are_gone_after_the_block(perf_pool: PerfPool, httpx: Any) -> None:
    async with httpx.AsyncClient() as client:
        cls = type(client._transport._pool)
        before = dict(vars(cls))
        with perf_pool(client):
            assert dict(vars(cls)) != before
        assert dict(vars(cls)) == before
        with pytest.raises(ZeroDivisionError), perf_pool(client):
            raise ZeroDivisionError
        assert dict(vars(cls)) == before


@pytest.mark.asyncio
async def test_openai_client_is_known_by_what_it_is_built_on(perf_pool: PerfPool) -> None:
    openai: Any = pytest.importorskip("openai")
    async with openai.AsyncOpenAI(api_key="none") as client:
        assert repr(perf_pool(client)) == "<PoolUse of httpcore pool, new>"


@pytest.mark.asyncio
async def test_aiohttp_session_with_too_few_connections(perf_pool: PerfPool, url: str) -> None:
    aiohttp: Any = pytest.importorskip("aiohttp")
    connector = aiohttp.TCPConnector(limit=2)
    before = dict(vars(aiohttp.TCPConnector))
    async with aiohttp.ClientSession(connector=connector) as session:

        async def get() -> None:
            async with session.get(url) as response:
                await response.read()

        async with perf_pool(session) as use:
            await asyncio.gather(*(get() for _ in SIX))
    assert (use.acquired, use.failed, use.created, use.in_use_max) == (6, 0, 2, 2)
    assert (use.utilization_max, use.waits, use.leaked) == (1.0, 4, ())
    assert use.reuse_rate == pytest.approx(4 / 6)
    assert dict(vars(aiohttp.TCPConnector)) == before


@pytest.mark.asyncio
async def test_aiohttp_connector_without_a_limit_is_never_full(
    perf_pool: PerfPool, url: str
) -> None:
    aiohttp: Any = pytest.importorskip("aiohttp")
    connector = aiohttp.TCPConnector(limit=0, limit_per_host=3)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        perf_pool(connector) as use,
        session.get(url) as response,
    ):
        await response.read()
    assert use.in_use_max == 1
    assert use.notes == ("its limit of 3 connections to one host is not looked at",)
    with pytest.raises(CheckError, match="aiohttp connector has no limit"):
        _ = use.utilization_max
