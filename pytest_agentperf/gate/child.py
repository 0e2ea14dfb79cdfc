"""One side of a pair: pytest in a process of its own, on the head or on the base."""

import functools
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_agentperf.gate import SIDE_VARIABLE
from pytest_agentperf.gate.duet import RunSide
from pytest_agentperf.gate.errors import BrokenGateError
from pytest_agentperf.gate.job import Job, SideReport, read_report, write_job
from pytest_agentperf.report.escape import plain_line

__all__ = ["Command", "move_text", "paths_on_base", "run_on", "run_side", "without_paths"]

_MEASURED: Final = {0, 1, 5}  # passed, a test failed, no test was left
_SHOWN_LINES: Final = 40
_PATIENCE: Final = 10.0
_EXPRESSIONS: Final = {"-k", "-m"}  # what follows may be spelled like a path


@dataclass(frozen=True, slots=True)
class Command:
    """How pytest is run on one side.

    Attributes:
        side: `head`, or `base` with its revision.
        arguments: The interpreter and what follows it.
        folder: Where it runs.
        environment: All of its environment variables.
        foreign: A folder whose code it must not import, or empty.
    """

    side: str
    arguments: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    foreign: str = ""


def run_side(
    command: Command,
    scratch: Path,
    seed: int,
    *,
    is_probe: bool,
    only: tuple[str, ...] | None,
    wants_cost: bool,
) -> SideReport:
    """Run one side once and return what it measured.

    Args:
        command: The side.
        scratch: An existing folder for files of this run.
        seed: Of the hashes of strings; the other side of the pair has the same.
        is_probe: See `Job`.
        only: See `Job`.
        wants_cost: See `Job`.

    Raises:
        BrokenGateError: It could not measure; what it printed is in the message.
    """
    job, report, output = (scratch / name for name in ("job.json", "report.json", "output.txt"))
    report.unlink(missing_ok=True)
    write_job(job, Job(str(report), is_probe, only, wants_cost, command.foreign))
    environment = {**command.environment, SIDE_VARIABLE: str(job), "PYTHONHASHSEED": str(seed)}
    status = _run(command, environment, output)
    if status not in _MEASURED:
        raise _broken(command, f"ended with status {status} instead of measuring", output)
    try:
        found = read_report(report)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _broken(
            command, f"left no report that could be read ({error!r:.200})", output
        ) from error
    if found.foreign:
        raise BrokenGateError(
            f"--perf-against: the {command.side} imported code of the head ({found.foreign[0]}), so"
            " nothing could be compared; install it so that the folder that pytest runs in comes"
            " first, or give --perf-base-python an environment of the base"
        )
    return found


def run_on(command: Command | None, scratch: Path, *, wants_cost: bool) -> RunSide:
    """Return what runs *command*, or a side that has none of the tests where it is None."""
    if command is None:
        return _run_nothing
    return functools.partial(run_side, command, scratch, wants_cost=wants_cost)


def _run_nothing(seed: int, *, is_probe: bool, only: tuple[str, ...] | None) -> SideReport:  # noqa: ARG001
    return SideReport({})


def _run(command: Command, environment: Mapping[str, str], output: Path) -> int:
    """Run *command* to its end and return its status; it ends with this process's patience."""
    try:
        with (
            output.open("wb") as file,
            subprocess.Popen(  # noqa: S603 -- what the user runs anyway
                command.arguments,
                cwd=command.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                return process.wait()
            except BaseException:  # Ctrl-C
                _end(process)
                raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise BrokenGateError(
            f"--perf-against: {command.arguments[0]} could not be run ({reason}); check"
            " --perf-base-python"
        ) from error


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


def _broken(command: Command, what: str, output: Path) -> BrokenGateError:
    """Return the error that the side of *command* did *what*, with what it printed last."""
    lines = output.read_text("utf-8", "replace").splitlines()
    shown = [f"  | {plain_line(line)}" for line in lines[-_SHOWN_LINES:]]
    return BrokenGateError(
        "\n".join((f"--perf-against: the {command.side} {what}; it printed:", *shown))
    )


def move_text(text: str, top: Path, place: Path) -> str:
    """Return *text* with every absolute path in the folder *top* moved to *place*."""
    return re.sub(rf"{re.escape(str(top))}(?=$|[/\\:])", lambda _: str(place), text)


def without_paths(arguments: Iterable[str], paths: Iterable[str]) -> list[str]:
    """Return the *arguments* of pytest without *paths*, those that name tests."""
    known, kept, previous = set(paths), [], ""
    for argument in arguments:
        if argument not in known or previous in _EXPRESSIONS:
            kept.append(argument)
        previous = argument
    return kept


def paths_on_base(
    arguments: Iterable[str], paths: Iterable[str], folder: Path, top: Path, place: Path
) -> list[str] | None:
    """Return the *arguments* of the head as they are on the base.

    Tests are named by their file alone, and files that the base does not have are left out.

    Args:
        arguments: Of pytest, on the head.
        paths: Those of *arguments* that name tests.
        folder: Where pytest runs on the head.
        top: The top folder of the head.
        place: That of the base.

    Returns:
        None where the base has none of *paths*.
    """
    known, moved = set(paths), []
    found: dict[str, bool] = {}
    previous = ""
    for argument in arguments:
        is_path = argument in known and previous not in _EXPRESSIONS
        previous = argument
        if not is_path:
            moved.append(move_text(argument, top, place))
            continue
        path = Path(move_text(str((folder / argument.partition("::")[0]).resolve()), top, place))
        found[argument] = path.exists()
        if found[argument]:
            moved.append(str(path))
    return None if found and not any(found.values()) else moved
