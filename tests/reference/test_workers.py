"""The worker pool: bounded, the oldest first, every caller answered; mostly in virtual time.

The event loop of these tests jumps to its next timer, and fails a test that would wait for ever.
Tests with threads run on an ordinary loop and wait for events.
"""

import asyncio
import contextlib
import contextvars
import functools
import gc
import random
import selectors
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_agentperf.reference.workers import (
    JobCancelledError,
    WorkerPool,
    WorkersClosedError,
    WorkersFullError,
    WorkersTypeError,
    WorkersUsageError,
    WorkersValueError,
    chunks,
)


class _JumpingSelector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
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


def clock() -> float:
    return asyncio.get_running_loop().time()


def timers(loop: asyncio.AbstractEventLoop | None = None) -> int:
    scheduled = cast("Any", loop or asyncio.get_running_loop())._scheduled
    return sum(not handle.cancelled() for handle in scheduled)


def run(
    main: Coroutine[Any, Any, None],
    *,
    is_eager: bool = False,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = JumpingLoop,
    complaint: type[Exception] | None = None,
) -> None:
    """Run *main*; no task, timer or complaint of asyncio, but for *complaint*, may be left."""

    async def checked() -> None:
        if is_eager:
            loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 - 3.12
        await main
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left
        assert not timers()

    problems: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        loop = runner.get_loop()
        loop.set_exception_handler(lambda _loop, context: problems.append(context))
        runner.run(checked())
        gc.collect()
    for problem in problems:
        assert complaint is not None, problem
        assert isinstance(problem["exception"], complaint)


def run_with_threads(main: Coroutine[Any, Any, None]) -> None:
    run(asyncio.wait_for(main, 30), loop_factory=asyncio.new_event_loop)


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def collect(results: AsyncIterator[Any], found: list[Any]) -> None:
    async for result in results:
        found.append(result)  # noqa: PERF401 - keeps what came before an error


async def double(item: int) -> int:
    await asyncio.sleep(0)
    return 2 * item


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


class Jobs:
    """Jobs that note when they begin and end, and end when they are told to."""

    def __init__(self) -> None:
        self.began: list[Any] = []
        self.ended: list[Any] = []
        self.gates: dict[Any, asyncio.Future[Any]] = {}

    async def __call__(self, name: Any) -> Any:
        self.began.append(name)
        try:
            return await self.gates.setdefault(name, asyncio.get_running_loop().create_future())
        finally:
            self.ended.append(name)

    async def end(self, *names: Any) -> None:
        for name in names:
            self.gates[name].set_result(name)
        await turns()


# Jobs


def test_jobs_are_at_work_up_to_max_workers_the_oldest_first() -> None:
    async def main() -> None:
        pool, jobs = WorkerPool(2), Jobs()
        futures = [pool.submit(jobs, number) for number in range(4)]
        await turns()
        assert jobs.began == [0, 1]
        await jobs.end(1)
        assert jobs.began == [0, 1, 2]
        assert pool.stats().busy == 2
        assert pool.stats().queued == 1
        await jobs.end(0, 2)
        await jobs.end(3)
        assert await asyncio.gather(*futures) == [0, 1, 2, 3]
        assert pool.stats().busy == 0

    run(main())


def test_submit_passes_arguments_and_returns_a_future() -> None:
    async def add(one: int, *, other: int) -> int:
        return one + other

    async def name(**names: int) -> tuple[int, ...]:
        return tuple(names.values())

    async def main() -> None:
        future = WorkerPool(1).submit(add, 1, other=2)
        assert asyncio.isfuture(future)
        assert await future == 3
        assert await WorkerPool(1).submit(name, function=1, max_queue=2, self=3) == (1, 2, 3)

    run(main())


def test_idle_pool_has_neither_task_nor_timer() -> None:
    async def main() -> None:
        pool = WorkerPool(5)
        await asyncio.gather(*(pool.submit(double, number) for number in range(20)))
        await turns()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not timers()

    run(main())


def test_error_of_a_job_reaches_its_caller_alone_and_frees_the_worker() -> None:
    async def fail() -> None:
        raise KeyError("lost")

    async def main() -> None:
        pool = WorkerPool(1)
        first, second = pool.submit(fail), pool.submit(double, 4)
        with pytest.raises(KeyError, match="lost"):
            await first
        assert await second == 8
        assert (pool.stats().failed, pool.stats().done) == (1, 1)

    run(main())


def test_wrong_arguments_reach_the_caller_of_a_queued_job_alone() -> None:
    async def main() -> None:
        pool = WorkerPool(1)
        first, second = pool.submit(double, 1), pool.submit(cast("Any", double), 1, 2, 3)
        third = pool.submit(double, 3)
        assert await first == 2
        with pytest.raises(TypeError, match="positional argument"):
            await second
        assert await third == 6

    run(main())


def test_job_has_the_context_of_its_submitter_and_a_copy_of_its_own() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")

    async def read(change: str) -> str:
        found = name.get()
        name.set(change)
        return found

    def read_in_thread() -> str:
        return name.get()

    async def main() -> None:
        pool, found = WorkerPool(1, idle_timeout=None), []
        for who in ("a", "b", "c"):
            name.set(who)
            found += [pool.submit(read, "changed"), pool.submit(read_in_thread)]
        assert await asyncio.gather(*found) == ["a", "a", "b", "b", "c", "c"]
        await pool.close()

    run_with_threads(main())


