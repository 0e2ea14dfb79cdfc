"""Records: what one test measured and what came of it, frozen, and as builtin types.

Builtin types cross from an xdist worker to its controller and into JSON; anything else would end
the session of xdist (execnet refuses it).
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from types import NoneType
from typing import Any, Final

from pytest_agentperf.core.detail import Detail
from pytest_agentperf.core.errors import EmptySampleError, FileFormatError
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.metrics import QUANTITIES, find_metric
from pytest_agentperf.judge.verdict import Verdict
from pytest_agentperf.report.detail import DETAIL_KINDS, detail_from_builtin
from pytest_agentperf.report.escape import valid_text

__all__ = [
    "ComparisonRecord",
    "CurveRecord",
    "MeasurementRecord",
    "PerfRecord",
    "VerdictRecord",
    "make_record",
]

_STATISTICS: Final = ("min", "mean", "max", "stddev", "p25", "p50", "p75", "p90", "p95", "p99")


@dataclass(frozen=True, slots=True)
class VerdictRecord:
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


@dataclass(frozen=True, slots=True)
class ComparisonRecord:
    """What the regression gate said about one measurement.

    Attributes:
        name: The test, with `#label` where the measurement has one.
        outcome: `regressed`, `undecided`, `unchanged`, `faster`, `new`, `not comparable`, …
        sentence: All of it in words.
        ratio: Median latency over that of the base, or None where nothing was compared.
        low: Lower end of the interval that holds the true ratio with 95 % confidence, or None.
        high: Its upper end, or None.
        p: The chance of such a change without a cause, or None.
        pairs: Pairs of runs that were compared.
    """

    name: str
    outcome: str
    sentence: str
    ratio: float | None
    low: float | None
    high: float | None
    p: float | None
    pairs: int

    def to_builtin(self) -> dict[str, Any]:
        """Return it as a dict of strings and numbers of exactly those types."""
        return _builtin_fields(self)


@dataclass(frozen=True, slots=True)
class CurveRecord:
    """How a level went.

    Attributes:
        axis: What it went over, `calls` or `seconds`.
        unit: Of its values.
        points: Pairs of where on the axis and the value, in their order.
    """

    axis: str
    unit: str
    points: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class MeasurementRecord:
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
    findings: Sequence[str] = field(default_factory=list)
    monitors: Sequence[str] = field(default_factory=list)
    curves: Mapping[str, CurveRecord] = field(default_factory=dict)
    profiles: Mapping[str, str] = field(default_factory=dict)
    detail: Detail | None = None


@dataclass(frozen=True, slots=True)
class PerfRecord:
    """What one test measured and what came of it.

    Attributes:
        nodeid: The test.
        measurements: In order of the first use of each label.
        verdicts: Worst first.
        not_applicable: Limits for every test, on what this one does not record.
        attempt: 1, more where the test was run again.
        comparisons: What the regression gate said about its measurements.
    """

    nodeid: str
    measurements: Sequence[MeasurementRecord]
    verdicts: Sequence[VerdictRecord]
    not_applicable: int
    attempt: int = 1
    comparisons: Sequence[ComparisonRecord] = field(default_factory=list)

    def to_builtin(self) -> dict[str, Any]:
        """Return it as dicts, lists, strings and numbers of exactly those types."""
        return {
            "nodeid": valid_text(self.nodeid),
            "measurements": [_builtin_fields(one) for one in self.measurements],
            "verdicts": [_builtin_fields(one) for one in self.verdicts],
            "not_applicable": int(self.not_applicable),
            "attempt": int(self.attempt),
            "comparisons": [_builtin_fields(one) for one in self.comparisons],
        }

    @classmethod
    def from_builtin(cls, content: object) -> "PerfRecord":
        """Return the record that `to_builtin` made *content* from.

        Raises:
            FileFormatError: *content* is nothing of the kind.
        """
        top = _fields(cls, content)
        return cls(
            nodeid=top["nodeid"],
            measurements=[_read_measurement(one) for one in top["measurements"]],
            verdicts=[VerdictRecord(**_fields(VerdictRecord, one)) for one in top["verdicts"]],
            not_applicable=top["not_applicable"],
            attempt=top["attempt"],
            comparisons=[
                ComparisonRecord(**_fields(ComparisonRecord, one)) for one in top["comparisons"]
            ],
        )


def _read_measurement(content: object) -> MeasurementRecord:
    one = _fields(MeasurementRecord, content)
    curves = {
        name: CurveRecord(**_fields(CurveRecord, each)) for name, each in one["curves"].items()
    }
    detail = None if one["detail"] is None else detail_from_builtin(one["detail"])
    return MeasurementRecord(**{**one, "curves": curves, "detail": detail})


def make_record(
    nodeid: str,
    measurements: Sequence[Measurement],
    verdicts: Sequence[Verdict],
    not_applicable: int,
    attempt: int = 1,
    comparisons: Sequence[ComparisonRecord] = (),
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
        comparisons=list(comparisons),
    )


def _record_measurement(measurement: Measurement) -> MeasurementRecord:
    return MeasurementRecord(
        label=measurement.label,
        subject=measurement.subject,
        calls=measurement.calls,
        errors=measurement.errors,
        metrics=dict(_metrics(measurement)),
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


def _metrics(measurement: Measurement) -> list[tuple[str, float]]:
    """Return every number of *measurement* by the metric's name."""
    names = []
    for name in (*measurement.samples, *measurement.values):
        if QUANTITIES[name].has_statistics:
            names += [f"{name}_{statistic}" for statistic in _STATISTICS]
        else:
            names.append(name)
    found = []
    for name in dict.fromkeys(names):
        with suppress(EmptySampleError):
            found.append((name, measurement.value(find_metric(name))))
    return found


