"""What a watch is made for: what it looks for, and the test around it."""

from collections.abc import Callable
from typing import Final, NamedTuple

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.core.finding import Finding
from pytest_agentperf.measure.monitors import Monitors

__all__ = ["PARTS", "WatchContext", "WatchSettings"]

PARTS: Final = frozenset({"blocking", "leaks", "spans", "waits"})
"""What a watch can look for."""


class WatchSettings(NamedTuple):
    """What to look for, and how closely.

    Attributes:
        label: The user's name for the watch; None for the unnamed one.
        threshold: Seconds from which the event loop counts as blocked.
        exact: Whether every callback of the loop is timed.
        independent: Names of spans that need nothing of each other.
        parts: What to look for, some of `PARTS`.
    """

    label: str | None = None
    threshold: float = 0.025
    exact: bool = False
    independent: tuple[str, ...] = ()
    parts: frozenset[str] = PARTS


class WatchContext(NamedTuple):
    """The test around a watch.

    Attributes:
        clock: The clock.
        monitors: Those at work in the test.
        is_accepted: Whether the user knows and accepts a finding.
    """

    clock: Clock
    monitors: Monitors
    is_accepted: Callable[[Finding], bool]
