"""A suite for caches: `class TestOurCache(CacheConformance)` with one method, `make_cache`."""

import statistics
import time

import pytest

from pytest_agentperf.conformance.cache_basics import BasicTests, TTLTests
from pytest_agentperf.conformance.cache_flights import AsyncFlightTests, ThreadFlightTests
from pytest_agentperf.conformance.cache_options import OptionTests
from pytest_agentperf.conformance.cache_threads import ThreadTests
from pytest_agentperf.conformance.suite import settle

__all__ = ["CacheConformance"]

ROUNDS, HITS = 5, 500


class CacheConformance(
    BasicTests, TTLTests, OptionTests, AsyncFlightTests, ThreadFlightTests, ThreadTests
):
    """Tests of a cache with `get(key, default=None)`, `set(key, value)` and `len()`.

    They may be sync or async; another shape gets a short adapter. Define `make_cache(self, *,
    max_size, ttl, clock)`; make it async if that suits you. Nothing else is passed to it.

    A cache promises what it was given: what was set is a hit while no more than `max_size` keys are
    stored and `ttl` is not over, a miss afterwards; never more than `max_size` entries live. Which
    entry goes, and whether a full cache admits a new one, is its own business. Times are never
    looked at exactly at a `ttl`; `len()` may count expired entries until they are touched.

    Attributes:
        supports_ttl: `ttl` is not always None.
        supports_clock: It goes by the clock given. False: it goes by real time, and tests wait.
        supports_entry_ttl: `set(key, value, ttl=seconds)`, or override `set_with_ttl`.
        supports_delete: `delete(key)`, or override `delete`; an absent key is no error.
        supports_statistics: `stats()` or `cache_info()` with `hits` and `misses`, or override
            `hits_and_misses`.
        supports_eviction_order: It evicts in `eviction_order`.
        eviction_order: `"lru"` or `"fifo"`.
        supports_hashable_keys: Keys may be any hashable; 1 and "1" are two, as are -1 and -2,
            whose hashes are equal. Otherwise the tests use strings alone.
        supports_typed_keys: 1, 1.0 and True are three keys.
        supports_single_flight: Concurrent callers share one computation. `get_or_compute(key,
            function)`, sync or async, or `aget_or_compute` for tasks beside a sync one; or override
            `async_flight` and `thread_flight`.
        supports_thread_safety: It may be used by several threads at a time.
    """

    def test_any_program_sees_the_values_it_stored(self) -> None:
        """Random programs against a model; a failure is shrunk to a short program.

        Seen in tkem/cachetools#400 (an overwritten value came back).
        """
        from pytest_agentperf.conformance.cache_machine import CacheMachine

        self.play_machine(lambda: CacheMachine(self))

    def test_speed_of_a_hit_is_reported(self, request: pytest.FixtureRequest) -> None:
        """A ratio, as the property `agentperf.hit_ratio` of the test; it cannot fail.

        Seen in aio-libs/async-lru#82 (what a hit may cost).
        """
        ratios: list[float] = []

        async def measure() -> None:
            cache, plain = (await self.new_cache()).cache, {"key": "value"}
            await settle(cache.set("key", "value"))
            for _ in range(ROUNDS):
                began = time.perf_counter()
                for _ in range(HITS):
                    await settle(cache.get("key"))
                middle = time.perf_counter()
                for _ in range(HITS):
                    await settle(plain.get("key"))
                ratios.append((middle - began) / (time.perf_counter() - middle))

        self.play(measure)
        ratio = round(statistics.median(ratios), 2)
        # `record_property` would warn where JUnit's family is xunit2, the default.
        request.node.user_properties.append(("agentperf.hit_ratio", ratio))
        print(f"a hit takes {ratio:g} times that of a dict, both through the suite")  # noqa: T201
