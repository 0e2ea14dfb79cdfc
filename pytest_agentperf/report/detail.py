"""Details in records, read back strictly."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_agentperf.core.detail import Detail, LoopBlock, PathStep, Trace, TraceSpan
from pytest_agentperf.core.errors import FileFormatError
from pytest_agentperf.core.jsonfile import is_number
from pytest_agentperf.report.fields import (
    is_count,
    is_list,
    is_list_of_texts,
    is_mapping,
    is_optional,
    is_text,
    read_fields,
)

__all__ = ["detail_from_builtin"]


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


_SAMPLES: Final = is_mapping(
    lambda values: isinstance(values, list) and all(map(is_number, values))
)
_CHECKS: Final[Mapping[str, Callable[[object], bool]]] = {
    "quantiles": _SAMPLES,
    "baseline": _SAMPLES,
    "traces": is_list,
    "blocks": is_list,
    "lookups": lambda value: is_text(value) and set(str(value)) <= set("HM…"),
    "title": is_text,
    "seconds": is_number,
    "spans": is_list,
    "path": is_list,
    "omitted": is_count,
    "name": is_text,
    "start": is_number,
    "end": is_number,
    "depth": is_count,
    "where": is_text,
    "error": is_text,
    "span": is_optional(is_count),
    "cause": is_text,
    "sentence": is_text,
    "stack": is_list_of_texts,
}


def _read(kind: type, content: object) -> dict[str, Any]:
    return read_fields(kind, content, _CHECKS, kind.__name__)
