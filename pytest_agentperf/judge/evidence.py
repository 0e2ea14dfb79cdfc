"""Evidence: the shifts that the runs of one test show, before they are judged."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from pytest_agentperf.judge.duet import compare_pairs
from pytest_agentperf.judge.history import predict, predict_beside
from pytest_agentperf.judge.runs import Run
from pytest_agentperf.judge.shift import Shift, mean_of
from pytest_agentperf.judge.shrinkage import Prior, fit_prior
from pytest_agentperf.judge.tail import arcsines, find_cut, shares_above

__all__ = ["Evidence", "Priors", "Tail", "fit_priors", "of_history", "of_pairs"]

Compare: TypeAlias = Callable[[Sequence[float], Sequence[float]], Shift]


@dataclass(frozen=True, slots=True)
class Tail:
    """Shares of slow calls on both sides, and the shift between them.

    Attributes:
        base: Mean over the runs.
        head: Mean over the runs.
        shift: Of their arcsines.
        least_variance: What chance alone adds to one run, or one pair.
    """

    base: float
    head: float
    shift: Shift
    least_variance: float

    def shrunk(self, prior: Prior | None) -> "Tail":
        """Return this with its variance drawn to that of the suite, or held above chance's."""
        if prior:
            return replace(self, shift=self.shift.shrunk(prior))
        variance = max(self.shift.variance, self.least_variance)
        return replace(self, shift=replace(self.shift, variance=variance))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the runs of one test show.

    Attributes:
        base: Its runs; those of a history that can be compared with the head.
        head: Its runs.
        compare: How shifts of this kind of evidence are found.
        latency: Of the logarithms of the medians.
        tail: None where no latencies were kept.
        is_beside_reference: Whether the change of the machine was taken off *latency*.
    """

    base: Sequence[Run]
    head: Sequence[Run]
    compare: Compare
    latency: Shift
    tail: Tail | None
    is_beside_reference: bool = False

    @property
    def is_duet(self) -> bool:
        """Whether the runs of both sides pair up."""
        return self.compare is compare_pairs

    @property
    def base_median(self) -> float:
        """Seconds, the geometric mean of the medians."""
        return math.exp(mean_of(_log_medians(self.base)))

    @property
    def head_median(self) -> float:
        """Seconds, the geometric mean of the medians."""
        return math.exp(mean_of(_log_medians(self.head)))

    def shrunk(self, priors: "Priors") -> "Evidence":
        """Return this evidence with its variances drawn towards those of the suite."""
        tail = self.tail and self.tail.shrunk(priors.tail)
        return replace(self, latency=self.latency.shrunk(priors.latency), tail=tail)


@dataclass(frozen=True, slots=True)
class Priors:
    """What a suite knows about the variances of its tests; None where too few share it."""

    latency: Prior | None = None
    tail: Prior | None = None


def fit_priors(suite: Iterable[Evidence]) -> Priors:
    """Return what the variances in *suite* have in common."""
    known = list(suite)
    latencies = [(one.latency.variance, one.latency.df) for one in known]
    tails = [(one.tail.shift.variance, one.tail.shift.df) for one in known if one.tail]
    return Priors(fit_prior(latencies), fit_prior(tails))


def of_pairs(base: Sequence[Run], head: Sequence[Run]) -> Evidence:
    """Return what runs in pairs show, two pairs at least."""
    latency = compare_pairs(_log_medians(base), _log_medians(head))
    return Evidence(base, head, compare_pairs, latency, _tail(base, head, compare_pairs))


def of_history(history: Sequence[Run], head: Sequence[Run]) -> Evidence:
    """Return what runs of the head show beside earlier ones, of which there are three or more."""
    tail = _tail(history, head, predict)
    references = [run.reference for run in (*history, *head)]
    logs = [*_log_medians(history), *_log_medians(head)]
    known = [math.log(reference) for reference in references if reference]
    if len(known) < len(logs):
        latency = predict(logs[: len(history)], logs[len(history) :])
        return Evidence(history, head, predict, latency, tail)
    both = list(zip(known, logs, strict=True))
    latency = predict_beside(both[: len(history)], both[len(history) :])
    return Evidence(history, head, predict, latency, tail, is_beside_reference=True)


def _log_medians(runs: Sequence[Run]) -> list[float]:
    return [math.log(run.scale) for run in runs]


def _tail(base: Sequence[Run], head: Sequence[Run], compare: Compare) -> Tail | None:
    """Return the shares of slow calls, where every run kept its latencies."""
    if not all(run.latencies for run in (*base, *head)):
        return None
    cut = find_cut(base)
    before, after = shares_above(base, cut), shares_above(head, cut)
    calls = min(len(run.latencies) for run in (*base, *head))
    # The variance of the arcsine of a binomial share; a pair has two of them.
    least = (2 if compare is compare_pairs else 1) / (4 * calls)
    shift = compare(arcsines(before), arcsines(after))
    return Tail(mean_of(before), mean_of(after), shift, least)
