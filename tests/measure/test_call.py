"""A call while it runs, and the block that is one call."""

import contextvars
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

import pytest

from pytest_agentperf.core.errors import EmptySampleError, UsageError
from pytest_agentperf.core.usage import Usage
from pytest_agentperf.measure.call import CallContext, MeasuredBlock, RunningCall
from pytest_agentperf.measure.counting import Counters
from pytest_agentperf.measure.recording import Recording
from pytest_agentperf.measure.spending import UsageReading

from .conftest import Bench, FakeClock


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def context(clock: FakeClock, counters: Counters) -> CallContext:
    return CallContext("agent.ask", UsageReading(), counters, clock)


@pytest.fixture
def running(context: CallContext, recording: Recording) -> RunningCall:
    return RunningCall(context, recording)


def with_stream(context: CallContext, stream: Callable[[Any], Any]) -> CallContext:
    return CallContext(context.subject, context.reading, context.counters, context.clock, stream)


def test_call_lasts_from_its_begin_to_its_end(
    running: RunningCall, recording: Recording, clock: FakeClock
) -> None:
    clock.advance(0.5)
    running.end()
    assert list(recording.latency) == [0.5]


def test_call_may_have_begun_earlier(
    context: CallContext, recording: Recording, clock: FakeClock
) -> None:
    running = RunningCall(context, recording, clock() - 2.0)
    clock.advance(0.5)
    running.end()
    assert list(recording.latency) == [2.5]


def test_call_that_fails_is_an_error_and_no_latency(
    running: RunningCall, recording: Recording, clock: FakeClock
) -> None:
    clock.advance(0.5)
    running.fail(KeyError("a"))
    assert list(recording.latency) == []
    assert list(recording.failed) == [0.5]
    assert recording.errors == {"KeyError": 1}


def test_call_forgets_the_time_between_pause_and_resume(
    running: RunningCall, recording: Recording, clock: FakeClock
) -> None:
    clock.advance(0.5)
    running.pause()
    clock.advance(8.0)
    running.resume()
    clock.advance(0.25)
    running.end()
    assert list(recording.latency) == [0.75]


def test_first_item_sets_the_ttft_once(
    running: RunningCall, recording: Recording, clock: FakeClock
) -> None:
    clock.advance(0.5)
    running.first_item()
    clock.advance(0.5)
    running.first_item()
    running.end()
    measured = recording.measurement()
    assert list(measured.samples["ttft"]) == [0.5]
    assert list(measured.samples["itl"]) == []


def test_call_without_items_is_no_stream(running: RunningCall, recording: Recording) -> None:
    assert not running.is_stream
    running.end()
    assert "ttft" not in recording.measurement().samples


def test_iterate_yields_the_items_when_they_come(
    running: RunningCall, recording: Recording, clock: FakeClock
) -> None:
    def stream() -> Iterator[str]:
        for item, seconds in (("a", 0.5), ("", 0.25), ("b", 0.25)):
            clock.advance(seconds)
            yield item

    items = running.iterate(stream())
    assert next(items) == "a"
    assert list(items) == ["", "b"]
    running.end()
    assert running.is_stream
    measured = recording.measurement()
    assert list(measured.samples["ttft"]) == [0.5]
    assert list(measured.samples["itl"]) == [0.5]
    assert list(measured.samples["latency"]) == [1.0]


@pytest.mark.asyncio
async def test_iterate_yields_the_items_of_an_async_stream(
    running: RunningCall, recording: Recording, clock: FakeClock
) -> None:
    async def stream() -> AsyncIterator[str]:
        for item in "ab":
            await clock.sleep(0.5)
            yield item

    assert [item async for item in running.iterate(stream())] == ["a", "b"]
    running.end()
    assert list(recording.measurement().samples["ttft"]) == [0.5]
    assert list(recording.measurement().samples["itl"]) == [0.5]


