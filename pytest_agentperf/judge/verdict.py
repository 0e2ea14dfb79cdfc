"""Verdicts: a measurement held against its limits.

A percentile fails only where chance is no explanation: with k of n calls above the limit, where
the exact binomial tail is at most 1 %, shared equally over the looks (Bonferroni). It passes where
the estimate is within the limit and n suffices. In between it is open: more calls would tell.
"""

import enum
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cached_property
from typing import Final, NamedTuple

from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.metrics import Direction, Metric, Statistic, needed_values
from pytest_agentperf.core.units import Unit, format_beside, format_quantity
from pytest_agentperf.judge.limits import Limit, ResolvedLimits

__all__ = ["Status", "Verdict", "is_open", "judge", "needed_rounds"]

FALSE_ALARMS: Final = Fraction(1, 100)
"""The chance to fail a percentile that lies exactly at its limit."""

_CONFIDENCE: Final = Fraction(95, 100)


class Status(enum.Enum):
    """What a budget came to, worst first."""

    FAILED = "failed"
    UNDECIDED = "undecided"
    WARNED = "warned"
    PASSED = "passed"


_ORDER: Final = {status: order for order, status in enumerate(Status)}


class Verdict(NamedTuple):
    """What one limit came to.

    Attributes:
        status: Passed, warned, failed or undecided.
        metric: What was limited.
        label: The measurement's label.
        value: What was measured, in the metric's unit; None where it could not be told.
        limit: What it was held against.
        sentence: All of it in one sentence, with the source of the limit and, where it is
            undecided, the cure.
        is_open: Whether more calls could decide it.
        low: The one-sided lower 95 % confidence bound of a percentile; None where there is none.
        high: The upper one, likewise.
    """

    status: Status
    metric: Metric
    label: str | None
    value: float | None
    limit: Limit
    sentence: str
    is_open: bool = False
    low: float | None = None
    high: float | None = None


def needed_rounds(limits: Iterable[Limit], least: int = 5) -> int:
    """Return how many calls the tightest percentile of *limits* needs: 20 for p95, 100 for p99."""
    return max((least, *(needed_values(limit.metric) for limit in limits)))


def is_open(measurement: Measurement, limits: Iterable[Limit]) -> bool:
    """Return whether more calls could decide what *limits* leave open on *measurement*."""
    return any(
        _judge_one(measurement, limit).is_open
        for limit in limits
        if measurement.has(limit.metric) and limit.metric.quantity.has_statistics
    )


def judge(
    measurements: Sequence[Measurement], limits: ResolvedLimits, *, is_complete: bool = True
) -> tuple[list[Verdict], int]:
    """Hold the *measurements* of one test against its *limits*.

    Args:
        measurements: What was recorded.
        limits: What holds for the test.
        is_complete: Whether the test ran to its end; if not, what is missing is not its fault.

    Returns:
        The verdicts, worst first, and how many limits did not apply: those for every test, on
        metrics that nothing in this test records.
    """
    verdicts = [
        _judge_one(measurement, limit)
        for measurement in measurements
        for limit in limits.of(measurement.label)
        if measurement.has(limit.metric)
    ]
    missing = [
        (label, limit)
        for label, limit in limits.items()
        if not any(m.has(limit.metric) for m in measurements if label in {None, m.label})
    ]
    if is_complete:
        verdicts += [
            _not_recorded(measurements, label, limit) for label, limit in missing if limit.is_stated
        ]
    else:
        verdicts = [verdict for verdict in verdicts if verdict.value is not None]
    verdicts.sort(key=lambda verdict: _ORDER[verdict.status])
    return verdicts, sum(not limit.is_stated for _, limit in missing)


def _not_recorded(measurements: Sequence[Measurement], label: str | None, limit: Limit) -> Verdict:
    """Return the verdict on a limit that was stated for this test and has nothing to judge."""
    metric, labels = limit.metric, [m.label for m in measurements if m.label]
    blocked = next((m for m in measurements if m.bound and not m.calls), None)
    if blocked is not None and label in {None, blocked.label}:
        sentence = (
            f"{metric.title} is undecided: no round was made within {blocked.bound}; raise it"
            f" ({limit.source})"
        )
        return Verdict(Status.UNDECIDED, metric, label, None, limit, sentence)
    if label is not None and label not in labels:
        known = ", ".join(map(repr, labels)) or "none"
        what = f"nothing was recorded under the label {label!r} (recorded labels: {known})"
    else:
        what = f"nothing recorded it; it is recorded by {metric.quantity.recorder}"
    sentence = f"{metric.title} was not measured: {what} ({limit.source})"
    return Verdict(Status.FAILED, metric, label, None, limit, sentence)


