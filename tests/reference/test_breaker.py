"""The breaker: every way in which a circuit got stuck, leaked or cried wolf elsewhere."""

import asyncio
import contextlib
import functools
import inspect
import math
import pickle
import random
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from pytest_agentperf.reference.breaker import (
    Breaker,
    BreakerStats,
    BreakerTypeError,
    BreakerUsageError,
    BreakerValueError,
    CircuitOpenError,
)


class FakeClock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def fail(error: BaseException | None = None) -> None:
    raise error or OSError("down")


def failing(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(OSError, match="down"), breaker.calling():
            fail()


def succeeding(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        with breaker.calling():
            pass


def opened(clock: FakeClock, **options: Any) -> Breaker:
    """Return a breaker that one failure opened for 10 s."""
    breaker = Breaker(options.pop("max_failures", 1), reset_timeout=10, clock=clock, **options)
    failing(breaker)
    assert breaker.state == "open"
    return breaker


# Closed and open


def test_breaker_opens_at_the_last_of_the_failures_in_a_row() -> None:
    breaker = Breaker(max_failures=3)
    failing(breaker, 2)
    assert breaker.state == "closed"
    failing(breaker)
    assert breaker.state == "open"


def test_breaker_begins_to_count_anew_after_a_success() -> None:
    breaker = Breaker(max_failures=2)
    failing(breaker)
    succeeding(breaker)
    failing(breaker)
    assert breaker.state == "closed"
    failing(breaker)
    assert breaker.state == "open"


def test_breaker_opens_after_five_failures_in_a_row_without_settings() -> None:
    breaker = Breaker()
    failing(breaker, 4)
    assert breaker.state == "closed"
    failing(breaker)
    assert breaker.state == "open"


def test_breaker_opens_by_ratio_from_the_minimum_of_calls_on() -> None:
    breaker = Breaker(failure_ratio=0.5, window=10, min_calls=4)
    failing(breaker, 3)
    assert breaker.state == "closed"
    failing(breaker)
    assert breaker.state == "open"


def test_breaker_opens_when_the_ratio_is_reached_and_not_below() -> None:
    breaker = Breaker(failure_ratio=0.5, window=10, min_calls=4)
    succeeding(breaker, 3)
    failing(breaker, 2)
    assert breaker.stats().failure_ratio == 0.4
    assert breaker.state == "closed"
    failing(breaker)
    assert breaker.state == "open"


def test_breaker_takes_the_ratio_of_the_last_calls_only() -> None:
    breaker = Breaker(failure_ratio=0.5, window=4, min_calls=4)
    succeeding(breaker, 100)
    failing(breaker, 1)
    assert breaker.state == "closed"
    failing(breaker, 1)
    assert breaker.state == "open"


def test_breaker_with_a_ratio_ignores_failures_in_a_row_unless_told() -> None:
    breaker = Breaker(failure_ratio=1, window=20, min_calls=20)
    succeeding(breaker)
    failing(breaker, 18)
    assert breaker.state == "closed"
    both = Breaker(3, failure_ratio=1, window=20, min_calls=20)
    failing(both, 3)
    assert both.state == "open"


def test_breaker_forgets_its_window_when_it_closes(clock: FakeClock) -> None:
    breaker = Breaker(failure_ratio=0.5, window=4, min_calls=2, reset_timeout=10, clock=clock)
    failing(breaker, 2)
    clock.now = 10
    succeeding(breaker)
    failing(breaker)
    assert breaker.state == "closed"


def test_open_breaker_makes_no_call(clock: FakeClock) -> None:
    breaker = opened(clock)
    calls: list[int] = []

    async def service() -> None:
        calls.append(1)

    with pytest.raises(CircuitOpenError):
        asyncio.run(breaker.call(service))
    with pytest.raises(CircuitOpenError):
        breaker(calls.append)(1)
    assert calls == []
    assert breaker.stats().rejected == 2


def test_rejection_tells_when_to_come_back(clock: FakeClock) -> None:
    breaker = opened(clock, name="db")
    clock.now = 4
    with pytest.raises(CircuitOpenError, match=r"'db' is open.*OSError.*retry after 6 s") as caught:
        succeeding(breaker)
    assert caught.value.retry_after == 6
    assert pickle.loads(pickle.dumps(caught.value)).retry_after == 6  # noqa: S301


def test_each_rejection_is_an_error_of_its_own(clock: FakeClock) -> None:
    breaker = opened(clock)
    errors = []
    for _ in range(20):
        with pytest.raises(CircuitOpenError) as caught:
            succeeding(breaker)
        errors.append(caught.value)
    assert len(set(map(id, errors))) == 20
    depths = {len(traceback.extract_tb(error.__traceback__)) for error in errors}
    assert len(depths) == 1  # tracebacks do not grow


def test_rejection_by_a_breaker_is_no_failure_of_the_call_around_it(clock: FakeClock) -> None:
    inner, outer = opened(clock), Breaker(1)
    with pytest.raises(CircuitOpenError):
        outer(inner(fail))()
    assert outer.state == "closed"
    assert outer.stats().ignored == 1


# Half-open


def test_breaker_lets_a_probe_through_when_its_time_has_come_and_not_before(
    clock: FakeClock,
) -> None:
    breaker = opened(clock)
    clock.now = 9.999
    with pytest.raises(CircuitOpenError):
        succeeding(breaker)
    clock.now = 10
    succeeding(breaker)
    assert breaker.state == "closed"


@pytest.mark.parametrize("max_probes", [1, 3])
def test_half_open_breaker_lets_through_so_many_of_twenty(
    clock: FakeClock, max_probes: int
) -> None:
    breaker = opened(clock, max_probes=max_probes)
    clock.now = 10

    async def main() -> None:
        gate = asyncio.Event()
        running = 0

        async def service() -> None:
            nonlocal running
            running += 1
            await gate.wait()

        tasks = [asyncio.create_task(breaker.call(service)) for _ in range(20)]
        await asyncio.sleep(0)
        assert running == max_probes
        assert breaker.stats().probes == max_probes
        gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        rejected = [result for result in results if isinstance(result, CircuitOpenError)]
        assert len(rejected) == 20 - max_probes
        assert all(0 < error.retry_after <= 60 for error in rejected)

    asyncio.run(main())
    assert breaker.state == "closed"


def test_half_open_breaker_closes_at_the_last_success_needed(clock: FakeClock) -> None:
    breaker = opened(clock, successes_needed=3)
    clock.now = 10
    succeeding(breaker, 2)
    assert breaker.state == "half-open"
    succeeding(breaker)
    assert breaker.state == "closed"


def test_half_open_breaker_opens_again_at_one_failure_for_all_its_time(clock: FakeClock) -> None:
    breaker = opened(clock, max_failures=1, successes_needed=3)
    clock.now = 12
    succeeding(breaker, 2)
    failing(breaker)
    assert breaker.state == "open"
    assert breaker.stats().retry_after == 10
    clock.now = 22
    succeeding(breaker, 2)
    assert breaker.state == "half-open"  # the two from before do not count


def test_cancelled_probe_makes_room_for_the_next(clock: FakeClock) -> None:
    breaker = opened(clock)
    clock.now = 10

    async def main() -> None:
        probe = asyncio.create_task(breaker.call(asyncio.Event().wait))
        await asyncio.sleep(0)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe

    asyncio.run(main())
    assert breaker.state == "half-open"
    succeeding(breaker)
    assert breaker.state == "closed"


def test_probe_with_an_ignored_error_makes_room_for_the_next(clock: FakeClock) -> None:
    breaker = opened(clock, is_failure=lambda error: isinstance(error, OSError))
    clock.now = 10
    for _ in range(3):
        with pytest.raises(KeyError):
            breaker(fail)(KeyError())
        assert breaker.state == "half-open"
    succeeding(breaker)
    assert breaker.state == "closed"


def test_probe_collected_without_an_end_makes_room_for_the_next(clock: FakeClock) -> None:
    breaker = opened(clock)
    clock.now = 10

    async def main() -> None:
        coroutine = breaker.call(asyncio.Event().wait)
        coroutine.send(None)
        coroutine.close()

    asyncio.run(main())
    succeeding(breaker)
    assert breaker.state == "closed"


def test_probe_that_never_ends_is_given_up_at_its_timeout_and_not_before(clock: FakeClock) -> None:
    breaker = opened(clock, probe_timeout=5)
    clock.now = 10
    stuck = breaker.calling()
    stuck.__enter__()
    clock.now = 14.999
    with pytest.raises(CircuitOpenError) as caught:
        succeeding(breaker)
    assert caught.value.retry_after == pytest.approx(0.001)
    clock.now = 15
    with breaker.calling():
        stuck.__exit__(None, OSError(), None)  # too late to have a say
        assert breaker.state == "half-open"
    assert breaker.state == "closed"
    assert breaker.stats().late == 1


def test_probe_without_a_timeout_is_waited_for(clock: FakeClock) -> None:
    breaker = opened(clock, probe_timeout=None)
    clock.now = 10
    with breaker.calling():
        clock.now = 1e9
        with pytest.raises(CircuitOpenError) as caught:
            succeeding(breaker)
        assert caught.value.retry_after == math.inf
    assert breaker.state == "closed"


def test_late_success_does_not_close_the_circuit(clock: FakeClock) -> None:
    breaker = Breaker(1, reset_timeout=10, clock=clock)
    slow = [breaker.calling() for _ in range(2)]
    for each in slow:
        each.__enter__()
    failing(breaker)
    slow[0].__exit__(None, None, None)
    assert breaker.state == "open"
    clock.now = 10
    with breaker.calling():
        slow[1].__exit__(None, None, None)
        assert breaker.state == "half-open"
    assert breaker.stats().late == 2


def test_late_failure_does_not_open_the_circuit_again(clock: FakeClock) -> None:
    breaker = Breaker(2, reset_timeout=10, clock=clock)
    slow = [breaker.calling() for _ in range(5)]
    for each in slow:
        each.__enter__()
    failing(breaker, 2)
    clock.now = 10
    slow[0].__exit__(None, OSError(), None)  # while open
    with breaker.calling():
        slow[1].__exit__(None, OSError(), None)  # while half-open
        assert breaker.state == "half-open"
    for each in slow[2:]:
        each.__exit__(None, OSError(), None)  # while closed
    assert breaker.state == "closed"
    stats = breaker.stats()
    assert (stats.late, stats.streak, stats.opened) == (5, 0, 1)


# What counts


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit()])
def test_nothing_but_an_exception_is_a_failure(error: BaseException) -> None:
    breaker = Breaker(1)
    with pytest.raises(type(error)):
        breaker(fail)(error)
    assert breaker.state == "closed"
    assert breaker.stats().ignored == 1


