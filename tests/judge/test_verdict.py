"""Tests of verdicts: what becomes of a measurement that is held against limits."""

import random
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from itertools import accumulate
from math import comb
from typing import Any

import pytest

from pytest_agentperf.core.effort import Effort
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.judge.limits import Limit, ResolvedLimits, parse_limit
from pytest_agentperf.judge.verdict import (
    FALSE_ALARMS,
    Status,
    Verdict,
    is_open,
    judge,
    needed_rounds,
)

FAILED, UNDECIDED, WARNED, PASSED = Status


def limit(name: str, stated: object, *, is_stated: bool = True) -> Limit:
    _, parsed = parse_limit(name, stated, "here", is_stated=is_stated)
    assert parsed is not None
    return parsed


def resolved(*limits: Limit, **labelled: Limit | None) -> ResolvedLimits:
    """Return *limits* for every measurement, and a p95 limit for each label of *labelled*."""
    by_label: dict[str | None, dict[str, Limit | None]] = {
        None: {one.metric.name: one for one in limits}
    }
    by_label.update({label: {"latency_p95": one} for label, one in labelled.items()})
    return ResolvedLimits(by_label, Effort())


def measured(latencies: Sequence[float] = (), /, **changes: Any) -> Measurement:
    """Return a measurement of *latencies*, and of what *changes* say."""
    samples = {"latency": Sample(latencies)}
    usual = Measurement(None, "ask", len(latencies), 0, samples, {})
    return usual._replace(**changes)


def verdict(measurement: Measurement, *limits: Limit) -> Verdict:
    """Return the only verdict on *measurement*."""
    (found,), _ = judge([measurement], resolved(*limits))
    return found


def above(count: int, total: int) -> list[float]:
    """Return *total* values of which *count* are far above one second and the others at it."""
    return [1.0] * (total - count) + [1000.0] * count


# Numbers that are no percentile


@pytest.mark.parametrize(
    ("name", "stated", "value", "status"),
    [
        ("error_rate", "1%", 0.01, PASSED),
        ("error_rate", "1%", 0.0101, FAILED),
        ("throughput", "50/s", 50.0, PASSED),
        ("throughput", "50/s", 49.9, FAILED),
        ("throughput", {"warn": "60/s", "fail": "50/s"}, 60.0, PASSED),
        ("throughput", {"warn": "60/s", "fail": "50/s"}, 55.0, WARNED),
        ("throughput", {"warn": "60/s", "fail": "50/s"}, 49.0, FAILED),
        ("hit_rate", {"warn": 0.9}, 0.0, WARNED),
        ("error_rate", {"warn": 0.1}, 0.1, PASSED),
        ("error_rate", {"warn": 0.1}, 0.2, WARNED),
        ("misses", 0, 0.0, PASSED),
        ("misses", 0, 1.0, FAILED),
    ],
)
def test_number_passes_at_its_limit_and_not_beyond(
    name: str, stated: object, value: float, status: Status
) -> None:
    found = verdict(measured(samples={}, values={name: value}), limit(name, stated))
    assert (found.status, found.value, found.is_open) == (status, value, False)


@pytest.mark.parametrize(("highest", "status"), [(2.0, PASSED), (2.0001, FAILED)])
def test_latency_without_a_statistic_is_a_limit_on_every_call(
    highest: float, status: Status
) -> None:
    assert verdict(measured([1.0] * 99 + [highest]), limit("latency", "2s")).status is status


def test_statistics_are_judged_by_their_value_alone() -> None:
    assert verdict(measured([1.0, 3.0]), limit("mean", "2s")).status is PASSED
    assert verdict(measured([1.0, 3.1]), limit("mean", "2s")).status is FAILED


