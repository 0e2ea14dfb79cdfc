"""Settings: how the calls under one label are to be timed, as far as the test's code states it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from pytest_agentperf.core.effort import Effort
from pytest_agentperf.measure.spending import UsageReading

__all__ = ["TimingSettings", "TrialHooks"]


class TrialHooks(NamedTuple):
    """What the user wants done around each call, outside of its time."""

    setup: Callable[[], Any] | None = None
    teardown: Callable[[], Any] | None = None


class TimingSettings(NamedTuple):
    """How to call, what to do around each call, and how to read what it returns."""

    effort: Effort = Effort()
    hooks: TrialHooks = TrialHooks()
    reading: UsageReading = UsageReading()
    stream: Callable[[Any], Any] | None = None
