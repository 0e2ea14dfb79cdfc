"""A fair connection pool for asyncio: first come, first served, and no slot is ever lost.

Copy this file into your project: it needs Python 3.11 and the standard library.

How it works. A returned connection goes straight to the longest waiter (one bare future each), so
that a newcomer cannot take it and a wake-up cannot get lost. `release` is synchronous, so that no
cancellation can split it. Connecting, checking, resetting and closing run in tasks of the pool, so
that a cancelled caller neither breaks nor leaks a connection. Nothing polls: an idle pool has at
most one timer, for the next expiry. A pool belongs to one event loop at a time and to its thread.
"""

import asyncio
import contextlib
import contextvars
import heapq
import inspect
import math
import random
import time
import traceback
import warnings
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from threading import get_ident
from types import MappingProxyType, TracebackType
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

__all__ = [
    "ConnectFailedError",
    "Lease",
    "OwnedSession",
    "Pool",
    "PoolClosedError",
    "PoolError",
    "PoolFullError",
    "PoolStats",
    "PoolTimeoutError",
    "PoolTypeError",
    "PoolUsageError",
    "PoolValueError",
    "rule_of_thumb",
    "session_pool",
]

C = TypeVar("C")
S = TypeVar("S")
_Loop: TypeAlias = asyncio.AbstractEventLoop
NEAR_CAPACITY: Final = 0.9
CALM_AGAIN: Final = 0.7
LIFETIME_JITTER: Final = 0.025  # HikariCP: connections opened together do not expire together
SAMPLED: Final = 16  # the clock is read for one lease in so many
TIMER_SLACK: Final = 1e-6  # seconds; a loop may run a timer early by the clock's resolution


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
    """What a pool holds and what it has done; times in seconds.

    Attributes:
        active: Leases held by callers.
        idle: Connections without a lease.
        total: Open connections, also those being checked or reset.
        connecting: Connections being opened.
        closing: Connections being closed; they count against `max_size`.
        waiting: Callers that wait for a lease.
        capacity: Leases that the pool can have at most: `max_size` × `leases_per_connection`.
        created: Connections opened so far.
        leases: Leases delivered so far, a hand-over that met a cancelled caller not counted.
        reused: Those of `leases` that were not the first of their connection.
        closed: Connections closed so far, by reason: `idle`, `lifetime`, `broken`, `closed` (with
            the pool), `forced` (still leased at the end of `close`), `loop` (its loop died).
        errors: Failed connects.
        hook_errors: Failures of `validate`, `reset` and `close`.
        timeouts: Callers that waited in vain.
        cancelled: Callers cancelled while they waited.
        waited: Callers that had to wait.
        wait_total: What they waited altogether.
        wait_max: The longest wait.
        lease_time: Mean time that a lease was held, by one in 16; 0 before the first ended.
        near_capacity: How often utilization rose to 90 %.
        last_error: `repr` of the latest error of `connect` or a hook.
    """

    active: int
    idle: int
    total: int
    connecting: int
    closing: int
    waiting: int
    capacity: int
    created: int
    leases: int
    reused: int
    closed: Mapping[str, int]
    errors: int
    hook_errors: int
    timeouts: int
    cancelled: int
    waited: int
    wait_total: float
    wait_max: float
    lease_time: float
    near_capacity: int
    last_error: str | None

    @property
    def utilization(self) -> float:
        """Leases held ÷ leases possible, in [0, 1]."""
        return self.active / self.capacity

    @property
    def reuse_rate(self) -> float:
        """Leases that needed no new connection ÷ all, in [0, 1]; 0 without a lease."""
        return self.reused / max(self.leases, 1)

    def __str__(self) -> str:
        closed = ", ".join(f"{reason} {count}" for reason, count in self.closed.items()) or "none"
        return (
            f"active {self.active}/{self.capacity} ({self.utilization:.0%}), idle {self.idle}, "
            f"total {self.total}, connecting {self.connecting}, closing {self.closing}, "
            f"waiting {self.waiting}, created {self.created}, "
            f"reused {self.reused} ({self.reuse_rate:.0%}), closed: {closed}, "
            f"errors {self.errors}+{self.hook_errors}, timeouts {self.timeouts}, "
            f"cancelled {self.cancelled}, wait {self.wait_total:.3g} s in {self.waited} "
            f"(longest {self.wait_max:.3g} s), last error {self.last_error}"
        )


