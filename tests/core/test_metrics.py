"""Tests of the table of metrics and of their names."""

from fractions import Fraction

import pytest

from pytest_agentperf.core.errors import BudgetError, UnknownNameError
from pytest_agentperf.core.metrics import (
    ALIASES,
    QUANTITIES,
    Direction,
    Statistic,
    find_metric,
    needed_values,
    percentile_of,
)
from pytest_agentperf.core.units import Unit

UPPER, LOWER = Direction.UPPER, Direction.LOWER

# The table of the design, section 2, written out.
TABLE = {
    "latency": (Unit.SECONDS, UPPER),
    "ttft": (Unit.SECONDS, UPPER),
    "itl": (Unit.SECONDS, UPPER),
    "items_per_second": (Unit.RATE, LOWER),
    "throughput": (Unit.RATE, LOWER),
    "goodput": (Unit.RATE, LOWER),
    "error_rate": (Unit.SHARE, UPPER),
    "tokens_per_call": (Unit.COUNT, UPPER),
    "input_tokens_per_call": (Unit.COUNT, UPPER),
    "output_tokens_per_call": (Unit.COUNT, UPPER),
    "cost_per_call": (Unit.DOLLARS, UPPER),
    "cost_total": (Unit.DOLLARS, UPPER),
    "output_tokens_per_second": (Unit.RATE, LOWER),
    "llm_calls": (Unit.COUNT, UPPER),
    "tool_calls": (Unit.COUNT, UPPER),
    "retries": (Unit.COUNT, UPPER),
    "parallelism": (Unit.FACTOR, LOWER),
    "in_flight_max": (Unit.COUNT, UPPER),
    "sequential_calls": (Unit.COUNT, UPPER),
    "repeated_calls": (Unit.COUNT, UPPER),
    "loop_block_max": (Unit.SECONDS, UPPER),
    "loop_block_total": (Unit.SECONDS, UPPER),
    "loop_lag_p99": (Unit.SECONDS, UPPER),
    "leaked_tasks": (Unit.COUNT, UPPER),
    "leaked_threads": (Unit.COUNT, UPPER),
    "leaked_fds": (Unit.COUNT, UPPER),
    "memory_peak": (Unit.BYTES, UPPER),
    "memory_growth": (Unit.BYTES, UPPER),
    "memory_growth_per_call": (Unit.BYTES, UPPER),
    "rss_peak": (Unit.BYTES, UPPER),
    "gc_pause_max": (Unit.SECONDS, UPPER),
    "gc_pause_total": (Unit.SECONDS, UPPER),
    "cpu_time_per_call": (Unit.SECONDS, UPPER),
    "cpu_percent": (Unit.SHARE, UPPER),
    "hit_rate": (Unit.SHARE, LOWER),
    "time_saved": (Unit.SECONDS, LOWER),
    "prefix_reuse": (Unit.SHARE, LOWER),
    "misses": (Unit.COUNT, UPPER),
    "evictions": (Unit.COUNT, UPPER),
    "pool_utilization_max": (Unit.SHARE, UPPER),
    "pool_wait_p95": (Unit.SECONDS, UPPER),
    "pool_reuse_rate": (Unit.SHARE, LOWER),
}
SAMPLED = ("latency", "ttft", "itl")


def test_table_is_that_of_the_design() -> None:
    found = {name: (one.unit, one.direction) for name, one in QUANTITIES.items()}
    assert found == TABLE


def test_table_has_statistics_of_times_of_single_calls_alone() -> None:
    assert [name for name, one in QUANTITIES.items() if one.has_statistics] == [*SAMPLED]


@pytest.mark.parametrize("name", [name for name in TABLE if name not in SAMPLED])
def test_metric_without_statistics_is_its_quantity(name: str) -> None:
    metric = find_metric(name)
    assert (metric.name, metric.quantity.name, metric.percentile) == (name, name, None)
    assert metric.unit is TABLE[name][0]
    assert metric.title == name.replace("_", " ")


@pytest.mark.parametrize("name", ["tokens_per_call", "cost_per_call", "llm_calls", "retries"])
def test_metric_per_call_is_that_of_the_worst_call(name: str) -> None:
    assert find_metric(name).statistic is Statistic.MAX


def test_metric_that_a_count_records_says_how() -> None:
    assert QUANTITIES["tool_calls"].recorder == (
        'perf_timer.count(obj, "method", metric="tool_calls")'
    )


@pytest.mark.parametrize("quantity", SAMPLED)
@pytest.mark.parametrize("statistic", ["min", "mean", "max", "stddev"])
def test_metric_names_a_quantity_and_a_statistic(quantity: str, statistic: str) -> None:
    metric = find_metric(f"{quantity}_{statistic}")
    assert (metric.quantity.name, metric.statistic) == (quantity, Statistic(statistic))
    assert metric.percentile is None