def _builtin_fields(record: Any) -> dict[str, Any]:
    return {name: _builtin(getattr(record, name)) for name in _NAMES[type(record)]}


def _builtin(value: Any) -> Any:
    """Return *value* with exactly builtin types and encodable text all the way down."""
    if type(value) in {float, int, bool, NoneType}:
        return value
    if isinstance(value, Mapping):
        return {valid_text(str(key)): _builtin(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_builtin(inner) for inner in value]
    if isinstance(value, str):
        return valid_text(str(value))
    if type(value) in _NAMES:
        return _builtin_fields(value)
    return int(value) if isinstance(value, int) else float(value)


_NAMES: Final[Mapping[type, tuple[str, ...]]] = {
    kind: tuple(field.name for field in fields(kind))
    for kind in (
        *(ComparisonRecord, CurveRecord, MeasurementRecord, PerfRecord, VerdictRecord),
        *DETAIL_KINDS,
    )
}


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    # Compared, not asked for finiteness: an integer of JSON may be too large for a float.
    return abs(value) <= sys.float_info.max


def _is_mapping(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, dict) and all(isinstance(k, str) and check(v) for k, v in value.items())
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_dict(value: object) -> bool:
    return isinstance(value, dict)


def _is_list_of_points(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(point, list) and len(point) == 2 and all(map(_is_number, point))  # noqa: PLR2004
        for point in value
    )


def _is_optional(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or check(value)


_CHECKS: Final[Mapping[str, Callable[[object], bool]]] = {
    "nodeid": _is_text,
    "status": _is_text,
    "metric": _is_text,
    "source": _is_text,
    "sentence": _is_text,
    "subject": _is_text,
    "label": _is_optional(_is_text),
    "value": _is_optional(_is_number),
    "limit": _is_optional(_is_number),
    "warn": _is_optional(_is_number),
    "calls": _is_count,
    "errors": _is_count,
    "attempt": _is_count,
    "not_applicable": _is_count,
    "metrics": _is_mapping(_is_number),
    "unknown": _is_mapping(_is_text),
    "notes": _is_list_of_texts,
    "findings": _is_list_of_texts,
    "monitors": _is_list_of_texts,
    "curves": _is_dict,
    "profiles": _is_mapping(_is_text),
    "detail": _is_optional(_is_dict),
    "axis": _is_text,
    "unit": _is_text,
    "points": _is_list_of_points,
    "measurements": _is_list,
    "verdicts": _is_list,
    "comparisons": _is_list,
    "name": _is_text,
    "outcome": _is_text,
    "ratio": _is_optional(_is_number),
    "low": _is_optional(_is_number),
    "high": _is_optional(_is_number),
    "p": _is_optional(_is_number),
    "pairs": _is_count,
}


def _fields(kind: type, content: object) -> dict[str, Any]:
    """Return the fields of *kind* in *content*, each of which must be of its type."""
    names = _NAMES[kind]
    if not isinstance(content, dict):
        raise FileFormatError(
            f"a record is {content!r:.60}; expected an object with {', '.join(names)}"
        )
    for name in names:
        if name not in content or not _CHECKS[name](content[name]):
            found = repr(content[name])[:60] if name in content else "nothing"
            raise FileFormatError(
                f"field {name!r} of a record is {found}; it was not written by this plugin"
            )
    return {name: content[name] for name in names}
