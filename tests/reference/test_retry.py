"""The retry: what is tried again, when, how often, and what the caller sees in the end."""

import asyncio
import functools
import inspect
import math
import random
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from pytest_agentperf.reference.breaker import Breaker, CircuitOpenError
from pytest_agentperf.reference.retry import (
    Attempt,
    BudgetStats,
    Retry,
    RetryBudget,
    RetryStats,
    RetryTypeError,
    RetryValueError,
    retry,
)


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep_sync(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        self.sleep_sync(seconds)

    def policy(self, **options: Any) -> Retry:
        """Return a policy that retries `OSError` without a timeout or jitter, unless told."""
        defaults: dict[str, Any] = {"on": OSError, "timeout": None, "jitter": "none"}
        times = {"clock": self.clock, "sleep": self.sleep, "sleep_sync": self.sleep_sync}
        return Retry(**(defaults | times | options))


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


class Service:
    """Fails so many times, then returns its arguments; callable or awaited as `later`."""

    def __init__(self, *errors: BaseException | None) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, *args: object) -> tuple[object, ...]:
        self.calls += 1
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        return args

    async def later(self, *args: object) -> tuple[object, ...]:
        return self(*args)


def downs(count: int) -> Service:
    return Service(*(OSError(f"down {number}") for number in range(1, count + 1)))


def ask(policy: Retry, service: Service, *args: object) -> tuple[object, ...]:
    return policy(service)(*args)


# What is tried again


def test_success_is_returned_without_a_sleep(time: FakeTime) -> None:
    policy = time.policy()
    assert ask(policy, downs(0), 1) == (1,)
    assert asyncio.run(policy.call(downs(0).later, 2)) == (2,)
    assert time.slept == []


@pytest.mark.parametrize("failures", [1, 2])
def test_call_succeeds_after_fewer_failures_than_attempts(time: FakeTime, failures: int) -> None:
    policy, service = time.policy(attempts=3), downs(failures)
    assert asyncio.run(policy.call(service.later, 1)) == (1,)
    assert service.calls == failures + 1
    assert policy.stats().recovered == 1


def test_last_error_itself_is_raised_with_a_note_when_attempts_run_out(time: FakeTime) -> None:
    errors = [OSError(str(number)) for number in range(3)]
    with pytest.raises(OSError, match="2") as caught:
        ask(time.policy(attempts=3, initial=1), Service(*errors))
    assert caught.value is errors[2]
    assert caught.value.__notes__ == ["gave up after attempt 3 and 3 s: attempts=3"]
    assert caught.value.__context__ is None
    assert not hasattr(errors[0], "__notes__")


def test_one_attempt_is_no_retry(time: FakeTime) -> None:
    service = downs(1)
    with pytest.raises(OSError, match="down 1"):
        ask(time.policy(attempts=1), service)
    assert (service.calls, time.slept) == (1, [])


def test_error_that_was_not_named_is_raised_untouched(time: FakeTime) -> None:
    service = Service(KeyError("who"))
    with pytest.raises(KeyError) as caught:
        ask(time.policy(), service)
    assert service.calls == 1
    assert not hasattr(caught.value, "__notes__")


def test_error_that_was_not_named_after_one_that_was_tells_the_attempts(time: FakeTime) -> None:
    with pytest.raises(KeyError) as caught:
        ask(time.policy(initial=1), Service(OSError(), KeyError("who")))
    assert caught.value.__notes__ == [
        "gave up after attempt 2 and 1 s: this error is not one to retry"
    ]


def test_errors_may_be_named_as_a_tuple_or_by_a_function(time: FakeTime) -> None:
    for on in ((KeyError, OSError), lambda error: "down" in str(error)):
        assert ask(time.policy(on=on), downs(2), 1) == (1,)
    with pytest.raises(OSError, match="up"):
        ask(time.policy(on=lambda error: "down" in str(error)), Service(OSError("up")))


def test_errors_to_retry_must_be_named() -> None:
    with pytest.raises(TypeError, match="on"):
        Retry()  # type: ignore[call-arg]


# Cancellation


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit()])
def test_nothing_but_an_exception_is_retried(time: FakeTime, error: BaseException) -> None:
    service = Service(error)
    with pytest.raises(type(error)):
        ask(time.policy(on=lambda _: True), service)
    assert service.calls == 1


