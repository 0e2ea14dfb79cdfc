"""The batcher: every scenario of the research's failure list that applies, by order of events.

Except where threads are at work the event loop of these tests jumps to its next timer, and fails a
test that would wait for ever.
"""

import asyncio
import contextlib
import contextvars
import dataclasses
import gc
import selectors
import shutil
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NoReturn, Self

import pytest

from pytest_agentperf.reference.batcher import (
    BatchCancelledError,
    Batcher,
    BatcherClosedError,
    BatcherError,
    BatcherFullError,
    BatcherTypeError,
    BatcherUsageError,
    BatcherValueError,
    BatchFailedError,
    BatchResultError,
)

WAIT = 5.0  # seconds for a thread that is expected at once


class _JumpingSelector(selectors.DefaultSelector):
    now = 0.0
    selects = 0

    def select(self, timeout: float | None = None) -> Any:
        self.selects += 1
        events = super().select(0)
        if not events:
            if timeout is None:
                raise AssertionError("deadlock: everything waits and no timer is set")
            self.now += timeout
        return events


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time."""

    def __init__(self) -> None:
        self.jumping = _JumpingSelector()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now


def now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return 0.0


def run(
    main: Coroutine[Any, Any, None], loop: Callable[[], Any] = JumpingLoop, *, debug: bool = False
) -> None:
    """Run *main*, in virtual time; it may leave neither tasks nor errors behind."""

    async def checked() -> None:
        await main
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left

    problems: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=loop, debug=debug) as runner:
        runner.get_loop().set_exception_handler(lambda _loop, context: problems.append(context))
        runner.run(checked())
        gc.collect(1)
    assert not problems, problems


def run_with_threads(main: Coroutine[Any, Any, None]) -> None:
    run(main, asyncio.SelectorEventLoop)


async def settle(turns: int = 10) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def outcomes(*futures: Any) -> list[Any]:
    return await asyncio.gather(*futures, return_exceptions=True)


async def double(items: list[int]) -> list[int]:
    return [2 * item for item in items]


class Desk:
    """A process whose batches wait until the test answers them."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.gates: list[asyncio.Future[Any]] = []
        self.cancelled: list[int] = []

    async def process(self, items: list[Any]) -> Any:
        number = len(self.batches)
        self.batches.append(items[:])
        self.gates.append(asyncio.get_running_loop().create_future())
        try:
            return await self.gates[number]
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise

    def answer(self, number: int, found: Any = None) -> None:
        self.gates[number].set_result(self.batches[number] if found is None else found)

    def batcher(self, **options: Any) -> Batcher[Any, Any]:
        return Batcher(self.process, **{"clock": now, **options})


# What starts a batch


def test_items_of_one_turn_make_one_batch_at_its_end_when_eager() -> None:
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher()
        futures = [batcher.submit(1)]
        assert desk.batches == []
        futures.append(batcher.submit(2))
        await asyncio.sleep(0)
        assert desk.batches == [[1, 2]]
        assert now() == 0
        desk.answer(0, ["one", "two"])
        assert await outcomes(*futures) == ["one", "two"]
        assert dict(batcher.stats().starts) == {"idle": 1}

    run(main())


def test_batch_is_full_at_its_size_and_not_before() -> None:
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher(batch_size=3, eager=False)
        futures = [batcher.submit(item) for item in range(2)]
        await settle()
        assert desk.batches == []
        futures += [batcher.submit(item) for item in range(2, 4)]
        await settle()
        assert desk.batches == [[0, 1, 2]]
        assert batcher.stats().queued == 1
        futures.append(batcher.submit(4))
        futures.append(batcher.submit(5))
        await settle()
        assert desk.batches == [[0, 1, 2], [3, 4, 5]]
        desk.answer(0)
        desk.answer(1)
        assert await outcomes(*futures) == list(range(6))
        assert dict(batcher.stats().starts) == {"full": 2}

    run(main())


def test_batch_starts_after_max_wait_from_its_first_item_when_not_eager() -> None:
    async def main() -> None:
        started = list[tuple[float, list[int]]]()

        async def process(items: list[int]) -> list[int]:
            started.append((now(), items))
            return items

        batcher = Batcher(process, eager=False, max_wait=1.0, clock=now)
        first = batcher.submit(1)
        await asyncio.sleep(0.75)
        await outcomes(first, batcher.submit(2))
        assert started == [(1.0, [1, 2])]
        await batcher(3)
        assert started[1:] == [(2.0, [3])]
        assert dict(batcher.stats().starts) == {"time": 2}

    run(main())


def test_items_that_find_a_batch_at_work_start_when_it_ends_or_max_wait_is_over() -> None:
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher(max_wait=1.0)
        futures = [batcher.submit(1)]
        await settle()
        futures.append(batcher.submit(2))
        await settle()
        assert desk.batches == [[1]]
        desk.answer(0)
        await settle()
        assert desk.batches == [[1], [2]]
        futures.append(batcher.submit(3))
        await asyncio.sleep(0.75)
        assert len(desk.batches) == 2
        await asyncio.sleep(0.5)
        assert desk.batches == [[1], [2], [3]]
        desk.answer(1)
        desk.answer(2)
        assert await outcomes(*futures) == [1, 2, 3]
        assert dict(batcher.stats().starts) == {"idle": 2, "time": 1}

    run(main())


def test_end_of_a_batch_starts_no_other_before_max_wait_when_not_eager() -> None:
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher(batch_size=2, eager=False, max_wait=1.0)
        futures = [batcher.submit(item) for item in range(3)]
        await settle()
        desk.answer(0)
        await settle()
        assert desk.batches == [[0, 1]]
        await asyncio.sleep(1)
        await settle()
        desk.answer(1)
        assert await outcomes(*futures) == [0, 1, 2]

    run(main())


