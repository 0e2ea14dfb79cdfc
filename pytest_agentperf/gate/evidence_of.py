"""Evidence: what the gate takes from the measurements of a test, and what that depends on."""

import ast
import asyncio
import hashlib
import inspect
import os
import platform
import sys
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.metrics import QUANTITIES
from pytest_agentperf.core.units import Unit
from pytest_agentperf.judge.runs import Count, Run
from pytest_agentperf.judge.storedrun import KEPT_LATENCIES, evenly_ranked

__all__ = ["body_hash", "environment_key", "name_of", "runs_of"]

_COUNTED: Final = frozenset({Unit.COUNT, Unit.DOLLARS})


def name_of(nodeid: str, label: str | None) -> str:
    """Return what the gate calls the measurement of *nodeid* under *label*."""
    return f"{nodeid}#{label}" if label else nodeid


def runs_of(
    nodeid: str, measurements: Sequence[Measurement], environment: str, body: str
) -> dict[str, Run]:
    """Return what each of *measurements* says about this run, by `name_of`.

    Those without a latency, or with calls that raised, are no evidence.

    Args:
        nodeid: The test.
        measurements: All of it.
        environment: What `environment_key` says.
        body: What `body_hash` says. What watched the calls goes into it too: it costs time.
    """
    return {
        name_of(nodeid, one.label): _run_of(one, environment, "+".join((body, *one.monitors)))
        for one in measurements
        if not one.errors and "latency" in one.samples and one.samples["latency"].count
    }


def _run_of(measurement: Measurement, environment: str, body: str) -> Run:
    latency = measurement.samples["latency"]
    return Run(
        median=latency.percentile(50),
        calls=latency.count,
        latencies=evenly_ranked(
            lambda rank: latency.ordered(rank + 1), latency.count, KEPT_LATENCIES
        ),
        counts=dict(_counts_of(measurement)),
        environment=environment,
        body=body,
    )


def _counts_of(measurement: Measurement) -> Iterator[tuple[str, Count]]:
    for name, sample in measurement.samples.items():
        if sample.count and QUANTITIES[name].unit in _COUNTED:
            yield name, Count(sample.min, sample.mean, sample.max)


def environment_key(workers: int, options: Iterable[str] = ()) -> str:
    """Return what must be alike for times to be compared, readable.

    Args:
        workers: Processes of xdist that run tests side by side; 1 without it.
        options: What changes how calls are measured.
    """
    parts = (
        _cpu_model(),
        f"{_cores()} cores",
        f"{platform.system()} {platform.machine()}",
        f"{platform.python_implementation()} {platform.python_version()}",
        _event_loop(),
        _tracer(),
        f"{workers} worker{'s' * (workers != 1)}",
        *options,
    )
    return ", ".join(filter(None, parts))


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2] for line in lines if line.startswith("model name"))
    return " ".join(next(models, platform.processor() or "unknown CPU").split())


def _cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not everywhere
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _event_loop() -> str:
    """Return the library whose event loops this process makes unless told otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from Python 3.14 on, policies are deprecated
        policy = asyncio.get_event_loop_policy()
    return type(policy).__module__.partition(".")[0]


def _tracer() -> str:
    """Return what slows every line of Python down; empty where nothing does."""
    monitoring = getattr(sys, "monitoring", None)
    is_watched = monitoring and monitoring.get_tool(monitoring.COVERAGE_ID)
    return "traced" if sys.gettrace() or is_watched else ""


def body_hash(item: object) -> str:
    """Return a hash of the source of the test *item*, whatever its layout and its budgets.

    Returns:
        16 hexadecimal digits; empty where there is no source, as for tests of other plugins.
    """
    function = getattr(item, "obj", None)
    try:
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))  # type: ignore[arg-type]
        tree = ast.parse(source)
    except (OSError, TypeError, ValueError, SyntaxError):
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            # How a test is measured and what it is held to is not what it does.
            kept = [each for each in node.decorator_list if "mark.perf" not in ast.unparse(each)]
            node.decorator_list = kept
    return hashlib.sha256(ast.dump(tree).encode("utf-8", "backslashreplace")).hexdigest()[:16]