def test_cancelled_attempt_ends_the_call_at_once(time: FakeTime) -> None:
    attempts: list[int] = []

    async def hang() -> None:
        attempts.append(1)
        await asyncio.Event().wait()

    async def main() -> None:
        async with asyncio.timeout(0):
            await time.policy(on=Exception).call(hang)

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert attempts == [1]


def test_call_cancelled_while_it_sleeps_makes_no_further_attempt(time: FakeTime) -> None:
    service = downs(9)

    async def sleep_long(_: float) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(time.policy(sleep=sleep_long).call(service.later))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert service.calls == 1


# Backoff


def test_backoff_grows_by_its_factor_up_to_its_maximum(time: FakeTime) -> None:
    ask(time.policy(initial=0.5, factor=3, max=10), downs(5))
    assert time.slept == [0.5, 1.5, 4.5, 10, 10]


@pytest.mark.parametrize(
    ("jitter", "rand", "expected"),
    [
        ("full", 0.0, [0, 0, 0]),
        ("full", 0.5, [0.5, 1, 2]),
        ("equal", 0.0, [0.5, 1, 2]),
        ("equal", 0.5, [0.75, 1.5, 3]),
        ("none", 0.5, [1, 2, 4]),
    ],
)
def test_jitter_takes_a_random_part(
    time: FakeTime, jitter: str, rand: float, expected: list[float]
) -> None:
    ask(time.policy(initial=1, jitter=jitter, rand=lambda: rand), downs(3))
    assert time.slept == expected


def test_full_jitter_spreads_callers_that_failed_together() -> None:
    rand = random.Random(1)
    first: list[float] = []
    for _ in range(1000):
        time = FakeTime()
        ask(time.policy(initial=1, jitter="full", rand=rand.random), downs(1))
        first += time.slept
    per_tenth = [sum(n / 10 <= delay < (n + 1) / 10 for delay in first) for n in range(10)]
    assert sum(per_tenth) == 1000
    assert min(per_tenth) > 60  # 100 expected, standard deviation 9.5
    assert max(per_tenth) < 140


@pytest.mark.parametrize(("initial", "expected"), [(0.1, 5.0), (0, 0.0)])
def test_backoff_stays_at_its_maximum_when_it_exceeds_all_floats(
    time: FakeTime, initial: float, expected: float
) -> None:
    ask(time.policy(attempts=None, timeout=1e9, initial=initial, factor=1e10), downs(40))
    assert time.slept[-1] == expected


# Deadline


def test_call_gives_up_rather_than_sleep_past_its_timeout(time: FakeTime) -> None:
    service = downs(9)
    with pytest.raises(OSError, match="down 3") as caught:
        ask(time.policy(initial=1, timeout=6.9), service)
    assert time.slept == [1, 2]
    assert caught.value.__notes__ == [
        "gave up after attempt 3 and 3 s: to sleep 4 s would exceed timeout=6.9 s"
    ]


def test_call_may_sleep_to_the_end_of_its_timeout(time: FakeTime) -> None:
    service = downs(9)
    with pytest.raises(OSError, match="down 4"):
        ask(time.policy(initial=1, timeout=7), service)
    assert time.slept == [1, 2, 4]


def test_timeout_counts_the_time_of_attempts(time: FakeTime) -> None:
    def slow() -> None:
        time.now += 5
        raise OSError("slow")

    with pytest.raises(OSError, match="slow"):
        time.policy(initial=1, timeout=12)(slow)()
    assert time.slept == [1]


def test_unlimited_attempts_end_with_the_timeout(time: FakeTime) -> None:
    service = downs(1000)
    with pytest.raises(OSError, match="down"):
        ask(time.policy(attempts=None, timeout=100, initial=1, factor=1), service)
    assert service.calls == 101


# Retry-after


class BusyError(OSError):
    def __init__(self, retry_after: float) -> None:
        super().__init__("busy")
        self.retry_after = retry_after


def hint(error: Exception) -> float | None:
    return error.retry_after if isinstance(error, BusyError) else None


