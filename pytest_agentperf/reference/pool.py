"""A fair connection pool for asyncio: first come, first served, and no slot is ever lost.

Copy this file into your project: it needs Python 3.11 and the standard library.

How it works. A caller takes a free connection or queues with a bare future. A returned connection
goes straight to the first in the queue, so that a newcomer cannot take it and a wake-up cannot get
lost. Every decision is a synchronous function, so that no cancellation can split it. Connecting,
checking, resetting and closing run in tasks of the pool, so that a cancelled caller neither breaks
nor leaks a connection. Nothing polls: one timer goes off when the next waiter or connection
expires. A pool belongs to one event loop at a time and to its thread.
"""
# ruff: noqa: SLF001 - a lease is a part of its pool

import asyncio
import contextvars
import inspect
import random
import time
import warnings
from asyncio import current_task
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import ceil, inf, sqrt
from threading import get_ident
from typing import Any, Final, Generic, TypeAlias, TypeVar

__all__ = [
    "ConnectFailedError", "Lease", "Pool", "PoolClosedError", "PoolError", "PoolFullError",
    "PoolStats", "PoolTimeoutError", "PoolTypeError", "PoolUsageError", "PoolValueError",
    "rule_of_thumb",
]  # fmt: skip

C = TypeVar("C")
LIFETIME_JITTER: Final = 0.025  # HikariCP: connections opened together do not expire together
BACKOFF_MAX: Final = 100  # times the first backoff
SAMPLED: Final = 16  # one lease in so many is timed: to read the clock twice costs a tenth of it
SEARCH_TIME: Final = 1e-6  # seconds for each waiter looked at: a deadline may pass by so much
NEAR_CAPACITY: Final = 0.9
CALM_AGAIN: Final = 0.7
CHECK: Final = "check"  # holds a connection that is being validated or reset


class PoolError(Exception):
    """Any error that a pool raises on purpose."""


class PoolValueError(PoolError, ValueError):
    """An argument out of range."""


class PoolTypeError(PoolError, TypeError):
    """An argument of the wrong type."""


class PoolTimeoutError(PoolError, TimeoutError):
    """No connection became free in time; the message holds the pool's statistics."""


class PoolUsageError(PoolError, RuntimeError):
    """A pool or lease used where or when it cannot work."""


class PoolClosedError(PoolUsageError):
    """The pool was closed before a connection became free."""


class PoolFullError(PoolError, RuntimeError):
    """As many callers wait as `max_waiting` admits."""


class ConnectFailedError(PoolError, RuntimeError):
    """`connect` failed or was cancelled; `__cause__` is what it raised."""


@dataclass(frozen=True, slots=True)
class PoolStats:
    """What a pool holds now, and what it did since it was made; times in seconds."""

    active: int  # leases held by callers
    idle: int  # connections without a lease
    total: int  # open connections, also those being validated or reset
    connecting: int  # being opened
    closing: int  # being closed; they count against `max_size`
    waiting: int  # callers that wait for a lease
    capacity: int  # leases possible: `max_size` × `leases_per_connection`
    created: int  # connections opened
    leases: int  # delivered; a hand-over that met a cancelled caller is none
    reused: int  # those of `leases` that were not the first of their connection
    closed: Mapping[
        str, int
    ]  # by reason: idle, lifetime, broken, closed, forced (by `close`), loop
    errors: int  # of connect, validate, reset, is_broken and close
    timeouts: int  # callers that waited in vain
    cancelled: int  # callers cancelled while they waited
    waited: int  # callers that had to wait
    wait_total: float  # what they waited altogether
    wait_max: float  # the longest wait
    lease_time: float  # mean time that a lease was held, by one in 16; 0 before the first ended
    last_error: str | None  # the latest of `errors`

    @property
    def utilization(self) -> float:
        """Leases held ÷ leases possible, in [0, 1]."""
        return self.active / self.capacity

    @property
    def reuse_rate(self) -> float:
        """Leases that needed no new connection ÷ all, in [0, 1]; 0 without a lease."""
        return self.reused / max(self.leases, 1)


def _count(name: str, value: Any, minimum: int) -> int:
    """Return *value* if it is an integer of at least *minimum*."""
    wanted = f"{name}={value!r}: expected an integer of at least {minimum}"
    if type(value) is not int:  # a bool is none
        raise PoolTypeError(wanted)
    if value < minimum:
        raise PoolValueError(wanted)
    return value


