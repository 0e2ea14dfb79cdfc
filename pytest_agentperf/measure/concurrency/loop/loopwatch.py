"""The watch of one event loop: the thread that looks at it, and what it found."""
# ruff: noqa: ARG002, SLF001 -- loops are looked into

import _thread
import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from pytest_agentperf.core.clock import REAL_TIME, Clock
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.measure.concurrency.loop.attribution import NOT_LINUX, Meter
from pytest_agentperf.measure.concurrency.loop.blocking import Blocking, BlockLog
from pytest_agentperf.measure.concurrency.loop.handles import HandleTimer
from pytest_agentperf.measure.concurrency.loop.loops import ObservedLoop, running_loop
from pytest_agentperf.measure.concurrency.loop.watchdog import TICK, Watchdog
from pytest_agentperf.measure.concurrency.loop.watchthread import WatchThread, waiting_thread
from pytest_agentperf.measure.concurrency.origins import off_the_loop

__all__ = ["DEAD_BAND", "LoopWatch"]

DEAD_BAND: Final = 0.015
"""Seconds by which a block may be longer than it looks, where steps are not timed."""

NOT_TIMED: Final = (
    "this event loop runs its steps in compiled code, where they cannot be timed: blocks are lower"
    " bounds, up to 15 ms short, and one is found for certain from threshold + 15 ms"
)
TIMER_REPLACED: Final = (
    "something replaced asyncio.Handle._run during the watch, so that steps were not timed: blocks"
    " are lower bounds, up to 15 ms short"
)

_PATIENCE: Final = 1.0
_T = TypeVar("_T")


