"""Tests of Student's t distribution. Numbers without another source: SciPy 1.17.1."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_agentperf.judge.studentt import critical, incomplete_beta, upper_tail

# Levels as tables have them, and degrees of freedom as shrinkage makes them.
LEVELS = st.floats(1e-7, 0.49)
FREEDOMS = st.floats(0.5, 20_000)


@pytest.mark.parametrize(
    ("t", "df", "expected"),
    [
        (2.0, 4, 0.05805826175840778),
        (1.0, 1, 0.25),  # Cauchy: 1/2 - arctan(1)/pi
        (-1.5, 7.5, 0.912759714706768),
        (6.0, 9, 0.00010124966103382039),
        (0.3, 250, 0.3822132245080248),
        (5.0, 10_000.0, 2.9151633068313295e-07),
        (12.0, 3.3, 0.00038929606084669457),
        (3.0, 0.7, 0.1416856696505129),
        (1.959963984540054, math.inf, 0.025),  # the normal law
    ],
)
def test_upper_tail_is_the_one_computed_elsewhere(t: float, df: float, expected: float) -> None:
    assert upper_tail(t, df) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("level", "df", "expected"),
    [
        (0.005, 4, 4.604094871349993),  # 4.604 in every table since Student's
        (0.025, 10, 2.2281388519862753),
        (0.001, 245.5, 3.123759581695494),
        (0.1, 1, 3.0776835371752536),
        (1e-06, 9, 10.7201604099095),
        (0.4, 3, 0.2766706623326898),
        (0.00025, 19.2, 4.17835849967417),
        (0.49, 2, 0.028289929799333573),
        (0.025, math.inf, 1.959963984540054),
    ],
)
def test_critical_is_the_one_computed_elsewhere(level: float, df: float, expected: float) -> None:
    assert critical(level, df) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("a", "b", "x", "expected"),
    [
        (2, 3, 0.4, 0.5248),  # P(X >= 2) for X ~ Binomial(4, 0.4)
        (0.5, 0.5, 0.1, 0.20483276469913345),
        (10, 0.5, 0.99, 0.6579281751567845),
        (30, 70, 0.25, 0.1358149042834277),
        (1, 1, 0.3, 0.3),
        (200, 0.5, 0.999, 0.5272441070252349),
        (2, 3, 0, 0),
        (2, 3, 1, 1),
    ],
)
def test_incomplete_beta_is_the_one_computed_elsewhere(
    a: float, b: float, x: float, expected: float
) -> None:
    assert incomplete_beta(a, b, x) == pytest.approx(expected, rel=1e-11)


@given(LEVELS, FREEDOMS)
@example(0.05, 2.0)
def test_critical_undoes_upper_tail(level: float, df: float) -> None:
    assert upper_tail(critical(level, df), df) == pytest.approx(level, rel=1e-9)


@given(st.floats(-50, 50), FREEDOMS)
def test_tails_of_both_sides_make_one(t: float, df: float) -> None:
    assert upper_tail(t, df) + upper_tail(-t, df) == pytest.approx(1)


@pytest.mark.parametrize(("t", "expected"), [(math.inf, 0.0), (-math.inf, 1.0), (0.0, 0.5)])
def test_upper_tail_knows_the_ends(t: float, expected: float) -> None:
    assert upper_tail(t, 4) == expected


@pytest.mark.parametrize("df", [1, 5, 3277, 1e6])
def test_upper_tail_is_exact_beside_the_middle(df: float) -> None:
    t = 1e-6  # so near to 0 that the density is that of 0, to a part in 1e12
    density = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(df * math.pi)
    assert 0.5 - upper_tail(t, df) == pytest.approx(t * density, rel=1e-8)


@given(st.floats(-30, 30), FREEDOMS, LEVELS)
def test_both_agree_with_scipy(t: float, df: float, level: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert upper_tail(t, df) == pytest.approx(float(stats.t.sf(t, df)), rel=1e-7, abs=1e-300)
    assert critical(level, df) == pytest.approx(float(stats.t.isf(level, df)), rel=1e-6)
