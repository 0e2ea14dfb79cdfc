"""What crosses between a duet and the processes that it runs: a job goes in, a report comes out."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pytest_agentperf.core.files import read_text, write_text
from pytest_agentperf.judge.runs import Run
from pytest_agentperf.judge.storedrun import run_from_builtin, run_to_builtin

__all__ = ["Job", "SideReport", "read_job", "read_report", "write_job", "write_report"]


@dataclass(frozen=True, slots=True)
class Job:
    """What one process is to measure.

    Attributes:
        report: The file that its report goes to.
        is_probe: Whether every call is made once, to see which tests there are and what they take.
        only: The node ids of the tests to run; None: all measured ones.
        wants_cost: Whether dollars are counted.
        foreign: A folder whose code the process must not import, or empty.
    """

    report: str
    is_probe: bool
    only: tuple[str, ...] | None
    wants_cost: bool
    foreign: str = ""


@dataclass(frozen=True, slots=True)
class SideReport:
    """What one process measured.

    Attributes:
        runs: By the name of the test, with `#label` where there is one.
        planned: Calls that the test would make when it is no probe, warmup included, by name.
        unmeasured: Why a test has no run, by node id.
        unpriced: The node ids of tests whose calls cost nobody knows how much.
        foreign: Modules that were imported from the folder that the job forbids.
    """

    runs: Mapping[str, Run]
    planned: Mapping[str, int] = field(default_factory=dict)
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    unpriced: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


def write_job(path: Path, job: Job) -> None:
    """Write *job* to *path*."""
    write_text(path, json.dumps(asdict(job)))


def read_job(path: Path) -> Job:
    """Return the job in the file at *path*, which `write_job` wrote."""
    content = json.loads(read_text(path))
    only = content.pop("only")
    return Job(**content, only=None if only is None else tuple(only))


def write_report(path: Path, report: SideReport) -> None:
    """Write *report* to *path*."""
    content = {
        "runs": {name: run_to_builtin(run) for name, run in report.runs.items()},
        "planned": dict(report.planned),
        "unmeasured": dict(report.unmeasured),
        "unpriced": list(report.unpriced),
        "foreign": list(report.foreign),
    }
    write_text(path, json.dumps(content))


def read_report(path: Path) -> SideReport:
    """Return the report in the file at *path*.

    Raises:
        OSError: There is none.
        KeyError: A field is missing.
        TypeError: A field is of another type.
        ValueError: It is no JSON, or a number is none.
    """
    content = json.loads(read_text(path))
    return SideReport(
        runs={name: run_from_builtin(run) for name, run in content["runs"].items()},
        planned={name: int(calls) for name, calls in content["planned"].items()},
        unmeasured={name: str(why) for name, why in content["unmeasured"].items()},
        unpriced=tuple(map(str, content["unpriced"])),
        foreign=tuple(map(str, content["foreign"])),
    )
