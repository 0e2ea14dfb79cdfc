"""The terminal section: a line per measurement, worst first, and footnotes with cures."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.report.brief import brief_budgets, brief_totals, shown
from pytest_agentperf.report.escape import plain_line
from pytest_agentperf.report.record import CurveRecord, PerfRecord
from pytest_agentperf.report.run import Row, rows_of
from pytest_agentperf.report.sparkline import sparkline
from pytest_agentperf.report.table import table_rows

__all__ = ["Line", "summary_lines"]

_SHOWN_FINDINGS: Final = 3
_COLUMNS: Final = {
    "verdict": "left",
    "calls": "right",
    "median": "right",
    "p95": "right",
    "spread": "left",
    "budgets": "left",
    "test": "left",
}
_CURVE_WIDTH: Final = 40
_QUANTILES: Final = ("min", "p25", "p50", "p75", "p90", "p95", "p99", "max")
_UNITS: Final = {unit.symbol: unit for unit in Unit if unit.symbol}


class Line(NamedTuple):
    """A line of the section.

    Attributes:
        text: What it says.
        status: What the measurement of it came to, which gives it its colour; or empty.
    """

    text: str
    status: str = ""


def summary_lines(
    records: Sequence[PerfRecord],
    verbosity: int,
    lost: Sequence[str] = (),
    *,
    width: int | None = None,
    is_unicode: bool = True,
) -> list[Line]:
    """Return the section for *records*; empty where there is nothing to say.

    Args:
        records: One per test.
        verbosity: Negative: only what did not pass; positive: every metric.
        lost: Node ids of tests whose process ended before they could report.
        width: Of the terminal in characters; None: rows are as long as they are.
        is_unicode: Whether the terminal can show block characters.
    """
    rows = rows_of(records)
    listed = [row for row in rows if verbosity >= 0 or row.status not in {"passed", "measured"}]
    notes: dict[str, int] = {}
    lines = list(_table(listed, notes, width, is_unicode=is_unicode)) if listed else []
    if verbosity > 0:
        lines += _details(rows, is_unicode=is_unicode)
    lines += [Line(f"[{number}] {note}") for note, number in notes.items()]
    lines += [
        Line(f"not measured: {plain_line(nodeid)} (its worker ended)", "undecided")
        for nodeid in lost
    ]
    if records and (verbosity >= 0 or lines):
        lines.append(Line(brief_totals(rows, records)))
    return lines


def _table(
    rows: Sequence[Row], notes: dict[str, int], width: int | None, *, is_unicode: bool
) -> Iterator[Line]:
    """Return the table of *rows*; what needs words goes into *notes* with its number."""
    cells = [_cells(row, notes, is_unicode=is_unicode) for row in rows]
    names = [plain_line(row.name) for row in rows]
    wide = [[*row, name] for row, name in zip(cells, names, strict=True)]
    head, *bodies = table_rows(_COLUMNS, wide)
    if width is not None and max(len(line) for lines in (head, *bodies) for line in lines) > width:
        # Each test above its numbers, a budget a line; nothing is cut.
        narrow = [[*most, budgets.replace(", ", "\n"), ""] for *most, budgets in cells]
        head, *bodies = table_rows(_COLUMNS, narrow)
        bodies = [[name, *body] for name, body in zip(names, bodies, strict=True)]
    yield from map(Line, head)
    for row, body in zip(rows, bodies, strict=True):
        yield from (Line(line, row.status) for line in body)


def _cells(row: Row, notes: dict[str, int], *, is_unicode: bool) -> list[str]:
    """Return the cells of *row* but for the test's name."""
    marks = [notes.setdefault(note, len(notes) + 1) for note in _notes(row)]
    status = " ".join((row.status, *(f"[{mark}]" for mark in marks)))
    calls = str(row.measurement.calls if row.measurement else 0)
    times = [shown(name, row.metrics.get(name)) for name in ("latency_p50", "latency_p95")]
    return [status, calls, *times, _spread(row, is_unicode=is_unicode), brief_budgets(row)]


def _spread(row: Row, *, is_unicode: bool) -> str:
    """Return the latencies of *row* from the smallest to the highest, the median half high."""
    names = [f"latency_{statistic}" for statistic in _QUANTILES]
    values = [row.metrics[name] for name in names if name in row.metrics]
    if len(values) < len(names) or not row.measurement or row.measurement.calls == 1:
        return ""
    # The median in the middle of the fourth of eight heights, so that noise moves it to no other.
    high = row.metrics["latency_p50"] * 8 / 3.5
    return sparkline(values, low=0.0, high=high, is_unicode=is_unicode)


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


def _details(rows: Sequence[Row], *, is_unicode: bool) -> Iterator[Line]:
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
            yield Line("  " + ", ".join(f"{name} {shown(name, value)}" for name, value in metrics))
        for name, curve in row.measurement.curves.items():
            yield Line(f"  {plain_line(_curve_line(name, curve, is_unicode=is_unicode))}")
        for name, reason in row.measurement.unknown.items():
            yield Line(f"  {name} unknown: {plain_line(reason)}")
        for finding in row.measurement.findings[_SHOWN_FINDINGS:]:
            yield Line(f"  found: {plain_line(finding)}")


def _curve_line(name: str, curve: CurveRecord, *, is_unicode: bool) -> str:
    """Return how the level called *name* went: its shape, its first value and its last."""
    values = [value for _, value in curve.points]
    drawn = sparkline(values, _CURVE_WIDTH, is_unicode=is_unicode)
    unit = _UNITS.get(curve.unit)
    ends = [
        format_quantity(value, unit) if unit else f"{value:.3g} {curve.unit}" for value in values
    ]
    return f"{name} over {curve.axis} {drawn} from {ends[0]} to {ends[-1]}" if ends else name
