"""GitHub: annotations on the lines of tests, and the summary of a job."""

from collections.abc import Iterator
from typing import Final

from pytest_agentperf.report.brief import is_regressed
from pytest_agentperf.report.escape import github_property, github_text, shorten
from pytest_agentperf.report.markdown import markdown_within
from pytest_agentperf.report.run import Row, Run

__all__ = ["annotations", "job_summary"]

_MOST: Final = 10  # of a kind and step GitHub shows no more
_LONGEST: Final = 2_000
_LARGEST_SUMMARY: Final = 200_000  # GitHub takes a megabyte of a step, which others share
_LEVELS: Final = {"failed": "error", "undecided": "warning", "warned": "warning"}


def annotations(run: Run, prefix: str = "") -> list[str]:
    """Return the workflow commands that mark the tests that did not pass, worst first.

    Args:
        run: The run.
        prefix: The path from the top of the repository to where the places of *run* count from.
    """
    lines = [line for row in run.rows for line in _annotate(row, run, prefix)]
    return sorted(lines, key=lambda line: not line.startswith("::error"))[:_MOST]


def _annotate(row: Row, run: Run, prefix: str) -> Iterator[str]:
    """Yield the annotation of *row*; none where it passed."""
    level, title, sentences = _LEVELS.get(row.status), row.status, []
    if level is not None:
        sentences = [verdict.sentence for verdict in row.verdicts if verdict.status == row.status]
    if row.comparison and is_regressed(row):
        is_failed = level == "error" or run.regressions == "fail"
        level, title = "error" if is_failed else "warning", "regressed"
        sentences.insert(0, row.comparison.sentence)
    if level is None:
        return
    file, _, line = run.places.get(row.nodeid, "").rpartition(":")
    where = (
        [f"file={github_property(prefix + file)}", f"line={github_property(line)}"] if file else []
    )
    where.append(f"title={github_property(shorten(f'{title}: {row.name}', _LONGEST))}")
    text = "; ".join(sentences)
    yield f"::{level} {','.join(where)}::{github_text(shorten(text, _LONGEST))}"


def job_summary(run: Run) -> str:
    """Return what is appended to the summary of a job."""
    return f"\n{markdown_within(_LARGEST_SUMMARY - 1, run)}"
