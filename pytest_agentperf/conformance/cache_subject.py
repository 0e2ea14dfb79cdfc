"""The cache under test, and what its suite may be told about it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from pytest_agentperf.conformance.suite import ContractError, Suite, require, settle
from pytest_agentperf.conformance.virtual import VirtualClock

__all__ = ["MISSING", "CacheSubject", "CacheSuite"]


class _Missing:
    def __repr__(self) -> str:
        return "a miss"


MISSING: Any = _Missing()


class CacheSuite(Suite):
    """The factory, the capabilities and the hooks of a cache suite; see `CacheConformance`."""

    supports_ttl = True
    supports_clock = True
    supports_entry_ttl = False
    supports_delete = False
    supports_statistics = False
    supports_eviction_order = False
    supports_hashable_keys = False
    supports_typed_keys = False
    supports_single_flight = False
    supports_thread_safety = False
    eviction_order = "lru"

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Callable[[], float]) -> Any:
        """Return a new, empty cache of the kind under test, or an awaitable of one.

        Args:
            max_size: Entries that it may hold, at least 1.
            ttl: Seconds that an entry lives; None: for ever.
            clock: Returns seconds. They pass when the suite says so.
        """
        raise NotImplementedError(
            f"{type(self).__name__}: define make_cache(self, *, max_size, "
            "ttl, clock) to return the cache under test"
        )

    def delete(self, cache: Any, key: Any) -> Any:
        """Remove *key*, which may be absent; by `supports_delete`."""
        return cache.delete(key)

    def set_with_ttl(self, cache: Any, key: Any, value: Any, ttl: float) -> Any:
        """Store *value* for *ttl* seconds; by `supports_entry_ttl`."""
        return cache.set(key, value, ttl=ttl)

    def hits_and_misses(self, cache: Any) -> Any:
        """Return how many lookups hit and how many missed; by `supports_statistics`."""
        stats = cache.stats() if hasattr(cache, "stats") else cache.cache_info()
        return stats.hits, stats.misses

    def async_flight(self, cache: Any) -> Callable[[Any, Any], Any] | None:
        """Return what shares computations among tasks, called with a key and an async function.

        None if there is nothing such. By `supports_single_flight`.
        """
        shared = getattr(cache, "aget_or_compute", None) or getattr(cache, "get_or_compute", None)
        return shared if asyncio.iscoroutinefunction(shared) else None

    def thread_flight(self, cache: Any) -> Callable[[Any, Any], Any] | None:
        """Return what shares computations among threads, called with a key and a function.

        None if there is nothing such. By `supports_single_flight`.
        """
        shared = getattr(cache, "get_or_compute", None)
        return None if asyncio.iscoroutinefunction(shared) else shared

    # What the tests go by

    @property
    def ttl(self) -> float:
        """A lifetime for tests; real time is short of it."""
        return 10.0 if self.supports_clock else 0.4

    @property
    def early(self) -> float:
        """A time before the end of `ttl`."""
        return self.ttl * (0.95 if self.supports_clock else 0.25)

    @property
    def late(self) -> float:
        """A time after the end of `ttl`."""
        return self.ttl * (1.05 if self.supports_clock else 2)

    async def new_cache(
        self, max_size: int = 8, ttl: float | None = None, clock: VirtualClock | None = None
    ) -> "CacheSubject":
        """Return a new cache under test; it must be empty."""
        clock = clock or self.clock
        given = clock if self.supports_clock else time.monotonic
        cache = await self.made(
            self.make_cache, "get set __len__|len", max_size=max_size, ttl=ttl, clock=given
        )
        subject = CacheSubject(self, cache, clock)
        if size := await subject.size():
            raise ContractError(
                f"{type(self).__name__}.make_cache returned a cache that holds {size} entries: "
                "expected an empty one; return a new cache each time"
            )
        return subject


class CacheSubject:
    """A cache under test, sync or async, as the tests see it.

    Args:
        suite: Has the hooks.
        cache: What the factory made.
        clock: The time of both.
    """

    def __init__(self, suite: CacheSuite, cache: Any, clock: VirtualClock) -> None:
        self.suite, self.cache, self.clock = suite, cache, clock

    async def get(self, key: Any, *default: Any) -> Any:
        """Return what the cache has for *key*."""
        return await settle(self.cache.get(key, *default))

    async def look(self, key: Any) -> Any:
        """Return what the cache has for *key*, or MISSING."""
        return await self.get(key, MISSING)

    async def set(self, key: Any, value: Any, ttl: float | None = None) -> None:
        """Store *value*, for *ttl* seconds if that is given."""
        if ttl is None:
            await settle(self.cache.set(key, value))
        else:
            await settle(self.suite.set_with_ttl(self.cache, key, value, ttl))

    async def fill(self, *keys: Any) -> None:
        """Store each of *keys* with a value of its own."""
        for key in keys:
            await self.set(key, f"value of {key}")

    async def hits(self, *keys: Any) -> list[Any]:
        """Return those of *keys* that are hits; fail if one has the value of another."""
        found = {key: await self.look(key) for key in keys}
        for key, value in found.items():
            right = value is MISSING or value == f"value of {key}"
            require(right, f"get({key!r}) returned {value!r}, which was stored for another key")
        return [key for key, value in found.items() if value is not MISSING]

    async def size(self) -> int:
        """Return its `len()`."""
        cache = self.cache
        size = await settle(len(cache) if hasattr(cache, "__len__") else cache.len())
        if not isinstance(size, int):
            raise ContractError(f"len() of the cache returned {size!r}: expected an int")
        return size

    async def delete(self, key: Any) -> None:
        """Remove *key*."""
        await settle(self.suite.delete(self.cache, key))

    async def statistics(self) -> tuple[int, int]:
        """Return hits and misses so far."""
        hits, misses = await settle(self.suite.hits_and_misses(self.cache))
        return hits, misses

    async def wait(self, seconds: float) -> None:
        """Let time pass, really so for a cache that takes no clock."""
        if not self.suite.supports_clock:
            time.sleep(seconds)  # noqa: ASYNC251 - the cache counts real time
        if self.suite.needs_loop:
            await asyncio.sleep(seconds)
        else:
            self.clock.advance(seconds)