def test_cancelled_callers_do_not_open_the_circuit() -> None:
    breaker = Breaker(1)

    async def main() -> None:
        tasks = [asyncio.create_task(breaker.call(asyncio.Event().wait)) for _ in range(9)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)

    asyncio.run(main())
    assert breaker.state == "closed"


def test_ignored_error_neither_counts_nor_breaks_a_row_of_failures() -> None:
    breaker = Breaker(2, is_failure=lambda error: not isinstance(error, KeyError))
    failing(breaker)
    for _ in range(5):
        with pytest.raises(KeyError):
            breaker(fail)(KeyError())
    assert breaker.state == "closed"
    failing(breaker)
    assert breaker.state == "open"


def test_error_of_is_failure_neither_hides_the_callers_nor_leaks_the_probe(
    clock: FakeClock,
) -> None:
    def broken(error: Exception) -> bool:
        raise ZeroDivisionError("no judgement")

    breaker = opened(clock, is_failure=broken)
    clock.now = 10
    failing(breaker)
    assert breaker.state == "open"
    assert breaker.stats().hook_errors == 2
    assert "no judgement" in str(breaker.stats().last_error)
    clock.now = 20
    succeeding(breaker)
    assert breaker.state == "closed"


def test_step_of_the_wall_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    breaker = Breaker(1, reset_timeout=10)
    failing(breaker)
    monkeypatch.setattr("time.time", lambda: 1e12)
    with pytest.raises(CircuitOpenError):
        succeeding(breaker)


