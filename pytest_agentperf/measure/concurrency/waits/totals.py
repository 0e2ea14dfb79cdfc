"""Totals: what was waited for, as a reader wants to know it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from pytest_agentperf.core.finding import Finding, Place
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.concurrency.origins import place_or_none
from pytest_agentperf.measure.concurrency.waits.waiting import Kind, Record
from pytest_agentperf.measure.frames import Site

__all__ = ["Key", "Wait", "WaitTotal", "totals_of", "waits_of"]

Key: TypeAlias = tuple[Kind, Site | str]
"""What was waited for: its kind, and where it was first waited for, or its name."""


@dataclass(frozen=True, slots=True)
class Wait:
    """One wait.

    Attributes:
        kind: What was waited for, as in ``"lock"``.
        name: Which one: the line that waited for it first, or what it connects to.
        seconds: How long.
        start: When it began, by the ledger's clock.
        task: The name of the task that waited; empty where none did.
        place: The line that waited.
        holder: The line that had it for most of the time; None where it is not known. Of an
            `async with` it is the line that entered it, otherwise the one that let go.
        holder_task: The name of the task that had it; empty where it is not known.
        span: The span in which it was waited, or None.
    """

    kind: Kind
    name: str
    seconds: float
    start: float
    task: str
    place: Place | None
    holder: Place | None
    holder_task: str
    span: Any


@dataclass(frozen=True, slots=True)
class WaitTotal:
    """All waits for one thing, exactly.

    Attributes:
        kind: What was waited for.
        name: Which one.
        count: How often it was waited for.
        seconds: How long altogether; waits that overlap count each.
        longest: The longest of them.
    """

    kind: Kind
    name: str
    count: int
    seconds: float
    longest: Wait

    def __str__(self) -> str:
        altogether = format_quantity(self.seconds, Unit.SECONDS)
        times = "once" if self.count == 1 else f"in {self.count} waits"
        text = f"{self.name} was waited for {altogether} altogether {times}"
        holder, task = self.longest.holder, self.longest.holder_task
        if holder is None:
            return text
        longest = format_quantity(self.longest.seconds, Unit.SECONDS)
        whose = f" (task {task!r})" if task else ""
        line = f"{holder.file}:{holder.line} in {holder.function}"
        return f"{text}; longest {longest} behind {line}{whose}"

    @property
    def finding(self) -> Finding:
        """The total as a finding, at the line that was waited for where it is known."""
        place = self.longest.holder or self.longest.place
        return Finding("contention", str(self), place, self.name, self.count, self.seconds)


def waits_of(records: Iterable[Record]) -> tuple[Wait, ...]:
    """Return the waits of *records*, longest first."""
    return tuple(_wait(record) for record in sorted(records, reverse=True))


def totals_of(totals: Iterable[tuple[Key, tuple[int, float, Record]]]) -> tuple[WaitTotal, ...]:
    """Return the *totals*: number, seconds, and the longest; the longest altogether first."""
    ordered = sorted(totals, key=lambda item: -item[1][1])
    return tuple(
        WaitTotal(kind, _name(kind, key), count, seconds, _wait(longest))
        for (kind, key), (count, seconds, longest) in ordered
    )


def _wait(record: Record) -> Wait:
    return Wait(
        kind=record.kind,
        name=_name(record.kind, record.key),
        seconds=record.seconds,
        start=record.start,
        task=record.waiter,
        place=place_or_none(record.site),
        holder=place_or_none(record.holder),
        holder_task=record.task,
        span=record.span,
    )


def _name(kind: Kind, key: Site | str) -> str:
    place = None if isinstance(key, str) else place_or_none(key)
    return f"{kind} at {place.file}:{place.line}" if place else str(key)
