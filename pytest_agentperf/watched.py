"""Budgets that ask for a watch: it is put around an async test, or around its async fixtures."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Final, TypeAlias

import pytest

from pytest_agentperf.body import has_examples, replaced_function
from pytest_agentperf.judge.limits import Limit, ResolvedLimits

__all__ = [
    "BLOCKING",
    "asked_parts",
    "asks_watch",
    "is_async_fixture",
    "is_async_test",
    "watched_body",
    "watched_setup",
]

NewWatch: TypeAlias = Callable[[], AbstractAsyncContextManager[object]]

BLOCKING: Final = frozenset({"blocking"})
"""What is looked for while fixtures are set up: what they leave behind is their purpose."""

_PARTS: Final = {
    "loop_block_max": "blocking",
    "loop_block_total": "blocking",
    "loop_lag_p99": "blocking",
    "leaked_tasks": "leaks",
    "leaked_threads": "leaks",
    "leaked_fds": "leaks",
}
"""What a watch must look for, by the quantity that is limited; spans need the test's own code."""


def asks_watch(limit: Limit) -> bool:
    """Return whether a watch is put around a test for *limit*."""
    return limit.metric.quantity.name in _PARTS


def asked_parts(item: pytest.Item, limits: ResolvedLimits) -> frozenset[str]:
    """Return what to look for in *item*; nothing where its code does that itself."""
    if "perf_concurrency" in getattr(item, "fixturenames", ()) or not is_async_test(item):
        return frozenset()
    names = (limit.metric.quantity.name for _, limit in limits.items())
    return frozenset(_PARTS[name] for name in names if name in _PARTS)


def is_async_test(item: pytest.Item) -> bool:
    """Return whether the body of *item* runs in an event loop."""
    if not isinstance(item, pytest.Function):
        return False
    function = item.obj.hypothesis.inner_test if has_examples(item) else item.obj
    return inspect.iscoroutinefunction(function)


@contextmanager
def watched_body(item: pytest.Item, new_watch: NewWatch) -> Iterator[None]:
    """Put a watch around the body of *item*, an async test, while it runs inside this context."""
    assert isinstance(item, pytest.Function)  # noqa: S101 -- no other item is async
    with replaced_function(item, lambda body: _watched(body, new_watch)):
        yield


def is_async_fixture(fixturedef: pytest.FixtureDef[Any]) -> bool:
    """Return whether a fixture is set up in an event loop."""
    function = fixturedef.func
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


@contextmanager
def watched_setup(fixturedef: pytest.FixtureDef[Any], new_watch: NewWatch) -> Iterator[None]:
    """Put a watch around the setup of an async fixture, inside this context."""
    function = fixturedef.func
    wrap = _watched_generator if inspect.isasyncgenfunction(function) else _watched
    fixturedef.func = wrap(function, new_watch)  # type: ignore[misc]
    try:
        yield
    finally:
        fixturedef.func = function  # type: ignore[misc]


def _watched(function: Callable[..., Any], new_watch: NewWatch) -> Callable[..., Any]:
    @functools.wraps(function)
    async def watched(*args: Any, **kwargs: Any) -> Any:
        async with new_watch():
            return await function(*args, **kwargs)

    return watched


def _watched_generator(function: Callable[..., Any], new_watch: NewWatch) -> Callable[..., Any]:
    @functools.wraps(function)
    async def watched(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        async with new_watch():
            value = await anext(generator)
        yield value
        async for more in generator:  # the plugin that runs it refuses a second value
            yield more

    return watched
