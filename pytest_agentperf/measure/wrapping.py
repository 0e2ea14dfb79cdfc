"""Wrappers: functions of the same kind as the wrapped one, each call of which is recorded."""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import aclosing, closing
from typing import Any

from pytest_agentperf.measure.call import RunningCall
from pytest_agentperf.measure.returned_stream import (
    MeasuredAsyncStream,
    MeasuredEitherStream,
    MeasuredStream,
)
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
    is_async, is_sync = is_async_stream(result), is_sync_stream(result)
    if is_async and is_sync:
        return MeasuredEitherStream(running, result)
    if is_async:
        return MeasuredAsyncStream(running, result)
    if is_sync:
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
        return (
            _awaitable(running, result)
            if inspect.isawaitable(result)
            else _returned(running, result)
        )

    return measured


def _awaitable(running: RunningCall, result: Any) -> Any:
    """Return the awaitable *result* as what it is, with its end recorded."""
    if isinstance(result, asyncio.Future):
        result.add_done_callback(functools.partial(_note_done, running))
        return result
    running.pause()
    if hasattr(result, "__aenter__"):  # `await` or `async with`, as aiohttp's requests
        return MeasuredRequest(running, result)
    return _finish_later(running, lambda: result)


def _note_done(running: RunningCall, future: "asyncio.Future[Any]") -> None:
    if future.cancelled():
        running.fail(asyncio.CancelledError())
    elif (error := future.exception()) is not None:
        running.fail(error)
    else:
        running.end(future.result())


async def _finish_later(running: RunningCall, call: Callable[[], Any]) -> Any:
    running.resume()
    return await _finish(running, call)


class MeasuredRequest:
    """What a wrapped function returned to be awaited or entered; everything else is its own."""

    def __init__(self, running: RunningCall, request: Any) -> None:
        self._running = running
        self._request = request

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)

    def __await__(self) -> Generator[Any, Any, Any]:
        return _finish_later(self._running, lambda: self._request).__await__()

    async def __aenter__(self) -> Any:
        return await _finish_later(self._running, self._request.__aenter__)

    async def __aexit__(self, *error: object) -> Any:
        return await self._request.__aexit__(*error)


def _wrap_generator(
    func: Callable[..., Any], begin: Callable[[], RunningCall]
) -> Callable[..., Any]:
    @_copy_name(func)
    def measured(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        running = begin()
        try:
            with closing(func(*args, **kwargs)) as stream:
                returned = yield from running.iterate(stream)
        except GeneratorExit:  # the consumer had enough: no error of the call
            running.end()
            raise
        except BaseException as error:
            running.fail(error)
            raise
        running.end()
        return returned

    return measured


def _wrap_async_generator(
    func: Callable[..., Any], begin: Callable[[], RunningCall]
) -> Callable[..., Any]:
    @_copy_name(func)
    async def measured(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        running = begin()
        try:
            async with aclosing(func(*args, **kwargs)) as stream:
                async for item in running.iterate(stream):
                    yield item
        except GeneratorExit:
            running.end()
            raise
        except BaseException as error:
            running.fail(error)
            raise
        running.end()

    return measured


def count_calls(func: Callable[..., Any], count: Callable[[], None]) -> Callable[..., Any]:
    """Return a function of the kind of *func* that calls *count* first."""
    if inspect.isasyncgenfunction(func):

        @_copy_name(func)
        async def counted_async_items(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            count()
            async with aclosing(func(*args, **kwargs)) as stream:
                async for item in stream:
                    yield item

        return counted_async_items
    if inspect.isgeneratorfunction(func):

        @_copy_name(func)
        def counted_items(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            count()
            return (yield from func(*args, **kwargs))

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
