"""The session: measures the tests that ask for it, judges them, and keeps their records.

PYTEST_DONT_REWRITE
"""

import unittest
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_agentperf.announce import announce
from pytest_agentperf.body import BodyOutcome, has_examples, measured_body, watched_examples
from pytest_agentperf.budgets import Budgets, is_body, is_one_call, open_budgets
from pytest_agentperf.core.clock import REAL_TIME
from pytest_agentperf.core.effort import Effort
from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.measurement import Measurement, join
from pytest_agentperf.core.units import Unit
from pytest_agentperf.gated import open_gate
from pytest_agentperf.judge.comparison import UNSEEN
from pytest_agentperf.judge.limits import Limit, ResolvedLimits
from pytest_agentperf.judge.verdict import Status, Verdict, judge
from pytest_agentperf.measure.monitors import ExtraPass, Monitors
from pytest_agentperf.measure.rounds import Plan
from pytest_agentperf.measure.timings import Timings
from pytest_agentperf.metered import (
    CPU,
    CPU_CALLS,
    PER_CALL,
    TRACED,
    asked_quantities,
    body_parts,
    is_traced_alone,
    metered_body,
    provided_by,
)
from pytest_agentperf.options import Settings, is_narrowed, read_settings
from pytest_agentperf.planning import ONCE, plan_calls
from pytest_agentperf.profiled import Profiles, open_profiles
from pytest_agentperf.report.escape import plain_line, valid_text
from pytest_agentperf.report.record import PerfRecord, make_record
from pytest_agentperf.watched import (
    BLOCKING,
    asked_parts,
    asks_watch,
    is_async_test,
    watched_body,
    watched_setup,
)

if TYPE_CHECKING:
    from pytest_agentperf.measure.concurrency.door import Watching
    from pytest_agentperf.measure.memory.block import MeterTools
    from pytest_agentperf.measure.memory.door import Metering

__all__ = ["PerfSession"]

_TIMES: Final = frozenset({Unit.SECONDS, Unit.RATE})


@dataclass(slots=True)
class _RunningTest:
    """The measured test whose call phase runs.

    Attributes:
        item: The test.
        limits: What it is held to.
        timings: What it has timed.
        cleanup: Puts everything back that was replaced for it.
        dropped: Limits that cannot apply to it.
        outcome: How its body ended, where that is what is measured.
        watching: Its watches, once it has asked for one.
        metering: What was metered, once it has asked for that.
        profiled: What its profiles tell.
    """

    item: pytest.Item
    limits: ResolvedLimits
    timings: Timings
    dropped: int
    cleanup: ExitStack = field(default_factory=ExitStack)
    outcome: BodyOutcome = field(default_factory=BodyOutcome)
    watching: "Watching | None" = None
    metering: "Metering | None" = None
    profiled: list[Measurement] = field(default_factory=list)

    def measurements(self) -> list[Measurement]:
        """Return what was timed, watched and metered."""
        others = [recorder for recorder in (self.watching, self.metering) if recorder]
        found = [measurement for each in others for measurement in each.measurements()]
        return [*self.timings.measurements(), *found, *self.profiled]


