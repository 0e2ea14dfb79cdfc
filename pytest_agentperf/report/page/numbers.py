"""All numbers of one measurement, folded away: what has statistics as a table, then the others."""

from collections.abc import Iterator
from typing import Final

from pytest_agentperf.core.metrics import QUANTITIES
from pytest_agentperf.report.page.markup import number, text, title_of
from pytest_agentperf.report.record import MeasurementRecord

__all__ = ["numbers_html"]

_STATISTICS: Final = ("min", "mean", "p50", "p90", "p95", "p99", "max", "stddev")
_SAMPLED: Final = tuple(name for name, known in QUANTITIES.items() if known.has_statistics)


def numbers_html(measurement: MeasurementRecord) -> str:
    """Return all that is known of *measurement*, and why the rest is not."""
    rows = "".join(_samples(measurement))
    others = "".join(_others(measurement))
    if not rows and not others:
        return ""
    heads = "".join(f'<th scope="col">{statistic}' for statistic in _STATISTICS)
    table = f"<table><tr><td></td>{heads}</tr>{rows}</table>" if rows else ""
    return (
        '<details class="numbers"><summary>All numbers</summary>'
        f"{table}{others and f'<ul>{others}</ul>'}</details>"
    )


def _samples(measurement: MeasurementRecord) -> Iterator[str]:
    for name in _SAMPLED:
        metrics = [f"{name}_{statistic}" for statistic in _STATISTICS]
        if any(metric in measurement.metrics for metric in metrics):
            shown = (number(metric, measurement.metrics.get(metric)) for metric in metrics)
            cells = "".join(f"<td>{each}" for each in shown)
            yield f'<tr><th scope="row">{name}</th>{cells}</tr>'


def _others(measurement: MeasurementRecord) -> Iterator[str]:
    shown = {f"{name}_{statistic}" for name in _SAMPLED for statistic in _STATISTICS}
    for name, value in measurement.metrics.items():
        if name not in shown:
            yield f"<li>{text(title_of(name), 80)} <b>{number(name, value)}</b></li>"
    for name, reason in measurement.unknown.items():
        yield f"<li>{text(name.replace('_', ' '), 80)} unknown: {text(reason)}</li>"
    if measurement.monitors:
        yield f"<li>measured beside {text(', '.join(measurement.monitors))}</li>"