def test_iterate_counts_the_time_of_the_consumer_as_a_gap(
    running: RunningCall, recording: Recording, clock: FakeClock
) -> None:
    for _ in running.iterate(iter("ab")):
        clock.advance(0.5)
    running.end()
    assert list(recording.measurement().samples["itl"]) == [0.5]


def test_iterate_takes_any_iterable(running: RunningCall) -> None:
    assert list(running.iterate(["a"])) == ["a"]  # type: ignore[call-overload]


def test_iterate_passes_the_error_of_the_stream_on(running: RunningCall) -> None:
    def stream() -> Iterator[str]:
        yield "a"
        raise ConnectionError

    items = running.iterate(stream())
    assert next(items) == "a"
    with pytest.raises(ConnectionError):
        next(items)


def test_iterate_refuses_what_is_no_stream(running: RunningCall) -> None:
    with pytest.raises(UsageError, match=r"iterate\(\) of agent.ask got a int; expected a stream"):
        running.iterate(7)  # type: ignore[call-overload]


def test_call_reads_usage_from_its_result(running: RunningCall, recording: Recording) -> None:
    running.end({"input_tokens": 3, "output_tokens": 4})
    assert list(recording.measurement().samples["tokens_per_call"]) == [7]


def test_call_without_a_result_reads_no_usage(running: RunningCall, recording: Recording) -> None:
    running.end()
    measured = recording.measurement()
    assert "tokens_per_call" not in {*measured.samples, *measured.unknown}


def test_call_reads_usage_from_the_response_that_the_user_gave(
    running: RunningCall, recording: Recording
) -> None:
    running.usage({"input_tokens": 1, "output_tokens": 1})
    list(running.iterate(iter([{"usage": {"input_tokens": 30, "output_tokens": 40}}])))
    running.end({"input_tokens": 300, "output_tokens": 400})
    assert list(recording.measurement().samples["tokens_per_call"]) == [2]


def test_call_reads_usage_from_the_items_of_a_stream(
    running: RunningCall, recording: Recording, clock: FakeClock
) -> None:
    chunks = [{"choices": []}, {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}]
    list(running.iterate(iter(chunks)))
    clock.advance(2.0)
    running.end()
    measured = recording.measurement()
    assert list(measured.samples["tokens_per_call"]) == [7]
    assert measured.values["output_tokens_per_second"] == 2.0


def test_users_reader_gets_the_items_of_a_stream(
    clock: FakeClock, counters: Counters, recording: Recording
) -> None:
    seen: list[object] = []

    def count(items: list[str]) -> tuple[int, int]:
        seen.append(items)
        return 1, len(items)

    reading = UsageReading(usage=count)
    running = RunningCall(CallContext("ask", reading, counters, clock), recording)
    assert running.consume(letter for letter in "abc") == ["a", "b", "c"]
    running.end(["a", "b", "c"])
    assert seen == [["a", "b", "c"]]
    assert list(recording.measurement().samples["output_tokens_per_call"]) == [3]


def test_counts_are_recorded_for_each_call(
    context: CallContext, recording: Recording, counters: Counters
) -> None:
    counters.metrics |= {"tool_calls": None, "retries": None}
    running = RunningCall(context, recording)
    with running.active():
        counters.count("tool_calls")
        counters.count("tool_calls")
    running.end()
    samples = recording.measurement().samples
    assert list(samples["tool_calls"]) == [2]
    assert list(samples["retries"]) == [0]


def test_call_that_ended_is_no_longer_in_flight(
    context: CallContext, recording: Recording, counters: Counters
) -> None:
    counters.metrics["tool_calls"] = None
    RunningCall(context, recording).end()
    RunningCall(context, recording).fail(KeyError())
    counters.count("tool_calls")
    assert counters.outside == 1


def test_consume_returns_a_plain_result_itself(running: RunningCall) -> None:
    result = {"a": 1}
    assert running.consume(result) is result
    assert not running.is_stream


