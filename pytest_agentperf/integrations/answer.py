"""Answers: replies with every default filled in, in chunks with due times."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.integrations.reply import Reply, parse_delay, split_text, text_tokens

__all__ = ["Answer", "Defaults", "make_answer"]

_SENTENCE: Final = "This is a reply of the test server."


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a server puts where a reply is silent.

    Attributes:
        ttft: Seconds to the first chunk.
        itl: Seconds between two chunks.
        tokens: Chunks of `text`; None: one a word.
        text: The text; None: a sentence that is made as long as `tokens` asks for.
        prompt_tokens: Tokens of the prompt.
    """

    ttft: float
    itl: float
    tokens: int | None
    text: str | None
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply with every default filled in.

    Attributes:
        number: Counts the answers of a server from 1; makes the ids.
        model: The model's name.
        reasoning: Chunks of reasoning, sent first.
        text: Chunks of text, sent next.
        tool_calls: Pairs of a tool's name and its arguments as JSON, sent last.
        usage: What the API calls ``usage``; None: not sent.
        dues: Seconds from the request to each chunk; a tool call has two, its name and arguments.
        due: Seconds from the request to the end of the answer.
        hang_up: Whether the connection is dropped on the way.
    """

    number: int
    model: str
    reasoning: tuple[str, ...]
    text: tuple[str, ...]
    tool_calls: tuple[tuple[str, str], ...]
    usage: Mapping[str, Any] | None
    dues: tuple[float, ...]
    due: float
    hang_up: bool


def make_answer(reply: Reply, defaults: Defaults, model: str, number: int) -> Answer:
    """Return *reply* with the gaps filled from *defaults*.

    Args:
        reply: With status 200.
        defaults: Those of the server.
        model: The name that the request asks for.
        number: Counts the answers of the server.

    Raises:
        UsageError: The text has too few characters for the tokens, or the cache holds more tokens
            than the prompt.
    """
    reasoning = split_text(reply.reasoning)
    text = _text_chunks(reply, defaults)
    tool_calls = tuple((name, json.dumps(dict(arguments))) for name, arguments in reply.tool_calls)
    count = len(reasoning) + len(text) + 2 * len(tool_calls)
    ttft = defaults.ttft if reply.ttft is None else parse_delay("ttft", reply.ttft)
    itl = defaults.itl if reply.itl is None else parse_delay("itl", reply.itl)
    stall = parse_delay("stall", reply.stall)
    stalled = len(reasoning) if text else 0
    return Answer(
        number=number,
        model=model if reply.model is None else reply.model,
        reasoning=reasoning,
        text=text,
        tool_calls=tool_calls,
        usage=_usage(reply, defaults, count, len(reasoning)) if reply.usage else None,
        dues=tuple(ttft + k * itl + (stall if k > stalled else 0) for k in range(count)),
        due=ttft + max(count - 1, 0) * itl + stall,
        hang_up=reply.hang_up,
    )


def _usage(reply: Reply, defaults: Defaults, count: int, reasoning: int) -> Mapping[str, Any]:
    """Return the usage of *reply*, which has *count* chunks, as the API spells it."""
    prompt = defaults.prompt_tokens if reply.prompt_tokens is None else reply.prompt_tokens
    completion = count if reply.tokens is None else reply.tokens
    if reply.cached_tokens > prompt:
        raise UsageError(
            f"cached_tokens={reply.cached_tokens}: expected at most the {prompt} tokens of the "
            "prompt; give prompt_tokens as well"
        )
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def _text_chunks(reply: Reply, defaults: Defaults) -> tuple[str, ...]:
    """Return the chunks of the text of *reply*, or of the one that *defaults* puts there."""
    tokens = text_tokens(reply)
    if reply.text is not None:
        return split_text(reply.text, tokens)
    if reply.tool_calls:
        return ()
    if tokens is None:
        tokens = defaults.tokens
    return split_text(_stretch(tokens) if defaults.text is None else defaults.text, tokens)


def _stretch(words: int | None) -> str:
    """Return the default text, of *words* words where a number is asked for."""
    known = _SENTENCE.split()
    return _SENTENCE if words is None else " ".join(known[k % len(known)] for k in range(words))
