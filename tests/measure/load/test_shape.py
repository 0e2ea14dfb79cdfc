"""Tests of the shape of a load: who calls when, and when calls are due."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.measure.load.shape import Segment, Shape
from pytest_agentperf.measure.load.stages import Stage

TIMES = st.sampled_from([0.0, 0.5, 1.0, 10.0])
TARGETS = st.integers(0, 20).map(float)
SHAPES = (
    st.lists(st.builds(Stage, TIMES, TARGETS), min_size=1, max_size=5)
    .map(tuple)
    .filter(lambda stages: any(stage.seconds for stage in stages))
)


def users(*stages: tuple[float, float]) -> Shape:
    return Shape(is_open=False, stages=tuple(Stage(*each) for each in stages))


def rates(*stages: tuple[float, float]) -> Shape:
    return Shape(is_open=True, stages=tuple(Stage(*each) for each in stages))


def target(shape: Shape, at: float) -> float:
    """Return the target at a moment, by another way than the shape goes."""
    for start, end, first, last in shape.segments:
        if start <= at < end:
            return first + (last - first) * (at - start) / (end - start)
    return 0.0


def test_segments_are_the_stages_that_take_time() -> None:
    shape = users((10, 5), (0, 20), (5, 20), (0, 0))
    assert shape.segments == (Segment(0, 10, 0, 5), Segment(10, 15, 20, 20))
    assert shape.seconds == 15
    assert shape.most == 20


def test_users_of_a_ramp_begin_one_after_the_other() -> None:
    shape = users((10, 5), (10, 5))
    assert [list(shape.spans(user)) for user in range(6)] == [
        [(0, 20)],
        [(2, 20)],
        [(4, 20)],
        [(6, 20)],
        [(8, 20)],
        [],
    ]


def test_users_of_a_falling_ramp_end_the_last_first() -> None:
    shape = users((0, 4), (8, 0))
    assert [list(shape.spans(user)) for user in range(4)] == [
        [(0, 8)],
        [(0, 6)],
        [(0, 4)],
        [(0, 2)],
    ]


def test_user_of_two_spikes_calls_twice() -> None:
    assert list(users((1, 2), (1, 0), (1, 0), (1, 2)).spans(1)) == [(0.5, 1.5), (3.5, 4)]


@given(SHAPES, st.integers(0, 20), st.floats(0.001, 0.999))
def test_user_calls_where_the_target_is_more_than_its_number(
    stages: tuple[Stage, ...], user: int, share: float
) -> None:
    shape = Shape(is_open=False, stages=stages)
    at = share * shape.seconds
    is_calling = any(start <= at < end for start, end in shape.spans(user))
    level = target(shape, at)
    if abs(level - user) > 1e-6:
        assert is_calling == (level > user)


def test_calls_at_an_even_rate_are_evenly_apart() -> None:
    assert list(rates((0, 10), (1, 10)).arrivals(itertools.count())) == pytest.approx(
        [n / 10 for n in range(10)]
    )


def test_calls_of_a_ramp_come_faster_and_faster() -> None:
    # The area under 2·t is t², so call n is due at the root of n.
    found = list(rates((3, 6)).arrivals(itertools.count()))
    assert found == pytest.approx([n**0.5 for n in range(9)])


def test_calls_of_a_falling_ramp_come_slower_and_slower() -> None:
    # As those of the ramp, backwards: 9 - n are left after 3 - t seconds.
    found = list(rates((0, 6), (3, 0)).arrivals(itertools.count()))
    assert found == pytest.approx([3 - (9 - n) ** 0.5 for n in range(9)])


def test_no_call_is_due_where_the_rate_is_nothing() -> None:
    found = list(rates((0, 1), (1, 1), (0, 0), (5, 0), (0, 1), (1, 1)).arrivals(itertools.count()))
    assert found == pytest.approx([0, 6])


@given(SHAPES)
def test_as_many_calls_are_due_as_the_area_under_the_rate(stages: tuple[Stage, ...]) -> None:
    shape = Shape(is_open=True, stages=stages)
    due = list(shape.arrivals(itertools.count()))
    area = sum((first + last) / 2 * (end - start) for start, end, first, last in shape.segments)
    assert len(due) == pytest.approx(area, abs=1)
    assert due == sorted(due)
    assert all(0 <= at <= shape.seconds for at in due)
