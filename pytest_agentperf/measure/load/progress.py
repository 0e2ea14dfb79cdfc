"""How far a load has come: what somebody sees who looks at it while it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from pytest_agentperf.core.glance import Glance
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.measure.load.plan import LoadPlan
from pytest_agentperf.measure.load.tally import Cell, LoadTally

__all__ = ["Observer", "Progress", "ProgressView"]


@dataclass(frozen=True, slots=True)
class Progress:
    """A load at a moment. What was called in the warmup counts for `in_flight` alone.

    Attributes:
        plan: The load.
        elapsed: Seconds since its beginning.
        measured: Seconds since the end of its warmup; 0 in the warmup.
        in_flight: Calls, or users with calls, in flight.
        rate: Calls that succeeded a second, since it was looked at last.
        calls: Calls that ended.
        errors: Those of them that failed.
        latency: Seconds of the others; with a relative error of 0.5 %.
        ttft: Seconds to the first item of streams, likewise.
        itl: Seconds between items, likewise.
        late: Seconds by which calls were started late, likewise.
        lag: Seconds by which the event loop was late.
    """

    plan: LoadPlan
    elapsed: float
    measured: float
    in_flight: int
    rate: float
    calls: int
    errors: int
    latency: Sample
    ttft: Sample
    itl: Sample
    late: Sample
    lag: Sample

    @property
    def remaining(self) -> float:
        """Seconds until no further call is due."""
        return max(self.plan.seconds - self.elapsed, 0.0)

    @property
    def glance(self) -> Glance:
        """What there is to be shown of it."""
        has_calls, requests = self.latency.count > 0, self.plan.requests
        return Glance(
            calls=self.calls,
            errors=self.errors,
            rate=self.rate,
            in_flight=self.in_flight,
            percentiles={p: self.latency.percentile(p) for p in _SHOWN if has_calls},
            seconds_left=None if requests is not None else self.remaining,
            calls_left=None if requests is None else max(requests - self.calls, 0),
        )


_SHOWN: Final = (50, 95, 99)


Observer: TypeAlias = Callable[[Progress], "str | None"]
"""Gets the progress twice a second; a sentence that it returns ends the load, and says why."""


class ProgressView:
    """Sums up what is new in a tally; percentiles of everything would stop the loop for long.

    Args:
        plan: The load.
        tally: Of it.
        warm: Windows of the warmup.
    """

    def __init__(self, plan: LoadPlan, tally: LoadTally, warm: int) -> None:
        self._plan, self._tally, self._warm = plan, tally, warm
        self._latency, self._ttft, self._itl = (Sample(exact=0) for _ in range(3))
        self._late, self._seen_late = Sample(exact=0), 0
        self._seen: dict[Cell, tuple[int, int, int]] = {}
        self._last = (0.0, 0)

    def look(self, elapsed: float, in_flight: int) -> Progress:
        """Return the progress after *elapsed* seconds."""
        failed = 0
        for (_, window), cell in self._tally.cells.items():
            if window >= self._warm:
                self._add(cell)
                failed += cell.failed.count
        late = self._tally.late
        self._late.merge(Sample(late.since(self._seen_late)))
        self._seen_late = late.count
        succeeded = self._latency.count
        since, before = self._last
        self._last = elapsed, succeeded
        return Progress(
            plan=self._plan,
            elapsed=elapsed,
            measured=max(elapsed - self._plan.warmup, 0.0),
            in_flight=in_flight,
            rate=(succeeded - before) / max(elapsed - since, 1e-9),
            calls=succeeded + failed,
            errors=failed,
            latency=self._latency,
            ttft=self._ttft,
            itl=self._itl,
            late=self._late,
            lag=self._tally.lag,
        )

    def _add(self, cell: Cell) -> None:
        """Add what is new in *cell*."""
        seen = self._seen.get(cell, (0, 0, 0))
        pairs = ((cell.latency, self._latency), (cell.ttft, self._ttft), (cell.itl, self._itl))
        for (source, target), before in zip(pairs, seen, strict=True):
            if source.count > before:
                target.merge(Sample(source.since(before)))
        self._seen[cell] = (cell.latency.count, cell.ttft.count, cell.itl.count)