@pytest.mark.parametrize(
    ("measurement", "one", "sentence"),
    [
        (
            measured([0.5] * 10 + [2.41]),
            limit("latency", "2s"),
            "max latency was 2.41 s, budget 2 s (11 calls, 1 above it, median 500 ms; here)",
        ),
        (
            measured([0.5, 0.7], looks=1),
            limit("latency", "2s"),
            "max latency was 700 ms, budget 2 s (2 rounds, median 600 ms; here)",
        ),
        (
            measured([0.5]),
            limit("latency", "2s"),
            "max latency was 500 ms, budget 2 s (1 call; here)",
        ),
        (
            measured([1.0, 2.0], conditions="2 xdist workers"),
            limit("mean", {"warn": "1s", "fail": "2s"}),
            (
                "mean latency was 1.5 s, warning from 1 s"
                " (2 calls beside 2 xdist workers, median 1.5 s; here)"
            ),
        ),
        (
            measured([0.5], bound="max_time 5 s"),
            limit("latency", {"warn": "2s"}),
            "max latency was 500 ms, warning from 2 s (1 round; here)",
        ),
        (
            measured(samples={"llm_calls": Sample([1, 4])}, calls=2, conditions="2 xdist workers"),
            limit("llm_calls", 3),
            "llm calls was 4, budget 3 (2 calls, 1 above it, median 2.5; here)",
        ),
        (
            measured(samples={}, values={"throughput": 30.0}, calls=9, conditions="4 workers"),
            limit("throughput", "50/s"),
            "throughput was 30/s, budget 50/s (9 calls beside 4 workers; here)",
        ),
        (
            measured(samples={}, values={"rss_peak": 3e6}, calls=1, conditions="2 workers"),
            limit("rss_peak", "2MB"),
            "rss peak was 3 MB, budget 2 MB (1 call beside 2 workers; here)",
        ),
        (
            measured(samples={}, values={"memory_peak": 3e6}, calls=1, conditions="2 workers"),
            limit("memory_peak", "2MB"),
            "memory peak was 3 MB, budget 2 MB (1 call; here)",
        ),
        (
            measured([0.2000001]),
            limit("latency", "200ms"),
            "max latency was 200.0001 ms, budget 200 ms (1 call; here)",
        ),
        (
            measured([0.2]),
            limit("latency", "200ms"),
            "max latency was 200 ms, budget 200 ms (1 call; here)",
        ),
    ],
)
def test_verdict_says_all_of_it_in_one_sentence(
    measurement: Measurement, one: Limit, sentence: str
) -> None:
    assert verdict(measurement, one).sentence == sentence


# Percentiles


def naive_tail(count: int, total: int, chance: Fraction) -> Fraction:
    """Return P(X >= count), the smaller side summed."""
    below = sum(comb(total, i) * chance**i * (1 - chance) ** (total - i) for i in range(count))
    return 1 - Fraction(below)


@pytest.mark.parametrize("looks", [1, 7])
@pytest.mark.parametrize(("name", "total"), [("p95", 20), ("p95", 59), ("p95", 160), ("p99", 100)])
def test_percentile_fails_from_the_count_that_chance_does_not_explain(
    name: str, total: int, looks: int
) -> None:
    chance = 1 - Fraction(name[1:]) / 100
    first = next(
        k for k in range(total) if naive_tail(k, total, chance) <= Fraction(1, 100) / looks
    )
    one = limit(name, "1s")
    failed = verdict(measured(above(first, total), planned_looks=looks), one)
    undecided = verdict(measured(above(first - 1, total), planned_looks=looks), one)
    assert (failed.status, failed.is_open) == (FAILED, False)
    assert (undecided.status, undecided.is_open) == (UNDECIDED, True)


