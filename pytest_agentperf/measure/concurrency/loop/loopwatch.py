"""The watch of one event loop: the thread that looks at it, and what it found."""
# ruff: noqa: ARG002, SLF001 -- loops are looked into

import _thread
import asyncio
import os
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

from pytest_agentperf.core.clock import REAL_TIME, Clock
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.measure.concurrency.loop.attribution import NOT_LINUX, Meter
from pytest_agentperf.measure.concurrency.loop.blocking import Blocking, BlockLog
from pytest_agentperf.measure.concurrency.loop.handles import HandleTimer
from pytest_agentperf.measure.concurrency.loop.loops import ObservedLoop, running_loop
from pytest_agentperf.measure.concurrency.loop.watchdog import Watchdog

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
        self._thread: _WatchThread | None = None

    def start(self) -> None:
        """Watch the loop that runs here, from this moment on; goes on after a `stop`.

        Raises:
            UsageError: No event loop runs on this thread.
        """
        if self._thread is None:
            loop = running_loop()
            timer = loop.timer(self._threshold, self._clock) if self._exact else None
            meter = Meter()
            self._note_limits(loop, meter, is_timed=timer is not None)
            watchdog = Watchdog(
                loop, meter, self._threshold, self._clock, self._log, self.lag, timer
            )
            self._thread = _WatchThread(loop, meter, watchdog, timer)
            self._thread.start()

    def stop(self) -> None:
        """Watch no more. Waits for the thread, which takes microseconds, and never for the loop."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop(self._clock())
            for note in thread.notes:
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


class _WatchThread:
    """Lets a watchdog look, on a thread, from `start` to `stop`.

    The thread is one of `_thread`, not of `threading`: a test that counts its threads does not see
    it, tracers and debuggers leave it alone, and starting it takes half the time. It is gone when
    `stop` returns; a forked child has none.
    """

    def __init__(
        self, loop: ObservedLoop, meter: Meter, watchdog: Watchdog, timer: HandleTimer | None
    ) -> None:
        self.notes: list[str] = []
        self._loop = loop
        self._meter = meter
        self._watchdog = watchdog
        self._timer = timer
        self._process = os.getpid()
        self._ending: tuple[float, int | None] = (0.0, None)
        self._wake = _thread.allocate_lock()
        # Not a lock, which a tool that forbids waiting on the loop's thread (blockbuster) refuses.
        self._done: SimpleQueue[None] = SimpleQueue()

    def start(self) -> None:
        """Begin to look, from the step of the loop that runs."""
        self._wake.acquire()
        self._meter.start()
        if self._timer:
            self._timer.start()
        self._watchdog.begin()
        _thread.start_new_thread(self._run, ())

    def stop(self, at: float) -> None:
        """Look no more."""
        key = None
        if self._loop.is_running_here():
            key = self._loop.glance()
            self._watchdog.answer()
        self._ending = (at, key)
        if self._timer:
            self._timer.stop()
        if self._process == os.getpid():
            self._wake.release()
            # Without this wait, the thread would go on asking for the GIL while others run.
            with suppress(Empty):
                self._done.get(timeout=_PATIENCE)
        self._meter.stop()

    def _run(self) -> None:
        try:
            pause = 0.0
            while not self._wake.acquire(timeout=pause):
                pause = self._watchdog.look()
            self._watchdog.end(*self._ending)
        except Exception as error:  # noqa: BLE001 -- nobody would hear of it on this thread
            self.notes.append(f"the watch of the event loop broke off: {error!r}")
        finally:
            if self._timer and self._watchdog.timer is None:
                self.notes.append(TIMER_REPLACED)
            self._done.put(None)


def _off_loop(log: BlockLog) -> list[Blocking]:
    """Return the blocks of *log*; where a loop runs, read on another thread.

    Lines are read from files, which a tool that forbids this on a loop's thread would refuse.
    """
    if asyncio._get_running_loop() is None:
        return log.read()
    box: SimpleQueue[list[Blocking]] = SimpleQueue()
    _thread.start_new_thread(lambda: box.put(log.read()), ())
    return box.get()
