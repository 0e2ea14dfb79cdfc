import asyncio
import contextlib
import gc
import http.client
import json
import logging
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import freezegun
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from pytest_agentperf.core.errors import UnitError, UsageError
from pytest_agentperf.integrations.connection import Connection, Listener
from pytest_agentperf.integrations.llm_server import LLMServer, Reply, Request
from pytest_agentperf.integrations.loop_thread import LoopThread
from pytest_agentperf.integrations.request_log import Entry, RequestLog

PATIENCE = 10.0  # a hang fails; nothing here needs nearly as long
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
STREAM = {"model": "m", "messages": HELLO, "stream": True}


@pytest.fixture
def server() -> Iterator[LLMServer]:
    with LLMServer() as server:
        yield server


@pytest.fixture
def client(server: LLMServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.url, api_key="none", max_retries=0, timeout=PATIENCE) as client:
        yield client


def chunks(client: OpenAI, **options: Any) -> list[Any]:
    with client.chat.completions.create(
        model="m", messages=HELLO, stream=True, **options
    ) as stream:
        return list(stream)


def texts(stream: list[Any], field: str = "content") -> list[str]:
    deltas = [chunk.choices[0].delta for chunk in stream if chunk.choices]
    return [text for delta in deltas if (text := getattr(delta, field, None))]


def connect(server: LLMServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port(server)), timeout=PATIENCE)


def port(server: LLMServer) -> int:
    return int(server.url.removesuffix("/v1").rpartition(":")[2])


def post(body: object, headers: str = "") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{headers}"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def read_until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        part = sock.recv(65536)
        assert part, f"the server closed the connection after {data!r}"
        data += part
    return data


def call(server: LLMServer, body: object = None) -> Any:
    """Return the JSON that answers *body*, by urllib."""
    data = json.dumps({"messages": HELLO} if body is None else body).encode()
    request = urllib.request.Request(f"{server.url}/chat/completions", data)  # noqa: S310
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:  # noqa: S310
        return json.load(response)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


# Answers


def test_answer_echoes_the_model_and_counts_a_token_a_word(
    server: LLMServer, client: OpenAI
) -> None:
    server.reply(Reply(text="one two three", prompt_tokens=7, cached_tokens=5))
    answer = client.chat.completions.create(model="gpt-x", messages=HELLO)
    assert answer.model == "gpt-x"
    assert answer.choices[0].message.content == "one two three"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 5
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 3)
    assert answer.usage.total_tokens == 10


def test_answer_names_the_model_of_the_reply(server: LLMServer, client: OpenAI) -> None:
    server.reply(Reply(model="other"))
    assert client.chat.completions.create(model="m", messages=HELLO).model == "other"
    assert client.chat.completions.create(model="m", messages=HELLO).model == "m"


def test_stream_begins_with_the_role_and_ends_with_a_reason(client: OpenAI) -> None:
    first, *_, last = chunks(client)
    assert first.choices[0].delta.role == "assistant"
    assert first.choices[0].delta.content == ""
    assert last.choices[0].finish_reason == "stop"
    assert not last.choices[0].delta.content


def test_stream_splits_the_text_into_as_many_chunks_as_tokens(
    server: LLMServer, client: OpenAI
) -> None:
    server.reply(Reply(text="a text of six whole words", tokens=4))
    parts = texts(chunks(client))
    assert len(parts) == 4
    assert "".join(parts) == "a text of six whole words"


