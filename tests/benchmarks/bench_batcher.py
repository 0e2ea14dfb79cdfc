"""What an item costs in a batch, beside a bare future answered by `call_soon`, interleaved."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from pytest_agentperf.reference.batcher import Batcher

REPEATS = 15
SECONDS = 0.12
SIZE = 100
Ask: TypeAlias = Callable[[int], Awaitable[Any]]
clock = time.perf_counter


async def double(items: list[int]) -> list[int]:
    return [2 * item for item in items]


class Floor:
    """The least that a batcher can do: a future for each item and a task for what has queued."""

    def __init__(self) -> None:
        self.queue: list[tuple[int, asyncio.Future[int]]] = []
        self.loop = asyncio.get_running_loop()
        self.tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, item: int) -> int:
        future: asyncio.Future[int] = self.loop.create_future()
        self.queue.append((item, future))
        if len(self.queue) == 1:
            self.loop.call_soon(self.flush)
        return await future

    def flush(self) -> None:
        queue, self.queue = self.queue, []
        task = self.loop.create_task(self.work(queue))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def work(self, queue: list[tuple[int, asyncio.Future[int]]]) -> None:
        answers = await double([item for item, _ in queue])
        for (_, future), answer in zip(queue, answers, strict=True):
            if not future.done():
                future.set_result(answer)


async def bare(item: int) -> int:
    """Return *item*'s answer from a future that `call_soon` settles."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    loop.call_soon(future.set_result, 2 * item)
    return await future


def data_loader() -> Ask:
    peer: Any = pytest.importorskip("aiodataloader")
    loader = peer.DataLoader(double, max_batch_size=SIZE, cache=False)
    ask: Ask = loader.load
    return ask


class Polling:
    """A batcher of the usual kind, with a queue and a task that looks every millisecond."""

    def __init__(self) -> None:
        self.queue: list[tuple[int, asyncio.Future[int]]] = []
        self.task = asyncio.create_task(self.poll())

    async def __call__(self, item: int) -> int:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.queue.append((item, future))
        return await future

    async def poll(self) -> None:
        while True:
            await asyncio.sleep(0.001)
            queue, self.queue = self.queue[:SIZE], self.queue[SIZE:]
            for (_, future), result in zip(
                queue, await double([item for item, _ in queue]), strict=True
            ):
                future.set_result(result)


async def rate(ask: Ask, callers: int) -> float:
    """Return items a second of so many callers, each with one item at a time."""
    began = clock()
    counts = [0] * callers

    async def call(number: int) -> None:
        while clock() - began < SECONDS:
            for item in range(20):
                await ask(item)
            counts[number] += 20

    await asyncio.gather(*(call(number) for number in range(callers)))
    return sum(counts) / (clock() - began)


@pytest.mark.asyncio
@pytest.mark.parametrize("repeat", range(REPEATS))
async def bench_items_of_many_callers(
    record_ratio: Callable[[str, str, float], None], repeat: int
) -> None:
    base = await rate(Floor(), SIZE)
    batcher: Batcher[int, int] = Batcher(double, batch_size=SIZE)
    ours = await rate(batcher, SIZE)
    again = await rate(Floor(), SIZE)
    plain = await rate(bare, SIZE)
    peer = await rate(data_loader(), SIZE)
    record_ratio("batcher ÷ floor, 100 callers × 100", ">= 0.85", 2 * ours / (base + again))
    record_ratio("aiodataloader ÷ floor, 100 callers × 100", "shown", 2 * peer / (base + again))
    record_ratio("floor ÷ itself (A/A)", "noise", again / base)
    record_ratio("batcher ÷ future + call_soon each, items/s", ">= 0.85", ours / plain)


@pytest.mark.asyncio
@pytest.mark.parametrize("repeat", range(REPEATS))
async def bench_lone_item(record_ratio: Callable[[str, str, float], None], repeat: int) -> None:
    base = await rate(bare, 1)
    batcher: Batcher[int, int] = Batcher(double, batch_size=SIZE)
    ours = await rate(batcher, 1)
    again = await rate(bare, 1)
    polling = Polling()
    polled = await rate(polling, 1)
    polling.task.cancel()
    record_ratio("a lone item ÷ a bare future with call_soon", "<= 2", (base + again) / 2 / ours)
    record_ratio("a lone item, polled ÷ a bare future", "shown", (base + again) / 2 / polled)


@pytest.mark.asyncio
async def bench_idle_batchers(record_ratio: Callable[[str, str, float], None]) -> None:
    batchers: list[Batcher[int, int]] = [
        Batcher(double, eager=number % 2 == 0, max_wait=0.01) for number in range(10)
    ]
    for each in batchers:
        await each(1)
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
    record_ratio("wake-ups a second of ten idle batchers", "0", max(0, wakes - 2) / 3)
    for each in batchers:
        await each.close()
