"""`agentperf bench`: a load without a test."""

import argparse
import asyncio
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from pytest_agentperf.core.clock import REAL_TIME
from pytest_agentperf.core.errors import LoadError, UnknownNameError
from pytest_agentperf.core.measurement import Measurement, join
from pytest_agentperf.gate.environment import environment_key
from pytest_agentperf.judge.budgetreader import read_budget_file
from pytest_agentperf.judge.limits import ResolvedLimits, merge_layers
from pytest_agentperf.judge.overrides import choose_environment, parse_overrides
from pytest_agentperf.judge.verdict import Status, Verdict, judge
from pytest_agentperf.live import Heartbeat, LiveLine, Show, is_terminal, showing
from pytest_agentperf.measure.load.callee import is_async_function
from pytest_agentperf.measure.load.engine import Job
from pytest_agentperf.measure.load.keywords import read_plan
from pytest_agentperf.measure.load.made import LoadContext, MadeLoad
from pytest_agentperf.measure.load.scenario import Scenario
from pytest_agentperf.measure.load.together import most_shares
from pytest_agentperf.measure.load.travel import told
from pytest_agentperf.measure.load.workers import find_workers
from pytest_agentperf.measure.memory.block import MeteredBlock, MeterSettings, MeterTools
from pytest_agentperf.measure.profiling import PROFILERS, require_profiler
from pytest_agentperf.report.escape import encodable, plain_line
from pytest_agentperf.report.formats import FORMATS, write_report
from pytest_agentperf.report.record import PerfRecord, make_record
from pytest_agentperf.report.run import Run

__all__ = ["add_bench_command", "bench"]

_INTERRUPTED: Final = 130  # what shells make of a program that Ctrl-C ended
_STANDARD_ERROR: Final = 2

_LOAD: Final = {
    "users": ("N", "users who call again when their call has ended; 1 where nothing else is said"),
    "rate": ("RATE", "calls a second, as in 50/s, whatever has ended"),
    "stages": ("STAGES", "5m:100,10m:500 for users, or 30s:50/s,1m:200/s for a rate"),
    "duration": ("TIME", "how long, as in 60s; 10s where neither this nor --requests is said"),
    "requests": ("N", "how many calls"),
    "ramp_up": ("TIME", "time in which the users, or the rate, grow from 0"),
    "think_time": ("TIME", "time that each user waits between two calls"),
    "arrivals": ("KIND", "gaps between the calls of a rate: constant or poisson"),
    "max_in_flight": ("N", "calls of a rate in flight at once; others wait"),
    "deadline": ("TIME", "time after which a call is cancelled"),
    "warmup": ("TIME", "time at the beginning that does not count"),
}
"""The keywords of perf_load that are options here: what each takes, and what it means."""

_PROFILERS: Final = {"cpu": "cprofile", "memory": "memray"}
_PAGES: Final = frozenset({".html", ".htm"})
_SUFFIXES: Final = {".html": "html", ".md": "markdown"}
_REPORT: Final = f"write the results; FORMAT is {', '.join(FORMATS)}, or what the suffix of F says"


def add_bench_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    """Add the command to *commands*; return its parser, whose options `bench` takes."""
    parser = commands.add_parser("bench", help="make the calls of a load, without a test")
    parser.add_argument("target", metavar="TARGET", help="module:callable, as in agents:ask")
    load = parser.add_argument_group("load")
    for name, (metavar, text) in _LOAD.items():
        load.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, help=text)
    load.add_argument("--workers", metavar="N", help="processes that make the calls together")
    budgets = parser.add_argument_group("budgets", "the status is 1 where one is missed")
    budgets.add_argument("--perf-set", metavar="METRIC=LIMIT", action="append", default=[])
    budgets.add_argument("--perf-budget", metavar="FILE", type=Path, help="a file with budgets")
    budgets.add_argument("--perf-env", metavar="NAME", help="an environment of that file")
    budgets.add_argument("--perf-strict", action="store_true", help="undecided is missed, too")
    output = parser.add_argument_group("output")
    output.add_argument("--report", metavar="[FORMAT=]F", action="append", default=[], help=_REPORT)
    output.add_argument("--profiler", choices=_PROFILERS, help="make the calls under a profiler")
    output.add_argument("--output", metavar="F", type=Path, help="what the profiler writes")
    return parser


def bench(options: argparse.Namespace) -> tuple[str, int]:
    """Make the load that *options* ask for; return what to tell the user, and the exit status.

    Raises:
        AgentPerfError: The options cannot be meant, or the load cannot be made.
        OSError: A file cannot be read or written.
    """
    plan, limits = read_plan(_stated(options)), _read_limits(options)
    reports, func = [*map(_format_and_path, options.report)], find_target(options.target)
    job = Job([Scenario(func, name=options.target)])
    workers = find_workers(None, _number(options.workers), most_shares(plan))
    context = LoadContext(REAL_TIME.clock, lambda _: None, view=lambda: _shown(options.target))
    made = MadeLoad(plan, job, context, None, None, workers)
    meter = MeteredBlock(MeterSettings(parts=frozenset({"process", "pauses"})), MeterTools())
    with ExitStack() as around:
        profiled = around.enter_context(_profiled(options, func))
        around.enter_context(meter)
        is_interrupted = _run(made)
    measurements = join([*made.measurements(), meter.measurement(), *profiled])
    verdicts, _ = judge(measurements, limits, is_complete=not is_interrupted)
    status = _status(options, verdicts, made.failure())
    record = make_record(options.target, measurements, verdicts, 0)
    for name, path in reports:
        write_report(_run_of(record, status), name, path)
    notes = (note for each in profiled for note in each.notes)
    lines = [str(made.result), *notes, *map(_verdict_line, verdicts)]
    text = encodable("\n".join(lines), sys.stdout.encoding)
    return text, _INTERRUPTED if is_interrupted else status


