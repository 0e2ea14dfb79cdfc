"""What idle components cost, and what workers and throttles cost beside `asyncio.Semaphore`.

Idle is counted, not timed: how often the event loop wakes up while ten instances that were used
before have nothing to do.
"""

import asyncio
import gc
import importlib
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

INSTANCES = 10
SECONDS = 2
REPEATS = 15
JOBS = 2000
AT_ONCE = 10
Record = Callable[[str, str, float], None]
clock = time.perf_counter


def component(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"pytest_agentperf.reference.{module}"), name)


async def answer(_: object = None) -> object:
    return object()


async def pool() -> object:
    made = component("pool", "Pool")(
        answer, answer, min_size=2, idle_timeout=60, max_lifetime=600, acquire_timeout=30
    )
    await made.start()
    async with made.acquire():
        return made


async def cache() -> object:
    made = component("cache", "Cache")(max_size=100, ttl=60)
    made.set("key", 1)
    assert made.get("key") == 1
    return made


async def batcher() -> object:
    async def process(items: list[int]) -> list[int]:
        return items

    made = component("batcher", "Batcher")(process)
    assert await made(1) == 1
    return made


async def worker_pool() -> object:
    made = component("workers", "WorkerPool")(4)
    await made.submit(answer)
    await made.submit(object)  # in a thread
    return made


async def throttle() -> object:
    made = component("throttle", "Throttle")(4, rate=100, per=60)
    async with made(5):
        return made


async def balancer() -> object:
    made = component("balancer", "Balancer")(["one", "other"])
    async with made.lease():
        return made


async def breaker() -> object:
    made = component("breaker", "Breaker")()
    await made(answer)()
    return made


async def retry() -> object:
    made = component("retry", "retry")(on=OSError)(answer)
    await made()
    return made


USES: dict[str, Callable[[], Awaitable[object]]] = {
    "Pool": pool,
    "Cache": cache,
    "Batcher": batcher,
    "WorkerPool": worker_pool,
    "Throttle": throttle,
    "Balancer": balancer,
    "Breaker": breaker,
    "retry": retry,
}


async def wakes() -> int:
    """Return how often the event loop wakes up while this task sleeps."""
    loop: Any = asyncio.get_running_loop()
    select, count = loop._selector.select, 0

    def counting(timeout: float | None) -> Any:
        nonlocal count
        count += 1
        return select(timeout)

    loop._selector.select = counting
    try:
        await asyncio.sleep(SECONDS)
    finally:
        del loop._selector.select
    return count


@pytest.mark.asyncio
@pytest.mark.parametrize("name", USES)
async def bench_idle(record_ratio: Record, name: str) -> None:
    await asyncio.sleep(0.1)
    alone, loop = await wakes(), asyncio.get_running_loop()
    kept = [await USES[name]() for _ in range(INSTANCES)]
    await asyncio.sleep(0.1)
    tasks = len(asyncio.all_tasks()) - 1
    timers = sum(not timer.cancelled() for timer in loop._scheduled)  # type: ignore[attr-defined]
    woken = max(0, await wakes() - alone)
    record_ratio(f"wake-ups a second of ten idle instances: {name}", "0", woken / SECONDS)
    record_ratio(f"tasks of an idle instance: {name}", "0", tasks / INSTANCES)
    record_ratio(f"timers of an idle instance: {name}", "<= 1", timers / INSTANCES)
    for each in kept:
        end = each.close() if hasattr(each, "close") else None
        if inspect.isawaitable(end):
            await end


# Throughput


async def nothing(_: int = 0) -> None:
    pass


async def a_turn(_: int = 0) -> None:
    await asyncio.sleep(0)


async def through_semaphore(job: Callable[[int], Awaitable[None]]) -> None:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with slots:
            await job(number)

    await asyncio.gather(*(one(number) for number in range(JOBS)))


async def through_throttle(job: Callable[[int], Awaitable[None]], **options: Any) -> None:
    slots = component("throttle", "Throttle")(AT_ONCE, **options)

    async def one(number: int) -> None:
        async with slots:
            await job(number)

    await asyncio.gather(*(one(number) for number in range(JOBS)))


