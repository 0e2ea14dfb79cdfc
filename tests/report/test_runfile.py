"""Tests of the file of one run."""

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_agentperf.core.errors import FileFormatError
from pytest_agentperf.report.record import MeasurementRecord, PerfRecord
from pytest_agentperf.report.run import Run
from pytest_agentperf.report.runfile import read_run, write_run


def record(nodeid: str = "t.py::t", **metrics: float) -> PerfRecord:
    return PerfRecord(nodeid, [MeasurementRecord(None, "ask", 1, 0, metrics, {}, [])], [], 0)


def content() -> dict[str, Any]:
    return {
        "version": 1,
        "units": {"latency_max": "s"},
        "created": "",
        "environment": "",
        "versions": {},
        "exit_status": 0,
        "places": {},
        "lost": [],
        "notes": [],
        "regressions": "fail",
        "tests": [record(latency_max=0.5).to_builtin()],
    }


def refusal(path: Path) -> str:
    with pytest.raises(FileFormatError) as caught:
        read_run(path)
    return str(caught.value)


def test_run_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "run.json"
    run = Run(
        [record(latency_max=0.5), record("t.py::µ[\x1b\n]")],
        created="2026-11-21T15:00:00+00:00",
        environment="a processor × 2; Linux",
        versions={"pytest": "9.2.0"},
        exit_status=1,
        places={"t.py::t": "t.py:3"},
        lost=["t.py::crash"],
        notes=["mind the gap"],
    )
    write_run(path, run)
    assert read_run(path) == run
    write_run(path, Run([]))
    assert read_run(path) == Run([])


def test_run_is_json_of_a_version(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_run(path, Run([record(latency_max=0.5)]))
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == content()
    assert text.endswith("}\n")


def test_run_with_a_number_that_json_lacks_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_run(path, Run([record()]))
    with pytest.raises(ValueError, match="JSON compliant"):
        write_run(path, Run([record(latency_max=float("nan"))]))
    assert read_run(path) == Run([record()])


@pytest.mark.parametrize("length", [0, 1, 50, 150, -3])
def test_run_that_is_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "run.json"
    write_run(path, Run([record(latency_max=0.5)]))
    path.write_text(path.read_text(encoding="utf-8")[:length], encoding="utf-8")
    assert refusal(path).startswith(f"{path}: no saved run: ")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", "expected an object with version 1"),
        ("{}", "expected an object with version 1"),
        ('{"version": 2, "tests": []}', "expected an object with version 1"),
        ('{"version": "1", "tests": []}', "expected an object with version 1"),
        ('{"version": 1}', "expected a list under 'tests'"),
        ('{"version": 1, "tests": {}}', "expected a list under 'tests'"),
        ('{"version": 1, "tests": [5]}', "a record is 5; expected an object with nodeid, "),
        ('{"version": 1, "version": 1, "tests": []}', "an object has the same key twice"),
        ('{"version": 1, "tests": [{"a": 1, "a": 1}]}', "an object has the same key twice"),
        ('{"version": 1, "tests": [NaN]}', "NaN is no number of JSON"),
        ('{"version": 1, "tests": [-Infinity]}', "-Infinity is no number of JSON"),
        ('{"version": 1, "tests": ' + "[" * 100_000, "maximum recursion depth"),
        ('{"version": 1, "tests": [' + "1" * 5000 + "]}", "Exceeds the limit"),
    ],
    ids=range(13),
)
def test_run_that_this_plugin_did_not_write_is_refused(
    tmp_path: Path, text: str, sentence: str
) -> None:
    path = tmp_path / "run.json"
    path.write_text(text, encoding="utf-8")
    assert refusal(path).startswith(f"{path}: no saved run: {sentence}")


@pytest.mark.parametrize("number", ["1e999", "true", '"1"', "null", "[1]"])
def test_run_with_a_metric_that_is_no_finite_number_is_refused(tmp_path: Path, number: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(content()).replace("0.5", number), encoding="utf-8")
    assert "field 'metrics' of a record is {'latency_max': " in refusal(path)


def test_run_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(b"\xff")
    assert "no UTF-8 text at byte 0" in refusal(path)


def test_run_that_is_missing_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_run(tmp_path / "none.json")
