"""The test around the blocks in which pools are seen."""

from collections.abc import Callable
from dataclasses import dataclass

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.core.finding import Finding

__all__ = ["PoolContext"]


@dataclass(frozen=True, slots=True)
class PoolContext:
    """The test around a block.

    Attributes:
        clock: The clock.
        is_accepted: Whether the user knows and accepts a finding.
    """

    clock: Clock
    is_accepted: Callable[[Finding], bool]
