"""The file of one run: its records as JSON, strictly read."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NoReturn

from pytest_agentperf.core.errors import FileFormatError
from pytest_agentperf.core.files import read_text, write_text
from pytest_agentperf.report.record import PerfRecord

__all__ = ["LAST_RUN", "read_run", "write_run"]

LAST_RUN: Final = "last-run.json"
"""The name of the file, in the folder of the plugin inside of pytest's cache directory."""

_VERSION: Final = 1


def write_run(path: Path, records: Iterable[PerfRecord]) -> None:
    """Write *records* to *path*, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    content = {"version": _VERSION, "tests": [record.to_builtin() for record in records]}
    write_text(path, json.dumps(content, allow_nan=False, indent=1) + "\n")


def read_run(path: Path) -> list[PerfRecord]:
    """Return the records in the file at *path*.

    Raises:
        OSError: It cannot be read.
        FileFormatError: It is no run of this version.
    """
    try:
        content = json.loads(
            read_text(path), parse_constant=_refuse_constant, object_pairs_hook=_unique
        )
        version = content.get("version") if isinstance(content, dict) else None
        if type(version) is not int or version != _VERSION:
            raise FileFormatError(f"expected an object with version {_VERSION}")
        tests = content.get("tests")
        if not isinstance(tests, list):
            raise FileFormatError("expected a list under 'tests'")
        return [PerfRecord.from_builtin(test) for test in tests]
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: no saved run: {error or 'nested too deeply'}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise FileFormatError(f"{name} is no number of JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return *pairs* as a dict in which no key was there twice."""
    content = dict(pairs)
    if len(content) != len(pairs):
        raise FileFormatError("an object has the same key twice")
    return content
