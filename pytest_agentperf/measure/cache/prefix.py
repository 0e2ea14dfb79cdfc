"""Prefix reuse: how much of a request repeats the one before, which providers cache.

A request is laid out as providers read it: its tools, its system prompt, its messages, each as
canonical JSON (RFC 8785 but for numbers: sorted keys, no blanks). A byte counts as repeated as long
as no byte before it has changed.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from pytest_agentperf.core.errors import CheckError, UsageError
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.units import Unit, format_beside, format_quantity, parse_quantity

__all__ = ["PrefixChange", "PrefixReuse", "RequestReuse", "prefix_reuse"]

_PARTS: Final = ("tools", "functions", "system", "instructions", "messages", "input")
"""What of a request a prompt consists of, in the order in which providers read it."""

_SHOWN: Final = 40  # characters of a changed text in a message


@dataclass(frozen=True, slots=True)
class PrefixChange:
    """The first thing that is not as it was in the request before.

    Attributes:
        path: Where, as in ``"messages[0].content"``.
        start: The first byte that differs, counted from the start of the prompt.
        end: The byte behind the last one that differs in that value.
        before: What stood there, shortened.
        after: What stands there now, shortened; empty where nothing does.
    """

    path: str
    start: int
    end: int
    before: str
    after: str

    def __str__(self) -> str:
        place = f"{self.path} changed at bytes {self.start}–{self.end}"
        return f"{place}, from {self.before!r} to {self.after!r}"


@dataclass(frozen=True, slots=True)
class RequestReuse:
    """How much of one request repeats the one before.

    Attributes:
        index: Which request, from 0; the first repeats nothing and is left out.
        size: Bytes of its prompt.
        repeated: How many of them, from the start, are those of the request before.
        change: What ended them; None where the request before is repeated to its end.
    """

    index: int
    size: int
    repeated: int
    change: PrefixChange | None

    @property
    def share(self) -> float:
        """Share of its bytes that repeats, 0 to 1."""
        return self.repeated / self.size if self.size else 0.0

    def __str__(self) -> str:
        share = format_quantity(self.share, Unit.SHARE)
        text = f"request {self.index} repeats {share} of its {self.size} bytes"
        return f"{text}: {self.change}" if self.change else text


@dataclass(frozen=True, slots=True)
class PrefixReuse:
    """How much of the requests of a session repeats.

    Attributes:
        requests: Each but the first, in order.
    """

    requests: tuple[RequestReuse, ...]

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of each request but the first, 0 to 1."""
        return tuple(request.share for request in self.requests)

    @property
    def reuse(self) -> float:
        """Share of all bytes after the first request that repeats, 0 to 1.

        Raises:
            CheckError: There are fewer than two requests.
        """
        __tracebackhide__ = True
        size = sum(request.size for request in self.requests)
        if not size:
            raise CheckError(_TOO_FEW)
        return sum(request.repeated for request in self.requests) / size

    @property
    def worst(self) -> RequestReuse | None:
        """The request that repeats least; None where there are fewer than two."""
        return min(self.requests, key=lambda request: request.share, default=None)

    @property
    def change(self) -> PrefixChange | None:
        """The first change of all; None where each request repeats the one before to its end."""
        return next((request.change for request in self.requests if request.change), None)

    def assert_prefix_reuse(self, min: float | str) -> None:  # noqa: A002 -- as in assert_parallel
        """Fail unless at least this share of the bytes repeats, as in 0.9 or ``"90 %"``.

        Raises:
            CheckError: Less does, or there are fewer than two requests.
        """
        __tracebackhide__ = True
        share = parse_quantity(min, Unit.SHARE)
        if share > 1:
            raise UsageError(f"min={min!r}: expected a share of at most 1, as in 0.9")
        if self.reuse < share:
            was, wanted = format_beside(self.reuse, share, Unit.SHARE)
            raise CheckError(f"prefix reuse was {was}, expected at least {wanted}: {self.worst}")

    def measurement(self, label: str | None) -> Measurement:
        """Return what budgets are held against."""
        is_known = any(request.size for request in self.requests)
        name = "prefix_reuse"
        return Measurement(
            label,
            "the requests",
            len(self.requests),
            0,
            samples={},
            values={name: self.reuse} if is_known else {},
            unknown={} if is_known else {name: _TOO_FEW},
            causes={name: str(self.worst)} if is_known else {},
        )


_TOO_FEW: Final = "fewer than two requests with a prompt were given, so that none repeats another"


