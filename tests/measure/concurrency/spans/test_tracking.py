"""Tracked functions: of the same kind as before, and a span for each call until its very end."""

import asyncio
import functools
import gc
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Self
from unittest.mock import AsyncMock

import pytest

from pytest_agentperf.measure.concurrency.spans.recorder import SpanRecorder
from pytest_agentperf.measure.concurrency.spans.span import Span

from .plans import FakeClock
from .virtual_loop import now, run


class Tools:
    """Tools of every kind."""

    def plain(self, text: str, *, mark: str = "!") -> str:
        """Add a mark."""
        return text + mark

    async def coroutine(self, text: str) -> str:
        await asyncio.sleep(1)
        return text

    def letters(self, text: str) -> Generator[str, str, int]:
        yield from text
        return len(text)

    async def stream(self, text: str) -> AsyncGenerator[str, str]:
        for letter in text:
            await asyncio.sleep(1)
            yield letter

    async def open_stream(self, text: str) -> AsyncGenerator[str, str]:
        await asyncio.sleep(1)
        return self.stream(text)

    def promise(self, text: str) -> Any:
        return self.coroutine(text)

    def task(self, text: str) -> "asyncio.Task[str]":
        return asyncio.create_task(self.coroutine(text))

    def __call__(self, text: str) -> str:
        return text


class AsyncTool:
    """A callable object whose call is a coroutine."""

    async def __call__(self, text: str) -> str:
        return text


@pytest.fixture
def tools() -> Tools:
    return Tools()


@pytest.fixture
def recorder(clock: FakeClock) -> SpanRecorder:
    return SpanRecorder(clock)


KINDS = (
    inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction,
)  # fmt: skip


@pytest.mark.parametrize("name", ["plain", "coroutine", "letters", "stream", "open_stream"])
def test_a_tracked_function_is_of_the_same_kind(
    tools: Tools, recorder: SpanRecorder, name: str
) -> None:
    func = getattr(tools, name)
    tracked = recorder.wrap(func)
    assert [kind(tracked) for kind in KINDS] == [kind(func) for kind in KINDS]
    assert (tracked.__name__, tracked.__doc__) == (name, func.__doc__)
    assert inspect.signature(tracked) == inspect.signature(func)


@pytest.mark.parametrize(
    "func", [AsyncTool(), functools.partial(Tools().coroutine, "a"), AsyncMock(return_value="a")]
)
def test_whatever_gives_a_coroutine_becomes_a_coroutine_function(
    recorder: SpanRecorder, func: Callable[..., Any]
) -> None:
    assert inspect.iscoroutinefunction(recorder.wrap(func))


def recorded(work: Callable[[SpanRecorder, Tools], Any]) -> tuple[list[Span], Any]:
    """Run *work* in virtual time; return its spans and its result."""

    async def main() -> tuple[list[Span], Any]:
        recorder = SpanRecorder(now)
        result = await work(recorder, Tools())
        recorder.stop()
        return list(recorder.spans), result

    return run(main)