@pytest.mark.parametrize(
    ("reply", "options", "expected"),
    [
        (Reply(text="a b"), {"stream_options": {"include_usage": True}}, [2]),
        (Reply(text="a b", tokens=1), {"stream_options": {"include_usage": True}}, [1]),
        (Reply(text="a b"), {"stream_options": {"include_usage": False}}, []),
        (Reply(text="a b"), {}, []),
        (Reply(text="a b", usage=False), {"stream_options": {"include_usage": True}}, []),
    ],
)
def test_stream_ends_with_the_usage_when_the_request_includes_it(
    server: LLMServer,
    client: OpenAI,
    reply: Reply,
    options: dict[str, Any],
    expected: list[int],
) -> None:
    server.reply(reply)
    stream = chunks(client, **options)
    assert [chunk.usage.completion_tokens for chunk in stream if chunk.usage] == expected
    assert [bool(chunk.choices) for chunk in stream].count(False) == len(expected)


def test_answer_has_no_usage_when_the_reply_has_none(server: LLMServer, client: OpenAI) -> None:
    server.reply(Reply(usage=False))
    assert client.chat.completions.create(model="m", messages=HELLO).usage is None


def test_reasoning_is_streamed_before_the_text(server: LLMServer, client: OpenAI) -> None:
    server.reply(Reply(reasoning="let me see", text="It is 4."))
    stream = chunks(client, stream_options={"include_usage": True})
    assert texts(stream, "reasoning_content") == ["let", " me", " see"]
    assert texts(stream) == ["It", " is", " 4."]
    assert stream[4].choices[0].delta.content == "It"
    assert stream[-1].usage.completion_tokens == 6
    assert stream[-1].usage.completion_tokens_details.reasoning_tokens == 3
    assert len(server.requests[-1].items) == 6


def test_reasoning_is_part_of_an_answer_that_is_not_streamed(server: LLMServer) -> None:
    server.reply(Reply(reasoning="let me see", text="It is 4."))
    message = call(server)["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("let me see", "It is 4.")


def test_tool_calls_are_answered_without_text(server: LLMServer, client: OpenAI) -> None:
    server.reply(Reply(tool_calls=(("search", {"query": "x"}), ("now", {}))))
    answer = client.chat.completions.create(model="m", messages=HELLO)
    calls: Any = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content is None
    assert [call.function.name for call in calls] == ["search", "now"]
    assert json.loads(calls[0].function.arguments) == {"query": "x"}
    assert calls[0].id != calls[1].id


def test_tool_calls_are_streamed_by_name_and_arguments(server: LLMServer, client: OpenAI) -> None:
    server.reply(Reply(text="I look.", tool_calls=(("search", {"query": "x"}),)))
    stream = chunks(client)
    calls = [call for chunk in stream for call in chunk.choices[0].delta.tool_calls or ()]
    assert texts(stream) == ["I", " look."]
    assert (calls[0].function.name, calls[0].function.arguments) == ("search", "")
    assert json.loads(calls[1].function.arguments) == {"query": "x"}
    assert stream[-1].choices[0].finish_reason == "tool_calls"
    assert len(server.requests[-1].items) == 2


@pytest.mark.asyncio
async def test_stream_reaches_an_async_client(server: LLMServer) -> None:
    async with AsyncOpenAI(base_url=server.url, api_key="none", timeout=PATIENCE) as client:
        stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)
        parts = texts([chunk async for chunk in stream])
    assert "".join(parts) == "This is a reply of the test server."


def test_stream_is_made_of_server_sent_events(server: LLMServer) -> None:
    with connect(server) as sock:
        sock.sendall(post(STREAM, "Connection: close\r\n"))
        head, _, body = read_until(sock, b"0\r\n\r\n").partition(b"\r\n\r\n")
    assert b"text/event-stream" in head
    assert b"transfer-encoding: chunked" in head
    assert body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert b'"usage"' not in body


def test_models_are_listed() -> None:
    with (
        LLMServer(models=["a", "b"]) as server,
        OpenAI(base_url=server.url, api_key="none") as client,
    ):
        assert [model.id for model in client.models.list()] == ["a", "b"]
        assert call(server)["model"] == "a"