def test_percentile_of_20_calls_fails_from_5_above_and_of_7_looks_too() -> None:
    # P(X >= 4) = 0.0159, P(X >= 5) = 0.0026, P(X >= 6) = 0.0003 for X ~ Binomial(20, 0.05);
    # a seventh of 1 % is 0.0014.
    one = limit("p95", "1s")
    assert verdict(measured(above(4, 20)), one).status is UNDECIDED
    assert verdict(measured(above(5, 20)), one).status is FAILED
    assert verdict(measured(above(5, 20), planned_looks=7), one).status is UNDECIDED
    assert verdict(measured(above(6, 20), planned_looks=7), one).status is FAILED


def test_looks_that_happened_count_where_fewer_were_planned() -> None:
    one = limit("p95", "1s")
    assert verdict(measured(above(5, 20), looks=7), one).status is UNDECIDED
    assert verdict(measured(above(6, 20), looks=7), one).status is FAILED


@pytest.mark.parametrize(("name", "needed"), [("p95", 20), ("p99", 100), ("p50", 2)])
def test_percentile_passes_from_the_number_of_values_that_it_needs(name: str, needed: int) -> None:
    one = limit(name, "1s")
    enough, too_few = verdict(measured([1.0] * needed), one), verdict(measured([1.0] * 19), one)
    assert (enough.status, enough.is_open) == (PASSED, False)
    if needed > 19:
        assert (too_few.status, too_few.is_open) == (UNDECIDED, True)


def test_percentile_at_its_limit_passes_and_just_above_is_open() -> None:
    one = limit("p95", "1s")
    assert verdict(measured([1.0] * 20), one).status is PASSED
    assert verdict(measured([1.0] * 18 + [1.1] * 2), one).status is UNDECIDED


def test_percentile_of_few_values_fails_where_chance_is_no_explanation() -> None:
    # 0.05^2 = 0.0025: two of two above are enough.
    one = limit("p95", "1s")
    assert verdict(measured(above(2, 2)), one).status is FAILED
    assert verdict(measured(above(1, 1)), one).status is UNDECIDED


@pytest.mark.parametrize(
    ("stated", "status"),
    [
        ({"warn": "900ms", "fail": "2s"}, WARNED),
        ({"warn": "1s", "fail": "2s"}, PASSED),
        ({"warn": "900ms"}, WARNED),
        ({"warn": "1s"}, PASSED),
    ],
)
def test_percentile_warns_beyond_its_warning(stated: object, status: Status) -> None:
    assert verdict(measured([1.0] * 20), limit("p95", stated)).status is status


@pytest.mark.parametrize(
    ("measurement", "sentence"),
    [
        (
            measured([0.8] * 59 + [3.0], looks=2),
            (
                "p95 latency was 800 ms, budget 1 s"
                " (60 rounds, one-sided 95 % bounds 800 ms and 3 s; here)"
            ),
        ),
        (
            measured([0.8] * 20),
            (
                "p95 latency was 800 ms, budget 1 s (20 calls, one-sided 95 % lower bound 800 ms,"
                " no upper bound below 59 calls; here)"
            ),
        ),
        (
            measured([0.8] * 19, looks=1),
            (
                "p95 latency is undecided at 800 ms, budget 1 s: p95 needs 20 values and there are"
                " 19; state rounds=20 (19 rounds; here)"
            ),
        ),
        (
            measured([0.8]),
            (
                "p95 latency is undecided at 800 ms, budget 1 s: p95 needs 20 values and there are"
                " 1; make at least 20 calls (1 call; here)"
            ),
        ),
        (
            measured(above(3, 20), bound="max_calls=20", looks=1),
            (
                "p95 latency is undecided at 1000 s, budget 1 s: 3 of 20 values above it are within"
                " chance; raise max_calls=20 (20 rounds; here)"
            ),
        ),
        (
            measured(above(3, 20), looks=1),
            (
                "p95 latency is undecided at 1000 s, budget 1 s: 3 of 20 values above it are within"
                " chance; state rounds=40 (20 rounds; here)"
            ),
        ),
    ],
)
def test_verdict_on_a_percentile_shows_its_bounds_or_the_cure(
    measurement: Measurement, sentence: str
) -> None:
    shown = verdict(measurement, limit("p95", "1s")).sentence.replace("16.7 min", "1000 s")
    assert shown == sentence


