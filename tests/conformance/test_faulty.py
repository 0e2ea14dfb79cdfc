"""Every wrong component is caught by the test that names its fault; the right ones pass all."""

from typing import Any

import pytest

from pytest_agentperf.conformance import CacheConformance
from tests.conformance.faulty import FAULTS, Fault, faults_of
from tests.conformance.faulty_caches import RightCache


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


def _catches(suite: Any, fault: Fault) -> None:
    suite.component = fault.component
    with pytest.raises(Exception) as caught:  # noqa: PT011 - an error of the component counts too
        getattr(suite, fault.caught_by)()
    assert not isinstance(caught.value, AttributeError | NotImplementedError), caught.value


@pytest.mark.parametrize("fault", faults_of(RightCache), ids=lambda fault: fault.component.__name__)
def test_faulty_cache_is_caught_by(fault: Fault) -> None:
    _catches(_FaultyCaches(), fault)


def test_there_are_enough_faults() -> None:
    assert len(FAULTS) >= 30
    assert len({fault.component for fault in FAULTS}) == len(FAULTS)