@pytest.mark.parametrize("is_eager", [False, True])
def test_jobs_may_submit_jobs(*, is_eager: bool) -> None:
    if is_eager and sys.version_info < (3, 12):
        pytest.skip("tasks are eager from 3.12")
    order = []

    async def job(depth: int) -> None:
        order.append(depth)
        if depth < 5:
            pool.submit(job, depth + 1)

    async def main() -> None:
        pool.submit(job, 0)
        await turns(30)
        assert order == [0, 1, 2, 3, 4, 5]
        assert pool.stats().busy == 0

    pool = WorkerPool(2)
    run(main(), is_eager=is_eager)


# Cancellation


def test_cancelled_caller_cancels_its_own_job_only() -> None:
    async def main() -> None:
        pool, jobs = WorkerPool(2), Jobs()
        futures = [pool.submit(jobs, number) for number in range(5)]
        await turns()
        futures[0].cancel()  # at work
        futures[2].cancel()  # queued
        await turns()
        assert jobs.ended == [0]
        assert jobs.began == [0, 1, 3]
        await jobs.end(1, 3)
        await jobs.end(4)
        found = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(each) for each in found[::2]] == [
            asyncio.CancelledError, asyncio.CancelledError, int,
        ]  # fmt: skip
        stats = pool.stats()
        assert (stats.done, stats.cancelled, stats.busy, stats.queued) == (3, 2, 0, 0)

    run(main())


def test_caller_cancelled_while_it_awaits_cancels_the_job() -> None:
    async def main() -> None:
        pool, jobs = WorkerPool(1), Jobs()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await pool.submit(jobs, "a")
        await turns()
        assert jobs.ended == ["a"]
        assert pool.stats().busy == 0

    run(main())


def test_job_cancelled_before_its_first_step_never_begins() -> None:
    async def main() -> None:
        pool, jobs = WorkerPool(1), Jobs()
        first, second = pool.submit(jobs, 1), pool.submit(jobs, 2)
        first.cancel()
        await turns()
        assert jobs.began == [2]
        await jobs.end(2)
        assert await second == 2

    run(main())


def test_worker_stays_busy_until_a_cancelled_job_has_cleaned_up() -> None:
    async def slow_to_end() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(5)

    async def main() -> None:
        pool, jobs = WorkerPool(1), Jobs()
        first = pool.submit(slow_to_end)
        pool.submit(jobs, "next")
        await turns()
        first.cancel()
        await asyncio.sleep(4)
        assert (pool.stats().busy, jobs.began) == (1, [])
        await asyncio.sleep(2)
        assert jobs.began == ["next"]
        await jobs.end("next")

    run(main())


def test_result_of_a_job_that_ignores_its_cancellation_is_dropped() -> None:
    async def stubborn() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await forever()
        return "done all the same"

    async def main() -> None:
        pool = WorkerPool(1)
        future = pool.submit(stubborn)
        await turns()
        future.cancel()
        await turns()
        assert future.cancelled()
        assert await pool.submit(double, 1) == 2
        assert (pool.stats().done, pool.stats().cancelled) == (1, 1)

    run(main())


def test_error_of_a_job_whose_caller_has_gone_is_left_to_asyncio_to_log() -> None:
    logged = []

    async def fail_at_the_end() -> None:
        try:
            await forever()
        finally:
            raise KeyError("lost")

    async def main() -> None:
        pool = WorkerPool(1)
        future = pool.submit(fail_at_the_end)
        await turns()
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: logged.append(type(context["exception"]))
        )
        future.cancel()
        await turns()
        assert await pool.submit(double, 1) == 2

    run(main())
    assert logged == [KeyError]


def test_job_that_raises_cancelled_error_answers_its_caller_and_frees_the_worker() -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    async def main() -> None:
        pool = WorkerPool(1)
        with pytest.raises(JobCancelledError, match="ended the job, not its caller"):
            await pool.submit(cancelled)
        assert await pool.submit(double, 4) == 8
        assert pool.stats().failed == 1

    run(main())


@pytest.mark.parametrize("has_begun", [False, True])
def test_task_of_a_job_cancelled_by_others_answers_its_caller(*, has_begun: bool) -> None:
    async def main() -> None:
        pool = WorkerPool(1)
        before = asyncio.all_tasks()
        future = pool.submit(forever)
        if has_begun:
            await turns()
        (task,) = asyncio.all_tasks() - before
        task.cancel()
        with pytest.raises(JobCancelledError):
            await future
        assert await pool.submit(double, 4) == 8

    run(main())


def test_job_that_wants_to_end_the_program_ends_it_and_answers_its_caller() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    async def main() -> None:
        futures.append(pool.submit(leave))
        await forever()

    pool, futures = WorkerPool(1), list[asyncio.Future[None]]()
    loop = asyncio.new_event_loop()
    task = loop.create_task(main())
    with pytest.raises(SystemExit):
        loop.run_until_complete(task)
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    assert isinstance(futures[0].exception(), JobCancelledError)
    assert pool.stats().busy == 0
    loop.close()


