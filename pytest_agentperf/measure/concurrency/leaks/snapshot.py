"""Leaks: what code left behind when it said that it was done."""

import asyncio
import sys
import time
from collections.abc import Iterator
from typing import Final

from pytest_agentperf.core.clock import REAL_TIME
from pytest_agentperf.measure.concurrency.leaks.leak import Kind, Leak, LeakSource
from pytest_agentperf.measure.concurrency.leaks.resources import (
    DescriptorLeaks,
    Origin,
    ProcessLeaks,
    ThreadLeaks,
)
from pytest_agentperf.measure.concurrency.leaks.unfinished import (
    Collector,
    CoroutineLeaks,
    GeneratorLeaks,
    TaskLeaks,
)
from pytest_agentperf.measure.concurrency.origins import caller, off_the_loop
from pytest_agentperf.measure.hooks import Hooks

__all__ = ["METRICS", "Leak", "Snapshot"]

METRICS: Final[dict[str, tuple[Kind, ...]]] = {
    "leaked_tasks": ("task",),
    "leaked_threads": ("thread",),
    "leaked_fds": ("socket", "fd"),
}
"""The kinds of leaks that each metric counts."""

_REST: Final = 0.0005


class _Real:
    """Functions bound before a test can replace them."""

    sleep: Final = staticmethod(time.sleep)
    yield_now: Final = staticmethod(asyncio.sleep)


class Snapshot:
    """What there is when a watch begins, to find what has come since and stays when it ends.

    On asyncio and uvloop it sees tasks, failed tasks, dropped coroutines, async generators,
    threads, processes, sockets and files; on trio, which lets no task be lost, all but tasks.

    Attributes:
        origin: Returns the line of the user's that is behind the current call, or behind the task
            in which it is made.
    """

    def __init__(self, *, origins: bool = True) -> None:
        loop, hooks, collector = _running_loop(), Hooks(), Collector()
        tasks = [TaskLeaks(loop, hooks, collector, origins=origins)] if loop else []
        self.origin: Origin = tasks[0].origin if tasks else caller
        self._hooks = hooks
        self._sources: tuple[LeakSource, ...] = (
            collector,
            *tasks,
            CoroutineLeaks(hooks, collector),
            GeneratorLeaks(),
            ThreadLeaks(hooks, self.origin, loop),
            ProcessLeaks(hooks, self.origin, loop),
            DescriptorLeaks(hooks, self.origin, loop),
        )

    @classmethod
    def take(cls, *, origins: bool = True) -> "Snapshot":
        """Note what there is, and from now on where more comes from.

        Args:
            origins: Whether to note who creates a task, which makes creating it half as dear
                again; without, the line is missing, and a failed task that somebody keeps.
        """
        snapshot = cls(origins=origins)
        for source in snapshot._sources:
            source.remember()
        snapshot.start()
        return snapshot

    def start(self) -> None:
        """Go on after a `stop`: what came in between is found, but not where it came from."""
        if not self._hooks.active:
            self._hooks.active = True
            for source in self._sources:
                source.start()

    def stop(self) -> None:
        """Put back all that was replaced."""
        if self._hooks.active:
            self._hooks.undo()
            for source in reversed(self._sources):
                source.stop()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what cannot be seen here."""
        return tuple(note for source in self._sources for note in source.notes)

    async def settle_and_diff(self, patience: float = 0.1) -> tuple[Leak, ...]:
        """Return what has come and stays, and stop.

        What is about to end gets time for it, but only while there is something: the loop runs
        once, then for 1 ms, 2 ms, 4 ms and so on.

        Args:
            patience: How long to wait altogether, in seconds.
        """
        try:
            found = self._leaks()
            for pause in _pauses(patience):
                if not found:
                    break
                await _let_run(pause)
                found = self._leaks()
            return found
        finally:
            self.stop()

    def _leaks(self) -> tuple[Leak, ...]:
        return tuple(leak for source in self._sources for leak in source.leaks())


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _pauses(patience: float) -> Iterator[float]:
    yield 0.0
    pause = 0.001
    while patience > 0:
        yield min(pause, patience)
        patience -= pause
        pause *= 2


async def _let_run(seconds: float) -> None:
    """Let tasks and threads run for *seconds* of the real time.

    A timer would never ring on a loop whose clock a test has stopped, and at once on a simulated.
    """
    yield_now = _Real.yield_now if _running_loop() else sys.modules["trio"].sleep
    until = REAL_TIME.clock() + seconds
    await yield_now(0)
    while REAL_TIME.clock() < until:
        with off_the_loop():
            _Real.sleep(_REST)
        await yield_now(0)
