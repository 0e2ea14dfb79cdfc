"""A section for each measurement: its verdicts in words, its figures, its findings, all numbers."""

from collections.abc import Iterator
from typing import Final

from pytest_agentperf.report.page.budgets import shown_name
from pytest_agentperf.report.page.figures import figures
from pytest_agentperf.report.page.markup import badge, file_link, known_status, number, text
from pytest_agentperf.report.page.numbers import numbers_html
from pytest_agentperf.report.record import MeasurementRecord
from pytest_agentperf.report.run import Row

__all__ = ["section"]

_SHOWN: Final = 5


def section(place: int, row: Row, *, is_open: bool) -> Iterator[str]:
    """Yield the section of *row*, the *place*-th one."""
    opened = " open" if is_open else ""
    yield (
        f'<details class="test" id="t{place}"{opened}><summary>{badge(row.status)}'
        f"<h3>{shown_name(row.nodeid, row.label, 200)}</h3>{_keys(row)}</summary>"
    )
    yield from _sentences(row)
    drawn = "".join(figures(row))
    if drawn:
        yield f'<div class="figures">{drawn}</div>'
    if row.measurement is not None:
        yield from _files(row.measurement)
        yield numbers_html(row.measurement)
    yield "</details>"


def _keys(row: Row) -> str:
    """Return the few numbers that stand in the heading."""
    found = row.measurement
    if found is None:
        return ""
    shown = [
        f"<span><small>{name}</small> {number('latency', found.metrics[key])}</span>"
        for name, key in (("median", "latency_p50"), ("p95", "latency_p95"))
        if key in found.metrics
    ]
    calls = f"<span><small>calls</small> {found.calls:,}</span>"
    return f'<span class="keys">{"".join(shown)}{calls}</span>'


def _sentences(row: Row) -> Iterator[str]:
    """Yield what there is to say in words: verdicts, the baseline, findings, notes."""
    lines = [
        f'<li class="{known_status(verdict.status)}">{text(verdict.sentence)}</li>'
        for verdict in row.verdicts
        if verdict.status != "passed"
    ]
    if row.comparison is not None:
        outcome, sentence = row.comparison.outcome, row.comparison.sentence
        sentence = sentence.removeprefix(f"{outcome}: ")
        lines.append(f"<li>Against the baseline {text(outcome)}: {text(sentence)}</li>")
    measurement = row.measurement
    if measurement is not None:
        lines += [f'<li class="note">{text(note)}</li>' for note in measurement.notes]
        told = "\n".join(verdict.sentence for verdict in row.verdicts)
        found = (finding for finding in measurement.findings if finding not in told)
        lines += [f"<li>{text(finding)}</li>" for finding in found]
    if lines:
        yield f'<ul class="sentences">{"".join(lines[:_SHOWN])}</ul>'
    if len(lines) > _SHOWN:
        yield (
            f'<details class="more"><summary>{len(lines) - _SHOWN} more</summary>'
            f'<ul class="sentences">{"".join(lines[_SHOWN:])}</ul></details>'
        )


def _files(measurement: MeasurementRecord) -> Iterator[str]:
    if measurement.profiles:
        links = ", ".join(
            f'<a href="{text(file_link(path))}">{text(name, 60)}</a>'
            for name, path in measurement.profiles.items()
        )
        yield f'<p class="files">Profiles: {links}</p>'
