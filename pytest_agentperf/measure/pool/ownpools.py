"""Pools of `reference.pool`, wherever its file was copied to, and semaphores."""

# ruff: noqa: SLF001 -- what a pool holds is asked of itself
import asyncio
import itertools
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from pytest_agentperf.measure.concurrency.origins import current_task
from pytest_agentperf.measure.pool.ledger import ASK, GIVE, LEAVE, MANY, TAKE, Ask
from pytest_agentperf.measure.pool.observing import Observer, Target

__all__ = ["reference_pool", "semaphore"]

_Function: TypeAlias = Callable[..., Any]


def reference_pool(pool: Any) -> Target | None:
    """Return how to observe a pool of `reference.pool`; None for anything else."""
    home = next((cls for cls in type(pool).__mro__ if "_end_wait" in vars(cls)), None)
    lease: Any = getattr(sys.modules[home.__module__], "Lease", None) if home else None
    if lease is None:
        return None

    def place(observer: Observer) -> None:
        leases = _Leases(observer)
        observer.place(home, "_take", leases.seeing_taken)
        observer.place(home, "_queue", leases.seeing_queued)
        observer.place(home, "_end_wait", leases.seeing_waited)
        observer.place(home, "_leave", leases.seeing_left)
        observer.place(home, "_give_back", leases.seeing_given)
        observer.place(lease, "release", leases.seeing_released)

    return Target(
        pool,
        "Pool",
        capacity=lambda: pool.stats().capacity,
        in_use=lambda: pool.stats().active,
        place=place,
        unit="connection" if pool._share == 1 else "lease",
        share=pool._share,
        created=lambda: pool.stats().created,
        reused=lambda: pool.stats().reused,
        home=home,
    )


class _Leases:
    """The leases of a pool of ours, seen by what it does for them.

    All of these are plain functions: a coroutine around `Lease.__aenter__` would cost each lease
    twice as much as all else here.

    Args:
        observer: Of the pool.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._asks: dict[int, Ask] = {}  # of those who wait

    def seeing_taken(self, take: _Function) -> _Function:
        """Return `Pool._take`, observed: it leases what is free, or lets the caller wait."""
        observer, ledger, pool = self._observer, self._observer.ledger, self._observer.pool
        hooks, clock, find_spot = observer.hooks, ledger.clock, observer.spot
        note, number, events, asks = ledger.note, ledger.numbers, ledger.events, self._asks

        def taken(thing: Any, lease: Any) -> Any:
            if thing is not pool or not hooks.active:
                return take(thing, lease)
            now, spot, ask = clock(), find_spot(), number()
            try:
                entry = take(thing, lease)
            except BaseException:
                note((now, ASK, spot, ask, now, LEAVE, None, ask))
                raise
            if entry is not None:
                note((now, ASK, spot, ask, now, TAKE, id(lease), ask))
            else:
                note((now, ASK, spot, ask))
                asks[id(lease)] = ask
            if len(events) > MANY:
                ledger.settle()
            return entry

        return taken

    def seeing_queued(self, queue: _Function) -> _Function:
        """Return `Pool._queue`, observed: it refuses where warnings are errors."""

        def queued(thing: Any, lease: Any, *args: Any) -> Any:
            try:
                return queue(thing, lease, *args)
            except BaseException:
                self._leave(thing, lease)
                raise

        return queued

    def seeing_waited(self, end: _Function) -> _Function:
        """Return `Pool._end_wait`, observed: who waited and has not left has a lease."""

        def ended(thing: Any, lease: Any, *args: Any) -> None:
            ask = self._answered(thing, lease)
            if ask is not None:
                self._observer.ledger.take(ask, id(lease))
            end(thing, lease, *args)

        return ended

    def seeing_left(self, leave: _Function) -> _Function:
        """Return `Pool._leave`, observed: who waits gives up."""

        def left(thing: Any, lease: Any, *args: Any) -> None:
            self._leave(thing, lease)
            leave(thing, lease, *args)

        return left

    def seeing_given(self, give: _Function) -> _Function:
        """Return `Pool._give_back`, observed: before it may hand the connection to the next.

        A connection that comes too late for its waiter passes here, too, with a lease that never
        had it; and one that was released, which is noted by then.
        """
        observer, ledger, pool = self._observer, self._observer.ledger, self._observer.pool
        hooks, clock, note = observer.hooks, ledger.clock, ledger.note

        def given(thing: Any, lease: Any, *args: Any) -> None:
            if thing is pool and hooks.active and lease._entry is not None:
                note((clock(), GIVE, id(lease), None))
            give(thing, lease, *args)

        return given

    def seeing_released(self, release: _Function) -> _Function:
        """Return `Lease.release`, observed: after its loop was closed it gives nothing back."""
        observer = self._observer

        def released(lease: Any, *args: Any, **kwargs: Any) -> None:
            if lease._pool is observer.pool and observer.hooks.active and lease._entry is not None:
                observer.ledger.give(id(lease))
            release(lease, *args, **kwargs)

        return released

    def _answered(self, thing: Any, lease: Any) -> Ask | None:
        """Return what *lease* asked for, which waits no more; None if it did not."""
        return self._asks.pop(id(lease), None) if thing is self._observer.pool else None

    def _leave(self, thing: Any, lease: Any) -> None:
        ask = self._answered(thing, lease)
        if ask is not None:
            self._observer.ledger.leave(ask)


def semaphore(pool: Any) -> Target | None:
    """Return how to observe a semaphore of asyncio, a pool of permits; None for anything else."""
    if not isinstance(pool, asyncio.Semaphore):
        return None
    permits: defaultdict[object, list[int]] = defaultdict(list)  # by the task that took them
    numbers = itertools.count()

    def taken(*_: Any) -> int:
        permits[current_task()].append(next(numbers))
        return permits[current_task()][-1]

    def given(*_: Any) -> int | None:
        """Return the latest permit of this task, else the oldest of another that let it go."""
        own = permits.get(current_task())
        mine = own or next(_filled(permits), None)
        return (mine.pop() if mine is own else mine.pop(0)) if mine else None

    def place(observer: Observer) -> None:
        observer.takes(type(pool), "acquire", taken)
        observer.gives(type(pool), "release", given)

    bound: int | None = getattr(pool, "_bound_value", None)
    free = pool._value
    return Target(
        pool,
        "semaphore",
        capacity=lambda: free if bound is None else bound,
        in_use=lambda: 0 if bound is None else bound - free,
        place=place,
        unit="permit",
        has_connections=False,
        note="" if bound is not None else f"the {free} permits that were free count as all it has",
    )


def _filled(permits: dict[object, list[int]]) -> Iterator[list[int]]:
    return (numbers for numbers in permits.values() if numbers)