# Ways to call


def test_call_passes_arguments_and_result() -> None:
    async def service(one: int, *, function: int) -> int:
        return one + function

    breaker = Breaker()
    assert asyncio.run(breaker.call(service, 1, function=2)) == 3
    assert breaker.stats().successes == 1


def test_decorated_functions_stay_what_they_were() -> None:
    breaker = Breaker(1)

    @breaker
    async def fetch(url: str) -> str:
        """Fetch."""
        return url

    @breaker
    def load(path: str) -> str:
        return path

    assert inspect.iscoroutinefunction(fetch)
    assert not inspect.iscoroutinefunction(load)
    assert (fetch.__name__, fetch.__doc__) == ("fetch", "Fetch.")
    assert asyncio.run(fetch(url="a")) == "a"
    assert load("b") == "b"
    assert breaker.stats().successes == 2


def test_decorated_method_gets_its_object() -> None:
    breaker = Breaker()

    class Client:
        @breaker
        async def fetch(self, url: str) -> str:
            return url

    assert asyncio.run(Client().fetch("a")) == "a"


class AsyncCallable:
    async def __call__(self) -> None:
        raise OSError("down")


async def fail_later() -> None:
    raise OSError("down")


@pytest.mark.parametrize("function", [fail_later, functools.partial(fail_later), AsyncCallable()])
def test_failures_of_async_functions_of_every_kind_count(function: Callable[[], Any]) -> None:
    breaker = Breaker(4)
    guarded = breaker(function)
    for _ in range(4):
        with pytest.raises(OSError, match="down"):
            asyncio.run(guarded())
    assert breaker.state == "open"


