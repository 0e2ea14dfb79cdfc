"""Bencher Metric Format: measures by benchmark, times in nanoseconds."""

import json
from typing import Any, Final

from pytest_agentperf.core.metrics import Metric
from pytest_agentperf.core.units import Unit
from pytest_agentperf.report.brief import exported, scaled
from pytest_agentperf.report.escape import plain_line, shorten_name
from pytest_agentperf.report.run import Row, Run

__all__ = ["bencher_metrics"]

_LONGEST_NAME: Final = 1_024
# Measures that every project of Bencher has: the time of a call, and operations per second.
_BUILT_IN: Final = {"latency_p50": "latency", "throughput": "throughput"}


def bencher_metrics(run: Run) -> str:
    """Return *run* as JSON: the median is `latency`, other metrics are measures of their name."""
    found = {
        shorten_name(plain_line(row.name).strip(), _LONGEST_NAME): measures
        for row in run.rows
        if (measures := {_slug(metric): _bounded(row, metric, v) for metric, v in exported(row)})
    }
    return json.dumps(found, allow_nan=False, indent=1) + "\n"


def _slug(metric: Metric) -> str:
    return _BUILT_IN.get(metric.name) or metric.name.replace("_", "-")


def _bounded(row: Row, metric: Metric, value: float) -> dict[str, Any]:
    """Return *value* with its confidence bounds, as far as its verdict knows them."""
    factor = 1e9 if metric.unit is Unit.SECONDS else 1.0
    verdict = next((one for one in row.verdicts if one.metric == metric.name), None)
    bounds = {"lower_value": verdict.low, "upper_value": verdict.high} if verdict else {}
    told = {"value": value, **bounds}
    return {name: scaled(number, factor) for name, number in told.items() if number is not None}
