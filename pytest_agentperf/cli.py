"""The command `agentperf`: what can be done without running tests."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pytest_agentperf.core.errors import AgentPerfError
from pytest_agentperf.core.files import write_text
from pytest_agentperf.judge.budgetfile import BudgetFile
from pytest_agentperf.judge.budgetreader import read_budget_file
from pytest_agentperf.report.runfile import find_last_run, read_run
from pytest_agentperf.report.starter import starter_file
from pytest_agentperf.showing import add_showing_commands

__all__ = ["main"]

_DEFAULT: Final = Path("budgets.toml")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, 1 for a refusal, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        print(options.run(options))  # noqa: T201 -- a command prints
    except AgentPerfError as error:
        print(f"agentperf: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"agentperf: {reason}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agentperf", description="Performance tests for agents.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    init = commands.add_parser("init", help="write a first budget file from the last run")
    init.add_argument(
        "file",
        metavar="RUN",
        type=Path,
        nargs="?",
        help="a saved run; the last one in pytest's cache directory where it is left out",
    )
    init.add_argument("-o", "--output", type=Path, default=_DEFAULT, help="default: %(default)s")
    init.add_argument("--force", action="store_true", help="replace a file that exists")
    init.set_defaults(run=_init)
    check = commands.add_parser("check", help="validate a budget file")
    check.add_argument("file", metavar="FILE", type=Path, nargs="?", default=_DEFAULT)
    check.set_defaults(run=_check)
    add_showing_commands(commands)
    return parser


def _init(options: argparse.Namespace) -> str:
    """Write a budget file from a run; return what to tell the user."""
    run, output = options.file or find_last_run(Path.cwd()), options.output
    if output.exists() and not options.force:
        raise AgentPerfError(f"{output} exists; give --force to replace it, or --output another")
    records = read_run(run).records
    text = starter_file(records, output.name)
    write_text(output, text)
    tests = "1 test" if len(records) == 1 else f"{len(records)} tests"
    return f"{output}: budgets of {tests}; try: pytest --perf-budget {output}"


def _check(options: argparse.Namespace) -> str:
    """Validate a budget file; return what it holds."""
    budget = read_budget_file(options.file, str(options.file))
    return f"{options.file}: valid: {_describe(budget)}"


def _describe(budget: BudgetFile) -> str:
    """Return what *budget* holds, in a line."""
    tables = budget.tables
    counted = (
        (len(tables.defaults.limits), "default limit"),
        (len(tables.markers), "marker"),
        (len(tables.tests), "test pattern"),
        (len(budget.environments), "environment"),
        (len(tables.prices), "price"),
    )
    parts = [f"{number} {name}{'s' * (number != 1)}" for number, name in counted if number]
    return ", ".join(parts) or "no limits yet"