def test_no_more_than_max_workers_batches_are_at_work_and_the_rest_keeps_its_order() -> None:
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher(batch_size=2, max_workers=2, max_wait=0.1)
        futures = [batcher.submit(item) for item in range(7)]
        await asyncio.sleep(1)
        assert desk.batches == [[0, 1], [2, 3]]
        assert batcher.stats().running == 2
        desk.answer(1)
        await settle()
        assert desk.batches[2:] == [[4, 5]]
        desk.answer(0)
        await settle()
        assert desk.batches[3:] == [[6]]  # its max_wait was over
        desk.answer(2)
        desk.answer(3)
        assert await outcomes(*futures) == list(range(7))

    run(main())


def test_slow_batch_does_not_hold_up_the_next() -> None:  # 64
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher(batch_size=1, max_workers=2)
        slow, quick = batcher.submit("slow"), batcher.submit("quick")
        await settle()
        desk.answer(1)
        assert await quick == "quick"
        assert not slow.done()
        desk.answer(0)
        await slow

    run(main())


def test_items_that_arrive_while_a_batch_starts_are_not_stranded() -> None:  # 57
    async def main() -> None:
        async def process(items: list[int]) -> list[int]:
            later.extend(batcher.submit(item + 20) for item in items if item < 20)
            return items

        later = list[asyncio.Future[int]]()
        batcher = Batcher(process, batch_size=4, max_workers=1, max_wait=0.1)
        assert await outcomes(*map(batcher, range(10))) == list(range(10))
        assert await outcomes(*later) == list(range(20, 30))

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no eager task factory")
def test_items_make_one_batch_under_an_eager_task_factory() -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009
        batcher = Batcher(double)
        assert await outcomes(*map(batcher, range(5))) == [0, 2, 4, 6, 8]
        assert dict(batcher.stats().sizes) == {5: 1}

    run(main())


# Weights and limits


def test_batches_keep_to_the_weight_and_the_order() -> None:
    async def main() -> None:
        batches = list[list[str]]()

        async def process(items: list[str]) -> list[str]:
            batches.append(items)
            return items

        batcher = Batcher(process, weight=len, max_weight=4, max_wait=0.1)
        words = ["aa", "bb", "ccc", "dd", "", "e", "ffff", "g"]
        assert await outcomes(*map(batcher, words)) == words
        assert batches == [["aa", "bb"], ["ccc"], ["dd", "", "e"], ["ffff"], ["g"]]

    run(main())


@pytest.mark.parametrize("weight", [4.0, 4.5])
def test_item_may_weigh_max_weight_and_not_more(weight: float) -> None:
    async def main() -> None:
        batcher = Batcher(double, weight=lambda _: weight, max_weight=4)
        if weight == 4:
            assert await batcher(1) == 2
        else:
            with pytest.raises(BatcherValueError, match=r"is 4\.5: expected at most max_weight=4"):
                batcher.submit(1)
            assert batcher.stats().queued == 0

    run(main())


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), True, "3", None])
def test_weight_that_is_no_number_from_0_is_an_error_of_its_caller_alone(weight: Any) -> None:
    async def main() -> None:
        weights = {1: 1, 2: weight, 3: 1}
        batcher = Batcher(double, weight=weights.__getitem__, max_weight=4)
        first, second, third = await outcomes(*map(batcher, (1, 2, 3)))
        assert (first, third) == (2, 6)
        assert isinstance(second, BatcherValueError | BatcherTypeError)
        assert "weight of an item" in str(second)

    run(main())


def test_weight_function_that_raises_fails_its_caller_alone() -> None:  # 56
    async def main() -> None:
        def weigh(item: int) -> int:
            if item == 2:
                raise KeyError(item)
            return 1

        batcher = Batcher(double, weight=weigh, max_weight=2)
        found = await outcomes(*map(batcher, (1, 2, 3, 4)))
        assert found[0::2] == [2, 6]
        assert isinstance(found[1], KeyError)
        assert await batcher(5) == 10

    run(main())


def test_full_queue_refuses_the_next_item_and_takes_one_when_a_batch_begins() -> None:
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher(max_queue=2, max_workers=1)
        futures = [batcher.submit(1), batcher.submit(2)]
        with pytest.raises(BatcherFullError, match=r"2 items queued.*is full: max_queue=2"):
            batcher.submit(3)
        await settle()
        futures += [batcher.submit(3), batcher.submit(4)]
        with pytest.raises(BatcherFullError):
            batcher.submit(5)
        assert batcher.stats().rejected == 2
        desk.answer(0)
        await settle()
        desk.answer(1)
        assert await outcomes(*futures) == [1, 2, 3, 4]

    run(main())


def test_queue_that_is_full_starts_without_waiting_for_more() -> None:
    async def main() -> None:
        batcher = Batcher(double, eager=False, max_wait=100, max_queue=2)
        assert await outcomes(batcher(1), batcher(2)) == [2, 4]
        assert now() == 0

    run(main())


def test_full_queue_has_room_when_a_caller_has_gone() -> None:
    async def main() -> None:
        batcher = Batcher(double, max_queue=2)
        first, second = batcher.submit(1), batcher.submit(2)
        first.cancel()
        third = batcher.submit(3)
        with pytest.raises(BatcherFullError):
            batcher.submit(4)
        assert await outcomes(second, third) == [4, 6]
        assert batcher.stats().cancelled == 1

    run(main())