def test_a_plain_call_is_a_span_that_awaits_nothing(tools: Tools, recorder: SpanRecorder) -> None:
    assert recorder.wrap(tools.plain)("a", mark="?") == "a?"
    (span,) = recorder.spans
    assert (span.name, span.is_awaited, span.result.atoms) == ("plain", False, ("a?",))
    assert set(span.arguments.atoms) == {"a", "?"}


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_call_that_raises_is_a_span_with_that_error(
    recorder: SpanRecorder, error: BaseException
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        recorder.wrap(fail)()
    assert recorder.spans[0].error == type(error).__name__


def test_a_coroutine_is_a_span_from_its_first_step_to_its_end() -> None:
    async def work(recorder: SpanRecorder, tools: Tools) -> str:
        waiting = recorder.wrap(tools.coroutine)("a")
        await asyncio.sleep(5)
        return str(await waiting)

    (span,), result = recorded(work)
    assert result == "a"
    assert (span.start, span.end, span.result.atoms) == (5, 6, ("a",))


def test_a_coroutine_never_awaited_is_no_span(tools: Tools, recorder: SpanRecorder) -> None:
    waiting = recorder.wrap(tools.coroutine)("a")
    waiting.close()
    assert recorder.spans == ()


class Suspended:
    """Something to wait for that never comes."""

    def __await__(self) -> Generator[None, None, None]:
        yield


def test_a_coroutine_closed_half_way_ends_there(recorder: SpanRecorder, clock: FakeClock) -> None:
    async def wait() -> None:
        await Suspended()

    waiting = recorder.wrap(wait)()
    waiting.send(None)
    clock.advance(1)
    waiting.close()
    clock.advance(1)
    (span,) = recorder.spans
    assert (span.seconds, span.error, span.is_open) == (1, "GeneratorExit", False)


# Generators


def test_a_generator_is_a_span_from_its_first_item_asked_for_to_its_end(
    tools: Tools, recorder: SpanRecorder, clock: FakeClock
) -> None:
    letters = recorder.wrap(tools.letters)("ab")
    clock.advance(1)
    found = []
    for letter in letters:
        clock.advance(1)
        found.append(letter)
    (span,) = recorder.spans
    assert found == ["a", "b"]
    assert (span.start, span.end) == (1001, 1003)


def echo() -> Generator[str, str, str]:
    """Return what it was sent, and say what was thrown."""
    said = yield "ready"
    try:
        said = yield said
    except KeyError:
        said = yield "caught"
    return said


def test_a_generator_gets_what_is_sent_and_thrown_and_returns(recorder: SpanRecorder) -> None:
    echoing = recorder.wrap(echo)()
    assert next(echoing) == "ready"
    assert echoing.send("hello") == "hello"
    assert echoing.throw(KeyError) == "caught"
    with pytest.raises(StopIteration) as stop:
        echoing.send("bye")
    assert stop.value.value == "bye"
    assert (recorder.spans[0].error, recorder.spans[0].is_open) == ("", False)


def test_a_generator_closed_early_ends_there_without_an_error(
    tools: Tools, recorder: SpanRecorder, clock: FakeClock
) -> None:
    letters = recorder.wrap(tools.letters)("abc")
    next(letters)
    clock.advance(1)
    letters.close()
    clock.advance(1)
    (span,) = recorder.spans
    assert (span.seconds, span.error, span.is_open) == (1, "", False)


def test_a_generator_that_raises_ends_with_that_error(recorder: SpanRecorder) -> None:
    def fail() -> Iterator[str]:
        yield "a"
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(recorder.wrap(fail)())
    assert recorder.spans[0].error == "ValueError"


def test_between_the_items_of_a_generator_its_consumer_runs_not_it(recorder: SpanRecorder) -> None:
    def letters() -> Iterator[str]:
        with recorder.span("inside"):
            yield "a"
            with recorder.span("deeper"):
                yield "b"
        with recorder.span("after"):
            yield "c"

    with recorder.span("ask"):
        for _ in recorder.wrap(letters)():
            with recorder.span("consumer"):
                pass
    with recorder.span("next"):
        pass
    names = {span.id: span.name for span in recorder.spans}
    assert [(span.name, names.get(span.parent or 0)) for span in recorder.spans] == [
        ("ask", None), ("letters", "ask"), ("inside", "letters"), ("consumer", "ask"),
        ("deeper", "inside"), ("consumer", "ask"), ("after", "letters"), ("consumer", "ask"),
        ("next", None),
    ]  # fmt: skip


def test_generators_in_turn_keep_their_own_spans_open(recorder: SpanRecorder) -> None:
    def letters(name: str) -> Iterator[str]:
        with recorder.span(name):
            yield "a"
            with recorder.span(f"{name}'s"):
                yield "b"

    tracked = recorder.wrap(letters)
    assert list(zip(tracked("one"), tracked("two"), strict=True)) == [("a", "a"), ("b", "b")]
    names = {span.id: span.name for span in recorder.spans}
    assert [names.get(span.parent or 0) for span in recorder.spans] == [
        None, "letters", None, "letters", "one", "two",
    ]  # fmt: skip


def test_a_generator_that_closes_runs_inside_its_span(recorder: SpanRecorder) -> None:
    def letters() -> Iterator[str]:
        try:
            yield "a"
        finally:
            with recorder.span("cleanup"):
                pass

    tracked = recorder.wrap(letters)()
    next(tracked)
    with recorder.span("ask"):
        tracked.close()
    spans = {span.name: span for span in recorder.spans}
    assert spans["cleanup"].parent == spans["letters"].id
    assert spans["letters"].parent is None


def test_a_generator_that_asks_itself_is_refused_by_python_alone(recorder: SpanRecorder) -> None:
    def letters() -> Iterator[str]:
        yield next(tracked)

    tracked = recorder.wrap(letters)()
    with pytest.raises(ValueError, match="already executing"):
        next(tracked)
    with recorder.span("next"):
        pass
    assert recorder.spans[-1].parent is None


def test_a_generator_dropped_half_way_ends_when_it_is_collected(
    tools: Tools, recorder: SpanRecorder
) -> None:
    with recorder.span("ask"):
        letters = recorder.wrap(tools.letters)("abc")
        next(letters)
        del letters
        gc.collect()
        with recorder.span("next"):
            pass
    ask, letters_, next_ = recorder.spans
    assert (letters_.error, letters_.is_open) == ("", False)
    assert next_.parent == ask.id


def test_an_async_generator_is_a_span_until_its_end() -> None:
    async def work(recorder: SpanRecorder, tools: Tools) -> list[str]:
        found = []
        async for letter in recorder.wrap(tools.stream)("ab"):
            async with recorder.span("consumer"):
                await asyncio.sleep(2)
            found.append(letter)
        return found

    (stream, *consumers), found = recorded(work)
    assert found == ["a", "b"]
    assert (stream.start, stream.end, stream.is_awaited) == (0, 6, True)
    assert [span.parent for span in consumers] == [None, None]


async def async_echo() -> AsyncGenerator[str, str]:
    """Yield what it was sent, and say what was thrown."""
    said = yield "ready"
    try:
        said = yield said
    except KeyError:
        said = yield "caught"
    yield said


def test_an_async_generator_gets_what_is_sent_and_thrown() -> None:
    async def work(recorder: SpanRecorder, tools: Tools) -> list[str]:
        echoing = recorder.wrap(async_echo)()
        return [
            await anext(echoing),
            await echoing.asend("hello"),
            await echoing.athrow(KeyError),
            await echoing.asend("bye"),
            *[item async for item in echoing],
        ]

    (span,), found = recorded(work)
    assert found == ["ready", "hello", "caught", "bye"]
    assert (span.error, span.is_open) == ("", False)


def test_a_tracked_async_generator_can_still_be_made_a_context_manager() -> None:
    caught = []

    async def session() -> AsyncIterator[str]:
        try:
            yield "open"
        except ValueError as error:
            caught.append(error)

    async def work(recorder: SpanRecorder, tools: Tools) -> None:
        async with asynccontextmanager(recorder.wrap(session))() as opened:
            assert opened == "open"
            raise ValueError("no")

    recorded(work)
    assert len(caught) == 1


def test_an_async_generator_closed_early_closes_and_ends_there() -> None:
    events: list[str] = []

    async def letters() -> AsyncGenerator[str, None]:
        try:
            yield "a"
            yield "b"
        finally:
            await asyncio.sleep(1)
            events.append("closed")

    async def work(recorder: SpanRecorder, tools: Tools) -> None:
        async with aclosing(recorder.wrap(letters)()) as stream:
            async for _ in stream:
                break
        await asyncio.sleep(5)

    (span,), _ = recorded(work)
    assert events == ["closed"]
    assert (span.end, span.error) == (1, "")


def test_an_async_generator_left_open_is_a_span_left_open() -> None:
    async def work(recorder: SpanRecorder, tools: Tools) -> Any:
        stream = recorder.wrap(tools.stream)("ab")
        await anext(stream)
        await asyncio.sleep(2)
        return stream

    (span,), _ = recorded(work)
    assert (span.end, span.is_open) == (3, True)


def test_an_async_generator_cancelled_while_it_waits_ends_with_that() -> None:
    async def work(recorder: SpanRecorder, tools: Tools) -> None:
        async def read() -> None:
            async for _ in recorder.wrap(tools.stream)("abc"):
                pass

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(), 1.5)

    (span,), _ = recorded(work)
    assert (span.end, span.error) == (1.5, "CancelledError")


