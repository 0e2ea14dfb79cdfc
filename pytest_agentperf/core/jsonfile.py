"""JSON files, strictly read: what this package did not write is refused with the place."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pytest_agentperf.core.errors import FileFormatError
from pytest_agentperf.core.files import read_text

__all__ = ["is_number", "read_json"]

Content = TypeVar("Content")


def read_json(
    path: Path, kind: str, version: int, read: Callable[[dict[str, Any]], Content]
) -> Content:
    """Return what *read* makes of the object in the file at *path*.

    Args:
        path: The file.
        kind: What it should be, for messages, as in ``"saved run"``.
        version: What its key `version` must say.
        read: Takes the object apart; its `ValueError` gets the name of the file in front.

    Raises:
        OSError: It cannot be read.
        FileFormatError: It is no such file, says `NaN`, or says the same key twice.
    """
    try:
        content = json.loads(
            read_text(path), parse_constant=_refuse_constant, object_pairs_hook=_unique
        )
        found = content.get("version") if isinstance(content, dict) else None
        if type(found) is not int or found != version:
            raise FileFormatError(f"expected an object with version {version}")
        return read(content)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: no {kind}: {error or 'nested too deeply'}") from error


def is_number(value: object) -> bool:
    """Return whether *value*, as JSON has it, is a number that a float can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    # Compared, not asked for finiteness: an integer of JSON may be too large for a float.
    return abs(value) <= sys.float_info.max


def _refuse_constant(name: str) -> NoReturn:
    raise FileFormatError(f"{name} is no number of JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return *pairs* as a dict in which no key was there twice."""
    content = dict(pairs)
    if len(content) != len(pairs):
        raise FileFormatError("an object has the same key twice")
    return content