def _seconds(name: str, value: Any, *, is_positive: bool = False) -> float:
    """Return *value* as seconds; None, where a caller accepts it, stands for endless."""
    wanted = f"{name}={value!r}: expected seconds {'above' if is_positive else 'from'} 0, or None"
    if value is None:
        return inf
    if type(value) not in (int, float):
        raise PoolTypeError(wanted)
    if not value >= 0 or (is_positive and value == 0):  # NaN is not at least 0
        raise PoolValueError(wanted)
    return float(value)


def _function(name: str, value: Any, *, is_sync: bool = False, is_optional: bool = True) -> Any:
    """Return *value* if it can be called; an async function is no substitute for a sync one."""
    is_good = callable(value) and not (is_sync and inspect.iscoroutinefunction(value))
    if is_good or (is_optional and value is None):
        return value
    kind = "a function" if is_sync else "an async function"
    raise PoolTypeError(f"{name}={value!r}: expected {kind}{' or None' if is_optional else ''}")


def rule_of_thumb(requests_per_second: float, request_time: float, buffer: int = 2) -> int:
    """Return the size for an expected load: requests × seconds that each takes, + *buffer*."""
    rate = _seconds("requests_per_second", requests_per_second)
    spare = _count("buffer", buffer, 0)
    return max(1, ceil(rate * _seconds("request_time", request_time)) + spare)


@dataclass(slots=True, eq=False)
class _Entry(Generic[C]):
    """One open connection."""

    connection: C
    expires: float
    idle_since: float = 0.0
    holders: list[object] = field(default_factory=list)  # the task of each lease, or CHECK
    uses: int = 0  # leases so far
    fate: str = ""  # why to close it, at the latest after its last lease


_Waiter: TypeAlias = asyncio.Future[_Entry[C]]
_Then: TypeAlias = Callable[[Any, BaseException | None], None]


