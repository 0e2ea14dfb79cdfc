"""What was counted in one block: the numbers, or why one is not known, for budgets and messages."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.measure.cache.counts import Counts

__all__ = ["BlockResults"]

_CURE: Final = "give perf_cache(cache, load=…) the function that perf_cache.count returned"


@dataclass(frozen=True, slots=True)
class BlockResults:
    """What was counted in one block.

    Attributes:
        subject: What messages call the cache.
        began: What it had counted when the block began; another test may share it.
        ended: What it had counted when the block ended.
        strip: A letter for each lookup, where they were counted from outside.
        computations: Calls of the counted load in the block; None where none was given.
        mean: Seconds that such a call takes on average; None where that is not known.
        failure: Why the cache could not be read when the block ended; empty where it was.
    """

    subject: str
    began: Counts
    ended: Counts
    strip: str = ""
    computations: int | None = None
    mean: float | None = None
    failure: str = ""

    @property
    def counts(self) -> Counts:
        """What was counted in the block; meaningless where `reason` says why."""
        return self.ended.since(self.began)

    @property
    def reason(self) -> str:
        """Why nothing of the block is known; empty where it is."""
        if self.failure or not self.counts.is_backwards:
            return self.failure
        return (
            f"the counters of {self.subject} ran backwards, from {self.began} to {self.ended}:"
            " it was cleared in the block; clear it before"
        )

    def number(self, name: str) -> float | None:
        """Return a quantity by its name, as in ``"hit_rate"``; None where it is not known."""
        counts = self.counts
        if self.reason:
            return None
        if name == "hit_rate":
            return counts.hits / counts.lookups if counts.lookups else None
        if name == "misses":
            return counts.misses
        if name == "evictions":
            return counts.evictions
        if counts.time_saved is not None:
            return counts.time_saved
        return None if self.mean is None else counts.hits * self.mean

    def why_unknown(self, name: str) -> str:
        """Return why a quantity is not known, and the cure."""
        if self.reason:
            return self.reason
        if name == "hit_rate":
            return f"nothing was looked up in {self.subject} during the block"
        if name == "evictions":
            return f"{self.subject} does not count evictions"
        return f"{self.subject} does not know what computing takes; {_CURE}"

    @property
    def started(self) -> str:
        """Whether the cache held entries at the start: ``"cold"``, ``"warm"`` or ``"unknown"``."""
        size = self.began.size
        return "unknown" if size is None else "warm" if size else "cold"

    def measurement(self, label: str | None) -> Measurement:
        """Return what budgets are held against."""
        names = ("hit_rate", "misses", "evictions", "time_saved")
        numbers = {name: self.number(name) for name in names}
        lookups = 0 if self.reason else self.counts.lookups
        return Measurement(
            label,
            self.subject,
            lookups,
            0,
            samples={},
            values={name: value for name, value in numbers.items() if value is not None},
            unknown={n: self.why_unknown(n) for n, value in numbers.items() if value is None},
            causes=dict.fromkeys(names, str(self)),
        )

    def __str__(self) -> str:
        return self.reason or ", ".join(self._words())

    def _words(self) -> Iterator[str]:
        yield f"{self.counts} of {self.subject}"
        before = f" ({self.began} before)" if self.began.lookups else ""
        if self.began.size is None:
            yield f"which does not tell its size{before}"
        else:
            entries = "1 entry" if self.ended.size == 1 else f"{self.ended.size} entries"
            yield f"{self.started} at the start{before}, {entries} at the end"
        if self.counts.evictions:
            yield f"{self.counts.evictions} evicted"
        if self.computations is not None:
            yield f"{self.computations} computed"
        if "M" in self.strip and "H" in self.strip:
            yield f"in the order {self.strip}"
