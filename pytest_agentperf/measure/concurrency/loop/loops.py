"""Event loops as another thread sees them: what runs, what comes next, and how to reach them."""
# ruff: noqa: ARG002, D102, SLF001 -- the protocol documents them; loops are looked into

import asyncio
import inspect
import itertools
import math
import opcode
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any, Final, Protocol

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.concurrency.loop.handles import TIMING, HandleTimer
from pytest_agentperf.measure.concurrency.loop.steps import IDLE, NEXT, Stack
from pytest_agentperf.measure.frames import stack_of

__all__ = ["AsyncioLoop", "ObservedLoop", "OpaqueLoop", "running_loop"]

# Functions that run one step: asyncio's own, and the one in its place where steps are timed.
_STEPPING: Final = frozenset({(asyncio.events.__file__, "_run"), TIMING})
_BASE_EVENTS: Final = asyncio.base_events.__file__
_RESUME: Final = opcode.opmap["RESUME"]
_MARKS: "Final[Iterator[int]]" = itertools.count(-1, -1)  # no `id`, no `NEXT`, no `IDLE`


class ObservedLoop(Protocol):
    """The loop of one thread, observed from another."""

    shows_next: bool
    """Whether it shows which callback comes next."""

    def is_running(self) -> bool:
        """Return whether it runs at all."""

    def is_running_here(self) -> bool:
        """Return whether the caller is in a step of it."""

    def timer(self, threshold: float, clock: Clock) -> HandleTimer | None:
        """Return what times its steps; None where nothing can."""

    def post(self, callback: Callable[[], None], *, wake: bool) -> None:
        """Have it run *callback* soon; a RuntimeError says that it is closed.

        To wake a loop costs it two calls of the system, which one that works need not pay.
        """

    def wake(self) -> None:
        """Have it look for what was posted."""

    def withdraw(self) -> None:
        """Take back what was posted last."""

    def glance(self) -> int:
        """Return the key of the step that runs, `NEXT` or `IDLE`."""

    def stack(self) -> Stack:
        """Return the lines of the step that runs, outermost first."""

    def task(self) -> str:
        """Return the name of the task that runs; empty for none."""

    def ready(self, seconds: float) -> tuple[int, float]:
        """Return how much is ready, and the sum of how long it waited, each at most *seconds*.

        Called by the loop itself, in the callback that was posted.
        """


def running_loop() -> ObservedLoop:
    """Return the loop that runs on this thread.

    Raises:
        UsageError: None does.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError(
            "no event loop of asyncio runs here; watch it from async code: an async test, or"
            " `async with` in a coroutine"
        ) from None
    return AsyncioLoop(loop) if AsyncioLoop.can_observe(loop) else OpaqueLoop(loop)


class _OfAsyncio:
    """What all loops with asyncio's interface have in common."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._thread = threading.get_ident()
        self._posted: asyncio.Handle | None = None

    def is_running(self) -> bool:
        return self.loop.is_running()

    def is_running_here(self) -> bool:
        return asyncio._get_running_loop() is self.loop

    def timer(self, threshold: float, clock: Clock) -> HandleTimer | None:
        return None

    def post(self, callback: Callable[[], None], *, wake: bool) -> None:
        self._posted = self.loop.call_soon_threadsafe(callback)

    def wake(self) -> None:
        with suppress(RuntimeError):  # closed
            self.loop.call_soon_threadsafe(_nothing)

    def withdraw(self) -> None:
        if self._posted:
            self._posted.cancel()
            self._posted = None

    def task(self) -> str:
        task = asyncio.current_task(self.loop)
        return task.get_name() if task else ""

    def _frame(self) -> FrameType | None:
        """Return the innermost frame of the loop's thread, which is never kept: it owns locals."""
        return sys._current_frames().get(self._thread)


