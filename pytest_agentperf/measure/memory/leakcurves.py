"""Curves: how memory went over the calls of a leak run, from its readings."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Final

from pytest_agentperf.core.series import Curve, Point
from pytest_agentperf.measure.memory.staged import BLOCKS, Stage

__all__ = ["memory_curves"]

_PARTS: Final = {"traced memory": ("traced",), "process memory": ("traced", "resident")}
"""What was read for each curve; what is resident is read without what was traced."""


def memory_curves(stages: Sequence[Stage]) -> Mapping[str, Curve]:
    """Return bytes above the first reading, over the calls since then, by what holds them."""
    calls = [0, *accumulate(stage.calls for stage in stages for _ in range(BLOCKS))]
    return {
        name: Curve("calls", "B", tuple(map(Point, calls, _levels(stages, parts))))
        for name, parts in _PARTS.items()
        if stages and all(part in stage.growth for stage in stages for part in parts)
    }


def _levels(stages: Sequence[Stage], parts: Sequence[str]) -> list[int]:
    grown = (
        sum(stage.growth[part][block] for part in parts)
        for stage in stages
        for block in range(BLOCKS)
    )
    return [0, *accumulate(grown)]
