"""The result of a load."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pytest_agentperf.core.errors import EmptySampleError
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.load.notes import notes_of
from pytest_agentperf.measure.load.plan import LoadPlan
from pytest_agentperf.measure.load.tally import Cell, LoadTally
from pytest_agentperf.measure.load.timeline import Timeline
from pytest_agentperf.measure.load.truth import doubt_of

__all__ = ["LoadPart", "LoadResult"]


@dataclass(frozen=True, slots=True)
class LoadPart:
    """Some of the calls of a load: of a stage, a window, a scenario, or all.

    Attributes:
        name: What it is a part of, as in ``"stage 2"``.
        start: When it began, in seconds from the beginning of the load.
        end: When it ended.
        cell: What its calls came to.
        is_open: Whether the load is open.
        has_goodput: Whether limits of good calls were stated.
    """

    name: str
    start: float
    end: float
    cell: Cell
    is_open: bool
    has_goodput: bool

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start

    @property
    def calls(self) -> int:
        """Calls that ended, failed ones too."""
        return self.cell.calls

    @property
    def latency(self) -> Sample:
        """Seconds from when each call was due to its end; of those that succeeded."""
        return self.cell.latency

    @property
    def service(self) -> Sample:
        """Seconds from the start of each call to its end."""
        return self.cell.service if self.is_open else self.cell.latency

    @property
    def dispatch_delay(self) -> Sample:
        """Seconds from when each call was due to its start; of none in a closed load."""
        return self.cell.dispatch_delay

    @property
    def ttft(self) -> Sample:
        """Seconds to the first item of each stream, from the start of its call."""
        return self.cell.ttft

    @property
    def itl(self) -> Sample:
        """Seconds between two items of a stream."""
        return self.cell.itl

    @property
    def failed(self) -> Sample:
        """Seconds from when each failed call was due to its end."""
        return self.cell.failed

    @property
    def errors(self) -> Counter[str]:
        """Failed calls by the name of the exception's type."""
        return self.cell.errors

    @property
    def error_rate(self) -> float:
        """Failed calls ÷ calls, in [0, 1].

        Raises:
            EmptySampleError: No call ended.
        """
        if not self.calls:
            raise EmptySampleError(f"error rate of {self.name}: no call ended")
        return self.failed.count / self.calls

    @property
    def throughput(self) -> float:
        """Calls that succeeded, a second."""
        return self.latency.count / self.seconds if self.seconds > 0 else 0.0

    @property
    def goodput(self) -> float:
        """Calls that met every stated limit, a second.

        Raises:
            EmptySampleError: No limits were stated.
        """
        if not self.has_goodput:
            raise EmptySampleError("goodput: no limits were stated; add goodput={'latency': '1s'}")
        return self.cell.good / self.seconds if self.seconds > 0 else 0.0

    def __str__(self) -> str:
        parts = [f"{self.name}: {self.calls} calls", format_quantity(self.throughput, Unit.RATE)]
        if self.latency.count:
            shown = (
                f"{name} {format_quantity(self.latency.percentile(p), Unit.SECONDS)}"
                for name, p in (("p50", 50), ("p95", 95), ("p99", 99))
            )
            parts += shown
        if self.errors:
            counted = ", ".join(f"{number} × {name}" for name, number in self.errors.most_common())
            parts.append(f"{format_quantity(self.error_rate, Unit.SHARE)} failed ({counted})")
        return ", ".join(parts)


