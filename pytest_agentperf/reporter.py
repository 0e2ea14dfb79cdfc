"""The reporter: gathers the records of a run, shows them, writes reports, and keeps the run."""

import os
import platform
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_agentperf.core.errors import AgentPerfError
from pytest_agentperf.options import is_narrowed
from pytest_agentperf.report.escape import encodable
from pytest_agentperf.report.record import PerfRecord
from pytest_agentperf.reported import annotation_lines, append_summary, write_reports
from pytest_agentperf.runtime import BEGUN, RECORD
from pytest_agentperf.session import PerfSession

if TYPE_CHECKING:
    from pytest_agentperf.gated import Gate
    from pytest_agentperf.report.run import Run
    from pytest_agentperf.report.terminal import Line

__all__ = ["Reporter"]

_COLOURS: Final = {
    "failed": {"red": True},
    "undecided": {"yellow": True},
    "warned": {"yellow": True},
    "passed": {"green": True},
}


class Reporter:
    """Lives where reports arrive: in the only process, or in the controller of xdist."""

    def __init__(self, session: PerfSession) -> None:
        self._session = session
        # Tests fork, and only the process that was configured may write. Tests mock, too.
        self._getpid = os.getpid
        self._pid = os.getpid()
        self._records: dict[str, PerfRecord] = {}
        self._begun: set[str] = set()
        self._crashed: list[str] = []
        self._broken: list[str] = []
        self._unused: list[str] = []
        self._places: dict[str, str] = {}
        self._annotations: list[str] = []
        self._has_run = False
        self._moved: list[Line] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the record that a report carries."""
        if getattr(report, BEGUN, False):
            self._begun.add(report.nodeid)
            self._records.pop(report.nodeid, None)  # of an earlier attempt
        content = getattr(report, RECORD, None)
        if content is not None:
            self._take(report.nodeid, content)
            file, line, _ = report.location
            self._places[report.nodeid] = f"{file}:{(line or 0) + 1}"
        elif report.when == "call":
            self._begun.discard(report.nodeid)
        elif report.when not in {"setup", "teardown"} and report.nodeid in self._begun:
            self._crashed.append(report.nodeid)  # xdist's report of a worker that ended

    def _take(self, nodeid: str, content: object) -> None:
        try:
            self._records[nodeid] = PerfRecord.from_builtin(content)
        except AgentPerfError as error:
            self._broken.append(f"{nodeid}: its record is unreadable: {error}")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker of xdist sent when it ended."""
        sent = getattr(node, "workeroutput", {}).get("agentperf", {})
        if sent.get("unmatched"):
            self._session.unmatched = list(sent["unmatched"])
        self._session.acceptances.used.update(sent.get("used", ()))

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        """Write the section of this plugin."""
        lines = self._lines(config.get_verbosity(), config.get_terminal_writer().fullwidth)
        if not lines:
            return
        terminalreporter.ensure_newline()
        terminalreporter.section("performance")
        for line in lines:
            terminalreporter.write_line(line.text, **_COLOURS.get(line.status, {}))

    def _lines(self, verbosity: int, width: int) -> "list[Line]":
        notes = self._notes()
        is_silent = verbosity < 0 and not (self._crashed or self._moved or notes)
        if is_silent and self._session.gate is None and all(map(_is_passed, self._shown())):
            return []
        from pytest_agentperf.report.sparkline import can_show
        from pytest_agentperf.report.terminal import Line, summary_lines

        lines = summary_lines(
            self._shown(),
            verbosity,
            self._crashed,
            width=width,
            is_unicode=can_show(getattr(sys.__stdout__, "encoding", None)),
        )
        if self._session.gate is not None:
            lines += self._session.gate.lines(list(self._records.values()), verbosity)
        lines += self._moved
        return lines + [Line(f"warning: {sentence}", "warned") for sentence in notes]

    def _shown(self) -> list[PerfRecord]:
        """Return what is known of each test."""
        return [*self._records.values(), *self._session.interrupted]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Note that tests run, which they do not when they are only listed."""
        self._has_run = not session.config.option.collectonly

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Keep what a whole run measured, and write its reports."""
        is_whole = exitstatus in {0, 1} and not (session.shouldstop or session.shouldfail)
        if is_whole and not is_narrowed(session.config):
            self._unused = self._session.acceptances.unused()
        if not self._has_run or self._getpid() != self._pid or exitstatus not in {0, 1}:
            return
        if self._session.gate is not None and self._records:
            self._move_baseline(session, self._session.gate, is_passed=exitstatus == 0)
        cache = getattr(session.config, "cache", None) if self._records else None
        if cache is not None or self._session.settings.reports.are_wanted:
            run = self._run(session.config, int(exitstatus))
            self._keep(cache, run)
            self._publish(session, run)

    def _run(self, config: pytest.Config, exit_status: int) -> "Run":
        """Return all that this session measured."""
        from pytest_agentperf.gate.environment import environment_key
        from pytest_agentperf.report.run import Run

        workers = getattr(config.option, "numprocesses", None) or 1
        return Run(
            list(self._records.values()),
            datetime.now(UTC).isoformat(timespec="seconds"),
            environment_key(workers),
            versions=_versions(),
            exit_status=exit_status,
            places=self._places,
            lost=self._crashed,
            notes=self._notes(),
            regressions=self._session.settings.gate.regressions,
        )

    def _notes(self) -> list[str]:
        """Return the sentences that concern the whole run."""
        unmatched = self._session.explain_unmatched(self._session.unmatched)
        return [*unmatched, *self._unused, *self._broken]

    def _publish(self, session: pytest.Session, run: "Run") -> None:
        """Write the reports that were asked for; a passed run without one of them is none."""
        settings = self._session.settings.reports
        missing = list(write_reports(run, settings.files))
        if missing and not session.exitstatus:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        self._broken += missing
        if (self._records or self._crashed) and settings.summary is not None:
            self._broken += append_summary(run, settings.summary)
        self._annotations = annotation_lines(run, settings, session.config.rootpath)

    def pytest_unconfigure(self) -> None:
        """Print annotations for GitHub when nobody else writes, each at the start of a line.

        To standard output, which GitHub reads, whatever shows the tests there.
        """
        for line in self._annotations:
            sys.stdout.write(encodable(f"{line}\n", sys.stdout.encoding))

    def _keep(self, cache: pytest.Cache | None, run: "Run") -> None:
        """Keep *run* in the cache directory of pytest."""
        if cache is None:
            return
        from pytest_agentperf.report.runfile import LAST_RUN, write_run

        try:
            write_run(cache.mkdir("agentperf") / LAST_RUN, run)
        except OSError as error:
            where = error.filename or "pytest's cache directory"
            self._broken.append(f"{where}: the run could not be kept: {error.strerror or error}")

    def _move_baseline(self, session: pytest.Session, gate: "Gate", *, is_passed: bool) -> None:
        """Add the runs of this session to the baseline, where that is asked for."""
        from pytest_agentperf.report.terminal import Line

        try:
            told = gate.keep(list(self._records.values()), is_passed=is_passed)
        except (OSError, AgentPerfError) as error:
            self._moved = [Line(f"the baseline could not be updated: {error}", "failed")]
            if is_passed:
                session.exitstatus = pytest.ExitCode.USAGE_ERROR
            return
        self._moved = [Line(told)] if told else []


def _is_passed(record: PerfRecord) -> bool:
    return all(verdict.status == "passed" for verdict in record.verdicts)


def _versions() -> dict[str, str]:
    """Return the versions of what measures, by name."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {"pytest": pytest.__version__, "python": platform.python_version()}
    with suppress(PackageNotFoundError):  # a copy that nobody installed
        versions["pytest-agentperf"] = version("pytest-agentperf")
    return versions
