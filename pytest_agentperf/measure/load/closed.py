"""Closed load: users who call again when their call has ended."""

import asyncio
import functools
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, Final

from pytest_agentperf.measure.load.callee import Outcome
from pytest_agentperf.measure.load.running import RunningLoad, current_task

__all__ = ["ClosedLoad"]

# A user lets others go on after so many calls, and so early that all had a turn after so many
# seconds, even where no call ever waits.
_CHUNK: Final = 2000
_ROUND: Final = 2.0
_SPELL: Final = 0.1


class ClosedLoad:
    """The users of a load.

    Args:
        run: The load.
        on_start: Called for each user before its first call; what it returns is the first
            argument of each of its calls. None for nothing.
        on_stop: Called with that after its last call. None for nothing.
    """

    def __init__(
        self,
        run: RunningLoad,
        on_start: Callable[..., Any] | None = None,
        on_stop: Callable[..., Any] | None = None,
    ) -> None:
        self._run = run
        self._on_start, self._on_stop = on_start, on_stop
        self._spell = min(_ROUND / max(len(run.plan.users), 1), _SPELL)
        self._thoughts = run.plan.thoughts() if run.plan.think_time[1] else None
        self._is_simple = run.mix.is_constant and not self._thoughts and not run.plan.goodput

    def start(self) -> None:
        """Start the users."""
        for user in self._run.plan.users:
            self._run.spawn(self._user(user))

    async def _user(self, user: int) -> None:
        """Call while the plan has this user call."""
        run = self._run
        for start, end in run.plan.shape.spans(user):
            await run.rest(run.begin + start)
            if run.clock() >= run.end:
                return
            state = await self._hook(self._on_start)
            first, until = () if state is None else (state,), run.begin + end
            try:
                while run.clock() < min(until, run.end):
                    if not await self._calls(first, until):
                        break
                    await asyncio.sleep(0)
            finally:
                await self._hook(self._on_stop, *first)

    def _calls(self, first: tuple[Any, ...], end: float) -> Coroutine[Any, Any, bool]:
        """Return what makes some calls, and then tells whether there are more to make.

        Args:
            first: What comes before the other arguments.
            end: When the user stops.
        """
        if self._is_simple and self._run.callees[0].plain is not None:
            return self._fast(first, end)
        return self._paced(first, end)

    async def _hook(self, hook: Callable[..., Any] | None, *args: Any) -> Any:
        if hook is None:
            return None
        outcome = await self._run.callee(hook).call(args)
        if outcome.error is not None:
            raise outcome.error
        return outcome.result

    async def _paced(self, first: tuple[Any, ...], end: float) -> bool:
        """Make one call, then think."""
        run = self._run
        if next(run.turns, None) is None:
            run.stop()
            return False
        try:
            number, args = run.mix.take()
        except StopIteration:
            run.stop("its data ended")
            return False
        await run.call(number, (*first, *args))
        if not self._thoughts:
            return True
        until = run.clock() + next(self._thoughts)
        await run.rest(min(until, end))
        return until < end

    async def _fast(self, first: tuple[Any, ...], end: float) -> bool:
        """Make some calls with nothing but the clock around them.

        A call starts when the one before it has ended: one reading of the clock serves both.
        """
        run, clock, deadlines = self._run, self._run.clock, self._run.deadlines
        callee, args = run.callees[0], (*first, *run.mix.scenarios[0].args)
        call = functools.partial(callee.func, *args) if args else callee.func
        task, started, is_left = current_task(), clock(), False
        window = run.window(started)
        cell, until = (
            run.tally.cell(0, window),
            min(run.window_end(window), end, started + self._spell),
        )
        append, kind = cell.latency.append, callee.plain
        has_deadline, late = deadlines.is_set, deadlines.late
        run.enter()
        deadlines.begin(task, started)
        try:
            for _ in itertools.islice(run.turns, _CHUNK):
                is_left = True
                if has_deadline:
                    deadlines.started[task] = started
                try:
                    result = await call()
                except Exception as error:  # noqa: BLE001 -- the user's code
                    ended = clock()
                    run.record_error(cell, ended - started, error)
                else:
                    ended = clock()
                    if result.__class__ is not kind or (late and task in late):
                        outcome = await callee.consume(started, ended, result)
                        run.record_call(0, outcome, started, is_late=deadlines.end(task))
                        break
                    append(ended - started)
                started = ended
                if ended >= until:
                    break
        except asyncio.CancelledError as error:
            outcome = Outcome(started, clock(), error=error)
            run.record_call(0, outcome, started, is_late=deadlines.end(task))
        finally:
            run.in_flight -= 1
            deadlines.end(task)
        if not is_left:
            run.stop()
        return is_left