def test_program_ends_although_jobs_hang() -> None:
    async def main() -> None:
        pool, jobs = WorkerPool(1), Jobs()
        futures.extend(pool.submit(jobs, number) for number in range(3))
        await turns()

    futures: list[asyncio.Future[Any]] = []
    problems: list[Any] = []
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.get_loop().set_exception_handler(lambda _loop, context: problems.append(context))
        runner.run(main())
    kinds = [type(future.exception()) for future in futures]
    assert kinds == [JobCancelledError, WorkersClosedError, WorkersClosedError]
    gc.collect()
    assert not problems


def test_many_cancelled_jobs_cost_linear_time() -> None:
    def calls(count: int) -> int:
        made = 0

        def profile(frame: Any, event: str, _: Any) -> None:
            nonlocal made
            made += event in ("call", "c_call")

        async def main() -> None:
            pool = WorkerPool(1)
            futures = [pool.submit(forever) for _ in range(count)]
            await turns()
            sys.setprofile(profile)
            for future in reversed(futures):
                future.cancel()
            await turns()
            sys.setprofile(None)
            assert (pool.stats().queued, pool.stats().busy) == (0, 0)

        run(main())
        return made

    assert calls(1000) < 2.2 * calls(500)


# Threads


def test_sync_functions_run_in_threads_up_to_max_workers() -> None:
    barrier, here = threading.Barrier(8), threading.current_thread()

    def meet(number: int) -> tuple[int, threading.Thread]:
        barrier.wait(10)  # breaks unless eight are here, more than a loop's own threads
        return number, threading.current_thread()

    async def main() -> None:
        async with WorkerPool(8) as pool:
            found = await asyncio.gather(*(pool.submit(meet, number) for number in range(8)))
            assert [number for number, _ in found] == list(range(8))
            assert here not in [thread for _, thread in found]

    run_with_threads(main())


def test_slot_of_a_cancelled_sync_job_is_free_only_when_its_thread_ends() -> None:
    began, end = threading.Event(), threading.Event()

    def block() -> None:
        began.set()
        end.wait(10)

    async def main() -> None:
        async with WorkerPool(1) as pool:
            future, behind = pool.submit(block), pool.submit(double, 1)
            await asyncio.to_thread(began.wait, 10)
            future.cancel()
            await turns(50)
            assert future.cancelled()
            assert not behind.done()
            assert (pool.stats().busy, pool.stats().queued) == (1, 1)
            end.set()
            assert await behind == 2

    run_with_threads(main())


def test_errors_of_sync_jobs_reach_their_callers() -> None:
    def fail(error: BaseException) -> None:
        raise error

    async def main() -> None:
        async with WorkerPool(1) as pool:
            with pytest.raises(KeyError):
                await pool.submit(fail, KeyError("lost"))
            with pytest.raises(RuntimeError, match="the job raised StopIteration"):
                await pool.submit(fail, StopIteration(3))
            with pytest.raises(JobCancelledError):
                await pool.submit(fail, asyncio.CancelledError())
            assert await pool.submit(max, 3, 4) == 4

    run_with_threads(main())


def test_functions_are_told_apart_by_what_they_are() -> None:
    class Agent:
        async def __call__(self, item: int) -> int:
            return await double(item)

        async def ask(self, item: int) -> int:
            return await double(item)

    async def main() -> None:
        agent = Agent()
        pool = WorkerPool(1)
        for function in (double, agent, agent.ask, functools.partial(double)):
            assert await pool.submit(cast("Any", function), 2) == 4
        threads = pool._threads
        assert threads is None
        assert await pool.submit(lambda: double(2)) == 4
        assert pool._threads is not None
        await pool.close()

    run_with_threads(main())


def test_threads_end_after_idle_timeout_and_come_again() -> None:
    async def main() -> None:
        pool = WorkerPool(2, idle_timeout=0.02)
        for _ in range(2):
            thread = await pool.submit(threading.current_thread)
            assert thread.is_alive()
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive()
            assert timers() == 1  # of run_with_threads

    run_with_threads(main())


def test_idle_timer_is_one_and_moves_with_each_sync_job() -> None:
    async def main() -> None:
        pool = WorkerPool(3, idle_timeout=100)
        for _ in range(5):
            await pool.submit(max, 1, 2)
            await turns()
        assert timers() == 1 + 1  # the other is of run_with_threads
        await pool.close()
        assert timers() == 1
        assert pool._threads is None

    run_with_threads(main())


def test_thread_that_ends_after_its_loop_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    began, end = threading.Event(), threading.Event()

    def block() -> None:
        began.set()
        end.wait(10)

    async def main() -> None:
        pool.submit(block)
        await asyncio.to_thread(began.wait, 10)

    pool = WorkerPool(1)
    asyncio.run(main())
    threads = pool._threads
    end.set()
    cast("Any", threads).shutdown(wait=True)
    assert not caplog.records

    async def again() -> None:
        async with pool:
            assert await pool.submit(double, 1) == 2

    run(again())


# Queue


