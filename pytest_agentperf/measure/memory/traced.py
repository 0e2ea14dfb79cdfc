"""Traced memory: what Python allocated in a block, at its highest and still at its end.

tracemalloc counts exactly what is asked for, also by numpy, and nothing that C code takes by
itself. It makes Python code 3 to 13 times slower, so what is traced is never timed.
"""

import sys
import threading
from collections.abc import Generator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.memory.highwater import HighWater, Stretch
from pytest_agentperf.measure.memory.lines import (
    AllocationLine,
    Held,
    HeldLines,
    held_by_line,
    held_lines,
)
from pytest_agentperf.measure.memory.pauses import collect_unseen
from pytest_agentperf.measure.memory.tracing import IS_TRACEABLE, Trace, TracedBytes, is_traced

if TYPE_CHECKING or IS_TRACEABLE:
    import tracemalloc

__all__ = ["Ready", "TracedBlock", "TracedMemory", "Tracer"]

_T = TypeVar("_T")
_LOST: Final = "memory data lost: tracemalloc was stopped or cleared inside the block"
_NO_TRACE: Final = "this Python has no tracemalloc"
_THREADS: Final = (
    "other threads ran beside, and what they allocated is counted: the process is traced"
)
_OVERLAP: Final = (
    "blocks overlapped, and each counts what the others allocated beside it: the process is traced;"
    " one call at a time would tell them apart"
)
_NOTHING: Final = HeldLines()


@dataclass(frozen=True, slots=True)
class TracedMemory:
    """What Python allocated in a block.

    Attributes:
        peak: Bytes above the start at the highest point; None where unknown.
        growth: Bytes above the start that were still held at the end, garbage collected; below zero
            where the block released what was traced before it.
        held: The lines that allocated what was held at the end.
        notes: Sentences that weaken the numbers.
        reason: Why they are unknown; empty where they are known.
    """

    peak: int | None
    growth: int | None
    held: HeldLines = _NOTHING
    notes: tuple[str, ...] = ()
    reason: str = ""

    def top(self, n: int = 5) -> tuple[AllocationLine, ...]:
        """Return the *n* lines that allocated most of what was held at the end."""
        return self.held.lines[:n]

    def __str__(self) -> str:
        if self.peak is None or self.growth is None:
            return f"n/a: {self.reason}"
        peak, growth = (format_quantity(size, Unit.BYTES) for size in (self.peak, self.growth))
        return f"peak {peak}, growth {growth} (Python memory)"


class Tracer:
    """Traces blocks, any number of them nested or beside each other. One serves a process.

    Tracing is begun with the first block where it was off, and ends with the last one; where it was
    on it stays on, and its peak is made again what it would be without the blocks.
    """

    __slots__ = ("_blocks", "_lock", "_trace", "_water")

    def __init__(self) -> None:
        self._water = HighWater(TracedBytes())
        self._trace = Trace(self._water)
        self._lock = threading.Lock()
        self._blocks: list[TracedBlock] = []

    def block(self, *, frames: int = 1, lines: bool = False) -> "TracedBlock":
        """Return a context, sync and async, that traces what is inside.

        Args:
            frames: Lines noted of each allocation: 1 is the line that allocated; 10 find the user's
                line behind those of a library, at up to 5 times the cost.
            lines: Whether to keep the lines that allocated what is held at the end.
        """
        return TracedBlock(self, self._water, frames, lines=lines)

    def enter(self, block: "TracedBlock", frames: int) -> object:
        """Trace for *block*; return what is traced for as long as the trace is not lost."""
        with self._lock:
            witness = self._trace.ensure(frames)
            block.share_with(self._blocks)
            self._blocks.append(block)
            return witness

    def leave(self, block: "TracedBlock") -> None:
        """End the trace with the last block."""
        with self._lock:
            self._blocks.remove(block)
            if not self._blocks:
                self._trace.end()


