"""Readings at the edges of blocks of calls: what the process holds, taken so as to hold nothing.

A list of numbers grows with every number, which a strict rule would take for a leak
(python/cpython#74959); the readings are kept in arrays that are made before the first.
"""

import gc
import os
import sys
import threading
from array import array
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from pytest_agentperf.measure.memory.mallinfo import find_mallinfo
from pytest_agentperf.measure.memory.staged import BLOCKS, Stage

if TYPE_CHECKING or find_spec("_tracemalloc"):  # not so in PyPy
    import tracemalloc

__all__ = ["IS_TRACEABLE", "Readings", "Trace"]

IS_TRACEABLE: Final = find_spec("_tracemalloc") is not None
_FRAMES: Final = 10
_IMPORTING: Final = 4
_STATM: Final = "/proc/self/statm"
_FDS: Final = "/proc/self/fd"
_PAGE: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Trace:
    """A trace by tracemalloc: begun where there was none, and ended only then.

    Attributes:
        is_ours: Whether it was begun here.
    """

    __slots__ = ("_witness", "is_ours")

    def __init__(self) -> None:
        self.is_ours = not tracemalloc.is_tracing()
        if self.is_ours:
            tracemalloc.start(1)
        # It is traced for as long as the trace is the one in which it was made.
        self._witness = object()

    @property
    def is_lost(self) -> bool:
        """Whether somebody has stopped or cleared the trace."""
        return tracemalloc.get_object_traceback(self._witness) is None

    def deepen(self) -> None:
        """Trace anew, with callers of each allocation; a trace that was found on is left alone."""
        if self.is_ours:
            tracemalloc.stop()
            tracemalloc.start(_FRAMES)
            self._witness = object()

    def end(self) -> None:
        """End the trace where it was begun here and has not ended."""
        if self.is_ours:
            tracemalloc.stop()
            self.is_ours = False


class Readings:
    """What is counted, read at the edges of the blocks of one stage after the other.

    Args:
        collect: Collects garbage, before each reading.
    """

    __slots__ = (
        "_at", "_calls", "_collect", "_counters", "_forgiven", "_modules", "_traced", "_values",
    )  # fmt: skip

    def __init__(self, collect: Callable[[], object] = gc.collect) -> None:
        self._collect = collect
        self._counters = _counters()
        self._values = {what: array("q", bytes(8 * (BLOCKS + 1))) for what in self._counters}
        self._at = self._calls = self._forgiven = self._modules = self._traced = 0

    def begin(self) -> None:
        """Take the first reading of a stage."""
        self._at = self._calls = self._forgiven = 0
        self.take()

    def take(self) -> None:
        """Take the reading at the end of a block."""
        self._collect()
        for what, count in self._counters.items():
            self._values[what][self._at] = count()
        self._at += 1

    def note_modules(self) -> None:
        """Note, before a call, what there is."""
        self._modules, self._traced = len(sys.modules), _traced()

    def forgive_modules(self) -> None:
        """Leave a call out of account that has imported something, which it will not do again.

        No more than a quarter of the calls: one that imports something new each time leaks.
        """
        self._calls += 1
        if len(sys.modules) > self._modules and self._forgiven * _IMPORTING <= self._calls:
            self._forgiven += 1
            grown = _traced() - self._traced
            for at in range(self._at):  # as if there had been more from the start
                self._values["traced"][at] += grown

    def stage(self, calls: int) -> Stage:
        """Return what was read since `begin`, with *calls* calls in each block."""
        growth = {what: _differences(values) for what, values in self._values.items()}
        return Stage(calls, growth)


def _differences(values: "array[int]") -> tuple[int, ...]:
    return tuple(values[at + 1] - values[at] for at in range(BLOCKS))


def _counters() -> Mapping[str, Callable[[], int]]:
    """Return what can be counted here."""
    found: dict[str, Callable[[], int]] = {"traced": _traced, "threads": threading.active_count}
    if "asyncio" in sys.modules:
        found["tasks"] = _tasks
    if os.path.isdir(_FDS):  # noqa: PTH112 -- no object for each reading
        found["file descriptors"] = _descriptors
    sources = {"native": find_mallinfo(), "resident": _resident()}
    for what, count in sources.items():
        if count is not None:
            found[what] = _beside_the_trace(count)
    return found


def _beside_the_trace(count: Callable[[], int]) -> Callable[[], int]:
    """Return what *count* returns less what Python has traced, and the trace itself."""
    return lambda: count() - _traced() - tracemalloc.get_tracemalloc_memory()


def _traced() -> int:
    return tracemalloc.get_traced_memory()[0]


def _tasks() -> int:
    """Return how many tasks of this thread's loop have not ended."""
    asyncio = sys.modules["asyncio"]
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # no loop runs
        return 0


def _descriptors() -> int:
    return len(os.listdir(_FDS))  # noqa: PTH208 -- faster, and it makes no objects that stay


def _anonymous() -> int:
    """Return the resident bytes that no file backs."""
    # Opened each time: a file that is kept open tells of the parent after a fork.
    source = os.open(_STATM, os.O_RDONLY)
    try:
        fields = os.read(source, 200).split()
    finally:
        os.close(source)
    return (int(fields[1]) - int(fields[2])) * _PAGE


def _resident() -> Callable[[], int] | None:
    if os.path.exists(_STATM):  # noqa: PTH110
        return _anonymous
    try:
        import psutil

        process = psutil.Process()
    except (ImportError, OSError):
        return None
    return lambda: int(process.memory_info().rss)
