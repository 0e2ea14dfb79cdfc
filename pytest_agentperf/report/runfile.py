"""The file of one run: its records as JSON, strictly read."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pytest_agentperf.core.errors import FileFormatError
from pytest_agentperf.core.files import write_text
from pytest_agentperf.core.jsonfile import read_json
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
    return read_json(path, "saved run", _VERSION, _read)


def _read(content: Mapping[str, Any]) -> list[PerfRecord]:
    tests = content.get("tests")
    if not isinstance(tests, list):
        raise FileFormatError("expected a list under 'tests'")
    return [PerfRecord.from_builtin(test) for test in tests]
