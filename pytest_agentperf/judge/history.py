"""The test against history: does a new run lie where the earlier ones let expect it?

Student's prediction interval for the mean of further observations (Hahn & Meeker, Statistical
Intervals, 1991, section 4.8): the variance between runs comes from the history alone, because one
new run knows nothing of its own.
"""

import math
from collections.abc import Sequence
from typing import Final

from pytest_agentperf.judge.shift import Shift, mean_of, variance_of

__all__ = ["LEAST_RUNS", "fit_slope", "predict", "predict_beside"]

LEAST_RUNS: Final = 5
"""Runs of history below which a test is new."""

_STEEPEST: Final = 1.2
# The reference is measured with about 1 % of noise of its own, which would flatten the slope or,
# on a machine that never changes, make one up.
_REFERENCE_VARIANCE: Final = 1e-4


def predict(history: Sequence[float], head: Sequence[float]) -> Shift:
    """Return the shift from *history* to *head*.

    Args:
        history: One value per earlier run, on an additive scale; two at least.
        head: One per run of the head; one at least.
    """
    known = list(history)
    return Shift(
        mean_of(list(head)) - mean_of(known),
        variance_of(known),
        float(len(known) - 1),
        math.sqrt(1 / len(known) + 1 / len(head)),
    )


def fit_slope(references: Sequence[float], values: Sequence[float]) -> float:
    """Return how far *values* follow *references*: 1 wholly, 0 not at all.

    Least squares with the known noise of the reference in the denominator, held within 0 and 1.2:
    a test that waits does not follow the machine, and dividing it by a reference would add noise.
    """
    middle = mean_of(list(references))
    spread = math.fsum((reference - middle) ** 2 for reference in references)
    center = mean_of(list(values))
    together = math.fsum(
        (reference - middle) * (value - center)
        for reference, value in zip(references, values, strict=True)
    )
    slope = together / (spread + len(references) * _REFERENCE_VARIANCE)
    return min(max(slope, 0.0), _STEEPEST)


def predict_beside(
    history: Sequence[tuple[float, float]], head: Sequence[tuple[float, float]]
) -> Shift:
    """Return the shift from *history* to *head* after what the machine itself explains.

    Args:
        history: For each earlier run the logarithms of its reference workload and its value;
            three at least.
        head: The same for the runs of the head.
    """
    references = [reference for reference, _ in history]
    slope = fit_slope(references, [value for _, value in history])
    plain = predict(
        [value - slope * reference for reference, value in history],
        [value - slope * reference for reference, value in head],
    )
    runs = len(history)
    variance = plain.variance * (runs - 1) / (runs - 2)  # one degree of freedom paid for the slope
    away = mean_of([reference for reference, _ in head]) - mean_of(references)
    doubt = away * away * _slope_variance(references, variance)
    return Shift(plain.mean, variance, float(runs - 2), plain.width, doubt)


def _slope_variance(references: Sequence[float], variance: float) -> float:
    """Return how unsure the slope is, which matters the more the further the machine has moved.

    It is that of least squares, of what the references moved by more than by their own noise; and
    where they did not move, that of a slope of which nothing but the range is known. With less, a
    machine slower than ever would look like a regression of every test.

    Args:
        references: The logarithms of those of the history.
        variance: Of what is left of the values beside the slope.
    """
    middle = mean_of(list(references))
    spread = math.fsum((reference - middle) ** 2 for reference in references)
    moved = max(spread - len(references) * _REFERENCE_VARIANCE, 0.0)
    unknown = (_STEEPEST / 2) ** 2
    return unknown * variance / (variance + unknown * moved) if moved else unknown
