"""Streams: what is one, what has content, and when its items came."""

import csv
import io
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from anthropic.types import (
    InputJSONDelta,
    RawContentBlockDeltaEvent,
    RawContentBlockStopEvent,
    RawMessageStopEvent,
    TextDelta,
    ThinkingDelta,
)
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk
from openai.types.chat import ChatCompletionChunk
from pydantic_ai import (
    FinalResultEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolCallPartDelta,
)

from pytest_agentperf.measure.stream import (
    ItemClock,
    has_content,
    is_async_stream,
    is_sync_stream,
)

from .conftest import FakeClock


class SyncStream:
    """A stream as an SDK returns it: an iterator that is no generator."""

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        raise StopIteration


class AsyncStream:
    """The same for `async for`."""

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        raise StopAsyncIteration


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("stream", [generator(), SyncStream()])
def test_sync_stream_is_a_generator_or_an_iterator_of_an_sdk(stream: object) -> None:
    assert is_sync_stream(stream)
    assert not is_async_stream(stream)


@pytest.mark.parametrize("stream", [async_generator(), AsyncStream()])
def test_async_stream_is_an_async_iterator(stream: object) -> None:
    assert is_async_stream(stream)
    assert not is_sync_stream(stream)


@pytest.mark.parametrize(
    "result",
    [
        map(str, [1]),
        zip([1], [2], strict=True),
        filter(None, [1]),
        enumerate([1]),
        reversed([1]),
        iter([1]),
        itertools.count(),
        itertools.chain([1]),
        io.StringIO("a"),
        io.BytesIO(b"a"),
        csv.reader(["a"]),
        [1],
        (1,),
        {"a": 1},
        range(3),
        "text",
        None,
    ],
    ids=lambda result: type(result).__name__,
)
def test_sync_stream_is_no_container_and_no_lazy_builtin(result: object) -> None:
    assert not is_sync_stream(result)
    assert not is_async_stream(result)


def test_sync_stream_is_no_open_file(tmp_path: Path) -> None:
    path = tmp_path / "answer.txt"
    path.write_text("a\nb\n")
    with path.open() as file:
        assert not is_sync_stream(file)


def test_async_stream_is_no_async_iterable() -> None:
    class Iterable:
        def __aiter__(self) -> AsyncIterator[int]:
            return async_generator()

    assert not is_async_stream(Iterable())


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (None, False),
        ("", False),
        ("a", True),
        (" ", True),
        (b"", False),
        (b"a", True),
        ([], False),
        ([1], True),
        ((), False),
        ((1,), True),
        ({}, False),
        ({"a": 1}, True),
        (set(), False),
        ({0}, True),
        (0, True),
        (False, True),
        (object(), True),
    ],
)
def test_content_of_a_plain_item_is_not_being_empty(item: object, expected: bool) -> None:
    assert has_content(item) is expected


def chunk(delta: dict[str, Any] | None, **fields: Any) -> ChatCompletionChunk:
    """Return a chunk as OpenAI streams it; without *delta* it has no choice."""
    choice = {"index": 0, "delta": delta, "finish_reason": fields.pop("finish_reason", None)}
    return ChatCompletionChunk.model_validate(
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "gpt-4o",
            "choices": [] if delta is None else [choice],
            **fields,
        }
    )


USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
TOOL_CALL = {"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": ""}}
CHUNKS = [
    pytest.param(chunk({"role": "assistant"}), False, id="role"),
    pytest.param(chunk({"role": "assistant", "content": ""}), False, id="role-empty-content"),
    pytest.param(chunk({"content": "Hi"}), True, id="content"),
    pytest.param(chunk({"content": None, "reasoning_content": "hm"}), True, id="reasoning_content"),
    pytest.param(chunk({"reasoning": "hm"}), True, id="reasoning"),
    pytest.param(chunk({"tool_calls": [TOOL_CALL]}), False, id="tool-call"),
    pytest.param(chunk({}, finish_reason="stop"), False, id="finish"),
    pytest.param(chunk(None, usage=USAGE), False, id="usage"),
]


@pytest.mark.parametrize("as_dict", [False, True], ids=["object", "dict"])
@pytest.mark.parametrize(("item", "expected"), CHUNKS)
def test_content_of_an_openai_chunk_is_text_or_reasoning(
    item: ChatCompletionChunk, expected: bool, as_dict: bool
) -> None:
    assert has_content(item.model_dump() if as_dict else item) is expected


def test_content_of_a_chunk_may_be_in_any_choice() -> None:
    choices = [{"delta": {}}, {"delta": {"content": "b"}}]
    assert has_content({"choices": choices})
    assert not has_content({"choices": choices[:1]})


