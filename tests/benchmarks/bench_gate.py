"""How often the regression gate is wrong: the shipped judge on simulated runs.

A trial is a test that was judged: one of a suite of 50 that share their variance although they are
not equally noisy, or one that stands alone. `AGENTPERF_TRIALS` sets how many unchanged ones there
are in each row; the default of 6,000 takes about five minutes on a free core, and 20,000 a quarter
of an hour. The seed comes from the commit, so that a number can be repeated and another commit
rolls other dice.

The logarithm of a latency is the sum of what the session (machine, hour), the process (memory
layout, hash seed) and the call contribute: session + process + drift within the run (AR(1) with
0.95) + normal noise + now and then an outlier. The two processes of a pair follow each other.
"""

import functools
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from tabulate import tabulate

from pytest_agentperf.judge.compare import compare_duet, compare_history
from pytest_agentperf.judge.comparison import Comparison, Outcome, SuiteComparison
from pytest_agentperf.judge.duet import planned_pairs
from pytest_agentperf.judge.runs import Count, Run
from pytest_agentperf.judge.studentt import incomplete_beta

TRIALS = int(os.environ.get("AGENTPERF_TRIALS", "6000"))
Array: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
TESTS = 50
SECONDS = 0.010
UNEQUAL = 0.4  # sd of the log noise of a test: one in six is half again as noisy as the middle
REFERENCE_NOISE = 0.008


@dataclass(frozen=True, slots=True)
class Regime:
    """Standard deviations of logarithms; `slow` is how often a session is on a slower machine."""

    call: float
    outliers: float
    lowest: float
    highest: float
    drift: float
    process: float
    session: float
    slow: float = 0.0
    slowness: float = 0.0


REGIMES = {
    "quiet": Regime(0.030, 0.02, 1.3, 3.0, 0.004, 0.004, 0.004),
    "vm": Regime(0.012, 0.10, 1.05, 2.5, 0.006, 0.012, 0.014),
    "ci": Regime(0.100, 0.03, 1.3, 4.0, 0.020, 0.012, 0.027),
    "hetero": Regime(0.100, 0.03, 1.3, 4.0, 0.020, 0.012, 0.027, 0.25, 0.12),
    "live": Regime(0.400, 0.03, 2.0, 6.0, 0.040, 0.000, 0.060),
}


@dataclass(frozen=True, slots=True)
class Change:
    """What the head does to its calls: all of them take `factor`, one in `of` takes double."""

    factor: float = 1.0
    doubled: float = 0.0


Changes: TypeAlias = Mapping[int, Change]
Runs: TypeAlias = dict[str, list[Run]]
Compare: TypeAlias = Callable[[Runs, Runs], SuiteComparison]


