"""What a lease of the pool costs beside `asyncio.Semaphore` and other pools, interleaved."""

import asyncio
import gc
import time
from collections.abc import Callable
from typing import Any, Self, TypeAlias

import pytest

from pytest_agentperf.reference.pool import Pool

REPEATS = 9
SECONDS = 0.2
TURNS = 10_000
SLOTS = 10
WAITERS = 16_000
MUST_BE = {1: ">= 0.60", 10: ">= 0.80", 100: ">= 0.85", 1000: ">= 0.85"}
Enter: TypeAlias = Callable[[], Any]
clock = time.process_time  # all is computation; other programs must not count


async def connect() -> object:
    return object()


async def close(connection: object) -> None:
    pass


def semaphore() -> Enter:
    slots = asyncio.Semaphore(SLOTS)
    return lambda: slots


def pool(**options: Any) -> Enter:
    return Pool(connect, close, max_size=SLOTS, **options).acquire


def queue_pool() -> Enter:
    """Return a pool as it is often written: the connections are in a queue."""
    queue: asyncio.Queue[object] = asyncio.Queue()
    for _ in range(SLOTS):
        queue.put_nowait(object())

    class Lease:
        async def __aenter__(self) -> object:
            self.connection = await queue.get()
            return self.connection

        async def __aexit__(self, *_: object) -> None:
            queue.put_nowait(self.connection)

    return Lease


async def turns_of(enter: Enter, workers: int) -> list[int]:
    """Return the turns of each worker in a fixed time, each held for a turn of the loop."""
    turns = [0] * workers
    end = time.perf_counter() + SECONDS

    async def work(number: int) -> None:
        while time.perf_counter() < end:
            async with enter():
                await asyncio.sleep(0)
            turns[number] += 1

    await asyncio.gather(*(work(number) for number in range(workers)))
    return turns


async def rate(enter: Enter, workers: int) -> float:
    """Return leases a second, each held for a turn of the loop; a lone one not even for that."""
    turns = TURNS // workers

    async def work_alone() -> None:
        for _ in range(turns):
            async with enter():
                pass

    async def work() -> None:
        for _ in range(turns):
            async with enter():
                await asyncio.sleep(0)

    began = clock()
    await asyncio.gather(*([work_alone()] if workers == 1 else (work() for _ in range(workers))))
    return workers * turns / (clock() - began)


@pytest.mark.asyncio
@pytest.mark.parametrize("workers", MUST_BE)
@pytest.mark.parametrize("repeat", range(REPEATS))
async def bench_acquire_and_release(
    record_ratio: Callable[[str, str, float], None], repeat: int, workers: int
) -> None:
    base = await rate(semaphore(), workers)
    ours = await rate(pool(), workers)
    again = await rate(semaphore(), workers)
    limited = await rate(pool(acquire_timeout=30, idle_timeout=60, max_lifetime=600), workers)
    what = f"{workers} workers on {SLOTS} slots"
    record_ratio(f"pool ÷ Semaphore, {what}", MUST_BE[workers], 2 * ours / (base + again))
    record_ratio(f"Semaphore ÷ itself (A/A), {what}", "noise", again / base)
    record_ratio(f"pool with timeout and expiry ÷ Semaphore, {what}", "shown", limited / again)


@pytest.mark.asyncio
@pytest.mark.parametrize("workers", MUST_BE)
async def bench_psycopg_pool(record_ratio: Callable[[str, str, float], None], workers: int) -> None:
    psycopg_pool: Any = pytest.importorskip(
        "psycopg_pool", reason="the peer psycopg_pool (with psycopg) is not installed"
    )

    class Connection:
        """As much of a psycopg connection as its pool touches."""

        pgconn = type("PGconn", (), {"transaction_status": 0, "status": 0})()
        closed = False
        _pool: Any = None

        @classmethod
        async def connect(cls, *_: object, **__: object) -> "Connection":
            return cls()

        async def close(self) -> None:
            pass

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

    peer = psycopg_pool.AsyncConnectionPool(
        "", connection_class=Connection, min_size=SLOTS, max_size=SLOTS, open=False
    )
    await peer.open(wait=True)
    try:
        base = await rate(semaphore(), workers)
        found = await rate(peer.connection, workers)
    finally:
        await peer.close()
    record_ratio(f"psycopg_pool ÷ Semaphore, {workers} workers", "shown", found / base)


@pytest.mark.asyncio
@pytest.mark.parametrize("repeat", range(REPEATS))
async def bench_fairness(record_ratio: Callable[[str, str, float], None], repeat: int) -> None:
    turns = await turns_of(pool(), 100)
    record_ratio("most ÷ fewest turns of 100 workers", "<= 1.05", max(turns) / min(turns))
    turns = await turns_of(queue_pool(), 100)
    what = "most ÷ fewest turns of 100 workers, a pool on asyncio.Queue"
    record_ratio(what, "shown", max(turns) / min(turns))


async def cancel_all(enter: Enter) -> float:
    """Return the seconds that the cancellation of many waiters takes, the newest first."""
    held = [enter() for _ in range(SLOTS)]
    for lease in held:
        await lease.__aenter__()

    async def wait() -> None:
        async with enter():
            pass

    tasks = [asyncio.create_task(wait()) for _ in range(WAITERS)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
    began = clock()
    for task in reversed(tasks):
        task.cancel()
    await asyncio.wait(tasks)
    spent = clock() - began
    for lease in held:
        await lease.__aexit__(None, None, None)
    return spent


@pytest.mark.asyncio
@pytest.mark.parametrize("repeat", range(5))
async def bench_cancel_of_many_waiters(
    record_ratio: Callable[[str, str, float], None], repeat: int
) -> None:
    base = await cancel_all(semaphore())
    ours = await cancel_all(pool())
    record_ratio(f"cancel of {WAITERS} waiters ÷ Semaphore", "<= 0.1", ours / base)


@pytest.mark.asyncio
async def bench_idle_pools(record_ratio: Callable[[str, str, float], None]) -> None:
    pools = [
        Pool(connect, close, min_size=2, idle_timeout=60, max_lifetime=600, acquire_timeout=30)
        for _ in range(10)
    ]
    for each in pools:
        await each.start()
        async with each.acquire():
            pass
    await asyncio.sleep(0.1)
    loop: Any = asyncio.get_running_loop()
    wakes = 0
    select = loop._selector.select

    def counting(timeout: float | None) -> Any:
        nonlocal wakes
        wakes += 1
        return select(timeout)

    loop._selector.select = counting
    try:
        await asyncio.sleep(3)
    finally:
        del loop._selector.select
    record_ratio("wake-ups a second of ten idle pools", "0", max(0, wakes - 2) / 3)
    for each in pools:
        await each.close()
