"""Short adapters from other shapes to those that the suites test; nothing is imported for them.

Each takes an object of the library that it names: `KeyValueCache(cachetools.LRUCache(10))`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

__all__ = [
    "AiobreakerBreaker",
    "AsyncCache",
    "AsyncFunctionCache",
    "DataLoaderBatcher",
    "EndpointPool",
    "GuardedBreaker",
    "KeyValueCache",
    "MokaCache",
    "RedisPool",
    "TheineCache",
]


class KeyValueCache:
    """A mapping as a cache: those of cachetools and cachebox, or a dict."""

    def __init__(self, mapping: Any) -> None:
        self.mapping = mapping

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of *key*, or *default*."""
        return self.mapping.get(key, default)

    def set(self, key: Any, value: Any) -> None:
        """Store *value*."""
        self.mapping[key] = value

    def delete(self, key: Any) -> None:
        """Remove *key* if it is there."""
        self.mapping.pop(key, None)

    def __len__(self) -> int:
        return len(self.mapping)


class MokaCache:
    """A `moka_py.Moka`."""

    def __init__(self, moka: Any) -> None:
        self.moka = moka

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of *key*, or *default*."""
        return self.moka.get(key, default)

    def set(self, key: Any, value: Any, ttl: float | None = None) -> None:
        """Store *value*, for *ttl* seconds if that is given."""
        self.moka.set(key, value, ttl)
        self.moka.run_pending_tasks()  # it evicts when it finds the time

    def delete(self, key: Any) -> None:
        """Remove *key* if it is there."""
        self.moka.remove(key)

    def __len__(self) -> int:
        self.moka.run_pending_tasks()
        return int(self.moka.count())


class TheineCache:
    """A `theine.Cache`, whose lifetimes are of entries."""

    def __init__(self, cache: Any, ttl: float | None = None) -> None:
        self.cache, self.ttl = cache, ttl

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of *key*, or *default*."""
        value, is_hit = self.cache.get(key)
        return value if is_hit else default

    def set(self, key: Any, value: Any, ttl: float | None = None) -> None:
        """Store *value*, for *ttl* seconds if that is given."""
        ttl = self.ttl if ttl is None else ttl
        self.cache.set(key, value, None if ttl is None else timedelta(seconds=ttl))

    def delete(self, key: Any) -> None:
        """Remove *key* if it is there."""
        self.cache.delete(key)

    def __len__(self) -> int:
        return len(self.cache)


class AsyncFunctionCache:
    """An async function behind a decorator such as `async_lru.alru_cache(maxsize=10)`."""

    def __init__(self, decorator: Callable[[Any], Any]) -> None:
        self._functions: dict[Any, Callable[[], Awaitable[Any]]] = {}

        async def compute(key: Any) -> Any:
            return await self._functions[key]()

        self.cached = decorator(compute)

    async def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of *key*, or *default*."""
        return await self.cached(key) if self.cached.cache_contains(key) else default

    async def set(self, key: Any, value: Any) -> None:
        """Store *value*."""

        async def given() -> Any:
            return value

        self.delete(key)
        await self.get_or_compute(key, given)

    async def get_or_compute(self, key: Any, function: Callable[[], Awaitable[Any]]) -> Any:
        """Return the value of *key*, or that of *function*."""
        self._functions[key] = function
        return await self.cached(key)

    def delete(self, key: Any) -> None:
        """Remove *key* if it is there."""
        self.cached.cache_invalidate(key)

    def __len__(self) -> int:
        return int(self.cached.cache_info().currsize)


class AsyncCache:
    """A cache with `await get(key, default)`, `set(key, value, ttl)` and `delete(key)`.

    Those of aiocache, and with `keyword="expire"` of cashews. *size* returns the entries held.
    """

    def __init__(
        self,
        cache: Any,
        size: Callable[[], Any],
        ttl: float | None = None,
        keyword: str = "ttl",
    ) -> None:
        self.cache, self._size, self.ttl, self._keyword = cache, size, ttl, keyword

    async def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of *key*, or *default*."""
        return await self.cache.get(key, default=default)

    async def set(self, key: Any, value: Any, ttl: float | None = None) -> None:
        """Store *value*, for *ttl* seconds if that is given."""
        lifetime = self.ttl if ttl is None else ttl
        await self.cache.set(key, value, **{self._keyword: lifetime})

    async def delete(self, key: Any) -> None:
        """Remove *key* if it is there."""
        await self.cache.delete(key)

    def len(self) -> Any:
        """Return the number of entries."""
        return self._size()


class EndpointPool:
    """A `generic_connection_pool.asyncio.ConnectionPool`, with one endpoint."""

    def __init__(self, pool: Any, endpoint: object = "endpoint") -> None:
        self.pool, self.endpoint = pool, endpoint

    def acquire(self) -> AbstractAsyncContextManager[Any]:
        """Return a lease of one connection."""
        lease: AbstractAsyncContextManager[Any] = self.pool.connection(self.endpoint)
        return lease

    async def close(self) -> None:
        """Close the pool."""
        await self.pool.close()


class RedisPool:
    """A `redis.asyncio.BlockingConnectionPool` whose connections hold a `held` of the suite."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool

    @asynccontextmanager
    async def acquire(self) -> Any:
        """Return a lease of one connection."""
        connection = await self.pool.get_connection()
        try:
            yield connection.held
        finally:
            await self.pool.release(connection)

    async def close(self) -> None:
        """Close the pool."""
        await self.pool.disconnect()


class DataLoaderBatcher:
    """An `aiodataloader.DataLoader`, and all that have `load(item)`."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    async def __call__(self, item: Any) -> Any:
        """Return the result of *item*."""
        return await self.loader.load(item)


class GuardedBreaker:
    """A breaker that is entered with `async with`, such as those of purgatory.

    Args:
        guard: Returns, or returns an awaitable of, the context manager of one call.
    """

    def __init__(self, guard: Callable[[], Any]) -> None:
        self.guard = guard

    async def call(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """Call *function* through the breaker."""
        guard = self.guard()
        async with await guard if asyncio.iscoroutine(guard) else guard:
            return await function()


class AiobreakerBreaker:
    """An `aiobreaker.CircuitBreaker`."""

    def __init__(self, breaker: Any) -> None:
        self.breaker = breaker

    async def call(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """Call *function* through the breaker."""
        return await self.breaker.call_async(function)