@contextmanager
def opened(events: list[str], chunks: list[str]) -> Iterator[list[str]]:
    events.append("enter")
    yield chunks
    events.append("exit")


@asynccontextmanager
async def opened_async(events: list[str], chunks: list[str]) -> AsyncIterator[list[str]]:
    events.append("enter")
    yield chunks
    events.append("exit")


async def letters(word: str) -> AsyncIterator[str]:
    for letter in word:
        yield letter


def test_stream_hook_enters_the_result_and_iterates(
    context: CallContext, recording: Recording
) -> None:
    events: list[str] = []

    def stream(chunks: list[str]) -> Iterator[str]:
        events.append("stream")
        return iter(chunks)

    running = RunningCall(with_stream(context, stream), recording)
    assert running.consume(opened(events, ["a", "b"])) == ["a", "b"]
    assert events == ["enter", "stream", "exit"]


def test_stream_hook_takes_a_result_that_cannot_be_entered(
    context: CallContext, recording: Recording
) -> None:
    running = RunningCall(with_stream(context, lambda text: iter(text.split())), recording)
    assert running.consume("a b") == ["a", "b"]


def test_stream_hook_that_returns_no_stream_is_an_error(
    context: CallContext, recording: Recording
) -> None:
    running = RunningCall(with_stream(context, lambda text: 7), recording)
    with pytest.raises(UsageError, match="got a int; expected a stream"):
        running.consume("a b")


@pytest.mark.asyncio
async def test_stream_hook_enters_an_async_result(
    context: CallContext, recording: Recording
) -> None:
    events: list[str] = []
    running = RunningCall(with_stream(context, letters), recording)
    result = opened_async(events, "ab")  # type: ignore[arg-type]
    assert await running.consume_async(result) == ["a", "b"]
    assert events == ["enter", "exit"]


@pytest.mark.asyncio
async def test_stream_hook_of_an_async_call_may_be_sync(
    context: CallContext, recording: Recording
) -> None:
    events: list[str] = []
    running = RunningCall(with_stream(context, iter), recording)
    assert await running.consume_async(opened(events, ["a"])) == ["a"]
    assert await running.consume_async(["b"]) == ["b"]
    assert events == ["enter", "exit"]


@pytest.mark.asyncio
async def test_stream_hook_reads_usage_from_what_was_entered(
    context: CallContext, recording: Recording
) -> None:
    class Run:
        usage = Usage(3, 4)

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *error: object) -> None:
            pass

    running = RunningCall(with_stream(context, lambda run: letters("ab")), recording)
    result = await running.consume_async(Run())
    running.end(result)
    assert list(recording.measurement().samples["tokens_per_call"]) == [7]


@pytest.mark.asyncio
async def test_consume_async_takes_streams_of_either_kind(
    context: CallContext, recording: Recording
) -> None:
    running = RunningCall(context, recording)
    assert await running.consume_async(letters("ab")) == ["a", "b"]
    assert await running.consume_async(letter for letter in "ab") == ["a", "b"]
    assert await running.consume_async("ab") == "ab"


@pytest.fixture
def block(context: CallContext, recording: Recording) -> MeasuredBlock:
    return MeasuredBlock(context, recording)


def test_block_is_one_call(block: MeasuredBlock, recording: Recording, clock: FakeClock) -> None:
    clock.advance(8.0)
    with block as call:
        clock.advance(0.5)
        assert isinstance(call, RunningCall)
    clock.advance(8.0)
    assert list(recording.latency) == [0.5]


@pytest.mark.asyncio
async def test_block_may_be_async(
    block: MeasuredBlock, recording: Recording, clock: FakeClock
) -> None:
    async with block as call:
        await clock.sleep(0.25)
        call.first_item()
        await clock.sleep(0.25)
    assert list(recording.latency) == [0.5]
    assert list(recording.measurement().samples["ttft"]) == [0.25]


