"""The fields of records, as they are read back: each of its type, or refused."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Final, TypeAlias

from pytest_agentperf.core.errors import FileFormatError
from pytest_agentperf.core.jsonfile import is_number

__all__ = [
    "field_names",
    "is_count",
    "is_list",
    "is_list_of_texts",
    "is_mapping",
    "is_optional",
    "is_text",
    "read_fields",
]

_Checks: TypeAlias = Mapping[str, Callable[[object], bool]]


def is_mapping(check: Callable[[object], bool]) -> Callable[[object], bool]:
    """Return a check for an object whose values pass *check*."""
    return lambda value: (
        isinstance(value, dict) and all(map(is_text, value)) and all(map(check, value.values()))
    )


def is_text(value: object) -> bool:
    """Return whether *value* is text."""
    return isinstance(value, str)


def is_count(value: object) -> bool:
    """Return whether *value* is a whole number from 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_list(value: object) -> bool:
    """Return whether *value* is a list."""
    return isinstance(value, list)


def is_list_of_texts(value: object) -> bool:
    """Return whether *value* is a list of texts."""
    return isinstance(value, list) and all(map(is_text, value))


def _is_dict(value: object) -> bool:
    return isinstance(value, dict)


def _is_list_of_points(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(point, list) and len(point) == 2 and all(map(is_number, point))  # noqa: PLR2004
        for point in value
    )


def is_optional(check: Callable[[object], bool]) -> Callable[[object], bool]:
    """Return a check for what passes *check*, or is none."""
    return lambda value: value is None or check(value)


_CHECKS: Final[_Checks] = {
    "nodeid": is_text,
    "status": is_text,
    "metric": is_text,
    "source": is_text,
    "sentence": is_text,
    "subject": is_text,
    "label": is_optional(is_text),
    "value": is_optional(is_number),
    "limit": is_optional(is_number),
    "warn": is_optional(is_number),
    "calls": is_count,
    "errors": is_count,
    "attempt": is_count,
    "not_applicable": is_count,
    "metrics": is_mapping(is_number),
    "unknown": is_mapping(is_text),
    "notes": is_list_of_texts,
    "findings": is_list_of_texts,
    "monitors": is_list_of_texts,
    "curves": _is_dict,
    "profiles": is_mapping(is_text),
    "detail": is_optional(_is_dict),
    "axis": is_text,
    "unit": is_text,
    "points": _is_list_of_points,
    "name": is_text,
    "outcome": is_text,
    "against": is_text,
    "base": is_optional(is_number),
    "head": is_optional(is_number),
    "ratio": is_optional(is_number),
    "low": is_optional(is_number),
    "high": is_optional(is_number),
    "p": is_optional(is_number),
    "pairs": is_count,
    "runs": _is_dict,
    "comparisons": is_list,
    "measurements": is_list,
    "records": is_list,
    "created": is_text,
    "environment": is_text,
    "versions": is_mapping(is_text),
    "exit_status": lambda value: type(value) is int,
    "places": is_mapping(is_text),
    "lost": is_list_of_texts,
    "regressions": is_text,
    "verdicts": is_list,
}


@cache
def field_names(kind: type) -> tuple[str, ...]:
    """Return the names of the fields of *kind*, a `NamedTuple` or dataclass."""
    return getattr(kind, "_fields", None) or tuple(field.name for field in fields(kind))


def read_fields(
    kind: type, content: object, checks: _Checks = _CHECKS, noun: str = "record"
) -> dict[str, Any]:
    """Return the fields of *kind* in *content*, each of which must pass its check.

    Args:
        kind: A `NamedTuple` or dataclass.
        content: What was read.
        checks: A check for each field, by its name.
        noun: What messages call it.

    Raises:
        FileFormatError: *content* is nothing of the kind.
    """
    names = field_names(kind)
    if not isinstance(content, dict):
        raise FileFormatError(
            f"a {noun} is {content!r:.60}; expected an object with {', '.join(names)}"
        )
    for name in names:
        if name not in content or not checks[name](content[name]):
            found = repr(content[name])[:60] if name in content else "nothing"
            raise FileFormatError(
                f"field {name!r} of a {noun} is {found}; it was not written by this plugin"
            )
    return {name: content[name] for name in names}
