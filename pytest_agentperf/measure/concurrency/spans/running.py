"""Spans while they run: which one is around another, which task runs it, whose line called it."""

import asyncio
import inspect
import sys
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Final, Protocol, Self, TypeAlias

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.concurrency.spans.values import UNKNOWN
from pytest_agentperf.measure.frames import Site, is_plumbing

__all__ = ["Recorder", "RunningSpan", "SiteFinder", "Subject", "awaiter", "caller", "strand"]

SiteFinder: TypeAlias = Callable[[FrameType | None], Site | None]


@dataclass(frozen=True, slots=True)
class Subject:
    """What the spans of one tracked function, or of one kind of block, have in common.

    Attributes:
        name: What they are called.
        find_site: Finds the line of the user's from the frame that called.
        home: The first line of the function: where no line of the user's called it.
        is_awaited: Whether it may overlap others of its task's, unlike a plain function.
    """

    name: str
    find_site: SiteFinder
    home: Site | None = None
    is_awaited: bool = True


class Recorder(Protocol):
    """What a running span asks of the one that records it."""

    clock: Clock

    def began(self, span: "RunningSpan", frame: FrameType | None) -> None:
        """Record that *span*, entered or called at *frame*, begins now."""

    def ended(self, span: "RunningSpan") -> None:
        """Record that *span* ended."""

    def returned(self, span: "RunningSpan", result: object) -> None:
        """Record that *span* found *result*."""


_current: ContextVar["RunningSpan | None"] = ContextVar("agentperf_span", default=None)


class RunningSpan:
    """A span that runs: a tracked call, or a block for `with` and `async with`.

    It ends once; what comes after that, or after the end of the watch, is ignored.

    Attributes:
        recorder: What records it; None when it or the watch has ended.
        outer: The span around it in its context when it began, of whatever recorder.
        inside: What its generator had open when it was left; None for itself.
    """

    __slots__ = (
        "arguments",
        "attributes",
        "end",
        "error",
        "id",
        "in_task",
        "inside",
        "is_open",
        "outer",
        "parent",
        "receiver",
        "recorder",
        "result",
        "site",
        "start",
        "strand",
        "subject",
        "task",
    )

    def __init__(self, recorder: Recorder, subject: Subject) -> None:
        self.recorder: Recorder | None = recorder
        self.outer: RunningSpan | None = None
        self.inside: RunningSpan | None = None
        self.subject = subject
        self.attributes: Mapping[str, object] = {}
        self.id = 0
        self.start = self.end = 0.0
        self.parent: int | None = None
        self.task, self.strand, self.in_task = "", 0, False
        self.site: Site | None = None
        self.receiver = 0
        self.error = ""
        self.is_open = True
        self.arguments = self.result = UNKNOWN

    @property
    def name(self) -> str:
        """What it is called."""
        return self.subject.name

    def around(self) -> "RunningSpan | None":
        """Return the innermost span around that is open and of the same recorder."""
        span = _current.get()
        while span is not None and span.recorder is not self.recorder:
            span = span.outer
        return span

    def enter(self) -> None:
        """Make this the parent of what this context, and the tasks that it starts, record.

        Once, when it begins: so the spans around a span are older, and no chain of them is endless.
        """
        outer = self.outer = _innermost(_current.get())
        if outer is not None:  # else tasks that start one another would chain their spans for ever
            outer.outer = _innermost(outer.outer)
        _current.set(self)

    def leave(self) -> None:
        """Make the span around this the parent again."""
        # Another stands there where a generator is closed elsewhere, as by the garbage collector.
        if _current.get() is self:
            _current.set(self.outer)

    def resume(self) -> "RunningSpan | None":
        """Go on inside this, or the span that was open in it; return the consumer's for `suspend`.

        A generator runs in the context of whoever asks it for the next item.
        """
        consumer = _current.get()
        _current.set(self.inside or self)
        return consumer

    def suspend(self, consumer: "RunningSpan | None") -> None:
        """Go back to where `resume` was called."""
        self.inside = _current.get()
        _current.set(consumer)

    def returned(self, result: object) -> None:
        """Note what the block found, so that calls that use it are known to depend on it."""
        if self.recorder is not None:
            self.recorder.returned(self, result)

    def succeed(self, result: object) -> None:
        """End now, with *result*."""
        recorder = self.recorder
        self.finish()
        if recorder is not None:  # looked at when the time has been taken
            recorder.returned(self, result)

    def finish(self, error: BaseException | None = None) -> None:
        """End now, with *error* where there is one."""
        recorder, self.recorder = self.recorder, None
        if recorder is None:
            return
        self.end = recorder.clock()
        self.is_open = False
        if error is not None:
            self.error = type(error).__name__
        self.leave()
        recorder.ended(self)

    def abandon(self, end: float) -> None:
        """Note that the watch ended at *end*, and this did not."""
        self.recorder, self.end = None, end

    def __enter__(self) -> Self:
        return self._begin(sys._getframe(1))  # noqa: SLF001 -- there is no other door

    async def __aenter__(self) -> Self:
        return self._begin(sys._getframe(1))  # noqa: SLF001

    def _begin(self, frame: FrameType) -> Self:
        if self.id:
            raise UsageError(f"span {self.name!r} was entered again; open a new one for each block")
        if self.recorder is not None:
            self.recorder.began(self, frame)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.finish(error)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.finish(error)


def _innermost(span: RunningSpan | None) -> RunningSpan | None:
    """Return *span* or the nearest one around it that has not ended."""
    while span is not None and span.recorder is None:
        span = span.outer
    return span


_ASYNC: Final = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE


def caller(frame: FrameType | None) -> Site | None:
    """Return the innermost line of the user's or a library's at or below *frame*."""
    while frame is not None and is_plumbing(frame.f_code.co_filename):
        frame = frame.f_back
    return None if frame is None else (frame.f_code, frame.f_lineno)


def awaiter(frame: FrameType | None) -> Site | None:
    """Return the line that awaits a coroutine that *frame* resumes; None where a task runs it."""
    while frame is not None and frame.f_code.co_flags & _ASYNC:
        if not is_plumbing(frame.f_code.co_filename):
            return frame.f_code, frame.f_lineno
        frame = frame.f_back
    return None


def strand() -> tuple[int, str, bool]:
    """Return what runs one step after the other here, its name, and whether it is a task.

    Where no task runs it is the thread.
    """
    try:
        task: Any = asyncio.current_task()
        if task is not None:
            return id(task), task.get_name(), True
    except RuntimeError:  # no event loop of asyncio runs in this thread
        trio = sys.modules.get("trio")
        try:
            task = trio.lowlevel.current_task() if trio else None
        except RuntimeError:
            task = None
        if task is not None:
            return id(task), task.name, True
    return threading.get_ident(), threading.current_thread().name, False
