"""Findings about spans: calls that could have overlapped, calls in a loop, calls made twice.

What the calls shared is read from their values, so all of it is advice, save where the user
declares calls independent.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias

from pytest_agentperf.core.finding import Finding
from pytest_agentperf.measure.concurrency.spans.serialised import LONG_PAUSE, Obstacle, serialised
from pytest_agentperf.measure.concurrency.spans.span import Span
from pytest_agentperf.measure.concurrency.spans.valueflow import by_parent, dependencies
from pytest_agentperf.measure.concurrency.spans.values import UNKNOWN, Atom, values_of
from pytest_agentperf.measure.concurrency.spans.wording import at_place, took, with_times

__all__ = ["Obstacle", "count_calls", "find"]

_Group: TypeAlias = Sequence[Span]
_Dependencies: TypeAlias = Mapping[int, Collection[int]]

SEQUENTIAL: Final = "sequential"
DECLARED: Final = "not_overlapped"
LOOP: Final = "n_plus_one"
REPEATED: Final = "repeated"

_LEAST_LOOP: Final = 3
_MAX_ID: Final = 100  # letters
_NOTHING: Final = values_of((None,), is_result=True)


def find(
    spans: Collection[Span],
    *,
    independent: Collection[str] = (),
    obstacles: Collection[Obstacle] = (),
) -> tuple[Finding, ...]:
    """Return what the author of the code would want to know about *spans*.

    Args:
        spans: The spans of one watch.
        independent: Names of spans that need nothing of each other, by the user's word: two of
            them that follow each other are found whatever they share.
        obstacles: What blocked the event loop, and what tasks waited for.

    Returns:
        Findings with these causes, the most expensive first:

        - ``not_overlapped``: calls declared independent that ran one after the other
        - ``sequential``: calls of one task that ran one after the other and share no data
        - ``n_plus_one``: calls of one line that differ in one argument, one after the other
        - ``repeated``: calls with equal arguments that returned the same
        - ``serialised``: calls of several tasks of which only one worked at a time
    """
    after = dependencies(spans)
    declared = list(_declared(spans, set(independent)))
    loops = list(_loops(_without(spans, declared)))
    repeated = list(_repeated(spans))
    again = [group[1:] for group in repeated]  # what a cache would save need not overlap
    sequences = list(_sequences(_without(spans, declared, loops, again), after))
    rest = _without(spans, declared, loops, again, sequences)
    found = [
        *(_say_sequence(group, DECLARED, "were declared independent") for group in declared),
        *(_say_sequence(group, SEQUENTIAL, "share no data") for group in sequences),
        *map(_say_loop, loops),
        *map(_say_repeated, repeated),
        *serialised(rest, after, obstacles),
    ]
    return tuple(sorted(found, key=lambda finding: -(finding.seconds or 0.0)))


def count_calls(findings: Iterable[Finding]) -> Mapping[str, int]:
    """Return the metrics that *findings* of `find` amount to.

    Returns:
        `sequential_calls`, calls that could have overlapped and did not; `repeated_calls`, those
        that an earlier one had answered.
    """
    counts = {"sequential_calls": 0, "repeated_calls": 0}
    for finding in findings:
        if finding.cause in {SEQUENTIAL, DECLARED, LOOP}:
            counts["sequential_calls"] += finding.count
        elif finding.cause == REPEATED:
            counts["repeated_calls"] += finding.count
    return counts


def _without(spans: Iterable[Span], *groups: Iterable[_Group]) -> list[Span]:
    """Return *spans* that are in none of *groups*."""
    taken = {span.id for found in groups for group in found for span in group}
    return [span for span in spans if span.id not in taken]


def _runs(spans: Iterable[Span], joins: Callable[[_Group, Span], bool]) -> Iterator[_Group]:
    """Return two or more spans each of which began after the one before had ended.

    Args:
        spans: In order of beginning.
        joins: Whether a span that does so belongs to the run.
    """
    run: list[Span] = []
    for span in spans:
        if run and (span.start < run[-1].end or not joins(run, span)):
            if len(run) > 1:
                yield run
            run = []
        run.append(span)
    if len(run) > 1:
        yield run


def _is_soon(run: _Group, span: Span) -> bool:
    """Return whether nothing unrecorded is likely to lie between *run* and *span*."""
    pause = span.start - run[-1].end
    return pause <= max(LONG_PAUSE, min(run[-1].seconds, span.seconds))


def _declared(spans: Iterable[Span], names: Collection[str]) -> Iterator[_Group]:
    """Return calls of different *names* that ran one after the other."""
    for siblings in by_parent(spans).values() if names else ():
        for part in _unbroken(siblings, names):
            runs = _runs(part, _is_soon)
            yield from (run for run in runs if len({each.name for each in run}) > 1)


def _unbroken(siblings: Iterable[Span], names: Collection[str]) -> Iterator[_Group]:
    """Return the calls of *names*, apart where their task made another call in between."""
    part: list[Span] = []
    for span in siblings:
        if span.name in names:
            part.append(span)
        elif part and part[-1].strand == span.strand:
            yield part
            part = []
    yield part


def _sequences(spans: Iterable[Span], after: _Dependencies) -> Iterator[_Group]:
    """Return calls that one task made one after the other, though none needed another."""
    strands: defaultdict[tuple[int | None, int], list[Span]] = defaultdict(list)
    for span in spans:
        if span.in_task and span.is_awaited:
            strands[span.parent, span.strand].append(span)
    for strand in strands.values():
        yield from _runs(strand, partial(_needs_none, {span.id for span in strand}, after))


def _needs_none(ids: Collection[int], after: _Dependencies, run: _Group, span: Span) -> bool:
    """Return whether *span*, soon after *run*, needs none of it; *ids* are all of the strand."""
    return _is_soon(run, span) and not _reaches(span.id, ids, run[0].id, after)


def _reaches(start: int, ids: Collection[int], least: int, after: _Dependencies) -> bool:
    """Return whether *start* may depend, also through others, on one of *ids* from *least* on."""
    pending, seen = [start], {start}
    for each in pending:  # grows while it is read
        before = {one for one in after.get(each, ()) if one >= least} - seen
        if not before.isdisjoint(ids):
            return True
        seen |= before
        pending += before
    return False


def _loops(spans: Collection[Span]) -> Iterator[_Group]:
    """Return calls of one line and task, one after the other, that differ in one argument."""
    lines: defaultdict[tuple[object, ...], list[Span]] = defaultdict(list)
    for span in spans:
        given = span.arguments
        key = (span.parent, span.strand, span.name, span.site, given.shape, given.objects)
        if given is not UNKNOWN and span.site is not None:
            lines[key].append(span)
    loops = [
        run
        for calls in lines.values()
        for run in _runs(calls, lambda _run, _span: True)
        if len(run) >= _LEAST_LOOP and _differ_in_one(run)
    ]
    # What nobody saw does not make a loop of calls depend on each other: only what was seen does.
    after = dependencies(spans, assume=False) if loops else {}
    for run in loops:
        ids = {span.id for span in run}
        if not any(_reaches(span.id, ids, run[0].id, after) for span in run):
            yield run


def _differ_in_one(run: _Group) -> bool:
    """Return whether each of *run* has another value in one argument, or is of another object."""
    columns = [set(values) for values in zip(*(span.arguments.atoms for span in run), strict=False)]
    columns += [{span.receiver for span in run}]
    varying = [values for values in columns if len(values) > 1]
    return len(varying) == 1 and len(varying[0]) == len(run) and all(map(_is_id, varying[0]))


def _is_id(value: Atom) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and len(value) <= _MAX_ID)


def _repeated(spans: Iterable[Span]) -> Iterator[_Group]:
    """Return calls that were made with equal arguments and returned the same.

    One that failed is tried again for a reason, and one that returns nothing is made for its
    effect.
    """
    same: defaultdict[tuple[object, ...], list[Span]] = defaultdict(list)
    for span in spans:
        given, result = span.arguments, span.result
        key = (span.name, span.receiver, given.shape, given.atoms, result.shape, result.atoms)
        if given.is_comparable and result != _NOTHING and not (span.error or span.is_open):
            same[key].append(span)
    return (group for group in same.values() if len(group) > 1)


def _say_sequence(group: _Group, cause: str, reason: str) -> Finding:
    total, longest = _seconds(group), max(span.seconds for span in group)
    sentence = (
        f"{with_times(group)} ran one after the other and {reason}: {took(total)} that"
        f" asyncio.gather or a TaskGroup would make {took(longest)}{at_place(group[0])}"
    )
    return _finding(cause, sentence, group, len(group), total - longest)


def _say_loop(group: _Group) -> Finding:
    total, longest = _seconds(group), max(span.seconds for span in group)
    sentence = (
        f"{group[0].name} was called {len(group)} times, one after the other, with one value that"
        f" differs: {took(total)} that one call for all, or asyncio.gather, would make about"
        f" {took(longest)}{at_place(group[0])}"
    )
    return _finding(LOOP, sentence, group, len(group), total - longest)


def _say_repeated(group: _Group) -> Finding:
    saved = _seconds(group[1:])
    sentence = (
        f"{group[0].name} was called {len(group)} times with equal arguments and returned the same:"
        f" a cache would save {took(saved)}{at_place(group[1])}"
    )
    return _finding(REPEATED, sentence, group[1:], len(group) - 1, saved)


def _finding(cause: str, sentence: str, group: _Group, count: int, seconds: float) -> Finding:
    return Finding(cause, sentence, group[0].place, group[0].name, count, seconds)


def _seconds(group: _Group) -> float:
    return sum(span.seconds for span in group)
