"""The top of the page: what happened, in one line, and where."""

from collections.abc import Iterator
from typing import Final

from pytest_agentperf.report.brief import headline
from pytest_agentperf.report.page.markup import badge, text
from pytest_agentperf.report.run import Run

__all__ = ["header"]

_SHOWN: Final = 20


def header(run: Run) -> Iterator[str]:
    """Yield the header of the page."""
    when = f" · {text(run.created.replace('T', ' '))}" if run.created else ""
    yield f'<header><p class="by">agentperf{when}</p><h1>{text(_sentence(run))}</h1>'
    counts = (f"<li>{badge(status)} {count}</li>" for status, count in run.totals.items())
    yield f'<ul class="totals">{"".join(counts)}</ul>'
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    for line in filter(None, (run.environment, versions)):
        yield f'<p class="env">{text(line)}</p>'
    lost = (f"not measured: {nodeid} (its worker ended)" for nodeid in run.lost)
    yield from _notes([*run.notes, *lost])
    yield "</header>"


def _sentence(run: Run) -> str:
    found = headline(run)
    return found[:1].upper() + found[1:]


def _notes(notes: list[str]) -> Iterator[str]:
    if not notes:
        return
    shown = [text(note) for note in notes[:_SHOWN]]
    if len(notes) > _SHOWN:
        shown.append(f"and {len(notes) - _SHOWN} more")
    yield f'<ul class="notes">{"".join(f"<li>{note}</li>" for note in shown)}</ul>'
