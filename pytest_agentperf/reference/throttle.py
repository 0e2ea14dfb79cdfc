"""A fair throttle for asyncio: so many at once, so much per second, first come, first served.

Copy this file into your project: it needs Python 3.11 and the standard library.

How it works. A place that becomes free goes straight to the longest waiter (one bare future each),
whatever amount it asks for, so that neither a newcomer nor a smaller request overtakes it. Leaving
is synchronous, so that no cancellation can split it. The rate is exact: no window of `per` seconds,
wherever it begins, sees more than `rate` (a token bucket lets almost twice as much through).
Nothing polls: one timer stands while the first waiter waits for the rate. A throttle belongs to one
event loop at a time and to its thread.
"""

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import get_ident
from typing import Any, Final, TypeAlias, cast

__all__ = [
    "Throttle",
    "ThrottleError",
    "ThrottleFullError",
    "ThrottleStats",
    "ThrottleTimeoutError",
    "ThrottleTypeError",
    "ThrottleUsageError",
    "ThrottleValueError",
]

TIMER_GRAIN: Final = 0.001  # seconds; uvloop runs a shorter timer at once, which would be polling


class ThrottleError(Exception):
    """Any error that a throttle raises on purpose."""


class ThrottleValueError(ThrottleError, ValueError):
    """An argument out of range."""


class ThrottleTypeError(ThrottleError, TypeError):
    """An argument of the wrong type."""


class ThrottleTimeoutError(ThrottleError, TimeoutError):
    """The limits did not let the caller in in time."""


class ThrottleUsageError(ThrottleError, RuntimeError):
    """A throttle used where it cannot work."""


class ThrottleFullError(ThrottleError, RuntimeError):
    """As many callers wait as `max_waiting` admits."""


@dataclass(frozen=True, slots=True)
class ThrottleStats:
    """What a throttle holds and what it has done; times in seconds.

    Attributes:
        active: Callers inside.
        waiting: Callers that wait.
        admitted: Callers let in so far, one that was cancelled before it noticed not counted.
        cancelled: Callers cancelled while they waited.
        timeouts: Callers that waited in vain.
        rejected: Callers refused by `max_waiting`.
        waited: Callers that had to wait.
        wait_total: What they waited altogether.
        wait_max: The longest wait.
    """

    active: int
    waiting: int
    admitted: int
    cancelled: int
    timeouts: int
    rejected: int
    waited: int
    wait_total: float
    wait_max: float


def _check(name: str, value: Any, kind: Any, least: float, most: float = math.inf) -> Any:
    """Return *value* if it is a number of *kind* in [*least*, *most*]."""
    what = "an integer" if kind is int else "seconds"
    wanted = f"{name}={value!r}: expected {what} from {least} to {most}"
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ThrottleTypeError(wanted)
    if not least <= value <= most:
        raise ThrottleValueError(wanted)
    return value


@dataclass(slots=True, eq=False)
class _Start:
    """What one caller took of a window."""

    when: float
    amount: int


class _Window:
    """What was let in during the last `span` seconds: `limit` at most."""

    limit, span = 1, 1.0

    def __init__(self) -> None:
        self._starts: deque[_Start] = deque()
        self._spent = 0

    def delay(self, amount: int, now: float) -> float:
        """Return the seconds until *amount* fits, or until the window is empty."""
        while self._starts and self._starts[0].when + self.span <= now:
            self.take_back(self._starts.popleft())
        delay, excess = 0.0, self._spent + amount - self.limit
        for start in self._starts:
            if excess <= 0:
                break
            excess -= start.amount
            delay = start.when + self.span - now
        return delay

    def take(self, amount: int, now: float) -> _Start:
        start = _Start(now, amount)
        self._starts.append(start)
        self._spent += amount
        return start

    def take_back(self, start: _Start) -> None:
        """Forget *start*; a second time does nothing."""
        self._spent -= start.amount
        start.amount = 0


_Waiter: TypeAlias = asyncio.Future[list[_Start]]


class _Entry:
    """One caller's `async with throttle(...)`."""

    __slots__ = ("_amount", "_generation", "_throttle", "_timeout")

    def __init__(self, throttle: "Throttle", amount: int, timeout: float) -> None:
        self._throttle, self._amount, self._timeout = throttle, amount, timeout

    async def __aenter__(self) -> None:
        throttle = self._throttle
        if not throttle._try(self._amount):  # noqa: SLF001
            await throttle._wait(self._amount, self._timeout)  # noqa: SLF001
        self._generation = throttle._generation  # noqa: SLF001

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        self._throttle._exit(kind, self._generation)  # noqa: SLF001