def test_places_of_gone_callers_in_a_long_queue_are_found_within_a_few_refusals() -> None:
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher(batch_size=10, max_queue=1000, max_workers=1)
        first = [batcher.submit(item) for item in range(10)]
        await settle()
        futures = [batcher.submit(item) for item in range(1000)]
        futures[500].cancel()
        refusals = 0
        with contextlib.suppress(BatcherFullError):
            while refusals < 1000:
                refusals += 1
                with contextlib.suppress(BatcherFullError):
                    batcher.submit("found").cancel()
                    break
        assert refusals <= 1000 / 64 + 1
        first[0].cancel()
        await batcher.close(drain=False)
        await outcomes(*first, *futures)

    run(main())


def test_queue_without_limit_forgets_callers_that_have_gone_while_all_workers_hang() -> None:
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher(batch_size=10, max_workers=1)
        stuck = batcher.submit("stuck")
        await settle()
        for _ in range(2000):
            futures = [batcher.submit(item) for item in range(10)]
            for future in futures:
                future.cancel()
        assert batcher.stats().queued < 1000
        assert len(batcher._ready) < 2000
        desk.answer(0)
        await stuck
        await batcher.close()
        assert desk.batches == [["stuck"]]
        assert batcher.stats().cancelled == 20_000

    run(main())


# Callers that go


def test_cancelled_caller_is_not_processed_and_its_siblings_are_answered() -> None:  # 51, 58
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher()
        tasks = [asyncio.create_task(batcher(item)) for item in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await settle()
        assert desk.batches == [[0, 2]]
        desk.answer(0)
        found = await outcomes(*tasks)
        assert found[0::2] == [0, 2]
        assert isinstance(found[1], asyncio.CancelledError)
        assert batcher.stats().cancelled == 1

    run(main())


def test_caller_cancelled_during_the_batch_leaves_its_siblings_alone() -> None:  # 51
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher()
        tasks = [asyncio.create_task(batcher(item)) for item in range(3)]
        await settle()
        tasks[0].cancel()
        await settle()
        desk.answer(0)
        assert (await outcomes(*tasks))[1:] == [1, 2]
        stats = batcher.stats()
        assert (stats.completed, stats.abandoned, stats.cancelled) == (2, 1, 0)

    run(main())


@pytest.mark.parametrize("turns", [0, 5])
def test_future_that_its_holder_has_settled_is_left_alone(turns: int) -> None:  # 52
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher()
        first, second, third = (batcher.submit(item) for item in range(3))
        await settle(turns)
        first.set_result("own")
        second.set_exception(KeyError("own"))
        await settle()
        desk.answer(0)
        assert await third == 2
        assert await first == "own"
        with pytest.raises(KeyError):
            await second

    run(main())


def test_work_is_cancelled_when_its_last_caller_goes_and_not_before() -> None:  # 54
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher()
        tasks = [asyncio.create_task(batcher(item)) for item in range(4)]
        await settle()
        for number in (2, 0, 3):  # any order
            tasks[number].cancel()
            await settle()
            assert desk.cancelled == []
        tasks[1].cancel()
        await settle()
        assert desk.cancelled == [0]
        assert batcher.stats().running == 0
        assert batcher.stats().abandoned == 4
        await outcomes(*tasks)

    run(main())


def test_work_is_not_begun_when_all_its_callers_have_gone_before() -> None:  # 54
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher()
        for future in [batcher.submit(1), batcher.submit(2)]:
            future.cancel()
        await settle()
        assert desk.batches == []
        assert batcher.stats().batches == 0
        assert batcher.stats().cancelled == 2
        third = batcher.submit(3)
        await settle()
        desk.answer(0)
        assert await third == 3

    run(main())


def test_caller_of_the_same_item_is_answered_when_another_is_cancelled() -> None:  # 61
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher()
        first, second = batcher.submit("key"), batcher.submit("key")
        await settle()
        first.cancel()
        await settle()
        desk.answer(0)
        assert await second == "key"
        third = batcher.submit("key")
        await settle()
        desk.answer(1)
        assert await third == "key"

    run(main())


def test_batches_are_full_of_live_callers_after_timeouts_of_others() -> None:  # 59
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher(batch_size=4, max_workers=1)
        first = [batcher.submit(item) for item in range(4)]
        await settle()
        futures = [batcher.submit(item) for item in range(100, 140)]
        for item, future in enumerate(futures):
            if item % 4 < 3:
                future.cancel()
        desk.answer(0)
        for number in range(1, 4):
            await settle()
            assert desk.batches[number] == list(range(103, 140, 4))[4 * number - 4 : 4 * number]
            desk.answer(number)
        await outcomes(*first, *futures)
        assert dict(batcher.stats().sizes) == {2: 1, 4: 3}

    run(main())


def test_refilled_batches_keep_to_the_weight() -> None:  # 59
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher(weight=int, max_weight=4, batch_size=3, max_workers=1)
        futures = [batcher.submit(item) for item in (4, 2, 2, 1, 1, 2, 1)]
        await settle()
        futures[1].cancel()
        futures[3].cancel()
        desk.answer(0)
        for number in (1, 2, 3):
            await settle()
            desk.answer(number)
        await outcomes(*futures)
        assert desk.batches == [[4], [2], [1, 2], [1]]

    run(main())


def test_mass_timeouts_leave_nothing_behind() -> None:  # 59
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher(batch_size=10, max_workers=2, max_queue=1000)

        async def ask(item: int) -> None:
            async with asyncio.timeout(1):
                await batcher(item)

        found = await outcomes(*map(ask, range(500)))
        assert {type(each) for each in found} == {TimeoutError}
        await settle()
        stats = batcher.stats()
        assert (stats.queued, stats.running) == (0, 0)
        assert len(desk.batches) == len(desk.cancelled) == 2  # the rest never began
        later = [batcher.submit(item) for item in range(10)]
        await settle()
        assert desk.batches[-1] == list(range(10))
        desk.answer(-1)
        assert await outcomes(*later) == list(range(10))

    run(main())


# What process returns and raises


@pytest.mark.parametrize("is_sync", [False, True])
@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (None, "returned a NoneType for 2 items; expected a sequence of as many results"),
        (7, "returned a int for 2 items"),
        ("ab", "returned a str for 2 items"),
        (b"ab", "returned a bytes for 2 items"),
        ({1: 1, 2: 2}, "returned a dict for 2 items"),
        ({1, 2}, "returned a set for 2 items"),
        ([], "returned 0 results for 2 items; expected as many"),
        ([1], "returned 1 results for 2 items"),
        ((1, 2, 3), "returned 3 results for 2 items"),
    ],
)
def test_answers_that_are_not_one_for_each_item_are_an_error_of_all(  # 55
    answers: Any, message: str, *, is_sync: bool
) -> None:
    async def process(items: list[int]) -> Any:
        return answers

    async def main() -> None:
        batcher: Batcher[int, Any] = Batcher((lambda _: answers) if is_sync else process)
        found = await outcomes(batcher(1), batcher(2))
        assert [type(each) for each in found] == [BatchResultError] * 2
        assert message in str(found[0])
        assert isinstance(found[0], ValueError)

    run_with_threads(main())


