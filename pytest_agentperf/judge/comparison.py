"""Comparisons: what the regression gate says about a test, and by which rule."""

import enum
import math
from dataclasses import dataclass

from pytest_agentperf.judge.shift import Shift

__all__ = [
    "STANDARD",
    "CommonShift",
    "Comparison",
    "CountChange",
    "LatencyChange",
    "Outcome",
    "Rule",
    "SuiteComparison",
    "TailChange",
]


class Outcome(enum.Enum):
    """What comparing a test came to, worst first; only the first fails it."""

    REGRESSED = "regressed"
    UNDECIDED = "undecided"
    NOT_COMPARABLE = "not comparable"
    OTHER_ENVIRONMENT = "other environment"
    NEW = "new"
    GONE = "gone"
    FASTER = "faster"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Rule:
    """What makes a change a regression: all of it at once.

    Attributes:
        tolerance: Relative change that is allowed.
        noise_floor: Seconds that a change must exceed, or else `noise_factor`.
        noise_factor: Ratio from which a change counts however short it is.
        suite_level: Chance of a false alarm of any test of the suite.
        test_level: Chance of a false alarm that no single test may exceed.
        tail_level: The same for the tail.
        tail_factor: Ratio of the shares of slow calls that a change of the tail must exceed.
        flag_level: Below this p a change that is no regression deserves more runs.
        flag_change: Relative change that it must exceed for that.
        coarsest: Data that could not have shown this relative change decide nothing.
    """

    tolerance: float = 0.05
    noise_floor: float = 20e-6
    noise_factor: float = 1.5
    suite_level: float = 0.05
    test_level: float = 0.005
    tail_level: float = 0.002
    tail_factor: float = 1.5
    flag_level: float = 0.20
    flag_change: float = 0.03
    coarsest: float = 0.25

    @property
    def least_shift(self) -> float:
        """The tolerance as a difference of logarithms."""
        return math.log1p(self.tolerance)

    def allows(self, ratio: float, seconds: float) -> bool:
        """Return whether a change by *ratio*, of a base of *seconds*, is too small to matter."""
        size = max(ratio, 1 / ratio)
        is_audible = seconds * abs(ratio - 1) > self.noise_floor or size > self.noise_factor
        return size <= 1 + self.tolerance or not is_audible

    def is_significant(self, p: float, adjusted: float, looks: int) -> bool:
        """Return whether chance is no explanation, by *p* alone and *adjusted* to the suite."""
        return p < self.test_level / looks and adjusted < self.suite_level / looks


STANDARD = Rule()
"""The rule as it is without options."""


@dataclass(frozen=True, slots=True)
class LatencyChange:
    """How the median latency changed.

    Attributes:
        base: Seconds, the geometric mean of the medians of the runs.
        head: The same of the head.
        shift: From base to head, in logarithms, with the variance that was used.
        p: Chance of so high a shift without a change; of so low a one where it is faster.
        adjusted: The same among all tests of the suite.
        detectable: Relative change that this data would have shown nine times of ten.
        runs: Pairs of a duet, or runs of the history.
        calls: Of one run; the fewest.
        is_beside_reference: Whether the change of the machine was taken off the shift.
    """

    base: float
    head: float
    shift: Shift
    p: float
    adjusted: float
    detectable: float
    runs: int
    calls: int
    is_beside_reference: bool = False

    @property
    def ratio(self) -> float:
        """Head over base."""
        return math.exp(self.shift.mean)

    @property
    def interval(self) -> tuple[float, float]:
        """The ratios between which the true one lies, with 95 % confidence."""
        low, high = self.shift.interval()
        return math.exp(low), math.exp(high)


@dataclass(frozen=True, slots=True)
class TailChange:
    """How the share of slow calls changed: those above the 95th percentile of the base.

    Attributes:
        base: Share of the base, about 5 %.
        head: Share of the head, each run taken relative to its own median.
        p: Chance of so much more without a change.
        is_regressed: Whether it is a regression.
        is_flagged: Whether more runs should look at it.
    """

    base: float
    head: float
    p: float
    is_regressed: bool
    is_flagged: bool


@dataclass(frozen=True, slots=True)
class CountChange:
    """How a count per call changed.

    Attributes:
        name: The quantity, as in `tool_calls`.
        base: Mean per call.
        head: Mean per call.
        p: Chance of such a change without a cause; None where the count was constant on both
            sides, and chance has no part in it.
        is_regressed: Whether it is a regression.
    """

    name: str
    base: float
    head: float
    p: float | None
    is_regressed: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the gate says about one test.

    Attributes:
        name: The test.
        outcome: What it came to.
        sentence: All of it in one sentence, with the cure where it is undecided.
        latency: The medians; None where nothing was compared.
        tail: The slow calls; None where no latencies were kept.
        counts: By quantity, those that both sides have.
        is_open: Whether it may be a regression that more runs would show.
    """

    name: str
    outcome: Outcome
    sentence: str
    latency: LatencyChange | None = None
    tail: TailChange | None = None
    counts: tuple[CountChange, ...] = ()
    is_open: bool = False

    def is_suspicious(self, rule: Rule) -> bool:
        """Return whether a duet should look at it: its history flags it, or is none yet."""
        if self.latency is None:
            return self.outcome is Outcome.NEW
        is_slower = self.latency.ratio > 1 + rule.flag_change and self.latency.p < rule.flag_level
        is_longer = self.tail is not None and self.tail.is_flagged
        return self.outcome is Outcome.REGRESSED or is_slower or is_longer


@dataclass(frozen=True, slots=True)
class CommonShift:
    """Most tests changed alike, which a single cause explains better than many.

    Attributes:
        ratio: Their median.
        moved: Tests that share it.
        tests: Tests that were compared.
        sentence: All of it in words.
    """

    ratio: float
    moved: int
    tests: int
    sentence: str


@dataclass(frozen=True, slots=True)
class SuiteComparison:
    """What the gate says about all tests.

    Attributes:
        tests: One comparison for each test, in the order of head, then those that are gone.
        common: The shift that most of them share, or None.
    """

    tests: tuple[Comparison, ...]
    common: CommonShift | None = None

    def having(self, outcome: Outcome) -> tuple[Comparison, ...]:
        """Return the comparisons that came to *outcome*."""
        return tuple(test for test in self.tests if test.outcome is outcome)

    @property
    def open_tests(self) -> tuple[str, ...]:
        """The tests that more pairs, or a duet after a history, should look at."""
        return tuple(test.name for test in self.tests if test.is_open)

    def followed_by(self, later: "SuiteComparison") -> "SuiteComparison":
        """Return the verdicts of *later* on what was open here, and those of here on the rest.

        What is decided stays decided: runs of other tests, which *later* has more of, could move
        a verdict that lies close to its bar.
        """
        judged = {test.name: test for test in later.tests}
        tests = (judged.get(test.name, test) if test.is_open else test for test in self.tests)
        return SuiteComparison(tuple(tests), self.common)
