"""Retries with exponential backoff, full jitter, a deadline and a budget, for async and sync code.

Copy this file into your project: it needs Python 3.11 and the standard library.

How it works. A call that succeeds costs a `try` and a look at the clock. After a failure one
synchronous function decides: whether the error is one to retry, whether attempts, time and budget
are left, and how long to sleep. Nothing but an `Exception` is ever retried, so that a cancellation
ends the call at once, also while it sleeps. The last error itself is raised, with a note that tells
how many attempts there were and why there are no more.

`on` has no default because a retry repeats side effects: name the errors after which the call is
known not to have taken place, or guard only calls that are idempotent. With a circuit breaker, put
the retry outside and do not retry the breaker's rejection:

    @retry(on=lambda error: isinstance(error, OSError) and not isinstance(error, CircuitOpenError))
    @breaker
    async def fetch(url): ...
"""

import asyncio
import functools
import inspect
import itertools
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar, cast

__all__ = [
    "Attempt",
    "BudgetStats",
    "Retry",
    "RetryBudget",
    "RetryError",
    "RetryStats",
    "RetryTypeError",
    "RetryValueError",
    "retry",
]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
On: TypeAlias = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], object]
Jitter: TypeAlias = Literal["full", "equal", "none"]


class RetryError(Exception):
    """Any error that a retry raises on purpose; never in place of the call's own."""


class RetryValueError(RetryError, ValueError):
    """An argument out of range."""


class RetryTypeError(RetryError, TypeError):
    """An argument of the wrong type."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A failed attempt that will be followed by another, as `before_sleep` gets it.

    Attributes:
        function: Name of the function called.
        number: Of the attempt that failed, from 1.
        error: What it raised.
        elapsed: Seconds since the call began.
        delay: Seconds until the next attempt.
    """

    function: str
    number: int
    error: Exception
    elapsed: float
    delay: float


@dataclass(frozen=True, slots=True)
class RetryStats:
    """What a retry has counted; times in seconds.

    Attributes:
        calls: Calls begun.
        retries: Attempts after the first of each call.
        recovered: Calls that succeeded after a retry.
        gave_up: Calls whose error was raised, by reason: `error` (not one to retry), `attempts`,
            `timeout`, `budget`.
        slept: Time planned between attempts, all in all.
        hook_errors: Errors of `on`, `retry_after` and `before_sleep`.
        last_error: `repr` of the latest error after which an attempt followed or the call gave up.
    """

    calls: int
    retries: int
    recovered: int
    gave_up: Mapping[str, int]
    slept: float
    hook_errors: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class BudgetStats:
    """What a retry budget holds and has counted.

    Attributes:
        tokens: Retries that it would admit now.
        calls: Calls that paid in.
        retries: Retries that it admitted.
        refused: Retries that it did not.
    """

    tokens: float
    calls: int
    retries: int
    refused: int


def _number(
    name: str, value: object, least: float, *, is_above: bool = False, is_whole: bool = False
) -> float:
    """Return *value* if it is a finite number from *least* on, or above it."""
    kind = "an integer" if is_whole else "a number"
    wanted = f"{name}={value!r}: expected {kind} {'above' if is_above else 'from'} {least:g}"
    if not isinstance(value, int if is_whole else int | float) or isinstance(value, bool):
        raise RetryTypeError(wanted)
    if not least <= value < math.inf or (is_above and value == least):  # refuses NaN too
        raise RetryValueError(wanted)
    return float(value)


def _function(name: str, value: object, *, is_async: bool = False) -> Any:
    if not callable(value) or (not is_async and inspect.iscoroutinefunction(value)):
        kind = "an async function" if is_async else "a function that is not async"
        raise RetryTypeError(f"{name}={value!r}: expected {kind}")
    return value


def _predicate(on: object) -> Callable[[Exception], object]:
    """Return *on* as a function of an error."""
    types = on if isinstance(on, tuple) else (on,)
    if all(isinstance(each, type) for each in types):
        if types and all(issubclass(each, Exception) for each in types):
            return lambda error: isinstance(error, types)
    elif not isinstance(on, tuple):
        return cast("Callable[[Exception], object]", _function("on", on))
    raise RetryTypeError(
        f"on={on!r}: expected a type of Exception, a tuple of them, or a function of the error; "
        "a cancellation or an exit is no failure to retry"
    )