def test_sync_function_that_returns_an_awaitable_is_refused() -> None:
    breaker = Breaker()
    with pytest.raises(BreakerTypeError, match="returned an awaitable; guard an async function"):
        breaker(lambda: asyncio.sleep(0))()  # type: ignore[unused-coroutine]
    assert breaker.stats().successes == 0


def test_generators_are_refused() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    async def later() -> AsyncIterator[int]:
        yield 1

    for function in (numbers, later):
        with pytest.raises(BreakerTypeError, match=r"generator.*calling"):
            Breaker()(function)


def test_coroutine_given_as_a_function_is_refused() -> None:
    coroutine = fail_later()
    with pytest.raises(BreakerTypeError, match="expected a function to guard"):
        Breaker()(cast("Any", coroutine))
    coroutine.close()


def test_block_is_guarded_with_and_without_async() -> None:
    breaker = Breaker(2)

    async def main() -> None:
        with pytest.raises(OSError, match="down"):
            async with breaker.calling():
                fail()
        failing(breaker)
        with pytest.raises(CircuitOpenError):
            async with breaker.calling():
                raise AssertionError

    asyncio.run(main())


def test_guard_entered_twice_is_refused_and_stays_usable() -> None:
    guard = Breaker().calling()
    with guard, pytest.raises(BreakerUsageError, match="one a block"):
        guard.__enter__()
    with guard:
        pass


