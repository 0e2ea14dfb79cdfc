"""The batcher: the scenarios of the research's failure list, by order of events."""

import asyncio
import random
import threading
from typing import Any

import pytest

from pytest_agentperf.reference.batcher import (
    BatchCancelledError,
    Batcher,
    BatcherClosedError,
    BatcherFullError,
    BatcherUsageError,
    BatcherValueError,
    BatchResultError,
)


async def double(items: list[int]) -> list[int]:
    return [2 * item for item in items]


async def forever(items: list[int]) -> list[int]:
    await asyncio.get_running_loop().create_future()
    return items


async def ask(batcher: Batcher[Any, Any], *items: Any) -> list[Any]:
    async with asyncio.timeout(5):
        return await asyncio.gather(*map(batcher, items), return_exceptions=True)


def test_items_of_one_turn_make_one_batch_and_the_rest_follows() -> None:
    async def run() -> None:
        batcher = Batcher[int, int](double, batch_size=4, max_workers=1)
        assert await ask(batcher, *range(10)) == [2 * item for item in range(10)]
        assert dict(batcher.stats().sizes) == {4: 2, 2: 1}
        await batcher.close()

    asyncio.run(run())


def test_batch_waits_for_max_wait_when_not_eager() -> None:
    async def run() -> None:
        batcher = Batcher[int, int](double, eager=False, max_wait=0.01)
        assert await ask(batcher, 1, 2) == [2, 4]
        assert dict(batcher.stats().starts) == {"time": 1}

    asyncio.run(run())


def test_cancelled_caller_is_dropped_and_siblings_are_answered() -> None:
    async def run() -> None:
        batcher = Batcher[int, int](double)
        first, second = batcher.submit(1), batcher.submit(2)
        first.cancel()
        assert await second == 4
        assert batcher.stats().items == batcher.stats().cancelled == 1

    asyncio.run(run())


def test_work_is_cancelled_when_all_its_callers_have_gone() -> None:
    async def run() -> None:
        batcher = Batcher[int, int](forever)
        futures = [batcher.submit(1), batcher.submit(2)]
        for _ in range(3):
            await asyncio.sleep(0)
        for future in futures:
            future.cancel()
        async with asyncio.timeout(5):
            await batcher.close()
        assert batcher.stats().abandoned == 2

    asyncio.run(run())


@pytest.mark.parametrize("is_sync", [False, True])
def test_failed_batch_gives_each_caller_a_copy(is_sync: bool) -> None:
    error = KeyError("gone")

    def sync(items: list[int]) -> list[int]:
        raise error

    async def process(items: list[int]) -> list[int]:
        raise error

    async def run() -> list[Any]:
        return await ask(Batcher[int, int](sync if is_sync else process), 1, 2)

    first, second = asyncio.run(run())
    assert type(first) is type(second) is KeyError
    assert first is not second
    assert first.__cause__ is second.__cause__ is error


def test_process_that_raises_cancelled_error_settles_all_callers() -> None:
    async def process(items: list[int]) -> list[int]:
        raise asyncio.CancelledError

    async def run() -> list[Any]:
        batcher = Batcher[int, int](process)
        return await ask(batcher, 1, 2) + await ask(batcher, 3)

    assert [type(each) for each in asyncio.run(run())] == [BatchCancelledError] * 3


@pytest.mark.parametrize("answers", [None, [], [1], {1: 1, 2: 2}, "ab", [1, 2, 3]])
def test_wrong_answers_are_an_error_for_every_caller(answers: Any) -> None:
    async def process(items: list[int]) -> Any:
        return answers

    found = asyncio.run(ask_once(process))
    assert [type(each) for each in found] == [BatchResultError] * 2
    assert "2 items" in str(found[0])


async def ask_once(process: Any) -> list[Any]:
    return await ask(Batcher[int, int](process), 1, 2)


def test_exception_among_the_answers_goes_to_its_caller() -> None:
    async def process(items: list[int]) -> list[Any]:
        return [1, KeyError("two")]

    first, second = asyncio.run(ask_once(process))
    assert first == 1
    assert isinstance(second, KeyError)


def test_sync_generator_runs_in_a_thread() -> None:
    def process(items: list[int]) -> Any:
        for _ in items:
            yield threading.get_ident()

    assert threading.get_ident() not in asyncio.run(ask_once(process))


def test_batches_keep_to_the_weight() -> None:
    async def run() -> None:
        batches = list[list[str]]()

        async def process(items: list[str]) -> list[str]:
            batches.append(items)
            return items

        batcher = Batcher[str, str](process, weight=len, max_weight=4)
        await ask(batcher, "aa", "bb", "ccc", "dd", "e")
        assert all(sum(map(len, batch)) <= 4 for batch in batches)
        with pytest.raises(BatcherValueError, match="at most max_weight=4"):
            await batcher("fffff")

    asyncio.run(run())


def test_full_queue_refuses_until_a_caller_goes() -> None:
    async def run() -> None:
        batcher = Batcher[int, int](double, max_queue=1)
        first = batcher.submit(1)
        with pytest.raises(BatcherFullError, match="max_queue=1"):
            batcher.submit(2)
        first.cancel()
        assert await batcher(3) == 6

    asyncio.run(run())


@pytest.mark.parametrize("drain", [True, False])
def test_close_settles_what_is_queued(drain: bool) -> None:
    async def run() -> None:
        batcher = Batcher[int, int](double, eager=False, max_wait=100)
        future = batcher.submit(1)
        await batcher.close(drain)
        if drain:
            assert future.result() == 2
        else:
            assert isinstance(future.exception(), BatcherClosedError)
        with pytest.raises(BatcherClosedError, match="no more items"):
            batcher.submit(2)

    asyncio.run(run())


def test_batcher_moves_to_the_next_loop_when_the_first_is_dead() -> None:
    batcher = Batcher[int, int](double)
    assert asyncio.run(ask(batcher, 1)) == [2]
    assert asyncio.run(ask(batcher, 2)) == [4]
    with pytest.raises(BatcherUsageError, match="running event loop"):
        batcher.submit(1)


def test_every_caller_is_answered_on_random_schedules() -> None:  # noqa: C901
    async def run(seed: int) -> None:
        rand, running = random.Random(seed), [0]

        async def process(items: list[int]) -> list[int]:
            running[0] += 1
            try:
                assert running[0] <= 2
                assert len(items) <= 5
                for _ in range(rand.randrange(3)):
                    await asyncio.sleep(0)
                if rand.random() < 0.2:
                    raise rand.choice([KeyError("x"), asyncio.CancelledError()])
                return items[: -1 if rand.random() < 0.1 else None]
            finally:
                running[0] -= 1

        batcher = Batcher[int, int](process, batch_size=5, max_workers=2, max_wait=0.001)
        futures = []
        for item in range(200):
            futures.append(batcher.submit(item))
            if rand.random() < 0.3:
                rand.choice(futures).cancel()
            if rand.random() < 0.3:
                await asyncio.sleep(0)
            assert batcher.stats().running <= 2
        async with asyncio.timeout(5):
            await batcher.close()
        for item, future in enumerate(futures):
            assert future.done()
            if not future.cancelled() and future.exception() is None:
                assert future.result() == item
        stats = batcher.stats()
        assert stats.completed + stats.failed + stats.cancelled + stats.abandoned == 200

    for seed in range(30):
        asyncio.run(run(seed))
