"""The staged rule: from how much a process grew while a function was called to whether it leaks.

A function that fills a cache grows like one that leaks, until the cache is full. So the calls are
made in stages, each twice as long as the one before, and only what grows through all of them leaks:

    warmup | 60 calls | 120 | 240 | 480 | ...      a stage has six blocks of equal length

A stage is suspect where the rate, bytes per call, reaches the limit and enough of the blocks grew:
any, half, five and six of six. What is not suspect once is cleared. What is suspect to the end is
a leak, unless its rate falls: by a line through the rates of all blocks, weighted by their calls.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = [
    "BLOCKS",
    "LIMITS",
    "Ruling",
    "Stage",
    "Verdict",
    "calls_needed",
    "decide",
    "stage_calls",
]

Verdict: TypeAlias = Literal["clean", "warming up", "leak", "native growth", "undecided"]

BLOCKS: Final = 6
STAGES: Final = 4
"""The fewest stages after which growth is called a leak."""
_FIRST: Final = 60
_GROWING: Final = (0, 3, 5)  # blocks that must have grown in the first stages; then all
_FALL: Final = 0.85
_SURE: Final = 4.0  # standard errors

LIMITS: Final[Mapping[str, float]] = {
    "traced": 256.0,
    "tasks": 0.05,
    "threads": 0.05,
    "file descriptors": 0.05,
    "native": 4096.0,
    # What the system counts wanders by some 200 kB in 240 calls of clean code.
    "resident": 4096.0,
}
"""What is counted, and how much of it a call may leave; those that explain more come first."""
NATIVE: Final = ("native", "resident")
"""Bytes that C code has allocated, and those that the system gave; both without Python's."""


@dataclass(frozen=True, slots=True)
class Stage:
    """How much there was more after each block of calls than before it.

    Attributes:
        calls: Calls of each block.
        growth: For each thing that is counted, one number for each block.
    """

    calls: int
    growth: Mapping[str, tuple[int, ...]]

    def rate(self, what: str) -> float:
        """Return how much of *what* a call left."""
        return sum(self.growth[what]) / (self.calls * BLOCKS)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What follows from the stages.

    Attributes:
        verdict: The word.
        what: What grew, one of `LIMITS`; ``"traced"`` where nothing did.
        rate: How much of it a call left in the last stage.
        first_rate: The same in the first stage.
        is_over: Whether the growth ended before the last stage did.
    """

    verdict: Verdict
    what: str = "traced"
    rate: float = 0.0
    first_rate: float = 0.0
    is_over: bool = True


def stage_calls(number: int) -> int:
    """Return the calls of each block of a stage, the first of which has number 0."""
    return (_FIRST << number) // BLOCKS


def calls_needed(stages: int) -> int:
    """Return the calls of the first *stages* stages together."""
    return _FIRST * ((1 << stages) - 1)


def decide(
    stages: Sequence[Stage], limits: Mapping[str, float], *, last: int = STAGES
) -> Ruling | None:
    """Return what follows from *stages*; None where it takes one more.

    Args:
        stages: What was read, the first stage first; at least one.
        limits: How much of each thing a call may leave.
        last: The stage after which there is none.
    """
    suspects = [what for what in limits if _is_suspect(stages, what, limits[what])]
    if suspects and len(stages) < last:
        return None
    steady = [what for what in suspects if not _falls(stages, what)]
    if steady:
        verdict: Verdict = "native growth" if steady[0] in NATIVE else "leak"
        return _ruling(verdict, stages, steady[0], is_over=False)
    if suspects:
        return _ruling("warming up", stages, suspects[0], is_over=False)
    grown = (what for what in limits if _is_suspect(stages[:1], what, limits[what]))
    what = next(grown, None)
    return _ruling("warming up", stages, what) if what else _ruling("clean", stages, "traced")


def _ruling(
    verdict: Verdict, stages: Sequence[Stage], what: str, *, is_over: bool = True
) -> Ruling:
    if what not in stages[-1].growth:
        return Ruling(verdict, what, is_over=is_over)
    return Ruling(verdict, what, stages[-1].rate(what), stages[0].rate(what), is_over)


def _is_suspect(stages: Sequence[Stage], what: str, limit: float) -> bool:
    """Return whether *what* has grown in each of the stages as a leak does."""
    return all(
        what in stage.growth
        and stage.rate(what) >= limit
        and sum(growth > 0 for growth in stage.growth[what]) >= needed
        for stage, needed in zip(stages, _needed(), strict=False)
    )


def _needed() -> Iterator[int]:
    yield from _GROWING
    while True:
        yield BLOCKS


def _falls(stages: Sequence[Stage], what: str) -> bool:
    """Return whether the rates fall: surely, and by more than a leak's list that doubles.

    Least squares with the calls of a block as its weight; the standard error is that of the slope.
    """
    weights, times, rates, now = [], [], [], 0.0
    for stage in stages:
        for growth in stage.growth[what]:
            weights.append(stage.calls)
            times.append(now + stage.calls / 2)
            rates.append(growth / stage.calls)
            now += stage.calls
    total = sum(weights)
    time, rate = (_dot(weights, values) / total for values in (times, rates))
    spread = sum(w * (t - time) ** 2 for w, t in zip(weights, times, strict=True))
    slope = (
        sum(w * (t - time) * (r - rate) for w, t, r in zip(weights, times, rates, strict=True))
        / spread
    )
    off = [r - rate - slope * (t - time) for t, r in zip(times, rates, strict=True)]
    variance = _dot(weights, [each * each for each in off]) / (len(off) - 2)
    end, start = rate + slope * (now - time), rate - slope * time
    return end <= _FALL * start and slope <= -_SURE * math.sqrt(variance / spread)


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))
