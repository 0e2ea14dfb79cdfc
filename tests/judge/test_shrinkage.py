"""Tests of shrunk variances. Numbers without another source: SciPy 1.17.1."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.judge.shrinkage import (
    Prior,
    digamma,
    fit_prior,
    shrink,
    trigamma,
    trigamma_inverse,
)

UNEQUAL = (1e-4, 9e-4, 0.3e-4, 40e-4, 2e-4, 6e-4)


@pytest.mark.parametrize(
    ("x", "first", "second"),
    [
        (0.1, -10.423754940411076, 101.43329915079275),
        (0.5, -1.9635100260214235, math.pi**2 / 2),
        (1, -0.5772156649015329, math.pi**2 / 6),  # Euler's constant
        (2, 1 - 0.5772156649015329, math.pi**2 / 6 - 1),
        (4.5, 1.388870926359529, 0.24872510303901035),
        (10, 2.251752589066721, 0.10516633568168576),
        (37.2, 3.6028076865063574, 0.02724627098476493),
    ],
)
def test_digamma_and_trigamma_are_the_tabled_ones(x: float, first: float, second: float) -> None:
    assert digamma(x) == pytest.approx(first, rel=1e-12)
    assert trigamma(x) == pytest.approx(second, rel=1e-12)


@given(st.floats(1e-4, 1e4))
def test_trigamma_inverse_undoes_trigamma(y: float) -> None:
    assert trigamma(trigamma_inverse(y)) == pytest.approx(y, rel=1e-8)


def test_prior_is_that_of_the_moments() -> None:
    # d0 from a root finder on trigamma (Smyth 2004, section 6.2).
    prior = fit_prior((variance, 9) for variance in UNEQUAL)
    assert prior is not None
    assert prior.variance == pytest.approx(0.00015902438554602275, rel=1e-9)
    assert prior.df == pytest.approx(1.4254315025878044, rel=1e-9)
    assert prior.pooled_df == 54


def test_prior_takes_tests_with_unequal_numbers_of_runs() -> None:
    prior = fit_prior(zip(UNEQUAL, (4, 9, 4, 19, 9, 4), strict=True))
    assert prior is not None
    assert prior.variance == pytest.approx(0.00018686967380895917, rel=1e-9)
    assert prior.df == pytest.approx(1.5813561636317959, rel=1e-9)


def test_prior_is_certain_where_variances_differ_no_more_than_by_chance() -> None:
    alike = (1.2e-4, 3.4e-4, 0.9e-4, 2.2e-4, 8.0e-4, 1.1e-4, 5.5e-4, 2.9e-4)
    prior = fit_prior((variance, 4) for variance in alike)
    assert prior is not None
    assert prior.variance == pytest.approx(0.00031567354035516815, rel=1e-9)
    assert prior.df == math.inf


def test_prior_finds_what_the_variances_were_drawn_from() -> None:
    # s^2 ~ s0^2 d0 / chi2(d0), sampled with 4 degrees of freedom; 3,000 tests.
    random, d0, s0 = Random(1), 6, 4e-4

    def chi2(df: int) -> float:
        return random.gammavariate(df / 2, 2)

    prior = fit_prior((s0 * d0 / chi2(d0) * chi2(4) / 4, 4) for _ in range(3000))
    assert prior is not None
    assert prior.df == pytest.approx(d0, rel=0.25)
    assert prior.variance == pytest.approx(s0, rel=0.05)


def test_four_tests_share_no_variance_and_five_do() -> None:
    variances = [(variance, 4.0) for variance in UNEQUAL]
    assert fit_prior(variances[:4]) is None
    assert fit_prior(variances[:5]) is not None
    assert fit_prior([]) is None


def test_prior_bears_a_test_that_does_not_vary_but_not_a_suite() -> None:
    assert fit_prior([(0.0, 4), *((variance, 4) for variance in UNEQUAL)]) is not None
    assert fit_prior([(0.0, 4)] * 6) is None


def test_shrinking_weighs_by_degrees_of_freedom() -> None:
    variance, df = shrink(8.0, 4, Prior(2.0, 12, 200))
    assert variance == pytest.approx((12 * 2 + 4 * 8) / 16)
    assert df == 16


def test_shrinking_without_a_prior_changes_nothing() -> None:
    assert shrink(8.0, 4, None) == (8.0, 4)


def test_shrunk_variance_is_no_surer_than_all_tests_together() -> None:
    assert shrink(8.0, 4, Prior(2.0, math.inf, 200)) == (2.0, 200)
    assert shrink(8.0, 4, Prior(2.0, 1000, 200))[1] == 200
    assert shrink(8.0, 19, Prior(2.0, 1000, 5))[1] == 19
