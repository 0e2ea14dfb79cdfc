"""The regression gate in a session: what it is held against, and what it says about each test.

PYTEST_DONT_REWRITE
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Final

import pytest

from pytest_agentperf.core.errors import AgentPerfError
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.gate.evidence_of import body_hash, environment_key, runs_of
from pytest_agentperf.gate.history import MISSING, History, Kept, keep_runs, open_history
from pytest_agentperf.gate.reference import Reference
from pytest_agentperf.judge.baseline import baselines_in
from pytest_agentperf.judge.comparison import UNSEEN, Comparison, Gated, Outcome, Rule
from pytest_agentperf.options import Settings
from pytest_agentperf.report.escape import plain_line
from pytest_agentperf.report.record import PerfRecord

__all__ = ["Gate", "open_gate"]

_REGRESSED: Final = Outcome.REGRESSED.value


def open_gate(config: pytest.Config, settings: Settings, rule: Rule, workers: int) -> "Gate":
    """Return the gate of a session.

    Args:
        config: Of the session.
        settings: What the user asks for.
        rule: What makes a change a regression.
        workers: Processes of xdist that run tests side by side.

    Raises:
        pytest.UsageError: The baseline is broken, or options ask for one that is not named.
    """
    environment = environment_key(workers)
    if settings.baseline is None:
        if settings.update_baseline or settings.require_baseline:
            name = "update" if settings.update_baseline else "require"
            raise pytest.UsageError(f"--perf-{name}-baseline: which one? give --perf-baseline PATH")
        return Gate(settings, environment, None)
    try:
        if config.getoption("tx", None):  # the controller of xdist, which runs no test itself
            baselines_in(settings.baseline)
            return Gate(settings, environment, None)
        return Gate(settings, environment, open_history(settings.baseline, environment, rule))
    except AgentPerfError as error:
        raise pytest.UsageError(f"--perf-baseline: {error}") from error
    except OSError as error:
        raise pytest.UsageError(
            f"--perf-baseline {settings.baseline}: cannot be read: {error.strerror or error}"
        ) from error


class Gate:
    """Looks at every measured test that passed, and keeps its run.

    Args:
        settings: What the user asks for.
        environment: The key of the environment.
        history: What tests are held against; None: nothing.
    """

    def __init__(self, settings: Settings, environment: str, history: History | None) -> None:
        self._settings = settings
        self._environment = environment
        self._history = history
        self._reference = Reference()

    def see(
        self, item: pytest.Item, measurements: Sequence[Measurement], nodeids: Collection[str]
    ) -> Gated:
        """Return what *measurements* of *item* show, and how that compares.

        Args:
            item: The test, which has just ended.
            measurements: All of it.
            nodeids: All tests that are measured in this session.
        """
        if self._settings.quick:  # a single round says nothing about times
            return UNSEEN
        runs = runs_of(item.nodeid, measurements, self._environment, body_hash(item))
        if self._history is None or not runs:
            return Gated(runs)
        reference = self._reference.seconds()
        runs = {name: replace(run, reference=reference) for name, run in runs.items()}
        return Gated(runs, self._history.judge(runs, nodeids), self._against)

    @property
    def _against(self) -> str:
        return f"baseline {self._settings.baseline.name}" if self._settings.baseline else ""

    def failures(self, gated: Gated, nodeid: str) -> Iterator[str]:
        """Yield the sentences of *gated* that fail the test *nodeid*."""
        for one in gated.comparisons:
            label = one.name.removeprefix(nodeid).removeprefix("#")
            told = f"{label}: {one.sentence}" if label else one.sentence
            if one.outcome is Outcome.REGRESSED or self._is_required(one):
                yield plain_line(f"{told}; {gated.against}")

    def _is_required(self, comparison: Comparison) -> bool:
        return self._settings.require_baseline and comparison.outcome in MISSING

    def keep(self, records: Sequence[PerfRecord], *, is_passed: bool) -> str:
        """Move the baseline where that is asked for; return what became of it, or nothing.

        Args:
            records: Of this session.
            is_passed: Whether no test failed.

        Raises:
            OSError: It cannot be written.
            FileFormatError: What is there now is no baseline.
        """
        if not self._settings.update_baseline or self._settings.baseline is None:
            return ""
        regressed = {
            one.name
            for record in records
            for one in record.comparisons
            if one.outcome == _REGRESSED
        }
        found = [
            (name, run, name in regressed)
            for record in records
            for name, run in record.runs.items()
        ]
        kept = keep_runs(self._settings.baseline, found, is_accepted=is_passed)
        return f"{self._against}: {_describe(kept, is_passed=is_passed)}"


def _describe(kept: Kept, *, is_passed: bool) -> str:
    counted = f"{kept.accepted} run{'s' * (kept.accepted != 1)} added"
    told = counted if is_passed else "not updated, since a test failed"
    if kept.refused:
        told += f"; {kept.refused} regressed and put aside: agentperf accept TEST takes them"
    return told
