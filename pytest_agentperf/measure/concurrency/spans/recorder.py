"""Spans: named intervals with parents, recorded in tasks, threads and generators.

A span costs two entries in a queue, which the tally reads when there are some hundreds. Appending
is atomic, so that threads, and generators that the garbage collector closes, need no lock.
"""

import inspect
import itertools
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import CodeType, FrameType
from typing import Any, Final

from pytest_agentperf.core.clock import REAL_TIME, Clock
from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.concurrency.spans.running import (
    RunningSpan,
    Subject,
    awaiter,
    caller,
    strand,
)
from pytest_agentperf.measure.concurrency.spans.span import Overlap, Span, freeze
from pytest_agentperf.measure.concurrency.spans.tally import Aggregate, Tally, Totals
from pytest_agentperf.measure.concurrency.spans.tracking import is_awaited, tracked
from pytest_agentperf.measure.concurrency.spans.values import UNKNOWN, Values, values_of
from pytest_agentperf.measure.patching import Patches

__all__ = ["Overlap", "Span", "SpanRecorder"]

_PENDING: Final = 256
_PATIENCE: Final = 5.0  # seconds
# Text of all arguments and results together that is kept to see which call uses what of which.
_MAX_CHARACTERS: Final = 8_000_000
_MAX_ATTRIBUTE: Final = 200


