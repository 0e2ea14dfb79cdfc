"""Usage: read from real responses, from the same as dicts, and from what users state."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock

import pytest
from anthropic.types import Message as AnthropicMessage
from anthropic.types import (
    MessageDeltaUsage,
    RawContentBlockDeltaEvent,
    RawMessageDeltaEvent,
    RawMessageStartEvent,
    RawMessageStopEvent,
    TextDelta,
)
from anthropic.types.raw_message_delta_event import Delta
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.outputs.generation import Generation
from openai.types import CompletionUsage, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response
from pydantic_ai import Agent, ModelMessage, ModelResponse, RequestUsage, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel as CannedModel

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.usage import Usage
from pytest_agentperf.measure.usage import as_usage, has_no_usage, read_stream_usage, read_usage


def completion(usage: dict[str, Any] | None) -> ChatCompletion:
    message = {"role": "assistant", "content": "Paris"}
    return ChatCompletion.model_validate(
        {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4o-2024-08-06",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": usage,
        }
    )


def chunk(content: str | None, usage: dict[str, Any] | None = None) -> ChatCompletionChunk:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": None}
    return ChatCompletionChunk.model_validate(
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "gpt-4o",
            "choices": [] if content is None else [choice],
            "usage": usage,
        }
    )


def response(usage: dict[str, Any] | None) -> Response:
    return Response.model_validate(
        {
            "id": "r",
            "object": "response",
            "created_at": 1,
            "model": "gpt-4o",
            "output": [],
            "parallel_tool_calls": False,
            "tool_choice": "auto",
            "tools": [],
            "usage": usage,
        }
    )


def claude(usage: dict[str, Any]) -> AnthropicMessage:
    return AnthropicMessage.model_validate(
        {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": [{"type": "text", "text": "Paris"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": usage,
        }
    )


OPENAI_USAGE = {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100}
OPENAI_CACHED = {**OPENAI_USAGE, "prompt_tokens_details": {"cached_tokens": 64}}
RESPONSES_USAGE = {
    "input_tokens": 90,
    "output_tokens": 10,
    "total_tokens": 100,
    "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 3},
}
CLAUDE_CACHED = {
    "input_tokens": 20,
    "output_tokens": 10,
    "cache_read_input_tokens": 64,
    "cache_creation_input_tokens": 6,
}
LANGCHAIN_USAGE: Any = {
    "input_tokens": 90,
    "output_tokens": 10,
    "total_tokens": 100,
    "input_token_details": {"cache_read": 64},
}
AI_MESSAGE = AIMessage(
    content="Paris",
    usage_metadata=LANGCHAIN_USAGE,
    response_metadata={"model_name": "gpt-4o"},
)

# What a response says, with the cached tokens inside of the input as OpenAI and langchain have
# them: 90 sent, 64 of these cached. Anthropic has them beside: 20 + 64 read + 6 written = 90.
RESPONSES = [
    pytest.param(
        completion(OPENAI_USAGE), Usage(90, 10, model="gpt-4o-2024-08-06"), id="openai-chat"
    ),
    pytest.param(
        completion(OPENAI_CACHED),
        Usage(90, 10, 64, model="gpt-4o-2024-08-06"),
        id="openai-chat-cached",
    ),
    pytest.param(response(RESPONSES_USAGE), Usage(90, 10, 64, model="gpt-4o"), id="openai-resp"),
    pytest.param(
        claude({"input_tokens": 20, "output_tokens": 10}),
        Usage(20, 10, model="claude-sonnet-4-5"),
        id="anthropic",
    ),
    pytest.param(
        claude(CLAUDE_CACHED), Usage(90, 10, 64, model="claude-sonnet-4-5"), id="anthropic-cached"
    ),
    pytest.param(AI_MESSAGE, Usage(90, 10, 64, model="gpt-4o"), id="langchain"),
]


@pytest.mark.parametrize("as_dict", [False, True], ids=["object", "dict"])
@pytest.mark.parametrize(("reply", "expected"), RESPONSES)
def test_usage_is_read_from_a_response_and_from_its_dict(
    reply: Any, expected: Usage, as_dict: bool
) -> None:
    assert read_usage(reply.model_dump() if as_dict else reply) == expected


def test_usage_of_an_embedding_has_no_output() -> None:
    reply = CreateEmbeddingResponse.model_validate(
        {
            "object": "list",
            "data": [],
            "model": "text-embedding-3-small",
            "usage": {"prompt_tokens": 5, "total_tokens": 5},
        }
    )
    assert read_usage(reply) == Usage(5, 0, model="text-embedding-3-small")


def test_usage_object_is_itself_a_response() -> None:
    counts = CompletionUsage(prompt_tokens=90, completion_tokens=10, total_tokens=100)
    assert read_usage(counts) == Usage(90, 10)
    assert read_usage({"input_tokens": 3, "output_tokens": 4}) == Usage(3, 4)


@pytest.mark.parametrize(
    "reply",
    [
        completion(None),
        completion({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}),
        response(None),
        claude({"input_tokens": 0, "output_tokens": 0}),
        AIMessage(content="Paris"),
        HumanMessage(content="Where?"),
        LLMResult(generations=[[Generation(text="Paris")]], llm_output=None),
        LLMResult(generations=[[Generation(text="Paris")]], llm_output={}),
        {"answer": "Paris"},
        {"usage": "much"},
        {"usage": {"prompt_tokens": "9", "completion_tokens": "4"}},
        {"usage": {"prompt_tokens": True, "completion_tokens": True}},
        {"usage": {"input_tokens": 5}},
        {"messages": "none"},
        {"messages": []},
        {"messages": [HumanMessage(content="Where?")]},
        object(),
        None,
        "Paris",
        3,
        [completion(OPENAI_USAGE)],
    ],
)
def test_usage_that_is_not_said_is_unknown(reply: object) -> None:
    assert read_usage(reply) is None


@pytest.mark.parametrize(("sent", "received"), [(1, 0), (0, 1)])
def test_usage_with_one_zero_is_known(sent: int, received: int) -> None:
    counts = {"prompt_tokens": sent, "completion_tokens": received}
    assert read_usage({"usage": counts}) == Usage(sent, received)


def test_usage_of_an_llm_result_is_in_its_output() -> None:
    generation = ChatGeneration(message=AIMessage(content="Paris"))
    output = {"token_usage": OPENAI_CACHED, "model_name": "gpt-4o"}
    result = LLMResult(generations=[[generation]], llm_output=output)
    assert read_usage(result) == Usage(90, 10, 64, model="gpt-4o")
    assert read_usage(result.model_dump()) == Usage(90, 10, 64, model="gpt-4o")


def messages() -> list[Any]:
    return [
        HumanMessage(content="What is 2 + 2?"),
        AIMessage(
            content="4",
            usage_metadata={"input_tokens": 500, "output_tokens": 500, "total_tokens": 1000},
        ),
        HumanMessage(content="And the capital of France?"),
        AI_MESSAGE,
        ToolMessage(content="Paris", tool_call_id="t"),
        AIMessage(
            content="Paris.",
            usage_metadata={"input_tokens": 110, "output_tokens": 5, "total_tokens": 115},
        ),
    ]


@pytest.mark.parametrize("as_dict", [False, True], ids=["objects", "dicts"])
def test_usage_of_an_agent_state_is_that_of_the_messages_after_the_last_question(
    as_dict: bool,
) -> None:
    state = {"messages": [m.model_dump() if as_dict else m for m in messages()]}
    usage = read_usage(state)
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens) == (200, 15, 64)
    assert usage.model == "gpt-4o"


def test_usage_of_an_agent_state_without_a_question_is_that_of_all_messages() -> None:
    usage = read_usage(SimpleNamespace(messages=messages()[3:]))
    assert usage is not None
    assert usage.total_tokens == 215


def test_usage_of_a_pydantic_ai_run_is_that_of_all_its_requests() -> None:
    def reply(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        usage = RequestUsage(input_tokens=90, output_tokens=10, cache_read_tokens=64)
        return ModelResponse(parts=[TextPart("Paris")], usage=usage, model_name="gpt-4o")

    result = asyncio.run(Agent(FunctionModel(reply, model_name="gpt-4o")).run("Where?"))
    usage = read_usage(result)
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens) == (90, 10, 64)
    assert usage.model == "gpt-4o"


def test_usage_of_a_pydantic_ai_test_model_is_what_the_run_says() -> None:
    result = asyncio.run(Agent(CannedModel(custom_output_text="Paris")).run("Where?"))
    said: Any = result.usage
    said = said if hasattr(said, "input_tokens") else said()  # a method in pydantic-ai 1
    usage = read_usage(result)
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (said.input_tokens, said.output_tokens)
    assert usage.output_tokens == 1  # "Paris"


def test_usage_may_be_a_method_as_in_pydantic_ai_1() -> None:
    class Result:
        def usage(self) -> RequestUsage:
            return RequestUsage(input_tokens=3, output_tokens=4)

    assert read_usage(Result()) == Usage(3, 4)


def test_cost_that_the_response_states_is_read() -> None:
    by_router = {"usage": {**OPENAI_USAGE, "cost": 0.25}, "model": "openrouter/auto"}
    assert read_usage(by_router) == Usage(90, 10, model="openrouter/auto", cost=0.25)
    by_litellm = SimpleNamespace(usage=OPENAI_USAGE, _hidden_params={"response_cost": 0.5})
    assert read_usage(by_litellm) == Usage(90, 10, cost=0.5)
    nonsense = {"usage": {**OPENAI_USAGE, "cost": True}}
    assert read_usage(nonsense) == Usage(90, 10)


@pytest.mark.filterwarnings("ignore")  # litellm's own, while it is imported
def test_usage_of_a_litellm_response_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or its import asks the network
    litellm = pytest.importorskip("litellm")
    reply = litellm.ModelResponse(
        model="gpt-4o",
        choices=[{"message": {"role": "assistant", "content": "Paris"}}],
        usage=litellm.Usage(
            prompt_tokens=90,
            completion_tokens=10,
            total_tokens=100,
            prompt_tokens_details={"cached_tokens": 64},
        ),
    )
    assert read_usage(reply) == Usage(90, 10, 64, model="gpt-4o")
    assert read_usage(reply.model_dump()) == Usage(90, 10, 64, model="gpt-4o")
    reply._hidden_params["response_cost"] = 0.125
    assert read_usage(reply) == Usage(90, 10, 64, model="gpt-4o", cost=0.125)


class Touchy:
    """A response whose every field raises."""

    @property
    def usage(self) -> object:
        raise RuntimeError("not loaded")

    @property
    def usage_metadata(self) -> object:
        raise ValueError("not loaded")

    @property
    def messages(self) -> object:
        raise KeyError("not loaded")


@pytest.mark.parametrize("reply", [Touchy(), Mock(), MagicMock(), AsyncMock()])
def test_usage_of_a_stand_in_is_unknown_and_reading_does_not_raise(reply: object) -> None:
    assert read_usage(reply) is None
    assert read_stream_usage([reply, reply]) is None


def test_usage_of_a_mock_with_numbers_is_read() -> None:
    reply = Mock(model="gpt-4o")
    reply.usage.input_tokens = 3
    reply.usage.output_tokens = 4
    assert read_usage(reply) == Usage(3, 4, model="gpt-4o")


@pytest.mark.parametrize("kind", [type(None), bool, int, str, bytes, list, tuple, set])
def test_plain_kind_has_no_usage(kind: type) -> None:
    assert has_no_usage(kind)


@pytest.mark.parametrize("kind", [dict, object, ChatCompletion, type("Text", (str,), {})])
def test_other_kind_may_have_usage(kind: type) -> None:
    assert not has_no_usage(kind)


def as_dicts(items: Sequence[Any]) -> list[dict[str, Any]]:
    return [item.model_dump() for item in items]


def test_stream_of_openai_reports_usage_in_its_last_chunk() -> None:
    items = [chunk("Pa"), chunk("ris"), chunk(None, OPENAI_CACHED)]
    assert read_stream_usage(items) == Usage(90, 10, 64, model="gpt-4o")
    assert read_stream_usage(as_dicts(items)) == Usage(90, 10, 64, model="gpt-4o")


def test_stream_with_running_totals_reports_the_last_one() -> None:
    totals = [
        {"prompt_tokens": 90, "completion_tokens": count, "total_tokens": 90 + count}
        for count in (1, 2, 3)
    ]
    items = [chunk("a", usage) for usage in totals]
    assert read_stream_usage(items) == Usage(90, 3, model="gpt-4o")


def test_stream_without_usage_is_unknown() -> None:
    assert read_stream_usage([chunk("Pa"), chunk("ris")]) is None
    assert read_stream_usage(["Pa", "ris"]) is None
    assert read_stream_usage([]) is None


def test_stream_of_responses_events_reports_usage_when_completed() -> None:
    items: list[Any] = [
        {"type": "response.created", "response": response(None)},
        {"type": "response.output_text.delta", "delta": "Paris"},
        {"type": "response.completed", "response": response(RESPONSES_USAGE)},
    ]
    assert read_stream_usage(items) == Usage(90, 10, 64, model="gpt-4o")
    objects = [SimpleNamespace(**item) for item in items]
    assert read_stream_usage(objects) == Usage(90, 10, 64, model="gpt-4o")


def claude_events(last: MessageDeltaUsage) -> list[Any]:
    return [
        RawMessageStartEvent(
            type="message_start", message=claude({**CLAUDE_CACHED, "output_tokens": 1})
        ),
        RawContentBlockDeltaEvent(
            type="content_block_delta", index=0, delta=TextDelta(type="text_delta", text="Paris")
        ),
        RawMessageDeltaEvent(type="message_delta", delta=Delta(stop_reason=None), usage=last),
        RawMessageStopEvent(type="message_stop"),
    ]


def test_stream_of_anthropic_adds_the_output_to_the_input_of_its_start() -> None:
    items = claude_events(MessageDeltaUsage(output_tokens=10))
    assert read_stream_usage(items) == Usage(90, 10, 64, model="claude-sonnet-4-5")
    assert read_stream_usage(as_dicts(items)) == Usage(90, 10, 64, model="claude-sonnet-4-5")


def test_stream_of_anthropic_that_began_before_its_start_is_unknown() -> None:
    items = claude_events(MessageDeltaUsage(output_tokens=10))[1:]
    assert read_stream_usage(items) is None


def test_stream_of_langchain_adds_its_chunks_up() -> None:
    def part(sent: int, received: int) -> AIMessageChunk:
        counts = {"input_tokens": sent, "output_tokens": received, "total_tokens": sent + received}
        return AIMessageChunk(content="a", usage_metadata=counts)  # type: ignore[arg-type]

    items = [part(90, 0), AIMessageChunk(content="b"), part(0, 4), part(0, 6)]
    usage = read_stream_usage(items)
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (90, 10, 100)
    assert read_stream_usage(as_dicts(items)) == usage


async def pydantic_ai_events() -> list[Any]:
    async with Agent(CannedModel()).run_stream_events("Where?") as events:
        return [event async for event in events]


@pytest.mark.asyncio
async def test_stream_of_pydantic_ai_events_reports_the_usage_of_its_result() -> None:
    usage = read_stream_usage(await pydantic_ai_events())
    assert usage is not None
    assert usage.input_tokens
    assert usage.output_tokens == 4  # "success (no tool calls)"


READINGS: list[tuple[object, Usage | None]] = [
    (None, None),
    (7, Usage(None, None, total=7)),
    (0, Usage(None, None, total=0)),
    ((3, 4), Usage(3, 4)),
    ([3, 4], Usage(3, 4)),
    (Usage(3, 4, model="m"), Usage(3, 4, model="m")),
    ({"input_tokens": 3, "output_tokens": 4}, Usage(3, 4)),
    ({"prompt_tokens": 3, "completion_tokens": 4}, Usage(3, 4)),
    (completion(OPENAI_USAGE), Usage(90, 10, model="gpt-4o-2024-08-06")),
]


@pytest.mark.parametrize(("stated", "expected"), READINGS)
def test_stated_usage_is_a_number_a_pair_counts_a_response_or_unknown(
    stated: object, expected: Usage | None
) -> None:
    assert as_usage(stated, "count") == expected


@pytest.mark.parametrize(
    "stated", ["7", 7.0, True, -1, (1, -2), (-1, 2), (1, 2, 3), {"tokens": 7}, object(), [], ()]
)
def test_stated_usage_that_cannot_be_meant_is_refused(stated: object) -> None:
    with pytest.raises(UsageError, match=r"usage=count returned .*; expected a number of tokens"):
        as_usage(stated, "count")


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_anthropic_input_is_the_sum_of_its_parts(
    fresh: int, read: int, written: int, received: int
) -> None:
    usage = read_usage(
        {
            "usage": {
                "input_tokens": fresh,
                "output_tokens": received,
                "cache_read_input_tokens": read,
                "cache_creation_input_tokens": written,
            }
        }
    )
    if fresh + read + written + received == 0:
        assert usage is None
    else:
        assert usage == Usage(fresh + read + written, received, read)
        assert usage.cached_tokens <= (usage.input_tokens or 0)