def test_max_queue_refuses_one_more() -> None:
    async def main() -> None:
        pool, jobs = WorkerPool(1, 2), Jobs()
        futures = [pool.submit(jobs, number) for number in range(3)]
        with pytest.raises(WorkersFullError, match="max_queue=2 jobs wait; <WorkerPool open: 1/1"):
            pool.submit(jobs, 3)
        assert pool.stats().rejected == 1
        futures[1].cancel()
        await turns()
        futures.append(pool.submit(jobs, 4))
        await jobs.end(0)
        await jobs.end(2)
        await jobs.end(4)
        assert jobs.began == [0, 2, 4]

    run(main())


def test_max_queue_of_zero_takes_what_a_worker_is_free_for() -> None:
    async def main() -> None:
        pool, jobs = WorkerPool(1, 0), Jobs()
        pool.submit(jobs, 0)
        with pytest.raises(WorkersFullError):
            pool.submit(jobs, 1)
        await turns()
        await jobs.end(0)
        assert await pool.submit(double, 1) == 2

    run(main())


def test_waits_and_work_are_measured() -> None:
    async def main() -> None:
        pool = WorkerPool(1, clock=clock)
        await asyncio.gather(*(pool.submit(asyncio.sleep, seconds) for seconds in (2, 3, 1)))
        await turns()
        stats = pool.stats()
        assert (stats.wait_total, stats.wait_max) == (2 + 5, 5)
        assert (stats.work_total, stats.work_max) == (6, 3)
        assert stats.done == 3

    run(main())


def test_repr_shows_state_and_numbers() -> None:
    async def main() -> None:
        pool, jobs = WorkerPool(2), Jobs()
        for number in range(3):
            pool.submit(jobs, number)
        assert repr(pool) == "<WorkerPool open: 2/2 busy, 1 queued>"
        await turns()
        await pool.close(drain=False)
        assert repr(pool) == "<WorkerPool closed: 0/2 busy, 0 queued>"

    run(main())


# Map


async def count(numbers: int, log: list[Any] | None = None) -> AsyncIterator[int]:
    for number in range(numbers):
        if log is not None:
            log.append(number)
        yield number


@pytest.mark.parametrize("is_async", [False, True])
def test_map_yields_results_in_order(*, is_async: bool) -> None:
    async def slow_first(item: int) -> int:
        await asyncio.sleep(10 - item)
        return item

    async def main() -> None:
        pool = WorkerPool(3)
        items: Any = count(10) if is_async else range(10)
        assert [each async for each in pool.map(slow_first, items)] == list(range(10))

    run(main())


def test_map_takes_any_async_iterator() -> None:
    class Ticks:
        left = 3

        def __aiter__(self) -> AsyncIterator[int]:
            return self

        async def __anext__(self) -> int:
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return self.left

    async def main() -> None:
        assert [each async for each in WorkerPool(2).map(double, Ticks())] == [4, 2, 0]

    run(main())


def test_map_yields_results_as_they_come_if_order_does_not_matter() -> None:
    async def nap(seconds: int) -> int:
        await asyncio.sleep(seconds)
        return seconds

    async def main() -> None:
        results = WorkerPool(3).map(nap, [9, 1, 5, 2], ordered=False)
        assert [each async for each in results] == [1, 2, 5, 9]  # the 2 begins after the 1

    run(main())


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("ahead", [1, 3])
def test_map_looks_ahead_no_further_than_asked(ahead: int, *, ordered: bool) -> None:
    async def main() -> None:
        pool, taken, found = WorkerPool(10), list[int](), 0
        async for _ in pool.map(double, count(20, taken), ahead=ahead, ordered=ordered):
            found += 1
            await turns()
            assert len(taken) == min(20, found + ahead)  # it looks as far ahead, too
        assert found == 20

    run(main())


def test_map_takes_endless_items() -> None:
    def numbers() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    async def main() -> None:
        pool, found = WorkerPool(2), []
        async with aclosing(pool.map(double, numbers())) as results:
            async for result in results:
                found.append(result)
                if len(found) == 5:
                    break
        assert found == [0, 2, 4, 6, 8]
        await turns()
        assert pool.stats().busy == 0

    run(main())


@pytest.mark.parametrize("ordered", [False, True])
def test_map_of_a_slow_stream_yields_each_result_before_the_next_item(*, ordered: bool) -> None:
    async def ticks() -> AsyncIterator[int]:
        for number in range(3):
            await asyncio.sleep(10)
            yield number

    async def main() -> None:
        times = [clock() async for _ in WorkerPool(5).map(double, ticks(), ordered=ordered)]
        assert times == [10, 20, 30]

    run(main())


@pytest.mark.parametrize("ordered", [False, True])
def test_map_ends_with_the_first_error_and_cancels_the_other_jobs(*, ordered: bool) -> None:
    ended = []

    async def work(item: int) -> int:
        try:
            await asyncio.sleep(1 if item == 1 else 0 if item == 0 else 100)
            if item == 1:
                raise KeyError(item)
        finally:
            ended.append((item, clock()))
        return item

    async def main() -> None:
        pool, found = WorkerPool(4), list[int]()
        with pytest.raises(KeyError):
            await collect(pool.map(work, count(10), ordered=ordered), found)
        await turns()
        assert found == [0]
        assert sorted(ended) == [(0, 0), (1, 1), (2, 1), (3, 1), (4, 1)]
        assert (pool.stats().busy, pool.stats().queued, pool.stats().cancelled) == (0, 0, 3)

    run(main())


