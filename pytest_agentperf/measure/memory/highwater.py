"""High-water marks: one mark of the whole process, read for blocks that nest and overlap."""

import threading
from array import array
from typing import Final, Protocol

__all__ = ["HighWater", "Level", "Stretch"]

_START, _HIGHEST, _PEAK = range(3)


class Level(Protocol):
    """A number of bytes that the process knows now, and at its highest."""

    def now(self) -> int:
        """Return it."""

    def highest(self) -> int:
        """Return the highest that it was since the last reset."""

    def reset(self) -> None:
        """Make the highest what it is now."""


class Stretch:
    """What the level was between a beginning and an end.

    An array holds its numbers: an integer that stays alive would be counted as the user's memory.
    """

    __slots__ = ("_cells",)

    def __init__(self) -> None:
        self._cells: Final = array("q", [0, 0, 0])

    @property
    def start(self) -> int:
        """Bytes at the beginning."""
        return self._cells[_START]

    @property
    def peak(self) -> int:
        """The most bytes until the end."""
        return self._cells[_PEAK]

    def raise_to(self, level: int) -> None:
        """Take note that the level was as high as *level*."""
        self._cells[_HIGHEST] = max(self._cells[_HIGHEST], level)

    def begin(self, level: Level) -> None:
        """Begin here; the mark is reset last, so that no reading of ours lies above it."""
        self._cells[_START] = level.now()
        self._cells[_HIGHEST] = self._cells[_START]
        level.reset()

    def end(self) -> None:
        """Keep the highest so far."""
        self._cells[_PEAK] = self._cells[_HIGHEST]


class HighWater:
    """Stretches of one level.

    Every stretch begins with a reset of the mark. What the mark was until then is first told to
    all that are open, so that none loses its peak to one that began later.
    """

    __slots__ = ("_level", "_lock", "_open")

    def __init__(self, level: Level) -> None:
        self._level = level
        self._lock = threading.Lock()
        self._open: list[Stretch] = []

    def begin(self, stretch: Stretch) -> None:
        """Begin *stretch*."""
        # A `with` would hold the lock's bound method, which the reading would count.
        self._lock.acquire()
        try:
            self._tell_all()
            self._open.append(stretch)
            stretch.begin(self._level)
        finally:
            self._lock.release()

    def end(self, stretch: Stretch) -> None:
        """Keep the peak of *stretch*, which stays open so that nothing is released here."""
        self._lock.acquire()
        try:
            self._tell_all()
            stretch.end()
        finally:
            self._lock.release()

    def forget(self, stretch: Stretch) -> None:
        """Close *stretch*, when it has been read."""
        with self._lock:
            self._open.remove(stretch)

    def _tell_all(self) -> None:
        """Tell all that are open how high it was; each began with the last reset or before."""
        highest = self._level.highest()
        for stretch in self._open:
            stretch.raise_to(highest)
