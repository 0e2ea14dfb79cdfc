"""The formats that a run can be written in: one table, whose writers are imported when used."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_agentperf.core.files import write_text

if TYPE_CHECKING:
    from pytest_agentperf.report.run import Run

__all__ = ["FORMATS", "render", "write_report"]

FORMATS: Final[Mapping[str, str]] = {
    "html": "html.html_page",
    "json": "runfile.run_text",
    "markdown": "markdown.markdown_report",
    "openmetrics": "openmetrics.openmetrics_text",
    "github-benchmark": "github_benchmark.smaller_is_better",
    "bencher": "bencher.bencher_metrics",
    "pytest-benchmark": "pytest_benchmark.benchmark_report",
}
"""By the name of each format, the module of this folder and its function from a run to a text."""

_BESIDE: Final[Mapping[str, tuple[str, str]]] = {
    "github-benchmark": (".bigger.json", "github_benchmark.bigger_is_better"),
}
"""A second file: what is appended to the path, and the function; none where its text is empty."""


def write_report(run: "Run", name: str, path: Path) -> None:
    """Write *run* to *path* in the format *name*, each file whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    write_text(path, render(run, name))
    if name not in _BESIDE:
        return
    suffix, writer = _BESIDE[name]
    beside = path.with_name(path.name + suffix)
    if text := _call(writer, run):
        write_text(beside, text)
    else:
        beside.unlink(missing_ok=True)  # one of an earlier run would be read as this one's


def render(run: "Run", name: str) -> str:
    """Return *run* as the text of the format *name*."""
    return _call(FORMATS[name], run)


def _call(writer: str, run: "Run") -> str:
    module, _, function = writer.partition(".")
    text: str = getattr(import_module(f"{__package__}.{module}"), function)(run)
    return text