def test_retry_after_is_slept_in_full_also_beyond_the_maximum(time: FakeTime) -> None:
    ask(time.policy(retry_after=hint, jitter="full", rand=lambda: 0), Service(BusyError(30)))
    assert time.slept == [30]


def test_backoff_follows_the_retry_after_to_part_those_told_the_same(time: FakeTime) -> None:
    ask(time.policy(retry_after=hint, initial=1), Service(BusyError(30), OSError(), BusyError(0)))
    assert time.slept == [31, 2, 4]


@pytest.mark.parametrize("seconds", [20.1, math.inf])
def test_retry_after_beyond_the_timeout_ends_the_call(time: FakeTime, seconds: float) -> None:
    with pytest.raises(BusyError):
        ask(time.policy(retry_after=hint, max=0, timeout=20), Service(BusyError(seconds)))
    assert time.slept == []


def test_retry_after_for_ever_ends_a_call_without_timeout(time: FakeTime) -> None:
    policy = time.policy(retry_after=hint)
    with pytest.raises(BusyError):
        ask(policy, Service(BusyError(math.inf)))
    assert policy.stats().gave_up == {"timeout": 1}


@pytest.mark.parametrize("seconds", [-1, math.nan, "30"])
def test_retry_after_that_is_no_time_is_counted_and_ignored(time: FakeTime, seconds: Any) -> None:
    policy = time.policy(retry_after=hint, initial=1)
    ask(policy, Service(BusyError(seconds)))
    assert time.slept == [1]
    assert policy.stats().hook_errors == 1
    assert repr(seconds) in str(policy.stats().last_error)


# Budget


def test_budget_admits_its_burst_and_then_a_share_of_the_calls(time: FakeTime) -> None:
    budget = RetryBudget(ratio=0.2, burst=3)
    policy = time.policy(budget=budget, attempts=2)
    services = [downs(9) for _ in range(1000)]
    for service in services:
        with pytest.raises(OSError, match="down"):
            ask(policy, service)
    made = sum(service.calls for service in services)
    # The bucket is full at the first call, so that 999 pay in: 3 + 0.2 × 999 = 202.8.
    assert made - 1000 == budget.stats().retries == 202
    assert policy.stats().gave_up == {"attempts": 202, "budget": 798}


@pytest.mark.parametrize(("calls", "admitted"), [(9, False), (10, True)])
def test_tenth_call_of_a_tenth_pays_for_a_retry(calls: int, admitted: bool) -> None:
    budget = RetryBudget(ratio=0.1, burst=1)
    assert budget.withdraw()
    for _ in range(calls):
        budget.deposit()
    assert budget.withdraw() is admitted


def test_budget_is_shared_between_functions(time: FakeTime) -> None:
    budget = RetryBudget(ratio=0.01, burst=2)
    greedy, modest = time.policy(budget=budget), time.policy(budget=budget)
    with pytest.raises(OSError, match="down 3"):
        ask(greedy, downs(9))
    with pytest.raises(OSError, match="down 1") as caught:
        ask(modest, downs(9))
    assert "<RetryBudget 1% of calls: 0.01 of 2 left" in caught.value.__notes__[0]


def test_call_that_gives_up_for_another_reason_takes_no_token(time: FakeTime) -> None:
    budget = RetryBudget(burst=5)
    for options in ({"attempts": 1}, {"timeout": 0, "initial": 1}, {"on": KeyError}):
        with pytest.raises(OSError, match="down"):
            ask(time.policy(budget=budget, **options), downs(1))
    assert budget.stats() == BudgetStats(tokens=5, calls=3, retries=0, refused=0)


def test_budget_never_admits_more_than_burst_and_share() -> None:
    @seed(4)
    @settings(max_examples=200, deadline=None, database=None)
    @given(st.floats(0.01, 2), st.floats(1, 20), st.lists(st.booleans(), min_size=10, max_size=300))
    def run(ratio: float, burst: float, steps: list[bool]) -> None:
        budget = RetryBudget(ratio, burst)
        for is_call in steps:
            budget.deposit() if is_call else budget.withdraw()
            stats = budget.stats()
            assert stats.retries <= burst + ratio * stats.calls + 1e-6
            assert -1e-6 <= stats.tokens <= burst

    run()


