"""What perf_pool adds: to an acquire and release, and to the calls that pools are there for."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, TypeAlias

import pytest

from pytest_agentperf.measure.pool.door import PerfPool, Pooling
from pytest_agentperf.measure.pool.settings import PoolContext
from pytest_agentperf.reference.batcher import Batcher
from pytest_agentperf.reference.pool import Pool

REPEATS: Final = 41
CALLS: Final = {"http": 100, "cheap": 1_000}
Call: TypeAlias = Callable[[], Awaitable[object]]
clock = time.process_time  # all is computation; other programs must not count


def door() -> PerfPool:
    pooling = Pooling(PoolContext(time.perf_counter, lambda _: False))
    return PerfPool(lambda: pooling)


async def seconds(call: Call, calls: int) -> float:
    began = clock()
    for _ in range(calls):
        await call()
    return (clock() - began) / calls


async def compare(
    record: Callable[..., None], what: str, must_be: str, pool: Any, call: Call, calls: int
) -> None:
    """Record a call with the probe ÷ without, between two of the same without it."""
    await call()
    base = await seconds(call, calls)
    with door()(pool):
        probed = await seconds(call, calls)
    again = await seconds(call, calls)
    record(f"{what}, with the probe ÷ without", must_be, 2 * probed / (base + again))
    record(f"{what} ÷ itself (A/A)", "noise", again / base)


async def connect() -> object:
    return object()


async def close(connection: object) -> None:
    pass


class Counting:
    """A pool that tells its counts, as any of a user's may."""

    def __init__(self) -> None:
        self._semaphore = asyncio.Semaphore(10)
        self.acquired = self.in_use = 0

    async def lease(self) -> None:
        async with self._semaphore:
            self.acquired += 1
            self.in_use += 1
            await asyncio.sleep(0)
            self.in_use -= 1

    def stats(self) -> dict[str, int]:
        return {"capacity": 10, "in_use": self.in_use, "acquired": self.acquired}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


@asynccontextmanager
async def http_server() -> AsyncIterator[str]:
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest.mark.asyncio
@pytest.mark.parametrize("repeat", range(REPEATS))
async def bench_counters(record_ratio: Callable[..., None], repeat: int) -> None:
    counting, calls = Counting(), CALLS["cheap"]
    batcher: Batcher[int, int] = Batcher(double)
    for what, pool, call in (
        ("a lease of a pool that tells its counts", counting, counting.lease),
        ("an item of our batcher", batcher, lambda: batcher(1)),
    ):
        await compare(record_ratio, what, "1.00 ± A/A", pool, call, calls)


async def double(items: list[int]) -> list[int]:
    return items


@pytest.mark.asyncio
@pytest.mark.parametrize("repeat", range(REPEATS))
async def bench_wrapped(record_ratio: Callable[..., None], repeat: int) -> None:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(http_server())
        for what, pool, call in await clients(stack, url):
            await compare(
                record_ratio, f"a request of {what}", "<= 1.05", pool, call, CALLS["http"]
            )
    pool = Pool(connect, close, max_size=10)

    async def lease() -> None:
        async with pool.acquire():
            pass

    await compare(record_ratio, "a lease of our pool alone", "shown", pool, lease, CALLS["cheap"])


async def clients(stack: AsyncExitStack, url: str) -> list[tuple[str, Any, Call]]:
    """Return the pools of HTTP clients, each with a request by it."""
    httpx: Any = pytest.importorskip("httpx")
    aiohttp: Any = pytest.importorskip("aiohttp")
    client = await stack.enter_async_context(httpx.AsyncClient())
    session = await stack.enter_async_context(aiohttp.ClientSession())
    port = int(url.rpartition(":")[2].strip("/"))
    pool = Pool(lambda: asyncio.open_connection("127.0.0.1", port), hang_up, max_size=4)
    stack.push_async_callback(pool.close)

    async def by_aiohttp() -> None:
        async with session.get(url) as response:
            await response.read()

    async def by_pool() -> None:
        async with pool.acquire() as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await reader.readuntil(b"ok")

    return [
        ("httpx", client, lambda: client.get(url)),
        ("aiohttp", session, by_aiohttp),
        ("a bare socket from our pool", pool, by_pool),
    ]


async def hang_up(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    connection[1].close()
