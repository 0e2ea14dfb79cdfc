"""Curves of memory: levels summed up from what the blocks of a leak run grew by."""

from pytest_agentperf.core.series import Point
from pytest_agentperf.measure.memory.leakcurves import memory_curves
from pytest_agentperf.measure.memory.staged import Stage

GROWTH = (100, 0, -50, 100, 0, 0)


def test_levels_are_summed_over_all_stages() -> None:
    stages = [Stage(10, {"traced": GROWTH}), Stage(20, {"traced": (1,) * 6})]
    curve = memory_curves(stages)["traced memory"]
    assert (curve.axis, curve.unit) == ("calls", "B")
    assert curve.points[:4] == (Point(0, 0), Point(10, 100), Point(20, 100), Point(30, 50))
    assert curve.points[-1] == Point(60 + 120, 150 + 6)
    assert len(curve.points) == 13


def test_memory_of_the_process_is_what_was_traced_and_what_was_resident_beside() -> None:
    curves = memory_curves([Stage(10, {"traced": GROWTH, "resident": (4096,) * 6})])
    assert curves["process memory"].points[1] == Point(10, 4196)


def test_no_curve_is_told_of_what_was_not_read() -> None:
    assert list(memory_curves([Stage(10, {"traced": GROWTH})])) == ["traced memory"]
    assert memory_curves([]) == {}
