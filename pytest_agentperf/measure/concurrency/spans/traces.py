"""Traces: the spans of the median call and of the slowest one, for those who draw them."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, NamedTuple

from pytest_agentperf.core.detail import PathStep, Trace, TraceSpan
from pytest_agentperf.measure.concurrency.spans.schedule import critical_path
from pytest_agentperf.measure.concurrency.spans.span import Span

__all__ = ["Moment", "find_traces"]

_MOST_SPANS: Final = 150
_MOST_STEPS: Final = 300


class Moment(NamedTuple):
    """When a call ran, by the clock of the spans."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


def find_traces(
    moments: Sequence[Moment], spans: Sequence[Span], noun: str = "call"
) -> tuple[Trace, ...]:
    """Return the traces of the median and of the slowest of the calls that have spans.

    Calls that ran at once cannot be told apart by time, so that these have none.

    Args:
        moments: When the calls ran.
        spans: What was recorded meanwhile.
        noun: What a call is, in titles.
    """
    ordered = sorted(spans, key=lambda span: span.start)
    starts = [span.start for span in ordered]
    found = [(m, inside) for m in _alone(moments) if (inside := _inside(m, ordered, starts))]
    if not found:
        return ()
    found.sort(key=lambda pair: pair[0].seconds)
    if len(found) == 1:
        return (_trace(f"the {noun}", *found[0]),)
    median, slowest = found[(len(found) - 1) // 2], found[-1]
    return (_trace(f"median {noun}", *median), _trace(f"slowest {noun}", *slowest))


def _alone(moments: Sequence[Moment]) -> list[Moment]:
    """Return those of *moments* that overlap no other."""
    inorder = sorted(moments)
    overlapping: set[Moment] = set()
    latest = inorder[0] if inorder else None
    for moment in inorder[1:]:
        assert latest is not None  # noqa: S101 -- there is a first one
        if moment.start < latest.end:
            overlapping |= {latest, moment}
        latest = max(latest, moment, key=lambda each: each.end)
    return [moment for moment in inorder if moment not in overlapping]


def _inside(moment: Moment, ordered: Sequence[Span], starts: Sequence[float]) -> list[Span]:
    first, last = bisect_left(starts, moment.start), bisect_left(starts, moment.end)
    return [span for span in ordered[first:last] if span.end <= moment.end]


def _trace(title: str, moment: Moment, spans: Sequence[Span]) -> Trace:
    """Return the trace of the call at *moment*, with the longest of *spans*."""
    kept = sorted(sorted(spans, key=lambda span: -span.seconds)[:_MOST_SPANS], key=_start)
    places = {span.id: place for place, span in enumerate(kept)}
    depths: dict[int, int] = {}
    for span in sorted(spans, key=_start):
        depths[span.id] = depths.get(span.parent or 0, -1) + 1
    path = critical_path(spans, moment.start, moment.end)
    return Trace(
        title,
        moment.seconds,
        tuple(_span(span, moment.start, depths[span.id]) for span in kept),
        tuple(
            PathStep(places.get(step.span or 0), step.start - moment.start, step.seconds)
            for step in path[:_MOST_STEPS]
        ),
        len(spans) - len(kept),
    )


def _start(span: Span) -> tuple[float, int]:
    return span.start, span.id


def _span(span: Span, zero: float, depth: int) -> TraceSpan:
    where = str(span.place) if span.place else ""
    return TraceSpan(span.name, span.start - zero, span.end - zero, depth, where, span.error)
