"""Records: what one test measured and what came of it, frozen, and as builtin types.

Builtin types cross from an xdist worker to its controller and into JSON; anything else would end
the session of xdist (execnet refuses it).
"""

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pytest_agentperf.core.errors import EmptySampleError
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.metrics import QUANTITIES, Metric, find_metric
from pytest_agentperf.judge.verdict import Verdict
from pytest_agentperf.report.escape import valid_text
from pytest_agentperf.report.fields import field_names, read_fields

if TYPE_CHECKING:
    from pytest_agentperf.core.detail import Detail
    from pytest_agentperf.judge.comparison import Comparison
    from pytest_agentperf.judge.runs import Run

__all__ = [
    "UNSEEN",
    "ComparisonRecord",
    "CurveRecord",
    "Gated",
    "MeasurementRecord",
    "PerfRecord",
    "VerdictRecord",
    "make_record",
    "record_comparison",
]

_NONE: Final[Mapping[str, Any]] = {}
_STATISTICS: Final = ("min", "mean", "max", "stddev", "p25", "p50", "p75", "p90", "p95", "p99")


class VerdictRecord(NamedTuple):
    """One verdict.

    Attributes:
        status: `passed`, `warned`, `failed` or `undecided`.
        metric: The metric's name.
        label: The measurement's label, or None.
        value: In the metric's base unit, or None where unknown.
        limit: The limit, likewise; None where it only warns.
        warn: The warning's limit, or None.
        source: Where the limit came from.
        sentence: All of it in words.
        low: The one-sided lower 95 % confidence bound of a percentile, or None.
        high: The upper one, or None.
    """

    status: str
    metric: str
    label: str | None
    value: float | None
    limit: float | None
    warn: float | None
    source: str
    sentence: str
    low: float | None = None
    high: float | None = None


class ComparisonRecord(NamedTuple):
    """What the regression gate says about one measurement.

    Attributes:
        name: The test, with `#label` where the measurement has one.
        outcome: `regressed`, `undecided`, `new` and so on.
        sentence: All of it in words.
        against: What it was compared with, as in ``"base main@a1b2c3d"``.
        base: Median latency of that in seconds; None where nothing was compared.
        head: Median latency of this side, likewise.
        ratio: Of both, after what the machine explains.
        low: Lower end of the interval that holds the true ratio with 95 % confidence.
        high: Its upper end.
        p: The chance of such a change without a cause.
        pairs: Pairs of a duet, or earlier runs, that were compared.
    """

    name: str
    outcome: str
    sentence: str
    against: str
    base: float | None = None
    head: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    pairs: int = 0

    def to_builtin(self) -> dict[str, Any]:
        """Return it as a dict of strings and numbers of exactly those types."""
        return _builtin_fields(self)


class Gated(NamedTuple):
    """What the regression gate took from the measurements of one test, and what it says.

    Attributes:
        runs: What it keeps of the measurements, by name.
        comparisons: What it says about them, where there is something to hold them against.
        broken: Why it could say nothing although it should have; empty where it could.
    """

    runs: "Mapping[str, Run]" = _NONE
    comparisons: Sequence[ComparisonRecord] = ()
    broken: str = ""


UNSEEN: Final = Gated()
"""A test that the gate did not look at."""


class CurveRecord(NamedTuple):
    """How a level went.

    Attributes:
        axis: What it went over, `calls` or `seconds`.
        unit: Of its values.
        points: Pairs of where on the axis and the value, in their order.
    """

    axis: str
    unit: str
    points: Sequence[Sequence[float]]


class MeasurementRecord(NamedTuple):
    """One measurement.

    Attributes:
        label: Its label, or None.
        subject: What was called.
        calls: Recorded calls that ended.
        errors: Those that raised.
        metrics: Values by the metric's name, in base units.
        unknown: Why a quantity is not known, by its name.
        notes: What weakens the numbers.
        findings: What else was noticed, a sentence each.
        monitors: What watched the calls.
        curves: How levels went, by name.
        profiles: The files that profilers wrote, by the name of the profiler.
        detail: What a report draws of it; None where nobody asked for a report.
    """

    label: str | None
    subject: str
    calls: int
    errors: int
    metrics: Mapping[str, float]
    unknown: Mapping[str, str]
    notes: Sequence[str]
    findings: Sequence[str] = []
    monitors: Sequence[str] = []
    curves: Mapping[str, CurveRecord] = {}
    profiles: Mapping[str, str] = {}
    detail: "Detail | None" = None


class PerfRecord(NamedTuple):
    """What one test measured and what came of it.

    Attributes:
        nodeid: The test.
        measurements: In order of the first use of each label.
        verdicts: Worst first.
        not_applicable: Limits for every test, on what this one does not record.
        attempt: 1, more where the test was run again.
        runs: What the regression gate keeps of the measurements, by name.
        comparisons: What it says about them.
    """

    nodeid: str
    measurements: Sequence[MeasurementRecord]
    verdicts: Sequence[VerdictRecord]
    not_applicable: int
    attempt: int = 1
    runs: "Mapping[str, Run]" = _NONE
    comparisons: Sequence[ComparisonRecord] = []

    def to_builtin(self) -> dict[str, Any]:
        """Return it as dicts, lists, strings and numbers of exactly those types."""
        return _builtin_fields(self)

    @classmethod
    def from_builtin(cls, content: object) -> "PerfRecord":
        """Return the record that `to_builtin` made *content* from.

        Raises:
            FileFormatError: *content* is nothing of the kind.
        """
        top = read_fields(cls, content)
        return cls(
            nodeid=top["nodeid"],
            measurements=[_read_measurement(one) for one in top["measurements"]],
            verdicts=[VerdictRecord(**read_fields(VerdictRecord, one)) for one in top["verdicts"]],
            not_applicable=top["not_applicable"],
            attempt=top["attempt"],
            runs=_read_runs(top["runs"]),
            comparisons=[
                ComparisonRecord(**read_fields(ComparisonRecord, one)) for one in top["comparisons"]
            ],
        )


