"""Every wrong component is caught by the test that names its fault; the right ones pass all."""

import gc
from typing import Any

import pytest

from pytest_agentperf.conformance import (
    BalancerConformance,
    BatcherConformance,
    BreakerConformance,
    CacheConformance,
    PoolConformance,
)
from tests.conformance.faulty import FAULTS, Fault, faults_of
from tests.conformance.faulty_balancers import RightBalancer
from tests.conformance.faulty_batchers import RightBatcher
from tests.conformance.faulty_breakers import RightBreaker
from tests.conformance.faulty_caches import RightCache
from tests.conformance.faulty_pools import RightPool

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine .* was never awaited"
)


class _FaultyCaches(CacheConformance):
    deadline = 2.0
    supports_entry_ttl = True
    supports_delete = True
    supports_statistics = True
    supports_eviction_order = True
    supports_hashable_keys = True
    supports_typed_keys = True
    supports_single_flight = True
    supports_thread_safety = True
    component: Any = RightCache

    def make_cache(self, *, max_size: int, ttl: float | None, clock: Any) -> Any:
        return self.component(max_size, ttl, clock)


class TestRightCache(_FaultyCaches):
    deadline = 10.0


class _FaultyPools(PoolConformance):
    deadline = 2.0
    supports_timeout = True
    supports_fifo = True
    supports_discard_on_cancel = True
    supports_discard_on_error = True
    supports_idle_timeout = True
    supports_max_lifetime = True
    supports_loop_change = True
    component: Any = RightPool

    def make_pool(self, *, connect: Any, close: Any, max_size: int, clock: Any) -> Any:
        return self.component(connect, close, max_size)


class TestRightPool(_FaultyPools):
    deadline = 10.0


class _FaultyBatchers(BatcherConformance):
    deadline = 2.0
    supports_close = True
    supports_own_exceptions = True
    supports_skipping_cancelled = True
    supports_concurrent_batches = True
    supports_idling = True
    supports_loop_change = True
    component: Any = RightBatcher

    def make_batcher(self, *, process: Any, batch_size: int, max_wait: float, clock: Any) -> Any:
        return self.component(process, batch_size, max_wait)


class TestRightBatcher(_FaultyBatchers):
    deadline = 10.0


class _FaultyBreakers(BreakerConformance):
    deadline = 2.0
    supports_generations = True
    supports_ignored = True
    supports_probe_timeout = True
    component: Any = RightBreaker

    def make_breaker(self, *, max_failures: int, reset_timeout: float, clock: Any) -> Any:
        return self.component(max_failures, reset_timeout, clock, self.ignored)


class TestRightBreaker(_FaultyBreakers):
    deadline = 10.0


class _FaultyBalancers(BalancerConformance):
    deadline = 2.0
    supports_least_load = True
    supports_capacity = True
    supports_fifo = True
    supports_health = True
    component: Any = RightBalancer

    def make_balancer(self, *, backends: Any, clock: Any) -> Any:
        return self.component(backends, clock, self.capacity, self.max_failures, self.cooldown)


class TestRightBalancer(_FaultyBalancers):
    deadline = 10.0


def _catches(suite: Any, fault: Fault) -> None:
    """Run the test that must find *fault*; it may also fail by an error of the component."""
    suite.component = fault.component
    caught = None
    try:
        getattr(suite, fault.caught_by)()
    except Exception as error:  # noqa: BLE001 - the component is wrong in some way
        caught = type(error)
    suite.__dict__.clear()
    gc.collect()  # what wrong components leave behind is reported here and not in other tests
    assert caught is not None, "the test passed"
    assert not issubclass(caught, AttributeError | NotImplementedError)


@pytest.mark.parametrize("fault", faults_of(RightCache), ids=lambda fault: fault.component.__name__)
def test_faulty_cache_is_caught_by(fault: Fault) -> None:
    _catches(_FaultyCaches(), fault)


@pytest.mark.parametrize("fault", faults_of(RightPool), ids=lambda fault: fault.component.__name__)
def test_faulty_pool_is_caught_by(fault: Fault) -> None:
    _catches(_FaultyPools(), fault)


@pytest.mark.parametrize(
    "fault", faults_of(RightBatcher), ids=lambda fault: fault.component.__name__
)
def test_faulty_batcher_is_caught_by(fault: Fault) -> None:
    _catches(_FaultyBatchers(), fault)


@pytest.mark.parametrize(
    "fault", faults_of(RightBreaker), ids=lambda fault: fault.component.__name__
)
def test_faulty_breaker_is_caught_by(fault: Fault) -> None:
    _catches(_FaultyBreakers(), fault)


@pytest.mark.parametrize(
    "fault", faults_of(RightBalancer), ids=lambda fault: fault.component.__name__
)
def test_faulty_balancer_is_caught_by(fault: Fault) -> None:
    _catches(_FaultyBalancers(), fault)


def test_there_are_enough_faults() -> None:
    assert len(FAULTS) >= 30
    assert len({fault.component for fault in FAULTS}) == len(FAULTS)
