"""The watch: one block of a test under observation, and what was seen when it ended."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.finding import Finding
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.measure.concurrency.leaks.snapshot import METRICS, Leak, Snapshot
from pytest_agentperf.measure.concurrency.loop.blocking import Blocking
from pytest_agentperf.measure.concurrency.loop.loopwatch import LoopWatch
from pytest_agentperf.measure.concurrency.origins import caller
from pytest_agentperf.measure.concurrency.settings import WatchContext, WatchSettings
from pytest_agentperf.measure.concurrency.sightings import BlockTotals, Sightings

if TYPE_CHECKING:
    from pytest_agentperf.measure.concurrency.spans.recorder import SpanRecorder
    from pytest_agentperf.measure.concurrency.spans.running import RunningSpan
    from pytest_agentperf.measure.concurrency.spans.schedule import Step
    from pytest_agentperf.measure.concurrency.spans.span import Span
    from pytest_agentperf.measure.concurrency.waits.ledger import WaitLedger
    from pytest_agentperf.measure.concurrency.waits.totals import WaitTotal
    from pytest_agentperf.measure.concurrency.waits.waiting import Kind

__all__ = ["Watch"]

_RECORDER: Final = "pytest_agentperf.measure.concurrency.spans.recorder"
_NAMES: Final = {
    "blocking": "loop watch",
    "leaks": "leak watch",
    "spans": "span recorder",
    "waits": "wait ledger",
}


class Watch:
    """Watches what runs inside `async with`; what it saw can be read when the block has ended.

    Args:
        settings: What to look for.
        context: The test around it.
    """

    def __init__(self, settings: WatchSettings, context: WatchContext) -> None:
        self._settings = settings
        self._context = context
        self._spans = _Spans()
        self._began = self._ended = context.clock()
        self._ledger: WaitLedger | None = None
        self._loop_watch = LoopWatch(settings.threshold, exact=settings.exact, clock=context.clock)
        self._before: Snapshot | None = None
        self._missed: list[str] = []
        self._state = "new"
        self._seen: Sightings | None = None

    # The block

    def __enter__(self) -> Self:
        raise UsageError(
            "perf_concurrency watches an event loop; write `async with perf_concurrency()` in an"
            " async test, and use perf_timer for sync code"
        )

    def __exit__(self, *_: object) -> None:
        """Never reached; it makes `with` call `__enter__`, which says what to write instead."""

    async def __aenter__(self) -> Self:
        if self._state != "new":
            raise UsageError(
                f"this watch is {self._state}; a watch is for one block, so call perf_concurrency()"
                " again for another"
            )
        self._state = "in use"
        parts = self._settings.parts
        if "leaks" in parts:
            self._before = Snapshot.take()
        if "waits" in parts:
            self._ledger = self._new_ledger()
        self._began = self._context.clock()
        if self._ledger:
            self._ledger.start()
        self.resume()
        self._context.monitors.enter(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._context.monitors.leave(self)
        self._ended = self._context.clock()
        self._loop_watch.stop()
        if self._ledger:
            self._ledger.stop()
        if self._spans.recorder:
            self._spans.recorder.stop()
        leaks: tuple[Leak, ...] | None = None
        try:
            if self._before is not None:
                # A cancelled task is given no time: it would be cancelled again.
                patience = 0.0 if isinstance(error, asyncio.CancelledError) else _PATIENCE
                leaks = await self._before.settle_and_diff(patience)
        finally:
            self._state = "over"
            self._seen = self._look_back(leaks)

    def _look_back(self, leaks: tuple[Leak, ...] | None) -> Sightings:
        settings, notes = self._settings, [*self._ledger.notes] if self._ledger else []
        totals = None
        if "blocking" in settings.parts:
            watch = self._loop_watch
            lost, lag = watch.lost_task_seconds, watch.lag
            totals = BlockTotals(tuple(watch.blocks), watch.block_total, lost, lag)
            notes += watch.notes
        if self._before is not None:
            notes += self._before.notes
        return Sightings(
            label=settings.label,
            threshold=settings.threshold,
            independent=settings.independent,
            totals=totals,
            leaks=leaks,
            recorder=self._spans.recorder,
            ledger=self._ledger,
            missed=tuple(self._missed),
            notes=tuple(dict.fromkeys(notes)),
            is_accepted=self._context.is_accepted,
            monitors=self.names,
        )

    def _new_ledger(self) -> "WaitLedger":
        from pytest_agentperf.measure.concurrency.waits.ledger import WaitLedger

        origin = self._before.origin if self._before else caller
        return WaitLedger(self._context.clock, self._spans.current, origin)

    # As a monitor of the test

    @property
    def names(self) -> tuple[str, ...]:
        """What it watches with."""
        return tuple(name for part, name in _NAMES.items() if part in self._settings.parts)

    def pause(self) -> None:
        """Stop to watch the event loop: timed rounds begin."""
        self._loop_watch.stop(quiet=True)

    def resume(self) -> None:
        """Watch the event loop again."""
        if "blocking" not in self._settings.parts:
            return
        try:
            self._loop_watch.start()
        except UsageError:
            self.miss("this event loop is not one of asyncio, and what blocks it is not seen")

    def miss(self, reason: str) -> None:
        """Take note that calls went unwatched."""
        self._missed.append(reason)

    # Spans

    @property
    def _recorder(self) -> "SpanRecorder":
        """The recorder of spans, made when it is first asked for: few watches need one."""
        if self._spans.recorder is None:
            if _RECORDER not in sys.modules:
                # An import in a watched block would be a block by the user's line.
                with self._context.monitors.paused():
                    import_module(_RECORDER)
            from pytest_agentperf.measure.concurrency.spans.recorder import SpanRecorder

            self._spans.recorder = recorder = SpanRecorder(self._context.clock)
            recorder.started = self._began
            if self._state == "over":
                recorder.stop()
        return self._spans.recorder

    def track(self, owner: object, method: str, name: str | None = None) -> None:
        """Make each call of a method a span until the block ends, named after the method.

        Args:
            owner: An object, a class or a module.
            method: The name of its function of any kind: sync, async, generator, async generator.
            name: What the spans are called instead.

        Raises:
            UsageError: There is no such method, or it cannot be replaced.
        """
        self._recorder.track(owner, method, name)

    def wrap(self, func: Callable[..., Any], name: str | None = None) -> Callable[..., Any]:
        """Return a function of the kind of *func*, each call of which is a span."""
        return self._recorder.wrap(func, name)

    def span(self, name: str, /, **attributes: object) -> "RunningSpan":
        """Return a block, for `with` or `async with`, that is a span.

        Args:
            name: What it is called.
            attributes: What it works on: blocks of equal attributes are repeated calls.
        """
        return self._recorder.span(name, **attributes)

    # What was seen

    @property
    def blocking(self) -> list[Blocking]:
        """What code of the user or of a library held the event loop for, in order."""
        return self._sightings.blocking

    @property
    def stalls(self) -> list[Blocking]:
        """What befell the loop: other threads, other processes, garbage collection."""
        return self._sightings.stalls

    @property
    def lost_task_seconds(self) -> float:
        """Seconds that tasks which were ready waited while code blocked the loop, altogether."""
        totals = self._sightings.totals
        return totals.lost if totals else 0.0

    @property
    def leaks(self) -> list[Leak]:
        """Everything that was left behind."""
        return self._sightings.left

    @property
    def leaked_tasks(self) -> list[Leak]:
        """Tasks that had not ended."""
        return self._left("leaked_tasks")

    @property
    def leaked_threads(self) -> list[Leak]:
        """Threads that had not ended; those of the loop's executor are none."""
        return self._left("leaked_threads")

    @property
    def leaked_fds(self) -> list[Leak]:
        """Sockets and files that were still open."""
        return self._left("leaked_fds")

    def _left(self, metric: str) -> list[Leak]:
        return [leak for leak in self._sightings.left if leak.kind in METRICS[metric]]

    @property
    def spans(self) -> "tuple[Span, ...]":
        """The spans in order of beginning; the first 10,000, where there were more."""
        return self._sightings.spans.spans

    @property
    def in_flight_max(self) -> dict[str, int]:
        """The most spans at once, by name; exact, however many there were."""
        return self._sightings.spans.in_flight_max

    @property
    def parallelism(self) -> float:
        """Time of the spans ÷ the time in which any was open; a parent that waits counts not.

        Raises:
            UsageError: There was no span.
        """
        self._sightings.spans.demand()
        return self._sightings.spans.totals.parallelism

    @property
    def critical_path(self) -> "tuple[Step, ...]":
        """What the time went to, in order: only shortening a step can shorten the whole."""
        from pytest_agentperf.measure.concurrency.spans.schedule import critical_path

        return critical_path(self.spans)

    @property
    def perfect_time(self) -> float:
        """Seconds that the spans would take if each began as soon as what it needs was there."""
        from pytest_agentperf.measure.concurrency.spans.schedule import perfect
        from pytest_agentperf.measure.concurrency.spans.valueflow import dependencies

        return perfect(self.spans, dependencies(self.spans))

    @property
    def waits(self) -> "tuple[WaitTotal, ...]":
        """What was waited for, the longest altogether first: locks, queues, executors, pools."""
        ledger = self._sightings.ledger
        return ledger.totals if ledger else ()

    def waits_of(self, span: "Span") -> "Mapping[Kind, float]":
        """Return the seconds waited in *span*, by the kind of thing that was waited for."""
        ledger = self._sightings.ledger
        return ledger.of_span(span.id) if ledger else {}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What its author would want to know of the code; `str(finding)` is a sentence."""
        return self._sightings.findings

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be seen, a sentence each."""
        return self._sightings.notes

    # What must hold

    def assert_not_blocked(self, limit: str | float | None = None) -> None:
        """Fail where code held the event loop for longer than *limit*.

        Time in which the machine ran other processes does not count.

        Args:
            limit: Seconds, or text with a unit; the threshold of the watch by default.
        """
        __tracebackhide__ = True
        self._sightings.assert_not_blocked(limit)

    def assert_no_leaks(self) -> None:
        """Fail where tasks, coroutines, generators, threads, sockets or files were left behind."""
        __tracebackhide__ = True
        self._sightings.assert_no_leaks()

    def assert_max_in_flight(self, limit: int, name: str | None = None) -> None:
        """Fail where more than *limit* spans of one name were in flight at once.

        Args:
            limit: How many may be.
            name: The name of the spans; by default each name for itself.
        """
        __tracebackhide__ = True
        self._sightings.assert_max_in_flight(limit, name)

    def assert_full(self, name: str, limit: int) -> None:
        """Fail where *limit* spans of *name* were at no moment in flight: the room was not used."""
        __tracebackhide__ = True
        self._sightings.assert_full(name, limit)

    def assert_parallel(self, *names: str, min: float | None = None) -> None:  # noqa: A002
        """Fail where spans did not overlap.

        Args:
            *names: Names of spans each of which must have overlapped with all others.
            min: The least parallelism of all spans, from 1.
        """
        __tracebackhide__ = True
        self._sightings.assert_parallel(*names, minimum=min)

    def worst_delay(self) -> str:
        """Return what held calls up for the longest time altogether; empty where nothing did."""
        return self._sightings.worst_delay()

    @property
    def is_used(self) -> bool:
        """Whether its block has ended."""
        return self._seen is not None

    @property
    def label(self) -> str | None:
        """The user's name for it, or None."""
        return self._settings.label

    @property
    def block(self) -> tuple[float, float]:
        """When its block began and ended, by the clock; the same where it has not ended."""
        return self._began, self._ended

    def measurement(self) -> Measurement:
        """Return what budgets are held against."""
        return self._sightings.measurement()

    @property
    def _sightings(self) -> Sightings:
        if self._seen is None:
            raise UsageError(
                f"this watch is {self._state}; read what it saw after its `async with` block"
            )
        return self._seen

    def __repr__(self) -> str:
        label = f" {self._settings.label!r}" if self._settings.label else ""
        return f"<Watch{label}, {self._state}>"


class _Spans:
    """Where the recorder of spans is, once there is one."""

    __slots__ = ("recorder",)

    def __init__(self) -> None:
        self.recorder: SpanRecorder | None = None

    def current(self) -> int | None:
        """Return what identifies the span of the running code, or None."""
        return self.recorder.current() if self.recorder else None


_PATIENCE: Final = 0.1
"""Seconds that what is about to end is given to do so."""
