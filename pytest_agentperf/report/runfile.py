"""The file of one run: all of it as JSON, strictly read."""

import json
from pathlib import Path
from typing import Final

from pytest_agentperf.core.errors import AgentPerfError
from pytest_agentperf.core.files import write_text
from pytest_agentperf.core.jsonfile import read_json
from pytest_agentperf.core.metrics import find_metric
from pytest_agentperf.report.run import Run

__all__ = ["LAST_RUN", "find_last_run", "read_run", "run_text", "write_run"]

LAST_RUN: Final = "last-run.json"
"""The name of the file, in the folder of the plugin inside of pytest's cache directory."""

_VERSION: Final = 1


def run_text(run: Run) -> str:
    """Return *run* as the text of its file."""
    content = {"version": _VERSION, "units": _units(run), **run.to_builtin()}
    return json.dumps(content, allow_nan=False, indent=1) + "\n"


def _units(run: Run) -> dict[str, str]:
    """Return what the numbers of *run* count, by the metric's name."""
    names = {name for record in run.records for one in record.measurements for name in one.metrics}
    names |= {verdict.metric for record in run.records for verdict in record.verdicts}
    return {name: find_metric(name).unit.symbol for name in sorted(names)}


def write_run(path: Path, run: Run) -> None:
    """Write *run* to *path*, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    write_text(path, run_text(run))


def read_run(path: Path) -> Run:
    """Return the run in the file at *path*.

    Raises:
        OSError: It cannot be read.
        FileFormatError: It is no run of this version.
    """
    return read_json(path, "saved run", _VERSION, Run.from_builtin)


def find_last_run(folder: Path) -> Path:
    """Return the last run of pytest in *folder* or above.

    Raises:
        AgentPerfError: There is none.
    """
    for place in (folder, *folder.parents):
        found = place / ".pytest_cache" / "d" / "agentperf" / LAST_RUN
        if found.is_file():
            return found
    raise AgentPerfError(
        "no run found in .pytest_cache here or above; run pytest with a measured test first"
        " (with its cache provider), or name a saved run"
    )
