"""One side of a duet, from inside its process: runs the measured tests, judges none of them."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_agentperf.body import has_examples
from pytest_agentperf.budgets import is_body
from pytest_agentperf.core.effort import Effort
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.gate import SIDE_PLUGIN, SIDE_VARIABLE
from pytest_agentperf.gate.environment import body_hash, environment_key
from pytest_agentperf.gate.job import Job, SideReport, read_job, write_report
from pytest_agentperf.gate.runs_of import nodeid_of, runs_of
from pytest_agentperf.judge.limits import ResolvedLimits
from pytest_agentperf.judge.verdict import needed_rounds

if TYPE_CHECKING:
    from pytest_agentperf.judge.runs import Run

__all__ = ["Side", "become_side"]

_LEAST_CALLS: Final = 20
_ROUNDS: Final = 5
_COST: Final = "cost_per_call"
# What the ordinary run does with its results and with failures is not for this one.
_SWITCHED_OFF: Final = {
    "xmlpath": None,
    "usepdb": False,
    "trace": False,
    "maxfail": 0,
    "stepwise": False,
    "lf": False,
    "perf_profiler": None,
    "perf_leaks": False,
    "perf_quick": False,
    "perf_strict": False,
    "perf_against": None,
    "perf_baseline": None,
    "perf_update_baseline": False,
    "perf_require_baseline": False,
}


def become_side(config: pytest.Config) -> None:
    """Make this run the side of a duet that the environment names; its own children are none."""
    job = read_job(Path(os.environ.pop(SIDE_VARIABLE)))
    for name, value in _SWITCHED_OFF.items():
        if hasattr(config.option, name):
            setattr(config.option, name, value)
    config.pluginmanager.register(Side(job), SIDE_PLUGIN)


class Side:
    """Collects the runs of the measured tests of one process.

    Args:
        job: What to measure.
    """

    def __init__(self, job: Job) -> None:
        self.wants_cost = job.wants_cost
        self._job = job
        self._runs: dict[str, Run] = {}
        self._planned: dict[str, int] = {}
        self._unmeasured: dict[str, str] = {}
        self._unpriced: list[str] = []

    def effort(
        self, item: pytest.Item, label: str | None, stated: Effort, limits: ResolvedLimits
    ) -> Effort:
        """Return how to measure: 20 calls or more, but for a body that is run only once.

        Args:
            item: The test.
            label: Of the measurement.
            stated: What the user states; its bounds hold.
            limits: What the ordinary run holds the calls to.
        """
        rounds = stated.rounds or needed_rounds(limits.of(label), _ROUNDS)
        is_single = rounds == 1 and (is_body(item) or has_examples(item))
        rounds = 1 if is_single else max(_LEAST_CALLS, rounds)
        name = f"{item.nodeid}#{label}" if label else item.nodeid
        self._planned[name] = rounds + (1 if stated.warmup is None else stated.warmup)
        return stated.updated(Effort(rounds=1 if self._job.is_probe else rounds))

    def take(self, item: pytest.Item, measurements: Sequence[Measurement]) -> None:
        """Keep the *measurements* of *item*, which ran to its end."""
        self._runs.update(runs_of(item.nodeid, measurements, environment_key(1), body_hash(item)))
        if any(_COST in measurement.unknown for measurement in measurements):
            self._unpriced.append(item.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Leave the tests that the job is about."""
        others = [item for item in items if not self._is_wanted(item)]
        items[:] = filter(self._is_wanted, items)
        config.hook.pytest_deselected(items=others)

    def _is_wanted(self, item: pytest.Item) -> bool:
        if self._job.only is not None and item.nodeid not in self._job.only:
            return False
        return item.get_closest_marker("perf") is not None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note why a test has no run that could be compared."""
        if type(report) is pytest.TestReport and report.outcome in {"failed", "skipped"}:
            self._unmeasured[report.nodeid] = _reason(report)

    def pytest_sessionfinish(self) -> None:
        """Write the report."""
        runs = {n: run for n, run in self._runs.items() if nodeid_of(n) not in self._unmeasured}
        foreign = tuple(_modules_in(self._job.foreign)) if self._job.foreign else ()
        unpriced = tuple(self._unpriced)
        report = SideReport(runs, self._planned, self._unmeasured, unpriced, foreign)
        write_report(Path(self._job.report), report)


def _reason(report: pytest.TestReport) -> str:
    """Return how a test ended that did not pass, in a line."""
    if report.skipped:
        return "was skipped"
    crash: Any = getattr(report.longrepr, "reprcrash", None)
    message = str(crash.message if crash else report.longreprtext).strip()
    message = message.removeprefix("Failed: ")  # of pytest.fail
    return f"failed ({message.splitlines()[0]:.120})" if message else "failed"


def _modules_in(folder: str) -> Iterator[str]:
    """Yield the files of imported modules in *folder*, without what is installed there."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not Path(file).is_relative_to(folder):
            continue
        if "site-packages" not in Path(file).parts:
            yield file
