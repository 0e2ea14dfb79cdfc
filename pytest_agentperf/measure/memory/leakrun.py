"""A leak run: calls a function in stages, reads after each block, and names what leaks."""

import asyncio
import gc
import inspect
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Final, TypeAlias

from pytest_agentperf.core.clock import REAL_TIME, Clock
from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.memory.collecting import no_collections, old_objects_aside
from pytest_agentperf.measure.memory.leak import Leak
from pytest_agentperf.measure.memory.leakcurves import memory_curves
from pytest_agentperf.measure.memory.leaknames import NAMING_CALLS, Names, find_names
from pytest_agentperf.measure.memory.leakplan import LeakPlan
from pytest_agentperf.measure.memory.leftovers import newborns
from pytest_agentperf.measure.memory.naming import Line, Sizes, grown_lines, size_by_line
from pytest_agentperf.measure.memory.readings import IS_TRACEABLE, Readings, Trace
from pytest_agentperf.measure.memory.staged import (
    BLOCKS,
    STAGES,
    Ruling,
    Stage,
    decide,
    stage_calls,
)

__all__ = ["LeakRun"]

_Steps: TypeAlias = Generator[bool, None, None]
"""True for each call to make, False where what was begun shall get time to end."""

_UNDECIDED: Final = Ruling("undecided")
_NO_TRACE: Final = "this Python has no tracemalloc; CPython has"
_LOST: Final = "memory data lost: tracemalloc was stopped or cleared in a call; call without that"
_TURNS: Final = 5  # of the loop, in which what was begun may end
_COUNTED: Final = ("tasks", "threads", "file descriptors")
_DEFAULT: Final = LeakPlan()


