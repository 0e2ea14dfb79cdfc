"""Monitors: those who watch a test while it runs, kept from disturbing its timed rounds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["Monitor", "Monitors"]


class Monitor(Protocol):
    """Watches calls, and costs them time."""

    def pause(self) -> None:
        """Stop to watch."""

    def resume(self) -> None:
        """Watch again."""

    def miss(self, reason: str) -> None:
        """Take note that calls went unwatched, and why."""


class Monitors:
    """The monitors at work in one test.

    Attributes:
        active: Those that watch now, in the order in which they began.
    """

    __slots__ = ("active",)

    def __init__(self) -> None:
        self.active: list[Monitor] = []

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause all of them for the length of this context."""
        paused = list(self.active)
        for monitor in paused:
            monitor.pause()
        try:
            yield
        finally:
            for monitor in reversed(paused):
                monitor.resume()

    def miss(self, reason: str) -> None:
        """Tell all of them that calls went unwatched, and why."""
        for monitor in self.active:
            monitor.miss(reason)
