"""The throttle: no lost place, no overtaking, no window above the rate; in virtual time.

The event loop of these tests jumps to its next timer, and fails a test that would wait for ever.
"""

import asyncio
import contextlib
import gc
import math
import random
import selectors
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_agentperf.reference.throttle import (
    Throttle,
    ThrottleFullError,
    ThrottleTimeoutError,
    ThrottleTypeError,
    ThrottleUsageError,
    ThrottleValueError,
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

    def timers(self) -> int:
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return sum(not handle.cancelled() for handle in scheduled)


def timers() -> int:
    return cast("JumpingLoop", asyncio.get_running_loop()).timers()


def clock() -> float:
    return asyncio.get_running_loop().time()


def run(main: Coroutine[Any, Any, None], *, is_eager: bool = False) -> None:
    """Run *main* in virtual time; no task, timer or complaint of asyncio may be left."""

    async def checked() -> None:
        if is_eager:
            loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 - 3.12
        await main
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left
        assert not loop.timers()

    problems: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        loop = cast("JumpingLoop", runner.get_loop())
        loop.set_exception_handler(lambda _loop, context: problems.append(context))
        runner.run(checked())
        gc.collect()
    assert not problems, problems


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Callers:
    """Tasks that enter a throttle and stay until they are let go; what happens is in `events`."""

    def __init__(self, throttle: Throttle) -> None:
        self.throttle = throttle
        self.tasks: dict[Any, asyncio.Task[None]] = {}
        self.leave: dict[Any, asyncio.Event] = {}
        self.inside: list[Any] = []
        self.events: list[Any] = []

    async def _stay(self, name: Any, amount: int, limit: float | None) -> None:
        async with self.throttle(amount, limit):
            self.inside.append(name)
            self.events.append(name)
            try:
                await self.leave[name].wait()
            finally:
                self.inside.remove(name)

    async def enter(self, *names: Any, amount: int = 1, limit: float | None = None) -> None:
        for name in names:
            self.leave[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._stay(name, amount, limit))
        await turns()

    async def let_go(self, *names: Any) -> None:
        for name in names:
            self.leave[name].set()
        await turns()

    def cancel(self, *names: Any) -> None:
        for name in names:
            self.tasks[name].cancel()

    async def end(self) -> list[type[BaseException]]:
        """Let everybody in and go; return the kinds of errors that callers got."""
        for event in self.leave.values():
            event.set()
        found = await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        stats = self.throttle.stats()
        assert (stats.active, stats.waiting, self.inside) == (0, 0, [])
        outcomes = stats.admitted + stats.cancelled + stats.timeouts + stats.rejected
        assert outcomes >= len(found) - sum(isinstance(each, RuntimeError) for each in found)
        return [type(each) for each in found if isinstance(each, BaseException)]


# Places


def test_callers_are_inside_up_to_the_concurrency_and_none_above() -> None:
    async def main() -> None:
        callers = Callers(Throttle(2))
        await callers.enter(1, 2, 3)
        assert callers.inside == [1, 2]
        assert callers.throttle.stats().waiting == 1
        await callers.let_go(1)
        assert callers.inside == [2, 3]
        assert await callers.end() == []

    run(main())


def test_bare_throttle_and_its_calls_share_places() -> None:
    async def main() -> None:
        throttle = Throttle(1)
        async with throttle:
            with pytest.raises(ThrottleTimeoutError):
                async with throttle(timeout=0):
                    pass
        async with throttle(timeout=0):
            assert throttle.stats().active == 1
        assert throttle.stats().active == 0

    run(main())


def test_error_in_the_block_frees_the_place_and_passes() -> None:
    async def main() -> None:
        throttle = Throttle(1)
        with pytest.raises(ZeroDivisionError):
            async with throttle:
                raise ZeroDivisionError
        with pytest.raises(ZeroDivisionError):
            async with throttle(1):
                raise ZeroDivisionError
        assert throttle.stats().active == 0

    run(main())


def test_exit_stack_can_hold_a_place_across_functions() -> None:
    async def main() -> None:
        throttle = Throttle(2)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(throttle)
            await stack.enter_async_context(throttle(1))
            assert throttle.stats().active == 2
        assert throttle.stats().active == 0

    run(main())


def test_granted_waiter_cancelled_before_it_runs_passes_the_place_on() -> None:
    async def main() -> None:
        callers = Callers(Throttle(1))
        await callers.enter(1, 2, 3)
        callers.leave[1].set()
        await asyncio.sleep(0)  # 1 leaves and 2 is granted
        callers.cancel(2)
        await turns()
        assert callers.inside == [3]
        assert callers.throttle.stats().cancelled == 1
        assert await callers.end() == [asyncio.CancelledError]
        assert callers.throttle.stats().admitted == 2

    run(main())


def test_waiter_cancelled_and_granted_in_one_turn_serves_the_next() -> None:
    async def main() -> None:
        callers = Callers(Throttle(1))
        await callers.enter(1, 2, 3)
        callers.cancel(2)
        callers.leave[1].set()
        await turns()
        assert callers.inside == [3]
        await callers.end()

    run(main())


def test_throttle_is_usable_after_all_its_waiters_were_cancelled() -> None:
    async def main() -> None:
        callers = Callers(Throttle(1))
        await callers.enter(*range(5))
        callers.cancel(*range(5))
        await turns()
        assert callers.throttle.stats().waiting == callers.throttle.stats().active == 0
        await callers.enter("late")
        assert callers.inside == ["late"]
        await callers.end()

    run(main())


def test_newcomer_never_overtakes_a_granted_waiter() -> None:
    async def main() -> None:
        callers = Callers(Throttle(1))
        await callers.enter(1, 2)
        async with contextlib.AsyncExitStack() as stack:
            callers.leave[1].set()
            await asyncio.sleep(0)  # 1 leaves, 2 has not run yet
            with pytest.raises(ThrottleTimeoutError):
                await stack.enter_async_context(callers.throttle(timeout=0))
        await turns()
        assert callers.inside == [2]
        await callers.end()

    run(main())


@pytest.mark.parametrize("is_eager", [False, True])
def test_callers_get_in_by_arrival(*, is_eager: bool) -> None:
    if is_eager and sys.version_info < (3, 12):
        pytest.skip("tasks are eager from 3.12")

    async def main() -> None:
        callers = Callers(Throttle(2))
        await callers.enter(*range(20))
        await callers.end()
        assert callers.events == list(range(20))

    run(main(), is_eager=is_eager)


def test_workers_that_come_back_at_once_take_equal_turns() -> None:
    async def main() -> None:
        throttle, counts = Throttle(10), [0] * 100

        async def work(number: int) -> None:
            while sum(counts) < 10_000:
                async with throttle:
                    await asyncio.sleep(0)
                counts[number] += 1

        await asyncio.gather(*(work(number) for number in range(100)))
        assert max(counts) - min(counts) <= 1

    run(main())


def test_wait_for_around_a_wait_loses_no_place() -> None:
    async def main() -> None:
        throttle = Throttle(1)

        async def visit() -> None:
            async with throttle:
                await asyncio.sleep(1)

        for limit in (0.5, 1, 1.5, 2):  # cut while waiting, at the grant, inside, at the end
            holder = asyncio.create_task(visit())
            await turns()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(visit(), limit)
            await holder
            await turns()
            assert throttle.stats().active == throttle.stats().waiting == 0

    run(main())


def test_cancellation_of_a_waiter_is_not_swallowed() -> None:
    async def main() -> None:
        throttle = Throttle(1)
        async with throttle:
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(1), throttle:
                    pytest.fail("inside twice")
        assert type(caught.value) is TimeoutError
        assert clock() == 1

    run(main())


def test_closed_coroutine_of_a_waiter_leaves_the_queue() -> None:
    async def main() -> None:
        throttle = Throttle(1)

        async def visit() -> None:
            async with throttle:
                pytest.fail("inside twice")

        async with throttle:
            visitor = visit()
            visitor.send(None)
            assert throttle.stats().waiting == 1
            visitor.close()
            await turns()
            assert throttle.stats().waiting == 0
        assert (throttle.stats().active, throttle.stats().cancelled) == (0, 1)

    run(main())


def test_closed_coroutine_of_a_caller_inside_gives_its_place_back() -> None:
    async def main() -> None:
        callers = Callers(Throttle(2))

        async def visit(*, is_bare: bool) -> None:
            async with callers.throttle if is_bare else callers.throttle(1):
                await asyncio.get_running_loop().create_future()

        visitors = [visit(is_bare=True), visit(is_bare=False)]
        for visitor in visitors:
            visitor.send(None)
        await callers.enter(1, 2)
        assert callers.inside == []
        for visitor in visitors:
            visitor.close()
        await turns()
        assert callers.inside == [1, 2]
        await callers.end()

    run(main())


def test_coroutine_collected_in_another_thread_wakes_the_waiter_in_its_own() -> None:
    async def main() -> None:
        callers = Callers(Throttle(1))

        async def visit() -> None:
            async with callers.throttle(1):
                await asyncio.get_running_loop().create_future()

        visitor = visit()
        visitor.send(None)
        await callers.enter(1)
        thread = threading.Thread(target=visitor.close)
        thread.start()
        thread.join()
        assert callers.throttle.stats().active == 1  # nothing was done in the thread
        await turns()
        assert callers.inside == [1]
        await callers.end()

    run(main())


def test_async_generator_closed_by_another_task_gives_its_place_back() -> None:
    async def main() -> None:
        throttle = Throttle(1)

        async def stream() -> Any:
            async with throttle:
                yield 1

        source = stream()
        await anext(source)
        assert throttle.stats().active == 1
        await asyncio.create_task(source.aclose())
        await turns()
        assert throttle.stats().active == 0

    run(main())


@pytest.mark.parametrize("order", [list, lambda numbers: list(reversed(numbers))])
@pytest.mark.parametrize("options", [{"concurrency": 1}, {"rate": 1}])
def test_cancel_of_many_waiters_costs_linear_time_and_leaves_no_memory(
    order: Callable[[Any], Any], options: dict[str, Any]
) -> None:
    def calls(count: int) -> int:
        made = 0

        def profile(frame: Any, event: str, _: Any) -> None:
            nonlocal made
            made += event in ("call", "c_call")

        async def main() -> None:
            callers = Callers(Throttle(**options))
            await callers.enter("first", *range(count))
            sys.setprofile(profile)
            callers.cancel(*order(range(count)))
            await turns()
            sys.setprofile(None)
            assert not callers.throttle._waiters
            await callers.end()

        run(main())
        return made

    assert calls(1000) < 2.2 * calls(500)


def test_cancelled_and_expired_waiters_leave_no_memory_while_nobody_leaves() -> None:
    async def main() -> None:
        callers = Callers(Throttle(1, timeout=5))
        await callers.enter("holder", *range(100))
        callers.cancel(*range(50))
        await turns()
        assert len(callers.throttle._waiters) == 50
        await asyncio.sleep(6)
        assert len(callers.throttle._waiters) == 0
        errors = await callers.end()
        assert errors == [asyncio.CancelledError] * 50 + [ThrottleTimeoutError] * 50

    run(main())


# Limits that change


def test_lower_concurrency_waits_until_enough_have_left() -> None:
    async def main() -> None:
        callers = Callers(Throttle(3))
        await callers.enter(*range(5))
        callers.throttle.resize(concurrency=1)
        await callers.let_go(0, 1)
        assert callers.inside == [2]
        await callers.let_go(2)
        assert callers.inside == [3]
        await callers.end()

    run(main())


def test_higher_concurrency_lets_waiters_in_at_once() -> None:
    async def main() -> None:
        callers = Callers(Throttle(1))
        await callers.enter(*range(5))
        callers.throttle.resize(concurrency=3)
        await turns()
        assert callers.inside == [0, 1, 2]
        await callers.end()

    run(main())


def test_concurrency_lowered_and_raised_again_admits_nobody_too_many() -> None:
    async def main() -> None:
        callers = Callers(Throttle(2))
        await callers.enter(*range(6))
        callers.throttle.resize(concurrency=1)
        await callers.let_go(0)
        callers.throttle.resize(concurrency=2)
        await turns()
        assert callers.inside == [1, 2]
        callers.throttle.resize(concurrency=1)
        callers.throttle.resize(concurrency=3)
        await turns()
        assert callers.inside == [1, 2, 3]
        await callers.end()

    run(main())


def test_higher_rate_wakes_a_waiter_before_its_old_time() -> None:
    async def main() -> None:
        callers = Callers(Throttle(rate=1, per=100, clock=clock))
        await callers.enter(1, 2)
        await asyncio.sleep(1)
        assert callers.inside == [1]
        callers.throttle.resize(rate=2)
        await turns()
        assert callers.inside == [1, 2]
        await callers.end()

    run(main())


def test_lower_rate_counts_what_the_window_has_seen() -> None:
    async def main() -> None:
        callers = Callers(Throttle(rate=4, per=10, clock=clock))
        await callers.enter(1, 2, 3)
        callers.throttle.resize(rate=2)
        await callers.enter(4)
        await asyncio.sleep(9.9)
        assert callers.inside == [1, 2, 3]
        await asyncio.sleep(0.2)
        assert callers.inside == [1, 2, 3, 4]
        await callers.end()

    run(main())


def test_waiter_with_more_than_a_lowered_rate_gets_in_alone() -> None:
    async def main() -> None:
        callers = Callers(Throttle(rate=10, per=10, clock=clock))
        await callers.enter("first", amount=10)
        await callers.enter("large", amount=8)
        await callers.enter("small", amount=1)
        callers.throttle.resize(rate=5)
        with pytest.raises(ThrottleValueError, match="amount=6: expected an integer from 1 to 5"):
            callers.throttle(6)
        await asyncio.sleep(10.1)
        assert callers.inside == ["first", "large"]
        await asyncio.sleep(10)
        assert callers.inside == ["first", "large", "small"]
        await callers.end()

    run(main())


# Rate


class Starts:
    """The starts of callers that enter again and again, with their amounts."""

    def __init__(self, throttle: Throttle) -> None:
        self.throttle, self.found = throttle, list[tuple[float, int]]()

    async def enter(self, amount: int = 1) -> None:
        async with self.throttle(amount):
            self.found.append((clock(), amount))

    def most(self, span: float) -> int:
        """Return the largest amount in any window of *span* seconds, its end excluded."""
        worst, window = 0, deque[tuple[float, int]]()
        for when, amount in self.found:
            window.append((when, amount))
            while window[0][0] + span <= when:
                window.popleft()
            worst = max(worst, sum(each for _, each in window))
        return worst


def test_no_window_sees_more_than_the_rate_wherever_it_begins() -> None:
    async def main() -> None:
        starts = Starts(Throttle(rate=5, per=1, clock=clock))
        await asyncio.sleep(0.9)
        await starts.enter()  # a token bucket, full again at 1.1, would let nine in until then
        for _ in range(3):
            await asyncio.gather(*(starts.enter() for _ in range(9)))
        assert starts.most(1) == 5
        assert [round(when, 6) for when, _ in starts.found[:7]] == [0.9] * 5 + [1.9] * 2

    run(main())


@pytest.mark.parametrize(("after", "is_inside"), [(0.999, False), (1.0, True)])
def test_start_leaves_the_window_after_per_seconds(after: float, *, is_inside: bool) -> None:
    now = 5.0

    async def main() -> None:
        nonlocal now
        throttle = Throttle(rate=1, per=1, clock=lambda: now)
        async with throttle:
            now += after
        with contextlib.nullcontext() if is_inside else pytest.raises(ThrottleTimeoutError):
            async with throttle(timeout=0):
                pass

    run(main())


def test_whole_rate_may_start_at_once_by_default() -> None:
    async def main() -> None:
        starts = Starts(Throttle(rate=3, per=2, clock=clock))
        await asyncio.gather(*(starts.enter() for _ in range(7)))
        assert [when for when, _ in starts.found] == [0, 0, 0, 2, 2, 2, 4]

    run(main())


def test_burst_of_one_spaces_the_callers_evenly() -> None:
    async def main() -> None:
        starts = Starts(Throttle(rate=4, per=2, burst=1, clock=clock))
        await asyncio.gather(*(starts.enter() for _ in range(5)))
        assert [when for when, _ in starts.found] == [0, 0.5, 1, 1.5, 2]

    run(main())


def test_burst_that_does_not_divide_the_rate_keeps_both_limits() -> None:
    async def main() -> None:
        starts = Starts(Throttle(rate=10, per=10, burst=4, clock=clock))
        await asyncio.gather(*(starts.enter() for _ in range(40)))
        assert starts.most(4) == 4
        assert starts.most(10) == 10  # three bursts of four would be twelve

    run(main())


def test_large_amount_is_neither_overtaken_nor_starved_by_small_ones() -> None:
    async def main() -> None:
        callers = Callers(Throttle(rate=10, per=10, clock=clock))
        await callers.enter("a", amount=6)
        await callers.enter("large", amount=10)
        await callers.enter("b", "c", amount=1)
        assert callers.inside == ["a"]  # though there is room for b
        await asyncio.sleep(10)
        assert callers.inside == ["a", "large"]
        await asyncio.sleep(10)
        assert callers.events == ["a", "large", "b", "c"]
        await callers.end()

    run(main())


def test_amounts_of_a_window_add_up() -> None:
    async def main() -> None:
        starts = Starts(Throttle(rate=10, per=1, clock=clock))
        await asyncio.gather(*(starts.enter(amount) for amount in (3, 3, 3, 3, 8, 1, 10)))
        assert [(round(when, 6), amount) for when, amount in starts.found] == [
            (0, 3), (0, 3), (0, 3), (1, 3), (2, 8), (2, 1), (3, 10),
        ]  # fmt: skip

    run(main())


def test_first_waiter_with_a_large_amount_makes_way_when_it_is_cancelled() -> None:
    async def main() -> None:
        callers = Callers(Throttle(rate=10, per=10, clock=clock))
        await callers.enter("a", amount=6)
        await callers.enter("large", amount=10)
        await callers.enter("b", amount=4)
        callers.cancel("large")
        await turns()
        assert callers.inside == ["a", "b"]
        assert timers() == 0
        await callers.end()

    run(main())


def test_grant_that_met_a_cancelled_caller_is_not_counted_against_the_rate() -> None:
    async def main() -> None:
        callers = Callers(Throttle(rate=1, per=100, clock=clock))
        await callers.enter(1, 2, 3)
        callers.throttle.resize(rate=2)  # grants 2, who has not run yet
        assert callers.throttle.stats().waiting == 1
        callers.cancel(2)
        await turns()
        assert callers.inside == [1, 3]
        await callers.end()

    run(main())


def test_grant_that_left_the_window_before_its_caller_went_is_not_taken_back_twice() -> None:
    now = 0.0

    async def main() -> None:
        nonlocal now
        callers = Callers(Throttle(rate=1, per=10, clock=lambda: now))
        await callers.enter(1, 2)
        callers.throttle.resize(rate=2)  # grants 2, who has not run yet
        now = 10.0  # as after a turn that blocked the loop
        async with callers.throttle(timeout=0):
            pass
        callers.cancel(2)
        await callers.enter(3, 4)
        assert callers.inside == [1, 3]
        now = 20.0
        callers.throttle.resize()
        await callers.end()

    run(main())


def test_place_and_rate_are_both_needed() -> None:
    async def main() -> None:
        callers = Callers(Throttle(2, rate=3, per=10, clock=clock))
        await callers.enter(*range(6))
        assert callers.inside == [0, 1]
        await callers.let_go(0, 1)
        assert callers.inside == [2]
        await asyncio.sleep(10)
        assert callers.inside == [2, 3]
        await callers.let_go(2, 3)
        assert callers.inside == [4, 5]
        await callers.end()

    run(main())


def test_one_timer_serves_all_who_wait_for_the_rate_and_none_stays() -> None:
    async def main() -> None:
        callers = Callers(Throttle(rate=1, per=10, clock=clock))
        await callers.enter(*range(50))
        assert timers() == 1
        callers.cancel(*range(1, 50))
        await turns()
        assert timers() == 0
        await callers.end()

    run(main())


def test_caller_who_waits_for_a_place_needs_no_timer() -> None:
    async def main() -> None:
        callers = Callers(Throttle(1, rate=100, clock=clock))
        await callers.enter(1, 2)
        assert timers() == 0
        await callers.end()

    run(main())


def test_timer_that_rings_early_admits_nobody_early() -> None:
    async def main() -> None:
        now = 0.0
        callers = Callers(Throttle(rate=1, per=10, clock=lambda: now))
        await callers.enter(1, 2)
        now = 9.9999
        await asyncio.sleep(10.001)
        assert callers.inside == [1]
        assert timers() == 1
        now = 10.0
        await asyncio.sleep(0.01)
        assert callers.inside == [1, 2]
        await callers.end()

    run(main())


# Timeouts and refusals


@pytest.mark.parametrize(("hold", "is_inside"), [(4.999, True), (5.001, False)])
def test_caller_waits_until_its_timeout_and_no_longer(hold: float, *, is_inside: bool) -> None:
    async def main() -> None:
        callers = Callers(Throttle(1, timeout=5))
        await callers.enter(1, 2)
        await asyncio.sleep(hold)
        await callers.let_go(1)
        assert callers.inside == [2] * is_inside
        assert await callers.end() == [ThrottleTimeoutError] * (not is_inside)
        assert callers.throttle.stats().timeouts == (not is_inside)

    run(main())


def test_timeout_says_what_the_throttle_is_busy_with() -> None:
    async def main() -> None:
        throttle = Throttle(2, rate=7, per=60, clock=clock)
        async with throttle, throttle:
            with pytest.raises(ThrottleTimeoutError, match=r"2/2 inside, 7 per 60 s, 1 waiting"):
                async with throttle(timeout=0):
                    pass

    run(main())


def test_short_timeout_is_not_delayed_by_a_long_one_ahead() -> None:
    async def main() -> None:
        callers = Callers(Throttle(1, timeout=100))
        await callers.enter("holder", "long")
        await callers.enter("short", limit=1)
        await callers.enter("endless", limit=math.inf)
        await asyncio.sleep(1.5)
        assert callers.tasks["short"].done()
        await asyncio.sleep(100)
        assert callers.tasks["long"].done()
        await callers.let_go("holder")
        assert callers.inside == ["endless"]
        await callers.end()

    run(main())


def test_place_freed_after_a_timeout_goes_to_the_next() -> None:
    async def main() -> None:
        callers = Callers(Throttle(1))
        await callers.enter(1)
        await callers.enter(2, limit=5)
        await callers.enter(3)
        asyncio.get_running_loop().call_at(5, callers.leave[1].set)  # in one turn with the timeout
        await asyncio.sleep(6)
        assert callers.inside == [3]
        assert await callers.end() == [ThrottleTimeoutError]

    run(main())


def test_waiter_that_times_out_and_is_cancelled_in_one_turn_is_counted_once() -> None:
    async def main() -> None:
        callers = Callers(Throttle(1))
        await callers.enter(1)
        await callers.enter(2, limit=5)
        asyncio.get_running_loop().call_at(5, callers.cancel, 2)
        await asyncio.sleep(6)
        stats = callers.throttle.stats()
        assert (stats.timeouts + stats.cancelled, stats.waiting) == (1, 0)
        await callers.end()

    run(main())


def test_max_waiting_refuses_one_more() -> None:
    async def main() -> None:
        callers = Callers(Throttle(1, max_waiting=2))
        await callers.enter(1, 2, 3, 4)
        assert callers.throttle.stats().waiting == 2
        assert callers.throttle.stats().rejected == 1
        with pytest.raises(ThrottleFullError, match="max_waiting=2 callers wait"):
            await callers.tasks[4]
        assert await callers.end() == [ThrottleFullError]

    run(main())


def test_max_waiting_of_zero_admits_who_need_not_wait() -> None:
    async def main() -> None:
        throttle = Throttle(1, max_waiting=0)
        async with throttle:
            with pytest.raises(ThrottleFullError):
                async with throttle:
                    pass
        async with throttle:
            pass

    run(main())


def test_waits_are_measured() -> None:
    async def main() -> None:
        callers = Callers(Throttle(1, clock=clock))
        await callers.enter(1, 2, 3)
        await asyncio.sleep(2)
        await callers.let_go(1)
        await asyncio.sleep(3)
        callers.cancel(3)
        await turns()
        stats = callers.throttle.stats()
        assert (stats.waited, stats.wait_total, stats.wait_max) == (2, 7, 5)
        assert (stats.admitted, stats.cancelled) == (2, 1)
        await callers.end()

    run(main())


def test_repr_shows_limits_and_callers() -> None:
    async def main() -> None:
        callers = Callers(Throttle(3, rate=60, per=60, clock=clock))
        await callers.enter(1, 2)
        assert repr(callers.throttle) == "<Throttle 2/3 inside, 60 per 60 s, 0 waiting>"
        await callers.end()
        assert repr(Throttle(rate=5)) == "<Throttle 0/inf inside, 5 per 1 s, 0 waiting>"

    run(main())


# Event loops


def open_loop() -> JumpingLoop:
    loop = JumpingLoop()
    loop.set_exception_handler(lambda _loop, _context: None)  # "Task was destroyed"
    return loop


def test_second_loop_is_refused_while_the_first_is_open() -> None:
    throttle = Throttle(1)

    async def main() -> None:
        async with throttle:
            pass

    first = open_loop()
    first.run_until_complete(main())
    with (
        asyncio.Runner(loop_factory=JumpingLoop) as runner,
        pytest.raises(ThrottleUsageError, match="belongs to another event loop that is open"),
    ):
        runner.run(main())
    first.close()
    run(main())


@pytest.mark.parametrize("is_bare", [False, True])
def test_place_of_a_dead_loop_left_on_another_changes_nothing(*, is_bare: bool) -> None:
    throttle = Throttle(1, rate=5, per=10, clock=lambda: 0)
    left = []

    async def stay() -> None:
        async with throttle if is_bare else throttle(1):
            await asyncio.get_running_loop().create_future()

    async def first() -> None:
        left.append(asyncio.create_task(stay()))
        left.append(asyncio.create_task(stay()))
        await turns()

    async def second() -> None:
        callers = Callers(throttle)
        await callers.enter(1, 2)
        assert callers.inside == [1]
        left.clear()
        gc.collect()  # ends the old coroutines by GeneratorExit
        await turns()
        assert callers.inside == [1]
        assert (throttle.stats().active, throttle.stats().waiting) == (1, 1)
        assert await callers.end() == []
        assert throttle._stale == 0

    loop = open_loop()
    loop.run_until_complete(first())
    assert (throttle.stats().active, throttle.stats().waiting) == (1, 1)
    loop.close()
    run(second())


@pytest.mark.parametrize("is_bare", [False, True])
def test_place_left_after_its_loop_was_closed_changes_nothing(*, is_bare: bool) -> None:
    throttle = Throttle(1)

    async def stay() -> None:
        async with throttle if is_bare else throttle(1):
            await asyncio.get_running_loop().create_future()

    async def first() -> None:
        left.extend(asyncio.create_task(stay()) for _ in range(2))
        await turns()

    left: list[Any] = []
    loop = open_loop()
    loop.run_until_complete(first())
    loop.close()
    left.clear()
    gc.collect()
    assert throttle.stats().active == 0

    async def second() -> None:
        async with throttle:
            assert throttle.stats().active == 1
        assert (throttle.stats().active, throttle._stale) == (0, 0)

    run(second())


def test_rate_outlives_its_loop_and_its_timer_works_on_the_next() -> None:
    now = 0.0
    throttle = Throttle(rate=1, per=10, clock=lambda: now)

    async def first() -> None:
        callers = Callers(throttle)
        await callers.enter(1, 2)
        assert callers.inside == [1]
        left.append(callers)

    async def second() -> None:
        nonlocal now
        callers = Callers(throttle)
        await callers.enter(3)
        assert callers.inside == []
        assert timers() == 1
        now = 10.0
        await asyncio.sleep(10.1)
        assert callers.inside == [3]
        await callers.end()

    left: list[Any] = []
    loop = open_loop()
    loop.run_until_complete(first())
    loop.close()
    run(second())
    left.clear()
    gc.collect()


def test_loop_that_stops_and_goes_on_keeps_places_and_waiters() -> None:
    throttle = Throttle(1)
    stack = contextlib.AsyncExitStack()

    async def enter() -> None:
        await stack.enter_async_context(throttle)

    async def wait() -> None:
        callers.append(Callers(throttle))
        await callers[0].enter(1)
        assert callers[0].inside == []

    async def leave() -> None:
        await stack.aclose()
        await turns()
        assert callers[0].inside == [1]
        await callers[0].end()

    callers: list[Callers] = []
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        for step in (enter, wait, leave):
            runner.get_loop().run_until_complete(step())


def test_loop_moved_to_another_thread_keeps_the_throttle() -> None:
    throttle = Throttle(1)

    async def visit() -> None:
        async with throttle:
            await asyncio.sleep(0)

    loop = open_loop()
    loop.run_until_complete(visit())
    thread = threading.Thread(target=loop.run_until_complete, args=[visit()])
    thread.start()
    thread.join()
    loop.run_until_complete(visit())
    loop.close()
    assert throttle.stats().admitted == 3


# Wrong arguments

make: Any = Throttle  # which takes what its types refuse


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (make, ThrottleValueError, "expected concurrency, rate or both; got neither"),
        (lambda: make(0), ThrottleValueError, "concurrency=0: expected an integer from 1"),
        (lambda: make("2"), ThrottleTypeError, "concurrency='2': expected an integer"),
        (lambda: make(True), ThrottleTypeError, "concurrency=True"),
        (lambda: make(2.0), ThrottleTypeError, "concurrency=2.0"),
        (lambda: make(rate=0), ThrottleValueError, "rate=0: expected an integer from 1"),
        (lambda: make(rate=0.5), ThrottleTypeError, "rate=0.5"),
        (lambda: make(rate=1, per=0), ThrottleValueError, "per=0: expected seconds from 0.001"),
        (lambda: make(rate=1, per=math.inf), ThrottleValueError, "per=inf"),
        (lambda: make(rate=1, per=math.nan), ThrottleValueError, "per=nan"),
        (lambda: make(rate=1, per="1"), ThrottleTypeError, "per='1'"),
        (
            lambda: make(rate=2, burst=0),
            ThrottleValueError,
            "burst=0: expected an int.* 1 to 2",
        ),
        (
            lambda: make(rate=2, burst=3),
            ThrottleValueError,
            "burst=3: expected an int.* 1 to 2",
        ),
        (lambda: make(2, burst=1), ThrottleTypeError, "rate=None"),
        (
            lambda: make(1, timeout=-1),
            ThrottleValueError,
            "timeout=-1: expected seconds from 0",
        ),
        (lambda: make(1, timeout="1"), ThrottleTypeError, "timeout='1'"),
        (lambda: make(1, max_waiting=-1), ThrottleValueError, "max_waiting=-1"),
        (lambda: make(1, max_waiting=1.5), ThrottleTypeError, "max_waiting=1.5"),
        (lambda: make(1, clock=3), ThrottleTypeError, "clock=3: expected a function"),
        (lambda: make(1)(2), ThrottleValueError, "amount=2: expected an integer from 1 to 1"),
        (lambda: make(rate=9)(0), ThrottleValueError, "amount=0: expected an int.* 1 to 9"),
        (lambda: make(rate=9, burst=4)(5), ThrottleValueError, "amount=5: .* from 1 to 4"),
        (lambda: make(rate=9)(1.5), ThrottleTypeError, "amount=1.5"),
        (lambda: make(rate=9)(1, -1), ThrottleValueError, "timeout=-1"),
        (lambda: make(1).resize(rate=5), ThrottleUsageError, "has no rate to change"),
        (lambda: make(1).resize(concurrency=0), ThrottleValueError, "concurrency=0"),
        (lambda: make(rate=1).resize(rate=0), ThrottleValueError, "rate=0"),
    ],
)
def test_wrong_argument_is_named_with_what_is_accepted(
    call: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()


def test_refused_resize_changes_nothing() -> None:
    throttle = Throttle(2, rate=5)
    with pytest.raises(ThrottleValueError):
        throttle.resize(concurrency=3, rate=0)
    assert repr(throttle) == "<Throttle 0/2 inside, 5 per 1 s, 0 waiting>"


# Random schedules


class Schedule:
    """Random callers; the invariants are checked at each start and after each step."""

    def __init__(self, seed: int) -> None:
        self.random = rand = random.Random(seed)
        self.rate = rand.choice([None, 1, 3, 10])
        self.concurrency = rand.choice([None, 1, 2, 5]) if self.rate else rand.choice([1, 2, 5])
        self.burst = rand.choice([None, rand.randint(1, self.rate)]) if self.rate else None
        self.per = rand.choice([1.0, 0.1, 7.3])
        self.throttle = Throttle(
            self.concurrency,
            self.rate,
            self.per,
            self.burst,
            max_waiting=rand.choice([None, 20]),
            clock=clock,
        )
        self.inside = self.arrivals = 0
        self.callers: dict[int, asyncio.Task[None]] = {}  # that wait, by arrival
        self.starts: deque[tuple[float, int]] = deque()
        self.tasks: list[asyncio.Task[None]] = []

    async def call(self, amount: int, limit: float | None, stay: float, *, is_bare: bool) -> None:
        self.arrivals += 1
        number = self.arrivals
        self.callers[number] = cast("asyncio.Task[None]", asyncio.current_task())
        try:
            async with self.throttle if is_bare else self.throttle(amount, limit):
                self.inside += 1
                try:
                    self.check_start(number, 1 if is_bare else amount)
                    if self.random.random() < 0.1:
                        raise ZeroDivisionError
                    await asyncio.sleep(stay)
                finally:
                    self.inside -= 1
        except (ThrottleTimeoutError, ThrottleFullError, ZeroDivisionError):
            pass
        finally:
            self.callers.pop(number, None)

    def check_start(self, number: int, amount: int) -> None:
        del self.callers[number]
        for earlier, task in self.callers.items():  # a granted one may run a turn later
            assert earlier > number or task._fut_waiter not in self.throttle._waiters, "overtaken"  # type: ignore[attr-defined]
        if self.concurrency:
            assert self.inside <= self.concurrency
        if self.rate:
            now = clock()
            self.starts.append((now, amount))
            while self.starts[0][0] + self.per <= now:
                self.starts.popleft()
            assert sum(each for _, each in self.starts) <= self.rate
            burst = self.burst or self.rate
            since = [a for when, a in self.starts if when + self.per * (burst / self.rate) > now]
            assert sum(since) <= burst

    def check_state(self) -> None:
        stats, throttle = self.throttle.stats(), self.throttle
        assert 0 <= self.inside <= stats.active
        assert stats.active - self.inside <= len(self.tasks)
        waiting = [future for future in throttle._waiters if not future.done()]
        is_full = stats.active >= throttle._concurrency
        assert not waiting or is_full or throttle._timer is not None, "nobody is let in"
        for window in throttle._windows:
            assert window._spent == sum(start.amount for start in window._starts) <= window.limit

    def resize(self) -> None:
        if self.concurrency and self.inside == self.throttle.stats().active:
            new = self.random.choice([1, 2, 5])
            self.throttle.resize(concurrency=new)
            self.concurrency = max(new, self.inside)

    async def step(self) -> None:
        rand, most = self.random, self.burst or self.rate or 1
        dice = rand.random()
        if dice < 0.6:
            self.tasks.append(
                asyncio.create_task(
                    self.call(
                        rand.randint(1, most),
                        rand.choice([None, None, 0, 0.3, 2.0, math.inf]),
                        rand.choice([0, 0, 0.05, 0.5]),
                        is_bare=rand.random() < 0.3,
                    )
                )
            )
        elif dice < 0.75 and self.tasks:
            rand.choice(self.tasks).cancel()
        elif dice < 0.78:
            for task in self.tasks:
                if rand.random() < 0.5:
                    task.cancel()
        elif dice < 0.82:
            self.resize()
        else:
            await asyncio.sleep(rand.choice([0, 0, 0.01, 0.1, self.per]))
        if rand.random() < 0.5:
            await asyncio.sleep(0)
        self.tasks = [task for task in self.tasks if not task.done()]

    async def run(self, steps: int) -> None:
        for _ in range(steps):
            await self.step()
            self.check_state()
        found = await asyncio.gather(*self.tasks, return_exceptions=True)
        assert {type(each) for each in found} <= {type(None), asyncio.CancelledError}
        stats = self.throttle.stats()
        assert (stats.active, stats.waiting, self.inside) == (0, 0, 0)
        assert self.throttle._timer is None
        assert stats.admitted + stats.cancelled + stats.timeouts + stats.rejected == self.arrivals


@pytest.mark.parametrize("seed", range(60))
def test_invariants_hold_after_every_step_of_a_random_schedule(seed: int) -> None:
    run(Schedule(seed).run(400))


@settings(max_examples=20)
@given(st.integers(60, 2**32))
def test_invariants_hold_on_any_schedule(seed: int) -> None:
    run(Schedule(seed).run(100))
