"""Usage: the tokens that a response reports.

Read by the names of fields, so that response objects and the same JSON in plain dicts are alike
and no SDK is imported. What a response does not say is unknown, never 0.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Final

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.usage import Usage

__all__ = ["as_usage", "has_no_usage", "is_one_response", "read_stream_usage", "read_usage"]

_SILENT: Final = (type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, set)


def has_no_usage(kind: type) -> bool:
    """Return whether no instance of *kind* can report usage."""
    return kind in _SILENT


def read_usage(response: object) -> Usage | None:
    """Return the usage that *response* reports, or None where it reports none.

    Args:
        response: What OpenAI, Anthropic, pydantic-ai, langchain, langgraph or litellm return, as
            their object or as the same JSON in dicts.
    """
    if has_no_usage(type(response)):
        return None
    return _read_field(response) or _read_messages(response) or _tokens(response)


def _read_field(response: object) -> Usage | None:
    """Return the usage in the field `usage`, `usage_metadata` or `llm_output` of *response*."""
    usage = _get(response, "usage")
    if callable(usage) and _get(usage, "input_tokens") is None:
        usage = _called(usage)  # pydantic-ai 1: a method
    found = _tokens(usage) or _tokens(_get(response, "usage_metadata"))
    if found is None:
        output = _get(response, "llm_output")
        found = _tokens(_get(output, "token_usage"))
        response = output if found else response
    if found is None:
        return None
    return Usage(
        found.input_tokens,
        found.output_tokens,
        found.cached_tokens,
        _model(response),
        _cost(response, usage),
    )


def _called(method: Callable[..., object]) -> object:
    """Return what *method* returns without arguments, None where that is no answer."""
    try:
        usage = method()
    except Exception:  # noqa: BLE001 -- a method of the user's object that is only named so
        return None
    if inspect.iscoroutine(usage):
        usage.close()
        return None
    return usage


def _read_messages(response: object) -> Usage | None:
    """Return the usage of the messages that a langchain agent added to its state."""
    messages = _get(response, "messages")
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        return None
    asked = [i for i, message in enumerate(messages) if _get(message, "type") == "human"]
    # The state holds the whole conversation; what this call used stands after the last question.
    answers = messages[asked[-1] + 1 :] if asked else messages
    found = [usage for message in answers if (usage := _read_field(message)) is not None]
    if not found:
        return None
    usage, models = reduce(add, found), {usage.model for usage in found if usage.model}
    # What two models used together has no price.
    return usage if len(models) < 2 else replace(usage, model=None)  # noqa: PLR2004 -- two


def is_one_response(response: object) -> bool:
    """Return whether *response* is what one call of a model returns, not what an agent does."""
    is_chat = isinstance(_get(response, "choices"), list | tuple)
    return is_chat or _get(response, "type") in {"message", "ai"}


def read_stream_usage(items: Sequence[object]) -> Usage | None:
    """Return the usage that the *items* of a stream report together, or None."""
    if not items or has_no_usage(type(items[-1])):
        return None
    added = [found for item in items if (found := _read_langchain(item)) is not None]
    if added:
        return reduce(add, added)
    return reduce(_later, items, None)


def _read_langchain(item: object) -> Usage | None:
    """Return the usage of a langchain chunk: a stream's chunks add up."""
    return _read_field(item) if _get(item, "usage_metadata") is not None else None


def _later(usage: Usage | None, item: object) -> Usage | None:
    """Return *usage* with what *item* says later in the stream: counts are running totals."""
    inner = _get(item, "message") or _get(item, "response") or _get(item, "result")
    source = inner if _get(inner, "usage") is not None else item
    fields = _get(source, "usage")
    if fields is None:
        return usage
    found = _read_field(source)
    if found is not None and (usage is None or found.input_tokens):
        return found if found.model or usage is None else replace(found, model=usage.model)
    output = _get(fields, "output_tokens")  # Anthropic's `message_delta` has only these
    if usage is not None and isinstance(output, int):
        return Usage(usage.input_tokens, output, usage.cached_tokens, usage.model, usage.cost)
    return usage


_FIELDS: Final = (
    ("prompt_tokens", "completion_tokens"),  # OpenAI's chat completions, litellm
    ("input_tokens", "output_tokens"),  # OpenAI's responses, Anthropic, pydantic-ai, langchain
)
_CACHED: Final = (
    ("prompt_tokens_details", "cached_tokens"),
    ("input_tokens_details", "cached_tokens"),
    ("input_token_details", "cache_read"),
)


def _tokens(usage: object) -> Usage | None:
    """Return the counts in *usage*, or None where it has none or only zeros.

    Frameworks report zeros where a stream was not asked for its usage.
    """
    if usage is None or has_no_usage(type(usage)):
        return None
    for input_name, output_name in _FIELDS:
        received = _count(usage, input_name)
        sent = _count(usage, output_name)
        if received is None or (sent is None and _count(usage, "total_tokens") is None):
            continue
        read = _count(usage, "cache_read_input_tokens") or 0
        written = _count(usage, "cache_creation_input_tokens") or 0
        if input_name == "input_tokens":  # Anthropic counts the cached ones beside, not inside
            received += read + written
        cached = read or _cached(usage)
        return Usage(received, sent or 0, cached) if received or sent else None
    return None


def _cached(usage: object) -> int:
    """Return the tokens that came from the provider's cache, 0 where nothing is said."""
    found = [_count(_get(usage, details), name) for details, name in _CACHED]
    found.append(_count(usage, "cache_read_tokens"))  # pydantic-ai
    return max((count for count in found if count is not None), default=0)


def _count(source: object, name: str) -> int | None:
    value = _get(source, name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _get(source: object, name: str) -> object:
    """Return the field *name* of an object or a dict, None where there is none."""
    if isinstance(source, Mapping):
        return source.get(name)
    try:
        return getattr(source, name, None)
    except Exception:  # noqa: BLE001 -- a property of the user's object
        return None


def _model(response: object) -> str | None:
    """Return the name of the model that answered."""
    metadata = _get(response, "response_metadata")
    candidates = (
        _get(response, "model"),
        _get(response, "model_name"),
        _get(metadata, "model_name"),
        _get(metadata, "model"),
        _get(_get(response, "response"), "model_name"),
    )
    return next((name for name in candidates if isinstance(name, str)), None)


def _cost(response: object, usage: object) -> float | None:
    """Return the dollars that the response states: litellm's own, or OpenRouter's field."""
    stated = (_get(_get(response, "_hidden_params"), "response_cost"), _get(usage, "cost"))
    return next(
        (float(x) for x in stated if isinstance(x, int | float) and not isinstance(x, bool)), None
    )


def as_usage(stated: object, reader: str) -> Usage | None:
    """Return what a user's `usage=` function returned as usage.

    Args:
        stated: A `Usage`, a response or a usage object, a dict of counts, a pair (input, output),
            a total, or None for unknown.
        reader: The function's name, for the error.

    Raises:
        UsageError: *stated* is none of these.
    """
    if stated is None or isinstance(stated, Usage):
        return stated
    if isinstance(stated, int) and not isinstance(stated, bool) and stated >= 0:
        return Usage(None, None, total=stated)
    match stated:
        case (int(received), int(sent)) if received >= 0 and sent >= 0:
            return Usage(received, sent)
    found = read_usage(stated)
    if found is None:
        raise UsageError(
            f"usage={reader} returned {stated!r:.80}; expected a number of tokens, a pair"
            " (input, output), a response with usage, or None where it is unknown"
        )
    return found
