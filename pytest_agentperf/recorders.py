"""The recorders of one test besides its timings, each made when it is first asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import pytest

from pytest_agentperf.core.clock import REAL_TIME
from pytest_agentperf.core.finding import Finding
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.importing import uncollected
from pytest_agentperf.measure.monitors import Monitors
from pytest_agentperf.metered import provided_by

if TYPE_CHECKING:
    from pytest_agentperf.core.detail import Detail
    from pytest_agentperf.judge.limits import ResolvedLimits
    from pytest_agentperf.measure.cache.door import CacheUse
    from pytest_agentperf.measure.concurrency.door import Watching
    from pytest_agentperf.measure.load.door import Loading
    from pytest_agentperf.measure.memory.block import MeterTools
    from pytest_agentperf.measure.memory.door import Metering
    from pytest_agentperf.measure.pool.door import Pooling

__all__ = ["Recorders", "Shared", "new_watching"]

Moments: TypeAlias = Mapping[str | None, Sequence[tuple[float, float]]]


class Shared:
    """What the recorders of all tests share.

    Args:
        is_accepted: Returns whether the user accepts a finding.
    """

    def __init__(self, is_accepted: Callable[[Finding], bool]) -> None:
        self.is_accepted = is_accepted

    @cached_property
    def meters(self) -> "MeterTools":
        """The tools for memory, of which a process has one set."""
        from pytest_agentperf.measure.memory.block import MeterTools

        return MeterTools()


class Recorders:
    """The recorders of one test.

    Args:
        item: The test.
        monitors: Those at work in it.
        shared: What it shares with others.
        limits: What it is held to.
        is_quick: Whether its calls are made once.

    Attributes:
        extra: What else is known of it.
    """

    def __init__(
        self,
        item: pytest.Item,
        monitors: Monitors,
        shared: Shared,
        limits: "ResolvedLimits",
        *,
        is_quick: bool = False,
    ) -> None:
        self._item = item
        self._monitors = monitors
        self._shared = shared
        self._limits = limits
        self._is_quick = is_quick
        self.extra: list[Measurement] = []

    @cached_property
    def watching(self) -> "Watching":
        """Its watches."""
        return new_watching(self._shared, self._monitors)

    @cached_property
    def metering(self) -> "Metering":
        """Its metered blocks."""
        from pytest_agentperf.measure.memory.door import Metering

        return Metering(self._shared.meters, self._monitors, provided_by(self._item))

    @cached_property
    def caching(self) -> "CacheUse":
        """What was counted of its caches."""
        from pytest_agentperf.measure.cache.door import CacheUse

        return CacheUse()

    @cached_property
    def pooling(self) -> "Pooling":
        """Its pools and batchers."""
        from pytest_agentperf.measure.pool.door import Pooling
        from pytest_agentperf.measure.pool.settings import PoolContext

        return Pooling(PoolContext(REAL_TIME.clock, self._shared.is_accepted))

    @cached_property
    def loading(self) -> "Loading":
        """Its loads."""
        from pytest_agentperf.loaded import load_context
        from pytest_agentperf.measure.load.door import Loading

        return Loading(load_context(self._item.config, self._limits, is_quick=self._is_quick))

    def close(self) -> list[str]:
        """End what still runs; return the sentences of what was not awaited."""
        return self.loading.close() if "loading" in vars(self) else []

    def measurements(self) -> list[Measurement]:
        """Return what was recorded by those that were asked for."""
        made = [vars(self)[name] for name in _NAMES if name in vars(self)]
        return [*(found for each in made for found in each.measurements()), *self.extra]

    def details(self, calls: Moments) -> "Iterator[tuple[str | None, Detail]]":
        """Yield what a report draws of them, by label.

        Args:
            calls: When timed calls ran that were watched, by label.
        """
        if "watching" in vars(self):
            yield from self.watching.details(calls)
        if "caching" in vars(self):
            yield from self.caching.details()

    def failures(self) -> Sequence[str]:
        """Return the sentences of what fails the test without a budget."""
        made = [vars(self)[name] for name in _FAILING if name in vars(self)]
        return [failure for each in made for failure in each.failures()]


_NAMES = ("watching", "metering", "caching", "pooling", "loading")
_FAILING = ("metering", "loading")


def new_watching(shared: Shared, monitors: Monitors) -> "Watching":
    """Return new watches, for a test or for the setup of its fixtures."""
    with uncollected():
        from pytest_agentperf.measure.concurrency.door import Watching
        from pytest_agentperf.measure.concurrency.settings import WatchContext

    return Watching(WatchContext(REAL_TIME.clock, monitors, shared.is_accepted))
