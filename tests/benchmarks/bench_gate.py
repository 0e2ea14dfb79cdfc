"""How often the regression gate is wrong: the shipped judge on simulated runs.

A trial is a test that was judged: one of a suite of 50 that share their variance although they are
not equally noisy, or one that stands alone. `AGENTPERF_TRIALS` sets how many unchanged ones there
are in each row; the default of 6,000 takes about five minutes on a free core, and 20,000 a quarter
of an hour. The seed comes from the commit, so that a number can be repeated and another commit
rolls other dice.
"""

import functools
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pytest
from tabulate import tabulate

from pytest_agentperf.judge.binomial import highest_share
from pytest_agentperf.judge.compare import compare_duet, compare_history
from pytest_agentperf.judge.comparison import STANDARD, Comparison, Outcome, SuiteComparison
from pytest_agentperf.judge.duet import planned_pairs
from tests.benchmarks.simulated_machine import REGIMES, TESTS, Change, Changes, Machine, Runs, seed

TRIALS = int(os.environ.get("AGENTPERF_TRIALS", "6000"))
Compare: TypeAlias = Callable[[Runs, Runs], SuiteComparison]

REGRESSED = 5  # tests of a suite that change where the power is measured
SLOWER, TAIL = Change(factor=1.1), Change(doubled=0.1)
QUIET, CI, LIVE = ("quiet", "vm", "ci", "hetero"), ("ci",), ("live",)


@dataclass(frozen=True, slots=True)
class Design:
    """How evidence is gathered.

    Attributes:
        name: In the table.
        calls: Of one run of a duet.
        looks: How often a duet may be looked at; with one look it makes its first pairs only.
        history: Earlier runs that say which tests are suspicious; 0: all have a duet, together.
        has_reference: Whether runs of a history have a reference workload beside them.
        is_confirmed: Whether each suspicious test has a duet of its own, which decides.
        false_alarms: The share of unchanged tests that may be red.
        power: The share of tests slower by 10 % that must be red, by regime.
    """

    name: str
    calls: int
    looks: int
    false_alarms: float | None
    power: dict[str, float]
    history: int = 0
    has_reference: bool = False
    is_confirmed: bool = True


DESIGNS = (
    Design("duet × 20, first pairs only", 20, 1, None, {}),
    Design("duet × 20 (default)", 20, 4, 0.005, dict.fromkeys(QUIET, 0.98)),
    Design("duet × 60", 60, 4, 0.003, dict.fromkeys(QUIET, 0.99)),
    Design("history of 10, then duet × 20", 20, 4, 0.002, {"ci": 0.90}, 10),
    Design("the same beside a reference workload", 20, 4, 0.002, {"ci": 0.90}, 10, True),
    Design("history of 10 beside it, alone", 20, 4, None, {}, 10, True, False),
)


@dataclass(slots=True)
class Tally:
    """What was seen in one cell."""

    tests: int = 0
    red: int = 0
    suites: int = 0
    red_suites: int = 0
    undecided: int = 0
    pairs: int = 0

    def add(self, judged: Sequence[Comparison], pairs: int) -> None:
        red = sum(test.outcome is Outcome.REGRESSED for test in judged)
        self.tests += len(judged)
        self.red += red
        self.suites += 1
        self.red_suites += red > 0
        self.undecided += sum(test.outcome is Outcome.UNDECIDED for test in judged)
        self.pairs += pairs

    @property
    def share(self) -> float:
        return self.red / self.tests

    @property
    def upper(self) -> float:
        return highest_share(self.red, self.tests)


def judge_each(compare: Compare, base: Runs, head: Runs, *, is_suite: bool) -> SuiteComparison:
    """Return the verdicts on one suite, or on each test as a suite of its own."""
    if is_suite:
        return compare(base, head)
    alone = [compare({name: base[name]}, {name: head[name]}) for name in head]
    return SuiteComparison(tuple(suite.tests[0] for suite in alone))


def run_duet(
    machine: Machine,
    design: Design,
    changes: Changes,
    tests: Sequence[int],
    suspected_of: int | None = None,
) -> tuple[SuiteComparison, int]:
    """Return the verdicts on *tests* and how many pairs they took altogether.

    Args:
        machine: Where they run.
        design: How.
        changes: Of the head.
        tests: Their numbers.
        suspected_of: Of how many tests these are the suspicious ones, each with its own duet.
    """
    is_suite = machine.is_suite and suspected_of is None
    base: Runs = {str(test): [] for test in tests}
    head: Runs = {str(test): [] for test in tests}
    verdicts, waiting, made, spent = None, list(tests), 0, 0
    plan = planned_pairs(len(tests) if is_suite else 1)[: design.looks]
    compare = functools.partial(compare_duet, looks=len(plan), tests=suspected_of)
    for pairs in plan:
        more_base, more_head = machine.pairs(pairs - made, design.calls, changes, waiting)
        spent, made = spent + (pairs - made) * len(waiting), pairs
        for name in more_base:
            base[name] += more_base[name]
            head[name] += more_head[name]
        look = judge_each(compare, base, head, is_suite=is_suite)
        verdicts = verdicts.followed_by(look) if verdicts else look
        waiting = [int(name) for name in verdicts.open_tests]
        if not waiting:
            break
    assert verdicts
    return verdicts, spent