@pytest.mark.parametrize("ordered", [False, True])
def test_map_yields_the_results_of_the_items_before_an_error_of_the_stream(
    *, ordered: bool
) -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        yield 2
        raise ConnectionError("the stream broke")

    async def main() -> None:
        found = list[int]()
        with pytest.raises(ConnectionError, match="the stream broke"):
            await collect(WorkerPool(5).map(double, broken(), ordered=ordered), found)
        assert found == [2, 4]

    run(main())


@pytest.mark.parametrize("way", ["break", "error", "cancel"])
@pytest.mark.parametrize("ordered", [False, True])
def test_consumer_that_leaves_early_cancels_jobs_and_closes_the_stream(
    way: str, *, ordered: bool
) -> None:
    closed = []

    async def stream() -> AsyncIterator[int]:
        reader = asyncio.current_task()
        try:
            for number in range(100):
                yield number
        finally:
            await asyncio.sleep(1)
            closed.append(asyncio.current_task() is reader)

    async def work(item: int) -> int:
        await asyncio.sleep(0 if item == 0 else 50)
        return item

    async def consume(pool: WorkerPool) -> None:
        async with aclosing(pool.map(work, stream(), ordered=ordered)) as results:
            async for _ in results:
                if way == "break":
                    break
                if way == "error":
                    raise ZeroDivisionError

    async def main() -> None:
        pool = WorkerPool(3)
        consumer = asyncio.create_task(consume(pool))
        await asyncio.sleep(5)
        consumer.cancel()
        (found,) = await asyncio.gather(consumer, return_exceptions=True)
        assert closed == [True]
        await turns()
        assert (pool.stats().busy, pool.stats().queued) == (0, 0)
        assert clock() < 50
        kinds = {"break": type(None), "error": ZeroDivisionError, "cancel": asyncio.CancelledError}
        assert type(found) is kinds[way]

    run(main())


def test_map_drops_the_errors_of_jobs_that_nobody_came_to() -> None:
    async def fail(item: int) -> None:
        raise KeyError(item)

    async def main() -> None:
        with pytest.raises(KeyError, match="0"):
            async for _ in WorkerPool(5).map(fail, range(5)):
                pass

    run(main())  # fails if asyncio complains of exceptions that were never retrieved


def test_map_that_is_never_iterated_takes_nothing() -> None:
    async def main() -> None:
        taken = list[int]()
        async with aclosing(WorkerPool(5).map(double, count(5, taken))):
            await turns()
        assert taken == []

    run(main())


def test_jobs_of_map_are_not_refused_by_max_queue() -> None:
    async def main() -> None:
        pool = WorkerPool(1, 0)
        assert [each async for each in pool.map(double, range(5), ahead=5)] == [0, 2, 4, 6, 8]

    run(main())


def test_map_ends_with_closed_error_when_the_pool_is_closed() -> None:
    async def main() -> None:
        pool = WorkerPool(2)
        results = pool.map(double, count(10))
        assert await anext(results) == 0
        await pool.close()
        assert await anext(results) == 2
        with pytest.raises(WorkersClosedError, match="takes no more jobs"):
            await anext(results)

    run(main())


def test_two_maps_share_the_workers() -> None:
    most = 0

    async def work(item: int) -> int:
        nonlocal most
        most = max(most, pool.stats().busy)
        return await double(item)

    async def doubled(base: int) -> list[int]:
        return [each async for each in pool.map(work, range(base, base + 20))]

    async def main() -> None:
        one, other = await asyncio.gather(doubled(0), doubled(100))
        assert one == [2 * item for item in range(20)]
        assert other == [2 * item for item in range(100, 120)]
        assert most == 3

    pool = WorkerPool(3)
    run(main())


# Chunks