@pytest.mark.parametrize("made", [tuple, iter, lambda items: (item for item in items)])
@pytest.mark.parametrize("is_sync", [False, True])
def test_answers_may_be_any_ordered_iterable(made: Any, *, is_sync: bool) -> None:  # 55
    async def process(items: list[int]) -> Any:
        return made(items)

    async def main() -> None:
        batcher: Batcher[int, Any] = Batcher(made if is_sync else process)
        assert await outcomes(batcher(1), batcher(2)) == [1, 2]

    run_with_threads(main())


def test_generator_that_a_sync_process_returns_runs_in_its_thread() -> None:  # 55
    def process(items: list[int]) -> Iterator[int]:
        for _ in items:
            yield threading.get_ident()

    async def main() -> None:
        assert threading.get_ident() not in await outcomes(*map(Batcher(process), range(3)))

    run_with_threads(main())


def test_exception_among_the_answers_goes_to_its_caller() -> None:
    error = KeyError("two")

    async def process(items: list[int]) -> list[Any]:
        return [1, error, error, asyncio.CancelledError(), SystemExit(3), StopIteration(4), None]

    async def main() -> None:
        one, two, three, four, five, six, seven = await outcomes(*map(Batcher(process), range(7)))
        assert (one, seven) == (1, None)
        assert type(two) is type(three) is KeyError
        assert two is not three
        assert two.args == three.args == ("two",)
        assert two.__cause__ is three.__cause__ is error
        assert type(four) is BatchCancelledError
        assert type(five) is type(six) is BatchFailedError
        assert type(five.__cause__) is SystemExit
        assert type(six.__cause__) is StopIteration

    run(main())


@pytest.mark.parametrize("is_sync", [False, True])
def test_exception_raised_goes_to_all_callers_in_a_copy_each(is_sync: bool) -> None:  # 60
    error = KeyError("gone")

    def sync(items: list[int]) -> NoReturn:
        raise error

    async def process(items: list[int]) -> NoReturn:
        raise error

    async def main() -> None:
        batcher: Batcher[int, int] = Batcher(sync if is_sync else process)
        depths = set[int]()
        for _ in range(3):
            found = await outcomes(*map(batcher, range(5)))
            assert len(set(map(id, found))) == 5
            for each in found:
                assert type(each) is KeyError
                assert each.__cause__ is error
                depths.add(len(traceback.extract_tb(each.__traceback__)))
        assert len(depths) == 1  # none grows
        error.__traceback__ = None

    run_with_threads(main())


def test_process_that_is_no_coroutine_function_may_raise_at_the_call() -> None:  # 63
    def process(items: list[int]) -> Coroutine[Any, Any, list[int]]:
        if items[0] == 1:
            raise KeyError("at once")
        return double(items)

    async def main() -> None:
        batcher = Batcher[int, int](process)
        found = await outcomes(batcher(1), batcher(2))
        assert [type(each) for each in found] == [KeyError] * 2
        assert await batcher(3) == 6  # a coroutine made in a thread runs in the loop

    run_with_threads(main())


@pytest.mark.parametrize("is_sync", [False, True])
def test_process_that_raises_cancelled_error_settles_its_callers_and_later_ones(  # 53
    is_sync: bool,
) -> None:
    def sync(items: list[int]) -> list[int]:
        if items[0] == 1:
            raise asyncio.CancelledError("whim")
        return items

    async def process(items: list[int]) -> list[int]:
        return sync(items)

    async def main() -> None:
        batcher = Batcher[int, int](sync if is_sync else process)
        found = await outcomes(batcher(1), batcher(2))
        assert [type(each) for each in found] == [BatchCancelledError] * 2
        assert isinstance(found[0].__cause__, asyncio.CancelledError)
        assert await batcher(3) == 3
        assert batcher.stats().running == 0

    run_with_threads(main())


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_exit_raised_by_process_settles_its_callers_and_propagates(  # 53
    kind: type[BaseException],
) -> None:
    async def process(items: list[int]) -> NoReturn:
        raise kind

    async def main() -> None:
        batcher = Batcher[int, int](process)
        futures.extend([batcher.submit(1), batcher.submit(2)])
        await outcomes(*futures)

    futures = list[asyncio.Future[int]]()
    with pytest.raises(kind):
        run(main())
    assert [type(each.exception()) for each in futures] == [BatchFailedError] * 2