def _count(name: str, value: object, minimum: int) -> int:
    """Return *value* if it is an integer of at least *minimum*."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise PoolTypeError(f"{name}={value!r}: expected an integer of at least {minimum}")
    if value < minimum:
        raise PoolValueError(f"{name}={value!r}: expected an integer of at least {minimum}")
    return value


def _seconds(name: str, value: object, *, positive: bool = False) -> float:
    """Return *value* as seconds; None, where a caller accepts it, stands for endless."""
    wanted = f"{name}={value!r}: expected seconds {'above' if positive else 'from'} 0, or None"
    if value is None:
        return math.inf
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise PoolTypeError(wanted)
    if math.isnan(value) or value < 0 or (positive and value == 0):
        raise PoolValueError(wanted)
    return float(value)


def _limit(seconds: float) -> float | None:
    """Return *seconds* as asyncio takes them, with None for endless."""
    return None if seconds == math.inf else seconds


def _function(name: str, value: object, *, is_sync: bool = False, is_optional: bool = True) -> None:
    kind = "a function" if is_sync else "an async function"
    if (value is None and is_optional) or (
        callable(value) and not (is_sync and inspect.iscoroutinefunction(value))
    ):
        return
    raise PoolTypeError(f"{name}={value!r}: expected {kind}{' or None' if is_optional else ''}")


def rule_of_thumb(requests_per_second: float, request_time: float, buffer: int = 2) -> int:
    """Return the pool size for an expected load: requests × time + buffer.

    Args:
        requests_per_second: Expected rate of requests.
        request_time: Seconds that one request holds its connection.
        buffer: Connections kept for bursts.
    """
    rate = _seconds("requests_per_second", requests_per_second)
    spare = _count("buffer", buffer, 0)
    return max(1, math.ceil(rate * _seconds("request_time", request_time)) + spare)


@dataclass(slots=True, eq=False)
class _Entry(Generic[C]):
    """One open connection."""

    connection: C
    expires: float  # end of its life; -inf: no more leases
    due: float = -math.inf  # until then it may be leased without a look
    idle_since: float = 0.0
    leases: int = 0
    uses: int = 0
    sampled: int = 0  # id of the lease whose time is taken
    retiring: str = ""  # why it gets no more leases
    is_gone: bool = False  # no longer the pool's: a late release does nothing


class Lease(Generic[C]):
    """A caller's right to one connection, from `Pool.acquire`.

    Use it as `async with pool.acquire() as connection:`, or `lease = await pool.acquire()` with
    `lease.connection` and `lease.release()`. An awaited lease that is forgotten gives its slot
    back when it is collected, with a `ResourceWarning`; its connection counts as broken.
    """

    __slots__ = ("_entry", "_pool", "_since", "_timeout")

    def __init__(self, pool: "Pool[C]", timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout
        self._entry: _Entry[C] | None = None

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
            entry = pool._take()  # noqa: SLF001
            if entry is None:
                began, generation = pool._clock(), pool._generation  # noqa: SLF001
                future = pool._queue()  # noqa: SLF001
                try:
                    if not future.done():
                        pool._limit_wait(future, self._timeout, began)  # noqa: SLF001
                    entry = await future
                except BaseException as error:
                    pool._abandon(future, generation, error)  # noqa: SLF001
                    raise
                finally:
                    pool._count_wait(began)  # noqa: SLF001
            self._entry = entry
            if not entry.uses % SAMPLED:
                self._since = pool._clock()  # noqa: SLF001
                entry.sampled = id(self)  # no reference: it would keep a forgotten lease alive
            entry.uses += 1
            if pool._holders is not None:  # noqa: SLF001
                pool._hold(self)  # noqa: SLF001
        return entry.connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        entry = self._entry
        if entry is not None:  # released within the block otherwise
            self._entry = None
            self._pool._give_back(entry, error, self)  # noqa: SLF001

    def __await__(self) -> Generator[Any, None, "Lease[C]"]:
        lease = _AwaitedLease(self._pool, self._timeout)
        yield from lease.__aenter__().__await__()
        return lease

    def release(self, *, broken: bool = False) -> None:
        """Give the connection back; never waits.

        A second release does nothing but warn.

        Args:
            broken: True closes the connection instead of leasing it again.
        """
        entry = self._entry
        if entry is None:
            warnings.warn(f"{self!r} was released without being held", RuntimeWarning, 2)
            return
        self._entry = None
        self._pool._give_back(entry, None, self, broken)  # noqa: SLF001

    def __repr__(self) -> str:
        return f"<Lease of {'nothing' if self._entry is None else repr(self._entry.connection)}>"


class _AwaitedLease(Lease[C]):
    """A lease that nothing but its holder releases."""

    __slots__ = ()

    def __del__(self) -> None:
        entry, self._entry = self._entry, None
        if entry is not None:
            # May run anywhere, in the middle of a release or in another thread: redis-py#3000.
            self._pool._give_back_later(entry, self)  # noqa: SLF001
            warnings.warn(f"a lease of {entry.connection!r} was never released", ResourceWarning, 2)


class Pool(Generic[C]):
    """Keep up to `max_size` connections and lease them first come, first served.

    Args:
        connect: Async function that opens a connection.
        close: Async function that closes the connection it is given.
        min_size: Connections kept open; opened by `start` or the first `acquire`.
        max_size: Connections at most, those being opened or closed included.
        acquire_timeout: Seconds that `acquire` waits for a lease; None waits for ever.
        connect_timeout: Seconds that one `connect` may take.
        hook_timeout: Seconds that one `validate`, `reset` or `close` may take.
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
        fail_fast: A failed connect fails all waiting callers instead of the first.
        backoff: Seconds before a connect follows a failed one; doubles up to `backoff_max`,
            each shortened at random by up to a half.
        on_near_capacity: Function of `PoolStats`, called by the event loop when utilization rises
            to 90 %, and again only after it was down to 70 %.
        debug: Record who holds each lease, to name holders in warnings and to warn of a task that
            waits while it holds one (a deadlock in the making); None follows the event loop.
        clock: Seconds; never goes back.
        rand: A random number in [0, 1).

    Raises:
        PoolValueError: An argument is out of range.
        PoolTypeError: An argument has the wrong type.
    """

    def __init__(  # noqa: PLR0913
        self,
        connect: Callable[[], Awaitable[C]],
        close: Callable[[C], Awaitable[object]],
        *,
        min_size: int = 0,
        max_size: int = 10,
        acquire_timeout: float | None = None,
        connect_timeout: float | None = 30.0,
        hook_timeout: float | None = 10.0,
        idle_timeout: float | None = None,
        max_lifetime: float | None = None,
        validate: Callable[[C], Awaitable[object]] | None = None,
        validate_after: float = 0.5,
        reset: Callable[[C], Awaitable[object]] | None = None,
        is_broken: Callable[[C, BaseException | None], bool] | None = None,
        max_waiting: int | None = None,
        leases_per_connection: int = 1,
        fail_fast: bool = False,
        backoff: float = 0.05,
        backoff_max: float = 5.0,
        on_near_capacity: Callable[[PoolStats], object] | None = None,
        debug: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
        rand: Callable[[], float] = random.random,
    ) -> None:
        _function("connect", connect, is_optional=False)
        _function("close", close, is_optional=False)
        _function("validate", validate)
        _function("reset", reset)
        _function("is_broken", is_broken, is_sync=True)
        _function("on_near_capacity", on_near_capacity, is_sync=True)
        _function("clock", clock, is_sync=True, is_optional=False)
        _function("rand", rand, is_sync=True, is_optional=False)
        self._connect, self._close, self._validate, self._reset = connect, close, validate, reset
        self._is_broken, self._on_near_capacity = is_broken, on_near_capacity
        self._clock, self._rand, self._debug, self._fail_fast = clock, rand, debug, fail_fast
        self._max = _count("max_size", max_size, 1)
        self._min = _count("min_size", min_size, 0)
        if self._min > self._max:
            raise PoolValueError(f"min_size={min_size}: expected at most max_size={max_size}")
        self._share = _count("leases_per_connection", leases_per_connection, 1)
        if reset is not None and self._share > 1:
            raise PoolValueError("reset: expected None with leases_per_connection above 1")
        self._max_waiting = (
            math.inf if max_waiting is None else _count("max_waiting", max_waiting, 0)
        )
        self._acquire_timeout = _seconds("acquire_timeout", acquire_timeout)
        self._connect_timeout = _seconds("connect_timeout", connect_timeout, positive=True)
        self._hook_timeout = _seconds("hook_timeout", hook_timeout, positive=True)
        self._idle_timeout = _seconds("idle_timeout", idle_timeout, positive=True)
        self._max_lifetime = _seconds("max_lifetime", max_lifetime, positive=True)
        self._backoff = _seconds("backoff", backoff, positive=True)
        self._backoff_max = _seconds("backoff_max", backoff_max, positive=True)
        after = _seconds("validate_after", validate_after)
        self._validate_after = math.inf if validate is None else after
        # For so long an idle connection needs no look; never, if `is_broken` wants one.
        self._fresh = 0.0 if is_broken else min(self._validate_after, self._idle_timeout)
        self._looks = any((is_broken, reset)) or self._share > 1 or self._max_lifetime < math.inf
        self._is_plain = not self._looks and self._fresh == math.inf
        # Tasks of the pool must not live in the context of whoever came first: jackc/pgx#1021.
        self._context = contextvars.copy_context()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False
        self._created = self._errors = self._hook_errors = self._timeouts = self._cancelled = 0
        self._waited = self._past_leases = self._past_used = self._alarms = 0
        self._samples, self._sample_total = 0, 0.0
        self._wait_total = self._wait_max = 0.0
        self._closed: Counter[str] = Counter()
        self._last_error: str | None = None
        self._began: float | None = None
        self._generation = 0
        self._forget()

    def _forget(self) -> None:
        """Begin anew, as for a new event loop: whatever the old one held is out of reach."""
        self._generation += 1
        for entry in self._entries if self._generation > 1 else ():
            entry.is_gone = True
            self._count_closed(entry, "loop")
        self._entries: set[_Entry[C]] = set()
        self._free: deque[_Entry[C]] = deque()  # not full; the least recently used first
        self._waiters: deque[asyncio.Future[_Entry[C]]] = deque()  # oldest first, some done
        self._deadlines: list[tuple[float, int, asyncio.Future[_Entry[C]]]] = []  # a heap
        self._tasks: dict[asyncio.Task[None], bool] = {}  # True: connects
        self._drainers: list[asyncio.Future[None]] = []
        self._holders: dict[int, tuple[Any, str]] | None = None
        self._is_running: Callable[[], bool] = bool  # bool() is False: no loop of ours runs
        self._new_future: Callable[[], asyncio.Future[_Entry[C]]]
        self._thread = self._used = self._waiting = self._tickets = 0
        self._size = self._connecting = self._closing = self._checking = self._failures = 0
        self._retry_at = -math.inf
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._retry_timer: asyncio.TimerHandle | None = None
        self._expiry_timer: asyncio.TimerHandle | None = None
        self._must_arm_expiry = False
        self._is_watchful = self._looks  # at each return
        self._is_strict = self._max_waiting < math.inf  # with each waiter
        self._rearm()

    def acquire(self, timeout: float | None = None) -> Lease[C]:
        """Return a lease to enter with `async with`, or to await and release.

        Args:
            timeout: Seconds to wait at most; 0 does not wait, `math.inf` waits for ever, None
                takes the pool's `acquire_timeout`.

        Raises (when the lease is entered):
            PoolTimeoutError: No connection became free in time.
            PoolFullError: `max_waiting` callers wait already.
            PoolClosedError: The pool is or was closed.
            ConnectFailedError: The connection that this caller was waiting for did not open.
            PoolUsageError: The pool belongs to another event loop that is still open.
        """
        if timeout is not None:
            _seconds("timeout", timeout)
        return Lease(self, timeout)

    def release(self, lease: Lease[C], *, broken: bool = False) -> None:
        """Give *lease* back, as `lease.release()` does; only a lease of this pool is taken."""
        if not isinstance(lease, Lease):
            raise PoolTypeError(f"lease={lease!r}: expected what `await pool.acquire()` returned")
        if lease._pool is not self:  # noqa: SLF001
            raise PoolValueError(f"lease={lease!r}: expected a lease of this pool, {self!r}")
        lease.release(broken=broken)

    async def start(self) -> None:
        """Open `min_size` connections and wait for them.

        Raises:
            ConnectFailedError: One did not open; the pool goes on trying until it is closed.
        """
        self._bind()
        self._pump()
        failed_before = self._errors
        while len(self._entries) < self._min and self._tasks and self._errors == failed_before:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
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

        May be called again, and goes on in the background if it is cancelled.

        Args:
            timeout: Seconds to wait for leases; None waits for all. What is leased then is closed
                under its holder, with a `ResourceWarning`, in up to `hook_timeout` seconds more.
        """
        limit = _limit(_seconds("timeout", timeout))
        self._is_closed, self._is_running = True, bool
        if self._loop is None or self._loop.is_closed():
            self._forget()
            return
        if asyncio.get_running_loop() is not self._loop:
            raise PoolUsageError(f"{self!r} belongs to another event loop; close it there")
        self._shut()
        try:
            async with asyncio.timeout(limit):
                await self._drain()
        except TimeoutError:
            held = self._force()
            if self._tasks:  # each ends by itself unless it ignores its cancellation
                await asyncio.wait(self._tasks, timeout=_limit(self._hook_timeout + 1))
            if held:
                text = f"closed a pool after {timeout} s with leases out: {held}; {self!r}"
                warnings.warn(text, ResourceWarning, stacklevel=2)

    def stats(self) -> PoolStats:
        """Return what the pool holds now and what it did since it was made."""
        entries = self._entries
        leases = self._past_leases + sum(entry.uses for entry in entries)
        used = self._past_used + sum(entry.uses > 0 for entry in entries)
        return PoolStats(
            active=self._used,
            idle=sum(not entry.leases for entry in self._free),
            total=len(entries),
            connecting=self._connecting,
            closing=self._closing,
            waiting=self._waiting,
            capacity=self._max * self._share,
            created=self._created,
            leases=leases,
            reused=leases - used,
            closed=MappingProxyType(dict(self._closed)),
            errors=self._errors,
            hook_errors=self._hook_errors,
            timeouts=self._timeouts,
            cancelled=self._cancelled,
            waited=self._waited,
            wait_total=self._wait_total,
            wait_max=self._wait_max,
            lease_time=self._sample_total / max(self._samples, 1),
            near_capacity=self._alarms,
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
        now, stats = self._clock(), self.stats()
        span = now - (now if self._began is None else self._began)
        if not self._samples or span <= 0:
            raise PoolUsageError(f"no lease was measured yet; use the pool first: {self!r}")
        asked = stats.leases + stats.waiting + stats.timeouts + stats.cancelled
        load = asked / span * stats.lease_time
        return max(1, math.ceil((load + spare * math.sqrt(load)) / self._share))

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "new" if self._loop is None else "open"
        sizes = f"size {self._min}–{self._max} × {self._share}"
        return f"<Pool {state}, {sizes}: {self.stats()}>"

    # Leasing: synchronous but for the wait itself

    def _take(self) -> _Entry[C] | None:
        """Lease a connection that needs no look; None: the caller must queue."""
        # Not get_running_loop(): before 3.12 it asks the kernel for the process id, 0.4 µs.
        if not self._is_running() or get_ident() != self._thread:
            self._bind()
        if not self._free or self._waiters:
            return None
        if not self._is_plain:
            return self._take_timed()
        entry = self._free.pop()
        entry.leases = 1
        self._used += 1
        if self._used >= self._alarm_at:
            self._alarm()
        return entry

    def _take_timed(self) -> _Entry[C] | None:
        """Do so where connections expire or are shared."""
        # The most recently used, so that the others can expire; shared ones take turns.
        entry = self._free[-1] if self._share == 1 else self._free[0]
        if entry.due < math.inf and entry.due <= self._clock():
            return None
        (self._free.pop if self._share == 1 else self._free.popleft)()
        self._lend(entry)
        return entry

    def _lend(self, entry: _Entry[C]) -> None:
        """Count one more lease of *entry*, which was taken from the free ones."""
        self._used += 1
        entry.leases += 1
        if entry.leases < self._share:
            self._free.append(entry)
        if self._used >= self._alarm_at:
            self._alarm()

    def _give_back(
        self,
        entry: _Entry[C],
        error: BaseException | None,
        lease: Lease[C] | None,
        broken: bool = False,  # noqa: FBT001, FBT002 - a keyword costs time here
    ) -> None:
        """Pass a leased connection to the first waiter, or keep it, or part with it."""
        if entry.is_gone:
            return
        if entry.sampled and entry.sampled == id(lease):
            self._sample(entry, cast("Lease[C]", lease))
        if error is not None or broken or self._is_watchful:
            reason = self._judge_return(entry, error, broken=broken)
            self._let_go(lease)
            if reason or self._reset is not None:
                self._unlend(entry)
                self._part(entry, reason)
                return
        waiters = self._waiters
        while waiters:
            future = waiters.popleft()
            if not future.done():
                if not self._is_dead():
                    self._waiting -= 1
                    future.set_result(entry)  # it was and stays leased: nobody can come between
                return
        if self._is_plain:  # the two below in short
            entry.leases = 0
            self._used -= 1
            self._free.append(entry)
            if self._used <= self._calm_at:
                self._rearm()
        else:
            self._unlend(entry)
            self._shelve(entry)

    def _unlend(self, entry: _Entry[C]) -> None:
        """Count one lease of *entry* less."""
        entry.leases -= 1
        self._used -= 1
        if self._used <= self._calm_at:
            self._rearm()

    def _sample(self, entry: _Entry[C], lease: Lease[C]) -> None:
        """Take the time of a lease."""
        entry.sampled = 0
        self._samples += 1
        self._sample_total += self._clock() - lease._since  # noqa: SLF001

    def _shelve(self, entry: _Entry[C]) -> None:
        """Put a connection that nobody waits for among the free ones."""
        if not entry.leases:
            entry.idle_since = now = self._clock()
            entry.due = min(now + self._fresh, entry.expires)
        if self._share == 1 or entry not in self._free:
            self._free.append(entry)
        if self._must_arm_expiry:
            self._sweep()

    def _queue(self) -> "asyncio.Future[_Entry[C]]":
        """Join the queue; return the future of a lease, perhaps done already."""
        future = self._new_future()
        self._waiters.append(future)
        self._waiting += 1
        if self._free or self._size < self._max:
            self._pump()
        return future

    def _limit_wait(
        self, future: "asyncio.Future[_Entry[C]]", timeout: float | None, began: float
    ) -> None:
        """Refuse a waiter or set its deadline."""
        seconds = self._acquire_timeout if timeout is None else timeout
        if self._is_strict:
            self._refuse()
        if seconds == 0:
            self._timeouts += 1
            raise self._timeout_error(self.stats())
        if seconds < math.inf:
            if len(self._deadlines) > 2 * self._waiting + 16:
                self._trim()
            self._tickets += 1
            heapq.heappush(self._deadlines, (began + seconds, self._tickets, future))
            if self._deadline_timer is None or self._deadlines[0][2] is future:
                self._set_deadline_timer()

    def _refuse(self) -> None:
        """Raise or warn if a waiter should not wait."""
        if self._waiting - self._share * (self._connecting + self._checking) > self._max_waiting:
            raise PoolFullError(f"max_waiting={self._max_waiting} callers wait; {self.stats()}")
        if self._holders:
            self._warn_of_nesting(self._holders)

    def _count_wait(self, began: float) -> None:
        wait = self._clock() - began
        self._waited += 1
        self._wait_total += wait
        if wait > self._wait_max:  # noqa: PLR1730 - max() costs a call
            self._wait_max = wait

    def _abandon(
        self, future: "asyncio.Future[_Entry[C]]", generation: int, error: BaseException
    ) -> None:
        """Settle the account of a waiter that leaves with *error*; no lease is lost."""
        if generation != self._generation or self._is_dead():
            return
        if isinstance(error, asyncio.CancelledError):
            self._cancelled += 1
        if future.cancelled() or future.cancel():
            self._waiting -= 1
            if len(self._waiters) > 2 * self._waiting + 16:
                self._trim()
        elif future.exception() is None:  # granted and cancelled in the same tick: pass it on
            self._give_back(future.result(), None, None)

    def _trim(self) -> None:
        """Forget settled waiters when they are the majority: O(1) for each, all in all."""
        if len(self._waiters) > 2 * self._waiting + 16:
            self._waiters = deque(future for future in self._waiters if not future.done())
        if len(self._deadlines) > 2 * self._waiting + 16:
            self._deadlines = [item for item in self._deadlines if not item[2].done()]
            heapq.heapify(self._deadlines)

    def _first_waiter(self) -> "asyncio.Future[_Entry[C]] | None":
        """Return the waiter whose turn it is, without those that left."""
        while self._waiters:
            if not self._waiters[0].done():
                return self._waiters[0]
            self._waiters.popleft()
        return None

    def _fail_first(self, error: PoolError) -> bool:
        """Fail the first waiter; False: nobody waits."""
        future = self._first_waiter()
        if future is None:
            return False
        self._waiters.popleft()
        self._waiting -= 1
        future.set_exception(error)
        return True

    # Deadlines: one timer for all waiters

    def _set_deadline_timer(self) -> None:
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        delay = max(0.0, self._deadlines[0][0] - self._clock())
        loop = cast("_Loop", self._loop)
        self._deadline_timer = loop.call_later(delay, self._expire_waiters)

    def _expire_waiters(self) -> None:
        self._deadline_timer = None
        now, heap, stats = self._clock() + TIMER_SLACK, self._deadlines, None
        while heap and (heap[0][0] <= now or heap[0][2].done()):
            future = heapq.heappop(heap)[2]
            if not future.done():
                stats = stats or self.stats()
                self._waiting -= 1
                self._timeouts += 1
                future.set_exception(self._timeout_error(stats))
        self._trim()
        if heap:
            self._set_deadline_timer()

    def _timeout_error(self, stats: PoolStats) -> PoolTimeoutError:
        return PoolTimeoutError(f"no connection became free in time; {stats}")

    # Supply: decisions about connections

    def _pump(self) -> None:
        """Match free connections and waiters, then start what waiters and `min_size` lack."""
        if self._is_closed or self._is_dead():
            return
        now = self._clock()
        while self._free and (future := self._first_waiter()) is not None:
            entry = self._pick(now)
            if entry is None:
                break
            self._waiters.popleft()
            self._waiting -= 1
            self._lend(entry)
            future.set_result(entry)
        lacking = self._waiting - self._share * (self._connecting + self._checking)
        while lacking > 0 and self._free:
            self._examine(self._free.pop(), self._validate)
            lacking -= self._share
        while (
            lacking > 0 or len(self._entries) + self._connecting < self._min
        ) and self._may_connect(now):
            self._connecting += 1
            self._size += 1
            self._spawn(self._connect_one(), is_connect=True)
            lacking -= self._share

    def _may_connect(self, now: float) -> bool:
        """Tell whether to connect now; after a failure one at a time, when its backoff is over."""
        if self._size >= self._max:
            return False
        if self._failures and now < self._retry_at and self._retry_timer is None:
            loop = cast("_Loop", self._loop)
            self._retry_timer = loop.call_later(self._retry_at - now, self._retry)
        return not self._failures or not (self._connecting or now < self._retry_at)

    def _retry(self) -> None:
        self._retry_timer, self._retry_at = None, -math.inf
        self._pump()

    def _pick(self, now: float) -> _Entry[C] | None:
        """Take a free connection that is fit; None: there is none, or each needs a check."""
        unchecked: list[_Entry[C]] = []
        found = None
        while self._free and found is None:
            entry = self._free.pop() if self._share == 1 else self._free.popleft()
            verdict = "" if entry.due > now else self._judge_free(entry, now)
            if not verdict:
                found = entry
            elif verdict == "check":
                unchecked.append(entry)
            else:
                self._part(entry, verdict)
        self._free.extend(reversed(unchecked))
        return found

    def _judge_free(self, entry: _Entry[C], now: float) -> str:
        """Tell why not to lease *entry*: empty, "check", or a reason to close it."""
        if entry.expires <= now:
            return "lifetime"
        if self._is_broken is not None and self._looks_broken(entry, None):
            return "broken"
        if entry.leases:
            return ""
        if entry.idle_since + self._idle_timeout <= now and len(self._entries) > self._min:
            return "idle"
        return "check" if entry.idle_since + self._validate_after <= now else ""

    def _judge_return(self, entry: _Entry[C], error: BaseException | None, *, broken: bool) -> str:
        """Tell why not to keep a returned *entry*: empty, or a reason to close it."""
        if entry.retiring:
            return entry.retiring
        if broken or self._looks_broken(entry, error):
            return "broken"
        return "lifetime" if entry.expires <= self._clock() else ""

    def _looks_broken(self, entry: _Entry[C], error: BaseException | None) -> bool:
        if self._share == 1 and error is not None and not isinstance(error, Exception):
            return True  # cancelled in the middle of a command
        if self._is_broken is not None:
            try:
                return bool(self._is_broken(entry.connection, error))
            except Exception as failure:  # noqa: BLE001 - must not replace the caller's error
                self._note_hook_error(failure)
                return True
        if isinstance(error, PoolError) or (self._share > 1 and isinstance(error, TimeoutError)):
            return False  # of another pool, or of one call among many
        return isinstance(error, OSError | EOFError)

    def _part(self, entry: _Entry[C], reason: str) -> None:
        """Close *entry* for *reason* when its last lease ends; without a reason, reset it."""
        if not reason:
            self._examine(entry, self._reset)
            return
        entry.retiring = entry.retiring or reason
        if entry in self._free:
            self._free.remove(entry)
        if entry.leases or self._is_dead():
            return
        entry.is_gone = True
        self._entries.discard(entry)
        self._count_closed(entry, entry.retiring)
        self._closing += 1
        self._spawn(self._close_one(entry.connection))

    def _count_closed(self, entry: _Entry[C], reason: str) -> None:
        self._closed[reason] += 1
        self._past_leases += entry.uses
        self._past_used += entry.uses > 0

    def _sweep(self) -> None:
        """Close expired idle connections, the longest idle first; set the timer for the next."""
        now = self._clock() + TIMER_SLACK
        for entry in [entry for entry in self._free if not entry.leases]:
            if entry.expires <= now:
                self._part(entry, "lifetime")
            elif entry.idle_since + self._idle_timeout <= now and len(self._entries) > self._min:
                self._part(entry, "idle")
        ends = [entry.expires for entry in self._entries if entry.expires > now]
        idle = [entry.idle_since for entry in self._free if not entry.leases]
        is_above_floor = len(self._entries) > self._min
        if idle and is_above_floor:
            ends.append(min(idle) + self._idle_timeout)
        # With nothing idle, the next connection to become so brings the earliest end.
        self._must_arm_expiry = not idle and is_above_floor and self._idle_timeout < math.inf
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
            self._expiry_timer = None
        soonest = min(ends, default=math.inf)
        if soonest < math.inf:
            loop = cast("_Loop", self._loop)
            self._expiry_timer = loop.call_later(max(0.0, soonest - now), self._sweep)

    # Tasks of the pool

    def _spawn(self, work: Coroutine[Any, Any, None], *, is_connect: bool = False) -> None:
        loop = cast("_Loop", self._loop)
        task = loop.create_task(work, context=self._context.copy())
        self._tasks[task] = is_connect
        task.add_done_callback(self._end_task)

    def _end_task(self, task: "asyncio.Task[None]") -> None:
        self._tasks.pop(task, None)
        self._wake_drainers()

    async def _connect_one(self) -> None:
        generation = self._generation
        try:
            async with asyncio.timeout(_limit(self._connect_timeout)):
                connection = await self._connect()
        except BaseException as error:
            if generation == self._generation:
                self._connecting -= 1
                self._size -= 1
                self._fail_connect(error)
            if not isinstance(error, Exception):
                raise
            return
        self._connecting -= 1
        self._arrive(connection)

    def _arrive(self, connection: C) -> None:
        """Take in a new connection."""
        life = self._max_lifetime * (1 - LIFETIME_JITTER * self._rand())
        entry = _Entry(connection, expires=self._clock() + life)
        self._entries.add(entry)
        self._created += 1
        self._failures, self._retry_at = 0, -math.inf
        self._must_arm_expiry = min(self._max_lifetime, self._idle_timeout) < math.inf
        self._supply(entry)

    def _supply(self, entry: _Entry[C]) -> None:
        """Give a connection fresh from `connect` or a hook to the waiters, or keep it."""
        now = self._clock()
        if self._is_closed:
            self._part(entry, "closed")
        elif entry.expires <= now:
            self._part(entry, "lifetime")
        else:
            while entry.leases < self._share and (future := self._first_waiter()) is not None:
                self._waiters.popleft()
                self._waiting -= 1
                if entry in self._free:
                    self._free.remove(entry)
                self._lend(entry)
                future.set_result(entry)
            if entry.leases < self._share:
                self._shelve(entry)
        self._pump()

    def _fail_connect(self, error: BaseException) -> None:
        """Tell the first waiter, or all with `fail_fast`, and back off before the next try."""
        if self._is_closed or self._is_dead():
            return
        self._errors += 1
        self._last_error = repr(error)
        now = self._clock()
        if now >= self._retry_at:  # else one of several that failed together
            self._failures += 1
            delay = min(self._backoff_max, self._backoff * 2.0 ** min(self._failures - 1, 60))
            self._retry_at = now + delay * (1 - self._rand() / 2)
        while True:
            failure = ConnectFailedError(f"connect failed: {error!r}")
            failure.__cause__ = error
            if not self._fail_first(failure) or not self._fail_fast:
                break
        self._pump()

    def _examine(self, entry: _Entry[C], hook: Callable[[C], Awaitable[object]] | None) -> None:
        """Run `validate` or `reset` in a task; then the connection is supplied or closed."""
        entry.leases += 1  # the examination's own, so that nothing else parts with it
        self._checking += 1
        self._spawn(self._run_hook(entry, cast("Callable[[C], Awaitable[object]]", hook)))

    async def _run_hook(self, entry: _Entry[C], hook: Callable[[C], Awaitable[object]]) -> None:
        is_good = False
        try:
            async with asyncio.timeout(_limit(self._hook_timeout)):
                is_good = await hook(entry.connection) is not False
        except Exception as error:  # noqa: BLE001 - counted; the connection is closed
            self._note_hook_error(error)
        finally:
            if not entry.is_gone and not self._is_dead():
                self._checking -= 1
                entry.leases -= 1
                if is_good and not entry.retiring:
                    self._supply(entry)
                else:
                    self._part(entry, "broken")

    async def _close_one(self, connection: C) -> None:
        generation = self._generation
        try:
            async with asyncio.timeout(_limit(self._hook_timeout)):
                await self._close(connection)
        except Exception as error:  # noqa: BLE001 - counted; the slot must become free
            self._note_hook_error(error)
        finally:
            if generation == self._generation:
                self._closing -= 1
                self._size -= 1
                self._pump()

    def _note_hook_error(self, error: Exception) -> None:
        self._hook_errors += 1
        self._last_error = repr(error)

    # Event loops and the end

    def _is_dead(self) -> bool:
        """Tell whether the pool's event loop was closed: nothing can be scheduled any more."""
        return self._loop is None or self._loop.is_closed()

    def _bind(self) -> None:
        """Make the running loop the pool's, if the one before is gone."""
        if self._is_closed:
            raise PoolClosedError(f"the pool is closed; {self.stats()}")
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._loop is not None:
                if not self._loop.is_closed():
                    raise PoolUsageError(
                        f"{self!r} belongs to another event loop that is open; use one pool a loop"
                    )
                self._forget()
            self._loop = loop
            is_debug = loop.get_debug() if self._debug is None else self._debug
            if is_debug:
                self._holders, self._is_watchful, self._is_strict = {}, True, True
            self._new_future = loop.create_future
        self._is_running, self._thread = loop.is_running, get_ident()
        if self._began is None:
            self._began = self._clock()
        if self._min:
            self._pump()

    def _shut(self) -> None:
        """Begin to close: from here on, whatever comes back is closed."""
        for timer in (self._deadline_timer, self._retry_timer, self._expiry_timer):
            if timer is not None:
                timer.cancel()
        self._must_arm_expiry, self._is_watchful = False, True
        while self._fail_first(PoolClosedError("the pool was closed during the wait")):
            pass
        for entry in tuple(self._entries):
            self._part(entry, "closed")
        for task, is_connect in tuple(self._tasks.items()):
            if is_connect:
                task.cancel()

    async def _drain(self) -> None:
        """Wait until no connection and no task is left."""
        while self._entries or self._tasks:
            drainer: asyncio.Future[None] = cast("_Loop", self._loop).create_future()
            self._drainers.append(drainer)
            await drainer

    def _wake_drainers(self) -> None:
        drainers, self._drainers = self._drainers, []
        for drainer in drainers:
            if not drainer.done():
                drainer.set_result(None)

    def _force(self) -> str:
        """Close what is still leased; return who holds it."""
        names = [name for _, name in (self._holders or {}).values()]
        held = self._used
        for entry in tuple(self._entries):
            self._used -= entry.leases
            entry.leases, entry.retiring = 0, "forced"
            self._part(entry, "forced")
        return ", ".join(names) or ((held and f"{held} (debug=True names holders)") or "")

    # Alarm and debugging

    def _rearm(self) -> None:
        capacity = self._max * self._share
        self._alarm_at = math.ceil(capacity * NEAR_CAPACITY - 1e-9)
        self._calm_at = -1

    def _alarm(self) -> None:
        """Report that utilization rose to 90 %, once until it was down to 70 %."""
        capacity = self._max * self._share
        self._alarm_at, self._calm_at = capacity + 1, math.floor(capacity * CALM_AGAIN + 1e-9)
        self._alarms += 1
        if self._on_near_capacity is not None:
            # By the loop: the callback may raise, or use the pool.
            cast("_Loop", self._loop).call_soon(self._on_near_capacity, self.stats())

    def _hold(self, lease: Lease[C]) -> None:
        """Record who took *lease*, in debug mode."""
        task = asyncio.current_task()
        frames = traceback.extract_stack(limit=8)
        frame = next((f for f in reversed(frames) if f.filename != __file__), frames[-1])
        name = f"{task.get_name() if task else 'no task'} at {frame.filename}:{frame.lineno}"
        cast("dict[int, tuple[Any, str]]", self._holders)[id(lease)] = (task, name)

    def _let_go(self, lease: Lease[C] | None) -> None:
        if self._holders:
            self._holders.pop(id(lease), None)

    def _warn_of_nesting(self, holders: dict[int, tuple[Any, str]]) -> None:
        task = asyncio.current_task()
        for holder, name in holders.values():
            if holder is task:
                text = f"a task waits for a lease while it holds one, by {name}: can deadlock"
                warnings.warn(text, RuntimeWarning, stacklevel=5)
                return

    def _give_back_later(self, entry: _Entry[C], lease: Lease[C]) -> None:
        """Give back from a finalizer, which may run in any thread and at any point."""
        if not self._is_dead():
            give_back = cast("_Loop", self._loop).call_soon_threadsafe
            with contextlib.suppress(RuntimeError):  # closed since
                give_back(self._give_back, entry, None, lease, True)  # noqa: FBT003


class OwnedSession(Generic[S]):
    """A session entered and left by one task of its own.

    The cancel scopes of anyio, and so the sessions of MCP, must be left by the task that entered
    them (modelcontextprotocol/python-sdk#79), while a pool opens and closes in different tasks.

    Attributes:
        session: What the context manager returned.
    """

    def __init__(self, factory: Callable[[], AbstractAsyncContextManager[S]]) -> None:
        self.session: S
        self._stop = asyncio.Event()
        self._ready: asyncio.Future[S] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._own(factory))
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    @classmethod
    async def open(cls, factory: Callable[[], AbstractAsyncContextManager[S]]) -> "OwnedSession[S]":
        """Enter what *factory* returns, in a new task, and return when it is ready."""
        owned = cls(factory)
        try:
            waits: list[asyncio.Future[Any]] = [owned._task, owned._ready]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            owned._task.cancel()
            raise
        if not owned._ready.done():
            owned._task.result()
        owned.session = owned._ready.result()
        return owned

    @property
    def is_alive(self) -> bool:
        """False once the session ended, by itself or by `close`."""
        return not self._task.done()

    async def close(self) -> None:
        """Leave the session in its own task; raise what leaving it raised."""
        self._stop.set()
        try:
            await asyncio.wait([self._task])
        except BaseException:
            self._task.cancel()
            raise
        if not self._task.cancelled():
            self._task.result()

    async def _own(self, factory: Callable[[], AbstractAsyncContextManager[S]]) -> None:
        async with factory() as session:
            self._ready.set_result(session)
            await self._stop.wait()

    def __repr__(self) -> str:
        return f"<OwnedSession {'alive' if self.is_alive else 'ended'}>"


def session_pool(
    factory: Callable[[], AbstractAsyncContextManager[S]],
    **options: Any,
) -> "Pool[OwnedSession[S]]":
    """Return a pool of sessions, each owned by a task; a lease gives an `OwnedSession`.

    A session that ended is closed and replaced when its turn comes, and never leased.

    Args:
        factory: Returns an async context manager that enters a session, as `mcp.Client` does.
        **options: As of `Pool`; `leases_per_connection` lets callers share a session.
    """
    options.setdefault("is_broken", lambda owned, _error: not owned.is_alive)
    return Pool(lambda: OwnedSession.open(factory), OwnedSession[S].close, **options)
