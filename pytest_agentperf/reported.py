"""Reports: which files a run is written to, and what GitHub is told."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from pytest_agentperf.core.errors import UnknownNameError
from pytest_agentperf.gate import SIDE_PLUGIN

if TYPE_CHECKING:
    from pytest_agentperf.report.run import Run

__all__ = [
    "ReportSettings",
    "add_report_options",
    "annotation_lines",
    "append_summary",
    "read_report_settings",
    "write_reports",
]

_DETAILED: Final = ("html", "json")
_REPORT: Final = (
    "Write what was measured to a file, once the tests have run; FORMAT is html, json, markdown,"
    " openmetrics, github-benchmark, bencher or pytest-benchmark; may be given several times"
)


class ReportSettings(NamedTuple):
    """Where the results of a run go, besides the terminal.

    Attributes:
        files: Formats and the absolute paths to write them to.
        wants_details: Whether one of them draws more of a measurement than its numbers, in
            whichever process that is measured.
        summary: The file of GitHub's job summary, or None.
        repository: The folder that annotations for GitHub count from; None: there are none.
    """

    files: tuple[tuple[str, Path], ...] = ()
    wants_details: bool = False
    summary: Path | None = None
    repository: Path | None = None

    @property
    def are_wanted(self) -> bool:
        """Whether there is any of these."""
        return bool(self.files or self.summary or self.repository)


def add_report_options(parser: pytest.Parser) -> None:
    """Add the command line option and the ini keys."""
    group = parser.getgroup("agentperf")
    group.addoption(
        "--perf-report", metavar="FORMAT=PATH", action="append", default=None, help=_REPORT
    )
    parser.addini("perf_report", _REPORT, type="linelist", default=None)
    parser.addini(
        "perf_github_summary",
        "Append the results to GitHub's job summary where $GITHUB_STEP_SUMMARY is set",
        type="bool",
        default=True,
    )
    parser.addini(
        "perf_github_annotations",
        "Print annotations for GitHub where $GITHUB_ACTIONS is true",
        type="bool",
        default=True,
    )


def read_report_settings(config: pytest.Config) -> ReportSettings:
    """Return where the results of this session go.

    Raises:
        pytest.UsageError: A report cannot be meant, or its file not be written.
    """
    if config.pluginmanager.has_plugin(SIDE_PLUGIN):
        return ReportSettings()
    stated = config.getoption("perf_report") or config.getini("perf_report") or ()
    files = [_read_file(config.invocation_params.dir, text) for text in stated]
    wants_details = any(name in _DETAILED for name, _ in files)
    if hasattr(config, "workerinput"):  # the controller of xdist writes
        return ReportSettings(wants_details=wants_details)
    _check_files(files)
    return ReportSettings(tuple(files), wants_details, *_read_github(config))


def _read_github(config: pytest.Config) -> tuple[Path | None, Path | None]:
    """Return the file of the job summary, and the folder that annotations count from."""
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    is_annotated = os.environ.get("GITHUB_ACTIONS") == "true"
    return (
        Path(summary) if summary and config.getini("perf_github_summary") else None,
        Path(os.environ.get("GITHUB_WORKSPACE") or config.rootpath)
        if is_annotated and config.getini("perf_github_annotations")
        else None,
    )


def _read_file(start: Path, text: str) -> tuple[str, Path]:
    """Return the format and the path that *text* states; relative ones begin at *start*."""
    name, equals, written = text.partition("=")
    source = f"--perf-report {text}"
    if not equals or not written:
        raise pytest.UsageError(f"{source}: expected FORMAT=PATH, as in html=report.html")
    from pytest_agentperf.report.formats import FORMATS

    if name not in FORMATS:
        raise pytest.UsageError(f"{source}: {UnknownNameError('format', name, FORMATS)}")
    # Links stay what they are, and so does what they point to.
    return name, Path(os.path.abspath(start / written))  # noqa: PTH100


def _check_files(files: Sequence[tuple[str, Path]]) -> None:
    paths = [path for _, path in files]
    for name, path in files:
        if reason := _why_unwritable(path):
            raise pytest.UsageError(
                f"--perf-report {name}={path}: {reason}; name a file that can be written"
            )
        if paths.count(path) > 1:
            raise pytest.UsageError(
                f"--perf-report {name}={path}: is named twice; give each report its own file"
            )


def _why_unwritable(path: Path) -> str:
    """Return why *path* cannot be written, as far as that is known without doing it."""
    if path.exists() and not path.is_file():
        return "it is no ordinary file"
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir():
        return f"{folder} is no folder"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} is not writable"
    return ""


def write_reports(run: "Run", files: Sequence[tuple[str, Path]]) -> Iterator[str]:
    """Write *run* to *files*; yield a sentence for each that could not be written."""
    if not files:
        return
    from pytest_agentperf.report.formats import write_report

    for name, path in files:
        try:
            write_report(run, name, path)
        except OSError as error:
            yield f"{path}: the report could not be written: {error.strerror or error}"


def append_summary(run: "Run", path: Path) -> Iterator[str]:
    """Append *run* to GitHub's job summary at *path*; yield a sentence where that fails."""
    from pytest_agentperf.report.github import job_summary

    try:
        with path.open("ab") as file:
            file.write(job_summary(run).encode())
    except OSError as error:
        yield f"{path}: the job summary could not be written: {error.strerror or error}"


def annotation_lines(run: "Run", settings: ReportSettings, rootpath: Path) -> list[str]:
    """Return the annotations for GitHub on *run*, whose places count from *rootpath*."""
    if settings.repository is None:
        return []
    from pytest_agentperf.report.github import annotations

    top, start = settings.repository.resolve(), rootpath.resolve()
    is_below = start != top and start.is_relative_to(top)
    return annotations(run, f"{start.relative_to(top).as_posix()}/" if is_below else "")
