"""Counts per call: compared exactly where they are constant, run by run where they vary."""

from collections.abc import Iterator, Sequence

from pytest_agentperf.core.metrics import QUANTITIES, Direction
from pytest_agentperf.judge.comparison import CountChange, Rule
from pytest_agentperf.judge.evidence import Evidence
from pytest_agentperf.judge.holm import adjust_bonferroni
from pytest_agentperf.judge.runs import Count
from pytest_agentperf.judge.shift import mean_of

__all__ = ["compare_counts"]


def compare_counts(evidence: Evidence, rule: Rule, tests: int, looks: int) -> Iterator[CountChange]:
    """Yield the change of every count that all runs of *evidence* have.

    Args:
        evidence: The runs of one test.
        rule: Its tolerance holds for counts too.
        tests: How many tests are judged beside this one, itself included.
        looks: How often the evidence of this comparison is looked at.
    """
    for name in evidence.head[0].counts:
        base = [run.counts[name] for run in evidence.base if name in run.counts]
        head = [run.counts[name] for run in evidence.head if name in run.counts]
        if len(base) == len(evidence.base) and len(head) == len(evidence.head):
            yield _compare(name, base, head, evidence, rule, tests, looks)


def _compare(
    name: str,
    base: Sequence[Count],
    head: Sequence[Count],
    evidence: Evidence,
    rule: Rule,
    tests: int,
    looks: int,
) -> CountChange:
    before, after = [count.mean for count in base], [count.mean for count in head]
    low, high = mean_of(before), mean_of(after)
    known = QUANTITIES.get(name)
    worse = -1 if known and known.direction is Direction.LOWER else 1
    is_beyond = worse * (high - low) > rule.tolerance * low
    if _constant(base) and _constant(head):
        return CountChange(name, low, high, None, is_beyond)
    # Differences, not logarithms: a count may be zero.
    shift = evidence.compare(before, after)
    p = shift.p_above if worse > 0 else shift.p_below
    is_sure = rule.is_significant(p, adjust_bonferroni(p, tests), looks)
    return CountChange(name, low, high, p, is_beyond and is_sure)


def _constant(counts: Sequence[Count]) -> bool:
    """Return whether all calls of all runs counted the same."""
    return min(count.lowest for count in counts) == max(count.highest for count in counts)
