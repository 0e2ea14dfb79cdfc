"""A measurement: what one label of one test recorded, as it crosses to those who judge it."""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from pytest_agentperf.core.errors import EmptySampleError, UsageError
from pytest_agentperf.core.finding import Finding
from pytest_agentperf.core.metrics import QUANTITIES, Direction, Metric, Statistic
from pytest_agentperf.core.sample import Sample

if TYPE_CHECKING:
    from pytest_agentperf.core.detail import Detail
    from pytest_agentperf.core.series import Curve

__all__ = ["Measurement", "check_label", "join"]


class Measurement(NamedTuple):
    """What was recorded of one thing, without an opinion on it.

    Attributes:
        label: The user's name for it; None for the test's unnamed measurement.
        subject: What was called, for messages.
        calls: Recorded calls that ended, failed ones included.
        errors: Recorded calls that raised.
        samples: Values by the quantity's name, as in `latency`; seconds, counts or bytes.
        values: Numbers that are no sample, by the quantity's name.
        unknown: Quantities that a recorder looked for and could not tell, each with the reason
            and its cure.
        doubts: Quantities whose numbers may be those of the measuring itself, each with the reason
            and its cure: a budget on one is undecided.
        looks: How often an open verdict was looked at while the calls were made.
        planned_looks: How often it would have been looked at, had it stayed open to the last call.
        bound: What ended the calls before every verdict was closed, as in ``"max_time 5 s"``.
        conditions: What else ran meanwhile and disturbs times, as in ``"2 xdist workers"``.
        notes: Sentences that weaken the numbers, each with its cure.
        causes: What made a number what it is, by the quantity's name, for its verdict.
        findings: What else was noticed.
        monitors: What watched the calls, as in ``"loop watch"``: times beside it are not times
            without it.
        curves: How levels went over the calls or the time, by name, as in ``"traced memory"``.
        profiles: The files that profilers wrote, by the name of the profiler.
        detail: What a report draws of it; None where nobody asked for a report.
    """

    label: str | None
    subject: str
    calls: int
    errors: int
    samples: Mapping[str, Sample]
    values: Mapping[str, float]
    unknown: Mapping[str, str] = {}
    doubts: Mapping[str, str] = {}
    looks: int = 0
    planned_looks: int = 1
    bound: str = ""
    conditions: str = ""
    notes: tuple[str, ...] = ()
    causes: Mapping[str, str] = {}
    findings: tuple[Finding, ...] = ()
    monitors: tuple[str, ...] = ()
    curves: Mapping[str, "Curve"] = {}
    profiles: Mapping[str, str] = {}
    detail: "Detail | None" = None

    def has(self, metric: Metric) -> bool:
        """Return whether the recorder of *metric* was in use, even if it could not tell."""
        name = metric.quantity.name
        return name in self.samples or name in self.values or name in self.unknown

    def sample(self, metric: Metric) -> Sample | None:
        """Return the values behind *metric*, or None where it is one number."""
        return self.samples.get(metric.quantity.name)

    def value(self, metric: Metric) -> float:
        """Return the number that *metric* names.

        Raises:
            EmptySampleError: It was not recorded, or no value of it was.
        """
        name = metric.quantity.name
        if name in self.values:
            return self.values[name]
        sample = self.samples.get(name)
        if sample is None or not sample.count:
            raise EmptySampleError(f"{metric.name} was not recorded by {self.subject}")
        if metric.percentile is not None:
            return sample.percentile(float(metric.percentile))
        result = getattr(sample, (metric.statistic or Statistic.MAX).value)
        if not isinstance(result, float) or not math.isfinite(result):
            raise EmptySampleError(f"{metric.name} of {self.subject} is no finite number")
        return result


def check_label(label: object) -> None:
    """Refuse what is no label.

    Raises:
        UsageError: It is neither None nor a text that is not empty.
    """
    if label is not None and (not isinstance(label, str) or not label):
        raise UsageError(f"label={label!r}: expected a text that is not empty, or none")


def join(measurements: Iterable[Measurement]) -> list[Measurement]:
    """Return *measurements* with those of the same label made one, in order of the labels.

    Of a number that several state, the worst holds.
    """
    joined: dict[str | None, Measurement] = {}
    for measurement in measurements:
        first = joined.get(measurement.label)
        joined[measurement.label] = measurement if first is None else _joined(first, measurement)
    return list(joined.values())


def _joined(first: Measurement, second: Measurement) -> Measurement:
    worse = {
        name: value
        for name, value in second.values.items()
        if name not in first.values or _is_worse(name, value, first.values[name])
    }
    causes = {name: text for name, text in second.causes.items() if name in worse}
    kept = {name: text for name, text in first.causes.items() if name not in worse}
    return first._replace(
        samples={**second.samples, **first.samples},
        values={**first.values, **worse},
        unknown={**second.unknown, **first.unknown},
        doubts={**second.doubts, **first.doubts},
        notes=(*first.notes, *second.notes),
        causes={**kept, **causes},
        findings=(*first.findings, *second.findings),
        # Those beside a latency say what disturbed it, and not what else was watched in the test.
        monitors=first.monitors
        if "latency" in first.samples
        else tuple(dict.fromkeys((*first.monitors, *second.monitors))),
        curves={**second.curves, **first.curves},
        profiles={**first.profiles, **second.profiles},
    )


def _is_worse(name: str, value: float, other: float) -> bool:
    is_upper = QUANTITIES[name].direction is Direction.UPPER
    return value > other if is_upper else value < other
