"""Naming: the lines that allocated what leaked.

While calls are counted, only the line that allocated is noted; a few more calls, traced with ten
frames, lead from a line of a library to the line of the user's that called it.
"""

import functools
import linecache
import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from pytest_agentperf.measure.frames import is_plumbing, is_standard, owner_of

if TYPE_CHECKING or find_spec("_tracemalloc"):  # not so in PyPy
    import tracemalloc

__all__ = ["LeakLine", "Line", "Sizes", "grown_lines", "leaked_lines", "line_of", "size_by_line"]

Line: TypeAlias = tuple[str, int]
Sizes: TypeAlias = Mapping[Line, int]

_SHOWN: Final = 5
_SHARE: Final = 0.01  # of what leaked; lines with less are not looked at
_OURS: Final = str(Path(__file__).parents[2]) + os.sep
_SITE: Final = frozenset({"site-packages", "dist-packages"})
_NOBODYS: Final = frozenset({"<string>", "<unknown>"})  # `<string>` is what `dataclass` generates
_LOOKING: Final = (f"{os.sep}tracemalloc.py", f"{os.sep}linecache.py")


@dataclass(frozen=True, slots=True)
class LeakLine:
    """A line of code that allocates what calls leave.

    Attributes:
        file: Its path, relative to the working directory where it lies below it.
        line: Its number, from 1.
        bytes_per_call: Bytes that a call leaves there; 0 where that was not counted.
        source: The line itself, stripped; empty where it cannot be read.
        owner: The distribution whose code it is; empty for the user's own.
    """

    file: str
    line: int
    bytes_per_call: float = 0.0
    source: str = ""
    owner: str = ""

    def __str__(self) -> str:
        owner = f" ({self.owner})" if self.owner else ""
        return f"{self.file}:{self.line}{owner}"


def size_by_line() -> Sizes:
    """Return the bytes that are traced now, by the line that allocated them."""
    found = tracemalloc.take_snapshot().statistics("lineno")
    return {_innermost(each.traceback): each.size for each in found}


def grown_lines(before: Sizes, after: Sizes) -> Sizes:
    """Return by how much the lines grew, those that hardly did and our own left out."""
    grown = {line: size - before.get(line, 0) for line, size in after.items()}
    grown = {line: size for line, size in grown.items() if size > 0 and not _is_nobodys(line[0])}
    least = _SHARE * sum(grown.values())
    return {line: size for line, size in grown.items() if size >= least}


def leaked_lines(grown: Sizes, calls: int) -> tuple[LeakLine, ...]:
    """Return the lines behind *grown*, the user's where they are known, those with most first.

    Args:
        grown: Bytes by the line that allocated them.
        calls: In how many calls.
    """
    shares: dict[Line, Counter[Line]] = defaultdict(Counter)
    for found in tracemalloc.take_snapshot().statistics("traceback"):
        line = _innermost(found.traceback)
        if line in grown:
            shares[line][line_of(found.traceback)] += found.size
    sizes: Counter[Line] = Counter()
    for line, size in grown.items():
        seen = shares.get(line) or Counter({line: 1})
        for users, share in seen.items():
            sizes[users] += round(size * share / seen.total())
    return tuple(described(line, size / calls) for line, size in sizes.most_common(_SHOWN))


def line_of(traceback: "tracemalloc.Traceback") -> Line:
    """Return the innermost line of the user's, else the one that allocated."""
    own = (frame for frame in reversed(traceback) if _is_users(frame.filename))
    frame = next(own, traceback[-1])
    return frame.filename, frame.lineno


def described(line: Line, bytes_per_call: float = 0.0) -> LeakLine:
    """Return *line* as a reader knows it."""
    file, number = line
    source = linecache.getline(file, number).strip()
    shown = file.removeprefix(str(Path.cwd()) + os.sep)
    return LeakLine(shown, number, bytes_per_call, source, owner_of(file))


def _innermost(traceback: "tracemalloc.Traceback") -> Line:
    return traceback[-1].filename, traceback[-1].lineno


@functools.lru_cache(maxsize=4096)
def _is_users(filename: str) -> bool:
    # Not by `owner_of`, which reads what is installed when it first sees a library.
    if filename in _NOBODYS or is_plumbing(filename) or is_standard(filename):
        return False
    return _SITE.isdisjoint(Path(filename).parts)


def _is_nobodys(filename: str) -> bool:
    """Return whether this package or what it looks with is at *filename*, or nobody known is."""
    is_ours = filename.startswith(_OURS) and is_plumbing(filename)
    return is_ours or filename in _NOBODYS or filename.endswith(_LOOKING)