def test_bounds_are_values_of_the_sample() -> None:
    # Wilks: of 93 values the second highest bounds p95 from above; from below it is rank
    # 94 - 9 = 85, for P(X >= 9) = 0.049 and P(X >= 8) = 0.103 where X ~ Binomial(93, 0.05).
    chance = Fraction(5, 100)
    assert naive_tail(9, 93, chance) <= chance < naive_tail(8, 93, chance)
    values = [i / 100 for i in range(1, 94)]
    sentence = verdict(measured(values), limit("p95", "1s")).sentence
    assert "one-sided 95 % bounds 850 ms and 920 ms" in sentence


def test_low_percentile_has_no_lower_bound_where_values_are_few() -> None:
    values = [1.0] * 20
    sentence = verdict(measured(values), limit("p5", "1s")).sentence
    assert "one-sided 95 % bounds none and 1 s" in sentence
    short = verdict(measured([1.0] * 4), limit("p50", "1s")).sentence
    assert "no upper bound below 5 calls" in short


def test_percentile_that_is_one_number_is_undecided() -> None:
    found = verdict(measured(samples={}, values={"latency": 0.5}), limit("p95", "1s"))
    assert found.status is UNDECIDED


# The rule over all looks


Draw = Callable[[random.Random], int]


def binomial_draw(trials: int, chance: float) -> Draw:
    """Return a function that draws from Binomial(trials, chance), by inversion."""
    steps = list(
        accumulate(
            comb(trials, i) * chance**i * (1 - chance) ** (trials - i) for i in range(trials + 1)
        )
    )
    return lambda source: bisect(steps, source.random())


def simulate(name: str, sizes: Sequence[int], chance: float, over: float) -> Counter[Status]:
    """Return the outcomes of 20,000 trials whose values exceed the limit with *chance*.

    A value above the limit is *over* seconds: just above it, interpolation hides a single one;
    far above it, one is enough to keep a verdict open.
    """
    one = limit(name, "1s")

    @cache
    def outcome(count: int, total: int) -> tuple[Status, bool]:
        values = [0.5] * (total - count) + [over] * count
        found = verdict(measured(values, planned_looks=len(sizes)), one)
        return found.status, found.is_open

    source = random.Random(20_240_229)
    steps = [new - old for old, new in zip((0, *sizes), sizes, strict=False)]
    draws = {step: binomial_draw(step, chance) for step in steps}
    ends: Counter[Status] = Counter()
    for _ in range(20_000):
        count, status = 0, UNDECIDED
        for step, total in zip(steps, sizes, strict=True):
            count += draws[step](source)
            status, more = outcome(count, total)
            if not more:
                break
        ends[status] += 1
    return ends


LOOKS = {"p95": (20, 40, 80, 160, 320, 640, 1000), "p99": (100, 200, 400, 800, 1000)}


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.parametrize("over", [1.0001, 1e6])
def test_percentile_that_lies_at_its_limit_fails_in_one_of_a_hundred_runs_at_most(
    name: str, over: float
) -> None:
    chance = 1 - float(name[1:]) / 100
    ends = simulate(name, LOOKS[name], chance, over)
    assert 0 < ends[FAILED] <= 20_000 * FALSE_ALARMS == 200
    assert ends[PASSED] > 14_000


@pytest.mark.parametrize("name", LOOKS)
def test_percentile_with_a_fifth_of_the_calls_above_its_limit_is_caught(name: str) -> None:
    ends = simulate(name, LOOKS[name], 0.2, over=1e6)
    # P(no value of the first 20 is above) = 0.8^20 = 1.15 %: these pass at the first look.
    assert ends[FAILED] >= 19_600
    assert ends[UNDECIDED] == 0


# Open verdicts


