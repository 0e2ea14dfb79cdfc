"""Markdown: a comment on a pull request, or the summary of a job."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pytest_agentperf.report.brief import (
    brief_budgets,
    brief_change,
    headline,
    is_regressed,
    short_name,
    shown,
)
from pytest_agentperf.report.escape import markdown_code, markdown_text, shorten
from pytest_agentperf.report.record import VerdictRecord
from pytest_agentperf.report.run import STATUSES, Row, Run

__all__ = ["MARKER", "markdown_report", "markdown_within"]

MARKER: Final = "<!-- pytest-agentperf -->"
"""The first line, by which an action finds the comment that it replaces."""

_LARGEST_COMMENT: Final = 65_536
_FRAMES: Final = 1_500  # heads of tables, folds, and the sentence that says what was left out
_LONGEST_NAME: Final = 200
_LONGEST_SENTENCE: Final = 600
_SIGNS: Final = {"failed": "❌", "undecided": "❔", "warned": "⚠️", "passed": "✅", "measured": "▫️"}
_PROBLEMS: Final = "| verdict | test | metric | value | limit | change | calls |"
_OTHERS: Final = "| verdict | test | calls | median | p95 | budgets | change |"


def markdown_report(run: Run) -> str:
    """Return *run* as a comment on a pull request, in at most 65,536 bytes of UTF-8."""
    return markdown_within(_LARGEST_COMMENT, run)


def markdown_within(most: int, run: Run) -> str:
    """Return *run* in at most *most* bytes of UTF-8.

    Where that is not enough for all of it, what passed is left out first, then findings and then
    reasons, and the text says so.
    """
    rows = run.rows
    worse = [row for row in rows if _is_worse(row)]
    better = [row for row in rows if not _is_worse(row)]
    title, place = f"### {_sign(run, rows)} {headline(run)}", _place(run)
    space = _Space(most - _FRAMES - _size((MARKER, title, place)))
    # What is taken first surely finds its place; the order on the page is another one.
    problems = space.take("rows of tests that did not pass", map(_problems, worse))
    lost = space.take("tests whose worker ended", (_lost(nodeid) for nodeid in run.lost))
    notes = space.take("notes", (f"- **note**: {_sentence(note)}" for note in run.notes))
    reasons = space.take("reasons", _reasons(worse))
    findings = space.take("findings", _findings(rows))
    others = space.take("measurements without a problem", map(_other, better))
    parts = (
        (MARKER, title, ""),
        _table(_PROBLEMS, problems),
        (*lost, *notes, "") if lost or notes else (),
        _folded("Why", reasons),
        _folded(f"Findings ({len(findings)})", findings),
        _folded(f"Without a problem ({len(better)})", _table(_OTHERS, others)),
        (*space.sentence(), place),
    )
    return "\n".join(line for part in parts for line in part) + "\n"


class _Space:
    """Room for so many bytes, and what did not find any."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._omitted: Counter[str] = Counter()

    def take(self, name: str, texts: Iterable[str]) -> list[str]:
        """Return those of *texts* that fit, up to the first that does not."""
        kept = []
        for text in texts:
            self._left -= _size((text,))
            if self._left > 0:
                kept.append(text)
            else:
                self._omitted[name] += 1
        return kept

    def sentence(self) -> list[str]:
        """Return the lines that say what was left out; none where nothing was."""
        parts = [f"{number} {name}" for name, number in self._omitted.items()]
        return [f"_Left out, because there is no room: {', '.join(parts)}._", ""] if parts else []


def _size(texts: Iterable[str]) -> int:
    return sum(len(text.encode()) + 1 for text in texts)


def _is_worse(row: Row) -> bool:
    return row.status in {"failed", "undecided", "warned"} or is_regressed(row)


def _sign(run: Run, rows: Sequence[Row]) -> str:
    """Return the sign of the worst that happened; *rows* begin with theirs."""
    statuses = [row.status for row in rows[:1]]
    if any(map(is_regressed, rows)):
        statuses.append("failed" if run.regressions == "fail" else "warned")
    if run.lost:
        statuses.append("warned")
    return _SIGNS[min(statuses, key=STATUSES.index, default="measured")]


def _problems(row: Row) -> str:
    """Return the lines of the table of problems for *row*."""
    verdicts = [verdict for verdict in row.verdicts if verdict.status != "passed"]
    lines = [_verdict_line(row, verdict) for verdict in verdicts]
    if is_regressed(row):
        median = shown("latency_p50", row.metrics.get("latency_p50"))
        change = markdown_text(brief_change(row))
        cells = ("📉 regressed", _code(row.name), "median", median, "", change, _calls(row))
        lines.insert(0, _line(cells))
    return "\n".join(lines)


def _verdict_line(row: Row, verdict: VerdictRecord) -> str:
    limit = verdict.warn if verdict.status == "warned" else verdict.limit
    cells = (
        f"{_SIGNS[verdict.status]} {verdict.status}",
        _code(row.name),
        short_name(verdict.metric),
        markdown_text(shown(verdict.metric, verdict.value)),
        markdown_text(shown(verdict.metric, limit)),
        "" if is_regressed(row) else markdown_text(brief_change(row)),
        _calls(row),
    )
    return _line(cells)


def _other(row: Row) -> str:
    """Return the line of *row*, which is no problem."""
    times = (shown(name, row.metrics.get(name)) for name in ("latency_p50", "latency_p95"))
    sign = f"{_SIGNS[row.status]} {row.status}"
    brief = (markdown_text(text) for text in (brief_budgets(row), brief_change(row)))
    return _line((sign, _code(row.name), _calls(row), *times, *brief))


def _reasons(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line for each sentence on what did not pass."""
    for row in rows:
        if row.comparison and is_regressed(row):
            yield f"- **regressed** {_code(row.name)}: {_sentence(row.comparison.sentence)}"
        for verdict in row.verdicts:
            if verdict.status != "passed":
                yield f"- **{verdict.status}** {_code(row.name)}: {_sentence(verdict.sentence)}"


def _findings(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if row.measurement is not None:
            for text in (*row.measurement.findings, *row.measurement.notes):
                yield f"- {_code(row.name)}: {_sentence(text)}"


def _lost(nodeid: str) -> str:
    return f"- not measured: {_code(nodeid)} (its worker ended)"


def _place(run: Run) -> str:
    """Return where and when *run* was."""
    versions = (f"{name} {version}" for name, version in run.versions.items())
    told = " · ".join(filter(None, (run.environment, *versions, run.created)))
    return f"<sub>{_sentence(told)}</sub>" if told else ""


def _table(head: str, lines: Sequence[str]) -> list[str]:
    rule = "|" + "---|" * (head.count("|") - 1)
    return [head, rule, *lines, ""] if lines else []


def _folded(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    body = lines if lines[-1] == "" else (*lines, "")
    return [f"<details><summary>{title}</summary>", "", *body, "</details>", ""]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _calls(row: Row) -> str:
    return str(row.measurement.calls) if row.measurement else "0"


def _code(name: str) -> str:
    return markdown_code(shorten(name, _LONGEST_NAME))


def _sentence(text: str) -> str:
    return markdown_text(shorten(text, _LONGEST_SENTENCE))
