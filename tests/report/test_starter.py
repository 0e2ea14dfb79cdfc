"""Tests of the first budget file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.judge.budgetreader import parse_budget_file
from pytest_agentperf.judge.limits import Limit
from pytest_agentperf.report.escape import valid_text
from pytest_agentperf.report.record import MeasurementRecord, PerfRecord
from pytest_agentperf.report.starter import starter_file

HEAD = """\
# Budgets of the measured tests: pytest --perf-budget budgets.toml
# Times are what the last run saw, times 1.3 and 1 ms at least; counts have no noise and
# are exact.
version = 1
"""
# Every character, quotes, backslashes, controls and lone surrogates included.
ANYTHING = st.text(st.characters(exclude_categories=()) | st.sampled_from("\"\\'\n\r\x00\x7f#[]:/"))


def record(
    calls: int = 5, nodeid: str = "t.py::t", label: str | None = None, **metrics: float
) -> PerfRecord:
    return PerfRecord(nodeid, [MeasurementRecord(label, "ask", calls, 0, metrics, {}, [])], [], 0)


def limits(*records: PerfRecord) -> dict[str, float | None]:
    """Return the limits of the only table that *records* come to."""
    ((_, layer),) = parse_budget_file(starter_file(records, "b.toml"), "b.toml").tables.tests
    return {name: limit.fail for name, limit in layer.limits.items() if isinstance(limit, Limit)}


def test_starter_has_a_table_for_each_measurement_with_something_to_limit() -> None:
    measurements = [
        MeasurementRecord(None, "ask", 20, 0, {"latency_p95": 0.5, "latency_max": 0.9}, {}, []),
        MeasurementRecord("plan", "f", 3, 0, {"latency_max": 0.1, "llm_calls": 2.0}, {}, []),
        MeasurementRecord("idle", "g", 3, 0, {"hit_rate": 0.5}, {}, []),
    ]
    text = starter_file([PerfRecord('t.py::t["a"]', measurements, [], 0)], "budgets.toml")
    assert text == HEAD + (
        '\n[tests."t.py::t[\\"a\\"]"]\n'
        'p95 = "650ms"\n'
        '\n[tests."t.py::t[\\"a\\"]#plan"]\n'
        'latency = "130ms"\n'
        'llm_calls = "2"\n'
    )


def test_starter_of_no_records_is_a_valid_file() -> None:
    assert starter_file([], "budgets.toml") == HEAD
    assert parse_budget_file(HEAD, "b.toml").tables.tests == ()


@pytest.mark.parametrize(("calls", "name"), [(19, "latency_max"), (20, "latency_p95")])
def test_percentile_is_limited_where_there_are_calls_enough_to_judge_it(
    calls: int, name: str
) -> None:
    found = limits(record(calls, latency_p95=1.0, latency_max=1.0, ttft_p95=1.0, ttft_max=1.0))
    assert found == {name: 1.3, name.replace("latency", "ttft"): 1.3}


@pytest.mark.parametrize(
    ("value", "limit"),
    [(1.0, 1.3), (0.9, 1.2), (0.123, 0.16), (1e-3, 1.3e-3), (1e-4, 1e-3), (0.0, 1e-3), (100, 132)],
)
def test_time_gets_headroom_and_a_millisecond_at_least(value: float, limit: float) -> None:
    # 130 s are 2.2 min with two digits.
    assert limits(record(latency_max=value))["latency_max"] == pytest.approx(limit)


@given(st.floats(1e-3, 1e5))
def test_time_that_was_measured_is_within_its_limit(value: float) -> None:
    limit = limits(record(latency_max=value))["latency_max"]
    assert limit is not None
    assert 1.2 * value < limit < 1.4 * value


@given(
    st.sampled_from(["tokens_per_call", "cost_per_call", "llm_calls", "tool_calls", "retries"]),
    st.floats(0, 1e12) | st.integers(0, 10**12).map(float),
)
def test_count_that_was_measured_is_its_limit_exactly(name: str, value: float) -> None:
    measurement = MeasurementRecord(None, "ask", 5, 0, {name: value}, {}, [])
    assert limits(PerfRecord("t.py::t", [measurement], [], 0)) == {name: value}


def test_other_metrics_are_not_limited() -> None:
    text = starter_file([record(hit_rate=0.5, memory_peak=5.0, latency_mean=1.0)], "budgets.toml")
    assert text == HEAD


@given(ANYTHING, ANYTHING)
def test_starter_is_a_valid_budget_file_whatever_the_test_is_called(
    nodeid: str, label: str
) -> None:
    text = starter_file([record(nodeid=nodeid, label=label or None, latency_max=1.0)], "b.toml")
    labels = [pattern.label for pattern, _ in parse_budget_file(text, "b.toml").tables.tests]
    assert labels in ([], [valid_text(label) or None])


@given(ANYTHING, ANYTHING.filter(lambda label: not set(label) & {"#", "]"}))
def test_table_matches_the_test_and_the_label_that_it_came_from(name: str, label: str) -> None:
    nodeid = f"tests/t.py::test_x[{name}]"
    text = starter_file([record(nodeid=nodeid, label=label or None, latency_max=1.0)], "b.toml")
    ((pattern, layer),) = parse_budget_file(text, "b.toml").tables.tests
    assert pattern.matches(valid_text(nodeid))
    assert (pattern.label, layer.label) == (valid_text(label) or None, valid_text(label) or None)


@pytest.mark.parametrize(
    ("nodeid", "label"),
    [("t.py::t", "#"), ("t.py::t", "a#b"), ("t.py::t", "a]b"), ("t.py::t#", None)],
)
def test_measurement_that_no_pattern_can_name_has_no_table(nodeid: str, label: str | None) -> None:
    text = starter_file([record(nodeid=nodeid, label=label, latency_max=1.0)], "budgets.toml")
    assert text == HEAD