@pytest.mark.parametrize(
    ("name", "full", "percentile"),
    [
        ("p95", "latency_p95", Fraction(95)),
        ("p99_9", "latency_p99_9", Fraction(999, 10)),
        ("latency_p59", "latency_p59", Fraction(59)),
        ("latency_p99_9", "latency_p99_9", Fraction(999, 10)),
        ("ttft_p99_99", "ttft_p99_99", Fraction(9999, 100)),
        ("itl_p0_1", "itl_p0_1", Fraction(1, 10)),
        ("p1", "latency_p1", Fraction(1)),
        ("p99_999", "latency_p99_999", Fraction(99999, 1000)),
        ("api_response_time_p95", "latency_p95", Fraction(95)),
        ("api_response_time_p99_9", "latency_p99_9", Fraction(999, 10)),
    ],
)
def test_metric_names_a_percentile_exactly(name: str, full: str, percentile: Fraction) -> None:
    metric = find_metric(name)
    assert (metric.name, metric.percentile, metric.statistic) == (full, percentile, None)


def test_aliases_are_those_of_the_design() -> None:
    assert ALIASES == {
        "latency": "latency_max",
        "ttft": "ttft_max",
        "itl": "itl_max",
        "memory_mb": "memory_peak",
        "memory_per_request": "memory_peak",
        "tokens_per_request": "tokens_per_call",
        "cost_per_request": "cost_per_call",
    }


@pytest.mark.parametrize(
    ("name", "full"),
    [*ALIASES.items(), ("max", "latency_max"), ("api_response_time_mean", "latency_mean")],
)
def test_metric_is_found_by_another_spelling(name: str, full: str) -> None:
    assert find_metric(name) == find_metric(full)
    assert find_metric(name).name == full


@pytest.mark.parametrize("name", ["p0", "p100", "p101", "p999", "p100_1"])
@pytest.mark.parametrize("quantity", ["latency", "ttft"])
def test_percentile_outside_of_0_to_100_is_refused_with_what_to_take(
    quantity: str, name: str
) -> None:
    with pytest.raises(BudgetError) as caught:
        find_metric(f"{quantity}_{name}")
    assert str(caught.value) == (
        f"metric '{quantity}_{name}': expected a percentile above 0 and below 100;"
        f" the highest value is {quantity}_max, the lowest {quantity}_min"
    )


def test_percentile_of_100_is_refused_in_the_short_form_too() -> None:
    with pytest.raises(BudgetError, match=r"^metric 'p100': .* the highest value is latency_max"):
        find_metric("p100")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("latncy", "unknown metric 'latncy'; did you mean 'latency'?"),
        ("tokens_per_cal", "unknown metric 'tokens_per_cal'; did you mean 'tokens_per_call'?"),
        ("memory_mbs", "unknown metric 'memory_mbs'; did you mean 'memory_mb'?"),
        ("p9x", "unknown metric 'p9x'; did you mean 'p99'?"),
        ("ttft_p9x", "unknown statistic of ttft 'p9x'; did you mean 'p99'?"),
        ("latency_men", "unknown statistic of latency 'men'; did you mean 'mean'?"),
        ("tokens_per_call_p95", "unknown metric 'tokens_per_call_p95'; did you mean 'tokens_per"),
        ("tppt_p95", "unknown metric 'tppt_p95'; did you mean 'ttft_p95'?"),
        (
            "ttft_zz",
            "unknown statistic of ttft 'zz'; expected one of max, mean, min, p50, p90, p95, p99, p",
        ),
        ("", "unknown metric ''; expected one of cost_per_call, "),
        ("p1000", "unknown metric 'p1000'; expected one of cost_per_call, "),
        ("p95_", "unknown metric 'p95_'; did you mean 'p95'?"),
    ],
)
def test_unknown_metric_is_refused_with_the_closest(name: str, sentence: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        find_metric(name)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("p95", "p95 latency"),
        ("p99_9", "p99.9 latency"),
        ("latency", "max latency"),
        ("ttft_p50", "p50 ttft"),
        ("itl_mean", "mean itl"),
        ("tokens_per_request", "tokens per call"),
    ],
)
def test_metric_has_a_title_for_sentences(name: str, title: str) -> None:
    assert find_metric(name).title == title


@pytest.mark.parametrize(
    ("name", "needed"),
    # 1 / (1 - p): with floats, 1 / (1 - 0.9) is a little more than 10 and 11 calls would be made.
    [("p50", 2), ("p90", 10), ("p95", 20), ("p99", 100), ("p99_9", 1000), ("p99_99", 10_000)],
)
def test_percentile_needs_the_values_that_tell_it_from_the_highest(name: str, needed: int) -> None:
    assert needed_values(find_metric(name)) == needed


@pytest.mark.parametrize("name", ["latency", "mean", "tokens_per_call", "hit_rate"])
def test_other_metrics_need_one_value(name: str) -> None:
    assert needed_values(find_metric(name)) == 1


@pytest.mark.parametrize(
    ("text", "percentile"),
    [("p95", Fraction(95)), ("p99_9", Fraction(999, 10)), ("p101", Fraction(101))],
)
def test_percentile_is_read_as_written(text: str, percentile: Fraction) -> None:
    assert percentile_of(text) == percentile


@pytest.mark.parametrize("text", ["", "p", "95", "p9x", "p95_", "p_9", "p9999", "p99_9999", "max"])
def test_text_that_is_no_percentile_is_none(text: str) -> None:
    assert percentile_of(text) is None