# Hooks


def test_before_sleep_hears_of_each_retry(time: FakeTime) -> None:
    heard: list[Attempt] = []
    errors = [OSError("a"), OSError("b")]
    service = Service(*errors)
    policy = time.policy(initial=1, before_sleep=heard.append)
    asyncio.run(policy.call(service.later))
    assert heard == [
        Attempt("Service.later", 1, errors[0], elapsed=0, delay=1),
        Attempt("Service.later", 2, errors[1], elapsed=1, delay=2),
    ]


def broken(_: object) -> Any:
    raise ZeroDivisionError("hook")


@pytest.mark.parametrize("hook", ["before_sleep", "retry_after"])
def test_error_of_a_hook_does_not_stop_the_retry(time: FakeTime, hook: str) -> None:
    policy = time.policy(**{hook: broken})
    assert ask(policy, downs(1), 1) == (1,)
    assert policy.stats().hook_errors == 1
    assert policy.stats().last_error == "ZeroDivisionError('hook')"


def test_error_of_the_predicate_does_not_hide_the_callers(time: FakeTime) -> None:
    service = downs(1)
    with pytest.raises(OSError, match="down 1") as caught:
        ask(time.policy(on=broken), service)
    assert service.calls == 1
    assert "raised ZeroDivisionError('hook')" in caught.value.__notes__[0]


# With a breaker


def is_outage(error: Exception) -> bool:
    """The documented recipe: a rejection by the breaker is not retried."""
    return not isinstance(error, CircuitOpenError)


def test_retry_outside_a_breaker_stops_at_its_rejection(time: FakeTime) -> None:
    breaker, service = Breaker(3, clock=time.clock), downs(99)
    guarded = time.policy(on=is_outage, attempts=10)(breaker(service))
    with pytest.raises(CircuitOpenError):
        guarded()
    assert service.calls == 3
    assert breaker.stats().failures == 3  # each attempt counts once
    assert breaker.stats().rejected == 1


def test_retries_do_not_get_past_the_limit_of_probes(time: FakeTime) -> None:
    breaker = Breaker(1, reset_timeout=1, clock=time.clock)
    running: list[int] = []

    async def hang() -> None:
        running.append(1)
        await asyncio.Event().wait()

    async def main() -> None:
        with pytest.raises(OSError, match="down"):
            breaker(downs(1))()
        time.now = 2
        guarded = time.policy(on=is_outage)(breaker(hang))
        tasks = [asyncio.create_task(guarded()) for _ in range(20)]
        for _ in range(50):
            await asyncio.sleep(0)
        assert sum(task.done() for task in tasks) == 19
        assert len(running) == 1
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    asyncio.run(main())


# Ways to call


def test_decorated_functions_stay_what_they_were(time: FakeTime) -> None:
    policy = time.policy()

    @policy
    async def fetch(url: str) -> str:
        """Fetch."""
        return url

    @policy
    def load(path: str) -> str:
        return path

    assert inspect.iscoroutinefunction(fetch)
    assert not inspect.iscoroutinefunction(load)
    assert (fetch.__name__, fetch.__doc__) == ("fetch", "Fetch.")
    assert asyncio.run(fetch(url="a")) == "a"
    assert load("b") == "b"


def test_decorated_method_gets_its_object(time: FakeTime) -> None:
    class Client:
        fails = 2

        @time.policy()
        async def fetch(self, url: str) -> str:
            self.fails -= 1
            if self.fails >= 0:
                raise OSError
            return url

    assert asyncio.run(Client().fetch("a")) == "a"


def test_decorator_reads_in_lower_case() -> None:
    @retry(on=OSError, max=0)
    def load() -> int:
        return 1

    assert load() == 1


class AsyncCallable:
    def __init__(self) -> None:
        self.service = downs(1)

    async def __call__(self) -> tuple[object, ...]:
        return self.service()


@pytest.mark.parametrize(
    "make",
    [lambda: downs(1).later, lambda: functools.partial(downs(1).later), AsyncCallable],
)
def test_async_functions_of_every_kind_are_retried(
    time: FakeTime, make: Callable[[], Callable[[], Any]]
) -> None:
    assert asyncio.run(time.policy()(make())()) == ()
    assert len(time.slept) == 1


