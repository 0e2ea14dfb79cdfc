"""Tests of sparklines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.report.sparkline import can_show, sparkline


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([], ""),
        ([3], "▁"),
        ([3, 3, 3], "▁▁▁"),
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([7, 0], "█▁"),
        ([1e308, 0, 1.7e308], "▅▁█"),
    ],
)
def test_heights_go_from_the_lowest_value_to_the_highest(values: list[float], drawn: str) -> None:
    assert sparkline(values) == drawn


def test_heights_go_from_and_to_what_is_stated() -> None:
    assert sparkline([5, 5, 5], low=0) == "███"
    assert sparkline([5, 5, 5], low=0, high=10) == "▅▅▅"
    assert sparkline([5, 10, 50], low=0, high=10) == "▅██"


def test_ascii_has_as_many_heights() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], is_unicode=False) == "_.:-=+*#"


def test_a_spike_of_one_value_is_seen_among_many() -> None:
    values = [1.0] * 10_000
    values[5_000] = 2.0
    assert sparkline(values, 10) == "▁▁▁▁▁█▁▁▁▁"


@given(
    st.lists(st.floats(0, 1e300), max_size=50),
    st.integers(1, 60),
    st.none() | st.floats(0, 1e300),
    st.none() | st.floats(0, 1e300),
)
def test_line_has_a_character_for_each_value_up_to_its_width(
    values: list[float], width: int, low: float | None, high: float | None
) -> None:
    drawn = sparkline(values, width, low, high)
    assert len(drawn) == min(len(values), width)
    assert set(drawn) <= set("▁▂▃▄▅▆▇█")


@pytest.mark.parametrize(
    ("encoding", "can"),
    [
        ("utf-8", True),
        ("UTF8", True),
        ("ascii", False),
        ("latin-1", False),
        (None, False),
        ("x", False),
    ],
)
def test_characters_are_used_where_the_encoding_has_them(
    encoding: str | None, *, can: bool
) -> None:
    assert can_show(encoding) is can
