"""System metrics: what the process and the machine do over time, read now and then by a thread."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

from pytest_agentperf.core.clock import REAL_TIME, Clock
from pytest_agentperf.core.series import Curve, Series
from pytest_agentperf.measure.concurrency.loop.watchthread import WatchThread, waiting_thread
from pytest_agentperf.measure.memory.pauses import PauseWatch
from pytest_agentperf.measure.memory.process import find_resident_bytes

__all__ = ["OF_MACHINE", "Source", "SystemWatch", "system_sources"]

OF_MACHINE: Final = ("network received", "network sent", "load average")
"""The levels that are those of the machine, whichever process reads them."""

_INTERVAL: Final = 0.25
_SHARE: Final = 0.005  # of a core, that readings may take
# A file of /proc that went, a set that changed while it was read: the next reading will do.
_MISSED: Final = (OSError, RuntimeError)


class Source(NamedTuple):
    """Where levels are read.

    Attributes:
        names: Of the levels.
        unit: Of what a curve shows: `B`, `B/s`, `%` (1 is a core, or all of the time), or none.
        read: Returns the levels, in the order of their names.
        is_counter: Whether they only grow, so that their change in a second is shown.
    """

    names: tuple[str, ...]
    unit: str
    read: Callable[[], Sequence[float]]
    is_counter: bool = False


class SystemWatch:
    """Reads levels inside `with`, on a thread of its own; `curves` can be read at any time.

    The thread waits longer between readings where they are dear: they never take more than 0.5 %
    of a core, beside the first and the last.

    Args:
        loop: The event loop whose tasks are counted; None for none.
        sources: What to read; by default `system_sources`.
        interval: Seconds between two readings, at least.
        clock: Seconds.
        cpu_clock: Seconds of processor time of the thread that asks.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None = None,
        sources: Sequence[Source] | None = None,
        interval: float = _INTERVAL,
        clock: Clock = REAL_TIME.clock,
        cpu_clock: Clock = time.thread_time,
    ) -> None:
        self._pauses = PauseWatch(clock)
        found = tuple(system_sources(loop, self._pauses)) if sources is None else tuple(sources)
        self._sources = tuple(filter(_works, found))
        self._series = {name: Series() for source in self._sources for name in source.names}
        self._counted: dict[tuple[str, ...], tuple[float, Sequence[float]]] = {}
        self._interval, self._clock, self._cpu_clock = interval, clock, cpu_clock
        self._began = self._last = 0.0
        self._thread: WatchThread | None = None

    def __enter__(self) -> Self:
        self._pauses.start()
        self._began = self._clock()
        self._read(self._began)
        self._thread = waiting_thread()
        self._thread.begin(self.look, self._interval)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._thread is not None:
            self._thread.end(quiet=True)
        self._read(self._clock())
        self._pauses.stop()

    def look(self) -> float:
        """Read the levels where it is time to; return the seconds until the next reading."""
        now, began = self._clock(), self._cpu_clock()
        early = self._last + self._interval / 2 - now
        if early > 0:  # a change over so short a time would be noise
            return early + self._interval / 2
        self._read(now)
        return max(self._interval, (self._cpu_clock() - began) / _SHARE)

    @property
    def curves(self) -> Mapping[str, Curve]:
        """How the levels went, by name."""
        return {
            name: Curve("seconds", source.unit, self._series[name].points)
            for source in self._sources
            for name in source.names
            if self._series[name].count
        }

    def _read(self, now: float) -> None:
        self._last = now
        for source in self._sources:
            try:
                levels = source.read()
            except _MISSED:
                continue
            if source.is_counter:
                levels = self._changes(source.names, now, levels)
            for name, level in zip(source.names, levels, strict=False):
                self._series[name].add(now - self._began, level)

    def _changes(
        self, names: tuple[str, ...], now: float, counts: Sequence[float]
    ) -> Sequence[float]:
        """Return by how much the counts grew in a second since they were last read."""
        before, old = self._counted.get(names, (now, ()))
        self._counted[names] = now, counts
        seconds = now - before
        return [(b - a) / seconds for a, b in zip(old, counts, strict=False)] if seconds > 0 else ()


def system_sources(loop: asyncio.AbstractEventLoop | None, pauses: PauseWatch) -> Iterator[Source]:
    """Return what can be read of this process and its machine.

    `network` is that of the machine; `disk`, `cpu` and the others are those of the process.
    """
    import psutil

    process = psutil.Process()
    read_rss, files = find_resident_bytes(), "num_fds" if os.name == "posix" else "num_handles"
    yield Source(("cpu",), "%", lambda: (time.process_time(),), is_counter=True)
    if read_rss is not None:
        yield Source(("rss",), "B", lambda: (read_rss(),))
    yield Source(("threads",), "", lambda: (process.num_threads(),))
    yield Source(("files",), "", lambda: (getattr(process, files)(),))
    network = ("network received", "network sent")
    yield Source(network, "B/s", lambda: _network(psutil.net_io_counters()), is_counter=True)
    if hasattr(process, "io_counters"):  # not so in macOS
        disk = ("disk read", "disk written")
        yield Source(disk, "B/s", lambda: _disk(process.io_counters()), is_counter=True)
    if hasattr(os, "getloadavg"):
        yield Source(("load average",), "", lambda: os.getloadavg()[:1])
    yield Source(("gc pauses",), "%", lambda: _paused(pauses), is_counter=True)
    if loop is not None:
        yield Source(("tasks",), "", lambda: (len(asyncio.all_tasks(loop)),))


def _network(counters: Any) -> tuple[float, float]:
    return counters.bytes_recv, counters.bytes_sent


def _disk(counters: Any) -> tuple[float, float]:
    return counters.read_bytes, counters.write_bytes


def _paused(pauses: PauseWatch) -> tuple[float, ...]:
    seen = pauses.result().all
    return () if seen is None else (seen.total,)


def _works(source: Source) -> bool:
    """Return whether this system tells what *source* asks for."""
    import psutil

    try:
        source.read()
    except (psutil.Error, OSError, AttributeError):  # containers forbid some of it
        return False
    return True