class PerfSession:
    """What the plugin knows during one run of pytest.

    Args:
        config: Of the session.

    Attributes:
        settings: The resolved options.
        budgets: The budgets that hold.
        acceptances: The findings that the user accepts.
        gate: Holds tests against earlier runs.
        unmatched: Patterns of the budget file that match no test, where that is a mistake.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.settings: Settings = read_settings(config)
        self.budgets: Budgets = open_budgets(self.settings)
        self.acceptances = self.budgets.acceptances
        self._profiles: Profiles | None = open_profiles(config, self.settings)
        self.unmatched: list[str] = []
        self._config = config
        workers = getattr(config, "workerinput", {}).get("workercount", 1)
        self._conditions = f"{workers} xdist workers" if workers > 1 else ""
        self.gate = open_gate(config, self.settings, self.budgets.rule, workers)
        self._limits: dict[str, ResolvedLimits] = {}
        self._attempts: dict[str, int] = {}
        self._setups: dict[str, Watching] = {}
        self._running: _RunningTest | None = None
        self._meters: MeterTools | None = None

    def is_measured(self, nodeid: str) -> bool:
        """Return whether the selected test *nodeid* is measured."""
        return nodeid in self._limits

    def select(self, config: pytest.Config, items: Sequence[pytest.Item]) -> bool:
        """Mark the measured ones of *items*, which are all that were collected.

        Returns:
            Whether there are any.
        """
        if not is_narrowed(config):
            self.unmatched = self.budgets.unmatched(items)
        measured = [item for item in items if self.budgets.is_measured(item)]
        for item in measured:
            item.add_marker(pytest.mark.perf)
        return bool(measured)

    def explain_unmatched(self, patterns: Sequence[str]) -> list[str]:
        """Return a sentence for each of the *patterns* that matches no test."""
        name = self.budgets.file.name if self.budgets.file else "the budget file"
        return [
            f'{name}: tests."{pattern}" matches no collected test; check the path and the spelling'
            for pattern in patterns
        ]

    def prepare(self, items: Sequence[pytest.Item]) -> list[str]:
        """Resolve what holds for each measured one of *items*, which were selected to run.

        Returns:
            A sentence for each marker that cannot be meant and, where the run is strict, for each
            pattern of the file that matches no test.
        """
        errors = self.explain_unmatched(self.unmatched) if self.settings.strict else []
        for item in items:
            if self.budgets.is_measured(item):
                self._limits[item.nodeid] = self.budgets.resolve(item, errors)
        return list(dict.fromkeys(errors))

    def current(self) -> Timings:
        """Return the timings of the running test.

        Raises:
            UsageError: No measured test is in its call phase.
        """
        return self._current_test("perf_timer").timings

    def current_watching(self) -> "Watching":
        """Return the watches of the running test.

        Raises:
            UsageError: No measured test is in its call phase.
        """
        running = self._current_test("perf_concurrency")
        if running.watching is None:
            running.watching = self._new_watching(running.timings.monitors)
        return running.watching

    def current_metering(self) -> "Metering":
        """Return what is metered in the running test.

        Raises:
            UsageError: No measured test is in its call phase.
        """
        return self._metering_of(self._current_test("perf_memory"))

    def _metering_of(self, running: _RunningTest) -> "Metering":
        if running.metering is None:
            from pytest_agentperf.measure.memory.block import MeterTools
            from pytest_agentperf.measure.memory.door import Metering

            self._meters = self._meters or MeterTools()
            provided = provided_by(running.item)
            running.metering = Metering(self._meters, running.timings.monitors, provided)
        return running.metering

    def _new_watching(self, monitors: Monitors) -> "Watching":
        from pytest_agentperf.measure.concurrency.door import Watching
        from pytest_agentperf.measure.concurrency.settings import WatchContext

        return Watching(WatchContext(REAL_TIME.clock, monitors, self.acceptances.cover))

    def _current_test(self, fixture: str) -> _RunningTest:
        if self._running is None:
            raise UsageError(
                f"{fixture} was used outside of the call of a measured test; use it in the test"
                " itself, which names it as an argument, and not in a fixture"
            )
        return self._running

    def begin(self, item: pytest.Item) -> None:
        """Begin to measure *item*, if it is measured: its call phase starts now."""
        limits = self._limits.get(item.nodeid)
        if limits is None:
            return
        kept = limits.keep(lambda limit: self._applies(item, limits, limit))
        dropped = len(limits.items()) - len(kept.items())
        timings = Timings(
            lambda label, effort: self._plan(item, kept, label, effort),
            self.budgets.prices,
            REAL_TIME.clock,
            wants_cost=any("cost" in limit.metric.name for _, limit in kept.items()),
            passes=self._passes,
        )
        self._running = _RunningTest(item, kept, timings, dropped)
        cleanup = self._running.cleanup
        if is_body(item):
            self._running.outcome = cleanup.enter_context(measured_body(item, timings))
        elif has_examples(item):
            cleanup.enter_context(watched_examples(item, timings, is_body=False))
        if parts := asked_parts(item, kept):
            watching = self._running.watching = self._new_watching(timings.monitors)
            cleanup.enter_context(watched_body(item, lambda: watching.look_for(parts)))
        self._meter_body(self._running)

    def _meter_body(self, running: _RunningTest) -> None:
        """Put a block around the body of a test whose limits ask for that."""
        item, limits = running.item, running.limits
        parts = body_parts(item, limits)
        if not is_one_call(item, limits):
            parts -= {"cpu"}  # which is that of a call
        if is_body(item) and is_traced_alone(item, limits):
            parts |= {"traced", "process"}
        if not parts:
            return
        from pytest_agentperf.measure.memory.block import MeterSettings

        metering, settings = self._metering_of(running), MeterSettings(parts=parts)
        if "traced" in parts:
            running.timings.monitors.seen["memory trace"] = None
        running.cleanup.enter_context(metered_body(item, lambda: metering.block(settings)))

    def _passes(self, label: str | None, subject: str) -> Sequence[ExtraPass]:
        """Return the further calls of *subject* that the limits under *label* ask for."""
        running = self._running
        if running is None or has_examples(running.item):
            return ()
        return [
            *self._metered_passes(running, label, subject),
            *self._profiled_passes(running, label, subject),
        ]

    def _profiled_passes(
        self, running: _RunningTest, label: str | None, subject: str
    ) -> Iterator[ExtraPass]:
        if self._profiles is None:
            return
        if is_one_call(running.item, running.limits) and not running.limits.effort.rerun:
            running.profiled.append(self._profiles.skipped(label, subject))
            return
        nodeid, found = running.item.nodeid, running.profiled.append
        yield self._profiles.call(nodeid, label, subject, found)

    def _metered_passes(
        self, running: _RunningTest, label: str | None, subject: str
    ) -> Sequence[ExtraPass]:
        item, limits = running.item, running.limits
        asked = asked_quantities(item, limits.of(label))
        is_once = is_one_call(item, limits)
        wanted = []
        if asked.intersection(TRACED) and not (is_once and is_traced_alone(item, limits)):
            wanted.append((1, frozenset({"traced", "process"}), TRACED))
        if asked.intersection(CPU) and not is_once:
            wanted.append((CPU_CALLS, frozenset({"cpu"}), CPU))
        is_judged = PER_CALL in asked
        is_searched = (self.settings.leaks or is_judged) and (not is_once or limits.effort.rerun)
        if not wanted and not is_searched:
            return ()
        from pytest_agentperf.measure.memory.block import MeterSettings
        from pytest_agentperf.measure.memory.door import ExtraCalls, LeakCalls

        metering = self._metering_of(running)
        passes: list[ExtraPass] = [
            ExtraCalls(metering, MeterSettings(label, parts=parts, calls=calls), metrics)
            for calls, parts, metrics in wanted
        ]
        if is_searched:
            fails = self.settings.leaks and not is_judged
            passes.append(LeakCalls(metering, label, subject, fails=fails))
        return passes

    @contextmanager
    def setting_up(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Iterator[None]:
        """Watch the setup of an async fixture made for one test, whose budgets ask for that."""
        limits = self._limits.get(request.node.nodeid) if fixturedef.scope == "function" else None
        if limits is None or "blocking" not in asked_parts(request.node, limits):
            yield
            return
        watching = self._setups.setdefault(request.node.nodeid, self._new_watching(Monitors()))
        label = f"fixture {fixturedef.argname}"
        with watched_setup(fixturedef, lambda: watching.look_for(BLOCKING, label)):
            yield

    def _applies(self, item: pytest.Item, limits: ResolvedLimits, limit: Limit) -> bool:
        """Return whether *limit* can be judged on *item* at all."""
        if self.settings.quick and limit.metric.unit in _TIMES:
            return False
        if asks_watch(limit) and not is_async_test(item):
            return "perf_concurrency" in getattr(item, "fixturenames", ())
        return not (limit.metric.percentile and is_one_call(item, limits))

    def _plan(
        self, item: pytest.Item, limits: ResolvedLimits, label: str | None, stated: Effort
    ) -> Plan:
        """Return how often to call under *label*, given what the test's code states."""
        effort = limits.effort.updated(stated)
        if is_body(item):
            effort = ONCE.updated(effort)
        # Each example of hypothesis is a call of its own.
        if self.settings.quick or has_examples(item):
            effort = effort.updated(ONCE)
        return plan_calls(effort, limits.of(label), lambda text: announce(self._config, text))

    def end(self, *, raised: BaseException | None) -> tuple[PerfRecord | None, str]:
        """End the measured test.

        Args:
            raised: What its call phase raised, or None.

        Returns:
            Its record, and the message to fail it with; empty where it is as good as it was.
        """
        running, self._running = self._running, None
        if running is None:
            return None, ""
        # With its traceback: contextlib would set it to what it is given.
        traceback = raised.__traceback__ if raised else None
        running.cleanup.__exit__(type(raised) if raised else None, raised, traceback)
        raised = raised or running.outcome.error
        unawaited = running.timings.close()
        measurements = [
            replace(measurement, conditions=self._conditions)
            for measurement in join([*running.measurements(), *self._set_up(running.item)])
            if measurement.calls > measurement.errors or not _is_skip(raised)
        ]
        verdicts, ignored = judge(measurements, running.limits, is_complete=raised is None)
        if self._profiles is not None:
            is_failed = raised is not None or bool(self._failures(verdicts))
            measurements = self._profiles.settle(measurements, is_failed=is_failed)
        nodeid = running.item.nodeid
        self._attempts[nodeid] = attempt = self._attempts.get(nodeid, 0) + 1
        is_seen = raised is None and not unawaited
        gated = self.gate.see(running.item, measurements, self._limits) if is_seen else UNSEEN
        ignored += running.dropped
        record = make_record(nodeid, measurements, verdicts, ignored, attempt, gated)
        if raised is None:
            metered = running.metering.failures() if running.metering else ()
            slower = self.gate.failures(gated, nodeid)
            return record, "\n".join((*unawaited, *metered, *self._failures(verdicts), *slower))
        _explain_await(raised, running.timings.last_plain)
        return (record if measurements else None), ""

    def _set_up(self, item: pytest.Item) -> list[Measurement]:
        """Return what was seen while the fixtures of *item* were set up."""
        watching = self._setups.pop(item.nodeid, None)
        return watching.measurements() if watching else []

    def _failures(self, verdicts: Sequence[Verdict]) -> list[str]:
        """Return the sentences of the *verdicts* that fail a test."""
        failing = {Status.FAILED}
        if self.settings.strict:
            failing.add(Status.UNDECIDED)
        return [plain_line(v.sentence) for v in verdicts if v.status in failing]


