"""Schedules: what recorded spans had to wait for, and what they would take if nothing had to wait.

A span is *waited for* by the innermost span around it that did not end before it; where all of them
did, by the watch. Only what is waited for can hold something up.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Final, TypeAlias

from pytest_agentperf.core.errors import EmptySampleError
from pytest_agentperf.core.finding import Place
from pytest_agentperf.measure.concurrency.spans.span import Span
from pytest_agentperf.measure.concurrency.spans.tally import Tally

__all__ = ["OUTSIDE", "Step", "critical_path", "parallelism", "perfect", "union"]

OUTSIDE: Final = "(outside of spans)"
"""The name of steps in which no span was open on the path."""


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the critical path.

    Attributes:
        name: The span's name, or `OUTSIDE`.
        seconds: How long the path was in this span itself, in none of its children.
        start: When the step began.
        span: The `id` of the span; None outside of spans.
        place: The line that called it.
    """

    name: str
    seconds: float
    start: float
    span: int | None = None
    place: Place | None = None


def parallelism(spans: Iterable[Span]) -> float:
    """Return how many *spans* worked at once, on average over the time in which any did.

    Where a span has open children, these count and not it; `Totals.parallelism` is the same
    number without keeping the spans.

    Raises:
        EmptySampleError: There are no spans.
    """
    return Tally.of(spans).totals.parallelism


def union(intervals: Iterable[tuple[float, float]]) -> float:
    """Return the seconds that lie in at least one of *intervals*, pairs of start and end."""
    total, covered = 0.0, -inf
    for start, end in sorted(intervals):
        total += max(end - max(start, covered), 0.0)
        covered = max(covered, end)
    return total


_Tree: TypeAlias = Mapping[int | None, Sequence[Span]]


def critical_path(
    spans: Collection[Span], start: float | None = None, end: float | None = None
) -> tuple[Step, ...]:
    """Return what the time between *start* and *end* went to, in order.

    From the end backwards: what a span waited for last is its child that ended last, and before
    that child began it waited for the one that had ended last by then. Only shortening a step can
    shorten the whole.

    Args:
        spans: The spans that ended in that time.
        start: By default when the first of them began.
        end: By default when the last of them ended.

    Returns:
        The steps, each with its own time: they add up to all of the time.

    Raises:
        EmptySampleError: There are no spans.
    """
    root = _root(spans, start, end)
    by_id = {span.id: span for span in spans}
    latest = {key: iter(_latest_first(found)) for key, found in _waited_for(spans).items()}
    steps: list[Step] = []
    span, now = root, root.end
    while True:
        waits = latest.get(span.id or None, iter(()))
        child = next((each for each in waits if each.end <= now and each.start >= root.start), None)
        begin = span.start if child is None else child.end
        steps.append(_step(span, begin, now))
        now = begin
        if child is not None:
            span = child
        elif span is root:
            return _merged(reversed(steps))
        else:
            span = by_id.get(span.parent or 0, root)


def _root(spans: Collection[Span], start: float | None, end: float | None) -> Span:
    """Return the watch as a span."""
    if not spans:
        raise EmptySampleError("no span was recorded; track a method or open a span")
    first = min(span.start for span in spans) if start is None else start
    last = max(span.end for span in spans) if end is None else end
    return Span(0, OUTSIDE, first, last)


def _waited_for(spans: Collection[Span]) -> _Tree:
    """Return the spans by what waited for them; None is the watch."""
    by_id = {span.id: span for span in spans}
    waited: defaultdict[int | None, list[Span]] = defaultdict(list)
    for span in spans:
        around = by_id.get(span.parent or 0)
        while around is not None and around.end < span.end:
            around = by_id.get(around.parent or 0)
        waited[None if around is None else around.id].append(span)
    return waited


def _latest_first(spans: Iterable[Span]) -> list[Span]:
    # Of those that ended together the longest was waited for longest.
    return sorted(spans, key=lambda span: (-span.end, span.start, span.id))


def _step(span: Span, start: float, end: float) -> Step:
    return Step(span.name, end - start, start, span.id or None, span.place)


def _merged(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Return *steps* without those that took no time, neighbours of one span as one."""
    merged: list[Step] = []
    for step in steps:
        if merged and merged[-1].span == step.span:
            seconds = merged[-1].seconds + step.seconds
            merged[-1] = replace(merged[-1], seconds=seconds)
        elif step.seconds > 0:
            merged.append(step)
    return tuple(merged)


def perfect(
    spans: Collection[Span],
    after: Mapping[int, Collection[int]] | None = None,
    start: float | None = None,
    end: float | None = None,
) -> float:
    """Return the seconds that *spans* would take if each began as soon as it could.

    Each span keeps its own time, in which none of its children ran; they all run at once beside
    each other, save those that have to follow others. Never more than it took.

    Args:
        spans: The spans.
        after: The ids of spans that a span has to follow, where both are waited for by the same
            one and did not overlap.
        start: By default when the first of them began.
        end: By default when the last of them ended.

    Raises:
        EmptySampleError: There are no spans.
    """
    root = _root(spans, start, end)
    waited = _waited_for(spans)
    best: dict[int | None, float] = {}
    for span in _innermost_first(waited):
        best[span.id] = _best(span, waited.get(span.id, ()), best, after or {})
    return _best(root, waited.get(None, ()), best, after or {})


def _innermost_first(waited: _Tree) -> Iterator[Span]:
    """Return the spans, each after all that it waited for."""
    order = list(waited.get(None, ()))
    for span in order:  # grows while it is read
        order += waited.get(span.id, ())
    return reversed(order)


def _best(
    span: Span,
    children: Sequence[Span],
    best: Mapping[int | None, float],
    after: Mapping[int, Collection[int]],
) -> float:
    """Return what *span* would take, from what its *children* would."""
    ends: dict[int, float] = {}
    ended = {child.id: child.end for child in children}
    for child in sorted(children, key=lambda each: each.id):
        first = (each for each in after.get(child.id, ()) if ended.get(each, inf) <= child.start)
        ends[child.id] = best[child.id] + max((ends[each] for each in first), default=0.0)
    inside = ((max(each.start, span.start), min(each.end, span.end)) for each in children)
    own = span.end - span.start - union(pair for pair in inside if pair[0] < pair[1])
    return max(own, 0.0) + max(ends.values(), default=0.0)