class Lease(Generic[C]):
    """A caller's right to one connection, from `Pool.acquire`.

    Use it as `async with pool.acquire() as connection:`, or `lease = await pool.acquire()` with
    `lease.connection` and `lease.release()`. An awaited lease that is forgotten gives its slot
    back when it is collected, with a `ResourceWarning`; its connection counts as broken.
    """

    __slots__ = ("_deadline", "_entry", "_pool", "_since", "_task", "_timeout")
    _deadline: float  # of its wait
    _task: object  # that asked for it

    def __init__(self, pool: "Pool[C]", timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout
        self._entry: _Entry[C] | None = None
        self._since = 0.0  # when it began, if it is one of those that are timed

    @property
    def connection(self) -> C:
        """The connection, while the lease lasts."""
        if self._entry is None:
            raise PoolUsageError(f"{self!r} holds no connection; acquire a lease from the pool")
        return self._entry.connection

    async def __aenter__(self) -> C:
        entry = self._entry
        if entry is None:
            pool = self._pool
            entry = pool._take(self)
            if entry is None:
                began = pool._clock()
                future = pool._queue(self, began)
                try:
                    entry = await future
                except BaseException as error:
                    pool._leave(self, future, error)
                    raise
                finally:
                    pool._end_wait(self, began)
            self._entry = entry
            if not entry.uses % SAMPLED:
                self._since = pool._clock()
                pool._first_leases += not entry.uses
            entry.uses += 1
        return entry.connection

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._entry is not None:  # released within the block otherwise
            self._pool._give_back(self, self._entry, error)

    def __await__(self) -> Generator[Any, None, "Lease[C]"]:
        lease = _AwaitedLease(self._pool, self._timeout)
        yield from lease.__aenter__().__await__()
        return lease

    def release(self, *, broken: bool = False) -> None:
        """Give the connection back, or have it closed; never waits. A second call only warns."""
        entry, self._entry = self._entry, None
        if entry is None:
            warnings.warn(f"{self!r} was released without being held", RuntimeWarning, 2)
        elif not self._pool._is_dead():
            if broken:
                self._pool._retire(entry, "broken")
            self._pool._give_back(self, entry, None)

    def __repr__(self) -> str:
        return f"<Lease of {'nothing' if self._entry is None else repr(self._entry.connection)}>"


class _AwaitedLease(Lease[C]):
    """A lease that nothing but its holder releases."""

    __slots__ = ()

    def __del__(self) -> None:
        if self._entry is not None:
            # May run anywhere, in the middle of a release or in another thread: redis-py#3000.
            with suppress(RuntimeError):  # the loop is closed
                self._pool._loop.call_soon_threadsafe(partial(self.release, broken=True))
            warnings.warn(f"{self!r} was never released", ResourceWarning, 2)


class Pool(Generic[C]):
    """Keep up to `max_size` connections and lease them first come, first served.

    Args:
        connect: Async function that opens a connection.
        close: Async function that closes the connection it is given.
        min_size: Connections kept open; opened by `start` or the first `acquire`.
        max_size: Connections at most, those being opened or closed included.
        acquire_timeout: Seconds that `acquire` waits for a lease; None waits for ever.
        connect_timeout: Seconds that one `connect`, `validate`, `reset` or `close` may take.
        idle_timeout: Seconds after which an idle connection above `min_size` is closed.
        max_lifetime: Seconds after which a connection is replaced, each up to 2.5 % less.
        validate: Async health check of a connection that was idle for `validate_after` seconds,
            before it is leased; bad if it returns False or raises.
        reset: Async function run on a returned connection before its next lease; bad likewise.
        is_broken: Function of connection and error (None: a look without an error) that tells
            whether to close a connection, asked at each lease and return. Default: after `OSError`
            or `EOFError`. Without sharing, a cancelled lease always breaks its connection, which
            may hold half an answer.
        max_waiting: Callers that may wait; one more gets `PoolFullError`.
        leases_per_connection: Leases that share a connection, as multiplexed sessions do. Shared
            connections take turns (round-robin); a new one is opened when all are full.
        backoff: Seconds before a connect follows a failed one; doubles up to 100 times that, each
            shortened at random by up to a half.
        on_near_capacity: Function of `PoolStats`, called by the event loop when utilization rises
            to 90 %, and again only after it was down to 70 %.
        clock: Seconds; never goes back.
        rand: A random number in [0, 1).

    Raises:
        PoolValueError: An argument is out of range.
        PoolTypeError: An argument has the wrong type.
    """

    # For speed: a `__dict__` of more than 30 names would be slower to read.
    __slots__ = (
        "__weakref__", "_acquire_timeout", "_backoff", "_began", "_cancelled", "_clock", "_close",
        "_closed", "_connect", "_context", "_created", "_delay", "_entries", "_errors",
        "_first_leases", "_free", "_fresh", "_hook_timeout", "_idle_timeout", "_is_broken",
        "_is_closed", "_is_debug", "_is_limited", "_is_near", "_is_sorted", "_is_timed", "_keep",
        "_last_deadline", "_last_error", "_looks", "_loop", "_max", "_max_lifetime", "_max_waiting",
        "_min", "_on_near_capacity", "_past_leases", "_rand", "_reset", "_retry_at", "_running",
        "_sample_total", "_samples", "_share", "_stirred", "_tasks", "_thread", "_timeouts",
        "_timer", "_used", "_validate", "_validate_after", "_wait_max", "_wait_total", "_waited",
        "_waiters", "_wake",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913
        self,
        connect: Callable[[], Awaitable[C]],
        close: Callable[[C], Awaitable[object]],
        *,
        min_size: int = 0,
        max_size: int = 10,
        acquire_timeout: float | None = None,
        connect_timeout: float | None = 30.0,
        idle_timeout: float | None = None,
        max_lifetime: float | None = None,
        validate: Callable[[C], Awaitable[object]] | None = None,
        validate_after: float = 0.5,
        reset: Callable[[C], Awaitable[object]] | None = None,
        is_broken: Callable[[C, BaseException | None], bool] | None = None,
        max_waiting: int | None = None,
        leases_per_connection: int = 1,
        backoff: float = 0.05,
        on_near_capacity: Callable[[PoolStats], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self._connect = _function("connect", connect, is_optional=False)
        self._close = _function("close", close, is_optional=False)
        self._validate = _function("validate", validate)
        self._reset = _function("reset", reset)
        self._is_broken = _function("is_broken", is_broken, is_sync=True)
        self._on_near_capacity = _function("on_near_capacity", on_near_capacity, is_sync=True)
        self._clock: Callable[[], float] = _function(
            "clock", clock, is_sync=True, is_optional=False
        )
        self._rand = _function("rand", rand, is_sync=True, is_optional=False)
        self._max = _count("max_size", max_size, 1)
        self._min = _count("min_size", min_size, 0)
        if self._min > self._max:
            raise PoolValueError(f"min_size={min_size}: expected at most max_size={max_size}")
        self._share = _count("leases_per_connection", leases_per_connection, 1)
        if reset is not None and self._share > 1:
            raise PoolValueError("reset: expected None with leases_per_connection above 1")
        self._max_waiting = inf if max_waiting is None else _count("max_waiting", max_waiting, 0)
        self._acquire_timeout = _seconds("acquire_timeout", acquire_timeout)
        self._is_limited = min(self._acquire_timeout, self._max_waiting) < inf
        self._hook_timeout = _seconds("connect_timeout", connect_timeout, is_positive=True)
        self._idle_timeout = _seconds("idle_timeout", idle_timeout, is_positive=True)
        self._max_lifetime = _seconds("max_lifetime", max_lifetime, is_positive=True)
        self._backoff = _seconds("backoff", backoff, is_positive=True)
        after = _seconds("validate_after", validate_after)
        self._validate_after = inf if validate is None else after
        self._fresh = min(self._validate_after, self._idle_timeout)  # so long it needs no look
        self._is_timed = is_broken is not None or min(self._fresh, self._max_lifetime) < inf
        self._looks = is_broken is not None or reset is not None  # at each return
        # Tasks of the pool must not live in the context of whoever came first: jackc/pgx#1021.
        self._context = contextvars.copy_context()
        self._created = self._past_leases = self._first_leases = self._errors = self._timeouts = 0
        self._cancelled = self._waited = self._samples = 0
        self._wait_total = self._wait_max = self._sample_total = 0.0
        self._closed: Counter[str] = Counter()
        self._last_error: str | None = None
        self._began = inf  # when it was first used
        self._is_closed = False
        self._loop: Any = None  # the event loop, from the first use on
        self._begin()

    def _begin(self) -> None:
        """Hold nothing, as for a new event loop."""
        self._entries: set[_Entry[C]] = set()
        self._free: deque[_Entry[C]] = deque()  # not full; leased from the right
        # The last used is leased first, so that the others can expire; shared ones take turns.
        self._keep = self._free.append if self._share == 1 else self._free.appendleft
        self._waiters: OrderedDict[_Waiter[C], Lease[C]] = OrderedDict()
        self._is_sorted, self._last_deadline = True, -inf  # who came first expires first
        self._tasks: dict[asyncio.Task[Any], str] = {}
        self._running: Counter[str] = Counter()  # `_tasks` by what they do
        self._stirred = asyncio.Event()  # one of them has ended
        self._timer: asyncio.TimerHandle | None = None
        self._wake = inf  # when the timer goes off
        self._delay, self._retry_at = 0.0, -inf  # of connects, after one failed
        self._thread = self._used = 0
        self._is_debug = self._is_near = False

    def acquire(self, timeout: float | None = None) -> Lease[C]:
        """Return a lease to enter with `async with`, or to await and release.

        Args:
            timeout: Seconds to wait at most; 0 does not wait, `math.inf` waits for ever, None
                takes the pool's `acquire_timeout`.

        Entering it raises `PoolTimeoutError`, `PoolFullError`, `PoolClosedError`,
        `ConnectFailedError`, or `PoolUsageError` on a second event loop while the first is open.
        """
        if timeout is not None:
            _seconds("timeout", timeout)
        return Lease(self, timeout)

    def release(self, lease: Lease[C], *, broken: bool = False) -> None:
        """Give *lease* back, as `lease.release()` does; only a lease of this pool is taken."""
        if not isinstance(lease, Lease):
            raise PoolTypeError(f"lease={lease!r}: expected what `await pool.acquire()` returned")
        if lease._pool is not self:
            raise PoolValueError(f"lease={lease!r}: expected a lease of this pool, {self!r}")
        lease.release(broken=broken)

    async def start(self) -> None:
        """Open `min_size` connections and wait for them.

        Raises:
            ConnectFailedError: One did not open; the pool goes on trying until it is closed.
        """
        self._bind()
        while len(self._entries) < self._min and self._tasks:
            await self._stirred.wait()
        if len(self._entries) < self._min:
            raise ConnectFailedError(f"fewer than min_size={self._min} connections open; {self!r}")

    async def __aenter__(self) -> "Pool[C]":
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Refuse new leases, fail the waiters, close what is idle, wait for what is leased.

        May be called again, and goes on in the background if it is cancelled or raises.

        Args:
            timeout: Seconds to wait for leases; None waits for all. What is leased then is closed
                under its holder, with a `ResourceWarning`, in up to `connect_timeout` seconds more.

        Raises:
            PoolUsageError: The calling task would wait for a lease of its own for ever, or runs
                in another event loop than the pool.
        """
        is_endless = _seconds("timeout", timeout) == inf
        if not self._is_dead() and asyncio.get_running_loop() is not self._loop:
            raise PoolUsageError(f"{self!r} belongs to another event loop; close it there")
        self._shut()
        if is_endless and current_task() in self._holders():
            text = "close() would wait for a lease of its own task; release it or pass a timeout"
            raise PoolUsageError(f"{text}: {self!r}")
        try:
            async with asyncio.timeout(timeout):
                while self._entries or self._tasks:
                    await self._stirred.wait()
        except TimeoutError:
            held = self._force()
            if self._tasks:  # each ends by itself unless it ignores its cancellation
                await asyncio.wait(self._tasks, timeout=self._hook_timeout + 1)
            if held:
                text = f"closed a pool after {timeout} s with leases held by {held}: {self!r}"
                warnings.warn(text, ResourceWarning, stacklevel=2)

    def stats(self) -> PoolStats:
        """Return what the pool holds now and what it did since it was made."""
        leases = self._past_leases + sum(entry.uses for entry in self._entries)
        return PoolStats(
            active=len(self._holders()),
            idle=sum(not entry.holders for entry in self._free),
            total=len(self._entries),
            connecting=self._running["connect"],
            closing=self._running["close"],
            waiting=len(self._waiters),
            capacity=self._max * self._share,
            created=self._created,
            leases=leases,
            reused=leases - self._first_leases,
            closed=dict(self._closed),
            errors=self._errors,
            timeouts=self._timeouts,
            cancelled=self._cancelled,
            waited=self._waited,
            wait_total=self._wait_total,
            wait_max=self._wait_max,
            lease_time=self._sample_total / max(self._samples, 1),
            last_error=self._last_error,
        )

    def recommended_size(self, spare: float = 2.0) -> int:
        """Return the size that the measured load needs, by Little's law with spare connections.

        The load is R = rate of requests × mean time of a lease, counting requests that waited in
        vain. R connections would be busy on average; *spare* × √R more keep waiting rare (Halfin
        and Whitt, Operations Research 29(3), 1981). A full pool slows its callers and so hides
        part of the load: enlarge it and measure again. See also `rule_of_thumb`.

        Raises:
            PoolUsageError: Nothing was measured yet.
        """
        _seconds("spare", spare)
        stats, span = self.stats(), self._clock() - self._began
        if not self._samples or span <= 0:
            raise PoolUsageError(f"no lease was measured yet; use the pool first: {self!r}")
        asked = stats.leases + stats.waiting + stats.timeouts + stats.cancelled
        load = asked / span * stats.lease_time
        return max(1, ceil((load + spare * sqrt(load)) / self._share))

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "new" if self._loop is None else "open"
        return f"<Pool {state}, size {self._min}–{self._max} × {self._share}: {self.stats()}>"

    # A lease: taken or waited for, and given back

    def _take(self, lease: Lease[C]) -> _Entry[C] | None:
        """Lease a free connection that needs no look; None: the caller must queue."""
        lease._task = task = current_task(self._loop)
        # Not get_running_loop(): before 3.12 it asks the kernel for the process id, 0.2 µs.
        if get_ident() != self._thread or task is None:
            self._bind()
        if not self._free or self._waiters or (self._is_timed and self._is_stale(self._free[-1])):
            return None
        entry = self._free.pop()
        entry.holders.append(task)
        if self._share > 1 and len(entry.holders) < self._share:
            self._keep(entry)
        if self._on_near_capacity is not None:
            self._watch(1)
        return entry

    def _is_stale(self, entry: _Entry[C]) -> bool:
        now = self._clock()
        if entry.expires <= now or entry.idle_since + self._fresh <= now:
            return True
        return self._is_broken is not None and self._looks_broken(entry, None)

    def _queue(self, lease: Lease[C], now: float) -> _Waiter[C]:
        """Join the queue; return the future of a connection, which may be done already."""
        if self._is_debug and lease._task in self._holders():
            text = f"{lease._task!r} waits for a lease while it holds one, which can deadlock"
            warnings.warn(text, RuntimeWarning, stacklevel=3)
        future: _Waiter[C] = self._loop.create_future()
        self._waiters[future] = lease
        if self._free or len(self._entries) < self._max:
            self._pump(now)
        lease._deadline = inf
        if (self._is_limited or lease._timeout is not None) and not future.done():
            self._limit_wait(lease, future, now)
        return future

    def _limit_wait(self, lease: Lease[C], future: _Waiter[C], now: float) -> None:
        """Refuse a waiter, or set its deadline if it has one."""
        seconds = self._acquire_timeout if lease._timeout is None else lease._timeout
        if len(self._waiters) > self._max_waiting and self._lacking() > self._max_waiting:
            text = f"max_waiting={self._max_waiting} callers wait; {self.stats()}"
            self._fail(future, PoolFullError(text))
        elif seconds == 0:
            self._time_out([future])
        elif seconds < inf:
            lease._deadline = deadline = now + seconds
            is_later = self._is_sorted and deadline >= self._last_deadline
            self._is_sorted = is_later or len(self._waiters) == 1
            self._last_deadline = deadline
            if deadline < self._wake:
                self._wake_at(deadline)

    def _end_wait(self, _lease: Lease[C], began: float) -> None:  # for those who observe it
        wait = self._clock() - began
        self._waited += 1
        self._wait_total += wait
        if wait > self._wait_max:  # noqa: PLR1730 - max() costs a call
            self._wait_max = wait

    def _leave(self, lease: Lease[C], future: _Waiter[C], error: BaseException) -> None:
        """Settle the account of a waiter that leaves with *error*; no connection is lost."""
        if isinstance(error, asyncio.CancelledError):
            self._cancelled += 1
        elif future.get_loop().is_closed():
            return  # the coroutine was left on a dead loop, and is collected
        if future.cancelled() or future.cancel():
            self._waiters.pop(future, None)
        elif future.exception() is None:  # granted and cancelled in the same tick: pass it on
            self._give_back(lease, future.result(), None)
        lease._task = None  # breaks the cycle of task, error, frame and lease

    def _give_back(self, lease: Lease[C], entry: _Entry[C], error: BaseException | None) -> None:
        """Pass a leased connection to the first waiter, or keep it, or part with it."""
        lease._entry = None
        if lease._since:
            self._samples += 1
            self._sample_total += self._clock() - lease._since
            lease._since = 0.0
        if (error is not None or entry.fate or self._looks) and not self._is_fit(
            entry, lease._task, error
        ):
            return
        while self._waiters:
            future, heir = self._waiters.popitem(last=False)
            if not future.done():
                # The connection stays leased, so that nobody can come between.
                entry.holders[entry.holders.index(lease._task)] = heir._task
                future.set_result(entry)
                return
        entry.holders.remove(lease._task)
        if self._on_near_capacity is not None:
            self._watch(-1)
        if self._share == 1 or len(entry.holders) == self._share - 1:
            self._keep(entry)
        if self._is_timed:
            self._touch(entry)

    def _is_fit(self, entry: _Entry[C], task: object, error: BaseException | None) -> bool:
        """Tell whether to lease a returned connection at once; if not, end its lease."""
        if entry not in self._entries or self._is_dead():
            return False  # forced, or of a dead loop
        if self._looks_broken(entry, error):
            self._retire(entry, "broken")
        if not entry.fate and self._reset is None:
            return True
        entry.holders.remove(task)
        self._watch(-1)
        if entry.fate:
            self._retire(entry, entry.fate)
        else:
            self._check(entry, self._reset)
        return False

    def _looks_broken(self, entry: _Entry[C], error: BaseException | None) -> bool:
        if self._share == 1 and error is not None and not isinstance(error, Exception):
            return True  # cancelled in the middle of a command
        if self._is_broken is not None:
            try:
                return bool(self._is_broken(entry.connection, error))
            except Exception as failure:  # noqa: BLE001 - must not replace the caller's error
                self._note(failure)
                return True
        if isinstance(error, PoolError) or (self._share > 1 and isinstance(error, TimeoutError)):
            return False  # of another pool, or of one call among many
        return isinstance(error, OSError | EOFError)

    def _watch(self, change: int) -> None:
        """Count leases; report when they rise to 90 % of what is possible, once until 70 %."""
        self._used += change
        utilization = self._used / (self._max * self._share)
        if utilization <= CALM_AGAIN:
            self._is_near = False
        elif utilization >= NEAR_CAPACITY and not self._is_near:
            self._is_near = True
            if self._on_near_capacity is not None:
                # By the loop: the callback may raise, or use the pool.
                self._loop.call_soon(self._on_near_capacity, self.stats())

    # Decisions: who gets what, and what is opened, checked and closed

    def _pump(self, now: float) -> None:
        """Bring free connections to waiters, then start what waiters and `min_size` lack."""
        if self._is_closed:
            return
        while self._free and self._waiters:
            entry = self._free.pop()
            reason = self._judge(entry, now)
            if not reason:
                self._serve(entry)
            elif reason != CHECK:
                self._retire(entry, reason)
            elif self._lacking() > 0:
                self._check(entry, self._validate)
            else:
                self._free.append(entry)
                break
        while self._may_connect(now):
            self._run("connect", self._connect, self._on_connected)

    def _lacking(self) -> int:
        """Return the number of waiters that nothing is under way for."""
        return len(self._waiters) - self._share * (self._running["connect"] + self._running[CHECK])

    def _may_connect(self, now: float) -> bool:
        """Tell whether to connect now; after a failure one at a time, when its backoff is over."""
        size = len(self._entries) + self._running["connect"]
        if size + self._running["close"] >= self._max or (
            self._lacking() <= 0 and size >= self._min
        ):
            return False
        if self._delay and now < self._retry_at:
            self._wake_at(self._retry_at)
            return False
        return not (self._delay and self._running["connect"])

    def _judge(self, entry: _Entry[C], now: float) -> str:
        """Tell why not to lease a free connection: empty, CHECK, or a reason to close it."""
        end, reason = self._end_of(entry)
        if end <= now:
            return reason
        if self._is_broken is not None and self._looks_broken(entry, None):
            return "broken"
        return "" if entry.holders or now < entry.idle_since + self._validate_after else CHECK

    def _end_of(self, entry: _Entry[C]) -> tuple[float, str]:
        """Return when to close a connection that is left alone until then, and why."""
        is_spare = not entry.holders and len(self._entries) > self._min
        idle_end = entry.idle_since + self._idle_timeout if is_spare else inf
        return min((entry.expires, "lifetime"), (idle_end, "idle"))

    def _serve(self, entry: _Entry[C]) -> None:
        """Lease a fit connection, which is not among the free, to waiters; keep what is left."""
        while len(entry.holders) < self._share:
            waiter = self._next_waiter()
            if waiter is None:
                self._keep(entry)
                return
            entry.holders.append(waiter[1]._task)
            waiter[0].set_result(entry)
            self._watch(1)

    def _next_waiter(self) -> tuple[_Waiter[C], Lease[C]] | None:
        """Remove and return the first that still waits."""
        while self._waiters:
            future, lease = self._waiters.popitem(last=False)
            if not future.done():
                return future, lease
        return None

    def _check(self, entry: _Entry[C], hook: Callable[[C], Awaitable[object]]) -> None:
        """Run `validate` or `reset`; a good connection is served then, another closed."""
        entry.holders.append(CHECK)  # so that nothing else parts with it
        self._run(CHECK, partial(hook, entry.connection), partial(self._on_checked, entry))

    def _retire(self, entry: _Entry[C], reason: str) -> None:
        """Close a connection for *reason*, at once or after its last lease."""
        if entry not in self._entries:
            return
        entry.fate = entry.fate or reason
        with suppress(ValueError):
            self._free.remove(entry)
        if not entry.holders:
            self._entries.remove(entry)
            self._closed[entry.fate] += 1
            self._past_leases += entry.uses
            self._run("close", partial(self._close, entry.connection), None)

    def _fail(self, future: _Waiter[C], error: PoolError) -> None:
        self._waiters.pop(future, None)
        future.set_exception(error)

    def _time_out(self, futures: Iterable[_Waiter[C]]) -> None:
        text = f"no connection became free in time; {self.stats()}"
        for future in futures:
            self._timeouts += 1
            self._fail(future, PoolTimeoutError(text))

    # Time: one timer, for whatever ends next

    def _touch(self, entry: _Entry[C]) -> None:
        """Note when a connection was last used; let the timer go off when it expires."""
        entry.idle_since = now = self._clock()
        end = now + self._idle_timeout
        if end < self._wake or entry.expires < self._wake:
            self._wake_at(min(end, entry.expires))

    def _wake_at(self, when: float) -> None:
        """Let the timer go off at *when*, if not before."""
        if when < self._wake:
            if self._timer is not None:
                self._timer.cancel()
            self._wake = when
            self._timer = self._loop.call_later(max(0.0, when - self._clock()), self._tick)

    def _tick(self) -> None:
        """End what is over, and set the timer for what is next."""
        now = max(self._clock(), self._wake)  # a loop may be early by its clock's resolution
        self._timer, self._wake = None, inf
        ends = [self._expire_waiters(now)]
        for entry in sorted(self._entries, key=lambda entry: entry.idle_since):
            end, reason = self._end_of(entry)
            if end <= now:
                self._retire(entry, reason)
        self._pump(now)
        ends += [self._end_of(entry)[0] for entry in self._entries if not entry.fate]
        self._wake_at(min(ends))

    def _expire_waiters(self, now: float) -> float:
        """Fail the waiters whose time is over; return when to look for the next."""
        late, looked, soonest = [], 0, inf
        for future, lease in self._waiters.items():
            looked += 1
            if lease._deadline <= now:
                late.append(future)
            elif lease._deadline < soonest:
                soonest = lease._deadline
                if self._is_sorted:
                    break
        self._time_out([future for future in late if not future.done()])
        return max(soonest, now + looked * SEARCH_TIME)

    # Tasks of the pool, and what follows when they end

    def _run(self, work: str, hook: Callable[[], Awaitable[Any]], then: _Then | None) -> None:
        """Run *hook* in a task; what follows is a callback: a loop that died calls none."""
        self._running[work] += 1  # before an eager task begins
        task = self._loop.create_task(self._bounded(hook), context=self._context.copy())
        self._tasks[task] = work
        task.add_done_callback(partial(self._on_done, then))

    async def _bounded(self, hook: Callable[[], Awaitable[Any]]) -> Any:
        async with asyncio.timeout(self._hook_timeout):
            return await hook()

    def _on_done(self, then: _Then | None, task: "asyncio.Task[Any]") -> None:
        self._running[self._tasks.pop(task)] -= 1
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            self._note(error)
        if then is not None:
            then(None if error else task.result(), error)
        self._pump(self._clock())
        self._stirred.set()  # for those who wait now
        self._stirred = asyncio.Event()

    def _note(self, error: BaseException) -> None:
        self._errors += 1
        self._last_error = repr(error)

    def _on_connected(self, connection: C, error: BaseException | None) -> None:
        if error is not None:
            self._back_off(error)
            return
        life = self._max_lifetime * (1 - LIFETIME_JITTER * self._rand())
        entry = _Entry(connection, expires=self._clock() + life)
        self._entries.add(entry)
        self._created += 1
        self._delay = 0.0
        self._admit(entry)

    def _on_checked(self, entry: _Entry[C], answer: object, error: BaseException | None) -> None:
        if entry in self._entries:  # else it was forced
            entry.holders.remove(CHECK)
            if error is not None or answer is False:
                entry.fate = entry.fate or "broken"
            self._admit(entry)

    def _admit(self, entry: _Entry[C]) -> None:
        """Take in a connection fresh from `connect` or a check."""
        if self._is_closed or entry.fate:
            self._retire(entry, "closed")
        else:
            self._touch(entry)
            self._serve(entry)

    def _back_off(self, error: BaseException) -> None:
        """Tell the first waiter that a connect failed, and delay the next one."""
        now = self._clock()
        if now >= self._retry_at:  # else one of several that failed together
            self._delay = min(2 * self._delay, BACKOFF_MAX * self._backoff) or self._backoff
            self._retry_at = now + self._delay * (1 - self._rand() / 2)
        if waiter := self._next_waiter():
            failure = ConnectFailedError(f"connect failed: {error!r}")
            failure.__cause__ = error
            self._fail(waiter[0], failure)

    # Event loops, and the end

    def _is_dead(self) -> bool:
        """Tell whether there is no event loop in which anything could happen."""
        return self._loop is None or self._loop.is_closed()

    def _bind(self) -> None:
        """Make the running loop the pool's, if the one before is gone."""
        if self._is_closed:
            raise PoolClosedError(f"the pool is closed; {self.stats()}")
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if not self._is_dead():
                text = "belongs to another event loop that is open; use one pool a loop"
                raise PoolUsageError(f"{self!r} {text}")
            self._forget()
            self._loop = loop
        self._thread, self._is_debug = get_ident(), loop.get_debug()
        now = self._clock()
        self._began = min(self._began, now)
        self._pump(now)

    def _forget(self) -> None:
        """Count as closed what a dead loop has left behind, out of reach."""
        for entry in self._entries:
            entry.fate = "loop"
            self._closed["loop"] += 1
            self._past_leases += entry.uses
        self._begin()

    def _shut(self) -> None:
        """Begin to close: from here on, whatever comes back is closed."""
        self._is_closed = True
        if self._is_dead():
            self._forget()
        self._thread, self._wake = 0, -inf  # `acquire` and the timer come to nothing
        if self._timer is not None:
            self._timer.cancel()
        while waiter := self._next_waiter():
            self._fail(waiter[0], PoolClosedError("the pool was closed during the wait"))
        for entry in tuple(self._entries):
            self._retire(entry, "closed")
        for task, work in tuple(self._tasks.items()):
            if work == "connect":
                task.cancel()

    def _force(self) -> list[object]:
        """Close what is still leased; return who holds it."""
        held = self._holders()
        self._watch(-len(held))
        for entry in tuple(self._entries):
            entry.holders.clear()
            entry.fate = "forced"
            self._retire(entry, entry.fate)
        return held

    def _holders(self) -> list[object]:
        """Return the task of each lease."""
        return [task for entry in self._entries for task in entry.holders if task is not CHECK]
