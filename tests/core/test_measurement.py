"""Tests of the measurement."""

import math
from collections.abc import Mapping

import pytest

from pytest_agentperf.core.errors import EmptySampleError
from pytest_agentperf.core.finding import Finding
from pytest_agentperf.core.measurement import Measurement, join
from pytest_agentperf.core.metrics import find_metric
from pytest_agentperf.core.sample import Sample


def measured(
    samples: Mapping[str, Sample] | None = None,
    values: Mapping[str, float] | None = None,
    unknown: Mapping[str, str] | None = None,
) -> Measurement:
    return Measurement(
        label=None,
        subject="ask",
        calls=5,
        errors=0,
        samples=samples or {},
        values=values or {},
        unknown=unknown or {},
    )


def test_measurement_has_what_a_recorder_saw_even_if_it_could_not_tell() -> None:
    measurement = measured({"latency": Sample()}, {"hit_rate": 0.5}, {"tokens_per_call": "no"})
    names = ("p95", "latency", "hit_rate", "tokens_per_call", "ttft_p95", "cost_per_call")
    has = [measurement.has(find_metric(name)) for name in names]
    assert has == [True, True, True, True, False, False]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("latency", 10.0),
        ("latency_min", 1.0),
        ("mean", 4.0),
        ("stddev", math.sqrt(12.5)),
        ("p50", 3.0),
        ("p75", 4.0),
        ("tokens_per_call", 30.0),
        ("hit_rate", 0.5),
    ],
)
def test_measurement_reads_the_number_that_a_metric_names(name: str, value: float) -> None:
    measurement = measured(
        {"latency": Sample([4, 1, 3, 2, 10]), "tokens_per_call": Sample([10, 30])},
        {"hit_rate": 0.5},
    )
    assert measurement.value(find_metric(name)) == value


def test_number_wins_over_a_sample_of_the_same_name() -> None:
    measurement = measured({"cost_total": Sample([1.0])}, {"cost_total": 2.0})
    assert measurement.value(find_metric("cost_total")) == 2.0


def test_sample_is_none_where_a_metric_is_one_number() -> None:
    sample = Sample([1.0])
    measurement = measured({"latency": sample}, {"hit_rate": 0.5})
    assert measurement.sample(find_metric("p95")) is sample
    assert measurement.sample(find_metric("hit_rate")) is None


@pytest.mark.parametrize("samples", [{}, {"latency": Sample()}])
def test_value_that_was_not_recorded_is_an_error(samples: dict[str, Sample]) -> None:
    with pytest.raises(EmptySampleError, match=r"^latency_p95 was not recorded by ask$"):
        measured(samples).value(find_metric("p95"))


def test_value_that_is_no_finite_number_is_an_error() -> None:
    with pytest.raises(EmptySampleError, match=r"^latency_max of ask is no finite number$"):
        measured({"latency": Sample([math.inf])}).value(find_metric("latency"))


def test_join_keeps_the_labels_apart_and_in_their_order() -> None:
    first, second = watched_as("b", hit_rate=0.5), watched_as("a", hit_rate=0.6)
    assert join([first, second]) == [first, second]


def test_join_keeps_the_worst_of_a_number_and_its_cause() -> None:
    mild = watched_as(None, loop_block_max=0.1, hit_rate=0.5)._replace(
        causes={"loop_block_max": "mild", "hit_rate": "cold"},
        monitors=("loop watch",),
    )
    bad = watched_as(None, loop_block_max=0.3, hit_rate=0.9, leaked_tasks=1)._replace(
        causes={"loop_block_max": "bad", "hit_rate": "warm"},
        findings=(Finding("blocking", "blocked"),),
        monitors=("loop watch", "spans"),
    )
    (joined,) = join([mild, bad])
    assert joined.values == {"loop_block_max": 0.3, "hit_rate": 0.5, "leaked_tasks": 1}
    assert joined.causes == {"loop_block_max": "bad", "hit_rate": "cold"}
    assert joined.findings == bad.findings
    assert joined.monitors == ("loop watch", "spans")


def test_join_keeps_the_samples_of_the_first() -> None:
    sample = Sample()
    sample.add(1.0)
    timed = watched_as(None)._replace(samples={"latency": sample})
    watched = watched_as(None, loop_block_max=0.1)
    for order in ([timed, watched], [watched, timed]):
        (joined,) = join(order)
        assert joined.samples == {"latency": sample}
        assert joined.values == {"loop_block_max": 0.1}


def watched_as(label: str | None, **values: float) -> Measurement:
    return Measurement(label, "ask", 1, 0, {}, values)
