"""Tests of limits and of how layers of them merge."""

import math

import pytest

from pytest_agentperf.core.effort import Effort
from pytest_agentperf.core.errors import BudgetError, UnitError, UnknownNameError
from pytest_agentperf.core.metrics import find_metric
from pytest_agentperf.judge.limits import Layer, Limit, ResolvedLimits, merge_layers, parse_limit


def limit(name: str, fail: float | None, source: str = "here", warn: float | None = None) -> Limit:
    return Limit(find_metric(name), fail, warn, source, is_stated=True)


def layer(name: str, fail: float | None, source: str = "here", label: str | None = None) -> Layer:
    """Return a layer of one limit; off where *fail* is None."""
    stated = None if fail is None else limit(name, fail, source)
    return Layer({find_metric(name).name: stated}, label)


@pytest.mark.parametrize(
    ("name", "stated", "full", "fail", "warn"),
    [
        ("p95", "200ms", "latency_p95", 0.2, None),
        ("p95", 0.2, "latency_p95", 0.2, None),
        ("p95", "< 200ms", "latency_p95", 0.2, None),
        ("p95", " <=200ms", "latency_p95", 0.2, None),
        ("throughput", ">= 50/s", "throughput", 50.0, None),
        ("throughput", ">50", "throughput", 50.0, None),
        ("latency", {"warn": "1s", "fail": "2s"}, "latency_max", 2.0, 1.0),
        ("latency", {"warn": "2s", "fail": "2s"}, "latency_max", 2.0, 2.0),
        ("latency", {"warn": "1s"}, "latency_max", None, 1.0),
        ("latency", {"fail": "<2s"}, "latency_max", 2.0, None),
        ("hit_rate", {"warn": "90%", "fail": "80%"}, "hit_rate", 0.8, 0.9),
        ("tokens_per_request", "1.5k", "tokens_per_call", 1500.0, None),
        ("llm_calls", 0, "llm_calls", 0.0, None),
        ("memory_mb", 50, "memory_peak", 5e7, None),
        ("memory_mb", 0.5, "memory_peak", 5e5, None),
        ("memory_mb", {"warn": 1, "fail": "2 MiB"}, "memory_peak", 2097152.0, 1e6),
        ("memory_per_request", "1kB", "memory_peak", 1000.0, None),
    ],
)
def test_limit_is_parsed(
    name: str, stated: object, full: str, fail: float | None, warn: float | None
) -> None:
    found, parsed = parse_limit(name, stated, "here", is_stated=False)
    assert found == full
    assert parsed == Limit(find_metric(full), fail, warn, "here", is_stated=False)


def test_limit_that_is_off_is_none() -> None:
    assert parse_limit("p95", "off", "here", is_stated=True) == ("latency_p95", None)


@pytest.mark.parametrize(
    ("name", "stated", "error", "sentence"),
    [
        ("latncy", "1s", UnknownNameError, "unknown metric 'latncy'; did you mean 'latency'?"),
        ("p101", "1s", BudgetError, "metric 'p101': expected a percentile above 0 and below 100;"),
        (
            "p95",
            ">= 200ms",
            BudgetError,
            "'>= 200ms': latency_p95 takes an upper limit; write <= or no sign at all",
        ),
        (
            "throughput",
            "<5/s",
            BudgetError,
            "'<5/s': throughput takes a lower limit; write >= or no sign at all",
        ),
        ("p95", "=5ms", UnitError, "'=5ms': expected a time such as"),
        ("p95", {}, BudgetError, "a table with nothing; expected warn, fail, or both"),
        (
            "p95",
            {"fail": 1, "wran": 2},
            BudgetError,
            "a table with 'fail', 'wran'; expected warn, fail, or both",
        ),
        (
            "p95",
            {"warn": "1s", "fail": "500ms"},
            BudgetError,
            "warn 1 s lies beyond fail 500 ms; a warning comes first",
        ),
        (
            "hit_rate",
            {"warn": "80%", "fail": "90%"},
            BudgetError,
            "warn 80 % lies beyond fail 90 %; a warning comes first",
        ),
        ("p95", {"warn": "off"}, UnitError, "'off': expected a time such as"),
        ("p95", None, UnitError, "None: expected a time such as"),
        ("p95", True, UnitError, "True: expected a time such as"),
        ("p95", math.nan, UnitError, "nan: expected a finite time of zero or more"),
        ("p95", [1], UnitError, "[1]: expected a time such as"),
        ("memory_peak", 50, UnitError, "50: a size needs a unit; expected one of B, kB,"),
        ("memory_mb", True, UnitError, "True: expected a size such as"),
        ("memory_mb", "50", UnitError, "'50': a size needs a unit; expected one of B, kB,"),
        ("memory_mb", -1, UnitError, "'-1 MB': expected a finite size of zero or more"),
        ("memory_per_request", 50, UnitError, "50: a size needs a unit;"),
    ],
)
def test_limit_that_cannot_be_meant_is_refused(
    name: str, stated: object, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error) as caught:
        parse_limit(name, stated, "here", is_stated=True)
    assert str(caught.value).startswith(sentence)


