"""Tests of the runs that measurements are."""

import pytest

from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.gate.runs_of import nodeid_of, runs_of
from pytest_agentperf.judge.runs import Count, Run


def measured(
    label: str | None = None,
    latency: Sample | None = None,
    samples: dict[str, Sample] | None = None,
    values: dict[str, float] | None = None,
) -> Measurement:
    found = {"latency": latency} if latency else {}
    return Measurement(label, "ask", 3, 0, {**found, **(samples or {})}, values or {})


def only_run(measurement: Measurement) -> Run:
    (run,) = runs_of("t.py::test", [measurement], "here", "body").values()
    return run


def test_runs_have_the_name_of_their_test_and_label() -> None:
    found = runs_of(
        "t.py::test[a#b]",
        [measured(None, Sample([1.0])), measured("plan", Sample([2.0]))],
        environment="e",
        body="b",
    )
    assert {name: run.median for name, run in found.items()} == {
        "t.py::test[a#b]": 1.0,
        "t.py::test[a#b]#plan": 2.0,
    }
    assert {nodeid_of(name) for name in found} == {"t.py::test[a#b]"}


def test_run_keeps_median_calls_and_ordered_latencies() -> None:
    run = only_run(measured(latency=Sample([0.3, 0.1, 0.2, 0.6])))
    assert run.median == pytest.approx(0.25)
    assert run.calls == 4
    assert run.latencies == (0.1, 0.2, 0.3, 0.6)
    assert (run.environment, run.body) == ("here", "body")


@pytest.mark.parametrize(("calls", "kept"), [(1, 1), (200, 200), (201, 200), (5000, 200)])
def test_run_keeps_200_latencies_evenly_spaced(calls: int, kept: int) -> None:
    run = only_run(measured(latency=Sample(float(n) for n in range(calls, 0, -1))))
    assert len(run.latencies) == kept
    # Each is the middle of its share.
    assert run.latencies[0] - 1 <= calls / 400
    assert calls - run.latencies[-1] <= calls / 400
    gaps = [after - before for before, after in zip(run.latencies, run.latencies[1:], strict=False)]
    assert max(gaps, default=0) - min(gaps, default=0) <= 1


def test_run_keeps_counts_and_money_and_leaves_times_and_sizes() -> None:
    samples = {
        "llm_calls": Sample([1, 3, 2]),
        "cost_per_call": Sample([0.5, 0.5]),
        "ttft": Sample([0.1]),
        "retries": Sample(),
    }
    values = {"in_flight_max": 4.0, "memory_peak": 1e6, "error_rate": 0.1}
    run = only_run(measured(None, Sample([1.0]), samples, values))
    assert run.counts == {
        "in_flight_max": Count(4, 4, 4),
        "llm_calls": Count(1, 2, 3),
        "cost_per_call": Count(0.5, 0.5, 0.5),
    }


def test_measurement_without_a_latency_is_no_run() -> None:
    assert runs_of("t", [measured(), measured("x", Sample())], "", "") == {}


def test_calls_that_raised_leave_the_others_comparable() -> None:
    one = Measurement(None, "ask", 3, 1, {"latency": Sample([1.0, 2.0])}, {})
    assert only_run(one).calls == 2


def test_what_watched_the_calls_is_part_of_the_body() -> None:
    one = Measurement(None, "ask", 1, 0, {"latency": Sample([1.0])}, {}, monitors=("watch",))
    assert only_run(one).body == "body+watch"
