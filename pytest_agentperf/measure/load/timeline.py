"""The timeline of a load: windows, which lie in stages, and which of them are warmup."""

import itertools
from dataclasses import dataclass
from typing import Final

from pytest_agentperf.measure.load.plan import LoadPlan

__all__ = ["Timeline"]

_WINDOWS: Final = 60
_MOST_WINDOWS: Final = 500  # where the requests may be made long before the time is over
_SHORTEST: Final = 0.1


@dataclass(frozen=True, slots=True)
class Timeline:
    """How the time of a load is divided into windows, none of which lies in two stages.

    Attributes:
        ends: When each window ends, in seconds, ascending.
        stages: The stage that each lies in, from 0.
        warm: How many windows belong to the warmup.
    """

    ends: tuple[float, ...]
    stages: tuple[int, ...]
    warm: int

    @classmethod
    def of(cls, plan: LoadPlan) -> "Timeline":
        """Return the timeline of *plan*: about 60 windows."""
        segments, total = plan.shape.segments, plan.seconds
        windows = _WINDOWS if plan.requests is None else _MOST_WINDOWS
        width = max(total / windows, _SHORTEST)
        marks = {segment.end for segment in segments} | {plan.warmup}
        marks |= {width * number for number in range(1, int(total / width) + 1)}
        # A mark that rounding has put beside another would make a window of no length.
        ends: list[float] = []
        for mark in sorted(mark for mark in marks if 0 < mark <= total):
            if ends and mark - ends[-1] < width / 1000:
                ends.pop()
            ends.append(mark)
        ends[-1] = total
        middles = [(a + b) / 2 for a, b in itertools.pairwise((0.0, *ends))]
        stages = [sum(segment.end <= at for segment in segments) for at in middles]
        return cls(tuple(ends), tuple(stages), sum(at < plan.warmup for at in middles))
