"""Tests of shifts and their errors. Numbers without another source: SciPy 1.17.1."""

import math
from dataclasses import replace

import pytest

from pytest_agentperf.judge.shift import Shift, mean_of, variance_of
from pytest_agentperf.judge.shrinkage import Prior
from pytest_agentperf.judge.studentt import critical

SHIFT = Shift(mean=0.2, variance=0.04, df=4, width=0.5)


def test_p_is_the_tail_beyond_the_mean_in_errors() -> None:
    # 0.2 / (0.2 x 0.5) = 2
    assert SHIFT.p_above == pytest.approx(0.05805826175840778)
    assert SHIFT.p_below == pytest.approx(1 - 0.05805826175840778)


@pytest.mark.parametrize(("mean", "p"), [(0.1, 0.0), (0.0, 0.5), (-0.1, 1.0)])
def test_runs_that_do_not_vary_leave_no_doubt(mean: float, p: float) -> None:
    shift = Shift(mean, 0.0, 4, 0.5)
    assert shift.p_above == p
    assert shift.interval() == (mean, mean)


def test_interval_holds_what_the_level_says() -> None:
    # 2.776 = t(4) at 2.5 %
    assert SHIFT.interval() == pytest.approx((0.2 - 0.2776445, 0.2 + 0.2776445))
    assert SHIFT.interval(0.9)[0] == pytest.approx(0.2 - 0.1 * critical(0.05, 4))


def test_smallest_detectable_shift_is_bar_plus_reserve() -> None:
    # t(4): 4.6041 at 0.5 %, 1.5332 at 10 %; error 0.1
    assert SHIFT.detectable(0.005) == pytest.approx(0.46041 + 0.15332, rel=1e-4)


def test_smallest_detectable_shift_must_pass_the_tolerance_too() -> None:
    assert SHIFT.detectable(0.005, least=0.46) == SHIFT.detectable(0.005)
    assert SHIFT.detectable(0.005, least=0.47) == pytest.approx(0.47 + 0.15332, rel=1e-4)


def test_shrunk_shift_has_the_variance_between_its_own_and_the_suites() -> None:
    shrunk = SHIFT.shrunk(Prior(0.01, 12, 200))
    assert (shrunk.mean, shrunk.width) == (SHIFT.mean, SHIFT.width)
    assert shrunk.variance == pytest.approx((12 * 0.01 + 4 * 0.04) / 16)
    assert shrunk.df == 16


def test_mean_and_variance_are_the_unbiased_ones() -> None:
    assert mean_of([1.0, 2.0, 4.0]) == pytest.approx(7 / 3)
    assert variance_of([1.0, 2.0, 4.0]) == pytest.approx(7 / 3)
    assert math.isclose(variance_of([5.0, 5.0]), 0.0)


def test_doubt_adds_to_the_error_and_is_not_shrunk() -> None:
    doubtful = replace(SHIFT, doubt=0.0044)
    assert doubtful.error == pytest.approx(math.sqrt(0.01 + 0.0044))
    calm = Prior(variance=0.0, df=math.inf, pooled_df=100.0)
    assert doubtful.shrunk(calm).error == pytest.approx(math.sqrt(0.0044))
