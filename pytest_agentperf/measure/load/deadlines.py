"""Deadlines of calls: one timer for all of them, not one for each.

`asyncio.timeout` around each call costs more than the rest of a load: 4.6 times as much.
"""

import asyncio
from typing import Any

from pytest_agentperf.core.clock import Clock

__all__ = ["Deadlines"]


class Deadlines:
    """Cancels the tasks whose call takes too long. All calls have the same time.

    Args:
        seconds: What a call may take; None for any time.
        clock: The clock.
        loop: The event loop.
    """

    def __init__(
        self, seconds: float | None, clock: Clock, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._loop = loop
        # In order of their start, which is that of their deadlines.
        self._started: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, task: "asyncio.Task[Any]") -> None:
        """Take note that *task* begins a call now."""
        if self._seconds is None:
            return
        self._started[task] = self._clock()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._look)

    def end(self, task: "asyncio.Task[Any]") -> bool:
        """Take note that the call of *task* has ended; return whether it was cancelled here."""
        self._started.pop(task, None)
        if task not in self._late:
            return False
        self._late.discard(task)
        return True

    def _look(self) -> None:
        """Cancel the calls that are late; look again when the next one would be."""
        self._timer = None
        now, seconds = self._clock(), self._seconds or 0.0
        for task, started in list(self._started.items()):
            left = started + seconds - now
            if left > 0:
                self._timer = self._loop.call_later(left, self._look)
                return
            del self._started[task]
            self._late.add(task)
            task.cancel("its deadline")

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
