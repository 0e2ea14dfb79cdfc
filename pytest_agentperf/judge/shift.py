"""A shift: how far one side lies from the other on a transformed scale, and how sure that is."""

import math
from dataclasses import dataclass, replace

from pytest_agentperf.judge.shrinkage import Prior, shrink
from pytest_agentperf.judge.studentt import critical, upper_tail

__all__ = ["Shift", "mean_of", "variance_of"]


@dataclass(frozen=True, slots=True)
class Shift:
    """A difference of means with its error, which follows Student's t.

    Attributes:
        mean: Head minus base; of logarithms for times, of arcsines for shares.
        variance: Of one run, or of one pair.
        df: Degrees of freedom of *variance*.
        width: Standard error of *mean* in units of the root of *variance*.
        doubt: Variance of *mean* beside that, which is no matter of the noise between runs.
    """

    mean: float
    variance: float
    df: float
    width: float
    doubt: float = 0.0

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return math.sqrt(self.variance * self.width**2 + self.doubt)

    @property
    def p_above(self) -> float:
        """The chance to see such a mean or a higher one where nothing changed."""
        if self.error > 0:
            return upper_tail(self.mean / self.error, self.df)
        return 0.5 if self.mean == 0 else float(self.mean < 0)

    @property
    def p_below(self) -> float:
        """The chance to see such a mean or a lower one where nothing changed."""
        return replace(self, mean=-self.mean).p_above

    def shrunk(self, prior: Prior | None) -> "Shift":
        """Return this shift with its variance drawn towards *prior*."""
        variance, df = shrink(self.variance, self.df, prior)
        return replace(self, variance=variance, df=df)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the two-sided interval that holds the true shift with *confidence*."""
        reach = critical((1 - confidence) / 2, self.df) * self.error
        return self.mean - reach, self.mean + reach

    def detectable(self, level: float, least: float = 0.0, power: float = 0.9) -> float:
        """Return the smallest true shift that had the chance *power* to be seen.

        Seen: with a p-value below *level*, and a mean above *least*. The noncentral t is taken
        for a shifted one, the usual approximation (Cohen, Statistical Power Analysis, 1988).
        """
        bar = max(critical(level, self.df) * self.error, least)
        return bar + critical(1 - power, self.df) * self.error


def mean_of(values: "list[float]") -> float:
    """Return the arithmetic mean of *values*, of which there is one at least."""
    return math.fsum(values) / len(values)


def variance_of(values: "list[float]") -> float:
    """Return the unbiased variance of *values*, of which there are two at least."""
    mean = mean_of(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