def test_sync_function_that_returns_an_awaitable_is_refused(time: FakeTime) -> None:
    with pytest.raises(RetryTypeError, match="returned an awaitable; retry an async function"):
        time.policy()(lambda: asyncio.sleep(0))()  # type: ignore[unused-coroutine]


def test_generators_are_refused(time: FakeTime) -> None:
    def numbers() -> Iterator[int]:
        yield 1

    async def later() -> AsyncIterator[int]:
        yield 1

    for function in (numbers, later):
        with pytest.raises(RetryTypeError, match="generator"):
            time.policy()(function)


def test_coroutine_given_as_a_function_is_refused(time: FakeTime) -> None:
    coroutine = downs(0).later()
    with pytest.raises(RetryTypeError, match="expected a function to retry"):
        time.policy()(cast("Any", coroutine))
    coroutine.close()


# Reports and bad input


def test_stats_are_frozen_and_complete(time: FakeTime) -> None:
    policy = time.policy(attempts=3, initial=1)
    ask(policy, downs(0))
    ask(policy, downs(1))
    for service in (downs(9), Service(KeyError("who"))):
        with pytest.raises((OSError, KeyError)):
            ask(policy, service)
    assert policy.stats() == RetryStats(
        calls=4,
        retries=3,
        recovered=1,
        gave_up={"attempts": 1, "error": 1},
        slept=4,
        hook_errors=0,
        last_error="KeyError('who')",
    )
    with pytest.raises(AttributeError):
        policy.stats().calls = 0  # type: ignore[misc]
    with pytest.raises(TypeError):
        policy.stats().gave_up["error"] = 0  # type: ignore[index]


def test_repr_tells_limits_and_counts(time: FakeTime) -> None:
    policy = time.policy(attempts=3)
    assert repr(policy) == (
        "<Retry, at most 3 attempts in inf s: 0 calls, 0 retries, 0 recovered, gave up: never, "
        "last error None>"
    )
    with pytest.raises(OSError, match="down"):
        ask(policy, downs(9))
    assert "gave up: attempts 1, last error OSError('down 3')" in repr(policy)
    assert repr(RetryBudget()) == (
        "<RetryBudget 20% of calls: 10 of 10 left, 0 retries of 0 calls, 0 refused>"
    )


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"attempts": 0}, "attempts=0: expected an integer from 1"),
        ({"timeout": -1}, "timeout=-1: expected a number from 0"),
        ({"timeout": math.nan}, "timeout=nan"),
        ({"timeout": math.inf}, "timeout=inf"),
        ({"attempts": None, "timeout": None}, "neither attempts nor timeout"),
        ({"initial": -0.1}, "initial=-0.1"),
        ({"max": -1}, "max=-1"),
        ({"factor": 0.9}, "factor=0.9: expected a number from 1"),
        ({"jitter": "half"}, "jitter='half': expected 'full', 'equal' or 'none'"),
    ],
)
def test_setting_out_of_range_is_named(options: dict[str, Any], error: str) -> None:
    with pytest.raises(RetryValueError, match=error):
        Retry(**({"on": OSError} | options))


@pytest.mark.parametrize(
    "options",
    [
        {"on": None},
        {"on": ()},
        {"on": BaseException},
        {"on": asyncio.CancelledError},
        {"on": (OSError, KeyboardInterrupt)},
        {"on": (OSError, "ValueError")},
        {"on": int},
        {"on": downs(0).later},
        {"attempts": 2.5},
        {"attempts": True},
        {"timeout": "45"},
        {"retry_after": 0},
        {"before_sleep": downs(0).later},
        {"budget": 0.2},
        {"clock": None},
        {"sleep": None},
        {"sleep_sync": asyncio.sleep},
        {"rand": 0.5},
    ],
)
def test_setting_of_the_wrong_type_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(RetryTypeError, match=next(iter(options))):
        Retry(**({"on": OSError} | options))


@pytest.mark.parametrize("options", [{"ratio": 0}, {"ratio": math.inf}, {"burst": 0.9}])
def test_budget_out_of_range_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(RetryValueError, match=next(iter(options))):
        RetryBudget(**options)
