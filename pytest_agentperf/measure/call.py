"""One call while it runs: the items of its stream, and the usage that its response reports."""

import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, overload

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.usage import Usage
from pytest_agentperf.measure.counting import Counters
from pytest_agentperf.measure.recording import Recording
from pytest_agentperf.measure.spending import UsageReading
from pytest_agentperf.measure.stream import ItemClock, is_async_stream, is_sync_stream
from pytest_agentperf.measure.timedcall import TimedCall
from pytest_agentperf.measure.usage import as_usage, is_one_response, read_stream_usage

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["CallContext", "MeasuredBlock", "RunningCall"]

T = TypeVar("T")
_NOTHING: Final = object()


class CallContext(NamedTuple):
    """How the calls of one subject are recorded.

    Attributes:
        subject: What is called, for messages.
        reading: How usage and cost are read from a response.
        counters: What is counted in this test.
        clock: The clock.
        stream: The user's way from a response to its items, or None.
    """

    subject: str
    reading: UsageReading
    counters: Counters
    clock: Clock
    stream: Callable[[Any], Any] | None = None


class RunningCall(TimedCall):
    """A call that has begun, whose result is looked at when it ends."""

    __slots__ = ("_context", "_items", "_paused", "_response")

    def __init__(
        self, context: CallContext, recording: Recording, started: float | None = None
    ) -> None:
        self._context = context
        self._items: ItemClock | None = None
        self._response: object = _NOTHING
        super().__init__(recording, context.counters, context.clock, started)

    @property
    def is_stream(self) -> bool:
        """Whether items of the call were noted."""
        return self._items is not None

    def resume(self) -> None:
        """Forget the time since `pause`, in which nobody awaited the call."""
        self._started += self._clock() - self._paused

    def pause(self) -> None:
        """Note that the call waits for somebody to await it."""
        self._paused = self._clock()

    def first_item(self) -> None:
        """Note that the first item is here: it sets the ttft of this call."""
        items = self._item_clock()
        if items.first is None:
            items.mark()

    def usage(self, response: object) -> None:
        """Read usage from *response*, as `perf_timer(…)` does by itself.

        Several responses of one call add up. Besides responses, what `configure(usage=…)` may
        return is accepted: a pair (input, output), a number of tokens.
        """
        reading = self._context.reading
        is_stated = isinstance(response, int | tuple)
        found = as_usage(response, "call.usage") if is_stated else reading.usage_of(response)
        if found is not None and reading.cost is not None and not is_stated:
            found = replace(found, cost=reading.cost(response))
        if found is None:
            self._response = response  # what reports no usage leaves the whole call's unknown
        elif self._response is _NOTHING or isinstance(self._response, _Items):
            self._response = found
        elif isinstance(self._response, Usage):
            self._response += found

    @overload
    def iterate(self, stream: AsyncIterator[T]) -> AsyncIterator[T]: ...
    @overload
    def iterate(self, stream: Iterator[T]) -> Iterator[T]: ...
    def iterate(self, stream: Any) -> Any:
        """Return the items of *stream* one by one while noting when each came.

        Raises:
            UsageError: *stream* is neither an iterator nor an async iterator.
        """
        if hasattr(stream, "__aiter__"):
            return self._iterate_async(stream)
        if hasattr(stream, "__iter__"):
            return self._iterate(stream)
        raise UsageError(
            f"iterate() of {self._context.subject} got a {type(stream).__name__};"
            " expected a stream: something to loop over with `for` or `async for`"
        )

    def _iterate(self, stream: Iterable[T]) -> Generator[T, Any, Any]:
        clock = self._item_clock()
        items: list[object] = []
        iterator: Any = iter(stream)
        sent, returned = None, None
        while True:
            with self.active():  # what the stream counts on its way to an item is this call's
                try:
                    item = next(iterator) if sent is None else iterator.send(sent)
                except StopIteration as stop:
                    returned = stop.value
                    break
            clock.item(item)
            items.append(item)
            sent = yield item
        self._note_items(items)
        return returned

    async def _iterate_async(self, stream: AsyncIterator[T]) -> AsyncIterator[T]:
        clock = self._item_clock()
        items: list[object] = []
        iterator = aiter(stream)
        while True:
            with self.active():
                try:
                    item = await anext(iterator)
                except StopAsyncIteration:
                    break
            clock.item(item)
            items.append(item)
            yield item
        self._note_items(items)

    def _note_items(self, items: list[object]) -> None:
        """Remember the *items* of a stream, which may report its usage."""
        if self._response is _NOTHING:
            self._response = _Items(items)

    def _item_clock(self) -> ItemClock:
        if self._items is None:
            self._items = ItemClock(self._started, self._clock)
        return self._items

    def consume(self, result: Any) -> Any:
        """Return *result*, or the list of its items where it is a stream."""
        stream = self._context.stream
        if stream is None:
            return list(self._iterate(result)) if is_sync_stream(result) else result
        if hasattr(result, "__enter__"):
            with result as entered:
                items = list(self.iterate(stream(entered)))
        else:
            entered = result
            items = list(self.iterate(stream(result)))
        self._response = _Items(items, entered)
        return items

    async def consume_async(self, result: Any) -> Any:
        """Return *result*, or the list of its items where it is a stream of either kind."""
        stream = self._context.stream
        if stream is None:
            return await self._collect(result) if is_async_stream(result) else self.consume(result)
        if hasattr(result, "__aenter__"):
            async with result as entered:
                items = await self._collect(stream(entered))
        elif hasattr(result, "__enter__"):
            with result as entered:
                items = await self._collect(stream(entered))
        else:
            entered = result
            items = await self._collect(stream(result))
        self._response = _Items(items, entered)
        return items

    async def _collect(self, stream: Any) -> list[Any]:
        if inspect.isawaitable(stream):
            stream = await stream
        if hasattr(stream, "__aiter__"):
            return [item async for item in self._iterate_async(stream)]
        return list(self.iterate(stream))

    def end(self, result: object = _NOTHING) -> None:
        """Record that the call ended now, with *result* to read usage from."""
        counts = self._record(self._items)
        response = result if self._response is _NOTHING else self._response
        if response is not _NOTHING:
            self._read(response)
            self._warn_of_calls_unread(response, counts)

    def _read(self, response: object) -> None:
        """Record the usage of *response*."""
        context, streamed, is_stream = self._context, None, self.is_stream
        if isinstance(response, _Items):
            streamed = read_stream_usage(response.items)
            response = response.source if response.source is not None else response.items
        self._recording.read(
            response, context.subject, context.reading, streamed=streamed, is_stream=is_stream
        )

    def _warn_of_calls_unread(self, response: object, counts: Mapping[str, int]) -> None:
        """Note where a call made several model calls and returned the response of one."""
        calls = counts.get("llm_calls", 0)
        if calls > 1 and is_one_response(response) and self._context.reading.usage is None:
            self._recording.note(
                f"{self._context.subject} makes several model calls and returns the last response:"
                " tokens and cost are of that one alone; give perf_timer.configure(usage=…)"
            )


class _Items(NamedTuple):
    """The items of a stream and the object that they came from."""

    items: list[object]
    source: object = None


class MeasuredBlock:
    """A `with` or `async with` block that is one call."""

    __slots__ = ("_active", "_context", "_recording", "_running")

    def __init__(self, context: CallContext, recording: Recording) -> None:
        self._context = context
        self._recording = recording
        self._running: RunningCall | None = None
        self._active: AbstractContextManager[None] | None = None

    def __enter__(self) -> RunningCall:
        if self._running is not None:
            raise UsageError(
                f"{self._context.subject} was entered again; call perf_timer.measure for each block"
            )
        self._running = RunningCall(self._context, self._recording)
        self._active = self._running.active()
        self._active.__enter__()
        return self._running

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._running is None or self._active is None:
            return
        if error is None:
            self._running.end()
        else:
            self._running.fail(error)
        self._active.__exit__(None, None, None)

    async def __aenter__(self) -> RunningCall:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)
