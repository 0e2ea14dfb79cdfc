"""A door to one test, and what it would see of it."""

import pytest

from pytest_agentperf.measure.cache.door import CacheUse, PerfCache


@pytest.fixture
def use() -> CacheUse:
    return CacheUse()


@pytest.fixture
def perf_cache(use: CacheUse) -> PerfCache:
    return PerfCache(lambda: use)
