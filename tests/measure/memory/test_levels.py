"""Tests of the memory that is read between timed calls."""

import mmap
import tracemalloc
from collections.abc import Iterator

import pytest

from pytest_agentperf.measure.memory.levels import Levels


@pytest.fixture
def _traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def test_levels_show_what_the_process_keeps() -> None:
    levels, kept, content = Levels(), [], b"x" * 8_000_000
    for calls in range(3):
        levels.note(calls)
        kept.append(mmap.mmap(-1, len(content)))  # pages that no block left behind
        kept[-1].write(content)
    curve = levels.curves["rss"]
    assert (curve.axis, curve.unit) == ("calls", "B")
    first, *_, last = curve.points
    assert (first.at, last.at) == (0, 2)
    assert 14_000_000 < last.value - first.value < 40_000_000


def test_levels_without_a_trace_are_those_of_the_process_alone() -> None:
    levels = Levels()
    levels.note(0)
    assert list(levels.curves) == ["rss"]


@pytest.mark.usefixtures("_traced")
def test_levels_beside_a_trace_show_what_is_traced() -> None:
    levels = Levels()
    levels.note(0)
    kept = bytearray(1_000_000)
    levels.note(1)
    first, last = levels.curves["traced"].points
    assert len(kept) == pytest.approx(last.value - first.value, rel=0.01)


def test_levels_of_many_calls_are_few_points() -> None:
    levels = Levels()
    for calls in range(2000):
        levels.note(calls)
    points = levels.curves["rss"].points
    assert len(points) <= 500
    assert points[-1].at == 1999