@pytest.mark.parametrize(
    ("items", "size", "found"),
    [
        (0, 3, []),
        (2, 3, [[0, 1]]),
        (3, 3, [[0, 1, 2]]),
        (4, 3, [[0, 1, 2], [3]]),
        (3, 1, [[0], [1], [2]]),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_chunks_are_full_but_for_the_last(
    items: int, size: int, found: list[list[int]], *, is_async: bool
) -> None:
    async def main() -> None:
        source: Any = count(items) if is_async else range(items)
        assert [chunk async for chunk in chunks(source, size)] == found

    run(main())


def test_chunk_goes_max_wait_after_its_first_item() -> None:
    async def stream() -> AsyncIterator[int]:
        for number, pause in enumerate((5, 0.4, 0.4, 0.4, 9, 0, 0, 0)):
            await asyncio.sleep(pause)
            yield number

    async def main() -> None:
        found = [(round(clock(), 6), chunk) async for chunk in chunks(stream(), 3, max_wait=0.5)]
        assert found == [
            (5.5, [0, 1]),
            (6.3, [2, 3]),
            (15.2, [4, 5, 6]),
            (15.2, [7]),
        ]

    run(main())


def test_chunk_without_max_wait_waits_to_be_full() -> None:
    async def main() -> None:
        async def stream() -> AsyncIterator[int]:
            for number in range(4):
                await asyncio.sleep(100)
                yield number

        assert [clock() async for _ in chunks(stream(), 2)] == [200, 400]

    run(main())


def test_chunks_read_one_chunk_in_advance_and_no_more() -> None:
    async def main() -> None:
        taken, found = list[int](), 0
        async for _ in chunks(count(100, taken), 10, max_wait=1):
            found += 10
            await asyncio.sleep(5)
            assert len(taken) == min(100, found + 10)
        assert found == 100

    run(main())


def test_chunks_hand_over_what_came_before_an_error() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ConnectionError("the stream broke")

    async def main() -> None:
        found = list[list[int]]()
        with pytest.raises(ConnectionError):
            await collect(chunks(broken(), 10), found)
        assert found == [[1]]

    run(main())


def test_chunks_left_early_leave_neither_task_nor_timer() -> None:
    async def stream() -> AsyncIterator[int]:
        while True:
            yield 1
            await asyncio.sleep(0.3)

    async def main() -> None:
        async with aclosing(chunks(stream(), 3, max_wait=0.5)) as found:
            async for _ in found:
                await turns()
                break
        # run() sees the rest

    run(main())


def test_stream_in_chunks_goes_through_map() -> None:
    async def total(chunk: list[int]) -> int:
        await asyncio.sleep(1)
        return sum(chunk)

    async def main() -> None:
        results = WorkerPool(2).map(total, chunks(count(10), 4))
        assert [each async for each in results] == [0 + 1 + 2 + 3, 4 + 5 + 6 + 7, 8 + 9]
        assert clock() == 2  # two at a time

    run(main())


# Close


def test_close_waits_for_jobs_at_work_and_queued() -> None:
    async def main() -> None:
        async with WorkerPool(1) as pool:
            futures = [pool.submit(double, number) for number in range(4)]
        assert [future.result() for future in futures] == [0, 2, 4, 6]
        with pytest.raises(WorkersClosedError, match="takes no more jobs"):
            pool.submit(double, 1)

    run(main())


def test_close_without_drain_fails_callers_and_cancels_jobs() -> None:
    async def main() -> None:
        pool, jobs = WorkerPool(2), Jobs()
        futures = [pool.submit(jobs, number) for number in range(4)]
        await turns()
        await pool.close(drain=False)
        assert jobs.began == jobs.ended == [0, 1]
        found = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(each) for each in found] == [WorkersClosedError] * 4
        assert (pool.stats().failed, pool.stats().busy, pool.stats().queued) == (4, 0, 0)

    run(main())


def test_error_in_the_block_closes_without_drain() -> None:
    async def main() -> None:
        with contextlib.suppress(ZeroDivisionError):
            async with WorkerPool(1) as pool:
                future = pool.submit(forever)
                await turns()
                raise ZeroDivisionError
        assert isinstance(future.exception(), WorkersClosedError)

    run(main())


@pytest.mark.parametrize(("limit", "is_done"), [(4.9, False), (5.1, True)])
def test_close_gives_up_after_its_timeout(limit: float, *, is_done: bool) -> None:
    async def main() -> None:
        pool = WorkerPool(1)
        future = pool.submit(asyncio.sleep, 5, "slept")
        waiting = pool.submit(asyncio.sleep, 0)
        await pool.close(timeout=limit)
        assert clock() == pytest.approx(5 if is_done else limit)
        (found,) = await asyncio.gather(future, return_exceptions=True)
        assert found == "slept" if is_done else isinstance(found, WorkersClosedError)
        assert waiting.done()
        await turns()

    run(main())


def test_close_with_a_timeout_leaves_threads_to_themselves() -> None:
    began, end = threading.Event(), threading.Event()

    def block() -> None:
        began.set()
        end.wait(10)

    async def main() -> None:
        pool = WorkerPool(1)
        future = pool.submit(block)
        await asyncio.to_thread(began.wait, 10)
        threads = pool._threads
        await pool.close(timeout=0.01)
        assert isinstance(future.exception(), WorkersClosedError)
        assert pool.stats().busy == 1
        end.set()
        await asyncio.to_thread(cast("Any", threads).shutdown)
        await turns()
        assert pool.stats().busy == 0
        await pool.close()

    run_with_threads(main())


def test_cancelled_close_goes_on_draining() -> None:
    async def main() -> None:
        pool = WorkerPool(1)
        futures = [pool.submit(asyncio.sleep, 5, number) for number in range(2)]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await pool.close()
        assert "closed" in repr(pool)
        await pool.close()
        assert [future.result() for future in futures] == [0, 1]

    run(main())


def test_second_close_hastens_the_first() -> None:
    async def main() -> None:
        pool = WorkerPool(1)
        pool.submit(forever)
        closing = asyncio.create_task(pool.close())
        await turns()
        assert not closing.done()
        await pool.close(drain=False)
        await closing
        await pool.close()

    run(main())


@pytest.mark.parametrize("is_eager", [False, True])
def test_job_that_closes_its_pool_is_told_that_it_would_wait_for_itself(*, is_eager: bool) -> None:
    if is_eager and sys.version_info < (3, 12):
        pytest.skip("tasks are eager from 3.12")

    async def main() -> None:
        pool = WorkerPool(1)
        with pytest.raises(WorkersUsageError, match="called by a job"):
            await pool.submit(pool.close)
        assert await pool.submit(double, 1) == 2  # it is open still
        await pool.close()

    run(main(), is_eager=is_eager)


def test_unused_pool_closes_at_once() -> None:
    async def main() -> None:
        await WorkerPool(1).close()

    run(main())


# Event loops


def test_pool_serves_a_new_loop_after_its_old_one_was_closed() -> None:
    pool = WorkerPool(1)

    async def first() -> None:
        futures.extend(pool.submit(forever) for _ in range(3))
        await turns()

    async def second() -> None:
        assert await pool.submit(double, 4) == 8
        futures.clear()
        gc.collect()
        assert await pool.submit(double, 5) == 10
        await pool.close()

    futures: list[asyncio.Future[None]] = []
    loop = JumpingLoop()
    loop.set_exception_handler(lambda _loop, _context: None)  # "Task was destroyed"
    loop.run_until_complete(first())
    loop.close()
    assert pool.stats().busy == 1
    run(second())
    assert pool.stats().busy == pool.stats().queued == 0


def test_idle_threads_of_a_dead_loop_end_when_the_next_uses_the_pool() -> None:
    async def first() -> threading.Thread:
        return await pool.submit(threading.current_thread)

    async def second() -> None:
        assert await pool.submit(double, 1) == 2
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()

    pool = WorkerPool(1)
    with asyncio.Runner() as runner:
        thread = runner.run(first())
    assert thread.is_alive()
    run_with_threads(second())


def test_thread_of_a_dead_loop_that_ends_on_another_changes_nothing() -> None:
    began, end = threading.Event(), threading.Event()

    def block() -> None:
        began.set()
        end.wait(10)

    async def first() -> None:
        future = pool.submit(block)
        await asyncio.to_thread(began.wait, 10)
        future.cancel()
        await turns()

    async def second() -> None:
        threads = pool._threads
        jobs = [pool.submit(asyncio.sleep, 0.01, number) for number in range(3)]
        end.set()
        await asyncio.to_thread(cast("Any", threads).shutdown)
        assert await asyncio.gather(*jobs) == [0, 1, 2]
        await turns()
        assert pool.stats().busy == 0
        await pool.close()

    pool = WorkerPool(1)
    with asyncio.Runner() as runner:
        runner.run(first())
    run_with_threads(second())


def test_second_loop_is_refused_while_the_first_is_open() -> None:
    pool = WorkerPool(1)

    async def use() -> None:
        await pool.submit(double, 1)

    first = JumpingLoop()
    first.run_until_complete(use())
    with asyncio.Runner() as runner:
        with pytest.raises(WorkersUsageError, match="in use by another event loop"):
            runner.run(use())
        with pytest.raises(WorkersUsageError, match="close it there"):
            runner.run(pool.close())
    first.close()
    run(use())


def test_submit_without_a_loop_is_refused() -> None:
    with pytest.raises(WorkersUsageError, match="needs a running event loop"):
        WorkerPool(1).submit(double, 1)


def test_pool_of_a_dead_loop_can_be_closed_on_another() -> None:
    pool = WorkerPool(1)

    async def use() -> None:
        await pool.submit(double, 1)

    run(use())
    run(pool.close())
    with pytest.raises(WorkersClosedError):
        run(use())


# Wrong arguments

make: Any = WorkerPool  # which takes what its types refuse


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: make(0), WorkersValueError, "max_workers=0: expected an integer from 1"),
        (lambda: make("2"), WorkersTypeError, "max_workers='2': expected an integer from 1"),
        (lambda: make(True), WorkersTypeError, "max_workers=True"),
        (lambda: make(1.5), WorkersTypeError, "max_workers=1.5"),
        (lambda: make(1, -1), WorkersValueError, "max_queue=-1: expected an integer from 0"),
        (lambda: make(1, 1.0), WorkersTypeError, "max_queue=1.0"),
        (lambda: make(1, idle_timeout=-1), WorkersValueError, "idle_timeout=-1: expected seconds"),
        (lambda: make(1, idle_timeout="1"), WorkersTypeError, "idle_timeout='1'"),
        (lambda: make(1, idle_timeout=float("nan")), WorkersValueError, "idle_timeout=nan"),
        (lambda: make(1, clock=3), WorkersTypeError, "clock=3: expected a function"),
    ],
)
def test_wrong_option_is_named_with_what_is_accepted(
    call: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()


async def _first(items: Any) -> Any:
    return await anext(aiter(items))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: _first(p.map(double, [1], ahead=0)), WorkersValueError, "ahead=0: .* from 1"),
        (lambda p: _first(p.map(double, [1], ahead="1")), WorkersTypeError, "ahead='1'"),
        (lambda p: _first(p.map(5, [1])), WorkersTypeError, "function=5: expected a function"),
        (lambda p: _first(p.map(double, 5)), TypeError, "not iterable"),
        (lambda p: _first(chunks([1], 0)), WorkersValueError, "size=0: expected an integer from 1"),
        (lambda p: _first(chunks([1], 2, -1)), WorkersValueError, "max_wait=-1"),
        (lambda p: p.close(timeout=-1), WorkersValueError, "timeout=-1: expected seconds from 0"),
    ],
)
def test_wrong_argument_is_named_with_what_is_accepted(
    call: Callable[[WorkerPool], Coroutine[Any, Any, object]],
    error: type[Exception],
    message: str,
) -> None:
    async def main() -> None:
        with pytest.raises(error, match=message):
            await call(WorkerPool(1))

    run(main())