class LeakRun:
    """Calls a function until it is known whether it leaks; it never fails by itself.

    A leak is called 30 times more, to be named.

    Args:
        call: What to call, without arguments.
        subject: What messages call it.
        plan: How often, and what it may leave.
        reset: Called after each call, to put back what calls may change; may be async in
            `run_async`.
        clock: Returns seconds.
        collect: Collects garbage.
    """

    def __init__(
        self,
        call: Callable[[], Any],
        subject: str,
        plan: LeakPlan = _DEFAULT,
        *,
        reset: Callable[[], Any] | None = None,
        clock: Clock = REAL_TIME.clock,
        collect: Callable[[], object] = gc.collect,
    ) -> None:
        self._call, self._reset, self._subject, self._plan = call, reset, subject, plan
        self._clock, self._collect = clock, collect
        self._made, self._began = 0, 0.0
        self._result: Leak | None = None

    def run(self) -> Leak:
        """Call a sync function, and return what was found."""
        with closing(self._steps()) as steps:
            for is_call in steps:
                if is_call:
                    _refuse_awaitable(self._call(), self._subject)
                    if self._reset:
                        _refuse_awaitable(self._reset(), "reset")
        return self.result

    async def run_async(self) -> Leak:
        """Await the function in this task, call after call, and return what was found."""
        pause = _pause()
        with closing(self._steps()) as steps:
            for is_call in steps:
                if is_call:
                    await self._call()
                    if self._reset and inspect.isawaitable(done := self._reset()):
                        await done
                for _ in range(1 if is_call else _TURNS):
                    await pause(0)
        return self.result

    @property
    def result(self) -> Leak:
        """What was found.

        Raises:
            UsageError: The run has not ended.
        """
        if self._result is None:
            raise UsageError("a leak is known when its run has ended; read it after that")
        return self._result

    def _steps(self) -> _Steps:
        if not IS_TRACEABLE:
            self._result = self._undecided(_NO_TRACE)
            return
        trace = Trace()
        try:
            yield from self._judge(trace)
        finally:
            trace.end()

    def _judge(self, trace: Trace) -> _Steps:
        """Call until the rule decides, and name what leaks."""
        stages: list[Stage] = []
        with old_objects_aside(self._collect):
            ruling, before = yield from self._rule(trace, stages)
        if ruling is None:
            self._result = self._undecided(_LOST) if trace.is_lost else self._cut_short(stages)
            return
        names = Names()
        if ruling.verdict == "leak":
            names = yield from self._names(trace, before, stages[-1].calls * BLOCKS)
            if names.chain and names.chain.bound:
                ruling = replace(ruling, verdict="warming up", is_over=False)
        self._result = self._leak(ruling, stages, names)

    def _rule(
        self, trace: Trace, stages: list[Stage]
    ) -> Generator[bool, None, tuple[Ruling | None, Sizes]]:
        """Call in stages; return the ruling, and what was traced before the last of them."""
        plan, readings = self._plan, Readings(self._collect)
        last, before = max(plan.stages, STAGES), dict[Line, int]()
        self._began = self._clock()
        warmup = plan.warmup if plan.calls is None else min(plan.warmup, plan.calls)
        yield from self._calls(warmup, readings)
        while len(stages) < plan.stages:
            if len(stages) == last - 1:
                before.update(size_by_line())
            is_done = yield from self._stage(stages, readings)
            if trace.is_lost or not is_done:
                break
            ruling = decide(stages, plan.limits, last=last)
            if ruling is not None:
                return ruling, before
        return None, before

    def _stage(self, stages: list[Stage], readings: Readings) -> Generator[bool, None, bool]:
        """Make the calls of the next stage; return whether there was time for all of them."""
        calls = stage_calls(len(stages))
        yield False
        readings.begin()
        for _ in range(BLOCKS):
            if not (yield from self._calls(calls, readings)):
                return False
            yield False
            readings.take()
        stages.append(readings.stage(calls))
        return True

    def _calls(self, count: int, readings: Readings) -> Generator[bool, None, bool]:
        """Make *count* calls; return whether there was time for all of them."""
        for _ in range(count):
            if self._clock() - self._began >= self._plan.max_time:
                return False
            readings.note_modules()
            yield True
            readings.forgive_modules()
            self._made += 1
        return True

    def _names(self, trace: Trace, before: Sizes, calls: int) -> Generator[bool, None, Names]:
        """Name what leaks, with a few more calls that are traced deeper."""
        grown = grown_lines(before, size_by_line())
        self._collect()  # which empties the stores of small objects that were not traced so
        trace.deepen()
        with no_collections():
            for _ in range(NAMING_CALLS):
                yield True
            yield False
            born = newborns()
        traced_calls = NAMING_CALLS if trace.is_ours else self._made + NAMING_CALLS
        return find_names(grown, calls, born, traced_calls, trace, self._clock)

    def _leak(self, ruling: Ruling, stages: Sequence[Stage], names: Names) -> Leak:
        limits = self._plan.limits
        rates = {what: stages[-1].rate(what) for what in _COUNTED if what in stages[-1].growth}
        growing = {what: rate for what, rate in rates.items() if rate >= limits[what]}
        return Leak(
            self._subject,
            ruling,
            stages[-1].rate("traced"),
            self._made,
            limits["traced"],
            names.lines,
            names.types,
            growing if ruling.verdict == "leak" else {},
            names.chain,
            notes=names.notes,
            curves=memory_curves(stages),
        )

    def _cut_short(self, stages: Sequence[Stage]) -> Leak:
        seconds = self._clock() - self._began
        rate = stages[-1].rate("traced") if stages else 0.0
        grew = f"it kept {format_quantity(rate, Unit.BYTES)} a call" if rate > 0 else ""
        leak = self._undecided(self._plan.cut_short(self._made, seconds, grew))
        return replace(leak, bytes_per_call=rate, curves=memory_curves(stages))

    def _undecided(self, reason: str) -> Leak:
        limit = self._plan.max_leak_per_call
        return Leak(self._subject, _UNDECIDED, 0.0, self._made, limit, reason=reason)


def _refuse_awaitable(result: object, subject: str) -> None:
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise UsageError(f"{subject} returned an awaitable; expected a sync function, or await it")


def _pause() -> Callable[[float], Any]:
    """Return what lets others run: that of asyncio where its loop runs, else that of trio."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return sys.modules["trio"].sleep  # type: ignore[no-any-return]
    return asyncio.sleep