def _is_async(function: object) -> bool:
    """Tell whether *function* is async; refuse what cannot be retried."""
    if not callable(function):
        raise RetryTypeError(f"got {function!r}: expected a function to retry")
    kinds = (function, getattr(function, "__call__", None))  # noqa: B004 - of an instance
    if any(inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in kinds):
        raise RetryTypeError(
            f"got the generator {function!r}: expected a function whose return ends its work; "
            "part of what a generator yields was used when it fails"
        )
    return any(inspect.iscoroutinefunction(f) for f in kinds)


class RetryBudget:
    """Limit retries to a share of the calls, so that an outage is not answered by a storm.

    A bucket of tokens: each call puts in `ratio`, each retry takes 1. Of n calls at most
    `burst + ratio × n` retries are admitted. Share one among all that call the same service; it may
    be used by tasks, event loops and threads.

    Args:
        ratio: Retries per call in the long run; above 0.
        burst: Tokens at first and at most; at least 1.

    Raises:
        RetryValueError: An argument is out of range.
        RetryTypeError: An argument has the wrong type.
    """

    def __init__(self, ratio: float = 0.2, burst: float = 10) -> None:
        self._ratio = _number("ratio", ratio, 0, is_above=True)
        self._burst = _number("burst", burst, 1)
        self._tokens = self._burst
        self._calls = self._looks = self._retries = self._refused = 0
        self._lock = threading.Lock()
        # Counts without a lock, for every call passes here; the bucket is filled when it is needed.
        self._counter = itertools.count()

    def deposit(self) -> None:
        """Count a call."""
        next(self._counter)

    def withdraw(self) -> bool:
        """Tell whether a retry is admitted, and count it if so."""
        with self._lock:
            self._fill()
            if self._tokens < 1 - 1e-9:  # ten times 0.1 is a little less than 1
                self._refused += 1
                return False
            self._retries += 1
            self._tokens -= 1
            return True

    def stats(self) -> BudgetStats:
        """Return what the budget holds now and has counted since it was made."""
        with self._lock:
            self._fill()
            return BudgetStats(self._tokens, self._calls, self._retries, self._refused)

    def _fill(self) -> None:
        """Put in what the calls since the last time are worth; to look at the counter counts."""
        calls = next(self._counter) - self._looks
        self._looks += 1
        self._tokens = min(self._burst, self._tokens + self._ratio * (calls - self._calls))
        self._calls = calls

    def __repr__(self) -> str:
        stats = self.stats()
        return (
            f"<RetryBudget {self._ratio:.0%} of calls: {stats.tokens:.3g} of {self._burst:g} left, "
            f"{stats.retries} retries of {stats.calls} calls, {stats.refused} refused>"
        )


