"""The chat completions API of OpenAI: answers as JSON bodies and as server-sent events.

Source: the OpenAPI description openai/openai-openapi, `CreateChatCompletionResponse` and
`CreateChatCompletionStreamResponse`; ``reasoning_content`` is an extension of DeepSeek and vLLM.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from pytest_agentperf.core.units import Unit, parse_quantity
from pytest_agentperf.integrations.answer import Answer
from pytest_agentperf.integrations.reply import Reply, parse_delay

__all__ = ["Response", "Step", "completion", "error", "failure", "models", "stream"]

# Fixed, so that a test that patches `time.time` has no effect here.
_CREATED: Final = 1_700_000_000
_JSON: Final = (("content-type", "application/json"),)
_EVENTS: Final = (
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-cache"),
)


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a response.

    Attributes:
        due: Seconds after the request was read.
        data: What is sent, without the framing of HTTP.
        is_item: Whether it carries text or reasoning.
        is_last: Whether the response ends with it.
    """

    due: float
    data: bytes
    is_item: bool = False
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """What is sent for one request.

    Attributes:
        status: The status of HTTP.
        headers: Names in lower case, with values.
        steps: One that holds the whole body, or many when `is_stream`.
        is_stream: Whether the body is sent as it comes.
        hang_up: Whether the connection is dropped at the last step, which is not sent.
    """

    status: int
    headers: Sequence[tuple[str, str]]
    steps: Iterator[Step]
    is_stream: bool = False
    hang_up: bool = False


def completion(answer: Answer) -> Response:
    """Return *answer* as one JSON body."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(answer.text) if answer.text or not answer.tool_calls else None,
        "refusal": None,
    }
    if answer.reasoning:
        message["reasoning_content"] = "".join(answer.reasoning)
    if answer.tool_calls:
        message["tool_calls"] = [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for call_id, name, arguments in _calls(answer)
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(answer)}
    body = {**_head(answer, "chat.completion"), "choices": [choice]}
    if answer.usage is not None:
        body["usage"] = answer.usage
    return _whole(200, body, answer.due, hang_up=answer.hang_up)


def stream(answer: Answer, *, include_usage: bool) -> Response:
    """Return *answer* as server-sent events, encoded as they are asked for.

    Args:
        answer: What to send.
        include_usage: Whether the request asks for the usage, which then ends the stream.
    """
    usage = answer.usage if include_usage else None
    return Response(200, _EVENTS, _events(answer, usage), is_stream=True, hang_up=answer.hang_up)


def _events(answer: Answer, usage: Mapping[str, Any] | None) -> Iterator[Step]:
    """Yield the events of *answer*: the role, the chunks, and an end."""
    head = _head(answer, "chat.completion.chunk")
    # The real API sends the usage as null in all chunks but the last when it was asked for.
    shared = json.dumps(head if usage is None else {**head, "usage": None}).removesuffix("}")

    def chunk(delta: Mapping[str, Any], reason: str | None = None) -> bytes:
        # What all chunks share is encoded once: encoding is most of the work for a chunk.
        choice = f'"index": 0, "delta": {json.dumps(delta)}, "finish_reason": {json.dumps(reason)}'
        return f'data: {shared}, "choices": [{{{choice}}}]}}\n\n'.encode()

    yield Step(0, chunk({"role": "assistant", "content": "" if answer.text else None}))
    sent = len(answer.dues) - len(answer.dues) // 2 if answer.hang_up else len(answer.dues)
    items = len(answer.reasoning) + len(answer.text)
    for k, (due, delta) in enumerate(zip(answer.dues[:sent], _deltas(answer), strict=False)):
        yield Step(due, chunk(delta), is_item=k < items)
    if answer.hang_up:
        yield Step(answer.dues[sent - 1] if sent else answer.due, b"", is_last=True)
        return
    end = chunk({}, _reason(answer))
    if usage is not None:
        end += f"data: {json.dumps({**head, 'choices': [], 'usage': usage})}\n\n".encode()
    yield Step(answer.due, end + b"data: [DONE]\n\n", is_last=True)


def _deltas(answer: Answer) -> Iterator[Mapping[str, Any]]:
    """Yield what each chunk of *answer* adds, as many as it has due times."""
    for text in answer.reasoning:
        yield {"reasoning_content": text}
    for text in answer.text:
        yield {"content": text}
    for index, (call_id, name, arguments) in enumerate(_calls(answer)):
        begin = {"name": name, "arguments": ""}
        yield {
            "tool_calls": [{"index": index, "id": call_id, "type": "function", "function": begin}]
        }
        yield {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}


def models(names: Sequence[str]) -> Response:
    """Return the list of the models *names*."""
    data = [
        {"id": name, "object": "model", "created": _CREATED, "owned_by": "pytest-agentperf"}
        for name in names
    ]
    return _whole(200, {"object": "list", "data": data})


def error(reply: Reply) -> Response:
    """Return the error that *reply* asks for, at once where it names no delay."""
    headers = []
    if reply.retry_after is not None:
        # Whole seconds by RFC 9110, and what OpenAI adds to be exact.
        seconds = parse_quantity(reply.retry_after, Unit.SECONDS)
        headers.append(("retry-after", str(math.ceil(seconds))))
        headers.append(("retry-after-ms", f"{seconds * 1000:.15g}"))
    due = parse_delay("ttft", reply.ttft or 0) + parse_delay("stall", reply.stall)
    message = reply.text or f"The test server was told to answer with status {reply.status}."
    return _whole(reply.status, _error_body(reply.status, message), due, headers, reply.hang_up)


def failure(status: int, message: str) -> Response:
    """Return an error of the server's own, which no client shall try again."""
    return _whole(status, _error_body(status, message), 0, (("x-should-retry", "false"),))


_KINDS: Final[Mapping[int, tuple[str, str | None]]] = {
    HTTPStatus.UNAUTHORIZED: ("invalid_request_error", "invalid_api_key"),
    HTTPStatus.TOO_MANY_REQUESTS: ("requests", "rate_limit_exceeded"),
}


def _error_body(status: int, message: str) -> Mapping[str, Any]:
    is_fault = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    kind, code = _KINDS.get(status, ("server_error" if is_fault else "invalid_request_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _head(answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{answer.number}",
        "object": kind,
        "created": _CREATED,
        "model": answer.model,
    }


def _calls(answer: Answer) -> list[tuple[str, str, str]]:
    """Return the id, name and arguments of each tool call; ids are unique in a conversation."""
    return [
        (f"call_{answer.number}_{index}", name, arguments)
        for index, (name, arguments) in enumerate(answer.tool_calls)
    ]


def _reason(answer: Answer) -> str:
    return "tool_calls" if answer.tool_calls else "stop"


def _whole(
    status: int,
    body: Mapping[str, Any],
    due: float = 0,
    headers: Sequence[tuple[str, str]] = (),
    hang_up: bool = False,  # noqa: FBT001, FBT002 - private, by name where it matters
) -> Response:
    """Return a response that is sent in one piece."""
    steps = iter((Step(due, json.dumps(body).encode(), is_last=True),))
    return Response(status, (*_JSON, *headers), steps, hang_up=hang_up)
