"""What perf_pool adds: to an acquire and release, and to the calls that pools are there for.

Requests go to a real server in a process of its own: what a test measures of one is its latency.
Their processor time is that of the client alone, so it is shown, too.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any, Final, TypeAlias

import pytest

from examples.load_service import LoadService
from pytest_agentperf.measure.pool.door import PerfPool, Pooling
from pytest_agentperf.measure.pool.settings import PoolContext
from pytest_agentperf.reference.batcher import Batcher
from pytest_agentperf.reference.pool import Pool

REPEATS: Final = 41
CALLS: Final = {"http": 100, "cheap": 1_000}
FIRST: Final = 30
"""Calls after which the interpreter has adapted to what a block has replaced, or put back."""
Call: TypeAlias = Callable[[], Awaitable[object]]
Clock: TypeAlias = Callable[[], float]
processor = time.process_time  # where all is computation, other programs must not count


def door() -> PerfPool:
    pooling = Pooling(PoolContext(time.perf_counter, lambda _: False))
    return PerfPool(lambda: pooling)


async def seconds(call: Call, calls: int, clock: Clock) -> float:
    for _ in range(FIRST):
        await call()
    began = clock()
    for _ in range(calls):
        await call()
    return (clock() - began) / calls


async def compare(
    record: Callable[..., None],
    what: str,
    must_be: str,
    pool: Any,
    call: Call,
    calls: int,
    clock: Clock = processor,
) -> None:
    """Record a call with the probe ÷ without, between two of the same without it."""
    base = await seconds(call, calls, clock)
    with door()(pool):
        probed = await seconds(call, calls, clock)
    again = await seconds(call, calls, clock)
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


@pytest.fixture(scope="module")
def service() -> Iterator[LoadService]:
    with LoadService() as running:
        yield running


@pytest.mark.asyncio
@pytest.mark.parametrize("repeat", range(REPEATS))
async def bench_requests(
    record_ratio: Callable[..., None], service: LoadService, repeat: int
) -> None:
    async with AsyncExitStack() as stack:
        for what, pool, call in await clients(stack, service.url):
            for measure, clock, must_be in (
                ("latency", time.perf_counter, "<= 1.05"),
                ("processor time", processor, "shown"),
            ):
                name = f"{measure} of a request by {what}"
                await compare(record_ratio, name, must_be, pool, call, CALLS["http"], clock)


@pytest.mark.asyncio
@pytest.mark.parametrize("repeat", range(REPEATS))
async def bench_lease(record_ratio: Callable[..., None], repeat: int) -> None:
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
    port = int(url.rpartition(":")[2])
    pool = Pool(lambda: asyncio.open_connection("127.0.0.1", port), hang_up, max_size=4)
    stack.push_async_callback(pool.close)

    async def by_aiohttp() -> None:
        async with session.get(f"{url}/now") as response:
            await response.read()

    async def by_pool() -> None:
        async with pool.acquire() as (reader, writer):
            writer.write(b"GET /now HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await reader.readuntil(b"}")

    return [
        ("httpx", client, lambda: client.get(f"{url}/now")),
        ("aiohttp", session, by_aiohttp),
        ("a bare socket from our pool", pool, by_pool),
    ]


async def hang_up(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    connection[1].close()