class Machine:
    """Draws runs of tests, 50 at a time.

    Args:
        regime: What disturbs them.
        seed: Of the generator.
        is_suite: Whether they are one suite: unequally noisy, in the same sessions. If not, each
            stands for a suite of its own.
    """

    def __init__(self, regime: Regime, seed: Sequence[int], *, is_suite: bool) -> None:
        self.regime = regime
        self.is_suite = is_suite
        self.random = np.random.default_rng(seed)
        self.loudness = np.ones(TESTS)
        self.follows = np.ones(TESTS)

    def next_suite(self) -> None:
        """Draw how noisy each test is, and how far it follows the machine."""
        if self.is_suite:
            noise = self.random.standard_normal(TESTS)
            self.loudness = np.exp(UNEQUAL * noise - UNEQUAL**2 / 2)
            self.follows = self.random.uniform(0.7, 1.1, TESTS)

    def sessions(self, count: int) -> tuple[Array, Array]:
        """Return the logarithms of *count* sessions for each test, and of their reference."""
        now, draw = self.regime, self.random
        shape = (1 if self.is_suite else TESTS, count)
        machine = now.session * draw.standard_normal(shape)
        machine += np.cumsum(0.15 * now.session * draw.standard_normal(shape), axis=1)
        machine += now.slowness * (draw.random(shape) < now.slow)
        values = self.follows[:, None] * machine
        if self.is_suite:
            values += 0.25 * now.session * draw.standard_normal((TESTS, count))
        reference = machine + REFERENCE_NOISE * draw.standard_normal(shape)
        return values, np.broadcast_to(reference, (TESTS, count))

    def _logs(self, shape: tuple[int, ...], loudness: Array) -> Array:
        """Return logarithms of calls: (tests, runs, blocks, calls); a block is a process."""
        now, draw = self.regime, self.random
        drift = draw.standard_normal((*shape[:2], shape[2] * shape[3]))
        for call in range(1, drift.shape[2]):  # AR(1) over both processes of a pair
            drift[..., call] = 0.95 * drift[..., call - 1] + 0.3122499 * drift[..., call]
        logs = now.call * draw.standard_normal(shape) + now.drift * drift.reshape(shape)
        logs += now.process * draw.standard_normal((*shape[:3], 1))
        outliers = draw.random(shape) < now.outliers
        logs[outliers] += np.log(draw.uniform(now.lowest, now.highest, int(outliers.sum())))
        logs *= loudness[:, None, None, None]
        return logs

    def pairs(
        self, count: int, calls: int, changes: Changes, tests: Sequence[int]
    ) -> tuple[Runs, Runs]:
        """Return *count* pairs of runs for each of *tests*: base and head."""
        logs = self._logs((len(tests), count, 2, calls), self.loudness[tests])
        base, head = logs[:, :, 0], logs[:, :, 1]
        self._apply(head, changes, tests)
        return dict(self._runs(tests, base)), dict(self._runs(tests, head))

    def history(
        self, count: int, calls: int, changes: Changes, *, has_reference: bool
    ) -> tuple[Runs, Runs]:
        """Return *count* earlier runs of each test, and one of the head."""
        sessions, machine = self.sessions(count + 1)
        logs = self._logs((TESTS, count + 1, 1, calls), self.loudness)[:, :, 0]
        logs += sessions[:, :, None]
        before, head, tests = logs[:, :count], logs[:, count:], range(TESTS)
        self._apply(head, changes, tests)
        seconds = 0.05 * np.exp(machine) if has_reference else None
        if seconds is None:
            return dict(self._runs(tests, before)), dict(self._runs(tests, head))
        return (
            dict(self._runs(tests, before, seconds[:, :count])),
            dict(self._runs(tests, head, seconds[:, count:])),
        )

    def _apply(self, logs: Array, changes: Changes, tests: Sequence[int]) -> None:
        """Change *logs*, (tests, runs, calls), in place."""
        for place, test in enumerate(tests):
            if test in changes:
                doubled = self.random.random(logs[place].shape) < changes[test].doubled
                logs[place] += math.log(changes[test].factor) + math.log(2) * doubled

    def _runs(
        self, tests: Sequence[int], logs: Array, references: Array | None = None
    ) -> Iterator[tuple[str, list[Run]]]:
        """Yield the runs of each test."""
        seconds = SECONDS * np.exp(np.sort(logs, axis=-1))
        medians = np.median(seconds, axis=-1).tolist()
        calls = logs.shape[-1]
        beside = (
            [[None] * logs.shape[1]] * len(tests) if references is None else references.tolist()
        )
        for test, own, rows, machine in zip(tests, medians, seconds.tolist(), beside, strict=True):
            yield (
                str(test),
                [
                    Run(median, calls, tuple(row), reference=reference)
                    for median, row, reference in zip(own, rows, machine, strict=True)
                ],
            )


REGRESSED = 5  # tests of a suite that change where the power is measured
SLOWER, TAIL = Change(factor=1.1), Change(doubled=0.1)
QUIET, CI, LIVE = ("quiet", "vm", "ci", "hetero"), ("ci",), ("live",)