def _read_measurement(content: object) -> MeasurementRecord:
    one = read_fields(MeasurementRecord, content)
    curves = {
        name: CurveRecord(**read_fields(CurveRecord, each)) for name, each in one["curves"].items()
    }
    return MeasurementRecord(**{**one, "curves": curves, "detail": _read_detail(one["detail"])})


# What only reports and the gate keep is imported where there is some of it.


def _read_detail(content: object) -> "Detail | None":
    if content is None:
        return None
    from pytest_agentperf.report.detail import detail_from_builtin

    return detail_from_builtin(content)


def _read_runs(contents: Mapping[str, Any]) -> "dict[str, Run]":
    if not contents:
        return {}
    from pytest_agentperf.judge.storedrun import run_from_builtin

    return {name: run_from_builtin(run) for name, run in contents.items()}


def make_record(
    nodeid: str,
    measurements: Sequence[Measurement],
    verdicts: Sequence[Verdict],
    not_applicable: int,
    attempt: int = 1,
    gated: Gated = UNSEEN,
) -> PerfRecord:
    """Return the record of a test."""
    return PerfRecord(
        nodeid=nodeid,
        measurements=[_record_measurement(measurement) for measurement in measurements],
        verdicts=[
            VerdictRecord(
                status=verdict.status.value,
                metric=verdict.metric.name,
                label=verdict.label,
                value=verdict.value,
                limit=verdict.limit.fail,
                warn=verdict.limit.warn,
                source=verdict.limit.source,
                sentence=verdict.sentence,
                low=verdict.low,
                high=verdict.high,
            )
            for verdict in verdicts
        ],
        not_applicable=not_applicable,
        attempt=attempt,
        runs=dict(gated.runs),
        comparisons=list(gated.comparisons),
    )


def record_comparison(comparison: "Comparison", against: str) -> ComparisonRecord:
    """Return the record of *comparison* with *against*."""
    name, outcome, sentence = comparison.name, comparison.outcome.value, comparison.sentence
    latency = comparison.latency
    if latency is None:
        return ComparisonRecord(name, outcome, sentence, against)
    low, high = latency.interval
    return ComparisonRecord(
        name,
        outcome,
        sentence,
        against,
        base=latency.base,
        head=latency.head,
        ratio=latency.ratio,
        low=low,
        high=high,
        p=latency.p,
        pairs=latency.runs,
    )


def _record_measurement(measurement: Measurement) -> MeasurementRecord:
    return MeasurementRecord(
        label=measurement.label,
        subject=measurement.subject,
        calls=measurement.calls,
        errors=measurement.errors,
        metrics=_numbers(measurement),
        unknown=dict(measurement.unknown),
        notes=list(measurement.notes),
        findings=[str(finding) for finding in measurement.findings],
        monitors=list(measurement.monitors),
        curves={
            name: CurveRecord(curve.axis, curve.unit, [list(point) for point in curve.points])
            for name, curve in measurement.curves.items()
        },
        profiles=dict(measurement.profiles),
        detail=measurement.detail,
    )


def _numbers(measurement: Measurement) -> dict[str, float]:
    """Return every number of *measurement* by the metric's name."""
    found = {}
    for name in (*measurement.samples, *measurement.values):
        for metric in _metrics_of(name):
            try:
                found[metric.name] = measurement.value(metric)
            except EmptySampleError:
                continue
    return found


@cache
def _metrics_of(quantity: str) -> tuple[Metric, ...]:
    """Return the metrics of *quantity* that are kept."""
    if not QUANTITIES[quantity].has_statistics:
        return (find_metric(quantity),)
    return tuple(find_metric(f"{quantity}_{statistic}") for statistic in _STATISTICS)


def _builtin_fields(record: Any) -> dict[str, Any]:
    return {name: _builtin(getattr(record, name)) for name in field_names(record.__class__)}


_BUILTIN: Final = frozenset({float, int, bool, NoneType})
_RECORDS: Final = (VerdictRecord, ComparisonRecord, CurveRecord, MeasurementRecord, PerfRecord)


def _builtin(value: Any) -> Any:
    """Return *value* with exactly builtin types and encodable text all the way down."""
    if type(value) in _BUILTIN:
        return value
    if isinstance(value, str):
        return valid_text(str(value))
    if isinstance(value, _RECORDS) or is_dataclass(value):
        return _builtin_fields(value)
    if isinstance(value, list | tuple):
        return [_builtin(inner) for inner in value]
    if isinstance(value, (dict, Mapping)):  # the first of them is asked at a tenth of the price
        return {
            valid_text(str(key)): inner if type(inner) in _BUILTIN else _builtin(inner)
            for key, inner in value.items()
        }
    return int(value) if isinstance(value, int) else float(value)
