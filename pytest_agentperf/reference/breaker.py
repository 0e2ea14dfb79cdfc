"""A circuit breaker: a service that fails is left alone for a while, then tried with few calls.

Copy this file into your project: it needs Python 3.11 and the standard library.

How it works. A call enters with a token and its outcome counts only while that token is valid:
closing and opening make all earlier tokens void, and each probe of a half-open circuit has one of
its own. So a late answer changes nothing, a cancelled probe makes room for the next, and one that
never ends is given up after `probe_timeout`. Opening again and giving up probes happen when the
next call comes: there is no timer and no task. A breaker may be shared by tasks, event loops and
threads; a successful call of a closed circuit takes no lock.
"""

import functools
import inspect
import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, ParamSpec, Self, TypeAlias, TypeVar, cast

__all__ = [
    "Breaker",
    "BreakerError",
    "BreakerStats",
    "BreakerTypeError",
    "BreakerUsageError",
    "BreakerValueError",
    "Calling",
    "CircuitOpenError",
]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
State: TypeAlias = Literal["closed", "open", "half-open"]
Listener: TypeAlias = Callable[[State, State], object]
MAX_FAILURES: Final = 5  # where neither limit is given


class BreakerError(Exception):
    """Any error that a breaker raises on purpose."""


class BreakerValueError(BreakerError, ValueError):
    """An argument out of range."""


class BreakerTypeError(BreakerError, TypeError):
    """An argument of the wrong type."""


class BreakerUsageError(BreakerError, RuntimeError):
    """A breaker used in a way that cannot work."""


