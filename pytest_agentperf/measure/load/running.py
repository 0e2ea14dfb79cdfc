"""A load while it runs: what its users and its calls share."""

import asyncio
import itertools
from bisect import bisect_right
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Final

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.measure.load.callee import Callee, Outcome
from pytest_agentperf.measure.load.deadlines import Deadlines
from pytest_agentperf.measure.load.plan import LoadPlan
from pytest_agentperf.measure.load.scenario import Mix, Scenario
from pytest_agentperf.measure.load.tally import Cell, LoadTally
from pytest_agentperf.measure.load.threads import Threads
from pytest_agentperf.measure.load.timeline import Timeline

__all__ = ["UNFINISHED", "RunningLoad"]

UNFINISHED: Final = "UnfinishedCall"
"""What a call counts as that was cancelled because it did not end in time after the last."""


class RunningLoad:
    """A load while it runs.

    Args:
        plan: The load.
        scenarios: What to call.
        tally: What the calls come to.
        clock: The clock.
        has_loop: Whether the test has an event loop of its own.

    Attributes:
        begin: When it began.
        end: After when no further call begins; it comes forward when the load ends early.
        turns: Yields once for each call that may still begin, for all users together.
        in_flight: Calls, or users with calls, in flight.
        tasks: Users, or calls and who starts them.
        over: Set when these have ended, or are cancelled.
        failure: What is no failure of a call but ends the load.
        is_over: Whether calls in flight are cancelled, since they did not end in time.
        is_early: Whether they are since the load ends early: then they do not count.
    """

    def __init__(
        self,
        plan: LoadPlan,
        scenarios: Sequence[Scenario],
        tally: LoadTally,
        clock: Clock,
        *,
        has_loop: bool,
    ) -> None:
        self.plan, self.clock, self.tally = plan, clock, tally
        self.mix = Mix(scenarios, plan.share, plan.shares)
        self.loop = asyncio.get_running_loop()
        self.threads = Threads(self.loop)
        self._has_loop = has_loop
        self.callees = [self.callee(each.func) for each in scenarios]
        self.deadlines = Deadlines(plan.deadline, clock, self.loop)
        self.begin = clock()
        self.end = self.begin + plan.seconds
        limit = plan.calls
        self.turns: Iterator[int] = itertools.repeat(0) if limit is None else iter(range(limit))
        self.in_flight = 0
        self.is_over = self.is_early = False
        self._timeline = Timeline.of(plan)
        self._goodput = dict(plan.goodput)
        self._resting: set[asyncio.Task[Any]] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.over, self._an_end = asyncio.Event(), asyncio.Event()
        self.failure: BaseException | None = None
        self._cut: asyncio.TimerHandle | None = None

    def callee(self, func: Callable[..., Any]) -> Callee:
        """Return what calls *func* in this load."""
        return Callee(func, self.clock, self.threads, has_loop=self._has_loop)

    # Time

    def window(self, at: float) -> int:
        """Return the number of the window in which *at* lies, by the clock."""
        ends = self._timeline.ends
        return min(bisect_right(ends, at - self.begin), len(ends) - 1)

    def window_end(self, window: int) -> float:
        """Return when *window* ends, by the clock, or the load does."""
        return min(self.begin + self._timeline.ends[window], self.end)

    async def rest(self, until: float) -> None:
        """Sleep until the clock shows *until*; cancelled when the load ends early."""
        seconds = until - self.clock()
        if seconds <= 0:
            return
        task = current_task()
        self._resting.add(task)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._resting.discard(task)

    # Tasks

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Start *work*, a part of the load: when there is none left the load has ended."""
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        self._an_end.set()
        if not task.cancelled() and (error := task.exception()) and not self.is_over:
            self.fail(error)
        if not self.tasks:
            self.over.set()

    def fail(self, error: BaseException) -> None:
        """End the load with *error*."""
        self.failure = self.failure or error
        self.cut(is_early=True)

    async def any_end(self) -> None:
        """Wait until a task ends."""
        self._an_end.clear()
        await self._an_end.wait()

    def stop(self, reason: str = "") -> None:
        """Let no further call begin; those in flight have some time to end."""
        now = self.clock()
        if now >= self.end:
            return
        self.tally.ended, self.end = self.tally.ended or reason, now
        for task in self._resting:
            task.cancel()
        self.allow(self.plan.grace)

    def allow(self, seconds: float) -> None:
        """Cut the load off after *seconds*, and not when it was to be before."""
        if self._cut is not None:
            self._cut.cancel()
        self._cut = self.loop.call_later(seconds, self.cut)

    def cut(self, *, is_early: bool = False, reason: str = "") -> None:
        """Cancel whatever is still in flight."""
        self.is_over, self.is_early = True, is_early
        self.tally.ended = self.tally.ended or reason
        self.end = min(self.end, self.clock())
        for task in self.tasks:
            task.cancel()
        self.over.set()

    def close(self) -> None:
        """Let go of timers and threads."""
        if self._cut is not None:
            self._cut.cancel()
        self.deadlines.close()
        self.threads.close()

    # Calls

    def enter(self) -> None:
        """Count one more in flight."""
        self.in_flight += 1
        if self.in_flight > self.tally.in_flight_max:  # noqa: PLR1730 -- a call costs more
            self.tally.in_flight_max = self.in_flight

    async def call(self, number: int, args: tuple[Any, ...], due: float | None = None) -> None:
        """Make a call of the scenario *number* and record it.

        Args:
            number: Of the scenario.
            args: Those of the call.
            due: When it should start; None for now.
        """
        task, began = current_task(), self.clock()
        self.enter()
        self.deadlines.begin(task, began)
        try:
            outcome = await self.callees[number].call(args)
            is_late = self.deadlines.end(task)
        except asyncio.CancelledError as error:
            is_late = self.deadlines.end(task)
            outcome = Outcome(began, self.clock(), error=error)
        finally:
            self.in_flight -= 1
        due = outcome.started if due is None else due
        self.record_call(number, outcome, due, is_late=is_late)

    def record_call(self, number: int, outcome: Outcome, due: float, *, is_late: bool) -> None:
        """Record the *outcome* of a call of the task that runs, which ends where it is cancelled.

        Args:
            number: Of the scenario.
            outcome: What came of it.
            due: When it should have started.
            is_late: Whether it was cancelled at its deadline.
        """
        if is_late:
            current_task().uncancel()
            error = TimeoutError(f"deadline of {self.plan.deadline:g} s")
            outcome = outcome._replace(error=error)
        self.record(number, outcome, due)
        if isinstance(outcome.error, asyncio.CancelledError) and current_task().cancelling():
            raise outcome.error

    def record(self, number: int, outcome: Outcome, due: float) -> None:
        """Record the *outcome* of a call that was *due*."""
        cell = self.tally.cell(number, self.window(due))
        latency, error = outcome.ended - due, outcome.error
        if error is not None:
            if not isinstance(error, Exception | asyncio.CancelledError):
                raise error
            self.record_error(cell, latency, error)
            return
        cell.latency.add(latency)
        if self.plan.is_open:
            cell.service.add(outcome.ended - outcome.started)
            cell.dispatch_delay.add(outcome.started - due)
        if outcome.items is not None:
            cell.stream(outcome.items)
        if self._goodput:
            cell.good += self._is_good(latency, outcome)

    def record_error(self, cell: Cell, seconds: float, error: BaseException) -> None:
        """Record a call that ended with *error* after *seconds*."""
        if self.is_over and isinstance(error, asyncio.CancelledError):
            self.tally.unfinished += 1
            if not self.is_early:
                cell.fail(seconds, UNFINISHED)
            return
        cell.fail(seconds, type(error).__name__)
        if not self.tally.first_error:
            self.tally.first_error = f"{type(error).__name__}: {error}".rstrip(": ")

    def miss(self, due: float) -> None:
        """Record a call that was *due* and could not even be started."""
        self.tally.unsent += 1
        self.tally.cell(0, self.window(due)).fail(self.clock() - due, UNFINISHED)

    def _is_good(self, latency: float, outcome: Outcome) -> bool:
        """Return whether a call met every limit; a missing item meets none."""
        items, missing = outcome.items, float("inf")
        found = {"latency": latency, "ttft": missing, "itl": missing}
        if items is not None and items.first is not None:
            found["ttft"] = items.first
            found["itl"] = sum(items.gaps) / max(len(items.gaps), 1)
        return all(found[name] <= limit for name, limit in self._goodput.items())


def current_task() -> "asyncio.Task[Any]":
    """Return the task that runs."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 -- a load runs in tasks
    return task