class Throttle:
    """Let callers in by number and by rate: `async with throttle:` or `async with throttle(3):`.

    Args:
        concurrency: Callers inside at most; None: no limit.
        rate: Amount let in during any `per` seconds at most (requests, tokens, bytes); None: no
            limit. For less than one a second lengthen `per`.
        per: Seconds of the rate's window, from 0.001 to a milliard.
        burst: Amount let in at once at most, up to *rate*, which is the default. Less spreads the
            callers: no window of `per` × burst ÷ rate seconds sees more; 1 spaces them evenly, as
            finely as timers of a millisecond can.
        timeout: Seconds that a caller waits; None waits for ever.
        max_waiting: Callers that may wait; one more gets `ThrottleFullError`. None: no limit.
        clock: Seconds; never goes back.

    Raises:
        ThrottleValueError: An argument is out of range, or there is nothing to limit.
        ThrottleTypeError: An argument has the wrong type.
    """

    def __init__(
        self,
        concurrency: int | None = None,
        rate: int | None = None,
        per: float = 1.0,
        burst: int | None = None,
        *,
        timeout: float | None = None,
        max_waiting: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if concurrency is None and rate is None:
            raise ThrottleValueError("expected concurrency, rate or both; got neither")
        if burst is not None:
            _check("burst", burst, int, 1, _check("rate", rate, int, 1))
        if not callable(clock):
            raise ThrottleTypeError(f"clock={clock!r}: expected a function")
        self._per = _check("per", per, int | float, TIMER_GRAIN, 1e9)
        self._timeout = math.inf if timeout is None else _check("timeout", timeout, int | float, 0)
        self._most = math.inf if max_waiting is None else _check("max_waiting", max_waiting, int, 0)
        self._clock, self._burst = clock, burst
        self._concurrency, self._rate = math.inf, 0
        self._windows = [_Window() for limit in (rate, burst) if limit is not None]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = self._generation = self._active = 0
        self._stale = 0  # places held when their loop died, and not left since
        self._waiters: OrderedDict[_Waiter, int] = OrderedDict()  # with amounts, oldest first
        self._timer: asyncio.TimerHandle | None = None
        self._admitted = self._cancelled = self._timeouts = self._rejected = self._waited = 0
        self._wait_total = self._wait_max = 0.0
        self.resize(concurrency=concurrency, rate=rate)

    def resize(self, *, concurrency: int | None = None, rate: int | None = None) -> None:
        """Change limits; None leaves one as it is.

        Callers inside stay. A waiter whose amount is above a lowered rate gets in when nobody else
        is in the window.
        """
        if rate is not None and not self._windows:
            raise ThrottleUsageError(f"{self!r} has no rate to change; make one that has")
        rate = self._rate if rate is None else _check("rate", rate, int, 1)
        if concurrency is not None:
            self._concurrency = _check("concurrency", concurrency, int, 1)
        self._rate = rate
        for window, limit in zip(self._windows, (rate, self._burst or rate), strict=False):
            window.limit = min(limit, rate)
            window.span = self._per * (window.limit / rate)
        self._restart()

    def __call__(self, amount: int = 1, timeout: float | None = None) -> _Entry:
        """Return a context manager to be inside, for one `async with`.

        Args:
            amount: What the caller takes of the rate, up to `burst`; of the places it takes one.
            timeout: Seconds to wait at most; 0 does not wait, `math.inf` waits for ever, None
                takes the throttle's.

        Raises (when it is entered, but for wrong arguments):
            ThrottleTimeoutError: The limits did not let the caller in in time.
            ThrottleFullError: `max_waiting` callers wait already.
            ThrottleUsageError: The throttle belongs to another event loop that is still open.
        """
        most = min((window.limit for window in self._windows), default=1)
        _check("amount", amount, int, 1, most)
        limit = self._timeout if timeout is None else _check("timeout", timeout, int | float, 0)
        return _Entry(self, amount, limit)

    async def __aenter__(self) -> None:
        if not self._try(1):
            await self._wait(1, self._timeout)

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is GeneratorExit and self._stale:
            self._stale -= 1  # a coroutine of the dead loop, collected only now
        else:
            self._exit(kind, self._generation)

    def stats(self) -> ThrottleStats:
        """Return who is inside, who waits and what has happened."""
        return ThrottleStats(
            active=self._active,
            waiting=len(self._waiters),
            admitted=self._admitted,
            cancelled=self._cancelled,
            timeouts=self._timeouts,
            rejected=self._rejected,
            waited=self._waited,
            wait_total=self._wait_total,
            wait_max=self._wait_max,
        )

    def __repr__(self) -> str:
        rate = f", {self._rate} per {self._per:g} s" if self._windows else ""
        places = f"{self._active}/{self._concurrency} inside"
        return f"<Throttle {places}{rate}, {len(self._waiters)} waiting>"

    def _try(self, amount: int) -> bool:
        """Let the caller in, unless it must wait."""
        self._bind()
        if self._waiters:
            self._pump()  # those before may have gone
        if self._waiters or self._active >= self._concurrency or self._delay(amount):
            return False
        self._admit(amount)
        return True

    async def _wait(self, amount: int, timeout: float) -> None:  # noqa: ASYNC109
        if len(self._waiters) >= self._most:
            self._rejected += 1
            raise ThrottleFullError(f"max_waiting={self._most} callers wait; {self!r}")
        loop, began = asyncio.get_running_loop(), self._clock()
        future: _Waiter = loop.create_future()
        self._waiters[future] = amount
        if timeout == 0:
            self._expire(future)
        timer = loop.call_later(timeout, self._expire, future) if 0 < timeout < math.inf else None
        self._pump()
        try:
            await future
        except BaseException as error:
            if isinstance(error, GeneratorExit):
                self._soon(self._abandon, future)
            else:
                self._abandon(future)
            raise
        finally:
            if timer is not None:
                timer.cancel()
            wait = self._clock() - began
            self._waited += 1
            self._wait_total += wait
            if wait > self._wait_max:  # noqa: PLR1730 - max() costs a call
                self._wait_max = wait

    def _bind(self) -> None:
        """Make the running loop the throttle's, if the one before is dead."""
        loop = self._loop
        # Not get_running_loop(): before 3.12 it asks the kernel for the process id, 0.4 µs.
        if loop is not None and get_ident() == self._thread and loop.is_running():
            return
        running = asyncio.get_running_loop()
        if running is not loop:
            if loop is not None and not loop.is_closed():
                raise ThrottleUsageError(
                    f"{self!r} belongs to another event loop that is open; make one for each"
                )
            self._generation += 1
            self._stale += self._active
            self._active, self._waiters, self._timer = 0, OrderedDict(), None
        self._loop, self._thread = running, get_ident()

    def _delay(self, amount: int) -> float:
        """Return the seconds until the rate admits *amount*; 0 is now."""
        if not self._windows:
            return 0.0
        now = self._clock()
        return max(window.delay(amount, now) for window in self._windows)

    def _admit(self, amount: int) -> list[_Start]:
        """Count a caller in; return what it took of the windows."""
        self._active += 1
        self._admitted += 1
        if not self._windows:
            return []
        now = self._clock()
        return [window.take(amount, now) for window in self._windows]

    def _pump(self) -> None:
        """Let in the first waiters that the limits admit; set a timer if it is the rate that lacks.

        While that timer stands nobody can get in: all others came later.
        """
        loop, waiters = self._loop, self._waiters
        if self._timer is not None or loop is None or loop.is_closed():
            return
        while waiters and self._active < self._concurrency:
            future, amount = waiters.popitem(last=False)
            if future.done():
                continue
            if delay := self._delay(amount):
                self._timer = loop.call_later(max(delay, TIMER_GRAIN), self._restart)
                waiters[future] = amount
                waiters.move_to_end(future, last=False)
                return
            future.set_result(self._admit(amount))

    def _restart(self) -> None:
        """Look again who can get in, after a change that may have made the timer wrong."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pump()

    def _exit(self, kind: object, generation: int) -> None:
        """Let a caller leave, unless its place is gone with its loop."""
        if generation != self._generation:
            self._stale -= 1
        elif kind is GeneratorExit:
            self._soon(self._leave)
        else:
            self._leave()

    def _leave(self) -> None:
        self._active -= 1
        if self._waiters:
            self._pump()

    def _soon(self, work: Callable[..., None], *args: Any) -> None:
        """Do the *work* of a finalizer, which may run in any thread and at any time."""
        try:
            cast("asyncio.AbstractEventLoop", self._loop).call_soon_threadsafe(work, *args)
        except RuntimeError:  # the loop is closed: now is as good
            work(*args)

    def _expire(self, future: _Waiter) -> None:
        if not future.done():
            future.set_exception(ThrottleTimeoutError(f"no way in in time; {self!r}"))

    def _abandon(self, future: _Waiter) -> None:
        """Account for a waiter that leaves with an error; pass on what it was granted meanwhile."""
        if self._loop is not future.get_loop() or self._loop.is_closed():
            return
        if not future.cancel() and not future.cancelled() and future.exception() is not None:
            self._timeouts += 1
        else:
            self._cancelled += 1
            if not future.cancelled():  # granted in the same turn
                self._active -= 1
                self._admitted -= 1
                for window, start in zip(self._windows, future.result(), strict=True):
                    window.take_back(start)
        self._waiters.pop(future, None)
        self._restart()
