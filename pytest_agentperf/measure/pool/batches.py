"""The use of a batcher: one block of a test, and what its batches were."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pytest_agentperf.core.errors import CheckError, UsageError
from pytest_agentperf.core.finding import Finding
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.pool.batchsources import Batches, Source
from pytest_agentperf.measure.pool.block import UseBlock
from pytest_agentperf.measure.pool.settings import PoolContext

__all__ = ["BatchTally", "BatchUse"]

_MOST: Final = 0.5
_ALWAYS: Final = 0.9
_EVIDENCE: Final = 2  # batches from which something is told


@dataclass(frozen=True, slots=True)
class BatchTally:
    """The batches of one block.

    Attributes:
        name: What messages call the batcher.
        limit: Items in a batch, at most; None where that is not known.
        sizes: Batches by number of items.
        starts: Batches by what started them.
        waits: Seconds that the first items of the batches waited, altogether; None if unknown.
    """

    name: str
    limit: int | None
    sizes: Mapping[int, int]
    starts: Mapping[str, int]
    waits: float | None

    @property
    def batches(self) -> int:
        """How many there were."""
        return sum(self.sizes.values())

    @property
    def items(self) -> int:
        """How many items were in them."""
        return sum(size * number for size, number in self.sizes.items())

    @property
    def largest(self) -> int:
        """Items of the largest."""
        return max(self.sizes, default=0)


class BatchUse(UseBlock):
    """Sees what a batcher gathers inside `with` or `async with`; it is read after the block.

    Args:
        source: Tells of the batches.
        context: The test around the block.
        label: The user's name for it; None for the unnamed one.
    """

    def __init__(self, source: Source, context: PoolContext, label: str | None) -> None:
        self._source = source
        self._first = Batches({})
        self._seen: BatchTally | None = None
        self._notes: tuple[str, ...] = ()
        super().__init__(source.name, context, label)

    def _start(self) -> None:
        self._source.start()
        self._first = self._source.read()

    def _stop(self) -> Iterable[Finding]:
        self._source.stop()
        self._seen = self._tally(self._source.read())
        return _batch_findings(self._seen)

    def _tally(self, last: Batches) -> BatchTally:
        first, name = self._first, self._source.name
        name = f"{name} {self._label!r}" if self._label else name
        sizes, starts = Counter(last.sizes), Counter(last.starts)
        sizes.subtract(first.sizes)
        starts.subtract(first.starts)
        waits = None
        if first.waits is not None and last.waits is not None:
            waits = last.waits - first.waits
        if min([*sizes.values(), *starts.values(), waits or 0]) < 0:
            self._notes = (
                f"the counters of {name} ran backwards: it was reset or replaced inside the block",
            )
            return BatchTally(name, self._source.limit, {}, {}, None)
        return BatchTally(name, self._source.limit, +sizes, +starts, waits)

    # What was seen

    @property
    def is_over(self) -> bool:
        """Whether the block has ended."""
        return self._seen is not None

    @property
    def tally(self) -> BatchTally:
        """All numbers."""
        if self._seen is None:
            raise UsageError(f"this block is {self._state}; read what was batched after it")
        return self._seen

    @property
    def sizes(self) -> Sample:
        """The items of each batch, the smallest batches first."""
        sizes = sorted(self.tally.sizes.items())
        return Sample((size for size, number in sizes for _ in range(number)), lowest=1)

    @property
    def batches(self) -> int:
        """Batches that started."""
        return self.tally.batches

    @property
    def items(self) -> int:
        """Items in them."""
        return self.tally.items

    @property
    def reasons(self) -> dict[str, int]:
        """Batches by what started them: for ours `idle`, `full`, `time` and `close`."""
        return dict(self.tally.starts)

    @property
    def lone_share(self) -> float:
        """Items that were alone in their batch ÷ all, in [0, 1].

        Raises:
            CheckError: There was no batch.
        """
        return self._used().sizes.get(1, 0) / self.tally.items

    @property
    def wait(self) -> float:
        """Seconds that the first item of a batch waited on average; those that follow wait less.

        Raises:
            CheckError: There was no batch, or the batcher does not tell.
        """
        tally = self._used()
        if tally.waits is None:
            raise CheckError(f"{tally.name} does not tell how long items waited")
        return tally.waits / tally.batches

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What its author would want to know of the batches; `str(finding)` is a sentence."""
        _ = self.tally
        return self._findings

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be told, a sentence each."""
        return self._notes

    def assert_batched(self, at_least: float = 2) -> None:
        """Fail where batches had fewer items on average.

        Args:
            at_least: The least mean number of items.
        """
        __tracebackhide__ = True
        tally = self._used()
        mean = tally.items / tally.batches
        if mean < at_least:
            raise CheckError(
                f"{_summary(tally)}: {mean:.3g} items a batch, expected at least {at_least:g};"
                " submit items at once, or let the batcher wait longer"
            )

    def _used(self) -> BatchTally:
        __tracebackhide__ = True
        if not self.tally.items:
            why = self._notes[0] if self._notes else f"{self.tally.name} had no batch in the block"
            raise CheckError(f"{why}, so nothing can be said of its batches")
        return self.tally

    def measurement(self) -> Measurement:
        """Return what reports show; no metric is one of batches."""
        tally = self.tally
        return Measurement(
            label=self._label,
            subject=tally.name,
            calls=tally.batches,
            errors=0,
            samples={},
            values={},
            notes=self._notes,
            findings=self._findings,
            monitors=("pool probe",) if self._source.is_paid else (),
        )


def _summary(tally: BatchTally) -> str:
    batches = f"{tally.batches} batch{'es' * (tally.batches != 1)}"
    starts = ", ".join(f"{number} by {why}" for why, number in sorted(tally.starts.items()))
    return f"{tally.name} made {batches} of {tally.items} items{f' ({starts})' if starts else ''}"


def _batch_findings(tally: BatchTally) -> Iterator[Finding]:
    if tally.batches < _EVIDENCE:
        return
    lone, full = tally.sizes.get(1, 0), tally.sizes.get(tally.limit or -1, 0)
    summary, waited = _summary(tally), ""
    if tally.waits:
        waited = f", after {format_quantity(tally.waits / tally.batches, Unit.SECONDS)} on average"
    if lone >= _MOST * tally.items and tally.limit != 1:
        text = (
            f"{summary}: {lone} items went alone{waited}; submit items at once, as by"
            " asyncio.gather, or do without the batcher"
        )
        yield Finding("batch_lone", text, name=tally.name, count=lone)
    elif tally.limit is not None and not full:
        text = (
            f"{summary}: none was full, the largest had {tally.largest} of {tally.limit}{waited};"
            " a smaller batch_size would do, and a shorter wait cost nothing"
        )
        yield Finding("batch_never_full", text, name=tally.name, count=tally.batches)
    elif full >= _ALWAYS * tally.batches and tally.limit != 1:
        text = f"{summary}: {full} were full with {tally.limit}; more room would save calls"
        yield Finding("batch_full", text, name=tally.name, count=full)
