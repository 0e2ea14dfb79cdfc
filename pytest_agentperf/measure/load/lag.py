"""The lag of an event loop: how late it runs a timer, looked at all the time."""

import asyncio
from typing import Final

from pytest_agentperf.core.sample import Sample

__all__ = ["LagProbe"]

_EVERY: Final = 0.01
_GRAIN: Final = 0.001  # asyncio rounds a timer up to the next millisecond of epoll


class LagProbe:
    """Records how late a timer runs, a hundred times a second.

    Args:
        loop: The event loop.
        lag: Gets the seconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, lag: Sample) -> None:
        self._loop = loop
        self._lag = lag
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin."""
        self._due = self._loop.time() + _EVERY
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._lag.add(max(self._loop.time() - self._due - _GRAIN, 0.0))
        self.start()

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