def _is_skip(error: BaseException | None) -> bool:
    """Return whether *error* is how a test says that it does not apply."""
    return isinstance(error, unittest.SkipTest | pytest.skip.Exception)


def _explain_await(error: BaseException, subject: str) -> None:
    """Add the cure to the error of awaiting the result of a function that is not async."""
    if subject and isinstance(error, TypeError) and "'await' expression" in str(error):
        error.add_note(
            f"perf_timer({subject}) returned the result itself, since {subject} returned nothing"
            " that can be awaited; drop the await"
        )


def junit_properties(record: PerfRecord) -> list[tuple[str, Any]]:
    """Return the numbers of *record* as properties of its test case."""
    found: list[tuple[str, Any]] = []
    for measurement in record.measurements:
        # Properties cross xdist, where a lone surrogate would end the session.
        label = valid_text(measurement.label or "")
        prefix = f"agentperf.{label}." if label else "agentperf."
        found.append((f"{prefix}calls", measurement.calls))
        found += [(f"{prefix}{name}", float(value)) for name, value in measurement.metrics.items()]
    for one in record.comparisons:
        prefix = f"agentperf{valid_text(one.name.removeprefix(record.nodeid)).replace('#', '.', 1)}"
        found.append((f"{prefix}.regression", one.outcome))
        if one.ratio is not None:
            found.append((f"{prefix}.latency_ratio", float(one.ratio)))
    if record.verdicts:
        found.append(("agentperf.verdict", record.verdicts[0].status))
    return found
