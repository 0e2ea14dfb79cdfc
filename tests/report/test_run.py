"""Tests of the run."""

import pytest

from pytest_agentperf.core.errors import FileFormatError
from pytest_agentperf.report.record import PerfRecord
from pytest_agentperf.report.run import Run
from tests.report.samples import RUN, measurement, record, verdict


def test_rows_are_worst_first_and_then_in_order_of_the_run() -> None:
    assert [(row.name, row.status) for row in RUN.rows] == [
        ("t.py::test_fail", "failed"),
        ("t.py::test_open#lost", "failed"),
        ("t.py::test_open#plan", "undecided"),
        ("t.py::test_warn", "warned"),
        ("t.py::test_pass", "passed"),
        ("agents/test_b.py::test_answer", "passed"),
        ("t.py::test_free", "measured"),
        ("t.py::test_open#idle", "measured"),
    ]


def test_row_has_the_verdicts_and_the_comparison_of_its_measurement_alone() -> None:
    rows = {row.name: row for row in RUN.rows}
    assert [one.metric for one in rows["t.py::test_open#plan"].verdicts] == ["latency_p95"]
    assert rows["t.py::test_open#idle"].verdicts == []
    compared = rows["agents/test_b.py::test_answer"].comparison
    assert compared is not None
    assert compared.outcome == "regressed"
    assert rows["t.py::test_pass"].comparison is None


def test_row_of_a_label_that_nothing_recorded_has_no_measurement() -> None:
    (row,) = [row for row in RUN.rows if row.label == "lost"]
    assert row.measurement is None
    assert row.metrics == {}


def test_totals_count_rows_by_status_worst_first_without_zeros() -> None:
    assert list(RUN.totals.items()) == [
        *(("failed", 2), ("undecided", 1), ("warned", 1), ("passed", 2), ("measured", 2)),
    ]
    assert Run([record("a", [verdict()])]).totals == {"passed": 1}
    assert Run([]).totals == {}


def test_run_reads_back_from_builtin_types() -> None:
    content = RUN.to_builtin()
    assert Run.from_builtin(content).to_builtin() == content


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("created", 5),
        ("environment", None),
        ("versions", {"a": 1}),
        ("versions", []),
        ("exit_status", True),
        ("exit_status", "0"),
        ("places", {"a": None}),
        ("lost", "abc"),
        ("lost", [1]),
        ("notes", {}),
        ("regressions", None),
    ],
)
def test_run_with_a_field_of_another_type_is_refused(name: str, value: object) -> None:
    content = {**RUN.to_builtin(), name: value}
    with pytest.raises(FileFormatError, match=f"field '{name}' of a record is "):
        Run.from_builtin(content)


@pytest.mark.parametrize("name", ["created", "environment", "versions", "places", "lost", "notes"])
def test_run_without_a_field_is_refused(name: str) -> None:
    content = RUN.to_builtin()
    del content[name]
    with pytest.raises(FileFormatError, match=f"field '{name}' of a record is nothing"):
        Run.from_builtin(content)


def test_run_with_a_verdict_that_there_is_not_is_refused() -> None:
    content = Run([record("a", [verdict("splendid")])]).to_builtin()
    with pytest.raises(FileFormatError, match="verdict 'splendid'; expected failed, undecided, "):
        Run.from_builtin(content)


def test_run_with_a_metric_that_there_is_not_is_refused() -> None:
    for broken in (
        PerfRecord("t", [measurement(metrics={"beauty": 1.0})], [], 0),
        PerfRecord("t", [], [verdict(metric="beauty")], 0),
    ):
        with pytest.raises(FileFormatError, match="unknown metric 'beauty'"):
            Run.from_builtin(Run([broken]).to_builtin())


def test_text_that_cannot_be_encoded_is_spelled_out() -> None:
    odd = "\ud800"
    run = Run([], odd, odd, {odd: odd}, 0, {odd: odd}, [odd], [odd])
    plain = r"\ud800"
    assert Run.from_builtin(run.to_builtin()) == Run(
        [], plain, plain, {plain: plain}, 0, {plain: plain}, [plain], [plain]
    )