def test_verdict_is_open_where_more_calls_could_decide() -> None:
    assert is_open(measured([1.0] * 19), [limit("p95", "1s")])
    assert is_open(measured(above(3, 20)), [limit("latency", "1h"), limit("p95", "1s")])
    assert not is_open(measured([1.0] * 20), [limit("p95", "1s")])
    assert not is_open(measured(above(20, 20)), [limit("p95", "1s")])
    assert not is_open(measured([9.0]), [limit("latency", "1s")])
    assert not is_open(measured([1.0]), [])


def test_verdict_on_what_was_not_recorded_is_not_open() -> None:
    assert not is_open(measured([1.0]), [limit("ttft_p95", "1s"), limit("throughput", 5)])


@pytest.mark.parametrize(
    ("names", "rounds"),
    [([], 5), (["latency"], 5), (["p95"], 20), (["p95", "ttft_p99"], 100), (["p50"], 5)],
)
def test_rounds_are_what_the_tightest_percentile_needs(names: list[str], rounds: int) -> None:
    assert needed_rounds([limit(name, "1s") for name in names]) == rounds


def test_rounds_are_at_least_what_is_asked_for() -> None:
    assert needed_rounds([limit("p95", "1s")], least=50) == 50
    assert needed_rounds([], least=1) == 1


# What is unknown or was not recorded


def test_unknown_number_is_undecided_with_its_cure() -> None:
    measurement = measured([1.0], unknown={"tokens_per_call": "a reply had no usage; give usage="})
    found = verdict(measurement, limit("tokens_per_call", 100))
    assert (found.status, found.value, found.is_open) == (UNDECIDED, None, False)
    assert found.sentence == (
        "tokens per call is unknown: a reply had no usage; give usage= (here)"
    )


@pytest.mark.parametrize(("tokens", "status"), [(100, UNDECIDED), (101, FAILED)])
def test_number_that_is_known_in_part_can_fail_and_not_pass(tokens: int, status: Status) -> None:
    measurement = measured(
        samples={"tokens_per_call": Sample([5, tokens])},
        calls=3,
        unknown={"tokens_per_call": "one reply had no usage"},
    )
    assert verdict(measurement, limit("tokens_per_call", 100)).status is status


@pytest.mark.parametrize("bound", ["1ms", "1h"])
@pytest.mark.parametrize("name", ["p95", "latency"])
def test_number_in_doubt_is_undecided_on_either_side_of_its_limit(name: str, bound: str) -> None:
    measurement = measured([1.0] * 100, doubts={"latency": "the generator was late; load less"})
    found = verdict(measurement, limit(name, bound))
    assert (found.status, found.value, found.is_open) == (UNDECIDED, 1.0, False)
    assert "latency is undecided at 1 s, budget" in found.sentence
    assert "the generator was late; load less (100 calls; here)" in found.sentence


def test_doubt_of_another_quantity_is_none() -> None:
    measurement = measured([1.0] * 100, doubts={"ttft": "the generator was late"})
    assert verdict(measurement, limit("p95", "2s")).status is PASSED


def test_recorder_without_a_value_is_undecided() -> None:
    found = verdict(measured([], calls=4), limit("p95", "1s"))
    assert (found.status, found.value) == (UNDECIDED, None)
    assert found.sentence == (
        "p95 latency is unknown: none of 4 calls ended without an error (here)"
    )


def test_limit_stated_for_a_test_that_does_not_record_its_metric_fails() -> None:
    verdicts, ignored = judge([measured([1.0])], resolved(limit("hit_rate", "90%")))
    assert [(one.status, one.value, one.sentence) for one in verdicts] == [
        (
            FAILED,
            None,
            "hit rate was not measured: nothing recorded it; it is recorded by perf_cache (here)",
        )
    ]
    assert ignored == 0