def _status(options: argparse.Namespace, verdicts: Sequence[Verdict], failure: str) -> int:
    """Return 1 where the load has failed, or a budget; 0 otherwise."""
    failing = {Status.FAILED, *([Status.UNDECIDED] if options.perf_strict else ())}
    return int(bool(failure) or any(verdict.status in failing for verdict in verdicts))


def _format_and_path(text: str) -> tuple[str, Path]:
    """Return the format and the file that *text* names; the suffix tells where nothing else does.

    Raises:
        LoadError: It names no file.
    """
    name, equals, path = text.partition("=")
    if not equals or name not in FORMATS:
        name, path = _SUFFIXES.get(Path(text).suffix, "json"), text
    if not path:
        raise LoadError(f"--report {text}: expected a file, as in load.json or html=load.html")
    return name, Path(path)


def _run_of(record: PerfRecord, status: int) -> Run:
    """Return a run that measured nothing but *record*."""
    return Run(
        [record],
        datetime.now(UTC).isoformat(timespec="seconds"),
        environment_key(0),
        versions={"pytest-agentperf": version("pytest-agentperf")},
        exit_status=status,
    )


def find_target(text: str) -> Callable[..., Any]:
    """Return the function that *text*, as ``"module:callable"``, names.

    Raises:
        LoadError: There is no such module, or it cannot be imported.
        UnknownNameError: It has no such attribute.
    """
    name, colon, path = text.partition(":")
    if not (name and colon and path):
        raise LoadError(f"{text!r}: expected module:callable, as in agents:ask")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(name)
    except Exception as error:
        raise LoadError(
            f"{text!r}: {name} cannot be imported from {here}: {told(error)}"
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            known = [known for known in dir(found) if not known.startswith("_")]
            raise UnknownNameError(f"attribute in {text!r}", part, known)
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


def _stated(options: argparse.Namespace) -> dict[str, Any]:
    """Return the keywords of the load, with defaults where nothing is said."""
    stated = {name: value for name in _LOAD if (value := getattr(options, name)) is not None}
    if not {"users", "rate", "stages"} & set(stated):
        stated["users"] = 1
    if not {"duration", "requests", "stages"} & set(stated):
        stated["duration"] = "10s"
    return {name: _number(value) for name, value in stated.items()}


def _number(text: Any) -> Any:
    """Return *text* as a whole number where it is one."""
    return int(text) if isinstance(text, str) and text.isdecimal() else text


def _read_limits(options: argparse.Namespace) -> ResolvedLimits:
    """Return what the load is held to."""
    path: Path | None = options.perf_budget
    file = None if path is None else read_budget_file(path, str(path))
    environment, _ = choose_environment(file, options.perf_env)
    layers = file.layers(options.target, lambda _: False, (), environment) if file else ()
    return merge_layers([*layers, parse_overrides(options.perf_set, is_stated=True)])


def _run(made: MadeLoad) -> bool:
    """Make the calls; return whether Ctrl-C ended them."""
    try:
        asyncio.run(made.run_later())
    except KeyboardInterrupt:
        return True
    return False


@contextmanager
def _shown(name: str) -> Iterator[Show]:
    """Show how the load goes, on standard error."""
    kind = LiveLine if is_terminal(_STANDARD_ERROR) else Heartbeat
    with showing(kind(_STANDARD_ERROR), name) as show:
        yield show


@contextmanager
def _profiled(options: argparse.Namespace, func: Callable[..., Any]) -> Iterator[list[Measurement]]:
    """Make the calls inside under the profiler that is asked for.

    Yields:
        A list that gets what came of it.
    """
    found: list[Measurement] = []
    if options.profiler is None:
        if options.output is not None:
            raise LoadError("--output is what a profiler writes; add --profiler cpu or memory")
        yield found
        return
    name = _profiler_name(options, func)
    profiler = PROFILERS[name][1]()
    path: Path = options.output or Path(f"bench{profiler.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # memray refuses to replace it
    profiler.start(path)
    try:
        yield found
    finally:
        notes = (*profiler.stop(), f"{path}: the profile by {name}, beside which calls take longer")
        found.append(Measurement(None, "", 0, 0, {}, {}, notes=notes, profiles={name: str(path)}))


def _profiler_name(options: argparse.Namespace, func: Callable[..., Any]) -> str:
    """Return which profiler is asked for, if it can see anything."""
    if options.workers is not None:
        raise LoadError("--profiler sees this process alone; drop it or --workers")
    if options.profiler == "cpu" and not is_async_function(func):
        raise LoadError(
            "--profiler cpu sees the event loop alone, and functions that are not async run in"
            " threads; give it an async one, or --profiler memory"
        )
    is_page = options.output is not None and options.output.suffix in _PAGES
    name = "pyinstrument" if options.profiler == "cpu" and is_page else _PROFILERS[options.profiler]
    require_profiler(name)
    return name


def _verdict_line(verdict: Verdict) -> str:
    return plain_line(f"{verdict.status.value}: {verdict.sentence}")