# What a call returns to be awaited or iterated


def test_a_stream_that_a_coroutine_returns_belongs_to_its_span() -> None:
    async def work(recorder: SpanRecorder, tools: Tools) -> list[str]:
        stream = await recorder.wrap(tools.open_stream)("ab")
        await asyncio.sleep(1)
        return [letter async for letter in stream]

    (span,), found = recorded(work)
    assert found == ["a", "b"]
    assert (span.start, span.end) == (0, 4)


class Stream:
    """A stream as of an SDK: an iterator that can be closed and entered."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.is_closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        await asyncio.sleep(1)
        return self.left

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self.is_closed = True


def test_a_stream_of_an_sdk_ends_its_span_when_it_is_closed() -> None:
    async def create(stream: Stream) -> Stream:
        await asyncio.sleep(1)
        return stream

    async def work(recorder: SpanRecorder, tools: Tools) -> Stream:
        stream = Stream(5)
        async with await recorder.wrap(create)(stream) as opened:
            async for _ in opened:
                break
        await asyncio.sleep(5)
        return stream

    (span,), stream = recorded(work)
    assert stream.is_closed
    assert (span.end, span.error) == (2, "")


def test_a_stream_of_an_sdk_that_a_loop_left_can_be_read_on() -> None:
    async def create(stream: Stream) -> Stream:
        return stream

    async def work(recorder: SpanRecorder, tools: Tools) -> list[int]:
        opened = await recorder.wrap(create)(Stream(3))
        found = []
        async for item in opened:
            found.append(item)
            break
        return [*found, *[item async for item in opened]]

    (span,), found = recorded(work)
    assert found == [2, 1, 0]
    assert (span.end, span.is_open) == (3, False)


def test_a_stream_of_an_sdk_that_fails_ends_its_span_with_that_error() -> None:
    class Failing(Stream):
        async def __anext__(self) -> int:
            raise ConnectionError

    async def create() -> Stream:
        return Failing(1)

    async def work(recorder: SpanRecorder, tools: Tools) -> None:
        with pytest.raises(ConnectionError):
            await anext(await recorder.wrap(create)())

    (span,), _ = recorded(work)
    assert span.error == "ConnectionError"


def test_a_sync_stream_belongs_to_its_span(recorder: SpanRecorder, clock: FakeClock) -> None:
    class Lines:
        def __init__(self) -> None:
            self.left = 2

        def __iter__(self) -> Self:
            return self

        def __next__(self) -> int:
            if not self.left:
                raise StopIteration
            clock.advance(1)
            self.left -= 1
            return self.left

    def create() -> Lines:
        clock.advance(1)
        return Lines()

    assert list(recorder.wrap(create)()) == [1, 0]
    assert recorder.spans[0].seconds == 3


def test_an_awaitable_that_a_plain_function_returns_belongs_to_its_span() -> None:
    async def work(recorder: SpanRecorder, tools: Tools) -> Any:
        recorder.track(tools, "coroutine")
        return await recorder.wrap(tools.promise)("a")

    (promise, coroutine), result = recorded(work)
    assert result == "a"
    assert (promise.start, promise.end, promise.result.atoms) == (0, 1, ("a",))
    assert coroutine.parent == promise.id


def test_a_task_that_a_plain_function_returns_belongs_to_its_span() -> None:
    async def work(recorder: SpanRecorder, tools: Tools) -> tuple[bool, Any]:
        task = recorder.wrap(tools.task)("a")
        async with recorder.span("beside"):
            pass
        return isinstance(task, asyncio.Task), await task

    (span, beside), result = recorded(work)
    assert result == (True, "a")
    assert (span.end, span.result.atoms, beside.parent) == (1, ("a",), None)


@pytest.mark.parametrize("how", ["cancel", "fail"])
def test_a_task_that_does_not_return_ends_its_span_with_its_error(how: str) -> None:
    async def fail() -> None:
        await asyncio.sleep(1)
        raise ValueError("no")

    async def work(recorder: SpanRecorder, tools: Tools) -> None:
        task = recorder.wrap(lambda: asyncio.create_task(fail()), "start")()
        await asyncio.sleep(0.5)
        if how == "cancel":
            task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)
        if how == "fail":
            task.exception()

    (span,), _ = recorded(work)
    assert (span.end, span.error) == {
        "cancel": (0.5, "CancelledError"), "fail": (1, "ValueError"),
    }[how]  # fmt: skip


def test_an_awaitable_that_fails_ends_its_span_with_its_error() -> None:
    async def fail(text: str) -> None:
        raise ValueError(text)

    async def work(recorder: SpanRecorder, tools: Tools) -> None:
        with pytest.raises(ValueError, match="no"):
            await recorder.wrap(lambda: fail("no"), "start")()

    (span,), _ = recorded(work)
    assert span.error == "ValueError"


class Request:
    """What can be awaited or entered, as a request of aiohttp."""

    def __await__(self) -> Generator[Any, None, str]:
        yield from asyncio.sleep(1).__await__()
        return "reply"

    async def __aenter__(self) -> str:
        return await self

    async def __aexit__(self, *_: object) -> None:
        return None


def test_a_request_that_can_be_awaited_or_entered_stays_so() -> None:
    async def work(recorder: SpanRecorder, tools: Tools) -> tuple[str, str]:
        get = recorder.wrap(Request, "get")
        async with get() as entered:
            pass
        return await get(), entered

    spans, result = recorded(work)
    assert result == ("reply", "reply")
    assert [(span.start, span.end) for span in spans] == [(0, 1), (1, 2)]


def test_a_coroutine_that_returns_a_task_does_not_wait_for_it() -> None:
    async def work(recorder: SpanRecorder, tools: Tools) -> None:
        async def start() -> "asyncio.Task[str]":
            return asyncio.create_task(tools.coroutine("a"))

        await (await recorder.wrap(start)())

    (span,), _ = recorded(work)
    assert span.end == 0


class Unbound:
    """A proxy that stands for nothing yet: whoever asks what it is fails."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("unbound")


