"""Open load: calls that start when they are due, whatever has ended."""

import asyncio
from typing import Final

from pytest_agentperf.measure.load.running import RunningLoad

__all__ = ["OpenLoad"]

_BATCH: Final = 50  # calls that are started at once where many are due, before others go on


class OpenLoad:
    """Starts each call when it is due, or as soon as the limit of calls in flight allows.

    The schedule is absolute: who is late with a call is not late with the next one.

    Args:
        run: The load.
    """

    def __init__(self, run: RunningLoad) -> None:
        self._run = run
        self._due = run.plan.arrivals()
        self._freed = run.begin

    def start(self) -> None:
        """Start to start calls."""
        self._run.spawn(self._dispatch())

    async def _dispatch(self) -> None:
        run, batch = self._run, 0
        try:
            for seconds in self._due:
                due = run.begin + seconds
                if due > run.clock():
                    await run.rest(due)
                    batch = 0
                elif batch == _BATCH:
                    await asyncio.sleep(0)
                    batch = 0
                if due >= run.end:
                    return
                await self._start(due)
                batch += 1
        finally:
            self._count_unsent()

    async def _start(self, due: float) -> None:
        """Start the call that is *due*, when the limit of calls in flight allows it."""
        run, most = self._run, self._run.plan.most_in_flight + 1  # this task is no call
        if len(run.tasks) >= most:
            run.tally.held += 1
            try:
                while len(run.tasks) >= most:
                    await run.any_end()
            except asyncio.CancelledError:
                run.miss(due)
                raise
            self._freed = run.clock()
        try:
            number, args = run.mix.take()
        except StopIteration:
            run.stop("its data ended")
            return
        # What waits for the limit of calls in flight is not late: the limit is the plan's.
        run.tally.late.add(max(run.clock() - max(due, self._freed), 0.0))
        run.spawn(run.call(number, args, due))

    def _count_unsent(self) -> None:
        """Count the calls that were due and could not be started before the load had to end."""
        run = self._run
        if run.is_over and not run.is_early:
            for seconds in self._due:
                run.miss(run.begin + seconds)
