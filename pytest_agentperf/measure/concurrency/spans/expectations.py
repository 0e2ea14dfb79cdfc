"""Expectations about spans: each returns what contradicts it, in words, or nothing.

They are about what was recorded; a name that never was is an error, for no data proves nothing.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.concurrency.spans.recorder import SpanRecorder
from pytest_agentperf.measure.concurrency.spans.schedule import critical_path, perfect
from pytest_agentperf.measure.concurrency.spans.span import Overlap, Span
from pytest_agentperf.measure.concurrency.spans.valueflow import dependencies
from pytest_agentperf.measure.concurrency.spans.wording import at_place, listed, took

__all__ = ["fullest", "max_in_flight", "never_full", "overlap", "parallel", "time_spent"]

_SHOWN_STEPS: Final = 5


def max_in_flight(recorder: SpanRecorder, limit: int, name: str | None = None) -> str:
    """Expect that never more than *limit* spans of one name were in flight.

    Args:
        recorder: What recorded them.
        limit: How many may be, 1 or more.
        name: The name; by default each name for itself.

    Returns:
        What happened instead, with the moment and what overlapped then; empty where it holds.

    Raises:
        UsageError: Nothing of that name was recorded, or *limit* is no such number.
    """
    _check_limit(limit)
    recorder.demand(*([] if name is None else [name]))
    most = recorder.in_flight_max
    worst = name or max(most, key=lambda each: most[each])
    if most[worst] <= limit:
        return ""
    return f"{_fullest(recorder.overlap(worst), recorder.started)}; expected at most {limit}"


def never_full(recorder: SpanRecorder, name: str, limit: int) -> str:
    """Expect that *limit* spans of *name* were in flight at some moment: that it was made use of.

    Args:
        recorder: What recorded them.
        name: The name of the spans that a semaphore or pool lets in.
        limit: How many it lets in at once, 1 or more.

    Returns:
        How full it was at most, and when; empty where it was full.

    Raises:
        UsageError: Nothing of that name was recorded, or *limit* is no such number.
    """
    _check_limit(limit)
    found = recorder.overlap(name)
    if found.count >= limit:
        return ""
    return (
        f"at most {found.count} of {limit} were used: {_fullest(found, recorder.started)}; expected"
        f" {limit} at some moment"
    )


def parallel(recorder: SpanRecorder, minimum: float) -> str:
    """Expect a parallelism of *minimum* or more: own seconds of the spans by their wall time.

    Returns:
        What it was, the critical path, and what a perfect schedule would reach; empty where it
        holds.

    Raises:
        UsageError: Nothing was recorded, or *minimum* is less than 1.
    """
    if isinstance(minimum, bool) or not isinstance(minimum, int | float) or not minimum >= 1:
        raise UsageError(f"minimum {minimum!r}: expected a number of 1 or more, as in min=2.0")
    recorder.demand()
    found = recorder.totals.parallelism
    if found >= minimum:
        return ""
    return f"parallelism was {found:.2f}, expected at least {minimum:g}: {time_spent(recorder)}"


def time_spent(recorder: SpanRecorder) -> str:
    """Return what the time of the spans went to, and what a perfect schedule would reach."""
    totals, spans = recorder.totals, recorder.spans
    best = perfect(spans, dependencies(spans))
    return (
        f"{took(totals.own)} of work took {took(totals.wall)}; the critical path is"
        f" {_path(spans)}; begun as soon as what they need was there, the calls take {took(best)}"
    )


def fullest(recorder: SpanRecorder) -> str:
    """Return when the most spans of one name were in flight, and since when they were."""
    most = recorder.in_flight_max
    return _fullest(recorder.overlap(max(most, key=lambda each: most[each])), recorder.started)


def overlap(recorder: SpanRecorder, *names: str) -> str:
    """Expect that spans of all *names* were in flight together.

    Each call of the rarest name must have been at some moment in flight with one of every other
    name, of those that are nearest to it: of the same parent, else of the nearest one around it.

    Returns:
        Which did not overlap, and by how much they missed each other; empty where it holds.

    Raises:
        UsageError: There are not two different names, or one was never recorded.
    """
    if len(set(names)) != len(names) or len(names) < 2:  # noqa: PLR2004 -- two can overlap
        shown = ", ".join(map(repr, names)) or "none"
        raise UsageError(
            f"names {shown}: expected two or more different names of spans, as in"
            " 'search', 'index'; for calls of one name state a parallelism"
        )
    recorder.demand(*names)
    lanes = _lanes(recorder.spans, names)
    missing = [name for name in names if (name, None) not in lanes]
    if missing:
        raise UsageError(f"no call of {listed(missing)} was kept: {recorder.notes[0]}")
    rarest = min(names, key=lambda name: len(lanes[name, None].spans))
    around = {span.id: span.parent for span in recorder.spans}
    for call in lanes[rarest, None].spans:
        beside = {
            name: next(lanes[name, id_] for id_ in _up(call, around) if (name, id_) in lanes)
            for name in names
            if name != rarest
        }
        if not _meet(call, beside.values()):
            return _missed(call, beside, recorder.started)
    return ""


class _Lane:
    """Spans of one name, in order of beginning."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._starts: list[float] = []
        self._reach: list[float] = []  # the latest end of those up to each

    def add(self, span: Span) -> None:
        self.spans.append(span)
        self._starts.append(span.start)
        self._reach.append(max([span.end, *self._reach[-1:]]))

    def during(self, call: Span) -> Sequence[Span]:
        """Return those that may overlap *call*."""
        first = bisect_right(self._reach, call.start)
        return self.spans[first : bisect_left(self._starts, call.end)]


