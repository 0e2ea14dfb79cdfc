"""The exact binomial distribution, for the question whether a percentile exceeds its limit."""

import functools
import math
from fractions import Fraction
from typing import Final

from pytest_agentperf.judge.studentt import incomplete_beta

__all__ = ["highest_share", "lower_rank", "tail_at_most", "upper_rank"]

_EXACT_CALLS: Final = 2_000
_EXACT_TO: Final = 1e-7


@functools.lru_cache(maxsize=4096)
def tail_at_most(successes: int, trials: int, chance: Fraction, level: Fraction) -> bool:
    """Return whether P(X >= *successes*) <= *level* for X ~ Binomial(*trials*, *chance*).

    Computed with integers: with floats, `1 - 0.95` lies on the wrong side of 1/20, and a tail
    that equals the level would be misjudged. Above 2,000 trials logarithms of floats do.

    Args:
        successes: From 0 to *trials*.
        trials: One or more.
        chance: Of one success, in (0, 1).
        level: In (0, 1).
    """
    if successes <= 0:
        return False
    if trials > _EXACT_CALLS:
        return _tail_in_floats(successes, trials, float(chance)) <= float(level)
    hit, all_ = chance.numerator, chance.denominator
    miss = all_ - hit
    # Sum of C(n, i) hit^i miss^(n-i), each term from the one before; divided by all_^n at the end.
    term = math.comb(trials, successes) * hit**successes * miss ** (trials - successes)
    total = term
    for i in range(successes, trials):
        term = term * (trials - i) * hit // ((i + 1) * miss)
        total += term
    return bool(total * level.denominator <= level.numerator * all_**trials)


def _tail_in_floats(successes: int, trials: int, chance: float) -> float:
    """Return P(X >= *successes*) by summing terms from their logarithms."""
    hit, miss = math.log(chance), math.log1p(-chance)
    whole = math.lgamma(trials + 1)

    def term(i: int) -> float:
        ways = whole - math.lgamma(i + 1) - math.lgamma(trials - i + 1)
        return math.exp(ways + i * hit + (trials - i) * miss)

    if successes < trials * chance - 10 * math.sqrt(trials * chance * (1 - chance)):
        return 1.0  # ten deviations below the mean: but for 1e-6 at most, it is

    total, i = 0.0, successes
    while i <= trials:
        now = term(i)
        total += now
        # Past the mode the terms only shrink, faster than a geometric series of this ratio.
        if i > trials * chance and now <= total * 1e-12:
            break
        i += 1
    return min(total, 1.0)


def upper_rank(trials: int, share: Fraction, confidence: Fraction) -> int | None:
    """Return the rank of the value that bounds a percentile from above, or None.

    The r-th smallest of *trials* values is at least the percentile of *share* with *confidence*
    (one-sided; Hahn & Meeker, Statistical Intervals, 1991, section 5.2). None: there are too few.
    """
    level = 1 - confidence
    # P(X_(r) < q) = P(at least r of n values are below q), which must not exceed the level.
    if not tail_at_most(trials, trials, share, level):
        return None
    low, high = 1, trials
    while low < high:
        middle = (low + high) // 2
        if tail_at_most(middle, trials, share, level):
            high = middle
        else:
            low = middle + 1
    return low


def lower_rank(trials: int, share: Fraction, confidence: Fraction) -> int | None:
    """Return the rank of the value that bounds a percentile from below, or None (see above)."""
    mirrored = upper_rank(trials, 1 - share, confidence)
    return None if mirrored is None else trials + 1 - mirrored


def highest_share(successes: int, trials: int, confidence: float = 0.95) -> float:
    """Return the share that *successes* of *trials* leave possible, one-sided.

    Clopper & Pearson, Biometrika 26 (1934).
    """
    low, high = successes / trials, 1.0
    if successes == trials:
        return high
    while high - low > _EXACT_TO:
        middle = (low + high) / 2
        is_above = incomplete_beta(successes + 1, trials - successes, middle) > confidence
        low, high = (low, middle) if is_above else (middle, high)
    return high
