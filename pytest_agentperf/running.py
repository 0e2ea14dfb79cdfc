"""The running test: what is put around its body, and which further calls its limits ask for."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import pytest

from pytest_agentperf.announce import announce
from pytest_agentperf.body import BodyOutcome, has_examples, measured_body, watched_examples
from pytest_agentperf.budgets import Budgets, is_body, is_one_call
from pytest_agentperf.core.clock import REAL_TIME
from pytest_agentperf.core.effort import Effort
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.units import Unit
from pytest_agentperf.gate import SIDE_PLUGIN
from pytest_agentperf.judge.limits import Limit, ResolvedLimits
from pytest_agentperf.measure.monitors import ExtraPass
from pytest_agentperf.measure.timings import Timings
from pytest_agentperf.metered import (
    CPU,
    CPU_CALLS,
    PER_CALL,
    TRACED,
    asked_quantities,
    asks_memory,
    body_parts,
    is_traced_alone,
    metered_body,
)
from pytest_agentperf.options import Settings
from pytest_agentperf.recorders import Recorders, Shared
from pytest_agentperf.watched import asked_parts, asks_watch, is_async_test, watched_body

if TYPE_CHECKING:
    from pytest_agentperf.core.detail import Detail
    from pytest_agentperf.gate.side import Side
    from pytest_agentperf.measure.rounds import Plan
    from pytest_agentperf.profiled import Profiles

__all__ = ["RunningTest"]

_ONCE: Final = Effort(rounds=1, warmup=0)
_TIMES: Final = frozenset({Unit.SECONDS, Unit.RATE})


class RunningTest:
    """The measured test whose call phase runs.

    Args:
        item: The test.
        limits: What holds for it.
        settings: Those of the session.
        budgets: Those of the session.
        shared: What its recorders share with those of other tests.
        profiles: Where profiles go, if there are any.

    Attributes:
        item: The test.
        limits: What it is held to: limits that apply to it.
        dropped: How many do not.
        timings: What it has timed.
        recorders: What else was recorded.
        side: The side of a duet that this run is, or None: it judges nothing.
    """

    def __init__(
        self,
        item: pytest.Item,
        limits: ResolvedLimits,
        settings: Settings,
        budgets: Budgets,
        shared: Shared,
        profiles: "Profiles | None",
    ) -> None:
        self.item = item
        self._settings, self._profiles = settings, profiles
        self._is_once = is_one_call(item, limits)
        self._stated = limits
        self.side: Side | None = item.config.pluginmanager.get_plugin(SIDE_PLUGIN)
        self.limits = limits.keep(self._applies)
        kept = [limit for _, limit in self.limits.items()]
        self.dropped = len(limits.items()) - len(kept)
        self._asked = asked_quantities(item, kept)
        self._wants_levels = settings.reports.wants_details or asks_memory(item, self._asked)
        self.timings = Timings(
            self._plan,
            budgets.prices,
            REAL_TIME.clock,
            wants_cost=any("cost" in limit.metric.name for limit in kept)
            or bool(self.side and self.side.wants_cost),
            passes=self._passes,
            keeps_moments=settings.reports.wants_details,
            wants_levels=self._wants_levels,
        )
        self.recorders = Recorders(
            item, self.timings.monitors, shared, self.limits, is_quick=settings.quick
        )
        self._outcome = BodyOutcome()
        self._around = ExitStack()

    def begin(self) -> None:
        """Put what measures it around its body."""
        item, around = self.item, self._around
        is_once = is_body(item) and self._runs_once()
        if not is_once:
            _import_rounds(wants_levels=self._wants_levels)
        if is_body(item):
            measured = measured_body(item, self.timings, is_once=is_once)
            self._outcome = around.enter_context(measured)
        elif has_examples(item):
            around.enter_context(watched_examples(item, self.timings, is_body=False))
        if parts := asked_parts(item, self.limits):
            watching = self.recorders.watching
            around.enter_context(watched_body(item, lambda: watching.look_for(parts)))
        if metered := self._metered_parts():
            self._meter_body(metered)

    def end(self, raised: BaseException | None) -> BaseException | None:
        """Put everything back.

        Args:
            raised: What its call phase raised, or None.

        Returns:
            What its body raised, even where that was expected to.
        """
        # With its traceback: contextlib would set it to what it is given.
        traceback = raised.__traceback__ if raised else None
        self._around.__exit__(type(raised) if raised else None, raised, traceback)
        return raised or self._outcome.error

    def measurements(self) -> list[Measurement]:
        """Return what was timed and what else was recorded."""
        return [*self.timings.measurements(), *self.recorders.measurements()]

    def detailed(
        self, measurements: Sequence[Measurement], past: Mapping[str, Sequence[float]]
    ) -> list[Measurement]:
        """Return *measurements* with what a report draws of them.

        Args:
            measurements: Of this test.
            past: Latencies of what it is held against, by the name of the run.
        """
        from pytest_agentperf.measure.details import with_details

        seen = self.recorders.details(self.timings.moments())
        return with_details(measurements, [*seen, *_baselines(self.item.nodeid, past)])

    def _applies(self, limit: Limit) -> bool:
        """Return whether *limit* can be judged on this test at all."""
        if self.side or (self._settings.quick and limit.metric.unit in _TIMES):
            return False
        if asks_watch(limit) and not is_async_test(self.item):
            return "perf_concurrency" in getattr(self.item, "fixturenames", ())
        return not (limit.metric.percentile and self._is_once)

    def _runs_once(self) -> bool:
        """Return whether its body is called once, and nothing is done before or after that."""
        if not self._is_once or self._wants_levels or self._profiles or self.limits.effort.rerun:
            return False
        effort = self._effort(None, Effort())
        return (effort.rounds, effort.warmup) == (1, 0)

    def _plan(self, label: str | None, stated: Effort) -> "Plan":
        """Return how often to call under *label*, given what the test's code states."""
        from pytest_agentperf.planning import plan_calls

        effort, config = self._effort(label, stated), self.item.config
        return plan_calls(effort, self.limits.of(label), lambda text: announce(config, text))

    def _effort(self, label: str | None, stated: Effort) -> Effort:
        """Return what is stated for *label*, the code's word last."""
        effort = self.limits.effort.updated(stated)
        if is_body(self.item):
            effort = _ONCE.updated(effort)
        # Each example of hypothesis is a call of its own.
        if self._settings.quick or has_examples(self.item):
            effort = effort.updated(_ONCE)
        if self.side is not None:
            effort = self.side.effort(self.item, label, effort, self._stated)
        return effort

    def _metered_parts(self) -> frozenset[str]:
        """Return what to meter around its body."""
        parts = body_parts(self._asked)
        if not self._is_once:
            parts -= {"cpu"}  # which is that of a call
        if is_body(self.item) and is_traced_alone(self.item, self.limits, self._asked):
            parts |= {"traced", "process"}
        return parts

    def _meter_body(self, parts: frozenset[str]) -> None:
        from pytest_agentperf.measure.memory.block import MeterSettings

        metering, settings = self.recorders.metering, MeterSettings(parts=parts)
        if "traced" in parts:
            self.timings.monitors.seen["memory trace"] = None
        self._around.enter_context(metered_body(self.item, lambda: metering.block(settings)))

    # Further calls

    def _passes(self, label: str | None, subject: str) -> Sequence[ExtraPass]:
        """Return the further calls of *subject* that the limits under *label* ask for."""
        if has_examples(self.item):
            return ()
        asked = asked_quantities(self.item, self.limits.of(label))
        return [
            *self._metered_calls(label, asked),
            *self._leak_calls(label, subject, asked),
            *self._profiled_calls(label, subject),
        ]

    def _metered_calls(self, label: str | None, asked: frozenset[str]) -> Iterator[ExtraPass]:
        wanted = []
        is_traced = self._is_once and is_traced_alone(self.item, self.limits, self._asked)
        if asked.intersection(TRACED) and not is_traced:
            wanted.append((1, frozenset({"traced", "process"}), TRACED))
        if asked.intersection(CPU) and not self._is_once:
            wanted.append((CPU_CALLS, frozenset({"cpu"}), CPU))
        for calls, parts, metrics in wanted:
            from pytest_agentperf.measure.memory.block import MeterSettings
            from pytest_agentperf.measure.memory.door import ExtraCalls

            settings = MeterSettings(label, parts=parts, calls=calls)
            yield ExtraCalls(self.recorders.metering, settings, metrics)

    def _leak_calls(
        self, label: str | None, subject: str, asked: frozenset[str]
    ) -> Iterator[ExtraPass]:
        is_judged = PER_CALL in asked
        if (self._settings.leaks or is_judged) and self._may_rerun():
            from pytest_agentperf.measure.memory.door import LeakCalls

            fails = self._settings.leaks and not is_judged
            yield LeakCalls(self.recorders.metering, label, subject, fails=fails)

    def _profiled_calls(self, label: str | None, subject: str) -> Iterator[ExtraPass]:
        if self._profiles is None:
            return
        if self._may_rerun():
            found = self.recorders.extra.append
            yield self._profiles.call(self.item.nodeid, label, subject, found)
        else:
            self.recorders.extra.append(self._profiles.skipped(label, subject))

    def _may_rerun(self) -> bool:
        """Return whether what is timed may be called more often than it is timed."""
        return not self._is_once or bool(self.limits.effort.rerun)


def _import_rounds(*, wants_levels: bool) -> None:
    """Import what calls in rounds, which most tests do not, before an event loop would wait."""
    from pytest_agentperf import planning  # noqa: F401
    from pytest_agentperf.measure import trial  # noqa: F401

    if wants_levels:
        from pytest_agentperf.measure.memory import levels  # noqa: F401


def _baselines(
    nodeid: str, past: Mapping[str, Sequence[float]]
) -> "Iterator[tuple[str | None, Detail]]":
    """Yield latencies of earlier runs of a test as details, by label."""
    from pytest_agentperf.core.detail import Detail

    for name, latencies in past.items():
        label = name.removeprefix(nodeid).removeprefix("#") or None
        yield label, Detail(baseline={"latency": tuple(latencies)})
