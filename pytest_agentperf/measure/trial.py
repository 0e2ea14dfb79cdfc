"""A trial: the calls of one `perf_timer(func, …)`, from the first warmup to the last round."""

import inspect
from collections.abc import Callable, Coroutine, Sequence
from itertools import repeat
from typing import Any

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.measure.call import CallContext, RunningCall
from pytest_agentperf.measure.monitors import ExtraPass, Monitors
from pytest_agentperf.measure.recording import Recording
from pytest_agentperf.measure.rounds import Schedule
from pytest_agentperf.measure.settings import TrialHooks
from pytest_agentperf.measure.stream import is_async_stream, is_sync_stream
from pytest_agentperf.measure.usage import has_no_usage

__all__ = ["Trial", "close_coroutine"]


class Trial:
    """Makes the calls that a schedule asks for, and records them.

    The first result decides: an awaitable one makes the whole trial a coroutine.

    Args:
        call: The call under test, with its arguments bound.
        context: How calls are recorded.
        schedule: How many calls to make.
        hooks: What to do around each.
        on_async: Gets this trial when it turns out to be a coroutine.
        monitors: Those to be kept out of the timed rounds of a coroutine; they get a call of their
            own when the rounds are made.
        passes: Further calls to make then.
        is_body: Whether the result is none of our business, as that of a test's body is.
    """

    __slots__ = (
        "_call",
        "_context",
        "_hooks",
        "_is_body",
        "_is_simple",
        "_monitors",
        "_on_async",
        "_passes",
        "_paused",
        "_schedule",
        "coroutine",
        "is_awaited",
        "is_ended",
        "pending",
    )

    def __init__(
        self,
        call: Callable[[], Any],
        context: CallContext,
        schedule: Schedule,
        hooks: TrialHooks,
        on_async: Callable[["Trial"], None],
        monitors: Monitors,
        *,
        passes: Sequence[ExtraPass] = (),
        is_body: bool = False,
    ) -> None:
        self._call = call
        self._context = context
        self._schedule = schedule
        self._hooks = hooks
        self._is_body = is_body
        self._is_simple = (
            hooks == TrialHooks()
            and context.stream is None
            and (is_body or context.reading.usage is None)
            and context.reading.cost is None
            and not context.counters.metrics
            and not schedule.needs_usage
            and not schedule.needs_moments
        )
        self._on_async = on_async
        self._monitors = monitors
        self._passes = passes
        self.is_awaited = False
        self.is_ended = False
        self.coroutine: Any = None
        self.pending: Any = None
        self._paused = 0.0

    @property
    def subject(self) -> str:
        """What is called, for messages."""
        return self._context.subject

    def run(self) -> Any:
        """Make the calls; return the last one's result, or a coroutine that makes the others."""
        if not self._schedule.next_block(self._context.clock()):
            return None
        prepared = self._hooks.setup() if self._hooks.setup else None
        if inspect.isawaitable(prepared) or inspect.iscoroutinefunction(self._hooks.teardown):
            return self._start_async(prepared, None)
        running = self._begin()
        try:
            with running.active():
                result = self._call()
                if self._needs_loop(result):
                    return self._start_async(result, running)
                result = self._consume(running, result)
        except BaseException as error:
            running.fail(error)
            self._tear_down()
            raise
        self._end(running, result)
        return self._run_sync(result)

    def _needs_loop(self, result: object) -> bool:
        """Return whether only a coroutine can bring the call that returned *result* to its end."""
        if inspect.isawaitable(result):
            return True
        if self._is_body:
            return False
        # A stream of both kinds that nobody awaited is meant for `for`.
        return (is_async_stream(result) and not is_sync_stream(result)) or (
            self._context.stream is not None and hasattr(result, "__aenter__")
        )

    def _run_sync(self, result: Any) -> Any:
        """Make the calls after the first, which returned *result*."""
        with self._monitors.paused():
            while block := self._schedule.next_block(self._context.clock()):
                is_fast = self._is_fast(result)
                result = self._fast_block(block, type(result)) if is_fast else self._one()
            for extra in self._passes:
                if not self._is_missed(extra):
                    extra.run(self._one, self._schedule.room(self._context.clock()))
        return result

    def _is_missed(self, extra: ExtraPass) -> bool:
        """Return whether there is no room for *extra*, which is told so."""
        bound = self._schedule.close(self._context.clock())
        if bound:
            extra.miss(f"no call of {self.subject} was metered within {bound}; raise it")
        return bool(bound)

    def _is_fast(self, result: object) -> bool:
        """Return whether a call like the one that returned *result* only needs to be timed."""
        return self._is_simple and (self._is_body or has_no_usage(type(result)))

    def _fast_block(self, calls: int, kind: type) -> Any:
        """Make *calls* calls that return a *kind*, with nothing but the clock around them."""
        recording, call, clock = self._schedule.recording, self._call, self._context.clock
        made, deadline = Sample(), self._schedule.deadline
        append, result, started = made.append, None, clock()
        try:
            for _ in repeat(None, calls):
                started = clock()
                result = call()
                ended = clock()
                if result.__class__ is not kind:
                    break
                append(ended - started)
                if ended >= deadline:
                    break
        except BaseException as error:
            recording.fail(clock() - started, error)
            raise
        finally:
            self._settle(recording, made, kind)
        return result if result.__class__ is kind else self._finish_odd(result, started)

    def _finish_odd(self, result: Any, started: float) -> Any:
        """Record a call that returned another kind than the calls before it."""
        running = self._begin(started)
        try:
            self._refuse_loop(result)
            result = self._consume(running, result)
        except BaseException as error:
            running.fail(error)
            raise
        self._end(running, result)
        return result

    def _refuse_loop(self, result: object) -> None:
        """Refuse an awaitable where it is too late to become a coroutine."""
        if not self._needs_loop(result):
            return
        close_coroutine(result)
        raise UsageError(
            f"{self.subject} returned a {type(result).__name__} after plain results; expected"
            " awaitables from the first call on, or never"
        )

    def _one(self) -> Any:
        """Make one call with everything around it."""
        if self._hooks.setup:
            self._hooks.setup()
        running = self._begin()
        try:
            with running.active():
                result = self._call()
                self._refuse_loop(result)
                result = self._consume(running, result)
        except BaseException as error:
            running.fail(error)
            self._tear_down()
            raise
        self._end(running, result)
        return result

    def _begin(self, started: float | None = None) -> RunningCall:
        return RunningCall(self._context, self._schedule.recording, started)

    def _consume(self, running: RunningCall, result: Any) -> Any:
        return result if self._is_body else running.consume(result)

    def _end(self, running: RunningCall, result: Any) -> None:
        """Record that a call returned *result*."""
        self._record(running, result)
        self._tear_down()

    def _tear_down(self) -> None:
        """Do what the user wants after a call, also after one that raised."""
        if self._hooks.teardown and inspect.isawaitable(left := self._hooks.teardown()):
            close_coroutine(left)
            raise UsageError(
                f"teardown= of {self.subject} returned a {type(left).__name__}; expected an"
                " `async def` function, or one that returns nothing to await"
            )

    def _record(self, running: RunningCall, result: Any) -> None:
        if self._is_body:
            running.end()
        else:
            running.end(result)
            self._is_simple = self._is_simple and not running.is_stream
        self._schedule.ended(1)

    def _settle(self, recording: Recording, made: Sample, kind: type) -> None:
        """Take note of the calls that a fast block made."""
        recording.latency.merge(made)
        if made.count and not self._is_body:
            wants_cost = self._context.reading.wants_cost
            recording.spending.miss(kind, self.subject, made.count, wants_cost=wants_cost)
        self._schedule.ended(made.count)

    def _start_async(self, pending: Any, running: RunningCall | None) -> Coroutine[Any, Any, Any]:
        """Return the coroutine that makes the calls.

        Args:
            pending: What the first setup or, with *running*, the first call returned.
            running: The first call.
        """
        if running is not None:
            running.pause()
        self._paused = self._context.clock()
        coroutine = self._run_async(pending, running)
        self.pending = pending
        self.coroutine = coroutine
        self._on_async(self)
        return coroutine

    async def _run_async(self, pending: Any, running: RunningCall | None) -> Any:
        self.is_awaited = True
        # The time between the call and its await is the caller's, not the trial's.
        self._schedule.delay(self._context.clock() - self._paused)
        try:
            with self._monitors.paused():
                result = await self._rounds_async(pending, running)
                for extra in self._passes:
                    if not self._is_missed(extra):
                        room = self._schedule.room(self._context.clock())
                        await extra.run_async(self._one_async, room)
            if self._monitors.active:
                await self._diagnose()
        finally:
            self.is_ended = True
        return result

    async def _rounds_async(self, pending: Any, running: RunningCall | None) -> Any:
        """Make the calls that the schedule asks for."""
        if running is None:
            await _settled(pending)
            result = await self._one_async(is_set_up=True)
        else:
            running.resume()
            result = await self._await_first(pending, running)
        kind = type(pending)
        while block := self._schedule.next_block(self._context.clock()):
            if self._is_fast(result) and not is_async_stream(result):
                result = await self._fast_block_async(block, kind, type(result))
            else:
                result = await self._one_async()
        return result

    async def _diagnose(self) -> None:
        """Make one more call, which is watched and not timed."""
        bound = self._schedule.close(self._context.clock())
        if bound:
            self._monitors.miss(f"no call of {self.subject} was watched within {bound}; raise it")
        else:
            await self._one_async()

    async def _await_first(self, pending: object, running: RunningCall) -> Any:
        return await self._finish(running, lambda: pending)

    async def _finish(self, running: RunningCall, call: Callable[[], object]) -> Any:
        """Bring *call* to its end as the recorded call *running*."""
        try:
            with running.active():
                result = await self._consume_async(running, await _settled(call()))
        except GeneratorExit as error:  # closed from outside: nothing can be awaited any more
            running.fail(error)
            raise
        except BaseException as error:
            running.fail(error)
            await self._tear_down_async()
            raise
        await self._end_async(running, result)
        return result

    async def _one_async(self, *, is_set_up: bool = False) -> Any:
        """Make one call with everything around it."""
        if self._hooks.setup and not is_set_up:
            await _settled(self._hooks.setup())
        return await self._finish(self._begin(), self._call)

    async def _fast_block_async(self, calls: int, pending: type, kind: type) -> Any:
        """Make *calls* calls whose *pending* resolves to a *kind*, as `_fast_block` does."""
        recording, call, clock = self._schedule.recording, self._call, self._context.clock
        made, deadline = Sample(), self._schedule.deadline
        append, awaited, result, started = made.append, None, None, clock()
        try:
            for _ in repeat(None, calls):
                started = clock()
                awaited = call()
                if awaited.__class__ is not pending:
                    break
                result = await awaited  # type: ignore[misc]
                ended = clock()
                if result.__class__ is not kind:
                    break
                append(ended - started)
                if ended >= deadline:
                    break
        except BaseException as error:
            recording.fail(clock() - started, error)
            raise
        finally:
            self._settle(recording, made, kind)
        if awaited.__class__ is not pending:
            return await self._await_first(awaited, self._begin(started))
        return result if result.__class__ is kind else await self._finish_odd_async(result, started)

    async def _finish_odd_async(self, result: Any, started: float) -> Any:
        """Record a call whose awaited *result* is of another kind than those before it."""
        running = self._begin(started)
        try:
            result = await self._consume_async(running, result)
        except BaseException as error:
            running.fail(error)
            raise
        await self._end_async(running, result)  # a fast block has no teardown to miss
        return result

    async def _consume_async(self, running: RunningCall, result: Any) -> Any:
        return result if self._is_body else await running.consume_async(result)

    async def _end_async(self, running: RunningCall, result: Any) -> None:
        self._record(running, result)
        await self._tear_down_async()

    async def _tear_down_async(self) -> None:
        if self._hooks.teardown:
            await _settled(self._hooks.teardown())

    def abandon(self) -> None:
        """Close a coroutine that nobody awaited, without the interpreter's warning."""
        for coroutine in (self.coroutine, self.pending):
            close_coroutine(coroutine)


def close_coroutine(value: object) -> None:
    """Close a coroutine that can no longer be awaited, to keep the interpreter from warning."""
    if isinstance(value, Coroutine):
        value.close()


async def _settled(value: object) -> Any:
    """Return *value*, awaited where it is awaitable."""
    if inspect.isawaitable(value):
        return await value
    return value