def test_server_defaults_stand_where_the_reply_is_silent() -> None:
    with LLMServer(text="so it is", tokens=2, prompt_tokens=9) as server:
        answers = [call(server)]
        server.reply(Reply(text="x", prompt_tokens=1))
        answers.append(call(server))
    assert [answer["choices"][0]["message"]["content"] for answer in answers] == ["so it is", "x"]
    assert [answer["usage"]["completion_tokens"] for answer in answers] == [2, 1]
    assert [answer["usage"]["prompt_tokens"] for answer in answers] == [9, 1]


def test_default_text_is_as_long_as_the_tokens_ask_for() -> None:
    with LLMServer(tokens=30) as server, OpenAI(base_url=server.url, api_key="none") as client:
        assert len(texts(chunks(client))) == 30
        server.reply(Reply(tokens=3))
        assert texts(chunks(client)) == ["This", " is", " a"]


# Replies in turn and by script


def test_queued_replies_are_answered_in_turn_before_the_default(server: LLMServer) -> None:
    server.reply(Reply(text="first"), Reply(text="second"))
    server.reply(Reply(text="third"))
    answers = [call(server)["choices"][0]["message"]["content"] for _ in range(4)]
    assert answers == ["first", "second", "third", "This is a reply of the test server."]


def test_fixed_reply_answers_every_request() -> None:
    with LLMServer(reply=Reply(text="always")) as server:
        answers = [call(server)["choices"][0]["message"]["content"] for _ in range(2)]
    assert answers == ["always", "always"]


def look_and_tell(body: dict[str, Any]) -> Reply:
    if body["messages"][-1]["role"] == "tool":
        return Reply(text=f"It is {body['messages'][-1]['content']}.")
    return Reply(tool_calls=(("weather", {"city": "Rome"}),))


@pytest.mark.asyncio
async def test_script_answers_an_agent_with_a_tool_call_and_then_text() -> None:
    with LLMServer(reply=look_and_tell) as server:
        async with AsyncOpenAI(base_url=server.url, api_key="none") as client:
            model = OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client))
            agent = Agent(model)

            @agent.tool_plain
            def weather(city: str) -> str:
                return f"sunny in {city}"

            result = await agent.run("How is the weather?")
    assert result.output == "It is sunny in Rome."
    assert [len(request.body["messages"]) for request in server.requests if request.body] == [1, 3]


@pytest.mark.asyncio
async def test_stream_reaches_an_agent() -> None:
    with LLMServer(text="one two three") as server:
        async with AsyncOpenAI(base_url=server.url, api_key="none") as client:
            agent = Agent(OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client)))
            async with agent.run_stream("x") as run:
                parts = [text async for text in run.stream_text(delta=True, debounce_by=None)]
                assert run.usage.output_tokens == 3
    assert parts == ["one", " two", " three"]


def give_up(body: dict[str, Any]) -> NoReturn:
    pytest.fail("no such conversation")  # not an Exception but a BaseException


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (lambda body: body["nothing"], "KeyError: 'nothing'"),
        (lambda body: "text", "the reply script returned 'text'; expected a Reply"),
        (lambda body: Reply(cached_tokens=21), "at most the 20 tokens of the prompt"),
        (give_up, "no such conversation"),
    ],
)
def test_script_that_fails_is_answered_with_its_error_and_not_tried_again(
    script: Callable[[dict[str, Any]], Reply], message: str
) -> None:
    with (
        LLMServer(reply=script) as server,
        OpenAI(base_url=server.url, api_key="none", max_retries=2) as client,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        client.chat.completions.create(model="m", messages=HELLO)
    assert message in str(caught.value)
    assert [request.status for request in server.requests] == [500]


# Errors, stalls and lost connections


def test_error_carries_its_message_and_when_to_retry(server: LLMServer, client: OpenAI) -> None:
    server.reply(Reply(status=429, retry_after="1.5s", text="slow down"))
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="m", messages=HELLO)
    assert "slow down" in caught.value.message
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["retry-after"] == "2"
    assert caught.value.response.headers["retry-after-ms"] == "1500"


