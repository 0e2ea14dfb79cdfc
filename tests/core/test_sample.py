"""Tests of samples: exact ones, and those that moved into buckets."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.core import sample as module
from pytest_agentperf.core.errors import EmptySampleError
from pytest_agentperf.core.sample import Sample

VALUES = (4.0, 1.0, 3.0, 2.0, 10.0)
FINITE = st.floats(1e-6, 3600)
# Half of a bucket of (1 + 0.005) / (1 - 0.005), and the rounding of its exponential.
RELATIVE_ERROR = 0.005 + 1e-9


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let samples move into buckets at 100 values, and settle every 10 from then on."""
    monkeypatch.setattr(module, "EXACT_VALUES", 100)
    monkeypatch.setattr(module, "_PENDING", 10)


def noise(count: int, seed: int = 1) -> list[float]:
    """Return latencies as agents have them: most alike, some far above."""
    source = random.Random(seed)
    return [source.lognormvariate(-1, 1) for _ in range(count)]


def filled(values: list[float], lowest: float = 1e-6) -> Sample:
    sample = Sample(lowest=lowest)
    for value in values:
        sample.add(value)
    return sample


def is_exact(sample: Sample) -> bool:
    return sample.is_exact and sample.counted is None


def state(sample: Sample) -> tuple[object, ...]:
    """Return everything that a bucketed sample knows."""
    counted = sample.counted
    assert counted is not None
    buckets, total, square, smallest, largest = counted
    return buckets, pytest.approx(total), pytest.approx(square), smallest, largest, len(sample)


# Exact samples


def test_sample_has_the_exact_statistics_of_its_values() -> None:
    sample = Sample(VALUES)
    assert (sample.count, len(sample)) == (5, 5)
    assert (sample.min, sample.max, sample.sum, sample.mean) == (1.0, 10.0, 20.0, 4.0)
    # Deviations 0, -3, -1, -2, 6: squares sum to 50, over n - 1 = 4.
    assert sample.stddev == math.sqrt(12.5)
    assert is_exact(sample)


@given(st.lists(FINITE, min_size=2, max_size=50))
def test_sample_agrees_with_the_standard_library(values: list[float]) -> None:
    sample = Sample(values)
    assert sample.mean == pytest.approx(statistics.fmean(values))
    assert sample.stddev == pytest.approx(statistics.stdev(values), abs=1e-9)
    assert sample.percentile(50) == pytest.approx(statistics.median(values))
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    assert [sample.percentile(p) for p in range(1, 100)] == pytest.approx(cuts)


def test_sum_is_rounded_once() -> None:
    # Ten times 0.1 added up one by one is 0.9999999999999999.
    assert Sample([0.1] * 10).sum == 1.0


@pytest.mark.parametrize(
    ("p", "value"),
    # Ranks from 0 to 4 over 1, 2, 3, 4, 10: rank 3.8 is 4 + 0.8 * 6.
    [(0, 1.0), (25, 2.0), (50, 3.0), (60, 3.4), (75, 4.0), (95, 8.8), (100, 10.0)],
)
def test_percentile_is_interpolated_between_the_nearest_two(p: float, value: float) -> None:
    assert Sample(VALUES).percentile(p) == pytest.approx(value)


@pytest.mark.parametrize("p", [0, 37.5, 100])
def test_percentile_of_one_value_is_that_value(p: float) -> None:
    assert Sample([7.0]).percentile(p) == 7.0


@pytest.mark.parametrize("p", [-0.1, 100.1, math.nan, math.inf])
def test_percentile_outside_of_0_to_100_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match=f"^percentile {p!r}: expected a number from 0 to 100$"):
        Sample(VALUES).percentile(p)


def test_percentiles_are_attributes() -> None:
    sample = Sample(range(1, 1001))
    assert sample.p50 == 500.5
    assert sample.p95 == pytest.approx(950.05)
    assert sample.p99_9 == pytest.approx(999.001)


def test_attribute_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(AttributeError, match=r"^a sample has no 'median'; try count, .* p99_9$"):
        _ = Sample(VALUES).median


def test_percentile_follows_values_that_come_later() -> None:
    sample = Sample([1.0, 2.0])
    assert sample.p50 == 1.5
    sample.add(9.0)
    assert sample.p50 == 2.0
    sample.append(0.0)
    assert sample.p50 == 1.5


@pytest.mark.parametrize("name", ["min", "max", "mean", "stddev", "p95", "p99_9"])
def test_statistic_of_no_values_is_an_error(name: str) -> None:
    with pytest.raises(EmptySampleError) as caught:
        getattr(Sample(), name)
    assert str(caught.value) == (
        f"{name.replace('_', '.')} of no values: nothing was recorded yet;"
        " make a measured call first"
    )