class AsyncioLoop(_OfAsyncio):
    """A loop written in Python, as all of asyncio's are.

    Which step runs is known by what comes after it: the first handle that is ready stays the
    first until the step ends. (All that is ready while a ping waits is alive, so no `id` is used
    twice.)
    """

    shows_next = True

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._queue: Any = loop._ready  # type: ignore[attr-defined]
        self._ahead = 0

    @staticmethod
    def can_observe(loop: asyncio.AbstractEventLoop) -> bool:
        """Return whether *loop* has the parts that are looked at."""
        return isinstance(loop, asyncio.BaseEventLoop) and hasattr(loop, "_ready")

    def timer(self, threshold: float, clock: Clock) -> HandleTimer | None:
        return HandleTimer(self.loop, threshold, clock)

    def post(self, callback: Callable[[], None], *, wake: bool) -> None:
        self._ahead = len(self._queue)
        if wake:
            super().post(callback, wake=True)
        else:
            self._posted = asyncio.Handle(callback, (), self.loop)
            self._queue.append(self._posted)

    def glance(self) -> int:
        if _below_step(self._frame()) is None:
            return IDLE
        try:
            following = self._queue[0]
        except IndexError:
            return NEXT
        return NEXT if following is self._posted else id(following)

    def stack(self) -> Stack:
        frame = self._frame()
        return _seen_stack(frame, _below_step(frame))

    def ready(self, seconds: float) -> tuple[int, float]:
        now = self.loop.time()
        queue = tuple(self._queue)  # at once: other threads append to it
        others = (handle for handle in queue if not self._is_ours(handle))
        due = (getattr(handle, "_when", -math.inf) for handle in others)
        waits = [min(max(now - when, 0.0), seconds) for when in due]
        return self._ahead + len(waits), self._ahead * seconds + sum(waits)

    def _is_ours(self, handle: Any) -> bool:
        """Return whether *handle* is there because a ping was posted."""
        name = getattr(handle._callback, "__name__", "")
        return handle is self._posted or name == "_read_from_self"


def _below_step(frame: FrameType | None) -> FrameType | None:
    """Return the frame that runs a step of a loop of asyncio; None where the loop runs none."""
    while frame is not None:
        code = frame.f_code
        if (code.co_filename, code.co_name) in _STEPPING:
            return frame
        if code.co_name == "_run_once" and code.co_filename == _BASE_EVENTS:
            return None  # in its selector, or between two steps
        frame = frame.f_back
    return None


def _seen_stack(frame: FrameType | None, below: FrameType | None) -> Stack:
    """Return the lines from *frame* out to *below*, this one left out.

    A thread often gives up the GIL where a function begins. If it was just called, the line that
    calls it is what takes the time.
    """
    if frame and frame.f_back is not below and _was_just_called(frame):
        frame = frame.f_back
    return tuple(stack_of(frame, until=below))


def _was_just_called(frame: FrameType) -> bool:
    return frame.f_code.co_code[frame.f_lasti] == _RESUME


class OpaqueLoop(_OfAsyncio):
    """A compiled loop, such as uvloop: its Python frames begin with those of a step.

    What calls the loop is found when it is made, which must be in a coroutine that the loop runs.
    Steps are known by their task; those of none by a mark on their outermost frame, as two calls of
    one function look alike, and a frame that is kept to compare it keeps the user's locals.
    """

    shows_next = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._caller = _caller_of_loop(sys._getframe())

    def glance(self) -> int:
        outermost = self._outermost(self._frame())
        if outermost is None:
            return IDLE
        task = asyncio.current_task(self.loop)
        return _mark_of(outermost) if task is None else id(task)

    def stack(self) -> Stack:
        frame = self._frame()
        outermost = self._outermost(frame)
        return _seen_stack(frame, outermost.f_back) if outermost else ()

    def ready(self, seconds: float) -> tuple[int, float]:
        number = sum(map(_is_ready, asyncio.all_tasks(self.loop)))
        return number, number * seconds

    def _outermost(self, frame: FrameType | None) -> FrameType | None:
        """Return the outermost frame of the step that runs; None where none does."""
        above = None
        while frame is not None and frame.f_code is not self._caller:
            above, frame = frame, frame.f_back
        return above if frame else None


class _Mark(int):
    """Tells a frame from all others, as its trace function, which as such does nothing."""

    def __call__(self, frame: FrameType, event: str, arg: object) -> None:
        pass


def _mark_of(frame: FrameType) -> int:
    """Return the mark of *frame*, by now at least; where it is traced, what its code is."""
    if frame.f_trace is None:
        frame.f_trace = _Mark(next(_MARKS))
    return frame.f_trace if isinstance(frame.f_trace, _Mark) else id(frame.f_code)


def _caller_of_loop(frame: FrameType) -> object:
    """Return the code that the outermost coroutine of *frame* was called by."""
    caller = None
    at: FrameType | None = frame
    while at is not None:
        if at.f_code.co_flags & inspect.CO_COROUTINE and at.f_back:
            caller = at.f_back.f_code
        at = at.f_back
    return caller


def _nothing() -> None:
    pass


def _is_ready(task: "asyncio.Task[Any]") -> bool:
    """Return whether *task* waits for nothing but its turn."""
    waiter = getattr(task, "_fut_waiter", None)
    return waiter is None or waiter.done()
