"""The regression gate in a session: what it is held against, and what it says about each test."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_agentperf.core.errors import AgentPerfError
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.gate import SIDE_PLUGIN
from pytest_agentperf.gate.environment import body_hash, environment_key
from pytest_agentperf.gate.errors import BrokenGateError
from pytest_agentperf.gate.history import MISSING, History, Kept, keep_runs, open_history
from pytest_agentperf.gate.reference import Reference
from pytest_agentperf.gate.runs_of import runs_of
from pytest_agentperf.gate.verdicts import DuetVerdicts
from pytest_agentperf.judge.baseline import baselines_in
from pytest_agentperf.judge.comparison import Outcome, Rule
from pytest_agentperf.judge.runs import Run
from pytest_agentperf.judge.storedrun import pooled_latencies, thinned
from pytest_agentperf.options import Settings
from pytest_agentperf.report.escape import plain_line
from pytest_agentperf.report.gate import comparison_lines, told
from pytest_agentperf.report.record import (
    UNSEEN,
    ComparisonRecord,
    Gated,
    PerfRecord,
    record_comparison,
)
from pytest_agentperf.report.terminal import Line

if TYPE_CHECKING:
    from pytest_agentperf.gate.confirmation import Confirmation

__all__ = ["Gate", "open_gate"]

_REGRESSED: Final = Outcome.REGRESSED.value
_MISSING: Final = frozenset(outcome.value for outcome in MISSING)


def open_gate(config: pytest.Config, settings: Settings, rule: Rule) -> "Gate | None":
    """Return the gate of a session; None for a side of a duet, which is judged elsewhere.

    Args:
        config: Of the session.
        settings: What the user asks for.
        rule: What makes a change a regression.

    Raises:
        pytest.UsageError: The baseline is broken, or options ask for one that is not named.
    """
    if config.pluginmanager.has_plugin(SIDE_PLUGIN):
        return None
    worker = getattr(config, "workerinput", {})
    environment = environment_key(worker.get("workercount", 1))
    gate = Gate(settings, environment, _open_history(config, settings, environment, rule))
    told = worker.get("agentperf_gate", {})  # by the controller of xdist
    if told.get("duet"):
        gate.duet = DuetVerdicts.from_builtin(told["duet"])
    if told.get("scratch"):
        gate.confirmation = _open_confirmation(config, settings, rule, Path(told["scratch"]))
    return gate


def _open_confirmation(
    config: pytest.Config, settings: Settings, rule: Rule, scratch: Path
) -> "Confirmation":
    from pytest_agentperf.gate.confirmation import Confirmation, OpenSides

    return Confirmation(OpenSides.left_in(scratch), config, settings, rule)


def _open_history(
    config: pytest.Config, settings: Settings, environment: str, rule: Rule
) -> History | None:
    """Return the history that tests are held against, if there is one."""
    stated = settings.gate
    if stated.baseline is None:
        if stated.update_baseline or stated.require_baseline:
            name = "update" if stated.update_baseline else "require"
            raise pytest.UsageError(f"--perf-{name}-baseline: which one? give --perf-baseline PATH")
        return None
    try:
        if config.getoption("tx", None):  # the controller of xdist, which runs no test itself
            baselines_in(stated.baseline)
            return None
        return open_history(stated.baseline, environment, rule)
    except AgentPerfError as error:
        raise pytest.UsageError(f"--perf-baseline: {error}") from error
    except OSError as error:
        raise pytest.UsageError(
            f"--perf-baseline {stated.baseline}: cannot be read: {error.strerror or error}"
        ) from error


class Gate:
    """Looks at every measured test that passed, and keeps its run.

    Args:
        settings: What the user asks for.
        environment: The key of the environment.
        history: What tests are held against; None: nothing.

    Attributes:
        duet: What a comparison with a base came to, before the first test ran; None without one.
        confirmation: Makes the duets of what the history flags; None: its own verdict holds.
    """

    def __init__(
        self, settings: Settings, environment: str, history: History | None = None
    ) -> None:
        self._settings = settings
        self._stated = settings.gate
        self._environment = environment
        self._history = history
        self.duet: DuetVerdicts | None = None
        self.confirmation: Confirmation | None = None
        self._tests: int | None = None
        self._reference = Reference()
        is_judged = self._stated.regressions == "fail"
        self._failing = [_REGRESSED] if is_judged else []
        if is_judged and settings.strict:
            self._failing.append(Outcome.UNDECIDED.value)

    @property
    def has_evidence(self) -> bool:
        """Whether it knows by now what a comparison with a base came to, or how to make one."""
        return self.duet is not None or self.confirmation is not None

    def take(self, evidence: "DuetVerdicts | Confirmation | None") -> None:
        """Take what was collected before the first test ran."""
        if isinstance(evidence, DuetVerdicts):
            self.duet = evidence
        else:
            self.confirmation = evidence

    def see(
        self, item: pytest.Item, measurements: Sequence[Measurement], nodeids: Collection[str]
    ) -> Gated:
        """Return what *measurements* of *item* show, and how that compares.

        Args:
            item: The test, which has just passed.
            measurements: All of it.
            nodeids: All tests that are measured in this session.
        """
        if self._settings.quick:  # a single round says nothing about times
            return UNSEEN
        found = runs_of(item.nodeid, measurements, self._environment, body_hash(item))
        reference = self._reference.seconds() if self._stated.baseline and found else None
        runs = {name: replace(thinned(run), reference=reference) for name, run in found.items()}
        try:
            return Gated(runs, list(self._compare(item.nodeid, runs, nodeids)))
        except BrokenGateError as error:
            return Gated(runs, broken=str(error))

    def _compare(
        self, nodeid: str, runs: dict[str, Run], nodeids: Collection[str]
    ) -> Iterable[ComparisonRecord]:
        if self.duet is not None:
            return self.duet.of(nodeid)
        if self._history is None or not runs or self._stated.regressions == "off":
            return ()
        if self._tests is None:
            self._tests = self._history.count(nodeids)
        judged = self._history.judge(runs, self._tests)
        if self.confirmation is not None:
            return self.confirmation.judge(nodeid, judged, self._baseline, self._tests)
        return [record_comparison(one, self._baseline) for one in judged]

    @property
    def _baseline(self) -> str:
        return f"baseline {self._stated.baseline.name}" if self._stated.baseline else ""

    def base_latencies(self, names: Iterable[str]) -> dict[str, Sequence[float]]:
        """Return seconds that calls took in what tests are held against, ascending and few.

        Args:
            names: Of runs; those of which nothing is known are left out.
        """
        if self.duet is not None:
            known = self.duet.latencies
            return {name: known[name] for name in names if name in known}
        runs = self._history.runs if self._history else {}
        return {name: pooled_latencies(runs[name]) for name in names if name in runs}

    def failures(self, nodeid: str, gated: Gated) -> Iterator[str]:
        """Yield the sentences of *gated* that fail the test *nodeid*."""
        if gated.broken:
            yield gated.broken
        for one in gated.comparisons:
            if one.outcome in self._failing or self._is_required(one):
                label = one.name.removeprefix(nodeid).removeprefix("#")
                of = f" ({label})" if label else ""
                yield plain_line(f"{one.outcome}{of}: {told(one)}; {one.against}")

    def _is_required(self, comparison: ComparisonRecord) -> bool:
        return self._stated.require_baseline and comparison.outcome in _MISSING

    def told(self) -> dict[str, Any]:
        """Return what the workers of xdist have to know, as builtin types."""
        return {
            "duet": self.duet and self.duet.to_builtin(),
            "scratch": self.confirmation and self.confirmation.sides.scratch,
        }

    def lines(self, records: Sequence[PerfRecord], verbosity: int) -> list[Line]:
        """Return what the terminal says about *records*, and about what has none."""
        found = {one.name: one for one in (self.duet.all if self.duet else ())}
        found |= {one.name: one for record in records for one in record.comparisons}
        lines = comparison_lines(found.values(), verbosity, self._failing)
        if self.duet:
            lines += [Line(plain_line(f"note: {note}"), "warned") for note in self.duet.notes]
            if not found and verbosity >= 0:
                lines.append(Line(plain_line(f"against {self.duet.against}: nothing to compare")))
        return lines

    def keep(self, records: Sequence[PerfRecord], *, is_passed: bool) -> str:
        """Move the baseline where that is asked for; return what became of it, or nothing.

        Args:
            records: Of this session.
            is_passed: Whether no test failed.

        Raises:
            OSError: It cannot be written.
            FileFormatError: What is there now is no baseline.
        """
        folder = self._stated.baseline
        if not self._stated.update_baseline or folder is None:
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
        kept = keep_runs(folder, found, is_accepted=is_passed)
        return f"{self._baseline}: {_describe(kept, is_passed=is_passed)}"


def _describe(kept: Kept, *, is_passed: bool) -> str:
    counted = f"{kept.accepted} run{'s' * (kept.accepted != 1)} added"
    told = counted if is_passed else "not updated, since a test failed"
    if kept.refused:
        told += f"; {kept.refused} regressed and put aside: agentperf accept TEST takes them"
    return told
