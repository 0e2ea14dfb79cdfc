"""Observing: functions of a pool are replaced for the time of a block, to see its leases."""

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.concurrency.origins import caller, innermost
from pytest_agentperf.measure.frames import stack_of
from pytest_agentperf.measure.hooks import Hooks
from pytest_agentperf.measure.pool.ledger import ASK, GIVE, MANY, TAKE, Ledger, Spot

__all__ = ["Observer", "Target"]

_Function: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Target:
    """A pool that is known by its library, and how to observe it.

    Attributes:
        pool: The object that has the connections.
        name: What messages call it.
        capacity: Returns the leases possible at once; None for no limit.
        in_use: Returns the leases that are held.
        place: Places hooks.
        unit: What it lends, in the singular.
        share: Leases that a connection serves at once.
        created: Returns how many connections were ever opened, where the pool counts that itself.
        reused: Returns how many leases ever needed no new connection, likewise.
        has_connections: Whether there is something to reuse; a semaphore has nothing.
        note: A sentence on what its numbers do not say.
        home: See `Observer`.
    """

    pool: Any
    name: str
    capacity: Callable[[], int | None]
    in_use: Callable[[], int]
    place: "Callable[[Observer], None]"
    unit: str = "connection"
    share: int = 1
    created: Callable[[], int] | None = None
    reused: Callable[[], int] | None = None
    has_connections: bool = True
    note: str = ""
    home: type | None = None


