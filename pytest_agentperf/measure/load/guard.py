"""The guard of a load: holds it to its budgets while it runs."""

import math
from collections.abc import Callable
from typing import Final, TypeAlias

from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.measure.load.measured import TIMES
from pytest_agentperf.measure.load.plan import LoadPlan
from pytest_agentperf.measure.load.progress import Progress
from pytest_agentperf.measure.load.truth import doubt_of

__all__ = ["Guard", "Judge"]

Judge: TypeAlias = Callable[[Measurement], str]
"""Returns the sentence of a budget that a measurement misses; empty where it misses none."""

_LOOKS: Final = 20
_EVERY: Final = 1.0


class Guard:
    """Looks at a load from `arm_after` on, some 20 times at most.

    Each look may fail by chance: the false alarms of a percentile are shared over all of them. An
    error rate ends a load only where it would be missed if no further call failed.

    Args:
        plan: The load.
        judge: Holds a measurement to the budgets.
        label: The user's name for the load.
        subject: What messages call it.

    Attributes:
        missed: What was missed first; empty for nothing.
        missed_after: When, in seconds from the beginning of the load.
        has_ended: Whether that ended the load.
    """

    def __init__(self, plan: LoadPlan, judge: Judge, label: str | None, subject: str) -> None:
        self._plan, self._judge, self._label, self._subject = plan, judge, label, subject
        self._next = max(plan.arm_after, plan.warmup)
        watched = max(plan.seconds - self._next, 0.0)
        self._every = max(watched / _LOOKS, _EVERY)
        self._looks = 0
        self.planned_looks = 1 + math.ceil(watched / self._every)
        self.missed, self.missed_after = "", 0.0
        self.has_ended = False

    def __call__(self, progress: Progress) -> str | None:
        """Look at *progress*; return why the load must end, or None."""
        if self.missed or progress.elapsed < self._next or not progress.calls:
            return None
        self._next = progress.elapsed + self._every
        self._looks += 1
        if not self._judge(self._measurement(progress, self._calls_at_end(progress))):
            return None
        self.missed = self._judge(self._measurement(progress, progress.calls))
        self.missed_after = progress.elapsed
        self.has_ended = self._plan.is_abortable
        return self.missed if self.has_ended else None

    def _calls_at_end(self, progress: Progress) -> float:
        """Return how many calls there will be if they go on at the same pace."""
        left = progress.calls / max(progress.measured, 1e-9) * progress.remaining
        requests = self._plan.calls
        return max(progress.calls, min(progress.calls + left, requests or float("inf")))

    def _measurement(self, progress: Progress, calls: float) -> Measurement:
        """Return what is known by now, with the errors as a share of *calls*."""
        succeeded = progress.calls - progress.errors
        streams = {"ttft": progress.ttft, "itl": progress.itl}
        doubt = doubt_of(progress.latency, progress.late, progress.lag)
        return Measurement(
            label=self._label,
            subject=self._subject,
            calls=progress.calls,
            errors=progress.errors,
            samples={
                "latency": progress.latency,
                **{name: sample for name, sample in streams.items() if sample.count},
            },
            values={
                "throughput": succeeded / max(progress.measured, 1e-9),
                "error_rate": progress.errors / calls,
            },
            doubts=dict.fromkeys(TIMES, doubt) if doubt else {},
            looks=self._looks,
            planned_looks=self.planned_looks,
        )
