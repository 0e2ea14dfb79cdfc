"""The body of a test as the call under test: how it is put under the clock.

PYTEST_DONT_REWRITE
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pytest_agentperf.measure.timings import Timings

__all__ = ["measured_body"]


@contextmanager
def measured_body(item: pytest.Item, timings: Timings) -> Iterator[None]:
    """Measure the body of *item* while it runs inside this context.

    The test function is replaced by one of the same kind and put back: a plain wrapper around a
    coroutine function would break the plugins that run it (agronholm/anyio, encode/starlette).
    An item that has no function is timed as a whole.
    """
    function = getattr(item, "obj", None)
    examples = getattr(function, "hypothesis", None)
    if examples is not None:
        original = examples.inner_test
        examples.inner_test = _each_example(original, timings)
        try:
            yield
        finally:
            examples.inner_test = original
    elif callable(function) and _is_async_unittest(item, function):
        name = getattr(item, "originalname", None) or item.name
        instance = item.instance  # type: ignore[attr-defined]
        setattr(instance, name, _repeated(function, timings))
        try:
            yield
        finally:
            delattr(instance, name)
    elif callable(function):
        item.obj = _repeated(function, timings)  # type: ignore[attr-defined]
        try:
            yield
        finally:
            item.obj = function  # type: ignore[attr-defined]
    else:
        running = timings.begin_body()
        try:
            yield
        except BaseException as error:
            running.fail(error)
            raise
        running.end()


def _is_async_unittest(item: pytest.Item, function: Callable[..., Any]) -> bool:
    """Return whether unittest itself awaits the test, looking it up by name."""
    return inspect.iscoroutinefunction(function) and hasattr(item.instance, "_callTestMethod")  # type: ignore[attr-defined]


def _repeated(function: Callable[..., Any], timings: Timings) -> Callable[..., Any]:
    """Return *function* called as often as the test's plan asks."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def measured_async(*args: Any, **kwargs: Any) -> Any:
            return await timings.run_body(functools.partial(function, *args, **kwargs))

        return measured_async

    @functools.wraps(function)
    def measured(*args: Any, **kwargs: Any) -> Any:
        return timings.run_body(functools.partial(function, *args, **kwargs))

    return measured


def _each_example(function: Callable[..., Any], timings: Timings) -> Callable[..., Any]:
    """Return *function* with each valid example recorded as a call.

    After the first example that fails hypothesis shrinks it, so nothing more is recorded.
    """
    from hypothesis.errors import UnsatisfiedAssumption

    has_failed = False

    def note(error: BaseException) -> None:
        nonlocal has_failed
        has_failed = has_failed or not isinstance(error, UnsatisfiedAssumption)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def example_async(*args: Any, **kwargs: Any) -> Any:
            running = timings.begin_body()
            try:
                result = await function(*args, **kwargs)
            except BaseException as error:
                note(error)
                raise
            if not has_failed:
                running.end()
            return result

        return example_async

    @functools.wraps(function)
    def example(*args: Any, **kwargs: Any) -> Any:
        running = timings.begin_body()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            note(error)
            raise
        if not has_failed:
            running.end()
        return result

    return example
