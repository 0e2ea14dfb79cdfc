"""Tracking: functions of the same kind as the tracked one, each call of which is a span."""

import asyncio
import functools
import inspect
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Mapping,
)
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from pytest_agentperf.measure.concurrency.spans.running import RunningSpan
from pytest_agentperf.measure.returned_stream import (
    MeasuredAsyncStream,
    MeasuredEitherStream,
    MeasuredStream,
)
from pytest_agentperf.measure.stream import is_async_stream, is_sync_stream
from pytest_agentperf.measure.wrapping import MeasuredRequest, is_coroutine_function

__all__ = ["Begin", "is_awaited", "tracked"]

Begin: TypeAlias = Callable[[tuple[Any, ...], Mapping[str, Any]], RunningSpan]


def is_awaited(func: Callable[..., Any]) -> bool:
    """Return whether a call of *func* lets others run: whether it is a function of async code."""
    return inspect.isasyncgenfunction(func) or is_coroutine_function(func)


def tracked(func: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    """Return a function of the kind of *func* each call of which is a span.

    Args:
        func: A function, coroutine function, generator function, or anything callable.
        begin: Begins the span of a call with the arguments that it gets.
    """
    if inspect.isasyncgenfunction(func):
        wrapper = _track_async_generator(func, begin)
    elif inspect.isgeneratorfunction(func):
        wrapper = _track_generator(func, begin)
    elif is_coroutine_function(func):
        wrapper = _track_coroutine(func, begin)
    else:
        wrapper = _track_function(func, begin)
    assigned = [name for name in functools.WRAPPER_ASSIGNMENTS if hasattr(func, name)]
    # An instance's own attributes are its state, not the function's.
    updated = functools.WRAPPER_UPDATES if inspect.isroutine(func) else ()
    return functools.update_wrapper(wrapper, func, assigned, updated)


def _track_coroutine(func: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        span = begin(args, kwargs)
        try:
            result = await func(*args, **kwargs)
        except BaseException as error:
            span.finish(error)
            raise
        return _returned(span, result)

    return call


def _track_function(func: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        span = begin(args, kwargs)
        try:
            result = func(*args, **kwargs)
        except BaseException as error:
            span.finish(error)
            raise
        if type(result) not in _PLAIN and _seems(inspect.isawaitable, result):
            span.leave()
            return _awaitable(span, result)
        return _returned(span, result)

    return call


# Of results of these types there is no more to come; most results are.
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict, set})


def _seems(check: Callable[[Any], bool], result: Any) -> bool:
    """Return what *check* says of *result*; a proxy that stands for nothing yet may raise."""
    try:
        return check(result)
    except Exception:  # noqa: BLE001 -- of the user's class
        return False


def _returned(span: RunningSpan, result: Any) -> Any:
    """Return *result*; the span ends now, or with the stream that it is."""
    if type(result) not in _PLAIN:
        is_async, is_sync = _seems(is_async_stream, result), _seems(is_sync_stream, result)
        if is_async or is_sync:
            span.leave()
            several = MeasuredEitherStream if is_sync else MeasuredAsyncStream
            call: Any = _Call(span)
            return (several if is_async else MeasuredStream)(call, result)
    span.succeed(result)
    return result


def _awaitable(span: RunningSpan, result: Any) -> Any:
    """Return the awaitable *result* as what it is; the span ends when it does."""
    if isinstance(result, asyncio.Future):
        result.add_done_callback(functools.partial(_note_done, span))
        return result
    if hasattr(result, "__aenter__"):  # `await` or `async with`, as aiohttp's requests
        call: Any = _Call(span)
        return MeasuredRequest(call, result)
    return _await(span, result)


def _note_done(span: RunningSpan, future: "asyncio.Future[Any]") -> None:
    if future.cancelled():
        span.finish(asyncio.CancelledError())
    elif (error := future.exception()) is not None:
        span.finish(error)
    else:
        span.succeed(future.result())


async def _await(span: RunningSpan, awaitable: Awaitable[Any]) -> Any:
    try:
        result = await _await_inside(span, awaitable)
    except BaseException as error:
        span.finish(error)
        raise
    return _returned(span, result)


class _Call:
    """A span as what the streams and requests of timed calls are told of."""

    def __init__(self, span: RunningSpan) -> None:
        self._span = span
        self.fail = span.finish

    def end(self, result: object = None) -> None:
        self._span.succeed(result)

    def resume(self) -> None:
        """Nothing: the span of a call runs on until somebody awaits what it returned."""

    @contextmanager
    def active(self) -> Iterator[None]:
        consumer = self._span.resume()
        try:
            yield
        finally:
            self._span.suspend(consumer)

    def iterate(self, stream: Any) -> Any:
        track = _track_async_generator if hasattr(stream, "__aiter__") else _track_generator
        return track(lambda: stream, lambda _args, _kwargs: self._span)()


def _track_generator(func: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        span = begin(args, kwargs)
        span.leave()  # between its items the code of the consumer runs
        stream = func(*args, **kwargs)
        with _ending(span):
            step = functools.partial(next, stream)
            try:
                while True:
                    item = _inside(span, step)
                    try:
                        sent = yield item
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001 -- for the generator to handle
                        step = functools.partial(stream.throw, error)
                    else:
                        step = functools.partial(stream.send, sent)
            except StopIteration as stop:
                return stop.value
            finally:
                _inside(span, stream.close)

    return call


def _inside(span: RunningSpan, step: Callable[[], Any]) -> Any:
    consumer = span.resume()
    try:
        return step()
    finally:
        span.suspend(consumer)


def _track_async_generator(func: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        span = begin(args, kwargs)
        span.leave()
        stream = func(*args, **kwargs)
        with _ending(span):
            step = stream.__anext__()
            try:
                while True:
                    item = await _await_inside(span, step)
                    try:
                        sent = yield item
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001 -- for the generator to handle
                        step = stream.athrow(error)
                    else:
                        step = stream.__anext__() if sent is None else stream.asend(sent)
            except StopAsyncIteration:
                return
            finally:
                if inspect.isasyncgen(stream):  # a stream of an SDK is its user's to close
                    await _await_inside(span, stream.aclose())

    return call


async def _await_inside(span: RunningSpan, step: Awaitable[Any]) -> Any:
    consumer = span.resume()
    try:
        return await step
    finally:
        span.suspend(consumer)


@contextmanager
def _ending(span: RunningSpan) -> Iterator[None]:
    try:
        yield
    except GeneratorExit:  # the consumer had enough: no error of the call
        span.finish()
        raise
    except BaseException as error:
        span.finish(error)
        raise
    span.finish()
