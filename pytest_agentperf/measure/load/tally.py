"""The tally of a load: what every call came to, in cells that add up.

A cell holds the calls of one scenario that were due in one window. Whatever is asked for later, of
a stage, a scenario, the whole load, is the sum of cells; so is the load of several processes.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from pytest_agentperf.core.sample import EXACT_VALUES, Sample
from pytest_agentperf.measure.stream import ItemClock

__all__ = ["Cell", "LoadTally"]

_STEP: Final = 4000  # values that go into buckets at once: half a millisecond


class Cell:
    """What some calls came to.

    Attributes:
        latency: Seconds from when each call was due to its end; of those that succeeded.
        service: Seconds from its start to its end; of open loads.
        dispatch_delay: Seconds from when it was due to its start; of open loads.
        ttft: Seconds to the first item of each stream.
        itl: Seconds between two items.
        failed: Seconds from when each failed call was due to its end.
        errors: Failed calls by the name of the exception's type.
        good: Calls that met every limit of the goodput.
    """

    __slots__ = (
        *("latency", "service", "dispatch_delay", "ttft", "itl", "failed", "errors", "good"),
    )

    def __init__(self) -> None:
        self.latency, self.service, self.dispatch_delay = Sample(), Sample(), Sample()
        self.ttft, self.itl, self.failed = Sample(), Sample(), Sample()
        self.errors: Counter[str] = Counter()
        self.good = 0

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All samples, in the same order for every cell."""
        return (
            *(self.latency, self.service, self.dispatch_delay),
            *(self.ttft, self.itl, self.failed),
        )

    @property
    def calls(self) -> int:
        """Calls that ended, failed ones too."""
        return self.latency.count + self.failed.count

    def stream(self, items: ItemClock) -> None:
        """Record when the *items* of a call came."""
        if items.first is not None:
            self.ttft.add(items.first)
        for gap in items.gaps:
            self.itl.add(gap)

    def fail(self, seconds: float, name: str, calls: int = 1) -> None:
        """Record *calls* that ended after *seconds* with an error called *name*."""
        for _ in range(calls):
            self.failed.add(seconds)
        self.errors[name] += calls

    def merge(self, other: "Cell") -> None:
        """Record all calls of *other*."""
        for mine, theirs in zip(self.samples, other.samples, strict=True):
            mine.merge(theirs)
        self.errors += other.errors
        self.good += other.good


class LoadTally:
    """What the calls of a load, or of one share of it, came to. It can be pickled.

    Attributes:
        cells: By number of the scenario and number of the window.
        lag: Seconds from when the event loop should have run a timer until it did.
        late: Seconds by which calls of an open load were started later than they could have been.
        seconds: When the load ended, from its beginning.
        in_flight_max: Calls in flight at once, at most.
        held: Calls of an open load that waited because `max_in_flight` were in flight.
        unfinished: Calls that were cancelled because they did not end in time after the last.
        unsent: Calls of an open load that were due and could not be started any more.
        stubborn: Calls that went on although they were cancelled.
        first_error: The first exception, with its type.
        ended: Why the load ended before it was over; empty where it did not.
        is_partial: Whether somebody from outside ended it.
        lost: A sentence for each share of it that another process was to make and did not.
        notes: Sentences on such shares that weaken the numbers.
    """

    def __init__(self) -> None:
        self.cells: dict[tuple[int, int], Cell] = {}
        self.lag, self.late = Sample(), Sample()
        self.seconds = 0.0
        self.in_flight_max = 0
        self.held = self.unfinished = self.unsent = self.stubborn = 0
        self.first_error = ""
        self.ended = ""
        self.is_partial = False
        self.lost: tuple[str, ...] = ()
        self.notes: tuple[str, ...] = ()

    def cell(self, scenario: int, window: int) -> Cell:
        """Return where calls of *scenario* that are due in *window* are recorded."""
        cell = self.cells.get((scenario, window))
        if cell is None:
            cell = self.cells[scenario, window] = Cell()
        return cell

    def total(self, scenarios: Iterable[int] | None = None, windows: Iterable[int] = ()) -> Cell:
        """Return the sum of the cells of *scenarios*, None for all, in *windows*."""
        wanted = None if scenarios is None else set(scenarios)
        within, total = set(windows), Cell()
        for (scenario, window), cell in sorted(self.cells.items()):
            if window in within and (wanted is None or scenario in wanted):
                total.merge(cell)
        return total

    def made(self) -> tuple[int, int]:
        """Return how many calls ended, those of the warmup too, and how many of them failed."""
        cells = self.cells.values()
        return sum(cell.calls for cell in cells), sum(cell.failed.count for cell in cells)

    def merge(self, other: "LoadTally") -> None:
        """Record what *other*, another share of the same load, has recorded."""
        for key, cell in other.cells.items():
            self.cell(*key).merge(cell)
        self.lag.merge(other.lag)
        self.late.merge(other.late)
        self.seconds = max(self.seconds, other.seconds)
        self.in_flight_max += other.in_flight_max
        self.held += other.held
        self.unfinished += other.unfinished
        self.unsent += other.unsent
        self.stubborn += other.stubborn
        self.first_error = self.first_error or other.first_error
        self.ended = self.ended or other.ended
        self.is_partial |= other.is_partial

    def trim(self) -> Iterator[None]:
        """Move values into buckets while there are too many to keep, a few at each step."""
        for samples in zip(*(cell.samples for cell in self.cells.values()), strict=True):
            if sum(sample.kept for sample in samples) < EXACT_VALUES:
                continue
            # What is recorded meanwhile stays, for whoever looks at new values alone.
            for sample, kept in [(sample, sample.kept) for sample in samples]:
                for _ in range(kept // _STEP):
                    sample.count_in_buckets(_STEP)
                    yield
