"""Origins: the user's line behind a call, or behind a suspended coroutine."""

import asyncio
import contextlib
import functools
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_agentperf.core.finding import Place
from pytest_agentperf.measure.frames import Site, is_plumbing, place_of

if TYPE_CHECKING:
    from types import FrameType

__all__ = [
    "caller",
    "current_task",
    "innermost",
    "off_the_loop",
    "place_or_none",
    "suspended_at",
    "users_caller",
]

_NOBODYS, _LIBRARYS, _USERS = range(3)
# Functions of loops and threads: below them stands whoever runs these, not who wanted the call.
_RUNNING: Final = frozenset({"_run", "run", "run_forever", "run_until_complete"})
# What leads from a suspended coroutine, generator or async generator to the one inside it.
_SUSPENDED: Final = (
    ("cr_frame", "cr_await"),
    ("gi_frame", "gi_yieldfrom"),
    ("ag_frame", "ag_await"),
)
_DEEPEST: Final = 1000
_SITE: Final = frozenset({"site-packages", "dist-packages"})
_STDLIB: Final = os.path.realpath(os.path.dirname(os.__file__)) + os.sep  # noqa: PTH120


def caller(depth: int = 1) -> Site | None:
    """Return the innermost line of the user's in the stack, else the innermost of a library.

    Args:
        depth: Frames to skip: with 1, the caller of `caller` is looked at first.
    """
    frame = sys._getframe(depth)  # noqa: SLF001 -- public but for its name
    return _line(frame, _USERS) or _line(frame, _LIBRARYS)


def users_caller(depth: int = 1) -> Site | None:
    """Return the innermost line of the user's in the stack; None where a loop has called."""
    return _line(sys._getframe(depth), _USERS)  # noqa: SLF001


def _line(frame: "FrameType | None", whose: int) -> Site | None:
    while frame is not None:
        code = frame.f_code
        rank = _rank(code.co_filename)
        if rank == whose:
            return code, frame.f_lineno
        if rank == _NOBODYS and code.co_name in _RUNNING:
            return None
        frame = frame.f_back
    return None


def innermost(sites: Iterable[Site]) -> Site | None:
    """Return the innermost line of the user's in *sites*, outermost first, or the next best."""
    best: Site | None = None
    for site in sites:
        if best is None or _rank(site[0].co_filename) >= _rank(best[0].co_filename):
            best = site
    return best


def suspended_at(awaitable: Any) -> Iterator[Site]:
    """Return the lines at which a coroutine and all that it awaits stand, outermost first."""
    for _ in range(_DEEPEST):
        names = next((names for names in _SUSPENDED if hasattr(awaitable, names[0])), None)
        if names is None:
            return
        frame = getattr(awaitable, names[0])
        if frame is not None:
            yield frame.f_code, frame.f_lineno
        awaitable = getattr(awaitable, names[1], None)


def current_task() -> "asyncio.Task[Any] | None":
    """Return the running task; None outside of the loops of asyncio."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def place_or_none(site: Site | None) -> Place | None:
    """Return the line as a reader knows it, where there is one."""
    with off_the_loop():
        return None if site is None else place_of(site)


@contextlib.contextmanager
def off_the_loop() -> Iterator[None]:
    """Let it seem as if no loop ran in this thread, for what must not be awaited.

    Who looks for calls that block a loop, as blockbuster does, shall not find ours in user code.
    """
    loop = asyncio._get_running_loop()  # noqa: SLF001 -- of `asyncio.__all__`
    asyncio._set_running_loop(None)  # noqa: SLF001
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)  # noqa: SLF001


@functools.lru_cache(maxsize=4096)
def _rank(filename: str) -> int:
    """Return how much a reader wants to see a line of *filename*."""
    # Not by `owner_of`: to know the distributions it opens files, whose openers ask who they are.
    with off_the_loop():
        if filename == "<string>" or is_plumbing(filename):
            return _NOBODYS  # `<string>` is what `dataclass` and `namedtuple` generate
        if not _SITE.isdisjoint(Path(filename).parts):
            return _LIBRARYS
        return _NOBODYS if os.path.realpath(filename).startswith(_STDLIB) else _USERS
