"""Which pool it is: told by the library of its class and its attributes; nothing is imported."""

from collections.abc import Callable
from typing import Any, Final

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.pool import dbpools, ownpools, webpools
from pytest_agentperf.measure.pool.observed import ObservedPool
from pytest_agentperf.measure.pool.observing import Target
from pytest_agentperf.measure.pool.readers import NAMES, ReadPool, reader_of

__all__ = ["find_probe"]

_INNER: Final[dict[str, tuple[str, ...]]] = {
    "openai": ("_client",),
    "anthropic": ("_client",),
    "httpx": ("_transport", "_pool"),
    "httpx2": ("_transport", "_pool"),
    "aiohttp": ("connector",),
    "redis": ("connection_pool",),
    "sqlalchemy": ("sync_engine", "pool"),
}
"""Where the clients of a library have their pools."""

_TARGETS: Final[dict[str, Callable[[Any], Target | None]]] = {
    "httpcore": webpools.httpcore_pool,
    "httpcore2": webpools.httpcore_pool,
    "aiohttp": webpools.aiohttp_connector,
    "asyncpg": dbpools.asyncpg_pool,
    "psycopg_pool": dbpools.psycopg_pool,
    "sqlalchemy": dbpools.sqlalchemy_pool,
    "redis": dbpools.redis_pool,
}

_DEEPEST: Final = 5


def find_probe(pool: Any, clock: Clock, every: float | None) -> ObservedPool | ReadPool:
    """Return what measures *pool*.

    Raises:
        UsageError: It is none that is known, and tells no counts.
    """
    inner = _unwrapped(pool)
    target = _target(inner)
    if target is not None:
        return ObservedPool(target, clock)
    if read := reader_of(inner):
        return ReadPool(getattr(pool, "__qualname__", type(pool).__name__), read, clock, every)
    raise UsageError(
        f"perf_pool cannot read {inner!r:.80}: expected a Pool of pytest_agentperf.reference, a"
        f" pool or client of {', '.join(sorted({*_TARGETS, *_INNER}))}, an asyncio.Semaphore, an"
        " object with stats() or get_stats(), or a function that returns the counts, such as"
        f" {', '.join(NAMES)}"
    )


def _target(pool: Any) -> Target | None:
    if target := ownpools.reference_pool(pool) or ownpools.semaphore(pool):
        return target
    for library in _libraries(pool):
        if library in _TARGETS and (target := _TARGETS[library](pool)):
            return target
    return None


def _unwrapped(pool: Any) -> Any:
    """Return the pool inside a client."""
    for _ in range(_DEEPEST):
        names = [name for library in _libraries(pool) for name in _INNER.get(library, ())]
        inner = next((found for name in names if (found := getattr(pool, name, None))), None)
        if inner is None:
            break
        pool = inner
    return pool


def _libraries(thing: Any) -> list[str]:
    """Return the libraries of the class of *thing* and of its bases."""
    return [cls.__module__.partition(".")[0] for cls in type(thing).__mro__]
