"""The bundled components pass every suite, with every capability that they have."""

from typing import Any

from pytest_agentperf.conformance import (
    BalancerConformance,
    BatcherConformance,
    BreakerConformance,
    CacheConformance,
    PoolConformance,
)
from pytest_agentperf.reference.balancer import Backend, Balancer
from pytest_agentperf.reference.batcher import Batcher
from pytest_agentperf.reference.breaker import Breaker
from pytest_agentperf.reference.cache import Cache
from pytest_agentperf.reference.pool import Pool


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


class TestPool(PoolConformance):
    supports_timeout = True
    supports_fifo = True
    supports_discard_on_cancel = True
    supports_discard_on_error = True
    supports_idle_timeout = True
    supports_max_lifetime = True
    supports_loop_change = True

    def make_pool(self, *, connect: Any, close: Any, max_size: int, clock: Any) -> Any:
        return Pool(
            connect,
            close,
            max_size=max_size,
            idle_timeout=self.idle_timeout,
            max_lifetime=self.max_lifetime,
            clock=clock,
        )


class TestBatcher(BatcherConformance):
    supports_close = True
    supports_own_exceptions = True
    supports_skipping_cancelled = True
    supports_concurrent_batches = True
    supports_idling = True
    supports_loop_change = True
    eager = True

    def make_batcher(self, *, process: Any, batch_size: int, max_wait: float, clock: Any) -> Any:
        return Batcher(
            process, batch_size=batch_size, max_wait=max_wait, eager=self.eager, clock=clock
        )


class TestPatientBatcher(TestBatcher):
    eager = False


class TestBreaker(BreakerConformance):
    supports_generations = True
    supports_ignored = True
    supports_probe_timeout = True

    def make_breaker(self, *, max_failures: int, reset_timeout: float, clock: Any) -> Any:
        return Breaker(
            max_failures,
            reset_timeout=reset_timeout,
            probe_timeout=self.probe_timeout,
            is_failure=lambda error: not isinstance(error, self.ignored),
            clock=clock,
        )


class TestBreakerOfPlainFunctions(TestBreaker):
    supports_async = False

    def call(self, breaker: Any, function: Any) -> Any:
        return breaker(function)()


class _OurBalancer(BalancerConformance):
    supports_capacity = True
    supports_fifo = True
    supports_health = True
    strategy: Any

    def make_balancer(self, *, backends: Any, clock: Any) -> Any:
        return Balancer(
            {backend: Backend(capacity=self.capacity) for backend in backends},
            self.strategy,
            max_failures=self.max_failures,
            cooldown=self.cooldown,
            ramp_up=0,
            clock=clock,
        )


class TestBalancer(_OurBalancer):
    supports_least_load = True
    strategy = "least_loaded"


class TestWeightedBalancer(_OurBalancer):
    strategy = "weighted"


class TestRoundRobinBalancer(_OurBalancer):
    strategy = "round_robin"


class TestTwoChoicesBalancer(_OurBalancer):
    supports_even_load = False
    strategy = "p2c"