def test_coroutine_in_place_of_a_function_is_refused() -> None:
    async def main() -> None:
        work = double(1)
        with pytest.raises(WorkersTypeError, match="expected a function and its arguments"):
            WorkerPool(1).submit(cast("Any", work))
        work.close()

    run(main())


# Random schedules


class Schedule:
    """Random jobs and maps; the invariants are checked in each job and after each step."""

    def __init__(self, seed: int) -> None:
        self.random = rand = random.Random(seed)
        self.limit, self.max_queue = rand.randint(1, 5), rand.choice([None, 0, 3, 20])
        self.pool = WorkerPool(self.limit, self.max_queue, clock=clock)
        self.at_work = self.submitted = self.rejected = 0
        self.begun: list[int] = []
        self.open: dict[asyncio.Future[Any], int] = {}
        self.answers: dict[int, int] = {}
        self.maps: list[asyncio.Task[None]] = []

    async def job(self, number: int, seconds: float, ending: str) -> int:
        self.at_work += 1
        self.begun.append(number)
        assert self.at_work <= self.limit
        try:
            await asyncio.sleep(seconds)
            if ending == "error":
                raise ZeroDivisionError
            if ending == "cancelled":
                raise asyncio.CancelledError
        finally:
            try:
                await asyncio.sleep(0.2 if ending == "slow" else 0)
            finally:
                self.at_work -= 1
        return number

    def submit(self) -> None:
        rand, number = self.random, self.submitted
        ending = rand.choice(["", "", "", "error", "cancelled", "slow"])
        try:
            future = self.pool.submit(self.job, number, rand.choice([0, 0, 0.1, 1]), ending)
        except WorkersFullError:
            self.rejected += 1
            return
        self.submitted += 1
        self.open[future] = number

        def answer(found: asyncio.Future[int]) -> None:
            self.answers[number] = self.answers.get(number, 0) + 1
            del self.open[found]
            if not found.cancelled() and not found.exception():
                assert found.result() == number

        future.add_done_callback(answer)

    async def consume(self, items: int, leave_at: int, *, ordered: bool) -> None:
        found = list[int]()

        async def work(item: int) -> int:
            await self.job(-1, item % 3 / 10, "")
            return item

        ahead = self.random.randint(1, 6)
        results = self.pool.map(work, count(items), ahead=ahead, ordered=ordered)
        async with aclosing(results):
            async for result in results:
                found.append(result)
                if len(found) == leave_at:
                    break
        if ordered:
            assert found == list(range(len(found)))
        elif len(found) < leave_at:
            assert sorted(found) == list(range(items))

    def check(self) -> None:
        stats = self.pool.stats()
        assert self.at_work <= stats.busy <= self.limit
        waiting = [future for future in self.pool._queue if not future.done()]
        assert not waiting or stats.busy == self.limit, "a worker rests while jobs wait"
        mine = [number for number in self.begun if number >= 0]
        assert mine == sorted(mine), "overtaken"
        assert all(times == 1 for times in self.answers.values())

    async def step(self) -> None:
        rand, dice = self.random, self.random.random()
        if dice < 0.6:
            self.submit()
        elif dice < 0.75 and self.open:
            rand.choice(list(self.open)).cancel()
        elif dice < 0.78:
            for future in self.open:
                if rand.random() < 0.5:
                    future.cancel()
        elif dice < 0.82:
            consumer = self.consume(
                rand.randint(0, 12), rand.randint(1, 15), ordered=rand.random() < 0.5
            )
            self.maps.append(asyncio.create_task(consumer))
        elif dice < 0.85 and self.maps:
            rand.choice(self.maps).cancel()
        else:
            await asyncio.sleep(rand.choice([0, 0, 0.01, 0.1, 1]))
        if rand.random() < 0.5:
            await asyncio.sleep(0)

    async def run(self, steps: int) -> None:
        for _ in range(steps):
            await self.step()
            self.check()
        found = await asyncio.gather(*self.maps, return_exceptions=True)
        assert {type(each) for each in found} <= {type(None), asyncio.CancelledError}
        await self.pool.close(
            drain=self.random.random() < 0.5, timeout=self.random.choice([None, 0.5])
        )
        await asyncio.sleep(5)
        self.check()
        stats = self.pool.stats()
        assert not self.open
        assert sorted(self.answers) == list(range(self.submitted))
        assert (stats.busy, stats.queued, self.at_work) == (0, 0, 0)
        assert stats.rejected == self.rejected
        assert stats.done + stats.failed + stats.cancelled >= self.submitted


@pytest.mark.parametrize("seed", range(60))
def test_invariants_hold_after_every_step_of_a_random_schedule(seed: int) -> None:
    run(Schedule(seed).run(400), complaint=ZeroDivisionError)


@settings(max_examples=20)
@given(st.integers(60, 2**32))
def test_invariants_hold_on_any_schedule(seed: int) -> None:
    run(Schedule(seed).run(100), complaint=ZeroDivisionError)
