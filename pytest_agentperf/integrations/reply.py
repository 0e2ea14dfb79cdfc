"""Replies: what the test server shall answer, as a test writes it down."""

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pytest_agentperf.core.errors import UnitError, UsageError
from pytest_agentperf.core.units import Unit, parse_quantity

__all__ = [
    "Delay",
    "Reply",
    "parse_count",
    "parse_delay",
    "parse_text",
    "split_text",
    "text_tokens",
]

Delay: TypeAlias = float | str
"""Seconds, or text with a unit such as ``"50ms"``; 0 is no delay."""

_SHORTEST_DELAY: Final = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the server answers to one request.

    Attributes:
        text: The answer, or the message of an error; None: the server's text, or no text beside
            tool calls.
        tokens: Tokens of the completion, those of `reasoning` included; the text is streamed in
            as many chunks. None: one token a word.
        prompt_tokens: Tokens of the prompt; None: the server's default.
        cached_tokens: The part of `prompt_tokens` that came from the provider's cache.
        reasoning: Streamed before the text, word by word, as ``reasoning_content``.
        tool_calls: Pairs of a tool's name and its arguments.
        ttft: Time to the first chunk; None: the server's default, none before an error.
        itl: Time between two chunks; None: the server's default.
        status: 200, or the status of an error from 400 to 599.
        retry_after: When the client shall try again, sent with an error.
        stall: How long the stream pauses after the first chunk of text; an answer that is not
            streamed comes that much later.
        hang_up: Whether the connection is dropped: after half of the chunks of a stream, instead
            of an answer that is not streamed.
        usage: Whether the usage is sent.
        model: The model's name; None: the one that the request asks for.

    Raises:
        UsageError: A field's value is none of these.
        UnitError: A delay is no time, or is above 0 and below 1 ms.
    """

    text: str | None = None
    tokens: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int = 0
    reasoning: str = ""
    tool_calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    ttft: Delay | None = None
    itl: Delay | None = None
    status: int = 200
    retry_after: Delay | None = None
    stall: Delay = 0
    hang_up: bool = False
    usage: bool = True
    model: str | None = None

    def __post_init__(self) -> None:
        parse_delay("stall", self.stall)
        for name in ("ttft", "itl"):
            if (value := getattr(self, name)) is not None:
                parse_delay(name, value)
        for name in ("tokens", "prompt_tokens"):
            if (value := getattr(self, name)) is not None:
                parse_count(name, value)
        for name in ("text", "model"):
            if (value := getattr(self, name)) is not None:
                parse_text(name, value)
        parse_text("reasoning", self.reasoning)
        parse_count("cached_tokens", self.cached_tokens)
        _check_status(self)
        _check_tool_calls(self.tool_calls)
        if self.text is not None:
            split_text(self.text, text_tokens(self))


def text_tokens(reply: Reply) -> int | None:
    """Return how many tokens of *reply* its text has, None when it names no tokens.

    Raises:
        UsageError: The reasoning leaves none of them for the text.
    """
    if reply.tokens is None:
        return None
    reasoning = len(split_text(reply.reasoning))
    has_text = not reply.tool_calls if reply.text is None else reply.text != ""
    if reasoning and has_text and reply.tokens <= reasoning:
        raise UsageError(
            f"tokens={reply.tokens}: the reasoning takes {reasoning} of them and the text at least "
            "one; give more tokens or text=''"
        )
    return reply.tokens - reasoning


def split_text(text: str, count: int | None = None) -> tuple[str, ...]:
    """Return *text* in *count* chunks, none of them empty; without a count, word by word.

    Raises:
        UsageError: The text has fewer characters than that, or more than none for no chunks.
    """
    words = re.findall(r"\s*\S+(?:\s+\Z)?", text) or [text]
    if not text:
        return ()
    if count is None:
        return tuple(words)
    if not 0 < count <= len(text):
        raise UsageError(
            f"{text[:40]!r} in {count} tokens: a text of {len(text)} characters has 1 to "
            f"{len(text)} tokens; change the text or the tokens"
        )
    pieces = words if count <= len(words) else list(text)
    ends = [k * len(pieces) // count for k in range(count + 1)]
    return tuple("".join(pieces[begin:end]) for begin, end in itertools.pairwise(ends))


def parse_delay(name: str, value: object) -> float:
    """Return the delay *value* of the argument *name* in seconds.

    Raises:
        UnitError: *value* is no time, or one that a timer cannot keep.
    """
    try:
        seconds = parse_quantity(value, Unit.SECONDS)
    except UnitError as error:
        raise UnitError(f"{name}={error}") from error
    if 0 < seconds < _SHORTEST_DELAY:
        raise UnitError(
            f"{name}={value!r}: timers cannot keep a delay below 1 ms; give 0 or at least '1ms'"
        )
    return seconds


def parse_count(name: str, value: object, least: int = 0) -> int:
    """Return *value* of the argument *name* when it is a whole number of *least* or more.

    Raises:
        UsageError: It is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name}={value!r}: expected a whole number of {least} or more")
    return value


def parse_text(name: str, value: object) -> str:
    """Return *value* of the argument *name* when it is text.

    Raises:
        UsageError: It is none.
    """
    if not isinstance(value, str):
        raise UsageError(f"{name}={value!r}: expected text")
    return value


def _check_status(reply: Reply) -> None:
    """Refuse a status that is neither success nor an error, and a retry after success."""
    status = parse_count("status", reply.status)
    if status != 200 and not 400 <= status <= 599:  # noqa: PLR2004 - RFC 9110 15
        raise UsageError(f"status={status}: expected 200, or an error from 400 to 599")
    if reply.retry_after is None:
        return
    if status == 200:  # noqa: PLR2004 - the same
        raise UsageError(
            f"retry_after={reply.retry_after!r} with status 200: only an error is tried again; "
            "give status=429 or 503"
        )
    try:
        parse_quantity(reply.retry_after, Unit.SECONDS)
    except UnitError as error:
        raise UnitError(f"retry_after={error}") from error


def _check_tool_calls(tool_calls: tuple[tuple[str, Mapping[str, Any]], ...]) -> None:
    """Refuse what is no tuple of names with arguments that JSON can hold."""
    try:
        are_named = all(isinstance(name, str) for name, _ in tool_calls)
        json.dumps([dict(arguments) for _, arguments in tool_calls])
    except (TypeError, ValueError):
        are_named = False
    if not are_named:
        raise UsageError(
            f"tool_calls={tool_calls!r}: expected pairs of a name and arguments that JSON can "
            "hold, such as (('search', {'query': 'x'}),)"
        )
