"""Fan-outs that were none: tasks of which one worked at a time, and what held up the others."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from pytest_agentperf.core.finding import Finding, Place
from pytest_agentperf.measure.concurrency.spans.schedule import union
from pytest_agentperf.measure.concurrency.spans.span import Span
from pytest_agentperf.measure.concurrency.spans.valueflow import by_parent
from pytest_agentperf.measure.concurrency.spans.wording import at_place, listed, named, took

__all__ = ["LONG_PAUSE", "SERIALISED", "Obstacle", "serialised"]

SERIALISED: Final = "serialised"
LONG_PAUSE: Final = 0.05
"""Seconds between two calls in which something unrecorded may have led from one to the other."""
# Work of several tasks that overlaps by less than this much ran one after the other.
_ONE_AT_A_TIME: Final = 1.2
# What explains less of the lost time than this is not what serialised the calls.
_EXPLAINS: Final = 0.5
# Without an explanation calls must follow each other without a pause, in parts of the shorter one.
_SHORT_PAUSE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Time in which tasks could not go on, as other recorders have seen it.

    Attributes:
        kind: What it was: ``"blocking call"``, ``"lock"``, ``"semaphore"``, ``"connection pool"``.
        start: When it began, by the clock of the spans.
        seconds: How long it lasted.
        task: The name of the task that waited; of the one that ran where others had to wait.
        name: What the lock or pool is called; empty for a blocking call.
        place: The line that blocked, or that held the lock; None where unknown.
        stops_others: Whether all other tasks waited for *task*, as for a blocking call.
    """

    kind: str
    start: float
    seconds: float
    task: str = ""
    name: str = ""
    place: Place | None = None
    stops_others: bool = False

    def __str__(self) -> str:
        verb = "" if self.stops_others else "held "
        where = f" {verb}at {self.place}" if self.place else ""
        return f"{self.kind} {self.name!r}{where}" if self.name else f"{self.kind}{where}"

    @property
    def end(self) -> float:
        """When it was over."""
        return self.start + self.seconds

    def holds_up(self, span: Span) -> bool:
        """Whether *span* had to wait for it."""
        if self.stops_others:
            return bool(self.task) and self.task != span.task
        return self.task == span.task


def serialised(
    spans: Collection[Span],
    after: Mapping[int, Collection[int]],
    obstacles: Collection[Obstacle] = (),
) -> Iterator[Finding]:
    """Find calls of several tasks that could have worked at once and did not.

    Args:
        spans: The spans.
        after: For each span those that it may depend on.
        obstacles: What held tasks up.
    """
    for siblings in by_parent(spans).values():
        for group in _fan_outs([span for span in siblings if span.in_task], after):
            start, end = group[0].start, max(span.end for span in group)
            near = [each for each in obstacles if each.start < end and each.end > start]
            work = [list(_work(span, near)) for span in group]
            busy = [union(parts) for parts in work]
            if sum(busy) > _ONE_AT_A_TIME * union(part for parts in work for part in parts):
                continue
            lost = end - start - max(busy)
            causes = list(_causes(group, near, lost))
            if causes or _is_close(group):
                yield _finding(group, lost, causes)


def _fan_outs(
    siblings: Sequence[Span], after: Mapping[int, Collection[int]]
) -> Iterator[list[Span]]:
    """Return calls that begin before or soon after one another, each in a task of its own."""
    group: list[Span] = []
    strands: set[int] = set()
    ids: set[int] = set()
    end = 0.0
    for span in siblings:
        joins = span.strand not in strands and ids.isdisjoint(after[span.id])
        if group and not (joins and span.start - end <= LONG_PAUSE):
            if len(group) > 1:
                yield group
            group, strands, ids, end = [], set(), set(), 0.0
        group.append(span)
        strands.add(span.strand)
        ids.add(span.id)
        end = max(end, span.end)
    if len(group) > 1:
        yield group


def _work(span: Span, obstacles: Collection[Obstacle]) -> Iterator[tuple[float, float]]:
    """Return the parts of *span* in which nothing held it up."""
    start = span.start
    held = [each for each in obstacles if each.holds_up(span)]
    for each in sorted(held, key=lambda each: each.start):
        if each.start > start:
            yield start, min(each.start, span.end)
        start = max(start, each.end)
        if start >= span.end:
            return
    yield start, span.end


def _causes(group: Sequence[Span], obstacles: Collection[Obstacle], lost: float) -> Iterator[str]:
    """Return what held *group* up, the worst first; nothing where it explains too little."""
    start, end = group[0].start, max(span.end for span in group)
    tasks = {span.task for span in group}
    held: defaultdict[Obstacle, list[tuple[float, float]]] = defaultdict(list)
    for each in obstacles:
        if each.task in tasks or (each.stops_others and not each.task):
            cause = replace(each, start=0.0, seconds=0.0, task="")
            held[cause].append((max(each.start, start), min(each.end, end)))
    if union(part for parts in held.values() for part in parts) >= _EXPLAINS * lost:
        for cause, parts in sorted(held.items(), key=lambda item: -union(item[1])):
            yield f"{cause} ({took(union(parts))})"


def _is_close(group: Sequence[Span]) -> bool:
    """Return whether each began when the one before had ended, as if it had waited for that."""
    return all(
        0 <= second.start - first.end <= _SHORT_PAUSE * min(first.seconds, second.seconds)
        for first, second in pairwise(group)
    )


def _finding(group: Sequence[Span], lost: float, causes: Sequence[str]) -> Finding:
    wall = max(span.end for span in group) - group[0].start
    why = (
        f"held up by {listed(causes)}"
        if causes
        else "they are awaited one by one, or something that was not recorded lets in one at a time"
    )
    sentence = (
        f"{len(group)} calls of {named(group)} in tasks of their own ran one at a time:"
        f" {took(wall)} instead of {took(wall - lost)}; {why}{at_place(group[0])}"
    )
    return Finding(SERIALISED, sentence, group[0].place, group[0].name, len(group), lost)
