"""The table of budgets: one row for each verdict, worst first."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pytest_agentperf.report.page.markup import (
    badge,
    is_upper,
    known_status,
    number,
    short,
    text,
    title_of,
)
from pytest_agentperf.report.record import ComparisonRecord, VerdictRecord
from pytest_agentperf.report.run import STATUSES, Row
from pytest_agentperf.report.svg import bar

__all__ = ["budgets_table", "shown_name"]

_NONE: Final = '<td class="n">–'
_NUMBERS: Final = ' class="n" data-numbers'
_HEADS: Final = (
    ("Verdict", " data-numbers"),
    ("Test", ""),
    ("Metric", ""),
    ("Value", _NUMBERS),
    ("95 % interval", _NUMBERS),
    ("Budget", _NUMBERS),
    ("Change", _NUMBERS),
    ("Calls", _NUMBERS),
    ("Limit from", ""),
)


def budgets_table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the table of *rows*, which are numbered in their order."""
    heads = "".join(f'<th scope="col"{kind}>{name}</th>' for name, kind in _HEADS)
    yield (
        '<section aria-labelledby="budgets"><h2 id="budgets">Budgets</h2>'
        '<div class="wide" tabindex="0" role="region" aria-labelledby="budgets">'
        f'<table class="sortable"><thead><tr>{heads}</tr></thead><tbody>'
    )
    for place, row in enumerate(rows):
        if not row.verdicts:
            yield _measured(place, row)
        for nth, verdict in enumerate(row.verdicts):
            yield _verdict(place, row, verdict, is_first=not nth)
    yield "</tbody></table></div></section>"


def shown_name(nodeid: str, label: str | None, most: int = 90, *, with_file: bool = True) -> str:
    """Return a test as HTML: the file it is in, dimmed, and its name."""
    where, _, name = nodeid.partition("::")
    if not name:
        where, name = "", nodeid
    label = f'<span class="label">#{short(label, most)}</span>' if label else ""
    above = f'<span class="where">{short(where, most)}</span>' if where and with_file else ""
    return f"{above}<b>{short(name, most)}</b>{label}"


def _verdict(place: int, row: Row, verdict: VerdictRecord, *, is_first: bool) -> str:
    metric, value = verdict.metric, verdict.value
    is_warning = verdict.limit is None or verdict.status == "warned"
    bound = verdict.warn if is_warning else verdict.limit
    share = value / bound if value is not None and bound else None
    cells = (
        f"<td>{text(title_of(metric), 80)}",
        _number(number(metric, value), value),
        _number(_interval(verdict), verdict.low),
        _number(_budget(verdict, bound), share),
    )
    others = (_change(row.comparison if is_first else None), _calls(row), _origin(row, verdict))
    return _row(place, row, verdict.status, (*cells, *others), is_first=is_first)


def _origin(row: Row, verdict: VerdictRecord) -> str:
    """Return where a limit came from; the name of the test stands in the same row."""
    source = verdict.source.replace(f'"{row.nodeid}"', '"…"').replace(row.nodeid, "this test")
    return f'<td class="from" title="{text(source, 400)}">{short(source, 30)}'


def _measured(place: int, row: Row) -> str:
    value = row.metrics.get("latency_p50")
    metric = "–" if value is None else "p50 latency"
    cells = (f"<td>{metric}", _number(number("latency_p50", value), value), _NONE, _NONE)
    others = (_change(row.comparison), _calls(row), "<td>–")
    return _row(place, row, "measured", (*cells, *others), is_first=True)


def _row(place: int, row: Row, status: str, cells: Iterable[str], *, is_first: bool) -> str:
    order = STATUSES.index(status) if status in STATUSES else len(STATUSES)
    name = shown_name(row.nodeid, row.label, with_file=is_first)
    return (
        f'<tr{"" if is_first else " class=again"}><td data-v="{order}">{badge(status)}'
        f'<th scope="row"><a href="#t{place}">{name}</a></th>{"".join(cells)}'
    )


def _calls(row: Row) -> str:
    calls = row.measurement.calls if row.measurement else 0
    return f'<td class="n" data-v="{calls}">{calls:,}'


def _number(shown: str, value: float | None) -> str:
    key = "" if value is None else f' data-v="{value:.6g}"'
    return f'<td class="n"{key}>{shown}'


def _interval(verdict: VerdictRecord) -> str:
    low, high = verdict.low, verdict.high
    if low is None and high is None:
        return "–"
    if high is None:
        return f"from {number(verdict.metric, low)}"
    if low is None:
        return f"to {number(verdict.metric, high)}"
    return f"{number(verdict.metric, low)} – {number(verdict.metric, high)}"


def _budget(verdict: VerdictRecord, bound: float | None) -> str:
    if bound is None:
        return "–"
    sign = "≤" if is_upper(verdict.metric) else "≥"
    drawn = ""
    if verdict.value is not None and verdict.value >= 0 and bound > 0:
        drawn = bar(verdict.value, bound, known_status(verdict.status), (verdict.low, verdict.high))
    return f"{drawn}<span>{sign} {number(verdict.metric, bound)}</span>"


def _change(comparison: ComparisonRecord | None) -> str:
    if comparison is None:
        return '<td class="n">–'
    if comparison.ratio is None:
        return f'<td class="n">{text(comparison.outcome, 40)}'
    change = 100 * (comparison.ratio - 1)
    outcome = text(comparison.outcome, 40)
    return (
        f'<td class="n" data-v="{change:.6g}" title="{text(comparison.sentence)}">'
        f'{change:+.1f} % <small class="s {"failed" if outcome == "regressed" else ""}">'
        f"{outcome}</small>"
    )