class Observer:
    """Tells a ledger of what hooks see.

    A hook stands on a class, whose other objects it only passes on: a pool with slots has no place
    for one of its own, and the interpreter looks for `__aenter__` nowhere else.

    Args:
        pool: The pool.
        ledger: Is told of its leases.
        home: The class whose file is the pool's own code, wherever it lies; that of the pool by
            default.
    """

    def __init__(self, pool: Any, ledger: Ledger, home: type | None = None) -> None:
        self.hooks = Hooks()
        self.pool = pool
        self.ledger = ledger
        self._own = _file_of(home or type(pool))
        self._depth = 1
        self._users: set[str] = set()
        self._last: Spot | None = None

    def start(self) -> None:
        """Let the hooks do their work."""
        self.hooks.active = True

    def stop(self) -> None:
        """Put back what they replaced."""
        self.hooks.undo()

    def spot(self) -> Spot | None:
        """Return where the user's code runs, where the pool's own code is none."""
        # Each frame that is looked at costs time. Mostly the user's stands as deep as the last one:
        # where its file is one of the user's, and that of what it called is none.
        try:
            called = sys._getframe(self._depth)  # noqa: SLF001 -- public but for its name
        except ValueError:  # the stack is not so deep
            return self._search()
        frame, users = called.f_back, self._users
        if frame is None or called.f_code.co_filename in users:
            return self._search()
        code, at, last = frame.f_code, frame.f_lasti, self._last
        if last is not None and code is last[0] and at == last[1]:
            return last
        if code.co_filename not in users:
            return self._search()
        self._last = spot = code, at  # returned by its own name: threads share what is kept
        return spot

    def _search(self) -> Spot | None:
        if waiting := _behind_greenlet():
            return waiting
        depth, own = 3, self._own
        frame = sys._getframe(depth)  # noqa: SLF001 -- of who called the hook
        while frame.f_code.co_filename == own and frame.f_back is not None:
            depth, frame = depth + 1, frame.f_back
        site = caller(depth + 1)
        if site is None:
            return None
        while frame.f_code is not site[0] and frame.f_back is not None:
            depth, frame = depth + 1, frame.f_back
        self._depth = depth - 2  # of what it called, and from there, not from here
        self._users.add(site[0].co_filename)
        return frame.f_code, frame.f_lasti

    def place(self, owner: Any, name: str, make: Callable[[Any], _Function]) -> None:
        """Replace function *name* of *owner*.

        Raises:
            UsageError: There is none: this release of the library is another one.
        """
        if not self.hooks.place(owner, name, make):
            self.stop()
            where = f"{owner.__module__}.{owner.__qualname__}"
            raise UsageError(
                f"perf_pool observes {where}.{name}, which this release of the library does not"
                " have; give perf_pool a function that returns the pool's counts instead"
            )

    def takes(
        self,
        owner: Any,
        name: str,
        key: Callable[[Any, Any], object] = lambda _, lease: id(lease),
        is_mine: Callable[[Any], bool] | None = None,
    ) -> None:
        """Observe function *name* of class *owner*, which returns a lease.

        Args:
            owner: The class.
            name: Of its function, sync or async.
            key: Returns what a lease is known by, from the object and what the function returned.
            is_mine: Returns whether an object of the class is, or is of, the pool.
        """
        pool, mine, hooks, ledger = self.pool, is_mine or _nobodys, self.hooks, self.ledger
        clock, note, numbers, find_spot = ledger.clock, ledger.note, ledger.numbers, self.spot

        # What is noted is noted here: each function in between would cost as much as the event.
        def make(acquire: _Function) -> _Function:
            @functools.wraps(acquire)
            async def acquired_async(thing: Any, *args: Any, **kwargs: Any) -> Any:
                if (thing is not pool and not mine(thing)) or not hooks.active:
                    return await acquire(thing, *args, **kwargs)
                ask = numbers()
                note((clock(), ASK, find_spot(), ask))
                try:
                    lease = await acquire(thing, *args, **kwargs)
                except BaseException:
                    ledger.leave(ask)
                    raise
                note((clock(), TAKE, key(thing, lease), ask))
                return lease

            @functools.wraps(acquire)
            def acquired(thing: Any, *args: Any, **kwargs: Any) -> Any:
                if (thing is not pool and not mine(thing)) or not hooks.active:
                    return acquire(thing, *args, **kwargs)
                ask = numbers()
                note((clock(), ASK, find_spot(), ask))
                try:
                    lease = acquire(thing, *args, **kwargs)
                except BaseException:
                    ledger.leave(ask)
                    raise
                note((clock(), TAKE, key(thing, lease), ask))
                return lease

            return acquired_async if inspect.iscoroutinefunction(acquire) else acquired

        self.place(owner, name, make)

    def gives(
        self,
        owner: Any,
        name: str,
        key: Callable[[Any, Sequence[Any]], object] = lambda _, given: id(given[0]),
        is_mine: Callable[[Any], bool] | None = None,
    ) -> None:
        """Observe function *name* of class *owner*, which is given a lease back.

        Before it runs: it may hand the connection to somebody who then takes it.

        Args:
            owner: The class.
            name: Of its function, sync or async.
            key: Returns what the lease is known by, from the object and what the function is given.
            is_mine: Returns whether an object of the class is, or is of, the pool.
        """
        pool, mine, hooks, ledger = self.pool, is_mine or _nobodys, self.hooks, self.ledger
        clock, note, events = ledger.clock, ledger.note, ledger.events

        def make(release: _Function) -> _Function:
            @functools.wraps(release)
            def released(thing: Any, *args: Any, **kwargs: Any) -> Any:
                if (thing is pool or mine(thing)) and hooks.active:
                    note((clock(), GIVE, key(thing, args or (*kwargs.values(),)), None))
                    if len(events) > MANY:
                        ledger.settle()
                return release(thing, *args, **kwargs)

            return released

        self.place(owner, name, make)

    def creates(self, owner: Any, name: str, is_mine: Callable[[Any], bool] | None = None) -> None:
        """Observe function *name* of class *owner*, which opens a connection."""
        pool, mine, hooks, ledger = self.pool, is_mine or _nobodys, self.hooks, self.ledger

        def make(connect: _Function) -> _Function:
            @functools.wraps(connect)
            def connected(thing: Any, *args: Any, **kwargs: Any) -> Any:
                if (thing is pool or mine(thing)) and hooks.active:
                    ledger.create()
                return connect(thing, *args, **kwargs)

            return connected

        self.place(owner, name, make)


def _nobodys(_: object) -> bool:
    return False


def _file_of(cls: type) -> str:
    return getattr(sys.modules.get(cls.__module__), "__file__", None) or ""


def _behind_greenlet() -> Spot | None:
    """Return where the running greenlet is awaited: SQLAlchemy hides async code in one."""
    greenlet = sys.modules.get("greenlet")
    parent = greenlet.getcurrent().parent if greenlet else None
    frame: Any = parent.gr_frame if parent is not None else None
    site = innermost(stack_of(frame))
    while site is not None and frame.f_code is not site[0]:
        frame = frame.f_back
    return None if site is None else (site[0], frame.f_lasti)