def _lanes(spans: Sequence[Span], names: Collection[str]) -> Mapping[tuple[str, int | None], _Lane]:
    """Return the spans of each name below each span; None is the watch."""
    around = {span.id: span.parent for span in spans}
    lanes: defaultdict[tuple[str, int | None], _Lane] = defaultdict(_Lane)
    for span in spans:
        for id_ in _up(span, around) if span.name in names else ():
            lanes[span.name, id_].add(span)
    return dict(lanes)


def _up(span: Span, around: Mapping[int, int | None]) -> Iterator[int | None]:
    """Return the ids of what is around *span*, the innermost first and the watch last."""
    parent = span.parent
    while parent is not None:
        yield parent
        parent = around.get(parent)
    yield None


def _meet(call: Span, lanes: Iterable[_Lane]) -> bool:
    """Return whether, at one moment of *call*, a span of each of *lanes* was in flight."""
    others = [lane.during(call) for lane in lanes]
    moments = (max(span.start, call.start) for other in others for span in other)
    return any(
        all(any(span.start <= moment < span.end for span in other) for other in others)
        for moment in moments
    )


def _missed(call: Span, lanes: Mapping[str, _Lane], started: float) -> str:
    """Return by how much *call* and the nearest of each of *lanes* missed each other."""
    nearest = [
        min(lane.spans, key=lambda span: max(span.start - call.end, call.start - span.end))
        for lane in lanes.values()
    ]
    gaps = []
    for other in nearest:
        first, second = sorted((call, other), key=lambda span: span.start)
        if second.start >= first.end:
            late = took(second.start - first.end)
            gaps.append(f"{second.name} began {late} after {first.name} had ended")
    spans = sorted([call, *nearest], key=lambda span: span.start)
    times = [
        f"{span.name} from {took(span.start - started)} to {took(span.end - started)}"
        for span in spans
    ]
    why = listed(gaps) if gaps else "at no moment were all of them in flight"
    return f"{listed([span.name for span in spans])} did not overlap: {why} ({', '.join(times)})"


def _fullest(found: Overlap, started: float) -> str:
    """Return when the most spans of a name were in flight, and since when they were."""
    begun = [took(span.start - started) for span in found.spans]
    if found.count > len(begun):
        begun.append(f"{found.count - len(begun)} more until then")
    return (
        f"{found.count} calls of {found.name} were in flight at {took(found.at - started)}, begun"
        f" at {', '.join(begun)}{at_place(found.spans[0])}"
    )


def _path(spans: Sequence[Span]) -> str:
    """Return the critical path, of which only the longest steps where it has many."""
    steps = critical_path(spans)
    least = sorted((step.seconds for step in steps), reverse=True)[:_SHOWN_STEPS][-1]
    shown = [f"{step.name} {took(step.seconds)}" for step in steps if step.seconds >= least]
    left = len(steps) - len(shown)
    return ", ".join(shown) + (f" and {left} shorter steps" if left else "")


def _check_limit(limit: object) -> None:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise UsageError(f"limit {limit!r}: expected a whole number of 1 or more")
