"""Suites that tell whether your own cache, pool, batcher, balancer or breaker is correct.

Subclass one in a test module and give it a factory; each test names what it looks for and the
public issue that it comes from:

    class TestOurCache(CacheConformance):
        def make_cache(self, *, max_size, ttl, clock):
            return OurCache(max_size, ttl, clock)

What a component lacks is declared, as in `supports_ttl = False`, and its tests are skipped with
that reason. The tests are plain functions: they bring their own event loop, in virtual time, and
need no plugin. A component that asks a real server does so within `real_io()`. Names are imported
when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_agentperf.conformance.balancer import BalancerConformance
    from pytest_agentperf.conformance.batcher import BatcherConformance
    from pytest_agentperf.conformance.breaker import BreakerConformance
    from pytest_agentperf.conformance.cache import CacheConformance
    from pytest_agentperf.conformance.pool import PoolConformance
    from pytest_agentperf.conformance.virtual import real_io

__all__ = [
    "BalancerConformance",
    "BatcherConformance",
    "BreakerConformance",
    "CacheConformance",
    "PoolConformance",
    "real_io",
]


def __getattr__(name: str) -> Any:
    """Return the suite *name*, imported from its module."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "virtual" if name == "real_io" else name.removesuffix("Conformance").lower()
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
