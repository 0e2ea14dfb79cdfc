"""Lines: where in the code the memory was allocated that is held now."""

import linecache
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.frames import OURS, is_plumbing, owner_of, shown_path

if TYPE_CHECKING:
    from tracemalloc import Traceback

__all__ = ["AllocationLine", "Held", "HeldLines", "held_by_line", "held_lines"]

_Line: TypeAlias = tuple[str, int]
Held: TypeAlias = Mapping[_Line, tuple[int, int]]
"""Bytes and blocks of memory by file and line."""

_MOST_BLOCKS: Final = 1_000_000
_TRACE_SIZE: Final = 50  # bytes that tracemalloc takes for each block
_KEPT: Final = 100
_TOLD: Final = 5  # lines that a report shows
_TOO_MANY: Final = (
    f"no lines are named: more than {_MOST_BLOCKS:,} blocks of memory are held, and it would take"
    " too long to read them all"
)
_LOOKING: Final = (f"{os.sep}tracemalloc.py", f"{os.sep}linecache.py")
_OF_LIBRARIES: Final = (
    "some of the lines are in libraries; frames=10 names the lines of yours that called them"
)


@dataclass(frozen=True, slots=True)
class AllocationLine:
    """A line of code, and what it allocated that is held.

    Attributes:
        file: Its path, relative to the working directory where it lies below it.
        line: Its number, from 1.
        size: Bytes.
        count: Blocks of memory, about one for each object.
        source: The line itself, stripped; empty where it cannot be read.
        owner: The distribution whose code it is; empty for the user's own.
    """

    file: str
    line: int
    size: int
    count: int
    source: str = ""
    owner: str = ""

    def __str__(self) -> str:
        blocks = "1 block" if self.count == 1 else f"{self.count:,} blocks"
        owner = f" ({self.owner})" if self.owner else ""
        source = f": {self.source}" if self.source else ""
        size = format_quantity(self.size, Unit.BYTES)
        return f"{size} in {blocks} at {self.file}:{self.line}{owner}{source}"


@dataclass(frozen=True, slots=True)
class HeldLines:
    """The lines that allocated what is held, those with the most bytes first.

    Attributes:
        lines: 100 at most.
        notes: Sentences that weaken them, each with its cure.
    """

    lines: tuple[AllocationLine, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(str(line) for line in self.lines[:_TOLD]) or "nothing is held"


def held_by_line() -> Held | None:
    """Return what tracemalloc knows to be held, by the line that is to blame.

    To blame is the innermost line of the user among the callers that were noted, else the line that
    allocated. What this package holds itself is left out. Half a second for 100,000 blocks and one
    caller; None where it would be too many.
    """
    import tracemalloc

    if tracemalloc.get_tracemalloc_memory() > _MOST_BLOCKS * _TRACE_SIZE:
        return None
    found: dict[_Line, tuple[int, int]] = {}
    for entry in tracemalloc.take_snapshot().statistics("traceback"):
        line = _to_blame(entry.traceback)
        if line is not None:
            size, count = found.get(line, (0, 0))
            found[line] = size + entry.size, count + entry.count
    return found


def held_lines(after: Held | None, before: Held | None, *, frames: int = 1) -> HeldLines:
    """Return the lines that hold more *after* than *before*.

    Args:
        after: What was held later; None where that were too many.
        before: What was held earlier, the same.
        frames: How many callers of each allocation were noted.
    """
    if after is None or before is None:
        return HeldLines(notes=(_TOO_MANY,))
    grown = [
        (size - before.get(line, (0, 0))[0], count - before.get(line, (0, 0))[1], line)
        for line, (size, count) in after.items()
    ]
    most = sorted((entry for entry in grown if entry[0] > 0), reverse=True)[:_KEPT]
    lines = tuple(_line(*line, size, count) for size, count, line in most)
    is_blind = frames == 1 and any(line.owner for line in lines[:_TOLD])
    return HeldLines(lines, (_OF_LIBRARIES,) if is_blind else ())


def _to_blame(traceback: "Traceback") -> _Line | None:
    """Return the line to blame for an allocation; None for one of ours."""
    innermost = traceback[-1]
    if _is_ours(innermost.filename):
        return None
    own = (frame for frame in reversed(traceback) if _is_users(frame.filename))
    frame = next(own, innermost)
    return frame.filename, frame.lineno


def _is_ours(filename: str) -> bool:
    """Return whether this package or what it looks with is at *filename*, or nobody known is."""
    if filename.startswith(OURS):
        return is_plumbing(filename)
    return filename == "<unknown>" or filename.endswith(_LOOKING)


def _is_users(filename: str) -> bool:
    return not owner_of(filename) and not is_plumbing(filename) and filename != "<unknown>"


def _line(filename: str, number: int, size: int, count: int) -> AllocationLine:
    source = linecache.getline(filename, number).strip()
    return AllocationLine(shown_path(filename), number, size, count, source, owner_of(filename))
