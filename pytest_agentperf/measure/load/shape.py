"""The shape of a load: its target at each moment, who calls when, and when calls are due."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from pytest_agentperf.measure.load.stages import Stage

__all__ = ["Segment", "Shape"]

_CLOSE = 1e-9  # of a call: what rounding may add to the area under a rate


class Segment(NamedTuple):
    """A stage in time."""

    start: float
    end: float
    first: float
    """The target at its start."""
    last: float


@dataclass(frozen=True, slots=True)
class Shape:
    """How a load goes.

    Attributes:
        is_open: Whether its targets are calls a second, and not users.
        stages: In their order; the target is 0 before the first.
    """

    is_open: bool
    stages: tuple[Stage, ...]

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def most(self) -> float:
        """The highest target."""
        return max(stage.target for stage in self.stages)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The stages that take time; the others are jumps between these."""
        ends = list(accumulate(stage.seconds for stage in self.stages))
        targets = [0.0, *(stage.target for stage in self.stages)]
        found = zip((0.0, *ends), ends, targets, targets[1:], strict=False)
        return tuple(Segment(*each) for each in found if each[1] > each[0])

    def spans(self, user: int) -> Iterator[tuple[float, float]]:
        """Return from when to when *user*, the first of whom is 0, calls: where the target is more.

        Yields:
            Start and end, in seconds.
        """
        began = ended = -1.0
        for segment in self.segments:
            start, end = _above(segment, user)
            if start >= end:
                continue
            if start > ended:
                if ended >= 0:
                    yield began, ended
                began = start
            ended = end
        if ended >= 0:
            yield began, ended

    def arrivals(self, marks: Iterable[float]) -> Iterator[float]:
        """Return when calls are due: when the area under the rate reaches each of *marks*.

        Args:
            marks: Numbers of calls, ascending: 0, 1, 2, … for calls at an even pace.

        Yields:
            Seconds, ascending.
        """
        segments = iter(self.segments)
        segment, below, area = next(segments), 0.0, 0.0
        area = _area(segment)
        for mark in marks:
            while mark >= below + area - _CLOSE:
                below += area
                following = next(segments, None)
                if following is None:
                    return
                segment, area = following, _area(following)
            yield segment.start + _seconds_until(segment, max(mark - below, 0.0))


def _above(segment: Segment, user: int) -> tuple[float, float]:
    """Return from when to when the target in *segment* is more than *user*."""
    start, end, first, last = segment
    if first <= user >= last:
        return start, start
    if first > user < last:
        return start, end
    crossing = start + (end - start) * (user - first) / (last - first)
    return (crossing, end) if last > first else (start, crossing)


def _area(segment: Segment) -> float:
    """Return how many calls are due in *segment*."""
    return (segment.first + segment.last) / 2 * (segment.end - segment.start)


def _seconds_until(segment: Segment, calls: float) -> float:
    """Return after how many seconds of *segment* so many *calls* were due.

    The root of first·t + slope·t²/2 = calls, in the form that also holds for a slope of 0.
    """
    if not calls:
        return 0.0
    slope = (segment.last - segment.first) / (segment.end - segment.start)
    root = math.sqrt(max(segment.first**2 + 2 * slope * calls, 0.0))
    return 2 * calls / (segment.first + root)
