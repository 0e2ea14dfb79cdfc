"""The command `agentperf`: what can be done without running tests."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pytest_agentperf.bench import add_bench_command, bench
from pytest_agentperf.core.clock import REAL_TIME
from pytest_agentperf.core.errors import AgentPerfError, UnknownNameError
from pytest_agentperf.core.files import write_text
from pytest_agentperf.core.units import Unit, parse_quantity
from pytest_agentperf.judge.baseline import Baseline, Past, baselines_in
from pytest_agentperf.judge.budgetfile import BudgetFile
from pytest_agentperf.judge.budgetreader import read_budget_file
from pytest_agentperf.judge.comparison import Outcome
from pytest_agentperf.judge.history import LEAST_RUNS
from pytest_agentperf.judge.runs import Run
from pytest_agentperf.judge.saved import compare_saved
from pytest_agentperf.report.escape import plain_line
from pytest_agentperf.report.gate import comparison_lines
from pytest_agentperf.report.history import history_table, runs_table
from pytest_agentperf.report.record import record_comparison
from pytest_agentperf.report.runfile import find_last_run, read_run
from pytest_agentperf.report.starter import starter_file
from pytest_agentperf.showing import add_showing_commands

__all__ = ["main"]

_DEFAULT: Final = Path("budgets.toml")
_BASELINE: Final = Path("perf-baseline")


class Answer(NamedTuple):
    """What a command says, and its exit status."""

    text: str
    status: int = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    0, 1 for a refusal, a missed budget or a regression, 2 for wrong usage, 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    try:
        answer: Answer = options.run(options)
    except AgentPerfError as error:
        print(f"agentperf: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"agentperf: {reason}", file=sys.stderr)  # noqa: T201
        return 1
    print(answer.text)  # noqa: T201 -- a command prints
    return answer.status


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
    add_showing_commands(commands, Answer)
    _add_baseline_commands(commands)
    add_bench_command(commands).set_defaults(run=lambda options: Answer(*bench(options)))
    aa = commands.add_parser(
        "aa", help="compare the tests with themselves and print how often the gate is wrong here"
    )
    aa.add_argument("--duets", metavar="N", type=int, default=10, help="default: %(default)s")
    aa.add_argument("--pairs", metavar="N", type=int, help="of a duet; by default it finds out")
    aa.add_argument(
        "--max-time", metavar="TIME", default="10min", help="of a duet; default: %(default)s"
    )
    aa.add_argument("arguments", metavar="ARG", nargs="*", help="of pytest; after --, also options")
    aa.set_defaults(run=_aa)
    return parser


def _add_baseline_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    history = commands.add_parser("history", help="show what a baseline knows of each test")
    history.add_argument("test", metavar="TEST", nargs="?", help="show each run of this one")
    history.set_defaults(run=_history)
    accept = commands.add_parser(
        "accept", help="let the history of a test begin anew, with its runs that regressed"
    )
    accept.add_argument("test", metavar="TEST", help="as `agentperf history` names it")
    accept.set_defaults(run=_accept)
    for command in (history, accept):
        command.add_argument(
            "--baseline", metavar="PATH", type=Path, default=_BASELINE, help="default: %(default)s"
        )
    compare = commands.add_parser("compare", help="compare two saved runs")
    compare.add_argument("base", metavar="A.json", type=Path)
    compare.add_argument("head", metavar="B.json", type=Path)
    compare.set_defaults(run=_compare)


def _init(options: argparse.Namespace) -> Answer:
    """Write a budget file from a run; return what to tell the user."""
    run, output = options.file or find_last_run(Path.cwd()), options.output
    if output.exists() and not options.force:
        raise AgentPerfError(f"{output} exists; give --force to replace it, or --output another")
    records = read_run(run).records
    text = starter_file(records, output.name)
    write_text(output, text)
    tests = "1 test" if len(records) == 1 else f"{len(records)} tests"
    return Answer(f"{output}: budgets of {tests}; try: pytest --perf-budget {output}")


def _check(options: argparse.Namespace) -> Answer:
    """Validate a budget file; return what it holds."""
    budget = read_budget_file(options.file, str(options.file))
    return Answer(f"{options.file}: valid: {_describe(budget)}")


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


def _history(options: argparse.Namespace) -> Answer:
    """Return what is known of all tests, or of one, in every environment."""
    parts = []
    for baseline, tests in _pasts(options.baseline, options.test):
        table = runs_table(tests[options.test]) if options.test else history_table(tests)
        parts.append(f"{plain_line(baseline.environment)}\n{table}")
    return Answer("\n\n".join(parts))


def _accept(options: argparse.Namespace) -> Answer:
    """Let the history of a test begin anew in every environment that knows it."""
    told = []
    for baseline, _ in _pasts(options.baseline, options.test):
        runs = len(baseline.accept(options.test).runs)
        counted = f"{runs} run{'s' * (runs != 1)} taken over" if runs else "begins anew"
        needed = f", new until there are {LEAST_RUNS}" if runs < LEAST_RUNS else ""
        told.append(f"{plain_line(options.test)}: {counted}{needed} ({baseline.environment})")
    return Answer("\n".join(map(plain_line, told)))


def _pasts(folder: Path, test: str | None) -> list[tuple[Baseline, dict[str, Past]]]:
    """Return the baselines in *folder* with what they know, those that know *test*."""
    pasts = [(baseline, baseline.read()) for baseline in baselines_in(folder)]
    if not pasts:
        raise AgentPerfError(
            f"{folder}: no baseline; pytest --perf-baseline {folder} --perf-update-baseline"
            " begins one"
        )
    known = {name for _, tests in pasts for name in tests}
    if test is not None and test not in known:
        raise UnknownNameError(f"test of {folder}", test, known)
    return [(baseline, tests) for baseline, tests in pasts if test is None or test in tests]


def _compare(options: argparse.Namespace) -> Answer:
    """Compare two saved runs; the status is 1 where a test regressed."""
    base, head = _saved_runs(options.base), _saved_runs(options.head)
    suite = compare_saved(base, head)
    lines = comparison_lines([record_comparison(one, str(options.base)) for one in suite.tests], 1)
    status = int(bool(suite.having(Outcome.REGRESSED)))
    return Answer("\n".join(line.text for line in lines), status)


def _aa(options: argparse.Namespace) -> Answer:
    """Compare the measured tests with themselves; return how often the gate was wrong."""
    from pytest_agentperf.gate.aa import compare_with_itself, describe, pytest_command
    from pytest_agentperf.gate.child import run_on
    from pytest_agentperf.gate.duet import Bounds
    from pytest_agentperf.gate.pairing import LEAST_PAIRS

    if options.duets < 1 or (options.pairs or LEAST_PAIRS) < LEAST_PAIRS:
        raise AgentPerfError(
            f"--duets {options.duets} --pairs {options.pairs}: expected 1 duet and 2 pairs or more"
        )
    bounds = Bounds(options.pairs, parse_quantity(options.max_time, Unit.SECONDS))
    with tempfile.TemporaryDirectory(prefix="agentperf-") as scratch:
        command = pytest_command(options.arguments, Path.cwd(), Path(scratch))
        run = run_on(command, Path(scratch), wants_cost=False)
        found = compare_with_itself(run, options.duets, bounds, _say, REAL_TIME.clock)
        return Answer("\n".join(map(plain_line, describe(list(found), options.duets))))


def _say(sentence: str) -> None:
    print(plain_line(sentence), file=sys.stderr)  # noqa: T201


def _saved_runs(path: Path) -> dict[str, Run]:
    runs = {name: run for record in read_run(path).records for name, run in record.runs.items()}
    if not runs:
        raise AgentPerfError(
            f"{path}: holds no runs; save them by pytest --perf-report json=PATH, without"
            " --perf-quick"
        )
    return runs