async def through_workers(job: Callable[[int], Awaitable[None]]) -> None:
    workers = component("workers", "WorkerPool")(AT_ONCE)
    await asyncio.gather(*(workers.submit(job, number) for number in range(JOBS)))


async def through_map(job: Callable[[int], Awaitable[None]]) -> None:
    workers = component("workers", "WorkerPool")(AT_ONCE)
    async for _ in workers.map(job, range(JOBS)):
        pass


async def seconds(work: Awaitable[None]) -> float:
    began = clock()
    await work
    return clock() - began


@pytest.mark.asyncio
@pytest.mark.parametrize("job", [nothing, a_turn], ids=lambda job: str(job.__name__))
@pytest.mark.parametrize("repeat", range(REPEATS))
async def bench_throughput(record_ratio: Record, repeat: int, job: Any) -> None:
    base = await seconds(through_semaphore(job))
    found = {
        "Throttle": await seconds(through_throttle(job)),
        "Throttle with a rate": await seconds(through_throttle(job, rate=10**6, per=60)),
        "WorkerPool": await seconds(through_workers(job)),
        "WorkerPool.map": await seconds(through_map(job)),
    }
    again = await seconds(through_semaphore(job))
    what = f"Semaphore and gather, {JOBS} jobs, {AT_ONCE} at once: {job.__name__}"
    for name, spent in found.items():
        record_ratio(f"{name} ÷ {what}", "shown", (base + again) / 2 / spent)
    record_ratio(f"Semaphore ÷ itself (A/A), {job.__name__}", "noise", base / again)


async def spend_turns(slots: Any, workers: int) -> float:
    """Return turns a second of *workers* that come back at once."""
    turns, began = 0, clock()

    async def work() -> None:
        nonlocal turns
        while clock() - began < 0.2:
            async with slots:
                await asyncio.sleep(0)
            turns += 1

    await asyncio.gather(*(work() for _ in range(workers)))
    return turns / (clock() - began)


@pytest.mark.asyncio
@pytest.mark.parametrize("workers", [1, 10, 100, 1000])
@pytest.mark.parametrize("repeat", range(REPEATS))
async def bench_throttle(record_ratio: Record, repeat: int, workers: int) -> None:
    throttle = component("throttle", "Throttle")
    base = await spend_turns(asyncio.Semaphore(AT_ONCE), workers)
    ours = await spend_turns(throttle(AT_ONCE), workers)
    rated = await spend_turns(throttle(AT_ONCE, rate=10**6, per=60), workers)
    again = await spend_turns(asyncio.Semaphore(AT_ONCE), workers)
    what = f"Semaphore, {workers} workers on {AT_ONCE} places"
    record_ratio(f"Throttle ÷ {what}", "shown", 2 * ours / (base + again))
    record_ratio(f"Throttle with a rate ÷ {what}", "shown", 2 * rated / (base + again))
    record_ratio(f"Semaphore ÷ itself (A/A), {workers} workers", "noise", again / base)


@pytest.mark.asyncio
@pytest.mark.parametrize("repeat", range(5))
async def bench_cancel_of_many_waiters(record_ratio: Record, repeat: int) -> None:
    async def cancel_all(slots: Any) -> float:
        async def wait() -> None:
            async with slots:
                pass

        async with slots:
            tasks = [asyncio.create_task(wait()) for _ in range(16_000)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            gc.collect()
            gc.disable()  # else each side pays for traversing what pytest holds
            began = clock()
            for task in reversed(tasks):
                task.cancel()
            await asyncio.wait(tasks)
            spent = clock() - began
            gc.enable()
            return spent

    base = await cancel_all(asyncio.Semaphore(1))
    ours = await cancel_all(component("throttle", "Throttle")(1))
    record_ratio("Throttle: cancel of 16000 waiters ÷ Semaphore", "<= 0.1", ours / base)