class SpanRecorder:
    """Records spans from its creation until `stop`.

    Args:
        clock: The clock.
        max_spans: How many spans are kept one by one, the first ones; the numbers are of all.

    Attributes:
        started: When it was created or started, by its clock.
        stopped: When it was stopped; None before.
    """

    def __init__(self, clock: Clock = REAL_TIME.clock, max_spans: int = 10_000) -> None:
        self.clock = clock
        self.started = clock()
        self.stopped: float | None = None
        self._max_spans = max_spans
        self._ids = itertools.count(1)
        self._kept: list[RunningSpan] = []
        self._spans: tuple[Span, ...] | None = None
        self._room = _MAX_CHARACTERS
        self._events: deque[tuple[RunningSpan, bool]] = deque()
        self._tally: Tally[RunningSpan] = Tally()
        self._settling = threading.Lock()
        self._tracked: list[tuple[object, str, object, Patches]] = []

    def start(self) -> None:
        """Count time from now, not from the creation."""
        self.started = self.clock()

    def stop(self) -> None:
        """End the record and put tracked methods back; spans that are open count until now."""
        if self.stopped is not None:
            return
        self.stopped = self.clock()
        while self._tracked:
            owner, method, wrapper, patches = self._tracked.pop()
            if _stands(owner, method, wrapper):  # else another patch is on top, which calls ours
                patches.undo()
        self._settle(wait=True)
        for span in self._tally.open:
            span.abandon(self.stopped)
            self._note(span, begins=False)

    # Recording

    def span(self, name: str, /, **attributes: object) -> RunningSpan:
        """Return a block for `with` or `async with` that is a span.

        Args:
            name: What the span is called.
            attributes: What it works on, as in ``query="weather"``: blocks of equal attributes are
                repeated calls, and `returned` of the block notes its result.

        Raises:
            UsageError: *name* is not a text, or the block is entered a second time.
        """
        if not isinstance(name, str) or not name:
            raise UsageError(f"span {name!r}: expected a name, as in span('search')")
        block = RunningSpan(self, Subject(name, caller))
        if self._is_keeping:
            block.attributes = {key: _shortened(value) for key, value in attributes.items()}
            block.arguments = self._given((), attributes)
        return block

    def track(self, owner: object, method: str, name: str | None = None) -> None:
        """Make each call of a method a span until the recorder is stopped.

        The span of a call lasts until its awaitable or stream is at its end, not its context
        manager: for that open a span around the block.

        Args:
            owner: An object, a class or a module.
            method: The name of its function of any kind: sync, async, generator, async generator.
            name: What the spans are called; the name of the method by default.

        Raises:
            UsageError: There is no such method, or it cannot be replaced.
        """
        if getattr(getattr(owner, method, None), _RECORDER, None) is self:
            return  # a second span around each call would count it twice
        raw = inspect.getattr_static(owner, method, None)
        is_unbound = isinstance(owner, type) and not isinstance(raw, staticmethod)
        wrappers: list[object] = []

        def make(func: Callable[..., Any]) -> Callable[..., Any]:
            wrappers.append(wrapper := self._wrap(func, name or method, int(is_unbound)))
            return wrapper

        patches = Patches()
        patches.replace(owner, method, make)
        self._tracked.append((owner, method, wrappers[0], patches))

    def wrap(self, func: Callable[..., Any], name: str | None = None) -> Callable[..., Any]:
        """Return a function of the kind of *func* each call of which is a span.

        Args:
            func: What cannot be replaced where it stands.
            name: What the spans are called; the name of the function by default.
        """
        return self._wrap(func, name or str(getattr(func, "__name__", type(func).__name__)))

    def _wrap(self, func: Callable[..., Any], name: str, skip: int = 0) -> Callable[..., Any]:
        """Return *func* tracked; its first *skip* arguments say on whom it is called."""
        code = getattr(inspect.unwrap(func), "__code__", None)
        home = (code, code.co_firstlineno) if type(code) is CodeType else None
        awaited = is_awaited(func)
        subject = Subject(name, awaiter if awaited else caller, home, is_awaited=awaited)
        receiver = id(getattr(func, "__self__", None))

        def begin(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> RunningSpan:
            span = RunningSpan(self, subject)
            if self._is_keeping:
                span.receiver = id(args[0]) if skip and args else receiver
                span.arguments = self._given(args[skip:], kwargs)
            self.began(span, sys._getframe(1).f_back)  # noqa: SLF001 -- behind the wrapper
            return span

        wrapper = tracked(func, begin)
        setattr(wrapper, _RECORDER, self)
        return wrapper

    def began(self, span: RunningSpan, frame: FrameType | None) -> None:
        """Record that *span*, entered or called at *frame*, begins now."""
        if self.stopped is not None:
            span.abandon(self.stopped)
            return
        span.id = next(self._ids)
        around = span.around()
        span.parent = None if around is None else around.id
        if span.id <= self._max_spans:
            self._kept.append(span)
            span.strand, span.task, span.in_task = strand()
            span.site = span.subject.find_site(frame) or span.subject.home
        span.enter()
        span.start = self.clock()
        self._note(span, begins=True)

    def ended(self, span: RunningSpan) -> None:
        """Record that *span* ended."""
        self._note(span, begins=False)

    def returned(self, span: RunningSpan, result: object) -> None:
        """Record that *span* found *result*."""
        if span.id <= self._max_spans:
            span.result = self._values((result,), is_result=True)

    @property
    def _is_keeping(self) -> bool:
        """Whether the next span will be kept."""
        return len(self._kept) < self._max_spans and self.stopped is None

    def _given(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Values:
        """Return what is kept of arguments, those by name in one order."""
        return self._values((*args, dict(sorted(kwargs.items()))) if kwargs else args)

    def _values(self, roots: tuple[Any, ...], *, is_result: bool = False) -> Values:
        """Return what is kept of *roots*, as long as there is room."""
        if self._room <= 0:
            return UNKNOWN
        found = values_of(roots, is_result=is_result)
        self._room -= found.characters
        return found

    def current(self) -> int | None:
        """Return the `id` of the span of this record that the running code is in, or None."""
        around = RunningSpan(self, _NOBODY).around()
        return None if around is None else around.id

    def _note(self, span: RunningSpan, *, begins: bool) -> None:
        self._events.append((span, begins))
        if len(self._events) >= _PENDING:
            self._settle()

    def _settle(self, *, wait: bool = False) -> None:
        """Count what has been noted; where another thread does so, leave it to that, or *wait*.

        The other may be this very thread: the garbage collector runs code of generators anywhere.
        """
        if not self._settling.acquire(timeout=_PATIENCE if wait else 0):
            return
        try:
            while self._events:
                span, begins = self._events.popleft()
                (self._tally.start if begins else self._tally.end)(span)
        finally:
            self._settling.release()

    # Results

    @property
    def spans(self) -> tuple[Span, ...]:
        """The spans in order of beginning: all, or the first of them as `notes` says."""
        if self.stopped is None:
            return self._freeze(self._kept)
        if self._spans is None:
            self._spans = self._freeze(self._kept)
        return self._spans

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the spans."""
        notes = []
        count, kept = self.totals.count, len(self._kept)
        if count > kept:
            notes.append(
                f"the first {kept} of {count} spans are kept one by one; counts, in_flight_max and"
                " parallelism are of all, the critical path and findings of these"
            )
        if self._room <= 0:
            notes.append(
                "arguments and results had more text than is kept: findings are of the first calls"
            )
        return tuple(notes)

    @property
    def totals(self) -> Totals:
        """The numbers of all spans together."""
        self._settle(wait=True)
        return self._tally.totals

    @property
    def aggregates(self) -> Mapping[str, Aggregate]:
        """The numbers of all spans by name, in the order in which the names first came."""
        self._settle(wait=True)
        return self._tally.by_name

    @property
    def in_flight_max(self) -> dict[str, int]:
        """The most spans of each name at once."""
        return {name: found.in_flight_max for name, found in self.aggregates.items()}

    def overlap(self, name: str) -> Overlap:
        """Return the moment at which the most spans of *name* were in flight.

        Raises:
            UsageError: No span of that name was recorded.
        """
        self.demand(name)
        at, spans = self._tally.fullest(name)
        return Overlap(name, self.in_flight_max[name], at, self._freeze(spans))

    def _freeze(self, spans: Iterable[RunningSpan]) -> tuple[Span, ...]:
        now = self.clock() if self.stopped is None else self.stopped
        return tuple(freeze(span, now) for span in spans)

    def demand(self, *names: str) -> None:
        """Refuse to say something of spans that were never recorded.

        Raises:
            UsageError: No span of one of *names* was recorded, or none at all.
        """
        found = self.aggregates
        if not found:
            raise UsageError(
                "no span was recorded; track a method before the calls, or open a span around them"
            )
        for name in names:
            if name not in found:
                recorded = ", ".join(f"{known!r} ({found[known].count})" for known in found)
                raise UsageError(f"no span {name!r} was recorded; expected one of {recorded}")


_NOBODY: Final = Subject("", caller)
_RECORDER: Final = "__agentperf_spans__"


def _stands(owner: object, method: str, wrapper: object) -> bool:
    """Return whether *wrapper* is what *owner* has as *method*."""
    raw = inspect.getattr_static(owner, method, None)
    found = (raw, getattr(raw, "__func__", None), getattr(owner, method, None))
    return any(candidate is wrapper for candidate in found)


def _shortened(value: object) -> object:
    """Return what is kept of an attribute of a span."""
    if value is None or type(value) in {bool, int, float}:
        return value
    return value[:_MAX_ATTRIBUTE] if type(value) is str else type(value).__name__
