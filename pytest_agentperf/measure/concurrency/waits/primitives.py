"""Primitives: where coroutines of asyncio and of anyio wait for each other.

Each function is replaced by one that returns what the old one does unless it would have to wait.
"""

# ruff: noqa: SLF001 -- a primitive has no public way to ask whether one would wait
import asyncio
import functools
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias

from pytest_agentperf.measure.concurrency.waits.waiting import Kind, Stopwatch

__all__ = ["ANYIO", "place_primitives"]

_Function: TypeAlias = Callable[..., Any]
ANYIO: Final = "anyio._backends._asyncio"
"""Where anyio has its primitives for asyncio, once it is in use."""


@functools.cache
def _has(owner: type, names: tuple[str, ...]) -> bool:
    """Return whether an *owner* has these attributes; asked once, since one is made for it."""
    made = owner()
    return all(hasattr(made, name) for name in names)


def place_primitives(stopwatch: Stopwatch) -> tuple[str, ...]:
    """Time the waits for the primitives of asyncio, and for those of anyio where it is in use.

    Returns:
        Sentences about what cannot be timed here.
    """
    notes = []
    for owner, name, make, state in (
        (asyncio.Lock, "acquire", _lock, ("_locked", "_waiters")),
        (asyncio.Semaphore, "acquire", _semaphore, ("_value", "_waiters")),
        (asyncio.Queue, "get", _get, ("_queue",)),
        (asyncio.Queue, "put", _put, ("_queue", "_maxsize")),
        (asyncio.Event, "wait", _event, ("_value",)),
    ):
        if _has(owner, state):
            stopwatch.hooks.place(owner, name, partial(make, stopwatch))
        else:
            notes.append(f"waits for {owner.__name__}.{name} are not seen with this Python")
    _place(stopwatch, asyncio.Condition, "wait", "condition", lambda _: True)
    if ANYIO in sys.modules:
        _place_anyio(stopwatch)
    return tuple(notes)


def _place_anyio(stopwatch: Stopwatch) -> None:
    kinds: tuple[tuple[str, str, Kind, Callable[[Any], bool]], ...] = (
        ("Lock", "acquire", "lock", lambda lock: lock.locked()),
        ("Semaphore", "acquire", "semaphore", lambda semaphore: not semaphore.value),
        (
            "CapacityLimiter",
            "acquire_on_behalf_of",
            "limiter",
            lambda limiter: limiter.available_tokens <= 0,
        ),
    )
    for name, acquire, kind, would_wait in kinds:
        owner = getattr(sys.modules[ANYIO], name, None)  # older releases have some elsewhere
        if owner is not None:
            _place(stopwatch, owner, acquire, kind, would_wait)


def _place(
    stopwatch: Stopwatch, owner: type, name: str, kind: Kind, would_wait: Callable[[Any], bool]
) -> None:
    def make(acquire: _Function) -> _Function:
        def acquired(thing: Any, *args: Any, **kwargs: Any) -> Any:
            if would_wait(thing) and stopwatch.hooks.active:
                return stopwatch.wait(kind, thing, partial(acquire, thing, *args, **kwargs))
            return acquire(thing, *args, **kwargs)

        return acquired

    stopwatch.hooks.place(owner, name, make)


# What is asked of those of asyncio is asked of their attributes: a call would take as long as what
# it is about.


def _lock(stopwatch: Stopwatch, acquire: _Function) -> _Function:
    def acquired(lock: Any) -> Any:
        if (lock._locked or lock._waiters) and stopwatch.hooks.active:
            return stopwatch.wait("lock", lock, partial(acquire, lock))
        return acquire(lock)

    return acquired


def _semaphore(stopwatch: Stopwatch, acquire: _Function) -> _Function:
    def acquired(semaphore: Any) -> Any:
        if (semaphore._value <= 0 or semaphore._waiters) and stopwatch.hooks.active:
            return stopwatch.wait("semaphore", semaphore, partial(acquire, semaphore))
        return acquire(semaphore)

    return acquired


def _get(stopwatch: Stopwatch, get: _Function) -> _Function:
    def got(queue: Any) -> Any:
        if queue._queue or not stopwatch.hooks.active:
            return get(queue)
        return stopwatch.wait("queue get", queue, partial(get, queue))

    return got


def _put(stopwatch: Stopwatch, put: _Function) -> _Function:
    def done(queue: Any, item: Any) -> Any:
        if 0 < queue._maxsize <= len(queue._queue) and stopwatch.hooks.active:
            return stopwatch.wait("queue put", queue, partial(put, queue, item))
        return put(queue, item)

    return done


def _event(stopwatch: Stopwatch, wait: _Function) -> _Function:
    def waited(event: Any) -> Any:
        if event._value or not stopwatch.hooks.active:
            return wait(event)
        return stopwatch.wait("event", event, partial(wait, event))

    return waited