def test_sample_of_no_values_is_false_and_sums_to_zero() -> None:
    sample = Sample()
    assert not sample
    assert (sample.sum, sample.count, sample.count_above(0), list(sample)) == (0, 0, 0, [])


def test_deviation_of_one_value_is_zero() -> None:
    assert Sample([3.0]).stddev == 0.0


def test_values_are_iterated_as_recorded() -> None:
    sample = Sample(VALUES)
    assert sample.p50 == 3.0  # sorts a copy
    assert list(sample) == [*VALUES]


@pytest.mark.parametrize(("limit", "above"), [(0.9, 5), (1.0, 4), (3.9, 2), (4.0, 1), (10.0, 0)])
def test_values_above_a_limit_are_counted_without_those_at_it(limit: float, above: int) -> None:
    assert Sample(VALUES).count_above(limit) == above


def test_ordered_values_have_ranks_from_one() -> None:
    sample = Sample(VALUES)
    assert [sample.ordered(rank) for rank in range(1, 6)] == sorted(VALUES)


@pytest.mark.parametrize("rank", [0, 6, -1])
def test_rank_without_a_value_is_an_error(rank: int) -> None:
    with pytest.raises(EmptySampleError, match=f"^rank {rank}: expected 1 to 5, the number of"):
        Sample(VALUES).ordered(rank)


def test_sample_shows_itself() -> None:
    assert repr(Sample(VALUES)) == "<Sample of 5 values, median 3, max 10>"
    assert repr(Sample()) == "<Sample of no values>"


# Samples in buckets


@pytest.mark.usefixtures("small_buffers")
def test_sample_keeps_values_up_to_the_bound_and_no_more() -> None:
    sample = filled(noise(99))
    assert is_exact(sample)
    sample.add(1.0)
    assert not is_exact(sample)
    assert list(sample) == []
    assert len(sample) == 100


@pytest.mark.usefixtures("small_buffers")
def test_bucketed_sample_has_exact_count_sum_and_ends() -> None:
    values = noise(1234)
    sample = filled(values)
    assert (sample.count, sample.min, sample.max) == (1234, min(values), max(values))
    assert sample.sum == pytest.approx(math.fsum(values), rel=1e-14)
    assert sample.mean == pytest.approx(statistics.fmean(values), rel=1e-14)
    assert sample.stddev == pytest.approx(statistics.stdev(values), rel=1e-9)
    assert (sample.percentile(0), sample.percentile(100)) == (min(values), max(values))


@pytest.mark.usefixtures("small_buffers")
def test_bucketed_sample_counts_pending_values_in_every_statistic() -> None:
    sample = filled([1.0] * 100)
    sample.append(9.0)
    sample.append(0.5)
    assert list(sample) == [9.0, 0.5]
    assert (sample.count, sample.sum, sample.min, sample.max) == (102, 109.5, 0.5, 9.0)
    assert sample.count_above(5.0) == 1
    assert sample.p50 == pytest.approx(1.0, rel=RELATIVE_ERROR)
    sample.append(20.0)
    # Squares 100 + 81 + 0.25 + 400 over 103 values of sum 129.5, and n - 1.
    assert sample.stddev == pytest.approx(math.sqrt((581.25 - 129.5**2 / 103) / 102))


@pytest.mark.usefixtures("small_buffers")
def test_bucketed_value_is_off_by_half_a_per_cent_at_most() -> None:
    values = [1e-6 * 1.00271**i for i in range(8100)]  # a microsecond to 55 minutes
    assert 3300 < values[-1] < 3600
    sample = filled(values)
    errors = [abs(sample.ordered(i + 1) / value - 1) for i, value in enumerate(values)]
    assert max(errors) <= RELATIVE_ERROR


@pytest.mark.usefixtures("small_buffers")
def test_bucketed_percentile_is_close_to_the_exact_one() -> None:
    values = noise(5000)
    exact, sample = Sample(values), filled(values)
    assert exact.is_exact
    for p in (1, 5, 50, 90, 95, 99, 99.9):
        assert sample.percentile(p) == pytest.approx(exact.percentile(p), rel=RELATIVE_ERROR)


@pytest.mark.usefixtures("small_buffers")
def test_bucketed_values_above_a_limit_are_counted() -> None:
    sample = filled([1.0] * 90 + [2.0] * 30)
    assert [sample.count_above(limit) for limit in (0.5, 1.5, 2.5)] == [120, 30, 0]


@pytest.mark.usefixtures("small_buffers")
def test_bucketed_value_of_zero_or_beyond_an_hour_stays_within_the_ends() -> None:
    sample = filled([0.0] * 60 + [1e6] * 60)
    assert (sample.min, sample.max) == (0.0, 1e6)
    assert 0 <= sample.ordered(30) <= 1.01e-6
    assert 3500 < sample.ordered(90) < 3700  # the last bucket


