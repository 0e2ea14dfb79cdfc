"""Streams: when the first item came, and the gaps between the items."""

import io
import sys
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from typing import Any, Final, TypeGuard

from pytest_agentperf.core.clock import Clock

__all__ = ["ItemClock", "has_content", "is_async_stream", "is_sync_stream"]


def is_async_stream(value: object) -> TypeGuard[AsyncIterator[Any]]:
    """Return whether *value* is an async iterator: an async generator, a stream of an SDK."""
    kind = type(value)
    return isinstance(value, AsyncGenerator) or (
        hasattr(kind, "__anext__") and hasattr(kind, "__aiter__") and not _is_standard(kind)
    )


def is_sync_stream(value: object) -> TypeGuard[Iterator[Any]]:
    """Return whether *value* yields items as they come.

    A generator or a stream of an SDK does; a file, a database cursor, `map` or `zip` is a call's
    own result. So is a `MagicMock`, which has the methods of everything.
    """
    kind = type(value)
    return isinstance(value, Generator) or (
        hasattr(kind, "__next__") and hasattr(kind, "__iter__") and not _is_standard(kind)
    )


def _is_standard(kind: type) -> bool:
    """Return whether *kind* is of the standard library, or a kind of file."""
    package = kind.__module__.partition(".")[0]
    return package in sys.stdlib_module_names or issubclass(kind, io.IOBase)


def has_content(item: object) -> bool:
    """Return whether *item* carries something a reader sees.

    A chat chunk does with content or reasoning: a role, a tool call, a finish reason or usage alone
    is none. So does an event with text in its delta. Any other item does when it is not empty.
    """
    if item is None or isinstance(item, str | bytes):
        return bool(item)
    choices = _get(item, "choices")
    if isinstance(choices, list | tuple):
        return any(
            _has_text(_get(choice, "delta"), _CHAT) or bool(_get(choice, "text"))
            for choice in choices
        )
    if isinstance(_get(item, "event_kind"), str):
        return _in_pydantic_event(item)
    kind = _get(item, "type")
    if isinstance(kind, str) and kind.startswith(_EVENTS):
        return _in_provider_event(kind, _get(item, "delta"))
    if _get(item, "response_metadata") is not None:  # a chunk of langchain
        return _has_text(item, ("content",)) or _has_text(_get(item, "additional_kwargs"), _CHAT)
    return len(item) > 0 if isinstance(item, Mapping | list | tuple | set) else True


_CHAT: Final = ("content", "reasoning_content", "reasoning")
_EVENTS: Final = ("message_", "content_block_", "ping", "response.")


def _in_pydantic_event(event: object) -> bool:
    """Of an event of pydantic-ai: a part that begins with text, or a delta of text."""
    if _get(event, "event_kind") == "part_start":
        return _has_text(_get(event, "part"), ("content",))
    return _has_text(_get(event, "delta"), ("content_delta",))


def _in_provider_event(kind: str, delta: object) -> bool:
    """Of an event of Anthropic's messages or of OpenAI's responses: a delta of text."""
    if isinstance(delta, str):
        return bool(delta) and "arguments" not in kind
    return kind == "content_block_delta" and _has_text(delta, ("text", "thinking"))


def _has_text(source: object, fields: tuple[str, ...]) -> bool:
    return any(_get(source, field) for field in fields)


def _get(source: object, name: str) -> object:
    """Return the field *name* of an object or a dict, None where there is none."""
    if isinstance(source, Mapping):
        return source.get(name)
    try:
        return getattr(source, name, None)
    except Exception:  # noqa: BLE001 -- a property of the user's object
        return None


class ItemClock:
    """Notes when the items of one stream came.

    Args:
        started: When the call began, by *clock*.
        clock: The clock.

    Attributes:
        count: Items with content.
        first: Seconds from the start to the first of them, or None.
        gaps: Seconds between one and the next.
    """

    __slots__ = ("_clock", "_last", "_started", "count", "first", "gaps")

    def __init__(self, started: float, clock: Clock) -> None:
        self._started = started
        self._clock = clock
        self._last = started
        self.count = 0
        self.first: float | None = None
        self.gaps = array("d")

    def item(self, item: object) -> None:
        """Note that *item* has just come."""
        now = self._clock()
        if has_content(item):
            self.mark(now)

    def mark(self, now: float | None = None) -> None:
        """Note that something a reader sees came at *now*."""
        now = self._clock() if now is None else now
        if self.first is None:
            self.first = now - self._started
        else:
            self.gaps.append(now - self._last)
        self._last = now
        self.count += 1
