"""Tests of records: frozen, and as builtin types."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from pytest_agentperf.core.effort import Effort
from pytest_agentperf.core.errors import FileFormatError
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.core.series import Curve, Point
from pytest_agentperf.judge.limits import ResolvedLimits, parse_limit
from pytest_agentperf.judge.verdict import judge
from pytest_agentperf.report.record import (
    CurveRecord,
    MeasurementRecord,
    PerfRecord,
    VerdictRecord,
    make_record,
)


class Float64(float):
    """What `numpy.float64` is: a subclass of float that execnet does not know."""

    __slots__ = ()


class Int64(int):
    """A subclass of int."""


class Text(str):
    """A subclass of str."""

    __slots__ = ()


def record() -> PerfRecord:
    """Return a record with every field filled."""
    return PerfRecord(
        nodeid="t.py::test_x",
        measurements=[
            MeasurementRecord(
                "a",
                "ask",
                20,
                1,
                {"latency_p95": 0.5},
                {"ttft": "no"},
                ["note"],
                curves={"traced memory": CurveRecord("calls", "B", [[0, 0.5], [10, 20.0]])},
            )
        ],
        verdicts=[VerdictRecord("failed", "latency_p95", "a", 0.5, 0.4, 0.3, "here", "too slow")],
        not_applicable=2,
        attempt=3,
    )


def kinds(value: object) -> set[type]:
    """Return the exact types of *value* and of everything in it."""
    inner: list[object] = []
    if isinstance(value, dict):
        inner = [*value, *value.values()]
    elif isinstance(value, list):
        inner = value
    return {type(value)}.union(*map(kinds, inner))


def test_record_reads_back_from_builtin_types() -> None:
    assert PerfRecord.from_builtin(record().to_builtin()) == record()
    assert PerfRecord.from_builtin(json.loads(json.dumps(record().to_builtin()))) == record()


def test_record_is_builtin_types_all_the_way_down() -> None:
    assert kinds(record().to_builtin()) <= {dict, list, str, int, float, type(None)}
    odd = PerfRecord(
        nodeid=Text("t.py::t"),
        measurements=(
            MeasurementRecord(
                None,
                Text("ask"),
                Int64(1),
                Int64(0),
                {Text("latency_p95"): Float64(0.5)},
                {Text("ttft"): Text("no")},
                (Text("note"),),
            ),
        ),
        verdicts=(
            VerdictRecord(
                Text("failed"),
                "latency_p95",
                None,
                Float64(0.5),
                Float64(0.4),
                None,
                "here",
                "s",
            ),
        ),
        not_applicable=Int64(0),
    )
    content = odd.to_builtin()
    assert kinds(content) == {dict, list, str, int, float, type(None)}
    assert content["measurements"][0]["metrics"] == {"latency_p95": 0.5}
    assert PerfRecord.from_builtin(content).nodeid == "t.py::t"


def test_record_has_text_that_can_be_encoded() -> None:
    odd = PerfRecord(
        "t.py::t[\ud800]",
        [
            MeasurementRecord(
                "\udc80", "a", 1, 0, {"a\udfff": 1.0}, {"\ud800": "\ud800"}, ["\ud800"]
            )
        ],
        [],
        0,
    )
    content = odd.to_builtin()
    text = json.dumps(content, ensure_ascii=False)
    text.encode()
    assert content["nodeid"] == "t.py::t[\\ud800]"
    assert content["measurements"][0]["label"] == "\\udc80"


def test_record_is_made_of_measurements_and_verdicts() -> None:
    measurement = Measurement(
        label="a",
        subject="ask",
        calls=3,
        errors=1,
        samples={"latency": Sample([1.0, 2.0, 3.0]), "ttft": Sample(), "llm_calls": Sample([2])},
        values={"error_rate": 0.25},
        unknown={"cost_per_call": "no price"},
        notes=("few calls",),
        curves={"traced memory": Curve("calls", "B", (Point(0, 1), Point(10, 2.5)))},
    )
    parsed = [
        parse_limit("latency", {"warn": 1, "fail": 2}, "here", is_stated=True),
        parse_limit("cost_per_call", {"warn": 1}, "there", is_stated=True),
    ]
    verdicts, _ = judge([measurement], ResolvedLimits({None: dict(parsed)}, Effort()))
    made = make_record("t.py::t", [measurement], verdicts, 4, 2)
    assert (made.nodeid, made.not_applicable, made.attempt) == ("t.py::t", 4, 2)
    (kept,) = made.measurements
    assert (kept.label, kept.subject, kept.calls, kept.errors) == ("a", "ask", 3, 1)
    assert kept.metrics == pytest.approx(
        {
            "latency_min": 1.0,
            "latency_mean": 2.0,
            "latency_max": 3.0,
            "latency_stddev": 1.0,
            "latency_p25": 1.5,
            "latency_p50": 2.0,
            "latency_p75": 2.5,
            "latency_p90": 2.8,
            "latency_p95": 2.9,
            "latency_p99": 2.98,
            "llm_calls": 2.0,
            "error_rate": 0.25,
        }
    )
    assert kept.unknown == {"cost_per_call": "no price"}
    assert kept.notes == ["few calls"]
    assert kept.curves == {"traced memory": CurveRecord("calls", "B", [[0, 1], [10, 2.5]])}
    failed, undecided = made.verdicts
    assert failed == VerdictRecord(
        "failed", "latency_max", "a", 3.0, 2.0, 1.0, "here", verdicts[0].sentence
    )
    assert (undecided.status, undecided.value, undecided.limit) == ("undecided", None, None)
    assert PerfRecord.from_builtin(made.to_builtin()) == made


def put(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    """Return a function that puts *value* at *path* of a record; "none" removes."""

    def change(content: dict[str, Any]) -> None:
        *folders, last = path.split(".")
        target: Any = content
        for folder in folders:
            target = target[int(folder) if folder.isdecimal() else folder]
        if value == "none":
            del target[last]
        else:
            target[last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("nodeid", None, "field 'nodeid' of a record is None"),
        ("nodeid", "none", "field 'nodeid' of a record is nothing"),
        ("attempt", True, "field 'attempt' of a record is True"),
        ("attempt", -1, "field 'attempt' of a record is -1"),
        ("attempt", 1.0, "field 'attempt' of a record is 1.0"),
        ("not_applicable", "0", "field 'not_applicable' of a record is '0'"),
        ("measurements", {}, "field 'measurements' of a record is {}"),
        ("verdicts", None, "field 'verdicts' of a record is None"),
        ("measurements.0.calls", 1.5, "field 'calls' of a record is 1.5"),
        ("measurements.0.errors", "none", "field 'errors' of a record is nothing"),
        ("measurements.0.label", 5, "field 'label' of a record is 5"),
        ("measurements.0.metrics", [], "field 'metrics' of a record is []"),
        ("measurements.0.curves", [], "field 'curves' of a record is []"),
        ("measurements.0.curves.traced memory.axis", 1, "field 'axis' of a record is 1"),
        ("measurements.0.curves.traced memory.points", [[1]], "field 'points' of a record is [[1]"),
        ("measurements.0.curves.traced memory.points", [[0, "1"]], "field 'points' of a record"),
        ("measurements.0.metrics", {"a": True}, "field 'metrics' of a record is {'a': True}"),
        ("measurements.0.metrics", {"a": "1"}, "field 'metrics' of a record is {'a': '1'}"),
        ("measurements.0.metrics", {5: 1.0}, "field 'metrics' of a record is {5: 1.0}"),
        (
            "measurements.0.metrics",
            {"a": float("nan")},
            "field 'metrics' of a record is {'a': nan}",
        ),
        ("measurements.0.unknown", {"a": 1}, "field 'unknown' of a record is {'a': 1}"),
        ("measurements.0.notes", "text", "field 'notes' of a record is 'text'"),
        ("measurements.0.notes", [1], "field 'notes' of a record is [1]"),
        ("verdicts.0.value", True, "field 'value' of a record is True"),
        ("verdicts.0.value", float("inf"), "field 'value' of a record is inf"),
        ("verdicts.0.limit", "1", "field 'limit' of a record is '1'"),
        ("verdicts.0.status", None, "field 'status' of a record is None"),
        ("verdicts.0.sentence", ["x" * 99], f"field 'sentence' of a record is ['{'x' * 58};"),
    ],
)
def test_record_of_other_types_is_refused(path: str, value: object, found: str) -> None:
    content = record().to_builtin()
    put(path, value)(content)
    with pytest.raises(FileFormatError) as caught:
        PerfRecord.from_builtin(content)
    assert str(caught.value).startswith(found.removesuffix(";"))
    assert str(caught.value).endswith("; it was not written by this plugin")


@pytest.mark.parametrize("content", [None, [], "x" * 99, 5])
def test_record_that_is_no_object_is_refused_in_brief(content: object) -> None:
    with pytest.raises(FileFormatError) as caught:
        PerfRecord.from_builtin(content)
    assert str(caught.value) == (
        f"a record is {repr(content)[:60]};"
        " expected an object with nodeid, measurements, verdicts, not_applicable, attempt,"
        " runs, comparisons"
    )


@pytest.mark.parametrize("name", ["measurements", "verdicts"])
def test_record_in_a_record_that_is_no_object_is_refused(name: str) -> None:
    content = record().to_builtin() | {name: [5]}
    with pytest.raises(FileFormatError, match=r"^a record is 5; expected an object with "):
        PerfRecord.from_builtin(content)


@pytest.mark.parametrize("name", ["label", "value", "limit", "warn"])
def test_record_of_a_verdict_may_lack_what_is_not_known(name: str) -> None:
    content = record().to_builtin()
    content["verdicts"][0][name] = None
    assert getattr(PerfRecord.from_builtin(content).verdicts[0], name) is None
