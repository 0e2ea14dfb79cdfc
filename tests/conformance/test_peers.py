"""What the suites find in components that nobody here wrote; each is skipped if not installed.

A known failure is expected, strictly, with the issue that it belongs to: once it is mended the test
fails and the entry goes.
"""

import sys
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
LOST_NOTIFY = "python/cpython#112202: Condition loses a notify when the woken task is cancelled"
MENDED_IN = (3, 13)


def known(reason: str, *tests: str, condition: bool = True) -> Callable[[S], S]:
    """Expect *tests* to fail for *reason*."""

    def mark(suite: S) -> S:
        for name in tests:
            inherited = getattr(suite, name)

            def test(self: Any, inherited: Any = inherited) -> None:
                inherited(self)

            xfail = pytest.mark.xfail(condition, reason=reason, strict=True)
            setattr(suite, name, xfail(test))
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


@known(
    "moka-py 0.5.0: the time of an entry ends with that of the cache",
    "test_ttl_of_an_entry_overrules_that_of_the_cache",
)
class TestMoka(CacheConformance):
    deadline = None  # it is bound to its thread: another crashes the interpreter
    supports_clock = False
    supports_entry_ttl = True
    supports_delete = True
    supports_eviction_order = True
    supports_hashable_keys = True
    # Not supports_thread_safety: 0.5.0 ends the interpreter with a segmentation fault when another
    # thread stores while a key is hashed (test_set_survives_an_eviction_in_the_middle).

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        library = pytest.importorskip("moka_py")
        return adapt.MokaCache(library.Moka(max_size, ttl=ttl, policy="lru"))


@known(
    "theine 2.0.0 takes equal hashes for equal keys, as in pymc-devs/pymc#4506",
    "test_keys_of_any_type_are_kept_apart",
    "test_keys_with_equal_hashes_are_kept_apart",
)
@known(
    "theine 2.0.0: expired entries keep their place until its timer wheel turns",
    "test_expired_entries_that_were_touched_make_room",
)
class TestTheine(CacheConformance):
    supports_clock = False
    supports_delete = True
    supports_hashable_keys = True
    # Not supports_thread_safety: 2.0.0 evicts late, so that len() depends on the timing of threads.

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        return adapt.TheineCache(pytest.importorskip("theine").Cache(max_size), ttl)


@known(
    "aio-libs/async-lru#480 and later: a second event loop clears the cache",
    "test_values_survive_their_event_loop",
)
class TestAsyncLRU(CacheConformance):
    supports_clock = False
    supports_delete = True
    supports_eviction_order = True
    supports_hashable_keys = True
    supports_single_flight = True

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        library = pytest.importorskip("async_lru")
        return adapt.AsyncFunctionCache(library.alru_cache(maxsize=max_size, ttl=ttl))


@known(
    "cashews 7.6.0: set without a ttl keeps that of the value before",
    "test_overwriting_replaces_the_ttl_of_an_entry",
)
class TestCashews(CacheConformance):
    supports_clock = False
    supports_delete = True
    supports_entry_ttl = True

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        cache = pytest.importorskip("cashews").Cache()
        cache.setup("mem://", size=max_size)
        return adapt.AsyncCache(cache, cache.get_keys_count, ttl, "expire")


@known("aio-libs/aiocache#1033: None is a miss", "test_none_is_a_value_and_no_miss")
@known(
    "aiocache 0.12: its memory has no bound",
    "test_never_more_than_max_size_entries_live",
    "test_any_program_sees_the_values_it_stored",
)
class TestAiocache(CacheConformance):
    supports_clock = False
    supports_delete = True
    supports_entry_ttl = True
    supports_hashable_keys = True

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        cache = pytest.importorskip("aiocache").SimpleMemoryCache()
        return adapt.AsyncCache(cache, lambda: len(cache._cache), ttl)


