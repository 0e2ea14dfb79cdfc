"""Exact durations: every step of one asyncio loop is timed where the loop runs it."""
# ruff: noqa: SLF001 -- handles are looked into

import asyncio
import functools
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

from pytest_agentperf.core.clock import REAL_TIME, Clock
from pytest_agentperf.measure.frames import Site

__all__ = ["TIMING", "HandleTimer", "TimedStep"]

_Run: TypeAlias = Callable[[Any], object]
_KEPT: Final = 10_000

TIMING: Final = (__file__, "timed")
"""The file and the name of the function that runs a step and times it."""


class TimedStep(NamedTuple):
    """A step that took long: from when to when, the function that it is a part of, its task."""

    began: float
    ended: float
    origin: Site | None = None
    task: str = ""


class HandleTimer:
    """Times the handles that *loop* runs.

    Works where handles are asyncio's own: not on uvloop, whose handles are compiled. The handle
    that runs while the timer is started is not timed: `asyncio` has called it already.

    Args:
        loop: Whose handles; those of other loops run as before.
        threshold: Seconds from which a step is noted.
        clock: Returns seconds.

    Attributes:
        began: When the handle that runs now, or ran last, began.
        slow: The steps that took long, to be taken out by whoever reads them; at most 10,000.
    """

    __slots__ = ("_clock", "_end", "_loop", "_threshold", "began", "slow")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        threshold: float,
        clock: Clock = REAL_TIME.clock,
    ) -> None:
        self._loop = loop
        self._threshold = threshold
        self._clock = clock
        self._end: Callable[[], None] | None = None
        self.began = clock()
        self.slow: deque[TimedStep] = deque(maxlen=_KEPT)

    def start(self) -> None:
        """Begin to time, around whatever else has wrapped the handles."""
        if self._end is None:
            self.began = self._clock()
            handles: Any = asyncio.Handle
            handles._run, self._end = self._wrap(handles._run)

    def stop(self) -> None:
        """Time no more, and take the wrapper out, unless somebody's own stands around it."""
        if self._end is None:
            return
        self._end()
        self._end = None
        handles: Any = asyncio.Handle
        outermost = handles._run
        while getattr(outermost, "is_over", False):
            outermost = outermost.__wrapped__
        handles._run = outermost

    def _wrap(self, run: _Run) -> tuple[_Run, Callable[[], None]]:
        """Return *run*, timed, and what ends the timing."""
        # Half a million handles a second pass here: everything is a local or in a closure.
        loop: object = self._loop
        clock, threshold = self._clock, self._threshold
        # Whatever a wrapper has copied from what it wraps, it has globals of its own.
        is_asyncios = getattr(run, "__globals__", None) is vars(asyncio.events)

        @functools.wraps(run)
        def timed(handle: Any) -> object:
            if handle._loop is not loop:
                return run(handle)
            self.began = began = clock()
            if is_asyncios:  # what it does, without another frame
                try:
                    handle._context.run(handle._callback, *handle._args)
                except BaseException as error:  # noqa: BLE001 -- it is asyncio's to sort out
                    _Raising(error).stand_in(handle)
                    run(handle)
            else:
                run(handle)
            if clock() - began >= threshold:
                self.slow.append(TimedStep(began, clock(), *_origin(handle)))
            return None

        def end() -> None:
            nonlocal loop
            loop = None
            timed.is_over = True  # type: ignore[attr-defined]

        return timed, end


class _Raising:
    """A context that raises what the callback of a handle has raised in its own one.

    Only once, since loops tell of an error in the context of its handle. A callback that cancels
    its own handle has left that without arguments, and so without anything that could be run.
    """

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def stand_in(self, handle: Any) -> None:
        """Raise the error when *handle* is run next."""
        self._handle = handle
        self._context, handle._context = handle._context, self
        self._args, handle._args = handle._args, ()

    def run(self, *_: object) -> None:
        self._handle._context, self._handle._args = self._context, self._args
        raise self._error


def _origin(handle: Any) -> tuple[Site | None, str]:
    """Return the function that *handle* runs, at its first line, and the name of its task."""
    callback = handle._callback
    while isinstance(callback, functools.partial):
        callback = callback.func
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        code = getattr(task.get_coro(), "cr_code", None)
        name = task.get_name()
    else:
        code, name = getattr(callback, "__code__", None), ""
    return (code, code.co_firstlineno) if code else None, name
