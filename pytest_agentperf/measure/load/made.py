"""A load of a test: how it is started, what becomes of it, and what it came to."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.core.glance import Glance
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.load.engine import Engine, Job
from pytest_agentperf.measure.load.guard import Guard, Judge
from pytest_agentperf.measure.load.measured import measurements_of
from pytest_agentperf.measure.load.plan import LoadPlan
from pytest_agentperf.measure.load.progress import Progress
from pytest_agentperf.measure.load.result import LoadResult
from pytest_agentperf.measure.load.scenario import Scenario
from pytest_agentperf.measure.load.shape import Shape
from pytest_agentperf.measure.load.stages import Stage
from pytest_agentperf.measure.load.together import Together
from pytest_agentperf.measure.load.workers import Workers
from pytest_agentperf.measure.system import OF_MACHINE, SystemWatch
from pytest_agentperf.measure.trial import close_coroutine

if TYPE_CHECKING:
    from pytest_agentperf.core.series import Curve

__all__ = ["LoadContext", "MadeLoad"]

Show: TypeAlias = Callable[[Glance], None]
"""Takes what the user is to be shown next."""

_QUICK_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class LoadContext:
    """The test around a load.

    Attributes:
        clock: The clock.
        judge: Returns what holds a measurement under a label to its budgets; None where there is
            none, so that nobody need look.
        is_quick: Whether each scenario is called once, whatever the load.
        view: Opens what shows the user how the load goes inside; None in it where nobody looks.
    """

    clock: Clock
    judge: Callable[[str | None], Judge | None]
    is_quick: bool = False
    view: Callable[[], AbstractContextManager[Show | None]] = nullcontext


class MadeLoad:
    """A load of a test.

    Args:
        plan: The load.
        job: What it calls.
        context: The test.
        label: The user's name for it.
        each: Of which parts the budgets hold for each apart, or None.
        workers: Who makes the calls, or None for this process alone.

    Raises:
        LoadError: It cannot be made by the workers.
    """

    def __init__(
        self,
        plan: LoadPlan,
        job: Job,
        context: LoadContext,
        label: str | None,
        each: str | None,
        workers: Workers | None = None,
    ) -> None:
        if context.is_quick:
            (plan, job), workers = _quick(plan, job), None
        self._together = Together(plan, job, workers) if workers else None
        self.subject = " and ".join(scenario.name for scenario in job.scenarios)
        self._plan, self._job, self._context = plan, job, context
        self._label, self._each = label, each
        judge = context.judge(label)
        self._guard = Guard(plan, judge, label, self.subject) if judge else None
        self._engine: Engine | Together | None = None
        self._watch: SystemWatch | None = None
        self._coroutine: Coroutine[Any, Any, LoadResult] | None = None
        self._is_ended = False

    def run_now(self) -> LoadResult:
        """Make the calls in an event loop of its own, for a test that has none."""
        # A factory keeps the runner from replacing the current loop of the thread.
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            return runner.run(self._run(has_loop=False))

    def run_later(self) -> Coroutine[Any, Any, LoadResult]:
        """Return the coroutine that makes the calls."""
        self._coroutine = self._run(has_loop=True)
        return self._coroutine

    async def _run(self, *, has_loop: bool) -> LoadResult:
        self._watch = SystemWatch(asyncio.get_running_loop(), clock=self._context.clock)
        with self._context.view() as show, self._watch:
            self._engine = engine = self._together or self._new_engine(show, has_loop=has_loop)
            try:
                await (engine.run(show) if isinstance(engine, Together) else engine.run())
            finally:
                self._is_ended = True
        return self._result(engine)

    def _new_engine(self, show: Show | None, *, has_loop: bool) -> Engine:
        def observe(progress: Progress) -> str | None:
            if show is not None:
                show(progress.glance)
            return self._guard(progress) if self._guard else None

        is_observed = self._guard is not None or show is not None
        return Engine(
            self._plan,
            self._job,
            observe if is_observed else None,
            has_loop=has_loop,
            clock=self._context.clock,
        )

    def _result(self, engine: Engine | Together) -> LoadResult:
        names = tuple(scenario.name for scenario in self._job.scenarios)
        return LoadResult(self._plan, engine.tally, names, self.subject)

    @property
    def result(self) -> LoadResult | None:
        """What it came to so far; None where it has not begun."""
        return None if self._engine is None else self._result(self._engine)

    def measurements(self) -> list[Measurement]:
        """Return what it came to, if it has begun."""
        if self._engine is None:
            return []
        whole, *parts = measurements_of(self._result(self._engine), self._label, self._each)
        whole = whole._replace(curves={**whole.curves, **self._system_curves()})
        guard = self._guard
        if guard is not None and self._plan.is_abortable:
            whole = whole._replace(planned_looks=guard.planned_looks)
        if guard is not None and guard.missed and not guard.has_ended:
            whole = whole._replace(notes=(*whole.notes, self._missed(guard)))
        return [whole, *parts]

    def _system_curves(self) -> "Mapping[str, Curve]":
        """Return what the processes did that made the calls."""
        here = self._watch.curves if self._watch else {}
        if self._together is None:
            return here
        return {
            **self._together.curves,
            **{name: here[name] for name in OF_MACHINE if name in here},
        }

    def failure(self) -> str:
        """Return the sentence of what fails the test without a budget, or an empty text."""
        if self._engine is None:
            return ""
        if self._guard is not None and self._guard.has_ended:
            return f"perf_load({self.subject}) was ended early: {self._missed(self._guard)}"
        tally = self._engine.tally
        calls, failed = tally.made()  # those of the warmup too: it may have ended there
        if not calls or failed < calls:
            return ""
        return (
            f"perf_load({self.subject}): each of its {calls} calls failed, the first with"
            f" {tally.first_error or 'no end'}"
        )

    def _missed(self, guard: Guard) -> str:
        after = format_quantity(guard.missed_after, Unit.SECONDS)
        whole = format_quantity(self._plan.seconds, Unit.SECONDS)
        return f"after {after} of {whole}: {guard.missed}"

    def close(self) -> str:
        """End it where it still runs; return a sentence where it was not awaited to its end."""
        if self._is_ended:
            return ""
        if self._engine is None:
            close_coroutine(self._coroutine)
            return (
                f"perf_load({self.subject}) was never awaited: nothing was called; write `await"
                f" perf_load({self.subject}, …)` in an async test"
            )
        self._engine.interrupt()
        return (
            f"perf_load({self.subject}) had not ended when the test did: its calls are incomplete;"
            " await it inside the test"
        )


def _quick(plan: LoadPlan, job: Job) -> tuple[LoadPlan, Job]:
    """Return one user who calls every scenario once."""
    scenarios = [Scenario(s.func, *s.args, name=s.name, data=s.data) for s in job.scenarios]
    once = LoadPlan(
        Shape(is_open=False, stages=(Stage(0.0, 1.0), Stage(_QUICK_SECONDS, 1.0))),
        requests=len(scenarios),
        deadline=plan.deadline,
        grace=plan.grace,
        goodput=plan.goodput,
    )
    return once, replace(job, scenarios=scenarios)