def seed() -> int:
    """Return the number of the commit that is measured."""
    program = ["git", "rev-parse", "HEAD"]
    head = subprocess.run(
        program, capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    return int(head.stdout[:12], 16)


@dataclass(frozen=True, slots=True)
class Design:
    """How evidence is gathered.

    Attributes:
        name: In the table.
        calls: Of one run of a duet.
        looks: How often a duet may be looked at; with one look it makes its first pairs only.
        history: Earlier runs that decide for which tests there is a duet; 0: for all.
        has_reference: Whether runs of a history have a reference workload beside them.
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


DESIGNS = (
    Design("duet × 20, first pairs only", 20, 1, None, {}),
    Design("duet × 20 (default)", 20, 4, 0.005, dict.fromkeys(QUIET, 0.98)),
    Design("duet × 60", 60, 4, 0.003, dict.fromkeys(QUIET, 0.99)),
    Design("history of 10, duet × 60 of what is open", 60, 4, 0.002, {"ci": 0.90}, 10),
    Design("the same beside a reference workload", 60, 4, 0.002, {"ci": 0.90}, 10, True),
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
        return upper_bound(self.red, self.tests)


def upper_bound(hits: int, trials: int) -> float:
    """Return the upper 95 % bound of Clopper & Pearson (Biometrika 26, 1934)."""
    low, high = hits / trials, 1.0
    while high - low > 1e-7:
        middle = (low + high) / 2
        is_above = incomplete_beta(hits + 1, trials - hits, middle) > 0.95
        low, high = (low, middle) if is_above else (middle, high)
    return high


def judge_each(compare: Compare, base: Runs, head: Runs, *, is_suite: bool) -> SuiteComparison:
    """Return the verdicts on one suite, or on each test as a suite of its own."""
    if is_suite:
        return compare(base, head)
    alone = [compare({name: base[name]}, {name: head[name]}) for name in head]
    return SuiteComparison(tuple(suite.tests[0] for suite in alone))


def run_duet(
    machine: Machine, design: Design, changes: Changes, tests: Sequence[int]
) -> tuple[SuiteComparison, int]:
    """Return the verdicts on *tests* and how many pairs they took altogether."""
    base: Runs = {str(test): [] for test in tests}
    head: Runs = {str(test): [] for test in tests}
    verdicts, waiting, made, spent = None, list(tests), 0, 0
    plan = planned_pairs(len(tests) if machine.is_suite else 1)[: design.looks]
    compare = functools.partial(compare_duet, looks=len(plan))
    for pairs in plan:
        more_base, more_head = machine.pairs(pairs - made, design.calls, changes, waiting)
        spent, made = spent + (pairs - made) * len(waiting), pairs
        for name in more_base:
            base[name] += more_base[name]
            head[name] += more_head[name]
        look = judge_each(compare, base, head, is_suite=machine.is_suite)
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
    waiting = [int(test.name) for test in first.tests if test.outcome is Outcome.REGRESSED]
    waiting = sorted({*waiting, *map(int, first.open_tests)})
    if not waiting:
        return first, 0
    second, spent = run_duet(machine, design, changes, waiting)
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


COLLECT = """
import sys, time, pytest

class Watch:
    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self):
        began = time.perf_counter()
        yield
        print("seconds", time.perf_counter() - began)

options = ["--collect-only", "-qqq", "-p", "no:cacheprovider", sys.argv[1]]
assert pytest.main(options, plugins=[Watch()]) == 0
"""


@pytest.mark.parametrize("repeat", range(5))
def bench_judging_beside_collecting(
    tmp_path: Path, record_ratio: Callable[[str, str, float], None], repeat: int
) -> None:
    random = np.random.default_rng([seed(), repeat])
    counts = {"tool_calls": Count(3, 3, 3), "tokens_per_call": Count(900, 1000, 1100)}

    def runs(count: int) -> list[Run]:
        rows = np.sort(random.lognormal(-4, 0.1, (count, 200))).tolist()
        return [Run(row[100], 200, tuple(row), counts, reference=0.05) for row in rows]

    names = [f"test_{number}" for number in range(1000)]
    history, head = ({name: runs(count) for name in names} for count in (20, 1))
    body = "(perf_timer):\n    perf_timer(sum, [1, 2])\n\n\n"
    (tmp_path / "test_many.py").write_text("".join(f"def {name}{body}" for name in names))
    program = [sys.executable, "-c", COLLECT, str(tmp_path)]
    collected = subprocess.run(program, capture_output=True, text=True, check=True, cwd=tmp_path)
    began = time.perf_counter()
    compare_history(history, head)
    judging = time.perf_counter() - began
    collecting = float(collected.stdout.split("seconds ")[1].split()[0])
    record_ratio("judging 1,000 tests with 20 runs / collecting them", "< 1", judging / collecting)
    record_ratio("judging, seconds", "shown", judging)