class TracedBlock:
    """A context that traces what is inside; `result` can be read after it.

    Exact to the byte where it begins the trace; where one was on before, to some 300 bytes, because
    what Python itself keeps for reuse is traced then. Outer blocks count an inner one with 1.2 kB.

    Attributes:
        is_shared: Whether another block ran beside it, neither around nor inside.
    """

    __slots__ = (
        "_before", "_frames", "_lines", "_outer", "_result", "_stretch", "_threads", "_tracer",
        "_water", "_witness", "is_shared",
    )  # fmt: skip

    def __init__(self, tracer: Tracer, water: HighWater, frames: int, *, lines: bool) -> None:
        self._tracer = tracer
        self._water = water
        self._frames = frames
        self._lines = lines
        self._stretch = Stretch()
        self._before: Held | None = None
        self._threads: set[tuple[int, ...]] = set()
        self._outer: TracedBlock | None = None
        self._witness: object = None
        self._result: TracedMemory | None = None
        self.is_shared = False

    @property
    def result(self) -> TracedMemory:
        """What was traced.

        Raises:
            UsageError: The block has not ended.
        """
        if self._result is None:
            raise UsageError(
                "the memory of a block is known when it has ended; read it after the block"
            )
        return self._result

    def share_with(self, others: list["TracedBlock"]) -> None:
        """Take note of those of *others* that this block is not inside of."""
        around = set(self._around())
        for other in others:
            if other not in around:
                self.is_shared = other.is_shared = True

    def _around(self) -> Iterator["TracedBlock"]:
        block = self._outer
        while block is not None:
            yield block
            block = block._outer  # noqa: SLF001 -- of the same class

    def __enter__(self) -> Self:
        if not IS_TRACEABLE:
            self._result = TracedMemory(None, None, reason=_NO_TRACE)
            return self
        self._outer = _innermost.get()
        _innermost.set(self)
        self._threads = _other_threads()
        if tracemalloc.is_tracing():
            # Garbage that was traced, collected inside, would count against what is allocated. That
            # of before a trace does not, and a collection empties the caches of small objects, to
            # fill which again would count a few hundred bytes.
            collect_unseen()
        self._witness = self._tracer.enter(self, self._frames)
        try:
            self._before = held_by_line() if self._lines else None
            self._water.begin(self._stretch)
        except BaseException:
            self._leave()
            raise
        return self

    # Named parameters: a tuple of them would be counted.
    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if not IS_TRACEABLE:
            return
        self._water.end(self._stretch)
        try:
            collect_unseen()
            self._result = self._read(tracemalloc.get_traced_memory()[0] - self._stretch.start)
        finally:
            self._leave()

    def _leave(self) -> None:
        self._water.forget(self._stretch)
        self._tracer.leave(self)
        _innermost.set(self._outer)

    # No coroutines: one would be counted as the block's memory, and its end as a release.
    def __aenter__(self) -> "Ready[Self]":
        ready = Ready(self)
        self.__enter__()
        return ready

    def __aexit__(self, kind: object, error: object, traceback: object) -> "Ready[None]":
        self.__exit__(kind, error, traceback)
        return Ready(None)

    def _read(self, growth: int) -> TracedMemory:
        if not is_traced(self._witness):
            return TracedMemory(None, None, reason=_LOST)
        peak = self._stretch.peak - self._stretch.start
        return TracedMemory(peak, growth, self._held(), tuple(self._notes()))

    def _held(self) -> HeldLines:
        if not self._lines:
            return _NOTHING
        frames = tracemalloc.get_traceback_limit()  # as found, where it was on before
        return held_lines(held_by_line(), self._before, frames=frames)

    def _notes(self) -> Iterator[str]:
        if self.is_shared:
            yield _OVERLAP
        elif self._threads - _other_threads():
            yield _THREADS


_innermost: Final[ContextVar[TracedBlock | None]] = ContextVar(
    "innermost traced block", default=None
)


class Ready(Generic[_T]):
    """Something to await that is there already."""

    __slots__ = ("_value",)

    def __init__(self, value: _T) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, _T]:
        yield from ()
        return self._value


def _other_threads() -> set[tuple[int, ...]]:
    """Return where the other threads stand; those that stand there again later have slept."""
    frames = sys._current_frames()  # noqa: SLF001 -- documented, for this
    del frames[threading.get_ident()]
    return {(thread, *_steps(frame)) for thread, frame in frames.items()}


def _steps(frame: FrameType | None) -> Iterator[int]:
    while frame is not None:
        yield id(frame.f_code)
        yield frame.f_lasti
        frame = frame.f_back
