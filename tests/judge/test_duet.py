"""Tests of the paired test. Numbers: scipy.stats.ttest_rel of SciPy 1.17.1."""

import math

import pytest

from pytest_agentperf.judge.duet import compare_pairs, planned_pairs

BASE = [math.log(seconds) for seconds in (0.0100, 0.0102, 0.0098, 0.0101, 0.0099)]
HEAD = [math.log(seconds) for seconds in (0.0111, 0.0110, 0.0108, 0.0113, 0.0109)]


def test_pairs_give_students_paired_t() -> None:
    shift = compare_pairs(BASE, HEAD)
    assert shift.mean / shift.error == pytest.approx(15.859846780855127)
    assert shift.df == 4
    assert shift.p_above == pytest.approx(4.618506816465925e-05)
    assert shift.interval() == pytest.approx((0.08010594651074532, 0.1141047135899225))


def test_what_both_sides_of_a_pair_share_cancels() -> None:
    machine = (0.0, 0.3, -0.2, 0.1, 0.5)
    base, head = ([a + b for a, b in zip(side, machine, strict=True)] for side in (BASE, HEAD))
    assert compare_pairs(base, head).error == pytest.approx(compare_pairs(BASE, HEAD).error)


def test_pairs_must_be_complete() -> None:
    with pytest.raises(ValueError, match="shorter"):
        compare_pairs(BASE, HEAD[:4])


@pytest.mark.parametrize(("tests", "first"), [(1, 10), (4, 10), (5, 5), (50, 5)])
def test_few_tests_begin_with_more_pairs(tests: int, first: int) -> None:
    plan = planned_pairs(tests)
    assert plan[0] == first
    assert list(plan) == sorted(set(plan))