def test_error_answers_a_stream_as_json(server: LLMServer, client: OpenAI) -> None:
    server.reply(Reply(status=500))
    with pytest.raises(openai.InternalServerError) as caught:
        chunks(client)
    assert caught.value.type == "server_error"
    assert server.requests[-1].status == 500
    assert server.requests[-1].ttft is None


def test_error_is_tried_again_by_the_client(server: LLMServer) -> None:
    server.reply(Reply(status=429, retry_after="1ms"), Reply(status=503, retry_after="1ms"))
    with OpenAI(base_url=server.url, api_key="none", max_retries=2) as client:
        client.chat.completions.create(model="m", messages=HELLO)
    assert [request.status for request in server.requests] == [429, 503, 200]


def test_error_takes_no_time_unless_it_names_one() -> None:
    with LLMServer(ttft="1h") as server:
        server.reply(Reply(status=400), Reply(status=400, ttft="20ms", stall="10ms"))
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError) as caught:
                call(server)
            caught.value.close()
    (_, slow) = server.requests
    assert slow.ended is not None
    assert slow.ended - slow.received >= 0.03


def test_stall_holds_the_stream_after_the_first_chunk(server: LLMServer, client: OpenAI) -> None:
    server.reply(Reply(text="a b c", stall="80ms"))
    assert texts(chunks(client)) == ["a", " b", " c"]
    (request,) = server.requests
    assert request.items[1] - request.received >= 0.08 - 1e-6
    assert request.itl[0] > request.itl[1]


def test_stall_delays_an_answer_that_is_not_streamed(server: LLMServer) -> None:
    server.reply(Reply(stall="50ms"))
    call(server)
    assert duration(server) >= 0.05


def test_hang_up_ends_a_stream_after_half_of_its_chunks(server: LLMServer, client: OpenAI) -> None:
    server.reply(Reply(text="a b c d", hang_up=True))
    got: list[Any] = []
    with pytest.raises(Exception, match=r"(?i)peer closed|incomplete|connection error"):  # noqa: PT012
        for chunk in client.chat.completions.create(model="m", messages=HELLO, stream=True):
            got.append(chunk)  # noqa: PERF402 - what came before the error counts
    assert texts(got) == ["a", " b"]
    assert len(server.requests[-1].items) == 2
    assert server.in_flight == 0


def test_stream_carries_the_usage_after_the_reason(server: LLMServer, client: OpenAI) -> None:
    stream = chunks(client, stream_options={"include_usage": True})
    assert stream[-2].choices[0].finish_reason == "stop"
    assert stream[-2].usage is None
    assert stream[-1].usage.total_tokens == 28


def test_hang_up_takes_the_place_of_an_answer(server: LLMServer, client: OpenAI) -> None:
    server.reply(Reply(hang_up=True))
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model="m", messages=HELLO)
    assert server.in_flight == 0
    assert client.chat.completions.create(model="m", messages=HELLO).choices


