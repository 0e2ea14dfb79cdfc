"""Rows in brief: the few words and numbers that tables have room for."""

import math
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from pytest_agentperf.core.metrics import Direction, Metric, find_metric
from pytest_agentperf.core.units import format_beside, format_quantity
from pytest_agentperf.report.record import PerfRecord, VerdictRecord
from pytest_agentperf.report.run import Row, Run, totals_of

__all__ = [
    "brief_budgets",
    "brief_change",
    "brief_totals",
    "exported",
    "headline",
    "is_regressed",
    "scaled",
    "short_name",
    "shown",
]

_TOLD: Final = {"measured": "measured without a budget"}
_SHOWN_BUDGETS: Final = 2
_EXPORTED: Final = ("p50", "p95")


def shown(name: str, value: float | None) -> str:
    """Return *value* of the metric *name* with its unit; `-` where it is unknown."""
    return "-" if value is None else format_quantity(value, find_metric(name).unit)


def short_name(metric: str) -> str:
    """Return the name of *metric* as tables show it: `p95`, `ttft p99.9`, `hit rate`."""
    name = metric.removesuffix("_max").removeprefix("latency_")
    return re.sub(r"(?<=\d)_(?=\d)", ".", name).replace("_", " ")


def brief_budgets(row: Row) -> str:
    """Return the tightest few of the worst verdicts of *row*: `p95 912 ms > 800 ms, 2 more`."""
    verdicts = [verdict for verdict in row.verdicts if verdict.status == row.status]
    tightest = sorted(verdicts, key=_slack)
    brief = [_brief(verdict) for verdict in tightest[:_SHOWN_BUDGETS]]
    if len(verdicts) > _SHOWN_BUDGETS:
        brief.append(f"{len(verdicts) - _SHOWN_BUDGETS} more")
    return ", ".join(brief)


def _slack(verdict: VerdictRecord) -> float:
    """Return how far the value is from its limit, 1 for at the limit; less is tighter."""
    if verdict.value is None or not verdict.limit:
        return 0.0
    ratio = verdict.value / verdict.limit
    is_upper = find_metric(verdict.metric).quantity.direction is Direction.UPPER
    return (1 / ratio if ratio else math.inf) if is_upper else ratio


def _brief(verdict: VerdictRecord) -> str:
    """Return value and limit of *verdict*: `p95 912 ms > 800 ms`."""
    metric, name = find_metric(verdict.metric), short_name(verdict.metric)
    bound = verdict.warn if verdict.status == "warned" or verdict.limit is None else verdict.limit
    if verdict.value is None or bound is None:
        return f"{name} ?"
    if metric.quantity.direction is Direction.UPPER:
        sign = ">" if verdict.value > bound else "<="
    else:
        sign = "<" if verdict.value < bound else ">="
    value, limit = format_beside(verdict.value, bound, metric.unit)
    return f"{name} {value} {sign} {limit}"


def brief_change(row: Row) -> str:
    """Return what the regression gate says of *row*: `+12 % regressed`; empty where nothing."""
    compared = row.comparison
    if compared is None:
        return ""
    change = "" if compared.ratio is None else f"{100 * (compared.ratio - 1):+.3g} % "
    return f"{change}{compared.outcome}"


def brief_totals(rows: Sequence[Row], records: Sequence[PerfRecord]) -> str:
    """Return how many measurements came to what."""
    totals = totals_of(rows)
    parts = [f"{number} {_TOLD.get(status, status)}" for status, number in totals.items()]
    ignored = sum(record.not_applicable for record in records)
    if ignored:
        parts.append(f"{_counted(ignored, 'limit')} not applicable")
    counted = _counted(len(rows), "measurement")
    return f"{counted}: {', '.join(parts)}" if parts else counted


def is_regressed(row: Row) -> bool:
    """Return whether *row* got worse than its baseline."""
    return row.comparison is not None and row.comparison.outcome == "regressed"


def headline(run: Run) -> str:
    """Return what *run* came to, in a line: `2 of 31 budgets exceeded, 1 undecided`."""
    statuses = [verdict.status for record in run.records for verdict in record.verdicts]
    parts = [
        f"{statuses.count(name)} {name}" for name in ("undecided", "warned") if name in statuses
    ]
    if regressed := sum(map(is_regressed, run.rows)):
        parts.insert(0, f"{regressed} regressed")
    if failed := statuses.count("failed"):
        parts.insert(0, f"{failed} of {_counted(len(statuses), 'budget')} exceeded")
    elif statuses and not parts:
        parts = [f"{_counted(len(statuses), 'budget')} kept"]
    elif not statuses:
        parts.append(f"{_counted(len(run.rows), 'measurement')} without a budget")
    if run.lost:
        parts.append(f"{_counted(len(run.lost), 'test')} lost with a worker")
    return ", ".join(parts)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def scaled(value: float, factor: float) -> float:
    """Return *value* times *factor*, as near to that as a finite number is."""
    return max(-sys.float_info.max, min(value * factor, sys.float_info.max))


def exported(row: Row) -> Iterator[tuple[Metric, float]]:
    """Yield the metrics of *row* that are worth following from run to run.

    Of a sample the median and p95, each plain number, and all that has a budget.
    """
    budgeted = {verdict.metric for verdict in row.verdicts}
    for name, value in row.metrics.items():
        metric = find_metric(name)
        statistic = name.removeprefix(f"{metric.quantity.name}_")
        if not metric.quantity.has_statistics or statistic in _EXPORTED or name in budgeted:
            yield metric, value
