"""Details: what a report draws of a measurement, beside its numbers; always bounded."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pytest_agentperf.core.sample import Sample

__all__ = ["Detail", "LoopBlock", "PathStep", "Trace", "TraceSpan", "merge_details", "quantiles"]

_POINTS: Final = 200


@dataclass(frozen=True, slots=True)
class TraceSpan:
    """A span of one call.

    Attributes:
        name: What it is called.
        start: Seconds from the beginning of the call.
        end: When it ended, likewise.
        depth: How many spans are around it.
        where: The line that called it; empty where none is known.
        error: The name of the exception's type that ended it; empty for none.
    """

    name: str
    start: float
    end: float
    depth: int
    where: str
    error: str


@dataclass(frozen=True, slots=True)
class PathStep:
    """A part of the critical path of a call.

    Attributes:
        span: The place of its span in the trace; None outside of spans, or of one left out.
        start: Seconds from the beginning of the call.
        seconds: How long the path was in this span.
    """

    span: int | None
    start: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Trace:
    """The spans of one call.

    Attributes:
        title: Which call it is, as in ``"median call"``.
        seconds: How long it took.
        spans: In order of beginning.
        path: The critical path, in order.
        omitted: How many spans were left out, the shortest ones.
    """

    title: str
    seconds: float
    spans: tuple[TraceSpan, ...]
    path: tuple[PathStep, ...]
    omitted: int


@dataclass(frozen=True, slots=True)
class LoopBlock:
    """A time in which code held the event loop.

    Attributes:
        start: Seconds from the beginning of the watch.
        seconds: How long it took.
        cause: What kept the loop, as in ``"computing"``.
        sentence: All of it in words.
        stack: The lines that were running, innermost last.
    """

    start: float
    seconds: float
    cause: str
    sentence: str
    stack: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Detail:
    """What a report draws of one measurement.

    Attributes:
        quantiles: Values at even steps from the smallest to the largest, by the sample's name.
        baseline: The same of the runs that it was compared with.
        traces: The spans of the median call and of the slowest one.
        blocks: What held the event loop longest, in order.
        lookups: A letter for each of the last lookups of a cache, `H` for a hit and `M` for a miss.
    """

    quantiles: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    baseline: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    traces: tuple[Trace, ...] = ()
    blocks: tuple[LoopBlock, ...] = ()
    lookups: str = ""


def quantiles(sample: Sample, most: int = _POINTS) -> tuple[float, ...]:
    """Return values of *sample* at even steps from its smallest to its largest.

    Args:
        sample: May be empty.
        most: How many values to return at most, 2 or more; all of them where there are fewer.
    """
    count = min(sample.count, most)
    if sample.count <= most:
        return tuple(sample.ordered(rank) for rank in range(1, count + 1))
    return tuple(sample.percentile(100 * place / (count - 1)) for place in range(count))


def merge_details(details: Iterable[Detail]) -> Detail:
    """Return all that is in *details*; of what only one can have, the first holds."""
    found = list(details)
    return Detail(
        quantiles={name: each for one in reversed(found) for name, each in one.quantiles.items()},
        baseline={name: each for one in reversed(found) for name, each in one.baseline.items()},
        traces=next((one.traces for one in found if one.traces), ()),
        blocks=tuple(block for one in found for block in one.blocks),
        lookups=next((one.lookups for one in found if one.lookups), ""),
    )
