"""The terminal section: a line per measurement, worst first, and footnotes with cures."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_agentperf.core.metrics import Direction, find_metric
from pytest_agentperf.core.units import format_beside, format_quantity
from pytest_agentperf.report.escape import plain_line
from pytest_agentperf.report.record import PerfRecord, VerdictRecord
from pytest_agentperf.report.run import STATUSES, Row, rows_of

__all__ = ["Line", "summary_lines"]

_TOLD: Final = {"measured": "measured without a budget"}
_SHOWN_BUDGETS: Final = 2
_SHOWN_FINDINGS: Final = 3


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the section.

    Attributes:
        text: What it says.
        status: What the measurement of it came to, which gives it its colour; or empty.
    """

    text: str
    status: str = ""


def summary_lines(
    records: Sequence[PerfRecord], verbosity: int, lost: Sequence[str] = ()
) -> list[Line]:
    """Return the section for *records*; empty where there is nothing to say.

    Args:
        records: One per test.
        verbosity: Negative: only what did not pass; positive: every metric.
        lost: Node ids of tests whose process ended before they could report.
    """
    rows = rows_of(records)
    shown = [row for row in rows if verbosity >= 0 or row.status not in {"passed", "measured"}]
    notes: dict[str, int] = {}
    lines = list(_table(shown, notes)) if shown else []
    if verbosity > 0:
        lines += _details(rows)
    lines += [Line(f"[{number}] {note}") for note, number in notes.items()]
    lines += [
        Line(f"not measured: {plain_line(nodeid)} (its worker ended)", "undecided")
        for nodeid in lost
    ]
    if records and (verbosity >= 0 or lines):
        lines.append(Line(_totals(rows, records)))
    return lines


def _budgets(row: Row) -> str:
    """Return the tightest few of the worst verdicts of *row* in brief."""
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


def _shown(name: str, value: float | None) -> str:
    return "-" if value is None else format_quantity(value, find_metric(name).unit)


def _brief(verdict: VerdictRecord) -> str:
    """Return value and limit of *verdict*: `p95 912 ms > 800 ms`."""
    metric = find_metric(verdict.metric)
    name = verdict.metric.removesuffix("_max").removeprefix("latency_")
    name = re.sub(r"(?<=\d)_(?=\d)", ".", name).replace("_", " ")  # p99_9 is p99.9
    bound = verdict.warn if verdict.status == "warned" or verdict.limit is None else verdict.limit
    if verdict.value is None or bound is None:
        return f"{name} ?"
    if metric.quantity.direction is Direction.UPPER:
        sign = ">" if verdict.value > bound else "<="
    else:
        sign = "<" if verdict.value < bound else ">="
    value, limit = format_beside(verdict.value, bound, metric.unit)
    return f"{name} {value} {sign} {limit}"


def _table(rows: Sequence[Row], notes: dict[str, int]) -> Iterator[Line]:
    """Return the table of *rows*; what needs words goes into *notes* with its number."""
    from tabulate import tabulate

    cells = []
    for row in rows:
        marks = [notes.setdefault(note, len(notes) + 1) for note in _notes(row)]
        status = " ".join((row.status, *(f"[{mark}]" for mark in marks)))
        calls = row.measurement.calls if row.measurement else 0
        times = [_shown(name, row.metrics.get(name)) for name in ("latency_p50", "latency_p95")]
        cells.append((status, calls, *times, _budgets(row), plain_line(row.name)))
    text = tabulate(
        cells,
        headers=("verdict", "calls", "median", "p95", "budgets", "test"),
        colalign=("left", "right", "right", "right", "left", "left"),
        disable_numparse=True,
    )
    header, rule, *body = text.splitlines()
    yield Line(header)
    yield Line(rule)
    for line, row in zip(body, rows, strict=True):
        yield Line(line.rstrip(), row.status)


def _notes(row: Row) -> Iterator[str]:
    """Return the sentences that *row* needs: why it is not passed, what weakens it."""
    yield from (plain_line(v.sentence) for v in row.verdicts if v.status in {"undecided", "warned"})
    if row.measurement is None:
        return
    yield from map(plain_line, row.measurement.notes)
    findings = row.measurement.findings
    yield from map(plain_line, findings[:_SHOWN_FINDINGS])
    if len(findings) > _SHOWN_FINDINGS:
        more = len(findings) - _SHOWN_FINDINGS
        yield f"{more} more findings in {plain_line(row.name)}, shown by -v"


def _details(rows: Sequence[Row]) -> Iterator[Line]:
    """Return every verdict and every metric of *rows*, for a verbose run."""
    for row in rows:
        yield Line("")
        yield Line(plain_line(row.name), row.status)
        for verdict in row.verdicts:
            yield Line(f"  {verdict.status}: {plain_line(verdict.sentence)}", verdict.status)
        if row.measurement is None:
            continue
        metrics = row.measurement.metrics.items()
        if metrics:
            yield Line("  " + ", ".join(f"{name} {_shown(name, value)}" for name, value in metrics))
        for name, reason in row.measurement.unknown.items():
            yield Line(f"  {name} unknown: {plain_line(reason)}")
        for finding in row.measurement.findings[_SHOWN_FINDINGS:]:
            yield Line(f"  found: {plain_line(finding)}")


def _totals(rows: Sequence[Row], records: Sequence[PerfRecord]) -> str:
    """Return how many measurements came to what."""
    counted = Counter(row.status for row in rows)
    parts = [
        f"{counted[status]} {_TOLD.get(status, status)}" for status in STATUSES if counted[status]
    ]
    ignored = sum(record.not_applicable for record in records)
    if ignored:
        parts.append(f"{ignored} limit{'s' * (ignored != 1)} not applicable")
    noun = "measurement" if len(rows) == 1 else "measurements"
    return f"{len(rows)} {noun}: " + ", ".join(parts) if parts else f"{len(rows)} {noun}"
