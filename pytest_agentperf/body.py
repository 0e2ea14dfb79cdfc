"""The body of a test as the call under test: how it is put under the clock."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeGuard

import pytest

from pytest_agentperf.measure.timedcall import TimedCall
from pytest_agentperf.measure.timings import Timings

__all__ = [
    "BodyOutcome",
    "has_examples",
    "measured_body",
    "replaced_function",
    "watched_examples",
]


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
def replaced_function(item: pytest.Function, make: Callable[[Any], Any]) -> Iterator[None]:
    """Run what *make* returns for the function of *item* in its place, inside this context.

    It must be a function of the same kind: a plain wrapper around a coroutine function would break
    the plugins that run it (agronholm/anyio, encode/starlette). With hypothesis it is the function
    that runs one example.
    """
    if has_examples(item):
        owner, name = item.obj.hypothesis, "inner_test"
    elif _is_async_unittest(item):
        # unittest looks a coroutine function up on the instance instead of calling `item.obj`.
        owner, name = item.instance, item.originalname
    else:
        owner, name = item, "obj"
    is_of_class = owner is item.instance and name not in vars(owner)
    original = getattr(owner, name)
    setattr(owner, name, make(original))
    try:
        yield
    finally:
        if is_of_class:
            delattr(owner, name)
        else:
            setattr(owner, name, original)


@contextmanager
def measured_body(item: pytest.Item, timings: Timings, *, is_once: bool) -> Iterator[BodyOutcome]:
    """Measure the body of *item* while it runs inside this context.

    An item that is no function is timed as a whole.

    Args:
        item: The test.
        timings: Those of the test.
        is_once: Whether its body is called once and never again, where it is a function.
    """
    outcome = BodyOutcome()
    if not isinstance(item, pytest.Function):
        with _one_call(timings):
            yield outcome
    elif has_examples(item):
        with watched_examples(item, timings, is_body=True):
            yield outcome
    else:
        timed = _called_once if is_once else _repeated
        with replaced_function(item, lambda body: timed(body, timings, outcome)):
            yield outcome


def has_examples(item: pytest.Item) -> TypeGuard[pytest.Function]:
    """Return whether hypothesis calls the function of *item* with examples of its own."""
    return isinstance(item, pytest.Function) and hasattr(item.obj, "hypothesis")


@contextmanager
def watched_examples(item: pytest.Function, timings: Timings, *, is_body: bool) -> Iterator[None]:
    """Watch the examples of *item*, and record each valid one as a call where *is_body*.

    After the first example that fails hypothesis shrinks it, so nothing more is recorded.
    """
    begin = timings.begin_body if is_body else None
    with replaced_function(item, lambda example: _each_example(example, timings, begin)):
        yield


@contextmanager
def _one_call(timings: Timings, *, is_round: bool = False) -> Iterator[None]:
    """Record what runs inside as one call; see `Timings.begin_body`."""
    running = timings.begin_body(is_round=is_round)
    try:
        with running.active():
            yield
    except BaseException as error:
        running.fail(error)
        raise
    running.end()


def _is_async_unittest(item: pytest.Function) -> bool:
    """Return whether unittest itself awaits the test, looking it up by name."""
    classes = type(item.instance).__mro__  # by name: few suites need that module of unittest
    is_case = any(cls.__module__ == "unittest.async_case" for cls in classes)
    return is_case and inspect.iscoroutinefunction(item.obj)


def _called_once(
    function: Callable[..., Any], timings: Timings, outcome: BodyOutcome
) -> Callable[..., Any]:
    """Return *function*, which is called once, as a single recorded call."""
    if not inspect.iscoroutinefunction(function):
        return _repeated(function, timings, outcome)  # which looks at what it returns

    @functools.wraps(function)
    async def timed(*args: Any, **kwargs: Any) -> Any:
        with outcome.watch(), _one_call(timings, is_round=True):
            return await function(*args, **kwargs)

    return timed


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


def _each_example(
    function: Callable[..., Any], timings: Timings, begin: Callable[[], TimedCall] | None
) -> Callable[..., Any]:
    """Return *function*, which runs one example, with each valid example recorded by *begin*."""
    from hypothesis.errors import HypothesisException, StopTest

    @contextmanager
    def recorded() -> Iterator[None]:
        running = begin() if begin is not None else None
        try:
            yield
        except BaseException as error:  # `pytest.fail` raises no Exception
            # An example that hypothesis itself gives up is no failure; nor is it a call.
            if not isinstance(error, HypothesisException | StopTest):
                timings.stop_recording()
            raise
        if running is not None:
            running.end()

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def example_async(*args: Any, **kwargs: Any) -> Any:
            with recorded():
                return await function(*args, **kwargs)

        return example_async

    @functools.wraps(function)
    def example(*args: Any, **kwargs: Any) -> Any:
        with recorded():
            return function(*args, **kwargs)

    return example