def test_client_that_leaves_ends_its_request(
    server: LLMServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    server.reply(Reply(tokens=10_000, itl="1ms"))
    with connect(server) as sock:
        sock.sendall(post(STREAM))
        read_until(sock, b'"content": "This"')
        assert server.in_flight == 1
        assert server.requests[-1].ended is None
    wait_until(lambda: server.in_flight == 0)
    (request,) = server.requests
    assert request.ended is not None
    assert 0 < len(request.items) < 10_000
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


# HTTP


def test_connection_is_kept_for_the_next_request(server: LLMServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port(server), timeout=PATIENCE)
    connection.connect()
    sock = connection.sock
    for body in (STREAM, {"messages": HELLO}, STREAM):
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        response = connection.getresponse()
        assert response.status == 200
        response.read()
        assert connection.sock is sock
    connection.close()
    assert len(server.requests) == 3


def test_connection_is_closed_when_the_client_asks_for_it(server: LLMServer) -> None:
    with connect(server) as sock:
        sock.sendall(post({}, "Connection: close\r\n"))
        data = read_until(sock, b"}}}")
        assert b"connection: close" in data
        assert sock.recv(1) == b""


def test_requests_sent_at_once_are_answered_in_turn(server: LLMServer) -> None:
    server.reply(Reply(text="first"), Reply(text="second"))
    with connect(server) as sock:
        sock.sendall(post(STREAM) + post({}) + b"GET /v1/models HTTP/1.1\r\n\r\n")
        data = read_until(sock, b"owned_by")
    assert data.index(b"first") < data.index(b"[DONE]") < data.index(b"second")
    assert server.in_flight_max == 1


def test_chunked_body_is_read(server: LLMServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port(server), timeout=PATIENCE)
    body = iter([b'{"model": "in ', b'pieces"}'])
    connection.request("POST", "/v1/chat/completions", body, encode_chunked=True)
    assert json.load(connection.getresponse())["model"] == "in pieces"
    connection.close()


def test_client_that_expects_leave_to_send_the_body_gets_it(server: LLMServer) -> None:
    head, _, body = post({}, "Expect: 100-continue\r\n").partition(b"{")
    with connect(server) as sock:
        sock.sendall(head)
        assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"{" + body)
        assert read_until(sock, b"}}}").startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("body", [b"{", b"[1]", b"", b"\xff", b"[" * 100_000])
def test_body_that_is_no_json_object_is_refused(server: LLMServer, body: bytes) -> None:
    with connect(server) as sock:
        sock.sendall(post(body) + post({}))
        data = read_until(sock, b"chatcmpl")
    assert data.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"invalid_request_error" in data
    assert server.requests[0].body is None
    assert [request.status for request in server.requests] == [400, 200]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/embeddings"),
        ("GET", "/"),
        ("PUT", "/v1/models"),
    ],
)
def test_other_routes_are_not_found(server: LLMServer, method: str, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port(server), timeout=PATIENCE)
    connection.request(method, f"{path}?query=1")
    response = connection.getresponse()
    assert response.status == 404
    assert f"{method} {path}" in json.load(response)["error"]["message"]
    connection.request("GET", "/v1/models")
    assert connection.getresponse().status == 200
    connection.close()
    assert server.requests[0].path == path


def test_head_is_answered_without_a_body(server: LLMServer) -> None:
    with connect(server) as sock:
        sock.sendall(b"HEAD /v1 HTTP/1.1\r\n\r\nGET /v1/models HTTP/1.1\r\n\r\n")
        head, _, rest = read_until(sock, b"owned_by").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")


def test_body_that_is_too_large_is_refused_before_it_is_read(server: LLMServer) -> None:
    data = b" " * (16 * 1024 * 1024 + 1)
    request = urllib.request.Request(f"{server.url}/chat/completions", data)  # noqa: S310
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=PATIENCE)  # noqa: S310
    assert caught.value.code == 413
    assert "larger than 16777216 bytes" in json.load(caught.value)["error"]["message"]
    caught.value.close()
    assert server.requests == ()


def test_bytes_that_are_no_request_are_refused(server: LLMServer) -> None:
    with connect(server) as sock:
        sock.sendall(b"\x16\x03\x01\r\n\r\n")
        data = b"".join(iter(lambda: sock.recv(4096), b""))
        sock.sendall(b"more")
    assert data.startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_client_that_sends_without_end_is_dropped(server: LLMServer) -> None:
    server.reply(Reply(stall="1h"))
    with connect(server) as sock, pytest.raises(ConnectionError):  # noqa: PT012
        sock.sendall(post(STREAM))
        for _ in range(64):
            sock.sendall(b" " * 1024 * 1024)
    wait_until(lambda: server.in_flight == 0)