@pytest.mark.usefixtures("small_buffers")
def test_bucketed_counts_use_the_span_above_their_own_lowest_value() -> None:
    sample = filled([3e9] * 120, lowest=1)
    assert sample.p50 == 3e9
    assert filled([3e9] * 60 + [4e9] * 60, lowest=1).ordered(50) == pytest.approx(
        3e9, rel=RELATIVE_ERROR
    )


@pytest.mark.usefixtures("small_buffers")
def test_memory_of_a_sample_is_bounded() -> None:
    sample = Sample()
    for value in noise(5000):
        sample.add(value)
        assert len(sample._values) < 100
        if not sample.is_exact:
            assert len(sample._values) < 10
    counted = sample.counted
    assert counted is not None
    # ln(3600 / 1e-6) / ln(1.005 / 0.995) = 2200.02 buckets of 8 bytes.
    assert len(counted[0]) == module._BUCKETS <= 2201
    assert sum(counted[0]) + len(sample._values) == 5000


@pytest.mark.usefixtures("small_buffers")
def test_append_stays_bound_when_values_settle() -> None:
    sample = Sample()
    append = sample.append
    for value in noise(250):
        append(value)
    sample.settle()
    append(99.0)
    assert not is_exact(sample)
    assert (sample.count, sample.max) == (251, 99.0)


@pytest.mark.usefixtures("small_buffers")
def test_settling_moves_nothing_below_the_bound() -> None:
    sample = Sample(noise(99))
    sample.settle()
    assert is_exact(sample)
    sample.append(1.0)
    sample.settle()
    assert not is_exact(sample)


def test_default_bound_is_a_million_values() -> None:
    sample = Sample(range(1, 1_000_000))
    sample.settle()
    assert is_exact(sample)
    sample.add(1_000_000)
    sample.add(1_000_001)
    assert not is_exact(sample)
    assert (sample.count, sample.min, sample.max) == (1_000_001, 1.0, 1_000_001.0)
    assert sample.sum == 1_000_001 * 1_000_002 // 2


# Merging


@pytest.mark.usefixtures("small_buffers")
@pytest.mark.parametrize(
    ("first", "second"), [(150, 250), (150, 50), (50, 150), (60, 60), (0, 150), (150, 0)]
)
def test_merged_samples_equal_one_that_recorded_all(first: int, second: int) -> None:
    values = noise(first + second)
    merged, whole = filled(values[:first]), filled(values)
    merged.merge(filled(values[first:]))
    whole.settle()
    merged.settle()
    assert state(merged) == state(whole)
    assert merged.p95 == pytest.approx(whole.p95)
    assert merged.stddev == pytest.approx(whole.stddev)


@pytest.mark.usefixtures("small_buffers")
def test_merged_exact_samples_stay_exact_below_the_bound() -> None:
    merged = Sample([1.0, 2.0])
    merged.merge(Sample([3.0]))
    assert merged.is_exact
    assert list(merged) == [1.0, 2.0, 3.0]


@pytest.mark.usefixtures("small_buffers")
def test_merging_leaves_the_other_sample_as_it_was() -> None:
    other, merged = filled(noise(150)), filled(noise(150, seed=2))
    before = (other.count, other.sum, other.p95)
    merged.merge(other)
    merged.add(1.0)
    assert (other.count, other.sum, other.p95) == before


# In small steps


@pytest.mark.usefixtures("small_buffers")
def test_values_that_are_counted_in_steps_are_those_counted_at_once() -> None:
    values = noise(90)
    stepwise, whole = filled(values), filled(values)
    for _ in range(12):
        stepwise.count_in_buckets(8)
    whole.count_in_buckets(90)
    assert stepwise.kept == whole.kept == 0
    assert state(stepwise) == state(whole)


def test_first_values_are_counted_first() -> None:
    sample = Sample([1.0, 2.0, 3.0, 4.0])
    sample.count_in_buckets(3)
    assert sample.kept == 1
    assert sample.count == 4
    assert list(sample) == [4.0]


def test_values_since_a_look_are_the_later_ones() -> None:
    sample = Sample([1.0, 2.0, 3.0])
    assert list(sample.since(0)) == [1.0, 2.0, 3.0]
    assert list(sample.since(2)) == [3.0]
    assert list(sample.since(3)) == []
    sample.count_in_buckets(2)
    assert list(sample.since(2)) == [3.0]
    assert list(sample.since(0)) == [3.0]


@pytest.mark.usefixtures("small_buffers")
def test_sample_may_count_in_buckets_from_the_start() -> None:
    sample = Sample(exact=0)
    for value in noise(40):
        sample.add(value)
    assert not sample.is_exact
    assert sample.count == 40
