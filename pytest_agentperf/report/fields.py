"""The fields of records, as they are read back: each of its type, or refused."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final

from pytest_agentperf.core.errors import FileFormatError
from pytest_agentperf.core.jsonfile import is_number

__all__ = ["read_fields"]


def _is_mapping(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, dict) and all(isinstance(k, str) and check(v) for k, v in value.items())
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_dict(value: object) -> bool:
    return isinstance(value, dict)


def _is_list_of_points(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(point, list) and len(point) == 2 and all(map(is_number, point))  # noqa: PLR2004
        for point in value
    )


def _is_optional(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or check(value)


_CHECKS: Final[Mapping[str, Callable[[object], bool]]] = {
    "nodeid": _is_text,
    "status": _is_text,
    "metric": _is_text,
    "source": _is_text,
    "sentence": _is_text,
    "subject": _is_text,
    "label": _is_optional(_is_text),
    "value": _is_optional(is_number),
    "limit": _is_optional(is_number),
    "warn": _is_optional(is_number),
    "calls": _is_count,
    "errors": _is_count,
    "attempt": _is_count,
    "not_applicable": _is_count,
    "metrics": _is_mapping(is_number),
    "unknown": _is_mapping(_is_text),
    "notes": _is_list_of_texts,
    "findings": _is_list_of_texts,
    "monitors": _is_list_of_texts,
    "curves": _is_dict,
    "profiles": _is_mapping(_is_text),
    "detail": _is_optional(_is_dict),
    "axis": _is_text,
    "unit": _is_text,
    "points": _is_list_of_points,
    "name": _is_text,
    "outcome": _is_text,
    "against": _is_text,
    "base": _is_optional(is_number),
    "head": _is_optional(is_number),
    "ratio": _is_optional(is_number),
    "low": _is_optional(is_number),
    "high": _is_optional(is_number),
    "p": _is_optional(is_number),
    "pairs": _is_count,
    "runs": _is_dict,
    "comparisons": _is_list,
    "measurements": _is_list,
    "records": _is_list,
    "created": _is_text,
    "environment": _is_text,
    "versions": _is_mapping(_is_text),
    "exit_status": lambda value: type(value) is int,
    "places": _is_mapping(_is_text),
    "lost": _is_list_of_texts,
    "regressions": _is_text,
    "verdicts": _is_list,
}


def read_fields(kind: type, content: object) -> dict[str, Any]:
    """Return the fields of *kind* in *content*, each of which must be of its type."""
    names = [field.name for field in fields(kind)]
    if not isinstance(content, dict):
        raise FileFormatError(
            f"a record is {content!r:.60}; expected an object with {', '.join(names)}"
        )
    for name in names:
        if name not in content or not _CHECKS[name](content[name]):
            found = repr(content[name])[:60] if name in content else "nothing"
            raise FileFormatError(
                f"field {name!r} of a record is {found}; it was not written by this plugin"
            )
    return {name: content[name] for name in names}
