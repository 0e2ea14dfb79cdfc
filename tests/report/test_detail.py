"""Tests of details in records."""

import copy
import json
from typing import Any

import pytest

from pytest_agentperf.core.errors import FileFormatError
from pytest_agentperf.report.detail import detail_from_builtin
from pytest_agentperf.report.record import PerfRecord
from tests.report.pages import HOSTILE, full_record, hostile_run


def content() -> dict[str, Any]:
    """Return the detail of a record as builtin types."""
    found = full_record("t.py::t").to_builtin()["measurements"][0]["detail"]
    return dict(json.loads(json.dumps(found)))


def test_detail_reads_back_from_json() -> None:
    record = full_record("t.py::t")
    assert detail_from_builtin(content()) == record.measurements[0].detail
    assert PerfRecord.from_builtin(json.loads(json.dumps(record.to_builtin()))) == record


def test_hostile_text_can_be_encoded() -> None:
    (record,) = hostile_run(HOSTILE).records
    json.dumps(record.to_builtin(), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["quantiles"], []),
        (["quantiles", "latency"], ["1"]),
        (["quantiles", "latency"], [10**400]),
        (["baseline"], {"latency": None}),
        (["traces"], {}),
        (["traces", 0], None),
        (["traces", 0, "title"], 1),
        (["traces", 0, "omitted"], -1),
        (["traces", 0, "omitted"], True),
        (["traces", 0, "spans", 0, "start"], "0"),
        (["traces", 0, "spans", 0, "depth"], 0.5),
        (["traces", 0, "path", 0, "span"], 6),
        (["traces", 0, "path", 0, "span"], -1),
        (["blocks", 0, "stack"], [1]),
        (["blocks", 0, "seconds"], None),
        (["lookups"], "HMX"),
        (["lookups"], 1),
    ],
)
def test_what_is_no_detail_is_refused(path: list[Any], value: object) -> None:
    changed = copy.deepcopy(content())
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(FileFormatError, match=r"written by this plugin|not there|expected"):
        detail_from_builtin(changed)


@pytest.mark.parametrize("name", ["quantiles", "baseline", "traces", "blocks", "lookups"])
def test_what_is_missing_is_named(name: str) -> None:
    changed = content()
    del changed[name]
    with pytest.raises(FileFormatError, match=f"field '{name}' of a Detail is nothing"):
        detail_from_builtin(changed)