def test_a_result_that_cannot_be_asked_what_it_is_is_returned_as_it_is() -> None:
    proxy = Unbound()

    async def get() -> Unbound:
        return proxy

    async def work(recorder: SpanRecorder, tools: Tools) -> tuple[bool, bool]:
        plain = recorder.wrap(lambda: proxy, "plain")()
        return plain is proxy, await recorder.wrap(get)() is proxy

    spans, result = recorded(work)
    assert result == (True, True)
    assert [(span.name, span.error, span.is_open) for span in spans] == [
        ("plain", "", False), ("get", "", False),
    ]  # fmt: skip


# Where calls come from


def test_a_call_in_a_task_of_its_own_is_at_its_function() -> None:
    async def work(recorder: SpanRecorder, tools: Tools) -> None:
        await asyncio.gather(recorder.wrap(tools.coroutine)("a"))

    (span,), _ = recorded(work)
    assert span.place is not None
    assert (span.place.source, span.place.function) == (
        "async def coroutine(self, text: str) -> str:", "Tools.coroutine",
    )  # fmt: skip


def test_a_call_awaited_through_other_coroutines_is_at_the_line_of_the_user() -> None:
    async def work(recorder: SpanRecorder, tools: Tools) -> None:
        async with asyncio.timeout(5):
            await recorder.wrap(recorder.wrap(tools.coroutine))("a")  # two spans, one line

    spans, _ = recorded(work)
    assert len({span.place for span in spans}) == 1