def test_scaled_limit_says_its_factor() -> None:
    scaled = limit("p95", 2.0, warn=1.0).scaled(1.5)
    assert (scaled.fail, scaled.warn, scaled.source) == (3.0, 1.5, "here × 1.5")
    assert limit("p95", None, warn=1.0).scaled(2).fail is None
    assert limit("p95", 1.0).scaled(2).warn is None


def test_later_layer_wins_per_metric() -> None:
    resolved = merge_layers(
        [layer("p95", 1, "a"), layer("mean", 2, "a"), layer("p95", 3, "b"), Layer()]
    )
    assert [(one.metric.name, one.fail, one.source) for one in resolved.of(None)] == [
        ("latency_p95", 3, "b"),
        ("latency_mean", 2, "a"),
    ]


def test_layer_switches_an_earlier_limit_off_and_a_later_one_on_again() -> None:
    off = [layer("p95", 1), layer("p95", None)]
    assert merge_layers(off).of(None) == []
    assert merge_layers(off).items() == []
    assert merge_layers([*off, layer("p95", 2)]).of(None) == [limit("p95", 2)]


def test_label_wins_per_metric_whatever_comes_later() -> None:
    resolved = merge_layers(
        [layer("p95", 1, label="a"), layer("p95", 2), layer("mean", 3), layer("mean", 4, label="b")]
    )
    assert {one.metric.name: one.fail for one in resolved.of("a")} == {
        "latency_p95": 1,
        "latency_mean": 3,
    }
    assert [one.fail for one in resolved.of(None)] == [2, 3]
    assert [one.fail for one in resolved.of("c")] == [2, 3]


def test_label_switches_a_limit_off_for_itself_alone() -> None:
    resolved = merge_layers([layer("p95", 1), layer("p95", None, label="a")])
    assert resolved.of("a") == []
    assert resolved.of("b") == resolved.of(None) == [limit("p95", 1)]


def test_items_are_the_limits_with_their_labels() -> None:
    resolved = merge_layers([layer("p95", 1), layer("mean", 2, label="a")])
    assert resolved.items() == [(None, limit("p95", 1)), ("a", limit("mean", 2))]


def test_scale_holds_for_earlier_layers_of_its_quantity_alone() -> None:
    resolved = merge_layers(
        [
            layer("p95", 1),
            layer("ttft_p95", 1),
            layer("mean", None),
            layer("p99", 1, label="a"),
            Layer(scale={"latency": 2.0}),
            layer("p50", 1),
        ]
    )
    assert {one.metric.name: one.fail for one in resolved.of("a")} == {
        "latency_p95": 2.0,
        "ttft_p95": 1,
        "latency_p50": 1,
        "latency_p99": 2.0,
    }
    assert [one.source for one in resolved.of(None)] == ["here × 2", "here", "here"]


def test_effort_of_later_layers_wins_per_option() -> None:
    layers = [Layer(effort=Effort(rounds=5, warmup=1)), Layer(effort=Effort(rounds=9))]
    assert merge_layers(layers).effort == Effort(rounds=9, warmup=1)


def test_layers_of_nothing_state_nothing() -> None:
    resolved = merge_layers([])
    assert resolved == ResolvedLimits({}, Effort())
    assert resolved.of("a") == []


def test_kept_limits_are_the_wanted_ones_and_those_switched_off() -> None:
    resolved = merge_layers(
        [layer("p95", 1), layer("mean", 2), layer("p95", None, label="a"), Layer({}, "b")]
    )
    kept = resolved.keep(lambda one: one.metric.name == "latency_p95")
    assert kept.items() == [(None, limit("p95", 1))]
    assert kept.of("a") == []
    assert len(resolved.items()) == 2


def test_layer_over_all_wins_over_limits_with_a_label() -> None:
    def layer(seconds: int, label: str | None = None, *, is_over_all: bool = False) -> Layer:
        name, limit = parse_limit("p95", seconds, "here", is_stated=True)
        return Layer({name: limit}, label, is_over_all=is_over_all)

    named = [layer(1), layer(2, "a")]
    assert [limit.fail for limit in merge_layers([*named, layer(3)]).of("a")] == [2]
    over_all = merge_layers([*named, layer(3, is_over_all=True)])
    assert [limit.fail for limit in over_all.of("a")] == [3]
    again = merge_layers([*named, layer(3, is_over_all=True), layer(4, "a", is_over_all=True)])
    assert [limit.fail for limit in again.of("a")] == [4]
    assert [limit.fail for limit in again.of(None)] == [3]


@pytest.mark.parametrize(
    ("stated", "is_refused"), [("100%", False), (1, False), ("101%", True), (5, True)]
)
def test_share_is_at_most_the_whole(stated: object, *, is_refused: bool) -> None:
    if is_refused:
        with pytest.raises(BudgetError, match="error_rate is at most 100 %"):
            parse_limit("error_rate", stated, "here", is_stated=True)
    else:
        assert parse_limit("error_rate", stated, "here", is_stated=True)[1] is not None
