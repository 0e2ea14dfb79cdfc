"""github-action-benchmark: a list of numbers, one direction a file."""

import json
from typing import Any, Final

from pytest_agentperf.core.metrics import Direction, Metric
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.report.brief import exported, scaled
from pytest_agentperf.report.escape import plain_line
from pytest_agentperf.report.run import Row, Run

__all__ = ["bigger_is_better", "smaller_is_better"]

# One unit for all runs of a metric, since charts do not convert: milliseconds suit agents.
_SHOWN: Final = {Unit.SECONDS: ("ms", 1e3), Unit.SHARE: ("%", 100.0)}


def smaller_is_better(run: Run) -> str:
    """Return what the tool `customSmallerIsBetter` reads."""
    return _entries(run, Direction.UPPER)


def bigger_is_better(run: Run) -> str:
    """Return what the tool `customBiggerIsBetter` reads; empty where there is no such metric."""
    text = _entries(run, Direction.LOWER)
    return "" if text == "[]\n" else text


def _entries(run: Run, direction: Direction) -> str:
    found = [
        _entry(row, metric, value)
        for row in run.rows
        for metric, value in exported(row)
        if metric.quantity.direction is direction
    ]
    return json.dumps(found, allow_nan=False, indent=1) + "\n"


def _entry(row: Row, metric: Metric, value: float) -> dict[str, Any]:
    unit, factor = _SHOWN.get(metric.unit, (metric.unit.symbol, 1.0))
    entry = {
        "name": plain_line(f"{row.name}: {metric.title}"),
        "unit": unit,
        "value": scaled(value, factor),
    }
    for verdict in row.verdicts:
        if verdict.metric == metric.name:
            entry["extra"] = plain_line(verdict.sentence)
            if verdict.low is not None and verdict.high is not None:
                low, high = (format_quantity(b, metric.unit) for b in (verdict.low, verdict.high))
                entry["range"] = f"{low} to {high}"
    return entry