@known(
    "generic-connection-pool 0.8.1: a cancelled connect takes its slot along, as in "
    "encode/httpcore#1093 (`except Exception` misses CancelledError)",
    "test_close_closes_what_cancelled_callers_left",
    "test_cancelled_connect_loses_no_slot",
    "test_caller_cancelled_just_when_it_is_connected_loses_no_slot",
    "test_cancellation_is_never_swallowed",
    "test_any_schedule_loses_no_slot",
)
@known(
    LOST_NOTIFY,
    "test_slot_granted_to_a_cancelled_waiter_goes_to_the_next",
    condition=sys.version_info < MENDED_IN,
)
class TestGenericConnectionPool(PoolConformance):
    deadline = 3.0

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


@known(
    LOST_NOTIFY,
    "test_slot_granted_to_a_cancelled_waiter_goes_to_the_next",
    condition=sys.version_info < MENDED_IN,
)
class TestRedis(PoolConformance):
    supports_close = False

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

            async def re_auth(self) -> None:
                pass

        pool = library.BlockingConnectionPool(max_size, timeout=None)
        pool.connection_class, pool.connection_kwargs = Held, {}
        return adapt.RedisPool(pool)


@known(
    "aiodataloader 0.4.3: a cancelled batch leaves its callers waiting, as in "
    "syrusakbary/aiodataloader#55",
    "test_function_that_is_cancelled_leaves_nobody_waiting",
)
class TestAiodataloader(BatcherConformance):
    supports_idling = True

    def make_batcher(self, *, process: Any, batch_size: int, max_wait: float, clock: Any) -> Any:
        library = pytest.importorskip("aiodataloader")
        return adapt.DataLoaderBatcher(library.DataLoader(process, max_batch_size=batch_size))


@known(
    "async-batcher 0.2.2: one cancelled caller leaves the others waiting, as in "
    "syrusakbary/aiodataloader#44",
    "test_cancelled_caller_leaves_the_others_their_results",
    "test_caller_cancelled_while_its_batch_runs_harms_nobody",
    "test_batcher_works_after_all_callers_of_a_batch_were_cancelled",
    "test_any_schedule_answers_every_caller",
)
@known(
    "async-batcher 0.2.2: a cancelled batch leaves its callers waiting, as in "
    "ray-project/ray#66140",
    "test_function_that_is_cancelled_leaves_nobody_waiting",
)
@known(
    "async-batcher 0.2.2 takes None for results of None",
    "test_result_of_none_is_an_error_for_every_caller",
)
@known("async-batcher 0.2.2 refuses a size of 1", "test_batches_are_never_larger_than_batch_size")
class TestAsyncBatcher(BatcherConformance):
    def make_batcher(self, *, process: Any, batch_size: int, max_wait: float, clock: Any) -> Any:
        library = pytest.importorskip("async_batcher.batcher")

        class Ours(library.AsyncBatcher):  # type: ignore[misc,name-defined]
            async def process_batch(self, batch: Any) -> Any:
                return await process(batch)

        return Ours(max_batch_size=max(batch_size, 2), max_queue_time=max_wait)

    def submit(self, batcher: Any, item: Any) -> Any:
        return batcher.process(item)


@known(
    "purgatory 3.0.1 lets all through, as in resilience4j/resilience4j#1432",
    "test_half_open_circuit_makes_one_call_at_a_time",
)
@known(
    "purgatory 3.0.1 counts cancellations, as in wshobson/maverick-mcp#272",
    "test_cancellation_is_no_failure",
)
@known(
    "purgatory 3.0.1 raises one object again and again, as in python/cpython#90873",
    "test_each_rejection_is_a_new_exception",
)
class TestPurgatory(BreakerConformance):
    supports_clock = False
    supports_ignored = True

    async def make_breaker(self, *, max_failures: int, reset_timeout: float, clock: Any) -> Any:
        library = pytest.importorskip("purgatory")
        factory = library.AsyncCircuitBreakerFactory(
            max_failures, reset_timeout, exclude=[self.ignored]
        )
        return adapt.GuardedBreaker(lambda: factory.get_breaker("ours"))


@known(
    "aiobreaker 1.2.0 lets all through, as in resilience4j/resilience4j#1432",
    "test_half_open_circuit_makes_one_call_at_a_time",
)
@known(
    "danielfm/pybreaker#60: the failure that opens the circuit is replaced",
    "test_results_and_errors_reach_the_caller_as_they_are",
)
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
