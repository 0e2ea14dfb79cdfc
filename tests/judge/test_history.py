"""Tests of the prediction from a history. Numbers without another source: SciPy 1.17.1."""

import math
from random import Random

import pytest

from pytest_agentperf.judge.history import fit_slope, predict, predict_beside
from pytest_agentperf.judge.shift import variance_of

HISTORY = [math.log(seconds) for seconds in (0.0100, 0.0102, 0.0098, 0.0101, 0.0099, 0.0103)]
NEW = [math.log(0.0112)]
REFERENCES = [math.log(seconds) for seconds in (0.050, 0.052, 0.049, 0.055, 0.051, 0.053)]
VALUES = [math.log(seconds) for seconds in (0.0100, 0.0103, 0.0099, 0.0109, 0.0102, 0.0105)]


def test_prediction_is_students() -> None:
    # t = (y - mean) / (s sqrt(1 + 1/6)) with 5 degrees of freedom
    shift = predict(HISTORY, NEW)
    assert shift.mean / shift.error == pytest.approx(5.394444544434939)
    assert shift.p_above == pytest.approx(0.0014777642344019622)


def test_prediction_takes_its_variance_from_the_history_alone() -> None:
    calm, wild = predict(HISTORY, [1.0, 1.0, 1.0]), predict(HISTORY, [0.0, 1.0, 2.0])
    assert calm.variance == wild.variance == pytest.approx(variance_of(HISTORY))
    assert calm.width == pytest.approx(math.sqrt(1 / 6 + 1 / 3))


def test_slope_is_least_squares_less_the_noise_of_the_reference() -> None:
    # Sxy / (Sxx + 6e-4); 0.8351 without the noise (scipy.stats.linregress)
    assert fit_slope(REFERENCES, VALUES) == pytest.approx(0.7809621846814777)


def test_slope_of_a_test_that_waits_is_zero() -> None:
    assert fit_slope(REFERENCES, [0.5] * 6) == 0


def test_slope_stays_between_nothing_and_a_fifth_more_than_the_machine() -> None:
    assert fit_slope(REFERENCES, [-value for value in REFERENCES]) == 0
    assert fit_slope(REFERENCES, [5 * value for value in REFERENCES]) == 1.2


def test_slope_of_a_machine_that_never_changes_is_not_made_up() -> None:
    still = [math.log(0.05) + 1e-5 * i for i in range(6)]
    assert fit_slope(still, VALUES) < 0.01


def test_slower_machine_is_no_regression_beside_the_reference() -> None:
    history = list(zip(REFERENCES, VALUES, strict=True))
    machine = math.log(1.12)
    head = [(REFERENCES[0] + machine, VALUES[0] + machine)]
    assert predict(VALUES, [head[0][1]]).mean > 0.08
    assert abs(predict_beside(history, head).mean) < 0.04


def test_regression_shows_beside_the_reference() -> None:
    history = list(zip(REFERENCES, VALUES, strict=True))
    head = [(REFERENCES[0], VALUES[0] + math.log(1.2))]
    assert predict_beside(history, head).mean == pytest.approx(math.log(1.2), abs=0.02)


def test_prediction_far_from_known_machines_is_less_sure() -> None:
    history = list(zip(REFERENCES, VALUES, strict=True))
    near = predict_beside(history, [(REFERENCES[0], VALUES[0])])
    far = predict_beside(history, [(REFERENCES[0] + 0.5, VALUES[0] + 0.4)])
    assert far.error > 2 * near.error
    assert near.df == 4
    # Of the slope: its variance times the distance squared, with the variance of least squares,
    # s^2 / (Sxx - 6e-4), beside that of a slope between 0 and 1.2, 0.6^2.
    middle = sum(REFERENCES) / 6
    moved = sum((reference - middle) ** 2 for reference in REFERENCES) - 6e-4
    slope = 1 / (1 / 0.36 + moved / far.variance)
    assert far.doubt == pytest.approx((REFERENCES[0] + 0.5 - middle) ** 2 * slope)


@pytest.mark.parametrize("noise", [1e-5, 1e-3, 0.01])
def test_machine_slower_than_ever_is_no_regression_of_its_tests(noise: float) -> None:
    # The history saw one speed of the machine: how far its tests follow it, it cannot tell.
    still = [(noise * (-1) ** i, noise * (i % 3)) for i in range(10)]
    shift = predict_beside(still, [(math.log(1.6), math.log(1.6))])
    assert shift.p_above > 0.02
    assert predict_beside(still, [(0.0, math.log(1.6))]).p_above < 0.001


def test_prediction_beside_a_reference_is_wrong_as_often_as_it_says() -> None:
    # 2,000 histories of 10 runs that follow the machine by 0.8: 5 % +- 3 sd are 3.5 to 6.5 %.
    random, alarms = Random(3), 0
    for _ in range(2000):
        machine = [random.gauss(0, 0.06) for _ in range(11)]
        runs = [(m + random.gauss(0, 0.01), 0.8 * m + random.gauss(0, 0.02)) for m in machine]
        alarms += predict_beside(runs[:10], runs[10:]).p_above < 0.05
    assert 70 <= alarms <= 130
