"""A callee: one call of a function of any kind, and what came of it."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.load.threads import Threads
from pytest_agentperf.measure.stream import ItemClock, is_async_stream, is_sync_stream
from pytest_agentperf.measure.timings import name_of
from pytest_agentperf.measure.trial import close_coroutine
from pytest_agentperf.measure.wrapping import is_coroutine_function

__all__ = ["Callee", "Outcome", "is_async_function"]


class Outcome(NamedTuple):
    """A call that has ended.

    Attributes:
        started: When, by the clock.
        ended: When.
        items: When the items of a stream came, or None.
        error: What it raised, or None.
        result: What it returned.
    """

    started: float
    ended: float
    items: ItemClock | None = None
    error: BaseException | None = None
    result: Any = None


def is_async_function(func: Callable[..., Any]) -> bool:
    """Return whether *func* says of itself that only an event loop can call it."""
    while hasattr(func, "func") and hasattr(func, "args"):  # a partial
        func = func.func
    call = getattr(func, "__call__", None)  # noqa: B004 -- of callable objects
    return is_coroutine_function(func) or any(map(inspect.isasyncgenfunction, (func, call)))


class Callee:
    """A function that a load calls: an async one in the event loop, any other in a thread.

    Args:
        func: The function.
        clock: The clock.
        threads: For sync functions.
        has_loop: Whether the test has an event loop, so that what *func* returns may be awaited.

    Attributes:
        is_async: Whether *func* is known to return what is to be awaited.
        plain: The class of what it returns, where that is awaited and no stream.
    """

    def __init__(
        self, func: Callable[..., Any], clock: Clock, threads: Threads, *, has_loop: bool
    ) -> None:
        self.func = func
        self.is_async = is_async_function(func)
        self.plain: type | None = None
        self._clock = clock
        self._threads = threads
        self._has_loop = has_loop

    async def call(self, args: tuple[Any, ...]) -> Outcome:
        """Call it with *args*."""
        if self.is_async:
            started = self._clock()
            try:
                result = self.func(*args)
                if inspect.isawaitable(result):
                    result = await result
            except Exception as error:  # noqa: BLE001 -- the user's code
                return Outcome(started, self._clock(), error=error)
            return await self.consume(started, self._clock(), result)
        return await self._call_in_thread(args)

    async def _call_in_thread(self, args: tuple[Any, ...]) -> Outcome:
        outcome = await self._threads.run(lambda: self._in_thread(args))
        if isinstance(outcome.error, RuntimeError) and str(outcome.error) == _NO_LOOP:
            self._demand_loop("something that needs an event loop")
            self.is_async = True  # it has not come far: it makes a task or a future
            return await self.call(args)
        if _needs_loop(outcome.result):
            return await self._finish_in_loop(outcome)
        return outcome

    async def _finish_in_loop(self, outcome: Outcome) -> Outcome:
        result = outcome.result
        try:
            self._demand_loop(f"a {type(result).__name__}")
        except UsageError:
            close_coroutine(result)
            raise
        self.is_async = True
        try:
            awaited = await result if inspect.isawaitable(result) else result
        except Exception as error:  # noqa: BLE001 -- the user's code
            return Outcome(outcome.started, self._clock(), error=error)
        return await self.consume(outcome.started, self._clock(), awaited)

    def _demand_loop(self, what: str) -> None:
        if not self._has_loop:
            raise UsageError(
                f"{name_of(self.func)} returned {what} in a test that is not async; write the test"
                " as `async def` and await perf_load(…) there"
            )

    def _in_thread(self, args: tuple[Any, ...]) -> Outcome:
        clock = self._clock
        started = clock()
        try:
            result = self.func(*args)
            ended = clock()
            if not is_sync_stream(result) or is_async_stream(result):
                return Outcome(started, ended, result=result)
            items = ItemClock(started, clock)
            for item in result:
                items.item(item)
        except BaseException as error:  # noqa: BLE001 -- what is no Exception is raised by the load
            return Outcome(started, clock(), error=error)
        return Outcome(started, clock(), items)

    async def consume(self, started: float, ended: float, result: Any) -> Outcome:
        """Return what came of a call that returned *result*, which is gone through if a stream."""
        if result.__class__ is self.plain:
            return Outcome(started, ended, result=result)
        is_async = is_async_stream(result)
        if not is_async and not is_sync_stream(result):
            self.plain = result.__class__
            return Outcome(started, ended, result=result)
        self.plain = None
        items = ItemClock(started, self._clock)
        try:
            if is_async:
                async for item in result:
                    items.item(item)
            else:
                for item in result:
                    items.item(item)
        except Exception as error:  # noqa: BLE001 -- the user's code
            return Outcome(started, self._clock(), error=error)
        return Outcome(started, self._clock(), items)


_NO_LOOP = "no running event loop"


def _needs_loop(result: object) -> bool:
    return inspect.isawaitable(result) or (is_async_stream(result) and not is_sync_stream(result))
