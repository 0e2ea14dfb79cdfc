"""The engine: makes the calls of a load, looks after it, and ends it within bounds."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from pytest_agentperf.core.clock import REAL_TIME, Clock
from pytest_agentperf.measure.load.closed import ClosedLoad
from pytest_agentperf.measure.load.lag import LagProbe
from pytest_agentperf.measure.load.opened import OpenLoad
from pytest_agentperf.measure.load.plan import LoadPlan
from pytest_agentperf.measure.load.progress import Observer, ProgressView
from pytest_agentperf.measure.load.running import RunningLoad
from pytest_agentperf.measure.load.scenario import Scenario
from pytest_agentperf.measure.load.tally import LoadTally
from pytest_agentperf.measure.load.timeline import Timeline

__all__ = ["EVERY", "Engine", "Job"]

EVERY: Final = 0.5
"""Seconds between two looks at a load that runs."""

HOPELESS: Final = 50
"""Calls that failed, with none that succeeded, after which a load ends."""

_PATIENCE: Final = 0.5  # seconds that a cancelled call gets to end, twice
_TIMES: Final = 2


@dataclass(frozen=True, slots=True)
class Job:
    """What a load calls, and around what.

    Attributes:
        scenarios: What to call; one at least.
        on_start: Called for each user of a closed load before its calls; what it returns is their
            first argument. None for nothing.
        on_stop: Called with that after the last of them. None for nothing.
    """

    scenarios: Sequence[Scenario]
    on_start: Callable[..., Any] | None = None
    on_stop: Callable[..., Any] | None = None


class Engine:
    """Makes the calls of a load, once.

    Args:
        plan: The load, or a share of it.
        job: What to call.
        observe: Looks at the load while it runs, and may end it; None for nobody.
        has_loop: Whether the test has an event loop of its own, so that async functions may be
            called in it.
        clock: The clock.

    Attributes:
        tally: What the calls came to, also while they are made.
    """

    def __init__(
        self,
        plan: LoadPlan,
        job: Job,
        observe: Observer | None = None,
        *,
        has_loop: bool = True,
        clock: Clock = REAL_TIME.clock,
    ) -> None:
        self.tally = LoadTally()
        self._plan, self._job, self._observe = plan, job, observe
        self._has_loop, self._clock = has_loop, clock
        self._run: RunningLoad | None = None

    async def run(self) -> LoadTally:
        """Make the calls, in the loop that runs; return what they came to.

        Raises:
            CancelledError: It was cancelled; the tally has what was recorded before.
            UsageError: What is called needs an event loop, and the test has none.
            BaseException: A hook failed, or a call raised what is no `Exception`.
        """
        self._run = run = RunningLoad(
            self._plan, self._job.scenarios, self.tally, self._clock, has_loop=self._has_loop
        )
        probe = LagProbe(run.loop, self.tally.lag)
        looking = run.loop.create_task(self._look(run))
        probe.start()
        run.allow(self._plan.seconds + self._plan.grace)
        self._load(run).start()
        try:
            await run.over.wait()
            await self._end(run)
        except asyncio.CancelledError:
            self.tally.is_partial = True
            run.cut(is_early=True, reason="it was interrupted")
            await self._end(run)
            raise
        finally:
            probe.stop()
            looking.cancel()
            run.close()
            self.tally.seconds = self._clock() - run.begin
        if run.failure is not None:
            raise run.failure
        return self.tally

    def interrupt(self) -> None:
        """End the load from outside, if it runs: its test has ended."""
        if self._run is not None and not self._run.is_over:
            self.tally.is_partial = True
            with suppress(RuntimeError):  # its loop is closed
                self._run.cut(is_early=True, reason="the test ended")

    def _load(self, run: RunningLoad) -> OpenLoad | ClosedLoad:
        if self._plan.is_open:
            return OpenLoad(run)
        return ClosedLoad(run, self._job.on_start, self._job.on_stop)

    async def _look(self, run: RunningLoad) -> None:
        """Look at the load now and then: end it where it is hopeless, keep its tally small."""
        view = ProgressView(self._plan, self.tally, Timeline.of(self._plan).warm)
        while True:
            await asyncio.sleep(EVERY)
            if self._is_hopeless():
                run.cut(is_early=True, reason=f"every call failed, {HOPELESS} and more")
            if self._observe is not None:
                progress = view.look(run.clock() - run.begin, run.in_flight)
                try:
                    reason = self._observe(progress)
                except Exception as error:  # noqa: BLE001 -- it is raised by the load
                    run.fail(error)
                    return
                if reason:
                    run.cut(is_early=True, reason=reason)
            for _ in self.tally.trim():
                await asyncio.sleep(0)

    def _is_hopeless(self) -> bool:
        calls, failed = self.tally.made()
        return calls == failed >= HOPELESS

    async def _end(self, run: RunningLoad) -> None:
        """Wait for what was cancelled; cut off what goes on all the same."""
        for _ in range(_TIMES):
            if run.tasks:
                await asyncio.wait(run.tasks, timeout=_PATIENCE)
            for task in run.tasks:
                task.cancel()
        await run.threads.wait(_PATIENCE)
        self.tally.stubborn = run.threads.busy + len(run.tasks)
        for task in list(run.tasks):
            _cut_off(task)


class _CutOffError(BaseException):
    """Ends a coroutine that does not end when it is cancelled."""


def _cut_off(task: "asyncio.Task[None]") -> None:
    """End *task*, or its loop could not be closed without waiting for it for ever."""
    coroutine: Any = task.get_coro()
    with suppress(_CutOffError, StopIteration, RuntimeError, ValueError):
        coroutine.throw(_CutOffError())  # which its task, cancelled once more, will find ended
