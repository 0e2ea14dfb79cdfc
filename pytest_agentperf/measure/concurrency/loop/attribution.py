"""Why the event loop stood still: what its thread, the others and the system did meanwhile."""

import gc
import sys
import threading
import time
from contextlib import suppress
from typing import Any, Final, NamedTuple

from pytest_agentperf.measure.concurrency.loop.threadfiles import (
    StatisticsFile,
    ThreadFile,
    ThreadStatistics,
    is_sleeping,
)

__all__ = ["NOT_LINUX", "CollectorClock", "Cost", "Meter", "Reading", "cause_of"]

NOT_LINUX: Final = (
    "this system does not tell how long a thread waited for a processor or for the GIL:"
    " the cause of a block is unknown, and a busy machine makes blocks longer"
)

# Turns that a reading before and one after a block count and that were not in it.
_TURNS_AROUND: Final = 6


class Reading(NamedTuple):
    """Counters at one moment, in seconds since some time; differences of two have a meaning."""

    cpu: float = 0.0
    run_delay: float = 0.0
    turns: int = 0
    others: float = 0.0
    gc: float = 0.0
    starved: float = 0.0
    surely_starved: float = 0.0
    suspended: float = 0.0
    slept: float = 0.0


class Cost(NamedTuple):
    """What happened while the loop stood still.

    Attributes:
        cpu: Processor time of the loop's thread, in seconds.
        run_delay: How long that thread was ready and waited for a processor.
        turns: How often that thread got a processor.
        others: Processor time of the other threads.
        gc: Processor time of collections that nobody asked for.
        starved: How long the watchdog waited, for the GIL as far as is known.
        surely_starved: For how long of this it kept waking, as one does that waits for the GIL.
        suspended: How long the machine was suspended.
        slept: How long the loop's thread slept, as far as is known.
        is_known: Whether the system counts all of these.
    """

    cpu: float = 0.0
    run_delay: float = 0.0
    turns: int = 0
    others: float = 0.0
    gc: float = 0.0
    starved: float = 0.0
    surely_starved: float = 0.0
    suspended: float = 0.0
    slept: float = 0.0
    is_known: bool = True

    @classmethod
    def between(cls, before: Reading, after: Reading, *, is_known: bool = True) -> "Cost":
        """Return the cost of the time between two readings."""
        differences: Any = (max(b - a, 0) for a, b in zip(before, after, strict=True))
        return cls(*differences)._replace(is_known=is_known)


def cause_of(seconds: float, cost: Cost, threshold: float) -> str:  # noqa: PLR0911
    """Return the cause of a block, one of those of `Blocking`.

    Args:
        seconds: How long it took without preemption; shares are of that, so that a busy machine
            does not change the answer.
        cost: What happened meanwhile.
        threshold: Seconds from which it is a block.
    """
    if cost.suspended > seconds / 2:
        return "suspended"
    if not cost.is_known:
        return "unknown"
    if seconds < threshold:
        return "preempted"
    own = cost.cpu - cost.gc
    if own >= threshold:  # would have blocked by itself, whatever else happened
        return "computing"
    if cost.gc > max(seconds, cost.cpu) / 2:
        return "gc"
    if own > seconds / 2:
        return "computing"
    return "gil" if _waits_for_gil(seconds, cost) else "waiting"


def _waits_for_gil(seconds: float, cost: Cost) -> bool:
    """Return whether the loop's thread wanted the GIL, and another thread had it.

    A thread that wants the GIL wakes every switch interval (5 ms), one that waits for anything
    else sleeps: so waiting for a thread that computes is told from waiting for the GIL. If nobody
    computes, either a thread with the GIL was preempted, or the loop's own thread sleeps with it.
    """
    expected = seconds / sys.getswitchinterval()
    if cost.others > seconds / 2:
        return cost.turns >= 0.5 * expected
    return cost.starved > seconds / 2 and cost.turns >= 0.75 * expected + _TURNS_AROUND


