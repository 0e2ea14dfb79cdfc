"""The tail rule: does a larger share of the calls take unusually long?

Quantiles of the tail are too noisy to compare wherever outliers are about as frequent as what lies
above them. A share is not: the calls above the 95th percentile of the base, each run divided by
its own median, so that neither a slower machine nor a change of all calls moves it. Shares are
compared run by run as their arcsines, whose variance does not depend on the share (Freeman &
Tukey, Ann. Math. Statist. 21, 1950).
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

from pytest_agentperf.judge.runs import Run

__all__ = ["arcsines", "find_cut", "shares_above"]

_PERCENTILE: Final = 0.95


def find_cut(runs: Sequence[Run]) -> float:
    """Return the 95th percentile of the latencies of *runs*, in medians of their runs."""
    # Of no run more than 95 % lie below the lowest of their own percentiles, so of all neither:
    # what lies below need not be sorted.
    floor = min(run.latencies[_rank_of(len(run.latencies))[0]] / run.scale for run in runs)
    highest: list[float] = []
    for run in runs:
        scale = run.scale
        first = bisect_left(run.latencies, floor * scale * (1 - 1e-12))
        highest += [latency / scale for latency in run.latencies[first:]]
    highest.sort()
    calls = sum(len(run.latencies) for run in runs)
    low, part = _rank_of(calls)
    low -= calls - len(highest)
    above = highest[min(low + 1, len(highest) - 1)]
    return highest[low] + part * (above - highest[low])


def _rank_of(calls: int) -> tuple[int, float]:
    """Return the rank of the percentile among *calls*, from 0, and how far it is to the next."""
    rank = _PERCENTILE * (calls - 1)
    return math.floor(rank), rank % 1


def shares_above(runs: Sequence[Run], cut: float) -> list[float]:
    """Return for each of *runs* the share of its calls longer than *cut* times its median."""
    return [1 - bisect_right(run.latencies, cut * run.scale) / len(run.latencies) for run in runs]


def arcsines(shares: Sequence[float]) -> list[float]:
    """Return *shares* on the scale on which they are compared."""
    return [math.asin(math.sqrt(share)) for share in shares]