class StatusError(Exception):
    """An error like those of client libraries: its constructor wants more than `args`."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(f"{status} {message}")
        self.status = status


class Grumpy(Exception):  # noqa: N818
    def __new__(cls, *args: object) -> Self:
        if args:
            raise ValueError("no arguments")
        return super().__new__(cls)

    def __init__(self) -> None:
        self.args = ("mood",)

    def __repr__(self) -> str:
        raise ValueError("no words")


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    code: int


class Impostor(Exception):  # noqa: N818
    def __new__(cls, *args: object) -> Any:
        return super().__new__(cls) if not args else "no exception"


def noted(error: Exception) -> Exception:
    error.add_note("a note")
    return error


@pytest.mark.parametrize(
    "error",
    [
        StatusError("too many requests", status=429),
        FileNotFoundError(2, "No such file", "name"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        ImportError("no", name="module", path="path"),
        ExceptionGroup("both", [KeyError(1), ValueError(2)]),
        noted(ValueError("noted")),
        BatcherFullError("of another batcher"),
        TimeoutError(),
    ],
)
def test_copy_of_an_exception_is_like_the_original(error: Exception) -> None:  # 60
    async def process(items: list[int]) -> NoReturn:
        raise error

    async def main() -> None:
        one, two = await outcomes(*map(Batcher(process), range(2)))
        for each in (one, two):
            assert type(each) is type(error)
            assert str(each) == str(error)
            for name in ("args", "status", "filename", "start", "name", "exceptions", "__notes__"):
                assert getattr(each, name, None) == getattr(error, name, None)
        one.add_note("its own")
        assert "its own" not in getattr(two, "__notes__", []) + getattr(error, "__notes__", [])

    run(main())


@pytest.mark.parametrize("kind", ["Grumpy", "FrozenError", "Impostor"])
def test_exception_that_cannot_be_copied_is_the_cause_of_another(kind: str) -> None:  # 60
    error = {"Grumpy": Grumpy(), "FrozenError": FrozenError(7), "Impostor": Impostor()}[kind]
    if kind == "Impostor":
        error.args = ("x",)

    async def process(items: list[int]) -> list[Any]:
        return [error] * 2

    async def main() -> None:
        found = await outcomes(*map(Batcher(process), range(2)))
        assert [type(each) for each in found] == [BatchFailedError] * 2
        assert found[0].__cause__ is error
        assert kind in str(found[0])

    run(main())


def test_failing_batches_leave_no_garbage() -> None:
    async def process(items: list[int]) -> NoReturn:
        raise KeyError("gone")

    async def main() -> None:
        batcher = Batcher[int, int](process)
        for repeat in range(4):
            if repeat == 1:
                gc.collect()
                gc.disable()
            with contextlib.suppress(KeyError):
                await batcher(1)
        assert gc.collect() < 10

    try:
        run(main())
    finally:
        gc.enable()


def test_process_may_change_its_list() -> None:
    async def process(items: list[int]) -> list[int]:
        return [items.pop(0) for _ in range(len(items))]

    async def main() -> None:
        assert await outcomes(*map(Batcher(process), range(3))) == [0, 1, 2]

    run(main())


# Threads


class Threads:
    """A sync process that works until the test lets it go."""

    def __init__(self) -> None:
        self.began, self.go = threading.Semaphore(0), threading.Event()
        self.batches = list[list[int]]()

    def process(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.began.release()
        assert self.go.wait(WAIT)
        return items

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.began.acquire, timeout=WAIT)


def test_worker_of_an_abandoned_thread_is_free_when_the_thread_ends() -> None:  # 65
    async def main() -> None:
        threads = Threads()
        batcher = Batcher(threads.process, batch_size=1, max_workers=1)
        first = asyncio.create_task(batcher(1))
        await threads.has_begun()
        first.cancel()
        second = asyncio.create_task(batcher(2))
        await settle()
        assert first.cancelled()
        assert batcher.stats().running == 1
        assert threads.batches == [[1]]
        threads.go.set()
        assert await second == 2
        assert batcher.stats().abandoned == 1

    run_with_threads(main())


def test_thread_that_has_not_begun_does_no_work_for_callers_that_have_gone() -> None:  # 54, 65
    async def main() -> None:
        from concurrent.futures import ThreadPoolExecutor

        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        threads = Threads()
        batcher = Batcher(threads.process, batch_size=1, max_workers=2)
        first, second = (asyncio.create_task(batcher(item)) for item in (1, 2))
        await settle()
        second.cancel()
        await settle()
        threads.go.set()
        assert await first == 1
        await batcher.close()
        assert threads.batches == [[1]]
        assert batcher.stats().running == 0

    run_with_threads(main())


def test_context_in_which_the_batcher_was_made_is_that_of_process() -> None:
    name = contextvars.ContextVar("name", default="nobody")

    def sync(items: list[int]) -> list[str]:
        return [name.get()] * len(items)

    async def process(items: list[int]) -> list[str]:
        found = sync(items)
        name.set("process")
        return found

    async def main() -> None:
        name.set("maker")
        batchers: list[Batcher[int, str]] = [Batcher(sync), Batcher(process)]
        name.set("caller")
        for batcher in batchers * 2:
            assert await batcher(1) == "maker"
        assert name.get() == "caller"

    run_with_threads(main())


def test_error_of_an_abandoned_thread_disturbs_nobody() -> None:
    threads = Threads()

    def process(items: list[int]) -> list[int]:
        threads.process(items)
        raise KeyError(items)

    async def main() -> None:
        batcher = Batcher(process)
        first = asyncio.create_task(batcher(1))
        await threads.has_begun()
        first.cancel()
        await settle()
        threads.go.set()
        await batcher.close()

    run_with_threads(main())


@pytest.mark.parametrize("is_subclass", [False, True])
def test_stop_iteration_of_a_sync_process_reaches_its_callers(is_subclass: bool) -> None:
    class Stop(StopIteration):
        pass

    def process(items: list[int]) -> list[int]:
        raise (Stop if is_subclass else StopIteration)("end")

    async def main() -> None:
        found = await outcomes(*map(Batcher(process), range(2)))
        assert [type(each) for each in found] == [BatchFailedError] * 2

    run_with_threads(main())


# Close


@pytest.mark.parametrize("eager", [False, True])
def test_close_settles_what_waits_and_what_runs(eager: bool) -> None:  # 62, 67
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher(batch_size=2, max_workers=1, eager=eager, max_wait=100)
        futures = [batcher.submit(item) for item in range(5)]
        await settle()
        closing = asyncio.create_task(batcher.close())
        for number in range(3):
            await settle()
            assert not closing.done()
            with pytest.raises(BatcherClosedError, match=r"closed: .* takes no more items"):
                batcher.submit(9)
            desk.answer(number)
        await closing
        assert desk.batches == [[0, 1], [2, 3], [4]]
        assert await outcomes(*futures) == [0, 1, 2, 3, 4]
        assert now() == 0
        await batcher.close()

    run(main())


@pytest.mark.parametrize("turns", [0, 5])
def test_close_without_drain_fails_all_callers_and_cancels_the_work(turns: int) -> None:  # 62
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher(batch_size=2, max_workers=1, max_wait=100)
        futures = [batcher.submit(item) for item in range(5)]
        await settle(turns)
        await batcher.close(drain=False)
        assert [type(each.exception()) for each in futures] == [BatcherClosedError] * 5
        assert desk.cancelled == ([0] if turns else [])
        stats = batcher.stats()
        assert (stats.queued, stats.running, stats.failed) == (0, 0, 5)
        assert len(desk.batches) == len(desk.cancelled)

    run(main())


def test_close_with_a_timeout_fails_what_is_left_then() -> None:  # 62
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher(batch_size=1, max_workers=2)
        futures = [batcher.submit(item) for item in range(3)]
        await settle()
        desk.answer(1)
        await settle()
        await batcher.close(timeout=2)
        assert now() == 2
        assert await futures[1] == 1
        assert type(futures[0].exception()) is type(futures[2].exception()) is BatcherClosedError
        await settle()
        assert desk.cancelled == [0, 2]

    run(main())


def test_close_with_a_timeout_leaves_a_thread_alone() -> None:
    async def main() -> None:
        threads = Threads()
        batcher = Batcher(threads.process)
        future = batcher.submit(1)
        await threads.has_begun()
        await batcher.close(timeout=0)
        assert type(future.exception()) is BatcherClosedError
        await settle()
        assert batcher.stats().running == 1
        threads.go.set()
        await batcher.close()
        assert batcher.stats().running == 0

    run_with_threads(main())


def test_second_close_hastens_the_first() -> None:
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher()
        future = batcher.submit(1)
        await settle()
        first = asyncio.create_task(batcher.close())
        await settle()
        await batcher.close(drain=False)
        await first
        assert type(future.exception()) is BatcherClosedError

    run(main())


def test_cancelled_close_leaves_what_drains_draining() -> None:
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher()
        future = batcher.submit(1)
        await settle()
        closing = asyncio.create_task(batcher.close())
        await settle()
        closing.cancel()
        await outcomes(closing)
        with pytest.raises(BatcherClosedError):
            batcher.submit(2)
        desk.answer(0)
        assert await future == 1
        await batcher.close()

    run(main())


@pytest.mark.parametrize("how", ["itself", "child", "thread"])
def test_close_within_process_is_refused(how: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def process(items: list[int]) -> list[int]:
            await (batcher.close() if how == "itself" else asyncio.create_task(batcher.close()))
            return items

        def sync(items: list[int]) -> list[int]:
            asyncio.run_coroutine_threadsafe(batcher.close(), loop).result(WAIT)
            return items

        batcher = Batcher[int, int](sync if how == "thread" else process)
        with pytest.raises(BatcherUsageError, match="wait for itself"):
            await batcher(1)
        await batcher.close()

    run_with_threads(main())


def test_batcher_drains_at_the_end_of_async_with_and_not_after_an_error() -> None:
    async def main() -> None:
        async with Batcher(double, eager=False, max_wait=100) as batcher:
            future = batcher.submit(1)
        assert future.result() == 2
        with pytest.raises(KeyError):  # noqa: PT012
            async with Batcher(double, eager=False, max_wait=100) as batcher:
                future = batcher.submit(1)
                raise KeyError
        assert type(future.exception()) is BatcherClosedError
        assert now() == 0

    run(main())


def test_close_of_an_unused_batcher_returns_at_once() -> None:
    async def main() -> None:
        batcher = Batcher(double)
        await batcher.close()
        with pytest.raises(BatcherClosedError):
            await batcher(1)

    run(main())


# Loops


def test_batcher_moves_to_the_next_loop_when_its_own_is_dead() -> None:  # 46, 47, 50
    desk = Desk()
    batcher = desk.batcher(batch_size=2, max_workers=1, max_wait=1.0)

    async def first() -> None:  # one batch at work, one full, one that waits for its timer
        lost.extend(batcher.submit(item) for item in range(5))
        await settle()

    async def second() -> None:
        assert batcher.stats().queued == 5 - 2
        future = batcher.submit("next")
        assert batcher.stats().queued == batcher.stats().running == 1
        await settle()
        other = batcher.submit("timer")
        desk.answer(1)
        await asyncio.sleep(2)
        desk.answer(2)
        assert await outcomes(future, other) == ["next", "timer"]
        assert batcher.stats().abandoned == 5

    lost = list[asyncio.Future[Any]]()
    loop = JumpingLoop()
    loop.run_until_complete(first())
    tasks = asyncio.all_tasks(loop)
    loop.close()
    run(second())
    for task in tasks:  # what a dead loop's task does now must not count
        with contextlib.suppress(RuntimeError):
            task.get_coro().close()
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    assert batcher.stats().running == 0
    assert batcher.stats().completed == 2
    assert desk.batches == [[0, 1], ["next"], ["timer"]]


def test_batcher_serves_one_asyncio_run_after_the_other() -> None:  # 46
    batcher = Batcher(double)
    for item in range(3):
        assert asyncio.run(batcher(item)) == 2 * item


def test_thread_that_outlives_its_loop_takes_no_worker_of_the_next() -> None:  # 50
    threads = Threads()
    batcher = Batcher(threads.process, max_workers=1, batch_size=1)

    async def first() -> None:
        batcher.submit(1)
        await threads.has_begun()

    async def second() -> None:
        future = batcher.submit(2)
        await threads.has_begun()
        assert batcher.stats().running == 1
        threads.go.set()
        assert await future == 2
        assert batcher.stats().abandoned == 1

    loop = asyncio.new_event_loop()
    loop.run_until_complete(first())
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop._default_executor.shutdown(wait=False)  # type: ignore[attr-defined]
    loop.close()
    run_with_threads(second())


def test_batcher_of_another_loop_that_lives_is_refused() -> None:  # 46
    async def use() -> None:
        with pytest.raises(BatcherUsageError, match="in use by another event loop"):
            batcher.submit(2)
        with pytest.raises(BatcherUsageError, match="close it there"):
            await batcher.close()

    async def back() -> None:
        assert await batcher(3) == 6
        await batcher.close()

    batcher = Batcher(double)
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(batcher(1)) == 2
    run(use())
    loop.run_until_complete(back())
    loop.close()


def test_batcher_without_a_loop_or_in_another_thread_is_refused() -> None:
    batcher = Batcher(double)
    with pytest.raises(BatcherUsageError, match="needs a running event loop"):
        batcher.submit(1)

    async def main() -> None:
        future = batcher.submit(1)
        with pytest.raises(BatcherUsageError, match="needs a running event loop"):
            await asyncio.to_thread(batcher.submit, 2)
        with pytest.raises(BatcherUsageError, match="in use by another event loop"):
            await asyncio.to_thread(asyncio.run, batcher(2))
        assert await future == 2

    run_with_threads(main())


@pytest.mark.parametrize("turns", [0, 1])
def test_batch_cancelled_by_a_sweep_of_all_tasks_settles_its_callers(turns: int) -> None:
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher()
        futures = [batcher.submit(1), batcher.submit(2)]
        await settle(turns)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        found = await outcomes(*futures)
        assert [type(each) for each in found] == [BatchCancelledError] * 2
        third = batcher.submit(3)
        await settle()
        desk.answer(1)
        assert await third == 3
        assert batcher.stats().failed == 2

    run(main())


def test_end_of_the_loop_settles_what_was_submitted() -> None:
    futures = list[asyncio.Future[int]]()

    async def main() -> None:
        desk = Desk()
        futures.append(desk.batcher().submit(1))

    asyncio.run(main())
    assert type(futures[0].exception()) is BatchCancelledError


@pytest.mark.parametrize("eager", [False, True])
def test_idle_batcher_has_no_task_and_no_timer(eager: bool) -> None:  # 66
    async def main() -> None:
        batcher = Batcher(double, batch_size=4, eager=eager, max_wait=0.5, max_workers=1)
        await outcomes(*map(batcher, range(10)))
        await settle()
        loop: Any = asyncio.get_running_loop()
        assert [timer for timer in loop._scheduled if not timer.cancelled()] == []
        assert asyncio.all_tasks() == {asyncio.current_task()}
        began = loop.jumping.selects
        await asyncio.sleep(1000)
        assert loop.jumping.selects - began == 2

    run(main())


def test_batcher_is_clean_in_debug_mode() -> None:
    async def main() -> None:
        async with Batcher(double, batch_size=3, max_workers=2) as batcher:
            tasks = [asyncio.create_task(batcher(item)) for item in range(10)]
            await asyncio.sleep(0)
            tasks[4].cancel()
            assert sum(isinstance(each, int) for each in await outcomes(*tasks)) == 9
        async with Batcher(tuple[int]) as batcher:
            assert await outcomes(*map(batcher, range(10))) == list(range(10))

    run(main(), asyncio.SelectorEventLoop, debug=True)


def test_batcher_works_on_uvloop() -> None:
    uvloop: Any = pytest.importorskip("uvloop", reason="uvloop is not installed")

    async def main() -> None:
        async with Batcher(double, batch_size=3, max_workers=2, max_wait=0.01) as batcher:
            tasks = [asyncio.create_task(batcher(item)) for item in range(100)]
            await asyncio.sleep(0)
            tasks[4].cancel()
            assert sum(isinstance(each, int) for each in await outcomes(*tasks)) == 99
        async with Batcher(tuple[int]) as batcher:
            assert await outcomes(*map(batcher, range(10))) == list(range(10))

    run(main(), uvloop.new_event_loop)


# Statistics, repr, bad input


def test_stats_count_items_sizes_waits_and_times() -> None:
    async def main() -> None:
        async def process(items: list[int]) -> list[Any]:
            await asyncio.sleep(2)
            return [KeyError(item) if item == 4 else item for item in items]

        batcher = Batcher(process, batch_size=3, eager=False, max_wait=1.0, clock=now)
        assert batcher.stats().mean_size == 0
        futures = [batcher.submit(1), batcher.submit(2)]
        await asyncio.sleep(0.5)
        assert batcher.stats().queued == 2
        await outcomes(*futures)  # waits 1, takes 2
        await outcomes(*map(batcher, (3, 4, 5)))  # waits 0, takes 2
        stats = batcher.stats()
        assert (stats.items, stats.batches, stats.mean_size) == (5, 2, 2.5)
        assert dict(stats.sizes) == {2: 1, 3: 1}
        assert dict(stats.starts) == {"time": 1, "full": 1}
        assert (stats.completed, stats.failed) == (4, 1)
        assert (stats.wait_total, stats.wait_max) == (1, 1)
        assert (stats.process_total, stats.process_max) == (4, 2)
        assert (stats.queued, stats.running) == (0, 0)
        with pytest.raises(dataclasses.FrozenInstanceError):
            stats.queued = 3  # type: ignore[misc]

    run(main())


def test_stats_take_no_more_memory_with_the_number_of_items() -> None:
    async def main() -> None:
        batcher = Batcher(double, batch_size=7, max_workers=2)
        for _ in range(3):
            for size in range(1, 30):
                await outcomes(*map(batcher, range(size)))
            stats = batcher.stats()
            assert stats.items == stats.completed
            assert len(stats.sizes) <= 7
            assert len(stats.starts) <= 4

    run(main())


def test_repr_tells_what_is_processed_how_much_waits_and_what_runs() -> None:
    async def main() -> None:
        desk = Desk()
        batcher = desk.batcher(max_workers=3)
        future = batcher.submit(1)
        await settle()
        other = batcher.submit(2)
        assert repr(batcher) == (
            "<Batcher of Desk.process, open: 1 items queued, 1/3 batches at work>"
        )
        await batcher.close(drain=False)
        assert ", closed: 0 items queued, 0/3" in repr(batcher)
        await outcomes(future, other)

    run(main())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"process": None}, "process=None: expected a function"),
        ({"clock": 1.0}, "clock=1.0: expected a function, not async"),
        ({"weight": 1, "max_weight": 1}, "weight=1: expected a function, not async"),
        ({"weight": double, "max_weight": 1}, "weight=.*double.*: expected a function, not async"),
        ({"batch_size": 0}, "batch_size=0: expected an integer of at least 1"),
        ({"batch_size": 2.0}, "batch_size=2.0: expected an integer of at least 1"),
        ({"batch_size": True}, "batch_size=True: expected an integer of at least 1"),
        ({"max_workers": -1}, "max_workers=-1: expected an integer of at least 1"),
        ({"max_queue": 0}, "max_queue=0: expected an integer of at least 1"),
        ({"max_queue": "9"}, "max_queue='9': expected an integer of at least 1"),
        ({"max_wait": -0.1}, "max_wait=-0.1: expected seconds from 0"),
        ({"max_wait": None}, "max_wait=None: expected seconds from 0"),
        ({"max_wait": float("inf")}, "max_wait=inf: expected seconds from 0"),
        ({"weight": len, "max_weight": 0}, "max_weight=0: expected a number above 0"),
        ({"weight": len}, "weight=.*len.*, max_weight=None: expected both or none of them"),
        ({"max_weight": 3}, "weight=None, max_weight=3: expected both or none of them"),
    ],
)
def test_bad_argument_is_an_error_that_names_it(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BatcherError, match=message) as caught:
        Batcher(**{"process": double, **options})
    assert isinstance(caught.value, ValueError | TypeError)


@pytest.mark.parametrize("timeout", [-1, "1", float("nan"), True])
def test_bad_timeout_of_close_is_an_error_and_closes_nothing(timeout: Any) -> None:
    async def main() -> None:
        batcher = Batcher(double)
        with pytest.raises(BatcherError, match=r"timeout=.*: expected seconds from 0, or None"):
            await batcher.close(timeout=timeout)
        assert await batcher(1) == 2

    run(main())


def test_async_callable_objects_are_awaited_and_not_run_in_threads() -> None:
    class Process:
        async def __call__(self, items: list[int]) -> list[int]:
            return [threading.get_ident() for _ in items]

    async def main() -> None:
        assert await Batcher(Process())(1) == threading.get_ident()

    run(main())


def test_module_runs_alone_when_copied(tmp_path: Any) -> None:
    from pytest_agentperf.reference import batcher

    program = (
        "import asyncio, batcher\n"
        "print(asyncio.run(batcher.Batcher(lambda items: [2 * item for item in items])(21)))"
    )
    shutil.copy(batcher.__file__, tmp_path / "batcher.py")
    out = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert (out.stdout, out.stderr) == ("42\n", "")
