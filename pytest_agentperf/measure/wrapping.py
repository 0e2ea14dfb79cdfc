"""Wrappers: functions of the same kind as the wrapped one, each call of which is recorded."""

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Any, Self

from pytest_agentperf.measure.call import RunningCall
from pytest_agentperf.measure.stream import is_async_stream, is_sync_stream

__all__ = ["count_calls", "record_calls"]


def record_calls(func: Callable[..., Any], begin: Callable[[], RunningCall]) -> Callable[..., Any]:
    """Return a function of the kind of *func* that records each of its calls.

    Args:
        func: A function, coroutine function, generator function, or anything callable.
        begin: Begins a recorded call.
    """
    if inspect.isasyncgenfunction(func):
        return _wrap_async_generator(func, begin)
    if inspect.isgeneratorfunction(func):
        return _wrap_generator(func, begin)
    if is_coroutine_function(func):
        return _wrap_coroutine(func, begin)
    return _wrap_function(func, begin)


def is_coroutine_function(func: object) -> bool:
    """Return whether calling *func* gives a coroutine: also of partials and callable objects."""
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(
        getattr(func, "__call__", None)  # noqa: B004 -- of callable objects
    )


def _copy_name(func: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that gives a wrapper the name and the signature of *func*."""
    assigned = [name for name in functools.WRAPPER_ASSIGNMENTS if hasattr(func, name)]
    # An instance's own attributes are its state, not the function's.
    updated = functools.WRAPPER_UPDATES if inspect.isroutine(func) else ()
    return functools.wraps(func, assigned, updated)


def _wrap_coroutine(
    func: Callable[..., Any], begin: Callable[[], RunningCall]
) -> Callable[..., Any]:
    @_copy_name(func)
    async def measured(*args: Any, **kwargs: Any) -> Any:
        return await _finish(begin(), lambda: func(*args, **kwargs))

    return measured


async def _finish(running: RunningCall, call: Callable[[], Any]) -> Any:
    """Await *call* as the recorded call *running*."""
    try:
        with running.active():
            result = await call()
    except BaseException as error:
        running.fail(error)
        raise
    return _returned(running, result)


def _returned(running: RunningCall, result: Any) -> Any:
    """Return *result*; where it is a stream the call ends with it, else now."""
    if is_async_stream(result) or is_sync_stream(result):
        return MeasuredStream(running, result)
    running.end(result)
    return result


def _wrap_function(
    func: Callable[..., Any], begin: Callable[[], RunningCall]
) -> Callable[..., Any]:
    @_copy_name(func)
    def measured(*args: Any, **kwargs: Any) -> Any:
        running = begin()
        try:
            with running.active():
                result = func(*args, **kwargs)
        except BaseException as error:
            running.fail(error)
            raise
        if inspect.isawaitable(result):
            return _finish(running, lambda: result)
        return _returned(running, result)

    return measured


def _wrap_generator(
    func: Callable[..., Any], begin: Callable[[], RunningCall]
) -> Callable[..., Any]:
    @_copy_name(func)
    def measured(*args: Any, **kwargs: Any) -> Iterator[Any]:
        running = begin()
        try:
            yield from running.iterate(func(*args, **kwargs))
        except GeneratorExit:  # the consumer had enough: no error of the call
            running.end()
            raise
        except BaseException as error:
            running.fail(error)
            raise
        running.end()

    return measured


def _wrap_async_generator(
    func: Callable[..., Any], begin: Callable[[], RunningCall]
) -> Callable[..., Any]:
    @_copy_name(func)
    async def measured(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        running = begin()
        try:
            async for item in running.iterate(func(*args, **kwargs)):
                yield item
        except GeneratorExit:
            running.end()
            raise
        except BaseException as error:
            running.fail(error)
            raise
        running.end()

    return measured


class MeasuredStream:
    """A stream that a wrapped function returned: the call ends where the stream does.

    Everything but the iteration is the stream's own.
    """

    def __init__(self, running: RunningCall, stream: Any) -> None:
        self._running: RunningCall | None = running
        self._stream = stream
        self._items = running.iterate(stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._items)
        except StopIteration:
            self._end(None)
            raise
        except BaseException as error:
            self._end(error)
            raise

    async def __anext__(self) -> Any:
        try:
            return await anext(self._items)
        except StopAsyncIteration:
            self._end(None)
            raise
        except BaseException as error:
            self._end(error)
            raise

    def __enter__(self) -> Self:
        self._stream.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        self._end(error)
        return self._stream.__exit__(kind, error, traceback)

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        self._end(error)
        return await self._stream.__aexit__(kind, error, traceback)

    def _end(self, error: BaseException | None) -> None:
        """Record the end of the call, once."""
        running, self._running = self._running, None
        if running is None:
            return
        if error is None:
            running.end()
        else:
            running.fail(error)


def count_calls(func: Callable[..., Any], count: Callable[[], None]) -> Callable[..., Any]:
    """Return a function of the kind of *func* that calls *count* first."""
    if inspect.isasyncgenfunction(func):

        @_copy_name(func)
        async def counted_items(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            count()
            async for item in func(*args, **kwargs):
                yield item

        return counted_items
    if is_coroutine_function(func):

        @_copy_name(func)
        async def counted_coroutine(*args: Any, **kwargs: Any) -> Any:
            count()
            return await func(*args, **kwargs)

        return counted_coroutine

    @_copy_name(func)
    def counted(*args: Any, **kwargs: Any) -> Any:
        count()
        return func(*args, **kwargs)

    return counted
