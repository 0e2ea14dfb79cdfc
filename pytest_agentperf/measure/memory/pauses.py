"""Pauses of the garbage collector: how long it held the program up."""

import gc
from array import array
from dataclasses import dataclass
from typing import Any, Final, Self

from pytest_agentperf.core.clock import REAL_TIME, Clock
from pytest_agentperf.core.units import Unit, format_quantity

__all__ = ["GcPauses", "PauseWatch", "Pauses", "collect_unseen"]

_GENERATIONS: Final = 3
_KEPT: Final = 4096
_NEVER: Final = -1.0  # no clock goes so far back
_NOT_SAID: Final = "this Python does not say when its garbage collector runs"
_REMOVED: Final = "the code under test took the watch out of gc.callbacks"


@dataclass(frozen=True, slots=True)
class Pauses:
    """Collections, each of which held every thread up.

    Attributes:
        count: How many.
        total: Seconds in all.
        longest: Seconds of the longest.
        is_partial: Whether there were more than are remembered, so that the numbers are too low.
    """

    count: int = 0
    total: float = 0.0
    longest: float = 0.0
    is_partial: bool = False

    def __str__(self) -> str:
        if not self.count:
            return "no pause"
        total, longest = (format_quantity(it, Unit.SECONDS) for it in (self.total, self.longest))
        if self.count == 1:
            return f"1 pause of {total}"
        return f"{self.count} pauses, {total} in all, the longest {longest}"


@dataclass(frozen=True, slots=True)
class GcPauses:
    """The pauses of a block.

    Attributes:
        all: Those of all generations; None where they are unknown.
        generations: Those of each generation, the youngest first.
        reason: Why they are unknown; empty where they are known.
    """

    all: Pauses | None
    generations: tuple[Pauses, ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        if self.all is None:
            return f"n/a: {self.reason}"
        if not self.all.count:
            return "no pause of the garbage collector"
        longest = max(self.generations, key=lambda pauses: pauses.longest)
        return f"{self.all} (generation {self.generations.index(longest)})"


class PauseWatch:
    """Times each collection between its start and its stop.

    All its memory is taken when it is made, so that a trace of the block sees nothing of it.

    Args:
        clock: Seconds; the real ones unless a test says otherwise.
    """

    __slots__ = (
        "_began", "_clock", "_counts", "_ends", "_is_watching", "_longest", "_place", "_reason",
        "_seconds", "_totals",
    )  # fmt: skip

    def __init__(self, clock: Clock = REAL_TIME.clock) -> None:
        self._clock = clock
        self._reason = "" if hasattr(gc, "callbacks") else _NOT_SAID
        self._is_watching = False
        self._began = _NEVER
        self._place = 0
        self._counts = array("q", [0] * _GENERATIONS)
        self._totals = array("d", [0.0] * _GENERATIONS)
        self._longest = array("d", [0.0] * _GENERATIONS)
        # The latest pauses, the oldest of which are overwritten.
        self._ends = array("d", [0.0]) * _KEPT
        self._seconds = array("d", [0.0]) * _KEPT

    def start(self) -> None:
        """Watch from now on."""
        if not self._reason:
            gc.callbacks.append(self._note)
            self._is_watching = True

    def stop(self) -> None:
        """Watch no more; what was seen stays."""
        if not self._is_watching:
            return
        self._is_watching = False
        try:
            gc.callbacks.remove(self._note)
        except ValueError:
            self._reason = _REMOVED

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def result(self) -> GcPauses:
        """Return what was seen so far."""
        if self._reason:
            return GcPauses(None, reason=self._reason)
        each = tuple(map(Pauses, self._counts, self._totals, self._longest))
        together = Pauses(sum(self._counts), sum(self._totals), max(self._longest))
        return GcPauses(together, each)

    def overlapping(self, began: float, ended: float) -> Pauses:
        """Return the part of the pauses that lies between two readings of the clock.

        Args:
            began: When a call began.
            ended: When it ended. The latest 4096 pauses are remembered.
        """
        count, total, longest = 0, 0.0, 0.0
        seen = sum(self._counts)
        for number in range(seen - 1, max(seen - _KEPT, 0) - 1, -1):
            end, seconds = self._ends[number % _KEPT], self._seconds[number % _KEPT]
            if end <= began:  # pauses never overlap each other, so all earlier ones ended before
                return Pauses(count, total, longest)
            share = min(end, ended) - max(end - seconds, began)
            if share > 0:
                count, total, longest = count + 1, total + share, max(longest, share)
        return Pauses(count, total, longest, is_partial=seen > _KEPT)

    def _note(self, phase: str, info: dict[str, Any]) -> None:
        # Short and flat: it runs twice in every collection, of which there may be thousands.
        now = self._clock()
        if phase == "start":
            self._began = now
            return
        seconds = now - self._began
        if seconds > now:  # it had started before the watch did
            return
        self._began = _NEVER
        generation = info["generation"]
        self._counts[generation] += 1
        self._totals[generation] += seconds
        if seconds > self._longest[generation]:  # noqa: PLR1730 -- twice as fast as `max`
            self._longest[generation] = seconds
        place = self._place
        self._ends[place] = now
        self._seconds[place] = seconds
        self._place = (place + 1) % _KEPT


def collect_unseen() -> None:
    """Collect garbage for a reading of ours, of which no callback is told.

    It is no pause of the code under test, and a callback such as hypothesis's allocates.
    """
    if not hasattr(gc, "callbacks"):
        gc.collect()
        return
    callbacks = gc.callbacks[:]
    gc.callbacks.clear()
    try:
        gc.collect()
    finally:
        gc.callbacks[:0] = callbacks