class LoadResult:
    """What a load came to. The warmup is left out of every number.

    Besides what stands here it has the attributes of `LoadPart`, of all its calls.

    Args:
        plan: The load.
        tally: What was recorded.
        scenarios: The names of what was called.
        subject: What messages call it.
    """

    def __init__(
        self, plan: LoadPlan, tally: LoadTally, scenarios: tuple[str, ...], subject: str
    ) -> None:
        self.plan, self.tally, self.subject = plan, tally, subject
        self._names = scenarios
        self._timeline = Timeline.of(plan)

    @property
    def model(self) -> str:
        """`closed` or `open`."""
        return "open" if self.plan.is_open else "closed"

    @property
    def seconds(self) -> float:
        """From the end of the warmup to the end of the load."""
        return self.whole.seconds

    @cached_property
    def end(self) -> float:
        """When the load ended, in seconds from its beginning."""
        tally, plan = self.tally, self.plan
        # The last call of an open load is due before its time is over.
        is_whole = plan.is_open and plan.requests is None and not tally.ended
        return max(tally.seconds, plan.seconds if is_whole else 0.0)

    @cached_property
    def whole(self) -> LoadPart:
        """All calls."""
        return self._part(self.subject, range(len(self._timeline.ends)))

    @cached_property
    def windows(self) -> tuple[LoadPart, ...]:
        """The calls that were due in each of about 60 windows, in their order."""
        numbers = range(self._timeline.warm, len(self._timeline.ends))
        parts = (self._part(f"window {n}", [number]) for n, number in enumerate(numbers, 1))
        return tuple(part for part in parts if part.seconds > 0)

    @cached_property
    def stages(self) -> tuple[LoadPart, ...]:
        """The calls that were due in each stage, in their order."""
        stages = self._timeline.stages
        parts = (
            self._part(f"stage {stage + 1}", [n for n, at in enumerate(stages) if at == stage])
            for stage in range(max(stages) + 1)
        )
        return tuple(part for part in parts if part.seconds > 0)

    @cached_property
    def scenarios(self) -> dict[str, LoadPart]:
        """The calls of each scenario, by its name."""
        every = range(len(self._timeline.ends))
        return {name: self._part(name, every, [n]) for n, name in enumerate(self._names)}

    @cached_property
    def doubt(self) -> str:
        """Why its times may be those of the generator, with the cure; empty where they are not."""
        tally = self.tally
        late = tally.late if tally.held else self.whole.dispatch_delay
        return doubt_of(self.whole.latency, late, tally.lag)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that whoever reads its numbers must know."""
        doubts = (self.doubt,) if self.doubt else ()
        return (*notes_of(self.plan, self.tally, self.whole.cell), *doubts)

    @property
    def first_error(self) -> str:
        """The first exception of a call, with its type; empty for none."""
        return self.tally.first_error

    @property
    def is_partial(self) -> bool:
        """Whether somebody from outside ended it: Ctrl-C, or the end of the test."""
        return self.tally.is_partial

    @property
    def in_flight_max(self) -> int:
        """Calls in flight at once, at most."""
        return self.tally.in_flight_max

    def __str__(self) -> str:
        lines = [str(self.whole)]
        if len(self.stages) > 1:
            lines += map(str, self.stages)
        if len(self.scenarios) > 1:
            lines += map(str, self.scenarios.values())
        return "\n".join([*lines, *self.notes])

    def __repr__(self) -> str:
        return f"<LoadResult {self.whole}>"

    def _part(
        self, name: str, windows: Iterable[int], scenarios: Iterable[int] | None = None
    ) -> LoadPart:
        """Return the part of *windows*, those of the warmup left out."""
        timeline = self._timeline
        numbers = [number for number in windows if number >= timeline.warm]
        starts, ends = (0.0, *timeline.ends), timeline.ends
        start = starts[numbers[0]] if numbers else 0.0
        end = ends[numbers[-1]] if numbers else 0.0
        # Calls that were due in the last window end after it.
        end = self.end if end == ends[-1] else min(end, self.end)
        cell = self.tally.total(scenarios, numbers)
        return LoadPart(
            name, start, max(end, start), cell, self.plan.is_open, bool(self.plan.goodput)
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in _OF_PARTS:
            raise AttributeError(f"the result of a load has no {name!r}")
        return getattr(self.whole, name)


_OF_PARTS = frozenset(name for name, value in vars(LoadPart).items() if isinstance(value, property))
