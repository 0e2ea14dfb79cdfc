"""Pools of `reference.pool`, wherever its file was copied to, and semaphores."""

# ruff: noqa: SLF001 -- what a pool holds is asked of itself
import asyncio
import itertools
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
    home = next((cls for cls in type(pool).__mro__ if "_give_back" in vars(cls)), None)
    if home is None or "_count_wait" not in vars(home):
        return None

    def place(observer: Observer) -> None:
        leases = _Leases(observer)
        observer.place(home, "_take", leases.seeing_taken)
        observer.place(home, "_count_wait", leases.seeing_waited)
        observer.place(home, "_leave", leases.seeing_left)
        observer.place(home, "_give_back", leases.seeing_given)

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
        self._leaving: set[int] = set()

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

    def seeing_waited(self, count: _Function) -> _Function:
        """Return `Pool._count_wait`, observed: who waited and has not left has a lease."""
        ledger, asks = self._observer.ledger, self._asks

        def counted(thing: Any, lease: Any, began: float) -> None:
            ask = asks.pop(id(lease), None)
            if ask is not None:
                ledger.take(ask, id(lease))
            count(thing, lease, began)

        return counted

    def seeing_left(self, leave: _Function) -> _Function:
        """Return `Pool._leave`, observed: a connection that comes too late is given back in it."""
        ledger, asks, leaving = self._observer.ledger, self._asks, self._leaving

        def left(thing: Any, lease: Any, *args: Any) -> None:
            ask = asks.pop(id(lease), None)
            if ask is not None:
                ledger.leave(ask)
            leaving.add(id(lease))
            try:
                leave(thing, lease, *args)
            finally:
                leaving.discard(id(lease))

        return left

    def seeing_given(self, give: _Function) -> _Function:
        """Return `Pool._give_back`, observed: before it may hand the connection to the next."""
        observer, ledger, pool = self._observer, self._observer.ledger, self._observer.pool
        hooks, clock, note, leaving = observer.hooks, ledger.clock, ledger.note, self._leaving

        def given(thing: Any, lease: Any, *args: Any) -> None:
            if thing is pool and hooks.active and id(lease) not in leaving:
                note((clock(), GIVE, id(lease), None))
            give(thing, lease, *args)

        return given


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