def prefix_reuse(requests: Iterable[Any]) -> PrefixReuse:
    """Return how much of each of *requests* repeats the one before.

    Args:
        requests: In order: bodies as mappings or JSON text, lists of messages, or objects with a
            `body`, such as those of the test server.

    Raises:
        UsageError: One of them is none of these, or has neither tools nor messages.
    """
    if isinstance(requests, str | bytes | Mapping):
        raise UsageError(f"perf_cache.prefix got {requests!r:.60}; expected several requests")
    prompts = [list(_pieces_of(request, index)) for index, request in enumerate(requests)]
    return PrefixReuse(
        tuple(
            _compare(index, before, after)
            for index, (before, after) in enumerate(pairwise(prompts), start=1)
        )
    )


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of canonical JSON, and the path of the value that it ends with."""

    path: str
    text: str

    @property
    def size(self) -> int:
        return len(self.text.encode("utf-8", "surrogatepass"))


def _pieces_of(request: Any, index: int) -> Iterator[_Piece]:
    """Yield the prompt of *request* piece by piece."""
    body = _body_of(request)
    parts = [name for name in _PARTS if body.get(name)]
    if not parts:
        raise UsageError(
            f"perf_cache.prefix: request {index} is {request!r:.60}; expected a body with one of"
            f" {', '.join(_PARTS)}, its JSON text, or a list of messages"
        )
    for name in parts:
        try:
            yield from _pieces(body[name], name, f"{json.dumps(name)}:")
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(
                f"perf_cache.prefix: request {index} is no JSON ({error}); give the body that is"
                " sent"
            ) from error


def _body_of(request: Any) -> Mapping[str, Any]:
    found = getattr(request, "body", request)
    if isinstance(found, str | bytes):
        try:
            found = json.loads(found)
        except ValueError:
            return {}
    if isinstance(found, Mapping):
        return found
    return {"messages": found} if isinstance(found, Sequence) else {}


def _pieces(value: Any, path: str, before: str) -> Iterator[_Piece]:
    """Yield *value* behind the text *before*; what closes a part at the end is left away.

    So a conversation that goes on has the shorter one as its prefix.
    """
    if isinstance(value, Mapping) and value:
        opening = "{"
        for key in sorted(value):
            yield from _pieces(
                value[key], f"{path}.{key}", f"{before}{opening}{_canonical(str(key))}:"
            )
            before, opening = "", ","
        yield _Piece(path, "}")
    elif isinstance(value, list | tuple) and value:
        opening = "["
        for position, item in enumerate(value):
            yield from _pieces(item, f"{path}[{position}]", f"{before}{opening}")
            before, opening = "", ","
        if "." in path or "[" in path:
            yield _Piece(path, "]")
    else:
        yield _Piece(path, before + _canonical(value))


def _canonical(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _compare(index: int, before: Sequence[_Piece], after: Sequence[_Piece]) -> RequestReuse:
    """Return how much of *after* repeats *before*."""
    size = sum(piece.size for piece in after)
    same = 0
    for old, new in zip(before, after, strict=False):
        if old != new:
            break
        same += 1
    repeated = sum(piece.size for piece in after[:same])
    if same == len(before):
        return RequestReuse(index, size, repeated, None)
    old = before[same]
    new = after[same] if same < len(after) else _Piece(old.path, "")
    change = _change(old, new, repeated)
    return RequestReuse(index, size, change.start, change)


def _change(old: _Piece, new: _Piece, offset: int) -> PrefixChange:
    """Return how *new* differs from *old*, both of which begin at byte *offset*."""
    common = _common(old.text, new.text)
    ending = _common(old.text[common:][::-1], new.text[common:][::-1])
    start = offset + _Piece("", new.text[:common]).size
    end = offset + _Piece("", new.text[: len(new.text) - ending]).size
    return PrefixChange(
        # Where the text in front of a value differs, it is the place of another value.
        new.path if new.text else old.path,
        start,
        end,
        _shown(old.text, common, ending),
        _shown(new.text, common, ending),
    )


def _common(first: str, second: str) -> int:
    """Return how many characters the two have in common at their start."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(first), len(second)))


def _shown(text: str, common: int, ending: int) -> str:
    """Return what differs of *text*, with what stands around it, shortened."""
    first = max(common - _SHOWN // 2, 0)
    last = min(len(text) - ending + _SHOWN // 4, len(text))
    found = text[first:last]
    found = found if len(found) <= 2 * _SHOWN else f"{found[: 2 * _SHOWN]}…"
    return f"…{found}" if first else found
