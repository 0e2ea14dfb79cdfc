"""Tests of the binomial distribution, against sums written naively."""

import math
from bisect import bisect_left
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.judge import binomial
from pytest_agentperf.judge.binomial import highest_share, lower_rank, tail_at_most, upper_rank

P95, P99 = Fraction(95, 100), Fraction(99, 100)
ONE_PERCENT = Fraction(1, 100)
SHARES = st.fractions(Fraction(1, 100), Fraction(99, 100), max_denominator=100)


def tail(successes: int, trials: int, chance: Fraction) -> Fraction:
    """Return P(X >= successes), term by term from the definition."""
    return sum(
        (
            math.comb(trials, i) * chance**i * (1 - chance) ** (trials - i)
            for i in range(successes, trials + 1)
        ),
        Fraction(0),
    )


@given(st.integers(1, 40), st.data())
def test_tail_is_compared_as_the_naive_sum_is(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    chance, level = data.draw(SHARES), data.draw(SHARES)
    is_small = tail(successes, trials, chance) <= level
    assert tail_at_most(successes, trials, chance, level) is is_small


@given(st.integers(1, 40), st.data())
def test_tail_that_equals_the_level_is_at_most_the_level(trials: int, data: st.DataObject) -> None:
    successes, chance = data.draw(st.integers(1, trials)), data.draw(SHARES)
    exact = tail(successes, trials, chance)
    assert tail_at_most(successes, trials, chance, exact)
    assert not tail_at_most(successes, trials, chance, exact - Fraction(1, 10**40))


def test_tail_at_the_level_is_exact_where_floats_are_not() -> None:
    assert 1 - 0.95 > 0.05  # 0.050000000000000044
    assert tail_at_most(1, 1, 1 - P95, Fraction(5, 100))
    assert tail_at_most(2, 2, 1 - P95, Fraction(25, 10_000))


def test_tail_of_no_successes_is_one() -> None:
    assert not tail_at_most(0, 10, 1 - P95, P99)


def test_tail_of_nothing_but_successes_falls_below_a_twentieth_at_59_trials() -> None:
    # Wilks's first number: 0.95^58 = 0.0510, 0.95^59 = 0.0485.
    assert P95**59 <= Fraction(5, 100) < P95**58
    assert tail_at_most(59, 59, P95, Fraction(5, 100))
    assert not tail_at_most(58, 58, P95, Fraction(5, 100))


@pytest.mark.parametrize(
    ("successes", "trials", "probability"),
    # P(X >= k) for p = 0.05, from the cumulative binomial table for n = 20 (as in CRC Standard
    # Mathematical Tables): P(X <= 1) = .7358, P(X <= 2) = .9245, P(X <= 3) = .9841,
    # P(X <= 4) = .9974.
    [(2, 20, "0.2642"), (3, 20, "0.0755"), (4, 20, "0.0159"), (5, 20, "0.0026")],
)
def test_tail_agrees_with_a_printed_table(successes: int, trials: int, probability: str) -> None:
    middle, half = Fraction(probability), Fraction(1, 20_000)
    assert tail_at_most(successes, trials, 1 - P95, middle + half)
    assert not tail_at_most(successes, trials, 1 - P95, middle - half)


@pytest.mark.parametrize("successes", [60, 80, 100, 101, 121, 150])
def test_tail_in_floats_agrees_with_the_exact_one_at_2000_trials(successes: int) -> None:
    # The integer sum of C(n, i) 19^(n - i) over 20^n: chance 1/20.
    total = sum(math.comb(2000, i) * 19 ** (2000 - i) for i in range(successes, 2001))
    exact = float(Fraction(total, 20**2000))
    found = binomial._tail_in_floats(successes, 2000, 0.05)
    assert found == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("chance", [Fraction(1, 20), Fraction(1, 100), P95])
def test_tail_changes_at_the_same_count_in_floats_and_exactly(
    monkeypatch: pytest.MonkeyPatch, chance: Fraction
) -> None:
    def first_small() -> int:
        compute = tail_at_most.__wrapped__  # without the cache
        return bisect_left(range(2002), True, key=lambda k: compute(k, 2001, chance, ONE_PERCENT))

    in_floats = first_small()
    monkeypatch.setattr(binomial, "_EXACT_CALLS", 2001)
    assert in_floats == first_small()


def test_tail_of_a_million_trials_is_told() -> None:
    # 50,000 expected, deviation sqrt(1e6 * .05 * .95) = 217.9; 2.326 deviations are 1 %.
    assert tail_at_most(50_600, 10**6, 1 - P95, ONE_PERCENT)
    assert not tail_at_most(50_400, 10**6, 1 - P95, ONE_PERCENT)


@pytest.mark.parametrize(
    ("trials", "above"),
    # Wilks's numbers for 95 % of the values with 95 % confidence: the highest value bounds them
    # from 59 on, the second highest from 93, then 124, 153, 181 (Wilks, Ann. Math. Stat. 12,
    # 1941; tabulated in IAEA Safety Reports Series 52).
    [(59, 1), (92, 1), (93, 2), (123, 2), (124, 3), (152, 3), (153, 4), (180, 4), (181, 5)],
)
def test_upper_rank_of_p95_follows_the_numbers_of_wilks(trials: int, above: int) -> None:
    assert upper_rank(trials, P95, P95) == trials + 1 - above


@pytest.mark.parametrize(
    ("share", "least"),
    # The smallest n with share^n <= 0.05.
    [
        (Fraction(1, 2), 5),
        (Fraction(9, 10), 29),
        (P95, 59),
        (P99, 299),
        (Fraction(999, 1000), 2995),
    ],
)
def test_upper_rank_is_none_where_there_are_too_few_values(share: Fraction, least: int) -> None:
    assert upper_rank(least - 1, share, P95) is None
    assert upper_rank(least, share, P95) == least


def test_upper_rank_of_p95_is_none_for_all_numbers_below_59() -> None:
    assert {upper_rank(trials, P95, P95) for trials in range(1, 59)} == {None}


@given(st.integers(1, 60), SHARES)
def test_ranks_are_the_tightest_that_have_the_confidence(trials: int, share: Fraction) -> None:
    level = 1 - P95
    # X_(r) lies below the percentile if at least r values do; above it if fewer than r do.
    fits_above = [r for r in range(1, trials + 1) if tail(r, trials, share) <= level]
    fits_below = [r for r in range(1, trials + 1) if 1 - tail(r, trials, share) <= level]
    assert upper_rank(trials, share, P95) == (min(fits_above) if fits_above else None)
    assert lower_rank(trials, share, P95) == (max(fits_below) if fits_below else None)


def test_highest_share_is_that_of_clopper_and_pearson() -> None:
    assert highest_share(0, 10) == pytest.approx(1 - 0.05 ** (1 / 10), abs=1e-6)
    assert highest_share(1, 40) == pytest.approx(0.113188, abs=1e-6)  # scipy.stats.beta.ppf
    assert highest_share(3, 3) == 1


def test_lower_rank_of_the_median_of_ten_is_the_second() -> None:
    # P(X <= 1) = 11/1024 = 0.011, P(X <= 2) = 56/1024 = 0.055 for X ~ Binomial(10, 1/2).
    assert lower_rank(10, Fraction(1, 2), P95) == 2
    assert upper_rank(10, Fraction(1, 2), P95) == 9


def test_lower_rank_is_none_where_a_low_percentile_has_too_few_values() -> None:
    assert lower_rank(58, Fraction(5, 100), P95) is None
    assert lower_rank(59, Fraction(5, 100), P95) == 1