class CircuitOpenError(BreakerError, RuntimeError):
    """The call was rejected without being made.

    Attributes:
        retry_after: Seconds until a call is let through, at the latest unless other callers take
            that place; `math.inf` where only `reset` or a probe without `probe_timeout` ends it.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class BreakerStats:
    """The state of a breaker and what it has counted; times in seconds.

    Attributes:
        state: `closed`, `open` or `half-open`; an open circuit is half-open from the next call on.
        retry_after: As in `CircuitOpenError`; 0 if the next call is let through.
        probes: Probes under way.
        streak: Failures in a row since the circuit was closed.
        failure_ratio: Failures ÷ calls in the window, in [0, 1]; 0 without a call.
        successes: Calls that returned.
        failures: Calls that failed.
        ignored: Calls that counted neither way: cancelled, or no failure by `is_failure`.
        late: Calls that ended after the circuit had changed; they count nowhere else.
        rejected: Calls that were not made.
        opened: How often the circuit opened.
        hook_errors: Errors of `is_failure` and of listeners.
        last_error: `repr` of the latest failure or error of a hook.
    """

    state: State
    retry_after: float
    probes: int
    streak: int
    failure_ratio: float
    successes: int
    failures: int
    ignored: int
    late: int
    rejected: int
    opened: int
    hook_errors: int
    last_error: str | None


def _count(name: str, value: object) -> int:
    """Return *value* if it is an integer of at least 1."""
    wanted = f"{name}={value!r}: expected an integer of at least 1"
    if not isinstance(value, int) or isinstance(value, bool):
        raise BreakerTypeError(wanted)
    if value < 1:
        raise BreakerValueError(wanted)
    return value


def _positive(name: str, value: object, most: float = math.inf) -> float:
    """Return *value* if it is a number above 0 and at most *most*."""
    wanted = f"{name}={value!r}: expected a number above 0"
    wanted += f" and at most {most:g}" if most < math.inf else ""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise BreakerTypeError(wanted)
    if not 0 < value <= most:  # refuses NaN too
        raise BreakerValueError(wanted)
    return float(value)


def _function(name: str, value: object) -> None:
    if not callable(value) or inspect.iscoroutinefunction(value):
        raise BreakerTypeError(f"{name}={value!r}: expected a function that is not async")


def _is_async(function: object) -> bool:
    """Tell whether *function* is async; refuse what cannot be guarded."""
    if not callable(function):
        raise BreakerTypeError(f"got {function!r}: expected a function to guard")
    kinds = (function, getattr(function, "__call__", None))  # noqa: B004 - of an instance
    if any(inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in kinds):
        raise BreakerTypeError(
            f"got the generator {function!r}: expected a function whose return ends its work; "
            "guard the iteration with `breaker.calling()`"
        )
    return any(inspect.iscoroutinefunction(f) for f in kinds)


class Breaker:
    """Reject calls to what keeps failing: `@breaker`, `breaker.call(f)`, `breaker.calling()`.

    The circuit opens after `max_failures` failures in a row, or when `failure_ratio` of the last
    `window` calls failed, whichever is given or comes first. After `reset_timeout` it is half-open:
    up to `max_probes` calls at a time are let through, `successes_needed` successes close it and
    one failure opens it again.

    Only an `Exception` is a failure, never a cancellation, and not the rejection by a breaker. To
    retry, put the retry outside and leave `CircuitOpenError` out of what is retried.

    Args:
        max_failures: Failures in a row that open the circuit; None: any number, or 5 if there is no
            `failure_ratio` either.
        failure_ratio: Share of failures that opens the circuit, in (0, 1]; None: any.
        window: Calls that the ratio is taken of.
        min_calls: Calls in the window before the ratio counts; at most `window`.
        reset_timeout: Seconds that the circuit stays open.
        max_probes: Calls at a time in a half-open circuit.
        successes_needed: Successes that close a half-open circuit.
        probe_timeout: Seconds after which another probe may take the place of one that has not
            ended; None: never.
        is_failure: Function of an `Exception` that tells whether it is a failure; the others count
            neither way. If it raises, the call counts as failed.
        listeners: Functions of the old and the new state, called after each change, in order; what
            they raise is counted. `add_listener` adds more.
        name: Shown in `repr` and messages.
        clock: Seconds; never goes back.

    Raises:
        BreakerValueError: An argument is out of range.
        BreakerTypeError: An argument has the wrong type.
    """

    def __init__(  # noqa: PLR0913
        self,
        max_failures: int | None = None,
        *,
        failure_ratio: float | None = None,
        window: int = 100,
        min_calls: int = 20,
        reset_timeout: float = 30.0,
        max_probes: int = 1,
        successes_needed: int = 1,
        probe_timeout: float | None = 60.0,
        is_failure: Callable[[Exception], object] | None = None,
        listeners: Iterable[Listener] = (),
        name: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_failures is None and failure_ratio is None:
            max_failures = MAX_FAILURES
        self._max_failures = math.inf
        if max_failures is not None:
            self._max_failures = _count("max_failures", max_failures)
        self._max_ratio = math.inf
        if failure_ratio is not None:
            self._max_ratio = _positive("failure_ratio", failure_ratio, 1)
        self._ring: deque[bool] = deque(maxlen=_count("window", window))  # True: failed
        self._min_calls = _count("min_calls", min_calls)
        if failure_ratio is not None and min_calls > window:
            raise BreakerValueError(f"min_calls={min_calls}: expected at most window={window}")
        self._reset_timeout = _positive("reset_timeout", reset_timeout)
        self._max_probes = _count("max_probes", max_probes)
        self._successes_needed = _count("successes_needed", successes_needed)
        self._probe_timeout = math.inf
        if probe_timeout is not None:
            self._probe_timeout = _positive("probe_timeout", probe_timeout)
        if is_failure is not None:
            _function("is_failure", is_failure)
        _function("clock", clock)
        self._is_failure, self._name, self._clock = is_failure, name, clock
        self._listeners: list[Listener] = []
        for listener in listeners:
            self.add_listener(listener)
        self._news: deque[tuple[Listener, State, State]] = deque()
        # Re-entrant: a coroutine collected while the lock is held gives its token back.
        self._lock = threading.RLock()
        self._successes = self._failures = self._ignored = self._late = 0
        self._rejected = self._opened = self._hook_errors = 0
        self._last_error: str | None = None
        self._numbers = itertools.count(1)  # of tokens; none comes twice
        self._token: int | None  # of all calls while the circuit is closed
        self._probes: dict[int, float] = {}  # by token, when each is given up
        self._until = 0.0  # when an open circuit lets a probe through
        self._state: State = "closed"
        self._switch("closed")

    def __call__(self, function: F) -> F:
        """Return *function*, async or not, guarded by the breaker."""
        if _is_async(function):

            @functools.wraps(function)
            async def guarded(*args: Any, **kwargs: Any) -> Any:
                return await self._run(function, args, kwargs)
        else:

            @functools.wraps(function)
            def guarded(*args: Any, **kwargs: Any) -> Any:
                return self._run_sync(function, args, kwargs)

        return cast("F", guarded)

    def call(
        self,
        function: Callable[P, Awaitable[R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[Any, Any, R]:
        """Await *function* with its arguments: `await breaker.call(fetch, url)`.

        Raises:
            CircuitOpenError: The circuit is open, or half-open with its probes under way.
        """
        return self._run(function, args, kwargs)

    def calling(self) -> "Calling":
        """Return a guard for a block: `with breaker.calling():`, also `async with`."""
        return Calling(self)

    @property
    def state(self) -> str:
        """`closed`, `open` or `half-open`; an open circuit is half-open from the next call on."""
        return self._state

    def isolate(self) -> None:
        """Open the circuit until `reset` is called."""
        with self._lock:
            self._open(math.inf)
        self._tell()

    def reset(self) -> None:
        """Close the circuit and forget its failures; calls under way no longer count."""
        with self._lock:
            self._switch("closed")
        self._tell()

    def add_listener(self, listener: Listener) -> None:
        """Call *listener* with the old and the new state after each change."""
        _function("listener", listener)
        self._listeners.append(listener)

    def stats(self) -> BreakerStats:
        """Return the state now and what was counted since the breaker was made."""
        with self._lock:
            return BreakerStats(
                state=self._state,
                retry_after=self._retry_after(self._clock()),
                probes=len(self._probes),
                streak=self._streak,
                failure_ratio=self._ring.count(True) / max(len(self._ring), 1),
                successes=self._successes,
                failures=self._failures,
                ignored=self._ignored,
                late=self._late,
                rejected=self._rejected,
                opened=self._opened,
                hook_errors=self._hook_errors,
                last_error=self._last_error,
            )

    def __repr__(self) -> str:
        stats = self.stats()
        name = self._name and f" {self._name!r}"
        again = f" for {stats.retry_after:.3g} s" if stats.state == "open" else ""
        return (
            f"<Breaker{name} {stats.state}{again}: {stats.streak} failures in a row, "
            f"{stats.failure_ratio:.0%} of {len(self._ring)}, opened {stats.opened} times, "
            f"rejected {stats.rejected}, last error {stats.last_error}>"
        )

    # Calls

    async def _run(
        self,
        function: Callable[..., Awaitable[R]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> R:
        token = self._token or self._admit()
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            self._fail(token, error)
            raise
        self._succeed(token)
        return result

    def _run_sync(
        self, function: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> R:
        token = self._token or self._admit()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            self._fail(token, error)
            raise
        if inspect.isawaitable(result):  # no outcome yet: pybreaker takes it for a success
            self._settle(token, None)
            if inspect.iscoroutine(result):
                result.close()
            raise BreakerTypeError(f"{function!r} returned an awaitable; guard an async function")
        self._succeed(token)
        return result

    def _succeed(self, token: int) -> None:
        if token == self._token and not self._streak:  # nearly always: no lock
            self._successes += 1
            self._ring.append(False)
        else:
            self._settle(token, True)  # noqa: FBT003

    def _fail(self, token: int, error: BaseException) -> None:
        is_failure = isinstance(error, Exception) and self._judge(error)
        self._settle(token, False if is_failure else None)

    def _judge(self, error: Exception) -> bool:
        """Tell whether *error* is a failure of what was called."""
        if isinstance(error, CircuitOpenError):  # of this or another breaker: no call was made
            return False
        try:
            is_failure = self._is_failure is None or bool(self._is_failure(error))
        except Exception as failure:  # noqa: BLE001 - must not replace the caller's error
            self._note_hook_error(failure)
            return True
        if is_failure:
            self._last_error = repr(error)
        return is_failure

    def _note_hook_error(self, error: Exception) -> None:
        self._hook_errors += 1
        self._last_error = repr(error)

    # Decisions

    def _admit(self) -> int:
        """Return a token for a call of a circuit that was not closed, or reject it."""
        with self._lock:
            now = self._clock()
            if self._state == "open" and now >= self._until:
                self._switch("half-open")
            token = self._token  # closed by another thread, otherwise None
            if self._state == "half-open":
                token = self._probe(now)
            if token is None:
                self._rejected += 1
        self._tell()
        if token is None:
            after = self._retry_after(now)
            name = self._name and f" {self._name!r}"
            raise CircuitOpenError(
                f"the circuit{name} is {self._state}, last error {self._last_error}; "
                f"retry after {after:.3g} s",
                after,
            )
        return token

    def _probe(self, now: float) -> int | None:
        """Return a token of a half-open circuit if it has one to give."""
        self._probes = {token: end for token, end in self._probes.items() if end > now}
        if len(self._probes) >= self._max_probes:
            return None
        token = next(self._numbers)
        self._probes[token] = now + self._probe_timeout
        return token

    def _settle(self, token: int, succeeded: bool | None) -> None:  # noqa: FBT001 - the outcome
        """Take *token* back and count the outcome of its call; None is neither."""
        with self._lock:
            is_probe = self._probes.pop(token, None) is not None
            if not is_probe and token != self._token:
                self._late += 1
            elif succeeded is None:
                self._ignored += 1
            elif succeeded:
                self._count_success(is_probe=is_probe)
            else:
                self._count_failure(is_probe=is_probe)
        self._tell()

    def _count_success(self, *, is_probe: bool) -> None:
        self._successes += 1
        self._streak = 0
        self._ring.append(False)
        self._probe_successes += is_probe
        if self._probe_successes >= self._successes_needed:
            self._switch("closed")

    def _count_failure(self, *, is_probe: bool) -> None:
        self._failures += 1
        self._streak += 1
        self._ring.append(True)
        calls = len(self._ring)
        if (
            is_probe
            or self._streak >= self._max_failures
            or (calls >= self._min_calls and self._ring.count(True) / calls >= self._max_ratio)
        ):
            self._open(self._clock() + self._reset_timeout)

    def _open(self, until: float) -> None:
        self._opened += self._state != "open"
        self._switch("open")
        self._until = until

    def _switch(self, state: State) -> None:
        """Go to *state* with new tokens and nothing counted."""
        if state != self._state:
            self._news.extend((listener, self._state, state) for listener in self._listeners)
        self._state = state
        self._token = next(self._numbers) if state == "closed" else None
        self._probes = {}
        self._ring.clear()
        self._streak = self._probe_successes = 0

    def _retry_after(self, now: float) -> float:
        if self._state == "open":
            return max(0.0, self._until - now)
        if self._state == "closed" or len(self._probes) < self._max_probes:
            return 0.0
        return max(0.0, min(self._probes.values()) - now)

    def _tell(self) -> None:
        """Call listeners without the lock: they may use the breaker, and block."""
        while self._news:
            with self._lock:
                if not self._news:
                    return
                listener, old, new = self._news.popleft()
            try:
                listener(old, new)
            except Exception as error:  # noqa: BLE001 - must not fail the call
                self._note_hook_error(error)


class Calling:
    """A guarded block, from `Breaker.calling`; it may be entered again after it was left."""

    __slots__ = ("_breaker", "_token")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._token: int | None = None

    def __enter__(self) -> Self:
        if self._token is not None:
            raise BreakerUsageError(f"{self!r} is entered already; ask for one a block")
        self._token = self._breaker._token or self._breaker._admit()  # noqa: SLF001
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        token, self._token = self._token, None
        if token is not None:
            if error is None:
                self._breaker._succeed(token)  # noqa: SLF001
            else:
                self._breaker._fail(token, error)  # noqa: SLF001

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.__exit__(kind, error, traceback)

    def __repr__(self) -> str:
        return f"<Calling of {self._breaker!r}>"
