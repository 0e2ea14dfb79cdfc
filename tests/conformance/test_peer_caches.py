"""What the suite finds in caches of others.

A known failure is expected, strictly, with the issue that it belongs to: once it is mended the test
fails and the entry goes.
"""

from typing import Any

import pytest

from pytest_agentperf.conformance import CacheConformance
from pytest_agentperf.conformance import adapters as adapt
from tests.conformance.peers import known, peer

ONE_KEY = "1, 1.0 and True are one key, as in a dict"


@peer("cachetools")
@known(
    "tkem/cachetools#80, #82: it is not safe with threads",
    "test_get_survives_an_eviction_in_the_middle",
    "test_set_survives_an_eviction_in_the_middle",
    "test_deletions_of_a_key_by_two_threads_do_not_collide",
)
@known(f"cachetools 8.0.1: {ONE_KEY}", "test_equal_keys_of_different_types_are_kept_apart")
class TestCachetools(CacheConformance):
    supports_delete = True
    supports_eviction_order = True
    supports_hashable_keys = True
    supports_typed_keys = True
    supports_thread_safety = True

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        library = pytest.importorskip("cachetools")
        cache = library.LRUCache(max_size)
        return adapt.KeyValueCache(
            cache if ttl is None else library.TTLCache(max_size, ttl, timer=clock)
        )

    @pytest.mark.skip(reason="what threads do as they like fails in some runs alone")
    def test_threads_never_see_errors_wrong_values_or_too_many_entries(self) -> None:
        """Is left to the tests that force their interleavings."""


@peer("cachebox")
@known(f"cachebox 6.2.10: {ONE_KEY}", "test_equal_keys_of_different_types_are_kept_apart")
class TestCachebox(CacheConformance):
    supports_clock = False
    supports_delete = True
    supports_eviction_order = True
    supports_hashable_keys = True
    supports_typed_keys = True
    supports_thread_safety = True

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        library = pytest.importorskip("cachebox")
        cache = library.LRUCache(max_size)
        return adapt.KeyValueCache(cache if ttl is None else library.TTLCache(max_size, ttl))


@peer("moka-py")
@known(f"moka-py 0.5.0: {ONE_KEY}", "test_equal_keys_of_different_types_are_kept_apart")
@known(
    "moka-py 0.5.0: the time of an entry ends with that of the cache",
    "test_ttl_of_an_entry_overrules_that_of_the_cache",
)
class TestMoka(CacheConformance):
    deadline = None  # in a thread of its own it ends the interpreter: see TestMokaInThreads
    supports_clock = False
    supports_entry_ttl = True
    supports_delete = True
    supports_eviction_order = True
    supports_hashable_keys = True
    supports_typed_keys = True

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        library = pytest.importorskip("moka_py")
        return adapt.MokaCache(library.Moka(max_size, ttl=ttl, policy="lru"))


@peer("theine")
@known(f"theine 2.0.0: {ONE_KEY}", "test_equal_keys_of_different_types_are_kept_apart")
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
    supports_typed_keys = True
    # Not supports_thread_safety: 2.0.0 evicts late, so that len() depends on the timing of threads.

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        return adapt.TheineCache(pytest.importorskip("theine").Cache(max_size), ttl)


@peer("async-lru")
@known(f"async-lru 2.4.0: {ONE_KEY}", "test_equal_keys_of_different_types_are_kept_apart")
@known(
    "aio-libs/async-lru#480 and later: a second event loop clears the cache",
    "test_values_survive_their_event_loop",
)
class TestAsyncLRU(CacheConformance):
    supports_clock = False
    supports_delete = True
    supports_eviction_order = True
    supports_hashable_keys = True
    supports_typed_keys = True
    supports_single_flight = True

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        library = pytest.importorskip("async_lru")
        return adapt.AsyncFunctionCache(library.alru_cache(maxsize=max_size, ttl=ttl))


@peer("cashews")
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


@peer("aiocache")
@known(f"aiocache 0.12.3: {ONE_KEY}", "test_equal_keys_of_different_types_are_kept_apart")
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
    supports_typed_keys = True

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        cache = pytest.importorskip("aiocache").SimpleMemoryCache()
        return adapt.AsyncCache(cache, lambda: len(cache._cache), ttl)
