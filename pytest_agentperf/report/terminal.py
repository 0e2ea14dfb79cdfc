"""The terminal section: a line per measurement, worst first, and footnotes with cures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_agentperf.report.brief import brief_budgets, brief_totals, shown
from pytest_agentperf.report.escape import plain_line
from pytest_agentperf.report.record import PerfRecord
from pytest_agentperf.report.run import Row, rows_of

__all__ = ["Line", "summary_lines"]

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
    listed = [row for row in rows if verbosity >= 0 or row.status not in {"passed", "measured"}]
    notes: dict[str, int] = {}
    lines = list(_table(listed, notes)) if listed else []
    if verbosity > 0:
        lines += _details(rows)
    lines += [Line(f"[{number}] {note}") for note, number in notes.items()]
    lines += [
        Line(f"not measured: {plain_line(nodeid)} (its worker ended)", "undecided")
        for nodeid in lost
    ]
    if records and (verbosity >= 0 or lines):
        lines.append(Line(brief_totals(rows, records)))
    return lines


def _table(rows: Sequence[Row], notes: dict[str, int]) -> Iterator[Line]:
    """Return the table of *rows*; what needs words goes into *notes* with its number."""
    from tabulate import tabulate

    cells = []
    for row in rows:
        marks = [notes.setdefault(note, len(notes) + 1) for note in _notes(row)]
        status = " ".join((row.status, *(f"[{mark}]" for mark in marks)))
        calls = row.measurement.calls if row.measurement else 0
        times = [shown(name, row.metrics.get(name)) for name in ("latency_p50", "latency_p95")]
        cells.append((status, calls, *times, brief_budgets(row), plain_line(row.name)))
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
            yield Line("  " + ", ".join(f"{name} {shown(name, value)}" for name, value in metrics))
        for name, reason in row.measurement.unknown.items():
            yield Line(f"  {name} unknown: {plain_line(reason)}")
        for finding in row.measurement.findings[_SHOWN_FINDINGS:]:
            yield Line(f"  found: {plain_line(finding)}")