def test_a_plain_call_in_a_thread_is_at_its_function(recorder: SpanRecorder, tools: Tools) -> None:
    asyncio.run(asyncio.to_thread(recorder.wrap(tools.plain), "a"))
    place = recorder.spans[0].place
    assert place is not None
    assert place.source.startswith("def plain(self, text: str")


def test_a_builtin_that_nobody_of_the_user_calls_has_no_place(recorder: SpanRecorder) -> None:
    asyncio.run(asyncio.to_thread(recorder.wrap(len), "abc"))
    assert recorder.spans[0].place is None


def test_a_mock_has_no_place(recorder: SpanRecorder) -> None:
    asyncio.run(recorder.wrap(AsyncMock(), "ask")())
    assert recorder.spans[0].place is None


def test_calls_under_trio_are_spans_of_its_tasks(tools: Tools) -> None:
    trio = pytest.importorskip("trio")
    recorder = SpanRecorder()

    async def search(text: str) -> str:
        await trio.sleep(0)
        return text

    tracked = recorder.wrap(search)

    async def main() -> None:
        with recorder.span("ask"):
            await tracked("a")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tracked, "b")
                nursery.start_soon(tracked, "c")

    trio.run(main)
    recorder.stop()
    ask, first, *others = recorder.spans
    assert {span.parent for span in (first, *others)} == {ask.id}
    assert first.strand == ask.strand
    assert len({span.strand for span in recorder.spans}) == 3
    assert all(span.in_task for span in recorder.spans)
    assert first.place is not None
    assert first.place.source == 'await tracked("a")'