ANTHROPIC_EVENTS = [
    ({"type": "message_start", "message": {"usage": {"input_tokens": 3}}}, False),
    ({"type": "content_block_start", "content_block": {"type": "text", "text": ""}}, False),
    ({"type": "ping"}, False),
    (
        RawContentBlockDeltaEvent(
            type="content_block_delta", index=0, delta=TextDelta(type="text_delta", text="Hi")
        ),
        True,
    ),
    (
        RawContentBlockDeltaEvent(
            type="content_block_delta", index=0, delta=TextDelta(type="text_delta", text="")
        ),
        False,
    ),
    (
        RawContentBlockDeltaEvent(
            type="content_block_delta",
            index=0,
            delta=ThinkingDelta(type="thinking_delta", thinking="hm"),
        ),
        True,
    ),
    (
        RawContentBlockDeltaEvent(
            type="content_block_delta",
            index=0,
            delta=InputJSONDelta(type="input_json_delta", partial_json="{"),
        ),
        False,
    ),
    (RawContentBlockStopEvent(type="content_block_stop", index=0), False),
    ({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, False),
    (RawMessageStopEvent(type="message_stop"), False),
]


@pytest.mark.parametrize(("event", "expected"), ANTHROPIC_EVENTS)
def test_content_of_an_anthropic_event_is_a_delta_of_text(event: Any, expected: bool) -> None:
    assert has_content(event) is expected
    if not isinstance(event, dict):
        assert has_content(event.model_dump()) is expected


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"type": "response.created", "response": {}}, False),
        ({"type": "response.output_text.delta", "delta": "Hi"}, True),
        ({"type": "response.output_text.delta", "delta": ""}, False),
        ({"type": "response.reasoning_summary_text.delta", "delta": "hm"}, True),
        ({"type": "response.function_call_arguments.delta", "delta": "{"}, False),
        ({"type": "response.completed", "response": {}}, False),
    ],
)
def test_content_of_a_responses_event_is_a_delta_of_text(
    event: dict[str, Any], expected: bool
) -> None:
    assert has_content(event) is expected
    assert has_content(SimpleNamespace(**event)) is expected


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (PartStartEvent(index=0, part=TextPart(content="Hi")), True),
        (PartStartEvent(index=0, part=TextPart(content="")), False),
        (PartStartEvent(index=0, part=ThinkingPart(content="hm")), True),
        (PartStartEvent(index=0, part=ToolCallPart(tool_name="f", args="{}")), False),
        (PartDeltaEvent(index=0, delta=TextPartDelta(content_delta="Hi")), True),
        (PartDeltaEvent(index=0, delta=TextPartDelta(content_delta="")), False),
        (PartDeltaEvent(index=0, delta=ThinkingPartDelta(content_delta="hm")), True),
        (PartDeltaEvent(index=0, delta=ToolCallPartDelta(args_delta="{")), False),
        (FinalResultEvent(tool_name=None, tool_call_id=None), False),
    ],
)
def test_content_of_a_pydantic_ai_event_is_text(event: object, expected: bool) -> None:
    assert has_content(event) is expected


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (AIMessageChunk(content="Hi"), True),
        (AIMessageChunk(content=""), False),
        (AIMessageChunk(content=[{"type": "text", "text": "Hi"}]), True),
        (AIMessageChunk(content="", additional_kwargs={"reasoning_content": "hm"}), True),
        (
            AIMessageChunk(
                content="",
                usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
            ),
            False,
        ),
    ],
)
def test_content_of_a_langchain_chunk_is_content_or_reasoning(
    item: AIMessageChunk, expected: bool
) -> None:
    assert has_content(item) is expected
    assert has_content(item.model_dump()) is expected


def test_item_clock_knows_nothing_before_an_item(clock: FakeClock) -> None:
    items = ItemClock(clock(), clock)
    assert items.first is None
    assert items.count == 0
    assert list(items.gaps) == []


def test_item_clock_notes_first_item_and_gaps(clock: FakeClock) -> None:
    items = ItemClock(clock(), clock)
    for seconds in (0.5, 0.25, 2.0):
        clock.advance(seconds)
        items.item("a")
    assert items.first == 0.5
    assert list(items.gaps) == [0.25, 2.0]
    assert items.count == 3


def test_item_clock_passes_over_items_without_content(clock: FakeClock) -> None:
    items = ItemClock(clock(), clock)
    for item in ("", "a", None, "b"):
        clock.advance(1.0)
        items.item(item)
    assert items.first == 2.0
    assert list(items.gaps) == [2.0]
    assert items.count == 2


def test_item_clock_marks_a_given_moment(clock: FakeClock) -> None:
    items = ItemClock(clock(), clock)
    clock.advance(4.0)
    items.mark(clock() - 1.0)
    assert items.first == 3.0


@given(st.lists(st.tuples(st.integers(0, 64), st.booleans())))
def test_item_clock_gaps_add_up_to_the_last_item_with_content(
    steps: list[tuple[int, bool]],
) -> None:
    clock = FakeClock()
    items, started, last = ItemClock(clock(), clock), clock(), None
    for eighths, shown in steps:
        clock.advance(eighths / 8)
        items.item("a" if shown else "")
        last = clock() - started if shown else last
    assert items.count == sum(shown for _, shown in steps)
    if last is None:
        assert items.first is None
    else:
        assert (items.first or 0.0) + sum(items.gaps) == last


@pytest.mark.parametrize("is_stream", [is_sync_stream, is_async_stream])
def test_stream_is_told_by_its_type_without_iterating(
    is_stream: Callable[[object], bool],
) -> None:
    class Touchy(SyncStream, AsyncStream):
        def __next__(self) -> int:
            raise AssertionError("iterated")

        async def __anext__(self) -> int:
            raise AssertionError("iterated")

    assert is_stream(Touchy())
