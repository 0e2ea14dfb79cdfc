"""From reports of processes to a judgement: what pairs up, what does not, and why not."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.gate.job import SideReport
from pytest_agentperf.gate.runs_of import nodeid_of
from pytest_agentperf.judge.compare import compare_duet
from pytest_agentperf.judge.comparison import Comparison, Outcome, Rule, SuiteComparison
from pytest_agentperf.judge.runs import Run

__all__ = [
    "LEAST_PAIRS",
    "Pair",
    "PairCost",
    "comparable_names",
    "describe_cost",
    "dollars_of",
    "foresee",
    "judge_pairs",
]

LEAST_PAIRS: Final = 2
"""Below this there is no variance to judge by."""

_COST: Final = "cost_per_call"


class Pair(NamedTuple):
    """What both sides measured, one beside the other."""

    base: SideReport
    head: SideReport


class PairCost(NamedTuple):
    """What a pair takes: calls, seconds, and dollars as far as they are known."""

    calls: int
    seconds: float
    dollars: float


def comparable_names(probe: Pair) -> tuple[str, ...]:
    """Return the names of the runs that both sides of *probe* have, alike."""
    base, head = probe.base.runs, probe.head.runs
    return tuple(name for name in head if name in base and _kind(base[name]) == _kind(head[name]))


def _kind(run: Run) -> tuple[str, str]:
    return run.environment, run.body


def foresee(probe: Pair, names: Sequence[str], seconds: float) -> PairCost:
    """Return what a pair of the tests *names* takes.

    Args:
        probe: What both sides measured with single calls.
        names: Of the runs.
        seconds: That the probe took, nearly all of it to start and to prepare.
    """
    calls, dollars = 0, 0.0
    for side in probe:
        for name in names:
            run = side.runs[name]
            planned = side.planned.get(name, run.calls)
            calls += planned
            seconds += planned * run.median
            dollars += planned * _dollars_per_call(run)
    return PairCost(calls, seconds, dollars)


def dollars_of(pair: Pair) -> float:
    """Return the dollars that the calls of *pair* took, as far as they are known."""
    runs = [run for side in pair for run in side.runs.values()]
    return sum(run.calls * _dollars_per_call(run) for run in runs)


def _dollars_per_call(run: Run) -> float:
    return run.counts[_COST].mean if _COST in run.counts else 0.0


def describe_cost(cost: PairCost, pairs: int) -> str:
    """Return what *pairs* pairs take, in words."""
    time = format_quantity(cost.seconds * pairs, Unit.SECONDS, 2)
    money = f", {format_quantity(cost.dollars * pairs, Unit.DOLLARS, 2)}" if cost.dollars else ""
    return f"{cost.calls * pairs} calls, about {time}{money}"


def judge_pairs(
    probe: Pair, pairs: Sequence[Pair], rule: Rule, looks: int, tests: int | None = None
) -> SuiteComparison:
    """Return what the gate says about every test that either side of *probe* has.

    Args:
        probe: Tells which tests there are.
        pairs: The evidence, oldest first.
        rule: What makes a change a regression.
        looks: How often the evidence is looked at.
        tests: Of how many tests these are the suspicious ones; None: they are all.
    """
    excluded = dict(_excluded(probe, pairs))
    names = [name for name in {**probe.head.runs, **probe.base.runs} if name not in excluded]
    sides = zip(*(_paired(name, probe, pairs) for name in names), strict=True)
    base, head = (dict(zip(names, side, strict=True)) for side in sides) if names else ({}, {})
    judged = compare_duet(base, head, rule, looks=looks, tests=tests)
    others = (
        Comparison(name, Outcome.NOT_COMPARABLE, f"not comparable: {why}")
        for name, why in excluded.items()
    )
    return SuiteComparison((*judged.tests, *others), judged.common)


def _excluded(probe: Pair, pairs: Sequence[Pair]) -> Iterator[tuple[str, str]]:
    """Yield the names that were not measured often enough, each with the reason."""
    for side, other, title in ((probe.base, probe.head, "base"), (probe.head, probe.base, "head")):
        for name in other.runs:
            if why := side.unmeasured.get(nodeid_of(name)):
                yield name, f"it {why} on the {title}"
    for name in comparable_names(probe):
        made = sum(name in pair.base.runs and name in pair.head.runs for pair in pairs)
        if made < LEAST_PAIRS:
            why = _reasons(pairs).get(nodeid_of(name), "was measured")
            yield name, f"it {why} and only {made} of {len(pairs)} pairs have it"


def _reasons(pairs: Sequence[Pair]) -> dict[str, str]:
    """Return why tests were not measured, by node id."""
    return {test: why for pair in pairs for side in pair for test, why in side.unmeasured.items()}


def _paired(name: str, probe: Pair, pairs: Sequence[Pair]) -> tuple[Sequence[Run], Sequence[Run]]:
    """Return the runs called *name* of both sides, those of pairs that both have.

    Where they cannot be compared those of the probe stand for them.
    """
    base, head = probe.base.runs.get(name), probe.head.runs.get(name)
    if base is None or head is None or _kind(base) != _kind(head):
        return (base and [base] * LEAST_PAIRS) or (), (head and [head] * LEAST_PAIRS) or ()
    both = [pair for pair in pairs if name in pair.base.runs and name in pair.head.runs]
    return [pair.base.runs[name] for pair in both], [pair.head.runs[name] for pair in both]