def _judge_one(measurement: Measurement, limit: Limit) -> Verdict:
    """Hold *measurement* against *limit*, whose metric it has."""
    metric = limit.metric
    case = _Case(measurement, limit)
    unknown = measurement.unknown.get(metric.quantity.name)
    if case.value is None or (unknown and not case.is_beyond(limit.fail)):
        reason = unknown or f"none of {measurement.calls} calls ended without an error"
        return case.verdict(
            Status.UNDECIDED, f"{metric.title} is unknown: {reason} ({limit.source})"
        )
    if doubt := measurement.doubts.get(metric.quantity.name):
        return case.doubtful(doubt)
    if metric.percentile is not None:
        return _judge_percentile(case, metric.percentile)
    if case.is_beyond(limit.fail):
        return case.verdict(Status.FAILED)
    return case.verdict(Status.WARNED if case.is_beyond(limit.warn) else Status.PASSED)


def _judge_percentile(case: "_Case", percentile: Fraction) -> Verdict:
    """Hold a percentile against its limit; see the rule at the top."""
    from pytest_agentperf.judge.binomial import tail_at_most  # percentiles alone need it

    measurement, limit, sample = case.measurement, case.limit, case.sample
    if sample is None:
        return case.verdict(Status.UNDECIDED)
    needed, is_beyond = needed_values(limit.metric), case.is_beyond(limit.fail)
    if limit.fail is not None and is_beyond:
        above = sample.count_above(limit.fail)
        level = FALSE_ALARMS / max(measurement.planned_looks, measurement.looks, 1)
        if tail_at_most(above, sample.count, 1 - percentile / 100, level):
            return case.verdict(Status.FAILED)
        why = f"{above} of {sample.count} values above it are within chance"
        return case.undecided(why, 2 * sample.count)
    if sample.count < needed:
        name = limit.metric.name.removeprefix(limit.metric.quantity.name + "_").replace("_", ".")
        return case.undecided(f"{name} needs {needed} values and there are {sample.count}", needed)
    return case.verdict(Status.WARNED if case.is_beyond(limit.warn) else Status.PASSED)


