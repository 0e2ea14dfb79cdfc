"""A variance estimated from few runs borrows from the other tests of its suite.

G. K. Smyth, Linear models and empirical Bayes methods for assessing differential expression,
Stat. Appl. Genet. Mol. Biol. 3 (2004) 3; the formulas are those of its section 6.
"""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

__all__ = ["LEAST_TESTS", "Prior", "digamma", "fit_prior", "shrink", "trigamma", "trigamma_inverse"]

LEAST_TESTS: Final = 5
"""Tests from which on a suite shares its variance."""

_FAR: Final = 10.0
_EXACT_TO: Final = 1e-10


@dataclass(frozen=True, slots=True)
class Prior:
    """What the variances of a suite say about the variance of any one test.

    Attributes:
        variance: The typical one.
        df: Runs' worth of certainty about it, above 0; infinite where all tests are equally noisy.
        pooled_df: Degrees of freedom of all tests together: no estimate has more.
    """

    variance: float
    df: float
    pooled_df: float


def fit_prior(variances: Iterable[tuple[float, float]]) -> Prior | None:
    """Return the prior of a suite, by the moments of log variance; None for fewer than 5 tests.

    Args:
        variances: For each test its variance, 0 or more, and its degrees of freedom, 1 or more.
    """
    known = list(variances)
    middle = sorted(variance for variance, _ in known)[len(known) // 2] if known else 0.0
    if len(known) < LEAST_TESTS or middle <= 0:
        return None
    # A variance of 0 has no logarithm; it may come from a coarse clock.
    logs = [
        math.log(max(variance, 1e-5 * middle)) - digamma(df / 2) + math.log(df / 2)
        for variance, df in known
    ]
    count, pooled = len(known), sum(df for _, df in known)
    mean = math.fsum(logs) / count
    spread = math.fsum((log - mean) ** 2 for log in logs) / (count - 1)
    # How much more the logarithms differ than chance alone makes them.
    excess = spread - math.fsum(trigamma(df / 2) for _, df in known) / count
    if excess <= 0:
        return Prior(math.exp(mean), math.inf, pooled)
    df = 2 * trigamma_inverse(excess)
    return Prior(math.exp(mean + digamma(df / 2) - math.log(df / 2)), df, pooled)


def shrink(variance: float, df: float, prior: Prior | None) -> tuple[float, float]:
    """Return *variance* drawn towards the suite's, and its degrees of freedom then."""
    if prior is None:
        return variance, df
    total = min(prior.df + df, max(prior.pooled_df, df))
    if math.isinf(prior.df):
        return prior.variance, total
    return (prior.df * prior.variance + df * variance) / (prior.df + df), total


@functools.lru_cache(maxsize=1024)
def digamma(x: float) -> float:
    """Return the logarithmic derivative of the gamma function at *x* above 0 (DLMF 5.11.2)."""
    below = 0.0
    while x < _FAR:
        below += 1 / x
        x += 1
    s = 1 / (x * x)
    series = s * (1 / 12 - s * (1 / 120 - s * (1 / 252 - s * (1 / 240 - s / 132))))
    return math.log(x) - 0.5 / x - series - below


@functools.lru_cache(maxsize=1024)
def trigamma(x: float) -> float:
    """Return the derivative of `digamma` at *x* above 0 (DLMF 5.15.8)."""
    below = 0.0
    while x < _FAR:
        below += 1 / (x * x)
        x += 1
    s = 1 / (x * x)
    series = s * (1 / 6 - s * (1 / 30 - s * (1 / 42 - s * (1 / 30 - s * 5 / 66))))
    return below + 1 / x + 0.5 * s + series / x


def _tetragamma(x: float) -> float:
    """Return the derivative of `trigamma` at *x* above 0 (DLMF 5.15.8, derived)."""
    below = 0.0
    while x < _FAR:
        below -= 2 / x**3
        x += 1
    s = 1 / (x * x)
    series = s * (1 / 2 - s * (1 / 6 - s * (1 / 6 - s * (3 / 10 - s * 5 / 6))))
    return below - s - s / x - s * series


def trigamma_inverse(y: float) -> float:
    """Return the x with trigamma(x) = *y* above 0, by the Newton steps of Smyth's appendix."""
    x = 0.5 + 1 / y
    for _ in range(50):
        value = trigamma(x)
        step = value * (1 - value / y) / _tetragamma(x)
        x += step
        if -step < _EXACT_TO * x:
            break
    return x