def test_server_listens_on_the_loopback_interface_alone(server: LLMServer) -> None:
    assert server.url == f"http://127.0.0.1:{port(server)}/v1"
    with connect(server) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", port(server)), timeout=PATIENCE)


def test_small_chunks_do_not_wait_for_acknowledgements(
    server: LLMServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted: list[Any] = []
    add = Listener.add

    def spy(listener: Listener, connection: Connection) -> None:
        accepted.append(connection._transport.get_extra_info("socket"))
        add(listener, connection)

    monkeypatch.setattr(Listener, "add", spy)
    with connect(server) as sock:
        sock.sendall(post(STREAM))
        read_until(sock, b"[DONE]")
        assert accepted[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# Records and time


def duration(server: LLMServer) -> float:
    request = server.requests[-1]
    assert request.ended is not None
    return request.ended - request.received


def test_request_knows_what_was_asked_and_when_its_items_went_out() -> None:
    begun = time.perf_counter()
    with (
        LLMServer(ttft="30ms", itl="5ms", tokens=4) as server,
        OpenAI(base_url=server.url, api_key="none") as client,
    ):
        chunks(client)
        ended = time.perf_counter()
    (request,) = server.requests
    assert (request.path, request.status) == ("/v1/chat/completions", 200)
    assert request.body is not None
    assert request.body["messages"] == HELLO
    assert request.first_item == request.items[0]
    assert request.ended is not None
    assert begun < request.received < request.items[0] <= request.items[-1] <= request.ended < ended
    assert request.ttft == request.items[0] - request.received
    assert len(request.itl) == 3
    assert sum(request.itl) == pytest.approx(request.items[-1] - request.items[0])


def test_items_are_sent_no_earlier_than_they_are_due() -> None:
    with (
        LLMServer(ttft="30ms", itl="5ms", tokens=20) as server,
        OpenAI(base_url=server.url, api_key="none") as client,
    ):
        chunks(client)
    (request,) = server.requests
    early = [request.received + 0.03 + k * 0.005 - sent for k, sent in enumerate(request.items)]
    assert max(early) < 1e-6


def test_answer_that_is_not_streamed_takes_as_long_as_the_stream() -> None:
    with LLMServer(ttft="30ms", itl="10ms", tokens=4) as server:
        call(server)
        assert duration(server) >= 0.06 - 1e-6
        assert server.requests[-1].first_item is None


def test_delays_of_the_reply_win_over_those_of_the_server() -> None:
    with LLMServer(ttft="1h", itl="1h") as server:
        server.reply(Reply(ttft=0.02, itl=0, tokens=100))
        call(server)
        assert duration(server) >= 0.02


def test_delays_are_kept_while_a_test_replaces_clocks_and_sleeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> NoReturn:
        raise AssertionError("the server uses what the test has replaced")

    with LLMServer(ttft="20ms", itl="5ms", tokens=3) as server:
        with monkeypatch.context() as patch:
            for module, name in [
                (time, "monotonic"),
                (time, "perf_counter"),
                (time, "sleep"),
                (time, "time"),
                (asyncio, "sleep"),
            ]:
                patch.setattr(module, name, broken)
            answer = call(server)
        assert answer["usage"]["completion_tokens"] == 3
        assert duration(server) >= 0.03 - 1e-6


def test_delays_are_kept_while_freezegun_stops_the_clock() -> None:
    with freezegun.freeze_time("2024-01-01"), LLMServer(ttft="20ms") as server:
        call(server)  # would wait for ever, here until the client's timeout
        assert duration(server) >= 0.02


def test_requests_are_remembered_up_to_a_number() -> None:
    with LLMServer(keep=3) as server:
        for number in range(5):
            call(server, {"number": number})
        assert [request.body for request in server.requests] == [
            {"number": number} for number in (2, 3, 4)
        ]


def test_log_may_grow_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    log = RequestLog(10, time.perf_counter)
    log.begin("/", None, 0.0)
    snapshot = Entry.snapshot

    def grow(entry: Entry) -> Request:
        log.begin("/", None, 0.0)
        return snapshot(entry)

    monkeypatch.setattr(Entry, "snapshot", grow)
    assert [len(log.snapshot()) for _ in range(3)] == [1, 2, 4]


def test_requests_in_flight_are_counted(server: LLMServer) -> None:
    server.reply(*[Reply(stall="1h")] * 50)
    socks = [connect(server) for _ in range(50)]
    for sock in socks:
        sock.sendall(post(STREAM))
        read_until(sock, b'"content": "This"')
    assert server.in_flight == server.in_flight_max == 50
    assert [request.in_flight for request in server.requests] == list(range(1, 51))
    for sock in socks[:20]:
        sock.close()
    wait_until(lambda: server.in_flight == 30)
    assert [request.ended is None for request in server.requests] == [False] * 20 + [True] * 30
    server.close()
    assert server.in_flight == 0
    assert server.in_flight_max == 50
    for sock in socks[20:]:
        assert sock.recv(1) == b""
        sock.close()


@pytest.mark.asyncio
async def test_streams_at_once_keep_apart() -> None:
    def echo(body: dict[str, Any]) -> Reply:
        return Reply(text=f"{body['model']} " * 20, ttft="20ms", itl="1ms")

    async def read(client: AsyncOpenAI, model: str) -> str:
        stream = await client.chat.completions.create(model=model, messages=HELLO, stream=True)
        return "".join(texts([chunk async for chunk in stream]))

    with LLMServer(reply=echo) as server:
        async with AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
            names = [f"model-{number}" for number in range(40)]
            got = await asyncio.gather(*(read(client, name) for name in names))
        assert got == [f"{name} " * 20 for name in names]
        assert {len(request.items) for request in server.requests} == {20}
        assert server.in_flight == 0
        assert 1 < server.in_flight_max <= 40


# Life and death


def refuses(server: LLMServer) -> bool:
    try:
        connect(server).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was closed just then
        return False
    return False


def test_server_refuses_connections_after_it_was_closed(server: LLMServer) -> None:
    assert not refuses(server)
    server.close()
    assert refuses(server)
    server.close()
    assert "closed" in repr(server)


def test_server_ends_when_it_is_collected() -> None:
    server = LLMServer().start()
    address = ("127.0.0.1", port(server))
    with connect(server) as sock:
        sock.sendall(post(STREAM))
        read_until(sock, b"\r\n0\r\n\r\n")
        del server
        gc.collect()
        assert sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=PATIENCE)


@pytest.mark.parametrize("turns", range(6))
def test_connection_that_is_just_being_accepted_is_dropped_with_the_server(turns: int) -> None:
    server = LLMServer().start()
    assert server._running is not None
    thread, listener = server._running

    async def close_while_accepting() -> socket.socket:
        sock = connect(server)
        for _ in range(turns):
            await asyncio.sleep(0)
        listener.close()
        return sock

    with thread.run(close_while_accepting()) as sock:
        with contextlib.suppress(ConnectionResetError):  # it was still in the backlog
            assert sock.recv(1) == b""
        server.close()
    gc.collect()  # a socket that nobody has closed would warn now


def test_servers_share_one_thread_that_keeps_no_tasks() -> None:
    with LLMServer() as one, LLMServer() as two:
        call(one)
        call(two)
        with connect(one) as sock:
            sock.sendall(post({**STREAM, "model": "x"}))
            read_until(sock, b"[DONE]")
        names = [thread.name for thread in threading.enumerate()]
    assert names.count("agentperf-llm-server") == 1
    wait_until(lambda: not asyncio.all_tasks(LoopThread.shared().loop))


def test_start_does_nothing_when_the_server_runs(server: LLMServer) -> None:
    url = server.url
    assert server.start() is server
    assert server.url == url


def test_start_is_refused_after_close(server: LLMServer) -> None:
    server.close()
    with pytest.raises(UsageError, match="was closed; make a new LLMServer"):
        server.start()


def test_url_is_refused_before_start() -> None:
    server = LLMServer()
    server.close()
    with pytest.raises(UsageError, match="no url before it runs"):
        _ = server.url
    assert "not started" in repr(server)


def test_script_may_close_its_server_and_may_not_start_another() -> None:
    errors: list[str] = []

    def script(body: dict[str, Any]) -> Reply:
        try:
            LLMServer().start()
        except UsageError as error:
            errors.append(str(error))
        own.close()
        errors.append("closed")
        return Reply()

    own = LLMServer(reply=script).start()
    with pytest.raises((ConnectionError, http.client.HTTPException, urllib.error.URLError)):
        call(own)
    assert "do it in the test" in errors[0]
    assert errors[1:] == ["closed"]
    wait_until(lambda: refuses(own))


def test_thread_that_is_held_up_is_an_error_of_the_script(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pytest_agentperf.integrations.loop_thread._PATIENCE", 0.01)
    release, entered = threading.Event(), threading.Event()

    def script(body: dict[str, Any]) -> Reply:
        entered.set()
        release.wait(PATIENCE)
        return Reply()

    server = LLMServer(reply=script).start()
    with connect(server) as sock:
        sock.sendall(post({}))
        assert entered.wait(PATIENCE)
        with pytest.raises(UsageError, match="a reply script must return at once"):
            server.close()
        release.set()
        wait_until(lambda: refuses(server))


# Arguments


@pytest.mark.parametrize("name", ["ttft", "itl"])
@pytest.mark.parametrize("value", ["999us", 0.0009, "1ns"])
def test_delay_below_a_millisecond_is_refused(name: str, value: float | str) -> None:
    message = f"^{name}={value!r}: timers cannot keep a delay below 1 ms; give 0 or at least '1ms'$"
    with pytest.raises(UnitError, match=message):
        LLMServer(**{name: value})  # type: ignore[arg-type]
    LLMServer(**{name: "1ms"})  # type: ignore[arg-type]
    LLMServer(**{name: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ttft": "5 parsecs"}, "ttft='5 parsecs': unknown unit"),
        ({"tokens": -1}, "tokens=-1: expected a whole number of 0 or more"),
        ({"tokens": True}, "tokens=True: expected a whole number"),
        ({"prompt_tokens": 1.5}, "prompt_tokens=1.5: expected a whole number"),
        ({"keep": 0}, "keep=0: expected a whole number of 1 or more"),
        ({"text": 5}, "text=5: expected text"),
        ({"text": "ab", "tokens": 3}, "'ab' in 3 tokens: a text of 2 characters"),
        ({"models": "gpt"}, "models='gpt': expected at least one name"),
        ({"models": []}, "models=\\[\\]: expected at least one name"),
        ({"reply": "text"}, "reply='text': expected a Reply or a plain function"),
        ({"reply": Reply(cached_tokens=21)}, "expected at most the 20 tokens of the prompt"),
    ],
)
def test_argument_that_cannot_work_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((UsageError, UnitError), match=message):
        LLMServer(**arguments)


def test_coroutine_function_is_refused_as_a_script() -> None:
    async def script(body: dict[str, Any]) -> Reply:
        return Reply()

    with pytest.raises(UsageError, match="a plain function"):
        LLMServer(reply=script)  # type: ignore[arg-type]


def test_reply_that_cannot_be_given_is_refused_when_it_is_queued(server: LLMServer) -> None:
    with pytest.raises(UsageError, match="reply 'text': expected a Reply"):
        server.reply(Reply(), "text")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at most the 20 tokens of the prompt"):
        server.reply(Reply(cached_tokens=21))
    server.reply(Reply(text="good"))
    assert call(server)["choices"][0]["message"]["content"] == "good"
