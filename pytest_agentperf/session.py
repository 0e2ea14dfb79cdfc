"""The session: measures the tests that ask for it, judges them, and keeps their records."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_agentperf.budgets import Budgets, open_budgets
from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.measurement import Measurement, join
from pytest_agentperf.judge.verdict import Status, Verdict, judge
from pytest_agentperf.measure.monitors import Monitors
from pytest_agentperf.measure.timings import Timings
from pytest_agentperf.options import Settings, is_narrowed, read_settings
from pytest_agentperf.recorders import Shared, new_watching
from pytest_agentperf.report.escape import plain_line, valid_text
from pytest_agentperf.report.record import UNSEEN, PerfRecord, make_record
from pytest_agentperf.running import RunningTest
from pytest_agentperf.watched import BLOCKING, asked_parts, is_async_fixture, watched_setup

if TYPE_CHECKING:
    from pytest_agentperf.gated import Gate
    from pytest_agentperf.judge.limits import ResolvedLimits
    from pytest_agentperf.measure.cache.door import CacheUse
    from pytest_agentperf.measure.concurrency.door import Watching
    from pytest_agentperf.measure.load.door import Loading
    from pytest_agentperf.measure.memory.door import Metering
    from pytest_agentperf.measure.pool.door import Pooling
    from pytest_agentperf.profiled import Profiles

__all__ = ["PerfSession", "junit_properties"]


class PerfSession:
    """What the plugin knows during one run of pytest.

    Args:
        config: Of the session.

    Attributes:
        settings: The resolved options.
        budgets: The budgets that hold.
        acceptances: The findings that the user accepts.
        gate: Holds tests against earlier runs; None where nobody asks for that.
        interrupted: The records of tests that Ctrl-C has ended, which no report carries.
        unmatched: Patterns of the budget file that match no test, where that is a mistake.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.settings: Settings = read_settings(config)
        self.budgets: Budgets = open_budgets(self.settings)
        self.acceptances = self.budgets.acceptances
        self._profiles = _open_profiles(config, self.settings)
        self._shared = Shared(self.acceptances.cover)
        self.interrupted: list[PerfRecord] = []
        self.unmatched: list[str] = []
        workers = getattr(config, "workerinput", {}).get("workercount", 1)
        self._conditions = f"{workers} xdist workers" if workers > 1 else ""
        self.gate: Gate | None = None
        # A report keeps the times of runs, which `agentperf compare` holds against each other.
        if self.settings.gate.is_asked or self.settings.reports.wants_details:
            from pytest_agentperf.gated import open_gate

            self.gate = open_gate(config, self.settings, self.budgets.rule)
        self._limits: dict[str, ResolvedLimits] = {}
        self._attempts: dict[str, int] = {}
        self._setups: dict[str, Watching] = {}
        self._running: RunningTest | None = None

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
        """Return the timings of the running test; without one it is a `UsageError`."""
        return self._current_test("perf_timer").timings

    def current_watching(self) -> "Watching":
        """Return the watches of the running test."""
        return self._current_test("perf_concurrency").recorders.watching

    def current_metering(self) -> "Metering":
        """Return what is metered in the running test."""
        return self._current_test("perf_memory").recorders.metering

    def current_caching(self) -> "CacheUse":
        """Return what is counted of caches in the running test."""
        return self._current_test("perf_cache").recorders.caching

    def current_pooling(self) -> "Pooling":
        """Return what was seen of pools in the running test."""
        return self._current_test("perf_pool").recorders.pooling

    def current_loading(self) -> "Loading":
        """Return the loads of the running test."""
        return self._current_test("perf_load").recorders.loading

    def _current_test(self, fixture: str) -> RunningTest:
        if self._running is None:
            raise UsageError(
                f"{fixture} was used outside of the call of a measured test; use it in the test"
                " itself, which names it as an argument, and not in a fixture"
            )
        return self._running

    def begin(self, item: pytest.Item) -> None:
        """Begin to measure *item*, if it is measured: its call phase starts now."""
        limits = self._limits.get(item.nodeid)
        if limits is not None:
            self._running = RunningTest(
                item, limits, self.settings, self.budgets, self._shared, self._profiles
            )
            self._running.begin()

    @contextmanager
    def setting_up(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Iterator[None]:
        """Watch the setup of an async fixture made for one test, whose budgets ask for that."""
        is_of_test = fixturedef.scope == "function" and is_async_fixture(fixturedef)
        limits = self._limits.get(request.node.nodeid) if is_of_test else None
        if limits is None or "blocking" not in asked_parts(request.node, limits):
            yield
            return
        watching = self._setups.setdefault(
            request.node.nodeid, new_watching(self._shared, Monitors())
        )
        label = f"fixture {fixturedef.argname}"
        with watched_setup(fixturedef, lambda: watching.look_for(BLOCKING, label)):
            yield

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
        raised = running.end(raised)
        unawaited = running.timings.close() + running.recorders.close()
        measurements = [
            measurement
            for measurement in join([*running.measurements(), *self._set_up(running.item)])
            if measurement.calls > measurement.errors or not _is_skip(raised)
        ]
        if self._conditions:
            measurements = [each._replace(conditions=self._conditions) for each in measurements]
        if running.side is not None:
            running.side.take(running.item, measurements)
        nodeid = running.item.nodeid
        verdicts, ignored = judge(measurements, running.limits, is_complete=raised is None)
        failures, gated = unawaited, UNSEEN
        if raised is None:
            failures += [*running.recorders.failures(), *self._failures(verdicts)]
            if self.gate is not None:
                gated = self.gate.see(running.item, measurements, self._limits)
                failures += self.gate.failures(nodeid, gated)
        if self._profiles is not None:
            is_failed = raised is not None or bool(failures)
            measurements = self._profiles.settle(measurements, is_failed=is_failed)
        if self.settings.reports.wants_details:
            past = self.gate.base_latencies(gated.runs) if self.gate else {}
            measurements = running.detailed(measurements, past)
        self._attempts[nodeid] = attempt = self._attempts.get(nodeid, 0) + 1
        ignored += running.dropped
        record = make_record(nodeid, measurements, verdicts, ignored, attempt, gated)
        if raised is None:
            return record, "\n".join(failures)
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


def _open_profiles(config: pytest.Config, settings: Settings) -> "Profiles | None":
    """Return where the profiles of this session go; None where none were asked for."""
    if settings.profiler is None:
        return None
    from pytest_agentperf.profiled import open_profiles

    return open_profiles(config, settings.profiler, only_failed=settings.only_failed_profiles)


def _is_skip(error: BaseException | None) -> bool:
    """Return whether *error* is how a test says that it does not apply."""
    unittest = sys.modules.get("unittest")  # whoever raises its error has imported it
    is_of_unittest = unittest is not None and isinstance(error, unittest.SkipTest)
    return is_of_unittest or isinstance(error, pytest.skip.Exception)


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
