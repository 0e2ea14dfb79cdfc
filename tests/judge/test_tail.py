"""Tests of the tail rule."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.judge.runs import Run
from pytest_agentperf.judge.tail import arcsines, find_cut, shares_above

LATENCIES = st.lists(st.floats(1e-4, 10), min_size=1, max_size=60)


def run(*latencies: float) -> Run:
    ordered = tuple(sorted(latencies))
    return Run(ordered[len(ordered) // 2], len(ordered), ordered)


def simple_cut(runs: list[Run]) -> float:
    """Return the pooled percentile the long way: by linear interpolation of all values."""
    values = sorted(latency / run.scale for run in runs for latency in run.latencies)
    rank = 0.95 * (len(values) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(values) - 1)
    return values[low] + (rank - low) * (values[high] - values[low])


@given(st.lists(LATENCIES, min_size=1, max_size=6))
def test_cut_is_the_95th_percentile_of_all_calls_in_medians(sides: list[list[float]]) -> None:
    runs = [run(*latencies) for latencies in sides]
    assert find_cut(runs) == pytest.approx(simple_cut(runs))


def test_cut_of_one_to_a_hundred_is_interpolated() -> None:
    # numpy.percentile(range(1, 101), 95) = 95.05; the median of the run is 51.
    assert find_cut([run(*range(1, 101))]) == pytest.approx(95.05 / 51)


def test_share_counts_calls_beyond_the_cut_but_not_at_it() -> None:
    runs = [run(1, 1, 2, 3), run(10, 10, 10, 30)]
    assert [one.scale for one in runs] == [2, 10]
    assert shares_above(runs, 1.5) == [0, 0.25]
    assert shares_above(runs, 1.4999) == [0.25, 0.25]


def test_share_does_not_see_that_all_calls_got_slower() -> None:
    random = Random(1)
    base = [random.lognormvariate(-4, 0.3) for _ in range(200)]
    cut = find_cut([run(*base)])
    slower = run(*(1.5 * latency for latency in base))
    assert shares_above([slower], cut) == pytest.approx(shares_above([run(*base)], cut))


def test_arcsines_are_those_of_the_roots() -> None:
    assert arcsines([0, 0.25, 0.5, 1]) == pytest.approx([0, math.pi / 6, math.pi / 4, math.pi / 2])


def test_run_of_a_coarse_clock_has_a_scale() -> None:
    assert Run(0.0, 3, (0.0, 0.0, 0.0)).scale == 1e-9