def test_block_that_raises_is_an_error_and_raises(
    block: MeasuredBlock, recording: Recording, clock: FakeClock
) -> None:
    def use() -> None:
        with block:
            clock.advance(0.5)
            raise KeyError

    with pytest.raises(KeyError):
        use()
    assert recording.errors == {"KeyError": 1}
    assert list(recording.failed) == [0.5]


@pytest.mark.asyncio
async def test_async_block_that_raises_is_an_error_and_raises(
    block: MeasuredBlock, recording: Recording
) -> None:
    with pytest.raises(KeyError):
        async with block:
            raise KeyError
    assert recording.errors == {"KeyError": 1}


@pytest.mark.parametrize("is_nested", [False, True])
def test_block_entered_twice_is_refused(
    block: MeasuredBlock, recording: Recording, is_nested: bool
) -> None:
    message = "agent.ask was entered again; call perf_timer.measure for each block"
    if is_nested:
        with block, pytest.raises(UsageError, match=message), block:
            pass
    else:
        with block:
            pass
        with pytest.raises(UsageError, match=message), block:
            pass
    assert recording.calls == 1


def test_block_that_was_never_entered_exits_without_a_trace(
    block: MeasuredBlock, recording: Recording
) -> None:
    block.__exit__(None, None, None)
    assert recording.calls == 0


@pytest.mark.parametrize("error", [None, KeyError])
def test_block_restores_the_context(
    context: CallContext,
    counters: Counters,
    recording: Recording,
    error: type[Exception] | None,
) -> None:
    counters.metrics["tool_calls"] = None
    before = dict(contextvars.copy_context())
    try:
        with MeasuredBlock(context, recording):
            assert dict(contextvars.copy_context()) != before
            if error:
                raise error
    except KeyError:
        pass
    assert dict(contextvars.copy_context()) == before


def test_nested_blocks_count_for_the_outer_one_too(
    context: CallContext, counters: Counters, recording: Recording, clock: FakeClock
) -> None:
    counters.metrics["tool_calls"] = None
    inner = Recording("inner")
    with MeasuredBlock(context, recording):
        clock.advance(0.5)
        counters.count("tool_calls")
        with MeasuredBlock(context, inner):
            clock.advance(0.25)
            counters.count("tool_calls")
        counters.count("tool_calls")
    assert list(inner.latency) == [0.25]
    assert list(recording.latency) == [0.75]
    assert list(inner.measurement().samples["tool_calls"]) == [1]
    assert list(recording.measurement().samples["tool_calls"]) == [3]


def test_usage_of_several_responses_in_a_block_adds_up(bench: Bench) -> None:
    with bench.timer.measure("plan") as call:
        call.usage({"usage": {"prompt_tokens": 50, "completion_tokens": 5}})
        call.usage({"usage": {"prompt_tokens": 20, "completion_tokens": 2}})
        call.usage((3, 4))
        call.usage(6)
    assert bench.timer["plan"].tokens_per_call == 90


def test_usage_of_a_block_is_unknown_where_one_response_reports_none(bench: Bench) -> None:
    with bench.timer.measure("plan") as call:
        call.usage({"usage": {"prompt_tokens": 50, "completion_tokens": 5}})
        call.usage("no usage")
        call.usage({"usage": {"prompt_tokens": 50, "completion_tokens": 5}})
    with pytest.raises(EmptySampleError, match="returned str, which reports no usage"):
        _ = bench.timer["plan"].tokens_per_call


def test_call_that_returns_one_of_several_responses_says_so(bench: Bench) -> None:
    class Agent:
        def complete(self) -> dict[str, object]:
            return {"choices": [], "usage": {"prompt_tokens": 50, "completion_tokens": 5}}

        def ask(self) -> dict[str, object]:
            self.complete()
            return self.complete()

    agent = Agent()
    bench.timer.count(agent, "complete", metric="llm_calls")
    bench.timer(agent.ask)
    (note,) = bench.timings.measurements()[0].notes
    assert "tokens and cost are of that one alone" in note
