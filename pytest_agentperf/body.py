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


class BodyOutcome:
    """How the body of a test ended.

    Attributes:
        error: What it raised, also where unittest keeps that to itself; None for nothing.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Note what is raised inside."""
        try:
            yield
        except BaseException as error:
            self.error = error
            raise


@contextmanager
def measured_body(item: pytest.Item, timings: Timings) -> Iterator[BodyOutcome]:
    """Measure the body of *item* while it runs inside this context.

    The test function is replaced by one of the same kind and put back: a plain wrapper around a
    coroutine function would break the plugins that run it (agronholm/anyio, encode/starlette).
    An item that has no function is timed as a whole.
    """
    outcome = BodyOutcome()
    function = getattr(item, "obj", None)
    examples = getattr(function, "hypothesis", None)
    if not callable(function):
        with _whole_item(timings):
            yield outcome
    elif examples is not None:
        original = examples.inner_test
        examples.inner_test = _each_example(original, timings)
        try:
            yield outcome
        finally:
            examples.inner_test = original
    elif _is_async_unittest(item, function):
        # unittest looks a coroutine function up on the instance instead of calling `item.obj`.
        instance, name = item.instance, getattr(item, "originalname", item.name)  # type: ignore[attr-defined]
        setattr(instance, name, _repeated(function, timings, outcome))
        try:
            yield outcome
        finally:
            delattr(instance, name)
    else:
        item.obj = _repeated(function, timings, outcome)  # type: ignore[attr-defined]
        try:
            yield outcome
        finally:
            item.obj = function  # type: ignore[attr-defined]


@contextmanager
def _whole_item(timings: Timings) -> Iterator[None]:
    """Record what runs inside as one call."""
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


def _repeated(
    function: Callable[..., Any], timings: Timings, outcome: BodyOutcome
) -> Callable[..., Any]:
    """Return *function* called as often as the test's plan asks."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def measured_async(*args: Any, **kwargs: Any) -> Any:
            with outcome.watch():
                return await timings.run_body(functools.partial(function, *args, **kwargs))

        return measured_async

    @functools.wraps(function)
    def measured(*args: Any, **kwargs: Any) -> Any:
        with outcome.watch():
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