def test_guard_of_a_rejected_block_has_nothing_to_give_back(clock: FakeClock) -> None:
    breaker = opened(clock)
    guard = breaker.calling()
    with pytest.raises(CircuitOpenError), guard:
        pass
    guard.__exit__(None, None, None)
    clock.now = 10
    with guard:
        pass
    assert breaker.state == "closed"


# By hand, listeners, reports


def test_isolated_circuit_stays_open_until_it_is_reset(clock: FakeClock) -> None:
    breaker = Breaker(clock=clock)
    breaker.isolate()
    clock.now = 1e9
    with pytest.raises(CircuitOpenError) as caught:
        succeeding(breaker)
    assert caught.value.retry_after == math.inf
    breaker.reset()
    succeeding(breaker)
    assert breaker.state == "closed"


def test_isolating_an_open_circuit_prolongs_it(clock: FakeClock) -> None:
    breaker = opened(clock)
    breaker.isolate()
    clock.now = 10
    with pytest.raises(CircuitOpenError):
        succeeding(breaker)
    assert breaker.stats().opened == 1


def test_reset_of_a_closed_circuit_forgets_its_failures() -> None:
    breaker = Breaker(2)
    failing(breaker)
    breaker.reset()
    failing(breaker)
    assert breaker.state == "closed"


def test_listeners_hear_of_every_change_once(clock: FakeClock) -> None:
    heard: list[tuple[str, str]] = []
    breaker = opened(clock, listeners=[lambda old, new: heard.append((old, new))])
    clock.now = 10
    failing(breaker)
    clock.now = 20
    succeeding(breaker)
    breaker.reset()
    assert heard == [
        ("closed", "open"),
        ("open", "half-open"),
        ("half-open", "open"),
        ("open", "half-open"),
        ("half-open", "closed"),
    ]


def test_error_of_a_listener_fails_no_call_and_silences_no_other() -> None:
    heard: list[str] = []

    def broken(old: str, new: str) -> None:
        raise ZeroDivisionError

    breaker = Breaker(1, listeners=[broken])
    breaker.add_listener(lambda _, new: heard.append(new))
    failing(breaker)
    assert heard == ["open"]
    assert breaker.stats().hook_errors == 1


def test_listener_may_change_the_state_and_all_hear_it_in_order() -> None:
    heard: list[tuple[str, str]] = []
    breaker = Breaker(1)
    breaker.add_listener(lambda _, new: breaker.reset() if new == "open" else None)
    breaker.add_listener(lambda old, new: heard.append((old, new)))
    failing(breaker)
    assert breaker.state == "closed"
    assert heard == [("closed", "open"), ("open", "closed")]


def test_stats_are_frozen_and_complete(clock: FakeClock) -> None:
    breaker = Breaker(2, reset_timeout=10, clock=clock)
    succeeding(breaker, 3)
    failing(breaker)
    assert breaker.stats() == BreakerStats(
        state="closed",
        retry_after=0,
        probes=0,
        streak=1,
        failure_ratio=0.25,
        successes=3,
        failures=1,
        ignored=0,
        late=0,
        rejected=0,
        opened=0,
        hook_errors=0,
        last_error="OSError('down')",
    )
    with pytest.raises(AttributeError):
        breaker.stats().state = "open"  # type: ignore[misc]


