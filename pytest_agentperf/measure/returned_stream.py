"""Streams that wrapped functions return: the call ends where the stream does.

Everything but the iteration is the stream's own.
"""

import functools
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Self

from pytest_agentperf.measure.call import RunningCall

__all__ = ["MeasuredAsyncStream", "MeasuredEitherStream", "MeasuredStream"]


class _Measured:
    """A stream that a wrapped function returned: the call ends where the stream does.

    Everything but the iteration is the stream's own.
    """

    def __init__(self, running: RunningCall, stream: Any) -> None:
        self._running: RunningCall | None = running
        self._iterate = running.iterate
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._stream, name)
        if name not in {"close", "aclose"}:
            return value

        @functools.wraps(value)
        def close(*args: Any, **kwargs: Any) -> Any:
            self._end(None)
            return value(*args, **kwargs)

        return close

    def _end(self, error: BaseException | None) -> None:
        """Record the end of the call, once."""
        running, self._running = self._running, None
        if running is None:
            return
        if error is None:
            running.end()
        else:
            running.fail(error)


class MeasuredStream(_Measured):
    """A stream for `for`."""

    @functools.cached_property
    def _items(self) -> Iterator[Any]:
        # A generator has but the one side of a stream that `async for` could use too.
        items: Iterator[Any] = self._iterate(item for item in self._stream)
        return items

    def __iter__(self) -> Iterator[Any]:
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


class MeasuredAsyncStream(_Measured):
    """A stream for `async for`."""

    @functools.cached_property
    def _async_items(self) -> AsyncIterator[Any]:
        items: AsyncIterator[Any] = self._iterate(self._stream)
        return items

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            return await anext(self._async_items)
        except StopAsyncIteration:
            self._end(None)
            raise
        except BaseException as error:
            self._end(error)
            raise

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


class MeasuredEitherStream(MeasuredStream, MeasuredAsyncStream):
    """A stream for both, as litellm's are."""
