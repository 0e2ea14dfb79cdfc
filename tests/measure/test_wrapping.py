"""Wrappers: of the same kind as the function, and each call is recorded."""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Self

import pytest

from pytest_agentperf.measure.call import RunningCall
from pytest_agentperf.measure.recording import Recording
from pytest_agentperf.measure.wrapping import count_calls, is_coroutine_function, record_calls

from .conftest import FakeClock

Begin = Callable[[], RunningCall]


class Agent:
    """An agent with a method of each kind; every step takes half a second."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock

    def ask(self, question: str, *, mark: str = "!") -> str:
        """Answer at once."""
        self.clock.advance(0.5)
        return question + mark

    async def ask_async(self, question: str) -> str:
        await self.clock.sleep(0.5)
        return question + "!"

    def stream(self, question: str) -> Iterator[str]:
        for letter in question:
            self.clock.advance(0.5)
            yield letter

    async def stream_async(self, question: str) -> AsyncIterator[str]:
        for letter in question:
            await self.clock.sleep(0.5)
            yield letter

    async def open_stream(self, question: str) -> AsyncIterator[str]:
        await self.clock.sleep(0.5)
        return self.stream_async(question)

    def __call__(self, question: str) -> str:
        return self.ask(question)


class AsyncAgent:
    """A callable object whose call is a coroutine."""

    async def __call__(self, question: str) -> str:
        return question + "!"


@pytest.fixture
def agent(clock: FakeClock) -> Agent:
    return Agent(clock)


KINDS = (
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
)


@pytest.mark.parametrize("name", ["ask", "ask_async", "stream", "stream_async", "open_stream"])
def test_recorded_function_is_of_the_same_kind(agent: Agent, begin: Begin, name: str) -> None:
    func = getattr(agent, name)
    recorded = record_calls(func, begin)
    assert [kind(recorded) for kind in KINDS] == [kind(func) for kind in KINDS]
    assert recorded.__name__ == name
    assert recorded.__qualname__ == func.__qualname__
    assert recorded.__doc__ == func.__doc__
    assert inspect.signature(recorded) == inspect.signature(func)


@pytest.mark.parametrize("name", ["ask", "ask_async", "stream_async", "open_stream"])
def test_counted_function_is_of_the_same_kind(agent: Agent, name: str) -> None:
    func = getattr(agent, name)
    counted = count_calls(func, lambda: None)
    assert [kind(counted) for kind in KINDS] == [kind(func) for kind in KINDS]
    assert counted.__name__ == name
    assert inspect.signature(counted) == inspect.signature(func)


async def example() -> None:
    """A coroutine function."""


def returns_coroutine() -> Awaitable[None]:
    return example()


@pytest.mark.parametrize(
    ("func", "expected"),
    [
        (example, True),
        (functools.partial(example), True),
        (AsyncAgent(), True),
        (returns_coroutine, False),
        (print, False),
        (functools.partial(print), False),
        (Agent, False),
        (7, False),
    ],
)
def test_coroutine_function_is_told_by_what_it_is(func: object, expected: bool) -> None:
    assert is_coroutine_function(func) is expected


def test_recorded_function_passes_arguments_and_result_on(
    agent: Agent, begin: Begin, recording: Recording
) -> None:
    ask = record_calls(agent.ask, begin)
    assert ask("a") == "a!"
    assert ask("a", mark="?") == "a?"
    assert list(recording.latency) == [0.5, 0.5]


def test_recorded_function_records_an_error_and_raises_it(
    begin: Begin, recording: Recording, clock: FakeClock
) -> None:
    error = ValueError("no")

    def ask() -> None:
        clock.advance(0.5)
        raise error

    with pytest.raises(ValueError, match="no") as raised:
        record_calls(ask, begin)()
    assert raised.value is error
    assert list(recording.failed) == [0.5]
    assert recording.errors == {"ValueError": 1}


def test_recorded_function_keeps_the_attributes_of_the_function(begin: Begin) -> None:
    def ask() -> None:
        pass

    ask.cost = 3  # type: ignore[attr-defined]
    recorded = record_calls(ask, begin)
    assert recorded.cost == 3  # type: ignore[attr-defined]
    assert inspect.unwrap(recorded) is ask


def test_recorded_object_keeps_its_state_to_itself(agent: Agent, begin: Begin) -> None:
    recorded = record_calls(agent, begin)
    assert recorded("a") == "a!"
    assert "clock" not in vars(recorded)


def test_recorded_partial_has_no_name_and_still_works(
    agent: Agent, begin: Begin, recording: Recording
) -> None:
    assert record_calls(functools.partial(agent.ask, "a"), begin)(mark="?") == "a?"
    assert recording.calls == 1


@pytest.mark.asyncio
async def test_recorded_coroutine_function_is_recorded_when_awaited(
    agent: Agent, begin: Begin, recording: Recording, clock: FakeClock
) -> None:
    pending = record_calls(agent.ask_async, begin)("a")
    clock.advance(8.0)
    assert await pending == "a!"
    assert list(recording.latency) == [0.5]


@pytest.mark.asyncio
async def test_recorded_callable_object_may_be_async(begin: Begin, recording: Recording) -> None:
    recorded = record_calls(AsyncAgent(), begin)
    assert inspect.iscoroutinefunction(recorded)
    assert await recorded("a") == "a!"
    assert recording.calls == 1


@pytest.mark.asyncio
async def test_recorded_coroutine_records_an_error_and_raises_it(
    begin: Begin, recording: Recording, clock: FakeClock
) -> None:
    async def ask() -> None:
        await clock.sleep(0.5)
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        await record_calls(ask, begin)()
    assert list(recording.failed) == [0.5]


@pytest.mark.asyncio
async def test_recorded_coroutine_that_is_cancelled_is_an_error(
    begin: Begin, recording: Recording
) -> None:
    entered = asyncio.Event()

    async def ask() -> None:
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(record_calls(ask, begin)())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert recording.errors == {"CancelledError": 1}


@pytest.mark.asyncio
async def test_recorded_function_that_returns_an_awaitable_ends_with_it(
    agent: Agent, begin: Begin, recording: Recording
) -> None:
    def ask(question: str) -> Awaitable[str]:
        return agent.ask_async(question)

    pending = record_calls(ask, begin)("a")
    assert inspect.isawaitable(pending)
    assert recording.calls == 0
    assert await pending == "a!"
    assert list(recording.latency) == [0.5]


def test_recorded_generator_ends_with_its_last_item(
    agent: Agent, begin: Begin, recording: Recording
) -> None:
    assert list(record_calls(agent.stream, begin)("abc")) == ["a", "b", "c"]
    measured = recording.measurement()
    assert list(measured.samples["latency"]) == [1.5]
    assert list(measured.samples["ttft"]) == [0.5]
    assert list(measured.samples["itl"]) == [0.5, 0.5]


def test_recorded_generator_begins_with_its_first_item(
    agent: Agent, begin: Begin, recording: Recording, clock: FakeClock
) -> None:
    items = record_calls(agent.stream, begin)("a")
    clock.advance(8.0)
    assert list(items) == ["a"]
    assert list(recording.latency) == [0.5]


def test_recorded_generator_that_is_closed_is_no_error(
    agent: Agent, begin: Begin, recording: Recording
) -> None:
    items: Any = record_calls(agent.stream, begin)("abc")
    assert next(items) == "a"
    items.close()
    assert (list(recording.latency), recording.errors) == ([0.5], {})


def test_recorded_generator_that_raises_is_an_error(begin: Begin, recording: Recording) -> None:
    def stream() -> Iterator[str]:
        yield "a"
        raise ConnectionError

    items = record_calls(stream, begin)()
    assert next(items) == "a"
    with pytest.raises(ConnectionError):
        next(items)
    assert (list(recording.latency), recording.errors) == ([], {"ConnectionError": 1})


@pytest.mark.asyncio
async def test_recorded_async_generator_ends_with_its_last_item(
    agent: Agent, begin: Begin, recording: Recording
) -> None:
    items = record_calls(agent.stream_async, begin)("abc")
    assert [item async for item in items] == ["a", "b", "c"]
    measured = recording.measurement()
    assert list(measured.samples["latency"]) == [1.5]
    assert list(measured.samples["itl"]) == [0.5, 0.5]


@pytest.mark.asyncio
async def test_recorded_async_generator_that_is_closed_is_no_error(
    agent: Agent, begin: Begin, recording: Recording
) -> None:
    items: Any = record_calls(agent.stream_async, begin)("abc")
    assert await anext(items) == "a"
    await items.aclose()
    assert (list(recording.latency), recording.errors) == ([0.5], {})


@pytest.mark.asyncio
async def test_recorded_async_generator_that_raises_is_an_error(
    begin: Begin, recording: Recording
) -> None:
    async def stream() -> AsyncIterator[str]:
        yield "a"
        raise ConnectionError

    items = record_calls(stream, begin)()
    assert await anext(items) == "a"
    with pytest.raises(ConnectionError):
        await anext(items)
    assert recording.errors == {"ConnectionError": 1}


@pytest.mark.asyncio
async def test_returned_async_stream_is_measured_until_its_end(
    agent: Agent, begin: Begin, recording: Recording, clock: FakeClock
) -> None:
    stream = await record_calls(agent.open_stream, begin)("ab")
    assert recording.calls == 0
    assert [item async for item in stream] == ["a", "b"]
    clock.advance(8.0)
    measured = recording.measurement()
    assert list(measured.samples["latency"]) == [1.5]
    assert list(measured.samples["ttft"]) == [1.0]  # from the call, not from the first `anext`


class Stream:
    """A stream as an SDK returns it: iterates, is a context manager, has fields."""

    status = 200

    def __init__(self, clock: FakeClock, items: str = "ab", error: Exception | None = None) -> None:
        self.events: list[str] = []
        self._clock, self._items, self._error = clock, iter(items), error

    def _next(self, end: Exception) -> str:
        self._clock.advance(0.5)
        item = next(self._items, None)
        if item is None:
            raise self._error or end
        return item

    def _enter(self) -> None:
        self.events.append("enter")

    def _exit(self) -> None:
        self.events.append("exit")


class SyncStream(Stream):
    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return self._next(StopIteration())

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(self, *error: object) -> None:
        self._exit()


class AsyncStream(Stream):
    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        return self._next(StopAsyncIteration())

    async def __aenter__(self) -> Self:
        self._enter()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._exit()


def test_returned_stream_is_measured_until_its_end(
    begin: Begin, recording: Recording, clock: FakeClock
) -> None:
    stream = record_calls(lambda: SyncStream(clock), begin)()
    assert stream.status == 200
    assert recording.calls == 0
    assert list(stream) == ["a", "b"]
    assert next(stream, "over") == "over"
    assert list(recording.latency) == [1.5]
    assert list(recording.measurement().samples["ttft"]) == [0.5]


def test_returned_stream_that_raises_is_an_error(
    begin: Begin, recording: Recording, clock: FakeClock
) -> None:
    stream = record_calls(lambda: SyncStream(clock, "a", ConnectionError()), begin)()
    assert next(stream) == "a"
    with pytest.raises(ConnectionError):
        next(stream)
    assert recording.errors == {"ConnectionError": 1}


@pytest.mark.asyncio
async def test_returned_async_stream_that_raises_is_an_error(
    begin: Begin, recording: Recording, clock: FakeClock
) -> None:
    stream = record_calls(lambda: AsyncStream(clock, "a", ConnectionError()), begin)()
    assert await anext(stream) == "a"
    with pytest.raises(ConnectionError):
        await anext(stream)
    assert recording.errors == {"ConnectionError": 1}


def test_returned_stream_ends_with_its_block(
    begin: Begin, recording: Recording, clock: FakeClock
) -> None:
    original = SyncStream(clock)
    with record_calls(lambda: original, begin)() as stream:
        assert next(stream) == "a"
    assert original.events == ["enter", "exit"]
    assert list(recording.latency) == [0.5]


@pytest.mark.asyncio
async def test_returned_async_stream_ends_with_its_block(
    begin: Begin, recording: Recording, clock: FakeClock
) -> None:
    original = AsyncStream(clock)
    async with record_calls(lambda: original, begin)() as stream:
        assert await anext(stream) == "a"
    assert original.events == ["enter", "exit"]
    assert list(recording.latency) == [0.5]


def test_returned_stream_is_recorded_once(
    begin: Begin, recording: Recording, clock: FakeClock
) -> None:
    def use() -> None:
        with record_calls(lambda: SyncStream(clock), begin)() as stream:
            assert list(stream) == ["a", "b"]
            raise KeyError

    with pytest.raises(KeyError):
        use()
    assert (recording.latency.count, recording.errors) == (1, {})


def test_block_of_a_returned_stream_that_raises_is_an_error(
    begin: Begin, recording: Recording, clock: FakeClock
) -> None:
    with pytest.raises(KeyError), record_calls(lambda: SyncStream(clock), begin)():
        raise KeyError
    assert recording.errors == {"KeyError": 1}


class Tally:
    """Counts, and what was done when it did."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def __call__(self) -> None:
        self.events.append("count")


@pytest.fixture
def tally() -> Tally:
    return Tally()


def test_counted_function_counts_before_it_works(tally: Tally) -> None:
    counted = count_calls(lambda: tally.events.append("work"), tally)
    counted()
    counted()
    assert tally.events == ["count", "work", "count", "work"]


def test_counted_function_counts_failing_calls_too(tally: Tally) -> None:
    def fail() -> None:
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        count_calls(fail, tally)()
    assert tally.events == ["count"]


def test_counted_generator_yields_its_items(agent: Agent, tally: Tally) -> None:
    assert list(count_calls(agent.stream, tally)("ab")) == ["a", "b"]
    assert tally.events == ["count"]


@pytest.mark.asyncio
async def test_counted_coroutine_counts_when_it_is_awaited(agent: Agent, tally: Tally) -> None:
    pending = count_calls(agent.ask_async, tally)("a")
    assert tally.events == []
    assert await pending == "a!"
    assert tally.events == ["count"]


@pytest.mark.asyncio
async def test_counted_async_generator_counts_once(agent: Agent, tally: Tally) -> None:
    items = count_calls(agent.stream_async, tally)("ab")
    assert [item async for item in items] == ["a", "b"]
    assert tally.events == ["count"]