def test_repr_tells_state_and_reason(clock: FakeClock) -> None:
    breaker = Breaker(2, reset_timeout=10, clock=clock, name="db")
    failing(breaker)
    assert repr(breaker) == (
        "<Breaker 'db' closed: 1 failures in a row, 100% of 1, opened 0 times, rejected 0, "
        "last error OSError('down')>"
    )
    failing(breaker)
    assert "open for 10 s" in repr(breaker)
    assert repr(breaker.calling()).startswith("<Calling of <Breaker 'db'")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_failures": 0}, "max_failures=0: expected an integer of at least 1"),
        ({"failure_ratio": 0}, "failure_ratio=0: expected a number above 0 and at most 1"),
        ({"failure_ratio": 1.1}, "failure_ratio=1.1: expected"),
        ({"failure_ratio": math.nan}, "failure_ratio=nan: expected"),
        ({"failure_ratio": 0.5, "window": 10, "min_calls": 11}, "expected at most window=10"),
        ({"window": 0}, "window=0"),
        ({"min_calls": 0}, "min_calls=0"),
        ({"reset_timeout": 0}, "reset_timeout=0: expected a number above 0"),
        ({"max_probes": 0}, "max_probes=0"),
        ({"successes_needed": 0}, "successes_needed=0"),
        ({"probe_timeout": -1}, "probe_timeout=-1"),
    ],
)
def test_setting_out_of_range_is_named(options: dict[str, Any], error: str) -> None:
    with pytest.raises(BreakerValueError, match=error):
        Breaker(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"max_failures": 2.5},
        {"max_failures": True},
        {"failure_ratio": "1"},
        {"reset_timeout": None},
        {"is_failure": 3},
        {"is_failure": fail_later},
        {"listeners": [fail_later]},
        {"clock": 0},
    ],
)
def test_setting_of_the_wrong_type_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(BreakerTypeError, match=next(iter(options)).rstrip("s")):
        Breaker(**options)


# Schedules


def test_no_more_probes_than_allowed_run_in_many_threads(clock: FakeClock) -> None:
    breaker = opened(clock, max_probes=2, successes_needed=10**6)
    clock.now = 10
    running, most, lock = 0, 0, threading.Lock()

    @breaker
    def service() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1

    def work() -> None:
        for _ in range(500):
            with contextlib.suppress(CircuitOpenError):
                service()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = breaker.stats()
    assert most <= 2
    assert stats.probes == 0
    assert stats.successes + stats.rejected == 4000


STEPS = st.lists(
    st.sampled_from(["enter", "enter", "return", "fail", "ignore", "cancel", "tick", "reset"]),
    min_size=20,
    max_size=80,
)


def test_random_schedules_keep_the_invariants_and_end_able_to_close() -> None:
    @seed(3)
    @settings(max_examples=300, deadline=None, database=None)
    @given(st.integers(1, 3), st.integers(1, 3), STEPS, st.randoms(use_true_random=False))
    def run(failures: int, probes: int, steps: list[str], rand: random.Random) -> None:
        play(failures, probes, steps, rand)

    run()


def play(max_failures: int, max_probes: int, steps: list[str], rand: random.Random) -> None:
    clock = FakeClock()
    breaker = Breaker(
        max_failures,
        max_probes=max_probes,
        reset_timeout=5,
        probe_timeout=3,
        is_failure=lambda error: isinstance(error, OSError),
        clock=clock,
    )
    outcomes = {
        "return": None,
        "fail": OSError(),
        "ignore": KeyError(),
        "cancel": asyncio.CancelledError(),
    }
    inside: list[Any] = []
    entered = rejected = left = 0
    for step in steps:
        before = breaker.stats()
        if step == "enter" and before.retry_after > 0:
            with pytest.raises(CircuitOpenError) as caught:
                breaker.calling().__enter__()
            assert caught.value.retry_after == before.retry_after
            rejected += 1
        elif step == "enter":
            guard = breaker.calling()
            guard.__enter__()
            inside.append(guard)
            entered += 1
        elif step == "tick":
            clock.now += rand.randint(1, 4)
        elif step == "reset":
            breaker.reset()
        elif inside:
            guard = inside.pop(rand.randrange(len(inside)))
            guard.__exit__(None, outcomes[step], None)
            left += 1
        stats = breaker.stats()
        assert 0 <= stats.probes <= max_probes
        assert stats.probes == 0 or stats.state == "half-open"
        assert stats.streak < max_failures
        assert stats.rejected == rejected
        assert left == stats.successes + stats.failures + stats.ignored + stats.late
        assert len(inside) == entered - left
    clock.now += 5
    succeeding(breaker)
    assert breaker.state == "closed"
