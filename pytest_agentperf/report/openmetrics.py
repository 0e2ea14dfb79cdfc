"""OpenMetrics: what Prometheus scrapes and GitLab compares between branches.

GitLab compares the values as text: what varies from run to run has two digits, so that a change
shows and noise seldom does. Counts and costs are exact.
"""

from collections.abc import Iterator
from typing import Final

from pytest_agentperf.core.metrics import Quantity, find_metric
from pytest_agentperf.core.units import Unit
from pytest_agentperf.report.brief import exported
from pytest_agentperf.report.escape import openmetrics_label
from pytest_agentperf.report.run import STATUSES, Row, Run

__all__ = ["openmetrics_text"]

_UNITS: Final = {
    Unit.SECONDS: "seconds",
    Unit.BYTES: "bytes",
    Unit.SHARE: "ratio",
    Unit.FACTOR: "ratio",
    Unit.DOLLARS: "dollars",
}
_EXACT: Final = {Unit.COUNT, Unit.DOLLARS}
_TOTALS: Final = "agentperf_measurements"


def openmetrics_text(run: Run) -> str:
    """Return *run* as metrics, a family for each quantity and a sample for each measurement."""
    families: dict[str, list[str]] = {}
    for row in run.rows:
        for metric, value in exported(row):
            name, labels = metric.quantity.name, _labels(row, metric.name)
            number = f"{value:.17g}" if metric.unit in _EXACT else f"{value:.2g}"
            families.setdefault(name, []).append(f"{_family(metric.quantity)}{labels} {number}")
    lines = [
        line
        for name in sorted(families)
        for line in (*_head(find_metric(name).quantity), *families[name])
    ]
    return "\n".join((*lines, *_totals(run), "# EOF")) + "\n"


def _family(quantity: Quantity) -> str:
    unit = _UNITS.get(quantity.unit, "")
    return f"agentperf_{quantity.name}_{unit}" if unit else f"agentperf_{quantity.name}"


def _head(quantity: Quantity) -> Iterator[str]:
    name = _family(quantity)
    yield f"# TYPE {name} gauge"
    if unit := _UNITS.get(quantity.unit):
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {quantity.title or quantity.name.replace('_', ' ')}"


def _labels(row: Row, metric: str) -> str:
    """Return the labels of a sample, without blanks: GitLab takes what follows one for a value."""
    found = find_metric(metric)
    labels = {"test": row.nodeid}
    if row.label:
        labels["label"] = row.label
    if found.quantity.has_statistics:
        labels["stat"] = metric.removeprefix(f"{found.quantity.name}_")
    written = (f"{name}={openmetrics_label(text)}" for name, text in labels.items())
    return f"{{{','.join(written)}}}"


def _totals(run: Run) -> Iterator[str]:
    """Yield how many measurements came to what, zeros as well."""
    totals = run.totals
    yield f"# TYPE {_TOTALS} gauge"
    yield f"# HELP {_TOTALS} measurements by what they came to"
    yield from (f'{_TOTALS}{{status="{name}"}} {totals.get(name, 0)}' for name in STATUSES)
