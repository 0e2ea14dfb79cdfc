"""The bundled components pass every suite, with every capability that they have."""

from typing import Any

from pytest_agentperf.conformance import CacheConformance
from pytest_agentperf.reference.cache import Cache


class _OurCache(CacheConformance):
    supports_entry_ttl = True
    supports_delete = True
    supports_statistics = True
    supports_hashable_keys = True
    supports_typed_keys = True
    supports_single_flight = True
    supports_thread_safety = True
    policy: Any = "gdsf"

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Cache:
        return Cache(max_size, ttl, self.policy, clock)


class TestCache(_OurCache):
    pass


class TestLRUCache(_OurCache):
    supports_eviction_order = True
    policy = "lru"


class TestValueCache(_OurCache):
    policy = "value"
