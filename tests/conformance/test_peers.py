"""What the suites find in components that nobody here wrote; each is skipped if not installed.

A known failure is expected, strictly, with the issue that it belongs to: once it is mended the test
fails and the entry goes.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from pytest_agentperf.conformance import (
    BatcherConformance,
    BreakerConformance,
    CacheConformance,
    PoolConformance,
)
from pytest_agentperf.conformance import adapters as adapt

S = TypeVar("S", bound=type)


def known(**failures: str) -> Callable[[S], S]:
    """Expect the tests named to fail, each for the reason given."""

    def mark(suite: S) -> S:
        for name, reason in failures.items():
            inherited = getattr(suite, name)

            def test(self: Any, inherited: Any = inherited) -> None:
                inherited(self)

            setattr(suite, name, pytest.mark.xfail(reason=reason, strict=True)(test))
        return suite

    return mark


class TestCachetools(CacheConformance):
    supports_delete = True
    supports_eviction_order = True
    supports_hashable_keys = True

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        library = pytest.importorskip("cachetools")
        cache = library.LRUCache(max_size)
        return adapt.KeyValueCache(
            cache if ttl is None else library.TTLCache(max_size, ttl, timer=clock)
        )


class TestCachebox(CacheConformance):
    supports_clock = False
    supports_delete = True
    supports_eviction_order = True
    supports_hashable_keys = True
    supports_thread_safety = True

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        library = pytest.importorskip("cachebox")
        cache = library.LRUCache(max_size)
        return adapt.KeyValueCache(cache if ttl is None else library.TTLCache(max_size, ttl))


class TestMoka(CacheConformance):
    supports_clock = False
    supports_entry_ttl = True
    supports_delete = True
    supports_eviction_order = True
    supports_hashable_keys = True
    supports_thread_safety = True

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        library = pytest.importorskip("moka_py")
        return adapt.MokaCache(library.Moka(max_size, ttl=ttl, policy="lru"))


class TestTheine(CacheConformance):
    supports_clock = False
    supports_delete = True
    supports_hashable_keys = True
    supports_thread_safety = True

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        return adapt.TheineCache(pytest.importorskip("theine").Cache(max_size), ttl)


class TestAsyncLRU(CacheConformance):
    supports_clock = False
    supports_delete = True
    supports_eviction_order = True
    supports_hashable_keys = True
    supports_single_flight = True

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        library = pytest.importorskip("async_lru")
        return adapt.AsyncFunctionCache(library.alru_cache(maxsize=max_size, ttl=ttl))


class TestCashews(CacheConformance):
    supports_clock = False
    supports_delete = True
    supports_entry_ttl = True

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        cache = pytest.importorskip("cashews").Cache()
        cache.setup("mem://", size=max_size)
        return adapt.AsyncCache(cache, cache.get_keys_count, ttl, "expire")


class TestAiocache(CacheConformance):
    supports_clock = False
    supports_delete = True
    supports_entry_ttl = True
    supports_hashable_keys = True

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        cache = pytest.importorskip("aiocache").SimpleMemoryCache()
        return adapt.AsyncCache(cache, lambda: len(cache._cache), ttl)


class TestGenericConnectionPool(PoolConformance):
    def make_pool(self, *, connect: Any, close: Any, max_size: int, clock: Any) -> Any:
        library = pytest.importorskip("generic_connection_pool.asyncio")

        class Manager(library.BaseConnectionManager):  # type: ignore[misc,name-defined]
            async def create(self, endpoint: object) -> Any:
                return await connect()

            async def dispose(self, endpoint: object, conn: Any) -> None:
                await close(conn)

        return adapt.EndpointPool(
            library.ConnectionPool(
                Manager(), idle_timeout=1e6, max_lifetime=1e6, min_idle=max_size, max_size=max_size,
                total_max_size=max_size,
            )
        )  # fmt: skip


class TestRedis(PoolConformance):
    def make_pool(self, *, connect: Any, close: Any, max_size: int, clock: Any) -> Any:
        library = pytest.importorskip("redis.asyncio")

        class Held:
            held: Any = None

            async def connect(self) -> None:
                if self.held is None:
                    self.held = await connect()

            async def disconnect(self, *_: object, **__: object) -> None:
                if self.held is not None:
                    held, self.held = self.held, None
                    await close(held)

            async def can_read(self) -> bool:
                return False

            def should_reconnect(self) -> bool:
                return False

        pool = library.BlockingConnectionPool(max_size, timeout=None)
        pool.connection_class, pool.connection_kwargs = Held, {}
        return adapt.RedisPool(pool)


class TestAiodataloader(BatcherConformance):
    supports_idling = True

    def make_batcher(self, *, process: Any, batch_size: int, max_wait: float, clock: Any) -> Any:
        library = pytest.importorskip("aiodataloader")
        return adapt.DataLoaderBatcher(
            library.DataLoader(process, max_batch_size=batch_size)
        )


class TestAsyncBatcher(BatcherConformance):
    def make_batcher(self, *, process: Any, batch_size: int, max_wait: float, clock: Any) -> Any:
        library = pytest.importorskip("async_batcher.batcher")

        class Ours(library.AsyncBatcher):  # type: ignore[misc,name-defined]
            async def process_batch(self, batch: Any) -> Any:
                return await process(batch)

        return Ours(max_batch_size=max(batch_size, 2), max_queue_time=max_wait)

    def submit(self, batcher: Any, item: Any) -> Any:
        return batcher.process(item)


class TestPurgatory(BreakerConformance):
    supports_clock = False
    supports_ignored = True

    async def make_breaker(self, *, max_failures: int, reset_timeout: float, clock: Any) -> Any:
        library = pytest.importorskip("purgatory")
        factory = library.AsyncCircuitBreakerFactory(
            max_failures, reset_timeout, exclude=[self.ignored]
        )
        return adapt.GuardedBreaker(lambda: factory.get_breaker("ours"))


class TestAiobreaker(BreakerConformance):
    supports_clock = False
    supports_ignored = True

    def make_breaker(self, *, max_failures: int, reset_timeout: float, clock: Any) -> Any:
        library = pytest.importorskip("aiobreaker")
        return adapt.AiobreakerBreaker(
            library.CircuitBreaker(
                max_failures, timedelta(seconds=reset_timeout), exclude=[self.ignored]
            )
        )


_ = asyncio
