"""Monitors: those who watch a test while it runs, kept from disturbing its timed rounds."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

__all__ = ["ExtraPass", "Monitor", "Monitors", "Room"]


class Room(NamedTuple):
    """What the user's bounds leave for further calls; None where they state nothing."""

    calls: int | None = None
    seconds: float | None = None


class Monitor(Protocol):
    """Watches calls, and costs them time."""

    @property
    def names(self) -> tuple[str, ...]:
        """What it watches with, as in ``"loop watch"``."""

    def pause(self) -> None:
        """Stop to watch."""

    def resume(self) -> None:
        """Watch again."""

    def miss(self, reason: str) -> None:
        """Take note that calls went unwatched, and why."""


class ExtraPass(Protocol):
    """Calls that are made when the timed rounds are over, to be metered and not timed."""

    def run(self, call: Callable[[], object], room: Room) -> None:
        """Make calls of a sync function."""

    async def run_async(self, call: Callable[[], Awaitable[object]], room: Room) -> None:
        """Make calls of an async function."""

    def miss(self, reason: str) -> None:
        """Take note that the calls were not made, and why."""


class Monitors:
    """The monitors at work in one test.

    Attributes:
        active: Those that watch now, in the order in which they began.
        seen: The names of all that ever watched.
    """

    __slots__ = ("active", "seen")

    def __init__(self) -> None:
        self.active: list[Monitor] = []
        self.seen: dict[str, None] = {}

    def enter(self, monitor: Monitor) -> None:
        """Take note that *monitor* begins to watch."""
        self.active.append(monitor)
        self.seen.update(dict.fromkeys(monitor.names))

    def leave(self, monitor: Monitor) -> None:
        """Take note that *monitor* has ended."""
        self.active.remove(monitor)

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