def run_once(machine: Machine, design: Design, changes: Changes) -> tuple[SuiteComparison, int]:
    """Return the verdicts of one comparison and how many pairs they took altogether."""
    if not design.history:
        return run_duet(machine, design, changes, range(TESTS))
    runs = machine.history(design.history, 100, changes, has_reference=design.has_reference)
    first = judge_each(compare_history, *runs, is_suite=machine.is_suite)
    waiting = [int(test.name) for test in first.tests if test.is_suspicious(STANDARD)]
    if not (waiting and design.is_confirmed):
        return first, 0
    of = TESTS if machine.is_suite else 1
    second, spent = run_duet(machine, design, changes, waiting, of)
    confirmed = {test.name: test for test in (*first.tests, *second.tests)}
    return SuiteComparison(tuple(confirmed.values())), spent


def tally(regime: str, design: Design, change: Change | None, *, is_suite: bool) -> Tally:
    """Return what was seen of tests of which all are the same, or all counted ones changed."""
    kind = 0 if change is None else 1 + (change is TAIL)
    numbers = [seed(), list(REGIMES).index(regime), DESIGNS.index(design), kind, is_suite]
    machine = Machine(REGIMES[regime], numbers, is_suite=is_suite)
    changed = REGRESSED if is_suite else TESTS
    trials = TRIALS if change is None else TRIALS // 25
    found = Tally()
    for number in range(math.ceil(trials / (TESTS if change is None else changed))):
        machine.next_suite()
        first = number * changed % TESTS
        counted = range(first, first + changed) if change else range(TESTS)
        verdicts, pairs = run_once(
            machine, design, dict.fromkeys(counted, change) if change else {}
        )
        found.add([test for test in verdicts.tests if int(test.name) in counted], pairs)
    return found


def row(design: Design, regime: str, *, is_suite: bool) -> tuple[list[str], bool]:
    """Return a row of the table and whether it reaches what it must."""
    null = tally(regime, design, None, is_suite=is_suite)
    slower = tally(regime, design, SLOWER, is_suite=is_suite)
    tail = tally(regime, design, TAIL, is_suite=is_suite)
    alarms = None if regime == "live" else design.false_alarms
    power = design.power.get(regime)
    is_reached = (alarms is None or null.upper <= alarms) and (
        power is None or slower.share >= power
    )
    cells = [
        design.name,
        f"{TESTS}" if is_suite else "1",
        regime,
        f"{null.share:.3%} (≤ {null.upper:.2%})",
        "shown" if alarms is None else f"≤ {alarms:.1%}",
        f"{null.red_suites / null.suites:.1%}" if is_suite else "",
        f"{slower.share:.1%}",
        "shown" if power is None else f"≥ {power:.0%}",
        f"{tail.share:.0%}",
        f"{null.undecided / null.tests:.1%}",
        f"{null.pairs / null.tests:.1f}",
        "" if is_reached else "MISSED",
    ]
    return cells, is_reached


HEADERS = (
    "design", "tests", "regime", "red, unchanged", "must be", "suites red", "red at +10 %",
    "must be", "red, tail", "undecided", "pairs", "",
)  # fmt: skip


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
def bench_gate_is_right(design: Design, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.perf_counter()
    rows = [
        row(design, regime, is_suite=is_suite)
        for is_suite in (True, False)
        for regime in (*QUIET, *LIVE)
    ]
    with capsys.disabled():
        print(f"\n{TRIALS} unchanged trials a row, seed {seed():012x},"
              f" {time.perf_counter() - began:.0f} s")  # fmt: skip
        print(tabulate([cells for cells, _ in rows], HEADERS, disable_numparse=True))
    assert all(is_reached for _, is_reached in rows)


def bench_peer_with_one_number(capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(seed())
    base, head = (random.lognormal(0, 0.3, (TRIALS, 50)).mean(axis=1) for _ in range(2))
    with capsys.disabled():
        print(f"\nmean:5%, 50 calls a side, noise 0.3: unchanged {np.mean(head > 1.05 * base):.0%}"
              f" red, +10 % {np.mean(1.1 * head > 1.05 * base):.0%} red")  # fmt: skip
