"""Details of measurements, gathered when their test has ended, and only for a report."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from pytest_agentperf.core.detail import Detail, merge_details, quantiles
from pytest_agentperf.core.measurement import Measurement

__all__ = ["with_details"]


def with_details(
    measurements: Sequence[Measurement], found: Iterable[tuple[str | None, Detail]]
) -> list[Measurement]:
    """Return *measurements* with their details.

    Args:
        measurements: Of one test, one by label.
        found: What recorders have seen beside their numbers, by label.
    """
    by_label: defaultdict[str | None, list[Detail]] = defaultdict(list)
    for label, detail in found:
        by_label[label].append(detail)
    return [
        each._replace(detail=merge_details([*by_label[each.label], _distributions(each)]))
        for each in measurements
    ]


def _distributions(measurement: Measurement) -> Detail:
    samples = measurement.samples.items()
    return Detail(quantiles={name: quantiles(sample) for name, sample in samples if sample.count})
