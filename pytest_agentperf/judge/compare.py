"""The regression gate: runs of a suite on both sides in, a verdict for each test out.

A test regressed when chance does not explain its change (alone, and among all tests of the
suite), and the change exceeds both what is allowed and what can be heard over the noise of a
clock. The unit of evidence is the run, never the call.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Final, NamedTuple

from pytest_agentperf.judge.comparison import (
    STANDARD,
    CommonShift,
    Comparison,
    LatencyChange,
    Outcome,
    Rule,
    SuiteComparison,
    TailChange,
)
from pytest_agentperf.judge.counts import compare_counts
from pytest_agentperf.judge.evidence import Evidence, Priors, fit_priors, of_history, of_pairs
from pytest_agentperf.judge.history import LEAST_RUNS
from pytest_agentperf.judge.holm import adjust_bonferroni, adjust_holm
from pytest_agentperf.judge.runs import Run, Suite
from pytest_agentperf.judge.sentences import describe_change, describe_common, describe_obstacle
from pytest_agentperf.judge.shift import Shift

__all__ = ["compare_duet", "compare_history", "find_common", "history_priors"]

_LEAST_COMMON: Final = 5
_MOST_TESTS: Final = 0.9
_RED_WAYS: Final = 2
_LEAST_PAIRS: Final = 2


class Chances(NamedTuple):
    """How likely what was seen is without a change."""

    slower: float
    tail: float
    faster: float


def compare_duet(
    base: Suite,
    head: Suite,
    rule: Rule = STANDARD,
    *,
    looks: int = 1,
    tests: int | None = None,
    priors: Priors | None = None,
) -> SuiteComparison:
    """Compare two sides that ran in alternation on one machine.

    Args:
        base: Runs of the base; those of one test pair up with those of *head* by position.
        head: Runs of the head, two or more; another test may have another number.
        rule: What makes a change a regression.
        looks: How often this comparison may be made, with more pairs for what is still flagged;
            the chance of a false alarm is shared among them (Bonferroni). `followed_by` joins
            a look to the one before.
        tests: Of how many tests these are the suspicious ones, among all of which the chance of a
            false alarm is shared (Bonferroni); by default all of them are here (Holm).
        priors: What is known of the variances beforehand; by default what the tests share. With
            them a single pair can be judged.

    Raises:
        ValueError: A test has fewer runs on one side than on the other, or one pair only.
    """
    least = 1 if priors else _LEAST_PAIRS
    obstacles = {
        name: _duet_obstacle(name, base.get(name, ()), head.get(name, ()), least)
        for name in {**head, **base}
    }
    paired = {name: of_pairs(base[name], head[name]) for name in obstacles if not obstacles[name]}
    priors = priors or fit_priors(paired.values())
    found = {name: one.shrunk(priors) for name, one in paired.items()}
    alone = [_chances(one) for one in found.values()]
    chances = [_bonferroni(one, tests) for one in alone] if tests else _holm(alone)
    judged = {
        name: _judge(name, one, adjusted, rule, tests or len(found), looks)
        for (name, one), adjusted in zip(found.items(), chances, strict=True)
    }
    return _gather(obstacles, judged, found.values(), rule)


def compare_history(
    history: Suite,
    head: Suite,
    rule: Rule = STANDARD,
    *,
    tests: int | None = None,
    priors: Priors | None = None,
) -> SuiteComparison:
    """Compare the head with earlier runs.

    One test can be judged alone, where *tests* and *priors* say what the rest of its suite is.

    Args:
        history: Earlier runs, oldest first; those from elsewhere, or of another body, are left out.
        head: The runs to judge, usually one for each test.
        rule: What makes a change a regression.
        tests: How many tests are judged altogether; those of *head* by default.
        priors: What `history_priors` says; by default that of the tests of *head*.
    """
    known = {name: _alike(history.get(name, ()), runs[-1]) for name, runs in head.items() if runs}
    obstacles = {
        name: _history_obstacle(history.get(name, ()), head.get(name, ()), known.get(name, ()))
        for name in {**head, **history}
    }
    raw = {name: of_history(known[name], head[name]) for name in obstacles if not obstacles[name]}
    priors = priors or fit_priors(raw.values())
    found = {name: one.shrunk(priors) for name, one in raw.items()}
    count = tests or len(found)
    judged = {
        name: _judge(name, one, _bonferroni(_chances(one), count), rule, count, 1)
        for name, one in found.items()
    }
    return _gather(obstacles, judged, found.values(), rule, known)


def history_priors(history: Suite) -> Priors:
    """Return what the variances of all tests of *history* have in common."""
    alike = [_alike(runs, runs[-1]) for runs in history.values() if runs]
    return fit_priors(of_history(runs, runs[-1:]) for runs in alike if len(runs) >= LEAST_RUNS)


def _alike(history: Sequence[Run], run: Run) -> list[Run]:
    """Return the runs of *history* that can be compared with *run*."""
    key = run.environment, run.body
    return [known for known in history if (known.environment, known.body) == key]


def _duet_obstacle(
    name: str, base: Sequence[Run], head: Sequence[Run], least: int
) -> Outcome | None:
    """Return why the two sides cannot be compared, or None where they can."""
    if not base or not head:
        return Outcome.GONE if base else Outcome.NEW
    if len(base) != len(head) or len(base) < least:
        raise ValueError(
            f"duet of {name}: got {len(base)} runs of the base and {len(head)} of the head;"
            f" expected pairs, {least} at least; leave out what has no partner"
        )
    if len({run.environment for run in (*base, *head)}) > 1:
        return Outcome.OTHER_ENVIRONMENT
    if len({run.body for run in (*base, *head)}) > 1:
        return Outcome.NOT_COMPARABLE
    return None


def _history_obstacle(
    history: Sequence[Run], head: Sequence[Run], alike: Sequence[Run]
) -> Outcome | None:
    """Return why the head cannot be compared with *history*, or None where it can."""
    if not head:
        return Outcome.GONE
    if history and not any(run.environment == head[-1].environment for run in history):
        return Outcome.OTHER_ENVIRONMENT
    if history and not alike:
        return Outcome.NOT_COMPARABLE
    return Outcome.NEW if len(alike) < LEAST_RUNS else None


def _chances(evidence: Evidence) -> Chances:
    tail = evidence.tail.shift.p_above if evidence.tail else 1.0
    return Chances(evidence.latency.p_above, tail, evidence.latency.p_below)


def _holm(chances: Sequence[Chances]) -> list[Chances]:
    """Return *chances* as they count among all: medians and tails can both turn a test red."""
    slower = adjust_holm([one.slower for one in chances] + [one.tail for one in chances])
    faster = adjust_holm([one.faster for one in chances])
    return list(map(Chances, slower, slower[len(chances) :], faster))


def _bonferroni(chances: Chances, tests: int) -> Chances:
    """Return *chances* as they count among those of *tests* tests that are judged elsewhere."""
    return Chances(
        adjust_bonferroni(chances.slower, _RED_WAYS * tests),
        adjust_bonferroni(chances.tail, _RED_WAYS * tests),
        adjust_bonferroni(chances.faster, tests),
    )


def _judge(
    name: str,
    evidence: Evidence,
    adjusted: Chances,
    rule: Rule,
    tests: int,
    looks: int,
) -> Comparison:
    """Return the verdict on one test; *adjusted* are its p-values for slower and for faster."""
    latency = _latency_change(evidence, adjusted, rule, tests, looks)
    tail = _tail_change(evidence, adjusted.tail, rule, looks)
    counts = tuple(compare_counts(evidence, rule, tests, looks))
    is_broken = (tail and tail.is_regressed) or any(count.is_regressed for count in counts)
    outcome = Outcome.REGRESSED if is_broken else _outcome(latency, rule, looks)
    return Comparison(
        name,
        outcome,
        describe_change(outcome, latency, tail, counts, is_duet=evidence.is_duet),
        latency,
        tail,
        counts,
        outcome is not Outcome.REGRESSED
        and (
            outcome is Outcome.UNDECIDED
            or _is_flagged(evidence.latency, rule)
            or bool(tail and tail.is_flagged)
        ),
    )


def _latency_change(
    evidence: Evidence, adjusted: Chances, rule: Rule, tests: int, looks: int
) -> LatencyChange:
    shift, is_slower = evidence.latency, evidence.latency.mean >= 0
    level = min(rule.test_level, rule.suite_level / (_RED_WAYS * tests)) / looks
    return LatencyChange(
        base=evidence.base_median,
        head=evidence.head_median,
        shift=shift,
        p=shift.p_above if is_slower else shift.p_below,
        adjusted=adjusted.slower if is_slower else adjusted.faster,
        detectable=math.expm1(shift.detectable(level, rule.least_shift)),
        runs=len(evidence.base),
        calls=min(run.calls for run in (*evidence.base, *evidence.head)),
        is_beside_reference=evidence.is_beside_reference,
    )


def _outcome(change: LatencyChange, rule: Rule, looks: int) -> Outcome:
    """Return what the change of the median comes to."""
    is_slower = change.shift.mean > 0
    if not rule.allows(change.ratio, change.base):
        if rule.is_significant(change.p, change.adjusted, looks):
            return Outcome.REGRESSED if is_slower else Outcome.FASTER
        if is_slower:
            return Outcome.UNDECIDED
    # What could show no change to speak of, and does not exclude one either, decides nothing.
    is_coarse = change.detectable > rule.coarsest
    is_coarse = is_coarse and not rule.allows(1 + change.detectable, change.base)
    is_excluded = change.interval[1] <= 1 + rule.tolerance
    return Outcome.UNDECIDED if is_coarse and not is_excluded else Outcome.UNCHANGED


def _tail_change(evidence: Evidence, adjusted: float, rule: Rule, looks: int) -> TailChange | None:
    tail = evidence.tail
    if tail is None:
        return None
    p, is_large = tail.shift.p_above, tail.head > rule.tail_factor * tail.base
    is_sure = p < rule.tail_level / looks and adjusted < rule.suite_level / looks
    return TailChange(
        tail.base,
        tail.head,
        p,
        is_regressed=is_large and is_sure,
        is_flagged=is_large and p < rule.flag_level,
    )


def _is_flagged(shift: Shift, rule: Rule) -> bool:
    return shift.mean > math.log1p(rule.flag_change) and shift.p_above < rule.flag_level


def _gather(
    obstacles: Mapping[str, Outcome | None],
    judged: Mapping[str, Comparison],
    found: Iterable[Evidence],
    rule: Rule,
    known: Mapping[str, Sequence[Run]] | None = None,
) -> SuiteComparison:
    """Return all verdicts in the order of *obstacles*; *known* is what a history knows."""
    tests = []
    for name, obstacle in obstacles.items():
        if obstacle:
            count = None if known is None else len(known.get(name, ()))
            tests.append(Comparison(name, obstacle, describe_obstacle(obstacle, count)))
        else:
            tests.append(judged[name])
    return SuiteComparison(tuple(tests), find_common([one.latency.mean for one in found], rule))


def find_common(shifts: Sequence[float], rule: Rule) -> CommonShift | None:
    """Return what nine of ten tests share by half at least, where it is no trifle.

    Args:
        shifts: Of each test, in logarithms.
        rule: Its flags say what is one.
    """
    if len(shifts) < _LEAST_COMMON:
        return None
    middle = median(shifts)
    if abs(middle) < math.log1p(rule.flag_change):
        return None
    moved = sum(0.5 <= shift / middle <= 2 for shift in shifts)  # noqa: PLR2004
    if moved < _MOST_TESTS * len(shifts):
        return None
    return describe_common(math.exp(middle), moved, len(shifts))
