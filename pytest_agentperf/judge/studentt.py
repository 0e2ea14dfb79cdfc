"""Student's t distribution, by the incomplete beta function; no more than the gate needs of it."""

import functools
import math
from typing import Final

__all__ = ["critical", "incomplete_beta", "upper_tail"]

_TINY: Final = 1e-300
_PRECISION: Final = 1e-14
_STEPS: Final = 10_000


def upper_tail(t: float, df: float) -> float:
    """Return P(T > *t*) for Student's t.

    Abramowitz & Stegun, Handbook of Mathematical Functions, 26.7.1; the normal law for infinite
    degrees of freedom.

    Args:
        t: Any number, also infinite.
        df: Degrees of freedom, above 0, whole or not, also infinite.
    """
    if math.isinf(df):
        return math.erfc(t / math.sqrt(2)) / 2
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    share = t * t / (df + t * t)
    if share < 3 / (df + 5):  # in the middle, where 1 - share would lose what t adds
        beyond = (1 - incomplete_beta(0.5, df / 2, share)) / 2
    else:
        beyond = incomplete_beta(df / 2, 0.5, df / (df + t * t)) / 2
    return beyond if t >= 0 else 1 - beyond


@functools.lru_cache(maxsize=4096)
def critical(level: float, df: float) -> float:
    """Return the t with P(T > t) = *level*.

    Newton's method on log P over log t: the curve is concave, so that after its first step it
    comes down on the root from above and cannot miss it.

    Args:
        level: In (0, 0.5).
        df: Degrees of freedom, above 0, whole or not, also infinite.
    """
    from statistics import NormalDist  # the gate alone asks for it

    t = NormalDist().inv_cdf(1 - level) if level > _PRECISION else 8.0
    for _ in range(100):
        tail = upper_tail(t, df)
        step = math.log(tail / level) * tail / (t * _density(t, df))
        t *= math.exp(step)
        if abs(step) < _PRECISION * 100:
            break
    return t


def _density(t: float, df: float) -> float:
    """Return the density of Student's t (Abramowitz & Stegun 26.7.1)."""
    if math.isinf(df):
        return math.exp(-t * t / 2) / math.sqrt(2 * math.pi)
    scale = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2
    return math.exp(scale - (df + 1) / 2 * math.log1p(t * t / df))


@functools.lru_cache(maxsize=4096)  # both tails of a t ask for the same
def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularized incomplete beta function I_x(a, b).

    The continued fraction of DLMF 8.17.22, by Lentz's method as Thompson & Barnett changed it
    (J. Comput. Phys. 64, 1986).

    Args:
        a: Above 0.
        b: Above 0.
        x: In [0, 1].
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # there the fraction converges slowly, its mirror image fast
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front += a * math.log(x) + b * math.log1p(-x)
    return math.exp(front) / (a * _fraction(a, b, x))


def _fraction(a: float, b: float, x: float) -> float:
    """Return 1 + d1/(1 + d2/(1 + …)) with the d of DLMF 8.17.23."""
    value, above, below = 1.0, 1.0, 0.0
    for step in range(1, _STEPS):
        m, is_odd = divmod(step, 2)
        if is_odd:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        below = 1 / ((1 + d * below) or _TINY)
        above = (1 + d / above) or _TINY
        value *= above * below
        if abs(above * below - 1) < _PRECISION:
            break
    return value
