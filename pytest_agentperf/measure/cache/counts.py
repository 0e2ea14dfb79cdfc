"""What a cache has counted so far, and the tally of one that has to be counted from outside."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

__all__ = ["STRIP", "Counts", "Tally"]

HitCount: TypeAlias = Callable[[], int]

STRIP: Final = 200
"""Lookups that a strip shows, the last ones."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a cache has counted since it was made, or in a block.

    Attributes:
        hits: Lookups that it answered.
        misses: Lookups that it did not.
        evictions: Entries removed for lack of room; None where nobody counts them.
        size: Entries held at that moment; None where it cannot be read.
        time_saved: Seconds that computing the hits would have taken; None where nobody knows.
    """

    hits: int
    misses: int
    evictions: int | None = None
    size: int | None = None
    time_saved: float | None = None

    @property
    def lookups(self) -> int:
        """Hits and misses together."""
        return self.hits + self.misses

    def since(self, earlier: "Counts") -> "Counts":
        """Return what was counted after *earlier*; negative where counters ran backwards."""
        evictions, time_saved = self.evictions, self.time_saved
        return Counts(
            self.hits - earlier.hits,
            self.misses - earlier.misses,
            None if evictions is None else evictions - (earlier.evictions or 0),
            self.size,
            None if time_saved is None else time_saved - (earlier.time_saved or 0.0),
        )

    @property
    def is_backwards(self) -> bool:
        """Whether a counter of a difference is negative."""
        return min(self.hits, self.misses, self.evictions or 0, self.time_saved or 0.0) < 0

    def __str__(self) -> str:
        def counted(number: int, word: str) -> str:
            return f"{number} {word}{'' if number == 1 else 's' if word == 'hit' else 'es'}"

        return f"{counted(self.hits, 'hit')} and {counted(self.misses, 'miss')}"


class Tally:
    """Lookups of a cache that counts none itself.

    The order of hits and misses follows from how many hits there were at each miss: a hit need only
    be added.

    Attributes:
        count_hits: Returns the hits that a cache's own code has added, where it does so.
        misses: Lookups that were not answered.
        evictions: Entries removed for lack of room.
    """

    __slots__ = ("_hits", "_hits_at_misses", "count_hits", "evictions", "misses")

    def __init__(self) -> None:
        self.count_hits: HitCount = int
        self.misses = 0
        self.evictions = 0
        self._hits = 0
        self._hits_at_misses: deque[int] = deque(maxlen=STRIP)

    @property
    def hits(self) -> int:
        """Lookups that were answered."""
        return self._hits + self.count_hits()

    def forget_hits(self, number: int) -> None:
        """Take back hits that were no lookups of the user."""
        self._hits -= number

    def miss(self) -> None:
        """Count a lookup that was not answered."""
        self.misses += 1
        self._hits_at_misses.append(self.hits)

    def look(self, *, is_hit: bool) -> None:
        """Count a lookup."""
        if is_hit:
            self._hits += 1
        else:
            self.miss()

    def strip(self, since: Counts) -> str:
        """Return a letter for each lookup after *since*, as in ``"MMHHH"``: the last 200 of them.

        An ellipsis in front stands for those before.
        """
        new = self.misses - since.misses
        missed = list(self._hits_at_misses)[max(len(self._hits_at_misses) - new, 0) :]
        bounds = [since.hits if new <= STRIP else missed[0], *missed, self.hits]
        runs = ["H" * min(after - before, STRIP) for before, after in pairwise(bounds)]
        shown = "M".join(runs)
        is_cut = self.hits + self.misses - since.lookups > STRIP
        return f"…{shown[-STRIP:]}" if is_cut else shown