class Retry:
    """Retry a function: `@retry(on=OSError)`, or `await retry(on=OSError).call(fetch, url)`.

    Before attempt n + 1 it sleeps for a random time up to `initial` × `factor`ⁿ⁻¹, at most `max`.
    One policy may guard many functions, in tasks, event loops and threads.

    Args:
        on: The errors to retry: a type of `Exception`, a tuple of them, or a function of the error;
            no error is retried if that function raises.
        attempts: Attempts at most, the first included; None: any number.
        timeout: Seconds from the first attempt after which none begins: it gives up rather than
            sleep so long. It interrupts no attempt, as `asyncio.timeout` does. None: for ever.
        initial: Seconds that the first sleep lasts at most.
        max: Seconds that any sleep lasts at most, but for `retry_after`.
        factor: Growth of the sleep; at least 1.
        jitter: `full`: a random part of the sleep (the fewest collisions, by Marc Brooker's
            "Exponential Backoff And Jitter", AWS 2015); `equal`: half of it and a random part of
            the other half; `none`: all of it.
        retry_after: Function of the error that returns the seconds which the server asked for, or
            None. They are slept in full, also beyond `max`, and the backoff after them, so that
            those who were told the same do not come back together; only `timeout` bounds them.
        budget: A `RetryBudget`, usually shared.
        before_sleep: Function of an `Attempt`, called before each sleep; what it raises is counted.
        clock: Seconds; never goes back.
        sleep: How async functions sleep.
        sleep_sync: How other functions sleep.
        rand: A random number in [0, 1).

    Raises:
        RetryValueError: An argument is out of range, or neither attempts nor timeout is given.
        RetryTypeError: An argument has the wrong type.
    """

    def __init__(  # noqa: PLR0913
        self,
        *,
        on: On,
        attempts: int | None = 10,
        timeout: float | None = 45.0,
        initial: float = 0.1,
        max: float = 5.0,  # noqa: A002 - the field's word
        factor: float = 2.0,
        jitter: Jitter = "full",
        retry_after: Callable[[Exception], float | None] | None = None,
        budget: RetryBudget | None = None,
        before_sleep: Callable[[Attempt], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        sleep_sync: Callable[[float], object] = time.sleep,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self._on = _predicate(on)
        if attempts is None and timeout is None:
            raise RetryValueError("got neither attempts nor timeout: expected one or both")
        self._attempts = self._timeout = math.inf
        if attempts is not None:
            self._attempts = _number("attempts", attempts, 1, is_whole=True)
        if timeout is not None:
            self._timeout = _number("timeout", timeout, 0)
        self._initial = _number("initial", initial, 0)
        self._max = _number("max", max, 0)
        self._factor = _number("factor", factor, 1)
        if jitter not in ("full", "equal", "none"):
            raise RetryValueError(f"jitter={jitter!r}: expected 'full', 'equal' or 'none'")
        if budget is not None and not isinstance(budget, RetryBudget):
            raise RetryTypeError(f"budget={budget!r}: expected a RetryBudget or None")
        self._jitter, self._budget = jitter, budget
        self._retry_after = self._before_sleep = None
        if retry_after is not None:
            self._retry_after = _function("retry_after", retry_after)
        if before_sleep is not None:
            self._before_sleep = _function("before_sleep", before_sleep)
        self._clock, self._rand = _function("clock", clock), _function("rand", rand)
        self._sleep = _function("sleep", sleep, is_async=True)
        self._sleep_sync = _function("sleep_sync", sleep_sync)
        self._calls = self._retries = self._recovered = self._hook_errors = 0
        self._gave_up: Counter[str] = Counter()
        self._slept = 0.0
        self._last_error: str | None = None

    def __call__(self, function: F) -> F:
        """Return *function*, async or not, retried by this policy."""
        if _is_async(function):

            @functools.wraps(function)
            async def retrying(*args: Any, **kwargs: Any) -> Any:
                return await self._run(function, args, kwargs)
        else:

            @functools.wraps(function)
            def retrying(*args: Any, **kwargs: Any) -> Any:
                return self._run_sync(function, args, kwargs)

        return cast("F", retrying)

    def call(
        self,
        function: Callable[P, Awaitable[R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[Any, Any, R]:
        """Await *function* with its arguments, retried: `await policy.call(fetch, url)`."""
        return self._run(function, args, kwargs)

    def stats(self) -> RetryStats:
        """Return what was counted since the policy was made."""
        return RetryStats(
            calls=self._calls,
            retries=self._retries,
            recovered=self._recovered,
            gave_up=MappingProxyType(dict(self._gave_up)),
            slept=self._slept,
            hook_errors=self._hook_errors,
            last_error=self._last_error,
        )

    def __repr__(self) -> str:
        gave_up = ", ".join(f"{reason} {count}" for reason, count in self._gave_up.items())
        return (
            f"<Retry, at most {self._attempts:g} attempts in {self._timeout:g} s: "
            f"{self._calls} calls, {self._retries} retries, {self._recovered} recovered, "
            f"gave up: {gave_up or 'never'}, last error {self._last_error}>"
        )

    # Calls

    async def _run(
        self,
        function: Callable[..., Awaitable[R]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> R:
        self._calls += 1
        if self._budget is not None:
            self._budget.deposit()
        began, number = self._clock(), 1
        while True:
            try:
                result = await function(*args, **kwargs)
            except Exception as error:
                delay = self._decide(function, error, number, began)
                if delay is None:
                    raise
            else:
                self._recovered += number > 1
                return result
            await self._sleep(delay)
            number += 1

    def _run_sync(
        self, function: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> R:
        self._calls += 1
        if self._budget is not None:
            self._budget.deposit()
        began, number = self._clock(), 1
        while True:
            try:
                result = function(*args, **kwargs)
            except Exception as error:
                delay = self._decide(function, error, number, began)
                if delay is None:
                    raise
            else:
                self._recovered += number > 1
                return self._checked(function, result)
            self._sleep_sync(delay)
            number += 1

    def _checked(self, function: Callable[..., R], result: R) -> R:
        """Refuse an awaitable: its errors would come too late to be retried."""
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            raise RetryTypeError(f"{function!r} returned an awaitable; retry an async function")
        return result

    # Decisions

    def _decide(
        self, function: Callable[..., object], error: Exception, number: int, began: float
    ) -> float | None:
        """Return the seconds to sleep before the next attempt; None: give up, with a note."""
        self._last_error = repr(error)
        elapsed = self._clock() - began
        delay, reason = 0.0, "error"
        if self._ask(self._on, error, error):
            delay = self._hint(error) + self._backoff(number)
            reason = self._objection(number, elapsed + delay)
        if reason:
            self._gave_up[reason] += 1
            if number > 1 or reason != "error":
                error.add_note(
                    f"gave up after attempt {number} and {elapsed:.3g} s: "
                    + self._explain(reason, delay)
                )
            return None
        self._retries += 1
        self._slept += delay
        if self._before_sleep is not None:
            name = getattr(function, "__qualname__", repr(function))
            self._ask(self._before_sleep, Attempt(name, number, error, elapsed, delay), error)
        return delay

    def _objection(self, number: int, end: float) -> str:
        """Return the reason not to retry, or nothing; a token is taken for a retry only."""
        if number >= self._attempts:
            return "attempts"
        if end > self._timeout or end == math.inf:
            return "timeout"
        if self._budget is not None and not self._budget.withdraw():
            return "budget"
        return ""

    def _explain(self, reason: str, delay: float) -> str:
        return {
            "error": "this error is not one to retry",
            "attempts": f"attempts={self._attempts:g}",
            "timeout": f"to sleep {delay:.3g} s would exceed timeout={self._timeout:g} s",
            "budget": f"{self._budget!r} admits no retry",
        }[reason]

    def _backoff(self, number: int) -> float:
        try:
            ceiling = min(self._max, self._initial * self._factor ** (number - 1))
        except OverflowError:
            ceiling = self._max if self._initial else 0.0
        if self._jitter == "none":
            return ceiling
        part = ceiling * cast("float", self._rand())
        return part if self._jitter == "full" else (ceiling + part) / 2

    def _hint(self, error: Exception) -> float:
        """Return the seconds that the server asked for, 0 without a word."""
        if (
            self._retry_after is None
            or (hint := self._ask(self._retry_after, error, error)) is None
        ):
            return 0.0
        if isinstance(hint, int | float) and hint >= 0:
            return float(hint)
        self._note_hook_error(f"retry_after returned {hint!r}: expected seconds from 0 or None")
        return 0.0

    def _ask(self, hook: Callable[[Any], Any], argument: object, error: Exception) -> Any:
        """Return what *hook* says; it must not replace the caller's *error* by its own."""
        try:
            return hook(argument)
        except Exception as failure:  # noqa: BLE001
            self._note_hook_error(repr(failure))
            error.add_note(f"{hook!r} raised {failure!r}")
            return None

    def _note_hook_error(self, text: str) -> None:
        self._hook_errors += 1
        self._last_error = text


retry = Retry  # reads better as a decorator