class CollectorClock:
    """Adds up the time of collections that start by themselves; `gc.collect()` is a call like any.

    Attributes:
        seconds: Their processor time so far, on whichever threads.
    """

    __slots__ = ("_began", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began: float | None = None

    def start(self) -> None:
        """Begin to listen."""
        gc.callbacks.append(self._on_collection)

    def stop(self) -> None:
        """Listen no more."""
        with suppress(ValueError):  # somebody may have cleared the list
            gc.callbacks.remove(self._on_collection)

    def _on_collection(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            # One that starts by itself does so because the youngest generation is full.
            is_due = gc.isenabled() and gc.get_count()[0] > gc.get_threshold()[0]
            self._began = time.thread_time() if is_due else None
        elif self._began is not None:
            self.seconds += time.thread_time() - self._began
            self._began = None


class Meter:
    """Reads the counters of the thread that it is made on, from the watchdog's thread.

    Reading `/proc` gives up the GIL, which a watchdog then has to win back from a busy loop; that
    costs the loop more than all the rest. Therefore `refresh` is apart from `read`.
    """

    __slots__ = (
        "_clock_id",
        "_collector",
        "_cpu",
        "_ident",
        "_loop",
        "_native_id",
        "_read_at",
        "_slept",
        "_state",
        "_watchdog",
        "starved",
        "surely_starved",
    )

    def __init__(self) -> None:
        self.starved = self.surely_starved = 0.0
        self._ident = threading.get_ident()
        self._collector = CollectorClock()
        self._clock_id = _thread_clock_id()
        self._loop = StatisticsFile()
        self._watchdog: StatisticsFile | None = None
        self._native_id = threading.get_native_id()
        self._state: ThreadFile | None = None
        self._cpu = self._read_at = self._slept = 0.0

    @property
    def is_known(self) -> bool:
        """Whether the system tells why a thread does not run."""
        return self._loop.is_known and self._clock_id is not None

    def start(self, watchdog: int = 0) -> None:
        """Begin to listen to the collector.

        Args:
            watchdog: The native id of the watchdog's thread, which may have served other watches;
                0 where it is about to begin.
        """
        self._collector.start()
        if watchdog:
            self._watchdog = StatisticsFile(watchdog)

    def stop(self) -> None:
        """Listen no more, and close the files."""
        self._collector.stop()
        self._loop.close()
        for file in (self._watchdog, self._state):
            if file:
                file.close()

    def refresh(self) -> tuple[float, int]:
        """Read what `/proc` says of both threads, the loop's and the calling one.

        Returns:
            How long the calling thread waited for a processor since last time, and its turns.
        """
        self._loop.read()
        before = self._watchdog.last if self._watchdog else ThreadStatistics()
        if self._watchdog is None:
            if threading.get_ident() == self._ident:
                return 0.0, 0  # the last look, by the loop's own thread, and there was no other
            self._watchdog = StatisticsFile()
        now = self._watchdog.read()
        return now.run_delay - before.run_delay, now.turns - before.turns

    def read(self) -> Reading:
        """Return the counters as of now; those of `/proc` as of the last `refresh`."""
        cpu = time.clock_gettime(self._clock_id) if self._clock_id is not None else 0.0
        return Reading(
            cpu=cpu,
            run_delay=self._loop.last.run_delay,
            turns=self._loop.last.turns,
            others=time.process_time() - cpu - self._of_watchdog,
            gc=self._collector.seconds,
            starved=self.starved,
            surely_starved=self.surely_starved,
            suspended=_suspended(),
            slept=self._slept_until(cpu),
        )

    def _slept_until(self, cpu: float) -> float:
        """Return for how long the loop's thread, which has computed for *cpu*, slept so far.

        Linux may take a thread that sleeps to another processor, and count its sleep as a wait for
        that from then on. One that sleeps, and has not computed since the last reading, has slept
        all that while.
        """
        at = time.monotonic()
        if cpu == self._cpu:  # so that to read a file takes the GIL from nobody
            self._state = self._state or ThreadFile(self._native_id, "stat")
            if is_sleeping(self._state.read()):
                self._slept += at - self._read_at
        self._cpu, self._read_at = cpu, at
        return self._slept

    @property
    def _of_watchdog(self) -> float:
        return self._watchdog.last.cpu if self._watchdog else 0.0


def _thread_clock_id() -> int | None:
    """Return the clock that counts what the calling thread computes; None where there is none."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return None
    return time.pthread_getcpuclockid(threading.get_ident())


def _suspended() -> float:
    """Return how long the machine was suspended since it started; 0 where nobody says."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
