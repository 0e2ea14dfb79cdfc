"""Details in records, read back strictly."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final, TypeVar

from pytest_agentperf.core.detail import Detail, LoopBlock, PathStep, Trace, TraceSpan
from pytest_agentperf.core.errors import FileFormatError

__all__ = ["detail_from_builtin"]

_T = TypeVar("_T", Detail, LoopBlock, PathStep, Trace, TraceSpan)


def detail_from_builtin(content: object) -> Detail:
    """Return the detail that the builtin types *content* were made from.

    Raises:
        FileFormatError: *content* is nothing of the kind.
    """
    top = _read(Detail, content)
    return Detail(
        _tuples(top["quantiles"]),
        _tuples(top["baseline"]),
        tuple(map(_read_trace, top["traces"])),
        tuple(_read_block(block) for block in top["blocks"]),
        top["lookups"],
    )


def _tuples(lists: Mapping[str, list[float]]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(values) for name, values in lists.items()}


def _read_trace(content: object) -> Trace:
    told = _read(Trace, content)
    spans = tuple(TraceSpan(**_read(TraceSpan, span)) for span in told["spans"])
    path = tuple(PathStep(**_read(PathStep, step)) for step in told["path"])
    if any(step.span is not None and step.span >= len(spans) for step in path):
        raise FileFormatError("a step of a critical path names a span that is not there")
    return Trace(**{**told, "spans": spans, "path": path})


def _read_block(content: object) -> LoopBlock:
    told = _read(LoopBlock, content)
    return LoopBlock(**{**told, "stack": tuple(told["stack"])})


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max  # an integer may be too large for a float


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_samples(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(values, list) and all(map(_is_number, values)) for values in value.values()
    )


_CHECKS: Final[Mapping[str, Callable[[object], bool]]] = {
    "quantiles": _are_samples,
    "baseline": _are_samples,
    "traces": _is_list,
    "blocks": _is_list,
    "lookups": lambda value: _is_text(value) and set(str(value)) <= set("HM…"),
    "title": _is_text,
    "seconds": _is_number,
    "spans": _is_list,
    "path": _is_list,
    "omitted": _is_count,
    "name": _is_text,
    "start": _is_number,
    "end": _is_number,
    "depth": _is_count,
    "where": _is_text,
    "error": _is_text,
    "span": lambda value: value is None or _is_count(value),
    "cause": _is_text,
    "sentence": _is_text,
    "stack": _are_texts,
}


def _read(kind: type[_T], content: object) -> dict[str, Any]:
    """Return the fields of *kind* in *content*, each of which must be of its type."""
    names = [field.name for field in fields(kind)]
    if not isinstance(content, dict):
        raise FileFormatError(
            f"a {kind.__name__} is {content!r:.60}; expected an object with {', '.join(names)}"
        )
    for name in names:
        if name not in content or not _CHECKS[name](content[name]):
            found = f"{content[name]!r:.60}" if name in content else "nothing"
            raise FileFormatError(
                f"field {name!r} of a {kind.__name__} is {found}; it was not written by this plugin"
            )
    return {name: content[name] for name in names}