def test_inherited_limit_does_not_apply_where_its_metric_is_not_recorded() -> None:
    limits = resolved(
        limit("hit_rate", "90%", is_stated=False), limit("latency", "1s", is_stated=False)
    )
    verdicts, ignored = judge([measured([1.0])], limits)
    assert [one.metric.name for one in verdicts] == ["latency_max"]
    assert ignored == 1


def test_limit_on_a_label_that_nothing_recorded_fails_and_names_the_labels() -> None:
    limits = resolved(retrieve=limit("p95", "1s"))
    verdicts, _ = judge([measured([1.0], label="plan"), measured([1.0])], limits)
    assert [(one.status, one.label) for one in verdicts] == [(FAILED, "retrieve")]
    assert verdicts[0].sentence == (
        "p95 latency was not measured: nothing was recorded under the label 'retrieve'"
        " (recorded labels: 'plan') (here)"
    )
    nothing, _ = judge([], limits)
    assert "(recorded labels: none)" in nothing[0].sentence


def test_limit_on_a_label_that_recorded_something_else_fails_and_names_the_recorder() -> None:
    limits = resolved(plan=limit("p95", "1s"))
    verdicts, _ = judge([measured(samples={}, label="plan")], limits)
    assert "nothing recorded it; it is recorded by perf_timer" in verdicts[0].sentence


def test_limit_without_a_label_judges_every_measurement_that_has_the_metric() -> None:
    measurements = [
        measured([1.0], label="a"),
        measured(samples={}, values={"hit_rate": 0.5}, label="b"),
        measured([3.0]),
    ]
    verdicts, ignored = judge(measurements, resolved(limit("latency", "2s")))
    assert [(one.label, one.status) for one in verdicts] == [(None, FAILED), ("a", PASSED)]
    assert ignored == 0


def test_limit_with_a_label_wins_on_its_measurement() -> None:
    measurements = [measured([1.0] * 20, label="a"), measured([1.0] * 20, label="b")]
    verdicts, _ = judge(measurements, resolved(limit("p95", "500ms"), a=limit("p95", "2s")))
    assert [(one.label, one.status, one.limit.fail) for one in verdicts] == [
        ("b", FAILED, 0.5),
        ("a", PASSED, 2.0),
    ]


def test_limit_that_is_off_for_a_label_is_not_judged() -> None:
    verdicts, ignored = judge(
        [measured([1.0] * 20, label="a")], resolved(limit("p95", "500ms"), a=None)
    )
    assert (verdicts, ignored) == ([], 0)


def test_verdicts_are_worst_first_and_then_in_order_of_the_limits() -> None:
    measurement = measured([1.0] * 5, unknown={"cost_per_call": "no price"})
    limits = resolved(
        limit("min", "2s"),
        limit("mean", {"warn": "500ms"}),
        limit("cost_per_call", 1),
        limit("max", "500ms"),
        limit("p50", "2s"),
        limit("hit_rate", "5%"),
    )
    verdicts, _ = judge([measurement], limits)
    assert [(one.status, one.metric.name) for one in verdicts] == [
        (FAILED, "latency_max"),
        (FAILED, "hit_rate"),
        (UNDECIDED, "cost_per_call"),
        (WARNED, "latency_mean"),
        (PASSED, "latency_min"),
        (PASSED, "latency_p50"),
    ]


def test_test_that_did_not_end_is_judged_by_what_it_recorded_alone() -> None:
    measurement = measured([3.0], unknown={"cost_per_call": "no price"})
    limits = resolved(
        limit("latency", "2s"), limit("cost_per_call", 1), limit("hit_rate", "5%"), a=None
    )
    verdicts, ignored = judge([measurement], limits, is_complete=False)
    assert [(one.status, one.metric.name) for one in verdicts] == [(FAILED, "latency_max")]
    assert ignored == 0


def test_test_without_limits_has_no_verdicts() -> None:
    assert judge([measured([1.0])], resolved()) == ([], 0)
