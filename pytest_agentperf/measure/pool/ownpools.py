"""Pools of `reference.pool`, wherever its file was copied to, and semaphores."""

# ruff: noqa: SLF001 -- what a pool holds is asked of itself
import asyncio
import itertools
import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from pytest_agentperf.measure.concurrency.origins import current_task
from pytest_agentperf.measure.pool.observing import Observer, Target

__all__ = ["reference_pool", "semaphore"]


def reference_pool(pool: Any) -> Target | None:
    """Return how to observe a pool of `reference.pool`; None for anything else."""
    home = next((cls for cls in type(pool).__mro__ if "_give_back" in vars(cls)), None)
    lease: Any = getattr(sys.modules[home.__module__], "Lease", None) if home else None
    if lease is None:
        return None

    def is_of_pool(thing: Any) -> bool:
        return thing._pool is pool

    def is_held(thing: Any) -> bool:
        return thing._pool is pool and thing._entry is not None

    def place(observer: Observer) -> None:
        # Not by what the pool does: a lease that met a cancelled caller is handed on in there.
        observer.takes(lease, "__aenter__", lambda thing, _: id(thing), is_of_pool)
        for name in ("__aexit__", "release"):
            observer.gives(lease, name, lambda thing, _: id(thing), is_held)

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
