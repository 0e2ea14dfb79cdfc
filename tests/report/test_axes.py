"""Tests of axes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.report.axes import Axis, fit_axis, tight_axis

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def test_axis_places_its_ends_and_what_lies_between() -> None:
    axis = Axis(2.0, 4.0, 10.0, 110.0)
    assert [axis.place(value) for value in (2.0, 2.5, 4.0)] == [10.0, 35.0, 110.0]
    assert axis.places([2.0, 2.5, 4.0], 4) == [40, 140, 440]


def test_logarithmic_axis_puts_equal_ratios_equally_far_apart() -> None:
    axis = Axis(1.0, 100.0, 0.0, 200.0, is_log=True)
    assert [axis.place(value) for value in (1.0, 10.0, 100.0)] == pytest.approx([0, 100, 200])
    assert axis.places([1.0, 10.0, 100.0], 1) == [0, 100, 200]


@pytest.mark.parametrize("is_log", [False, True])
def test_what_lies_beyond_an_end_is_at_that_end(is_log: bool) -> None:
    axis = Axis(1.0, 2.0, 0.0, 10.0, is_log=is_log)
    assert (axis.place(-5.0), axis.place(50.0)) == (0.0, 10.0)
    assert axis.places([-5.0, 50.0], 1) == [0, 10]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.0, 110.0, [0, 25, 50, 75, 100]),
        (-3.0, 4.0, [-2, 0, 2, 4]),
        (0.031, 0.039, [0.032, 0.034, 0.036, 0.038]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert Axis(low, high, 0, 100).ticks() == pytest.approx(ticks)


def test_ticks_of_a_logarithmic_axis_are_round_and_few() -> None:
    assert Axis(0.9, 11.0, 0, 100, is_log=True).ticks() == [1, 2, 5, 10]
    assert Axis(0.9, 110.0, 0, 100, is_log=True).ticks() == [1, 3, 10, 30, 100]
    assert Axis(1e-9, 1e9, 0, 100, is_log=True).ticks() == pytest.approx(
        [1e-9, 1e-5, 0.1, 1e3, 1e7]
    )


def test_axis_is_logarithmic_where_values_span_more_than_a_decade() -> None:
    assert not fit_axis([1.0, 12.0], 0, 1, logs=True).is_log
    assert fit_axis([1.0, 12.1], 0, 1, logs=True).is_log
    assert not fit_axis([1.0, 12.1], 0, 1).is_log
    assert not fit_axis([0.0, 100.0], 0, 1, logs=True).is_log


def test_axis_has_zero_where_it_is_asked_for() -> None:
    assert fit_axis([5.0, 6.0], 0, 1).low == 0
    assert fit_axis([-5.0, -6.0], 0, 1).high >= 0
    assert 4.9 < fit_axis([5.0, 6.0], 0, 1, from_zero=False).low < 5


@pytest.mark.parametrize("values", [[0.0], [3.0, 3.0], [-7.0]])
def test_axis_of_one_value_has_a_length(values: list[float]) -> None:
    for axis in (tight_axis(values, 0, 1), fit_axis(values, 0, 1, from_zero=False)):
        assert axis.low <= values[0] <= axis.high
        assert axis.low < axis.high


@given(st.lists(FINITE, min_size=1, max_size=9), st.booleans(), st.booleans())
def test_every_value_has_a_place_within_the_ends(
    values: list[float], from_zero: bool, logs: bool
) -> None:
    axis = fit_axis(values, 0, 100, from_zero=from_zero, logs=logs)
    assert all(0 <= place <= 400 for place in axis.places(values, 4))
    assert all(0 <= axis.place(value) <= 100 for value in values)
    assert len(axis.ticks()) <= 8
    assert all(map(math.isfinite, axis.ticks()))
