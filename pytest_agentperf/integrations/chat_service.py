"""Decides what each request gets: a queued reply, a scripted one, or the default."""

import inspect
import itertools
import json
from collections import deque
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, TypeAlias

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.integrations.answer import Defaults, make_answer
from pytest_agentperf.integrations.chat_api import (
    Response,
    completion,
    error,
    failure,
    models,
    stream,
)
from pytest_agentperf.integrations.reply import Reply

__all__ = ["ChatService", "ReplySource", "parse_json"]

ReplySource: TypeAlias = Callable[[dict[str, Any]], Reply]
"""Takes the JSON body of a request and returns the reply to it, at once."""


def parse_json(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in *body*, None where there is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


class ChatService:
    """Answers requests in the server's thread; any thread may queue replies.

    Args:
        source: What answers when no reply is queued.
        defaults: What stands where a reply is silent.
        models: Names of models, at least one; the first is answered with when a request asks for
            none.
    """

    def __init__(
        self, source: Reply | ReplySource | None, defaults: Defaults, models: Sequence[str]
    ) -> None:
        self._source = _parse_source(source)
        self._defaults = defaults
        self._models = models
        self._queue: deque[Reply] = deque()
        self._numbers = itertools.count(1)
        self._check(self._source if isinstance(self._source, Reply) else Reply())

    def enqueue(self, replies: Sequence[Reply]) -> None:
        """Answer the next requests with *replies*, in their order.

        Raises:
            UsageError: One of them is no reply, or does not go with the defaults.
        """
        for reply in replies:
            self._check(reply)
        self._queue.extend(replies)

    def respond(self, method: str, path: str, body: dict[str, Any] | None) -> Response:
        """Return what to send for a request; *body* is its JSON object, if it has one."""
        if (method, path) == ("GET", "/v1/models"):
            return models(self._models)
        if (method, path) != ("POST", "/v1/chat/completions"):
            return failure(
                HTTPStatus.NOT_FOUND,
                f"Nothing is at {method} {path}; this server has POST /v1/chat/completions and "
                "GET /v1/models.",
            )
        if body is None:
            return failure(HTTPStatus.BAD_REQUEST, "The body of the request is no JSON object.")
        try:
            return self._chat(self._reply(body), body)
        # A script is the user's code, and pytest.fail() raises a BaseException.
        except BaseException as problem:  # noqa: BLE001
            return failure(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                f"No reply for this request: {type(problem).__name__}: {problem}",
            )

    def _reply(self, body: dict[str, Any]) -> Reply:
        if self._queue:
            return self._queue.popleft()
        if isinstance(self._source, Reply):
            return self._source
        reply = self._source(body)
        if not isinstance(reply, Reply):
            raise UsageError(f"the reply script returned {reply!r}; expected a Reply")
        return reply

    def _chat(self, reply: Reply, body: dict[str, Any]) -> Response:
        if reply.status != HTTPStatus.OK:
            return error(reply)
        model = body.get("model")
        answer = make_answer(
            reply,
            self._defaults,
            model if isinstance(model, str) else self._models[0],
            next(self._numbers),
        )
        if body.get("stream") is not True:
            return completion(answer)
        options = body.get("stream_options")
        asks = isinstance(options, dict) and options.get("include_usage") is True
        return stream(answer, include_usage=asks)

    def _check(self, reply: object) -> None:
        """Raise now, in the caller's line, what *reply* would raise in the server's thread."""
        if not isinstance(reply, Reply):
            raise UsageError(f"reply {reply!r}: expected a Reply, such as Reply(text='Hello')")
        make_answer(reply, self._defaults, self._models[0], 0)


def _parse_source(source: object) -> Reply | ReplySource:
    """Return *source* when it is a reply or can make one, and a plain reply for None."""
    if source is None:
        return Reply()
    if isinstance(source, Reply) or (callable(source) and not inspect.iscoroutinefunction(source)):
        return source
    raise UsageError(
        f"reply={source!r}: expected a Reply or a plain function that takes the JSON body of the "
        "request and returns a Reply"
    )
