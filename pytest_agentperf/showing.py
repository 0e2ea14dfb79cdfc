"""The commands that show a saved run: `agentperf show` and `agentperf report`."""

import argparse
import os
import shutil
import sys
import tempfile
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pytest_agentperf.core.errors import AgentPerfError
from pytest_agentperf.report.escape import encodable
from pytest_agentperf.report.formats import FORMATS, render, write_report
from pytest_agentperf.report.gate import comparison_lines
from pytest_agentperf.report.run import Run
from pytest_agentperf.report.runfile import find_last_run, read_run
from pytest_agentperf.report.sparkline import can_show
from pytest_agentperf.report.terminal import Line, summary_lines

__all__ = ["add_showing_commands"]

_COLOURS: Final = {"failed": 31, "undecided": 33, "warned": 33, "passed": 32}
_RUN: Final = "a saved run; the last one in pytest's cache directory where it is left out"


def add_showing_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", answer: Callable[[str], object]
) -> None:
    """Add the commands to *commands*; *answer* takes what they say."""
    show = commands.add_parser("show", help="show the last run as the terminal did")
    show.add_argument("file", metavar="FILE", type=Path, nargs="?", help=_RUN)
    show.add_argument("-v", "--verbose", action="store_true", help="every metric")
    show.set_defaults(run=lambda options: answer(_show(options)))
    report = commands.add_parser("report", help="write a saved run in any format")
    report.add_argument("file", metavar="FILE", type=Path, nargs="?", help=_RUN)
    report.add_argument("--format", choices=FORMATS, default="html", help="default: %(default)s")
    report.add_argument("-o", "--output", metavar="PATH", type=Path, help="default: print it")
    report.add_argument("--open", action="store_true", help="open it in a browser")
    report.set_defaults(run=lambda options: answer(_report(options)))


def _show(options: argparse.Namespace) -> str:
    """Return the section that the terminal showed."""
    run = _read(options.file)
    is_terminal = sys.stdout.isatty()
    lines = summary_lines(
        run.records,
        int(options.verbose),
        run.lost,
        width=shutil.get_terminal_size().columns if is_terminal else None,
        is_unicode=can_show(sys.stdout.encoding),
    )
    lines += comparison_lines(
        [one for record in run.records for one in record.comparisons], int(options.verbose)
    )
    lines += [Line(f"warning: {note}", "warned") for note in run.notes]
    is_coloured = is_terminal and not os.environ.get("NO_COLOR")
    text = "\n".join(_coloured(line) if is_coloured else line.text for line in lines)
    return encodable(text, sys.stdout.encoding)


def _coloured(line: Line) -> str:
    colour = _COLOURS.get(line.status)
    return line.text if colour is None else f"\x1b[{colour}m{line.text}\x1b[0m"


def _report(options: argparse.Namespace) -> str:
    """Write a report; return it, or where it is."""
    run, path = _read(options.file), options.output
    if path is None and not options.open:
        return encodable(render(run, options.format).rstrip("\n"), sys.stdout.encoding)
    if path is None:
        path = Path(tempfile.mkdtemp(prefix="agentperf-")) / f"report.{options.format}"
    write_report(run, options.format, path)
    if options.open and not webbrowser.open(path.resolve().as_uri()):
        raise AgentPerfError(f"{path}: written, but no browser was found; open it yourself")
    return str(path)


def _read(path: Path | None) -> Run:
    return read_run(path or find_last_run(Path.cwd()))