class _Case:
    """One limit, what was measured of its metric, and the words for both."""

    def __init__(self, measurement: Measurement, limit: Limit) -> None:
        self.measurement = measurement
        self.limit = limit
        self.sample = measurement.sample(limit.metric)
        self.value: float | None = None
        if limit.metric.quantity.name in measurement.values or self.sample:
            self.value = measurement.value(limit.metric)

    def is_beyond(self, bound: float | None) -> bool:
        """Return whether the value lies on the bad side of *bound*."""
        if bound is None or self.value is None:
            return False
        is_upper = self.limit.metric.quantity.direction is Direction.UPPER
        return self.value > bound if is_upper else self.value < bound

    def verdict(self, status: Status, sentence: str = "", *, is_open: bool = False) -> Verdict:
        """Return the verdict; the sentence is made here where none is given."""
        return Verdict(
            status,
            self.limit.metric,
            self.measurement.label,
            self.value,
            self.limit,
            sentence or self._sentence(status),
            is_open,
            *self._bounds,
        )

    def doubtful(self, doubt: str) -> Verdict:
        """Return the verdict on a number that may be that of the measuring itself."""
        limit = self.limit
        value, bound = self._numbers(limit.warn if limit.fail is None else limit.fail)
        sentence = (
            f"{limit.metric.title} is undecided at {value}, budget {bound}: {doubt}"
            f" ({self._counted()}; {limit.source})"
        )
        return self.verdict(Status.UNDECIDED, sentence)

    def undecided(self, why: str, rounds: int) -> Verdict:
        """Return the verdict that only more calls could decide, with how to get them."""
        is_warning = self.limit.fail is None
        value, bound = self._numbers(self.limit.warn if is_warning else self.limit.fail)
        kind = "warning from" if is_warning else "budget"
        if self.measurement.bound:
            cure = f"raise {self.measurement.bound}"
        elif self.measurement.looks:
            cure = f"state rounds={rounds}"
        else:
            cure = f"make at least {rounds} calls"
        sentence = (
            f"{self.limit.metric.title} is undecided at {value}, {kind} {bound}: {why}; {cure}"
            f" ({self._counted()}; {self.limit.source})"
        )
        return self.verdict(Status.UNDECIDED, sentence, is_open=True)

    def _sentence(self, status: Status) -> str:
        warned = status is Status.WARNED or self.limit.fail is None
        value, bound = self._numbers(self.limit.warn if warned else self.limit.fail)
        kind = "warning from" if warned else "budget"
        details = ", ".join(filter(None, (self._counted(), self._spread())))
        title, cause = self.limit.metric.title, self._cause()
        return f"{title} was {value}, {kind} {bound}{cause} ({details}; {self.limit.source})"

    def _cause(self) -> str:
        """Return what made the number what it is, where the recorder knows it."""
        cause = self.measurement.causes.get(self.limit.metric.quantity.name)
        return f": {cause}" if cause else ""

    def _numbers(self, bound: float | None) -> tuple[str, str]:
        """Return the value and *bound* as text, with digits enough to tell them apart."""
        unit, value = self.limit.metric.unit, self.value
        if value is not None and bound is not None:
            return format_beside(value, bound, unit)
        known = "none" if bound is None else format_quantity(bound, unit, 6)
        return "unknown" if value is None else format_quantity(value, unit), known

    def _counted(self) -> str:
        """Return how many calls stand behind the number."""
        calls = self.measurement.calls
        is_round = self.measurement.looks or self.measurement.bound
        word = "round" if is_round else "call"
        counted = f"{calls} {word}" if calls == 1 else f"{calls} {word}s"
        metric = self.limit.metric
        is_shared = metric.unit in {Unit.SECONDS, Unit.RATE} or metric.quantity.name == "rss_peak"
        if self.measurement.conditions and is_shared:
            counted += f" beside {self.measurement.conditions}"
        if self.measurement.monitors and metric.quantity.name == "latency":
            counted += f" under the {' and the '.join(self.measurement.monitors)}"
        return counted

    def _spread(self) -> str:
        """Return what else the sample says: bounds of a percentile, how many lie above."""
        metric, sample = self.limit.metric, self.sample
        if sample is None or sample.count <= 1:
            return ""
        if metric.percentile is not None:
            return self._describe_bounds(metric.percentile / 100)
        if metric.statistic is not Statistic.MAX:
            return f"median {format_quantity(sample.percentile(50), metric.unit)}"
        above = sample.count_above(self.limit.fail) if self.limit.fail is not None else 0
        counted = f"{above} above it, " if above else ""
        return f"{counted}median {format_quantity(sample.percentile(50), metric.unit)}"

    @cached_property
    def _bounds(self) -> tuple[float | None, float | None]:
        """The one-sided confidence bounds of a percentile, as far as there are any."""
        sample, percentile = self.sample, self.limit.metric.percentile
        if sample is None or sample.count <= 1 or percentile is None:
            return None, None
        from pytest_agentperf.judge.binomial import lower_rank, upper_rank

        share = percentile / 100
        low, high = (rank(sample.count, share, _CONFIDENCE) for rank in (lower_rank, upper_rank))
        return (
            None if low is None else sample.ordered(low),
            None if high is None else sample.ordered(high),
        )

    def _describe_bounds(self, share: Fraction) -> str:
        unit = self.limit.metric.unit
        low, high = ("" if b is None else format_quantity(b, unit) for b in self._bounds)
        if high:
            return f"one-sided 95 % bounds {low or 'none'} and {high}"
        least = math.ceil(math.log(1 - float(_CONFIDENCE)) / math.log(float(share)))
        missing = f"no upper bound below {least} calls"
        return f"one-sided 95 % lower bound {low}, {missing}" if low else missing
