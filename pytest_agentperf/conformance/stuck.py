"""Deadlines: what does not end is reported with the place where it hangs."""

import contextvars
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_agentperf.core.errors import AgentPerfError

if TYPE_CHECKING:
    from asyncio import Task

__all__ = ["StuckError", "call_within", "in_thread", "stacks_of_tasks", "stacks_of_threads"]

_T = TypeVar("_T")
OWN_THREAD = "conformance-test"


class StuckError(AgentPerfError, AssertionError):
    """Something that never ends, with the stacks of what waits."""


SHOWN = 8  # frames of a stack, the innermost


def _lines(frames: Iterable[tuple[FrameType, int]]) -> str:
    stack = traceback.StackSummary.extract(iter(frames), limit=-SHOWN)
    return "".join(stack.format()).rstrip() or "  (it has no frame)"


def _frames_of(task: "Task[Any]") -> Iterable[tuple[FrameType, int]]:
    """Yield the suspended frames of *task*, outermost first; `Task.get_stack` has the first one."""
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            yield frame, frame.f_lineno
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)


def stacks_of_tasks(tasks: Iterable["Task[Any]"]) -> str:
    """Return one stack for each of *tasks*, innermost line last."""
    ordered = sorted(tasks, key=lambda task: task.get_name())
    return "\n".join(f"{task.get_name()} waits at\n{_lines(_frames_of(task))}" for task in ordered)


def stacks_of_threads(threads: Iterable[threading.Thread]) -> str:
    """Return one stack for each of *threads* that runs, innermost line last."""
    frames = sys._current_frames()  # noqa: SLF001 - the documented way to another thread's stack
    found = ((thread.name, frames.get(thread.ident or 0)) for thread in threads)
    return "\n".join(
        f"thread {name} is at\n{_lines([*traceback.walk_stack(frame)][::-1])}"
        for name, frame in found
        if frame is not None
    )


def call_within(seconds: float | None, body: Callable[[], None]) -> None:
    """Call *body*; if it blocks for longer than *seconds*, raise what tells where.

    It is called in a thread of its own, which is left behind if it hangs: nothing else can end
    code that waits for a lock. None calls it directly, without a deadline, for debuggers.

    Raises:
        StuckError: *body* did not return in time.
    """
    __tracebackhide__ = True
    if seconds is None:
        body()
        return
    errors: list[BaseException] = []

    def target() -> None:
        __tracebackhide__ = True
        try:
            body()
        except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
            errors.append(error)

    before = set(threading.enumerate())
    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(target,), name=OWN_THREAD, daemon=True
    )
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        stacks = stacks_of_threads(set(threading.enumerate()) - before)
        raise StuckError(f"it hangs: nothing ended within {seconds:g} s of real time\n{stacks}")
    if errors:
        raise errors[0]


def in_thread(function: Callable[..., _T], *args: Any) -> "Future[_T]":
    """Call *function* in a thread of its own; return the future of what it returns.

    The thread is a daemon: one of an executor that hangs would keep the process from its end.
    """
    future: Future[_T] = Future()

    def call() -> None:
        try:
            future.set_result(function(*args))
        except BaseException as error:  # noqa: BLE001 - the caller gets it from the future
            future.set_exception(error)

    threading.Thread(target=call, name="conformance", daemon=True).start()
    return future
