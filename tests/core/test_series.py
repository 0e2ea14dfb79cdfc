"""Series: few points, whatever is added, that keep the extremes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.core.series import Point, Series


def series_of(values: list[float], most: int = 500) -> Series:
    series = Series(most)
    for at, value in enumerate(values):
        series.add(at, value)
    return series


def test_empty_series_has_no_points() -> None:
    assert Series().points == ()


def test_few_points_are_all_kept() -> None:
    values = [float(n % 7) for n in range(240)]
    assert series_of(values).points == tuple(Point(*pair) for pair in enumerate(values))


@given(
    st.lists(st.integers(-1000, 1000), min_size=1, max_size=3000), st.sampled_from([8, 9, 11, 50])
)
def test_points_are_few_true_ordered_and_extreme(values: list[int], most: int) -> None:
    series = series_of([float(value) for value in values], most)
    points = series.points
    assert series.count == len(values)
    assert len(points) <= most
    assert all(values[int(point.at)] == point.value for point in points)
    assert list(points) == sorted(set(points))
    assert points[0].at == 0
    assert points[-1].at == len(values) - 1
    assert max(point.value for point in points) == max(values)
    assert min(point.value for point in points) == min(values)


@pytest.mark.parametrize("spike", [0, 1, 49_999, 70_001, 99_999])
def test_spike_of_one_call_is_kept_at_its_place(spike: int) -> None:
    series = series_of([float(at == spike) for at in range(100_000)])
    assert Point(spike, 1.0) in series.points
    assert 120 <= len(series.points) <= 500


def test_points_are_spread_evenly() -> None:
    points = series_of([float(at % 2) for at in range(100_000)]).points
    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(points)]
    assert max(gaps) <= 100_000 / 120


def test_series_needs_room_for_its_extremes() -> None:
    with pytest.raises(ValueError, match="most=7: expected 8 points or more"):
        Series(7)