class LoopWatch:
    """Finds what blocks an event loop, with the line and the cause.

    A thread looks at the loop every 5 to 10 ms. What it sees is a lower bound: a block shorter than
    *threshold* is never reported, one longer by 15 ms (`DEAD_BAND`) always. With *exact*, steps
    are timed where asyncio runs them, which costs some 10 % of a loop that does nothing else.

    Args:
        threshold: Seconds from which a step of the loop is a block.
        exact: Whether to time the steps. Not possible on uvloop, which `notes` says then.
        clock: Returns seconds.

    Attributes:
        lag: Seconds from when a callback was ready until it ran, 50 values a second.
    """

    def __init__(
        self, threshold: float = 0.025, *, exact: bool = False, clock: Clock = REAL_TIME.clock
    ) -> None:
        self.lag = Sample()
        self._threshold = threshold
        self._exact = exact
        self._clock = clock
        self._log = BlockLog()
        self._blocks: list[Blocking] = []
        self._blocks_read = 0
        self._notes: dict[str, None] = {}
        self._looking: _Looking | None = None

    def start(self) -> None:
        """Watch the loop that runs here, from this moment on; goes on after a `stop`.

        Raises:
            UsageError: No event loop runs on this thread.
        """
        if self._looking is None:
            loop = running_loop()
            timer = loop.timer(self._threshold, self._clock) if self._exact else None
            meter = Meter()
            self._note_limits(loop, meter, is_timed=timer is not None)
            watchdog = Watchdog(
                loop, meter, self._threshold, self._clock, self._log, self.lag, timer
            )
            self._looking = _Looking(loop, meter, watchdog, timer)
            self._looking.start(min(TICK, self._threshold / 2))

    def stop(self, *, quiet: bool = False) -> None:
        """Watch no more. Waits for a look that is under way, and never for the loop.

        Args:
            quiet: Whether to wait until the thread rests, some microseconds, so that it never asks
                for the GIL while what comes next is timed.
        """
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.stop(self._clock(), quiet=quiet)
            for note in looking.notes:
                self._notes[note] = None

    @property
    def blocks(self) -> list[Blocking]:
        """The blocks in the order in which they happened; of very many, the worst 1000."""
        if self._blocks_read != self._log.count:
            self._blocks_read = self._log.count
            self._blocks = _off_loop(self._log)
        return list(self._blocks)

    @property
    def block_max(self) -> float:
        """The seconds of the longest block by code that the loop ran; 0 for none."""
        return self._log.longest

    @property
    def block_total(self) -> float:
        """The seconds of all blocks by code that the loop ran."""
        return self._log.total

    @property
    def lost_task_seconds(self) -> float:
        """How long tasks that were ready waited for such blocks, summed."""
        return self._log.lost

    @property
    def lag_p99(self) -> float:
        """The 99th percentile of the loop's lag, in seconds.

        Raises:
            EmptySampleError: The watch was not started.
        """
        return self.lag.percentile(99)

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be known, and why, as sentences."""
        dropped = self._log.dropped
        if not dropped:
            return tuple(self._notes)
        count = self._log.count
        kept = f"{count} blocks: the worst {count - dropped} are kept, totals are of all"
        return (*self._notes, kept)

    def _note_limits(self, loop: ObservedLoop, meter: Meter, *, is_timed: bool) -> None:
        if not meter.is_known:
            self._notes[NOT_LINUX] = None
        if self._exact and not is_timed:
            self._notes[NOT_TIMED] = None


class _Looking:
    """Lets a watchdog look, on a thread, from `start` to `stop`.

    Both it and the one who stops it need the turn, so that the last look can be taken without
    waiting for the thread, which sleeps most of the time.
    """

    def __init__(
        self, loop: ObservedLoop, meter: Meter, watchdog: Watchdog, timer: HandleTimer | None
    ) -> None:
        self.notes: list[str] = []
        self._loop = loop
        self._meter = meter
        self._watchdog = watchdog
        self._timer = timer
        self._is_broken = False
        self._turn = _thread.allocate_lock()
        self._thread: WatchThread | None = None

    def start(self, within: float) -> None:
        """Begin to look, from the step of the loop that runs, and again within so many seconds."""
        if self._timer:
            self._timer.start()
        self._thread = thread = waiting_thread()
        self._meter.start(thread.native_id)
        self._watchdog.begin()
        thread.begin(self._look, within)

    def stop(self, at: float, *, quiet: bool) -> None:
        """Look no more."""
        key = None
        if self._loop.is_running_here():
            key = self._loop.glance()
            self._watchdog.answer()
        if self._timer:
            self._timer.stop()
        if self._thread and self._thread.is_ours:
            self._thread.end(quiet=quiet)
            if self._take_turn():
                self._guarded(lambda: self._watchdog.end(at, key))
        if self._timer and self._watchdog.timer is None:
            self.notes.append(TIMER_REPLACED)
        self._meter.stop()

    def _take_turn(self) -> bool:
        """Keep the thread from looking; wait for the end of a look that is under way."""
        if self._turn.acquire(blocking=False):
            return True
        with off_the_loop():
            return self._turn.acquire(timeout=_PATIENCE)

    def _look(self) -> float | None:
        if self._is_broken or not self._turn.acquire(blocking=False):
            return None
        try:
            return self._guarded(self._watchdog.look)
        finally:
            self._turn.release()

    def _guarded(self, look: Callable[[], _T]) -> _T | None:
        if self._is_broken:
            return None
        try:
            return look()
        except Exception as error:  # noqa: BLE001 -- a watch never fails what it watches
            self._is_broken = True
            self.notes.append(f"the watch of the event loop broke off: {error!r}")
            return None


def _off_loop(log: BlockLog) -> list[Blocking]:
    """Return the blocks of *log*; where a loop runs, read on another thread.

    Lines are read from files, which a tool that forbids this on a loop's thread would refuse.
    """
    if asyncio._get_running_loop() is None:
        return log.read()
    from queue import SimpleQueue  # rarely needed

    box: SimpleQueue[list[Blocking]] = SimpleQueue()
    _thread.start_new_thread(lambda: box.put(log.read()), ())
    return box.get()
