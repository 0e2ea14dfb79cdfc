"""Tests of single calls of functions of every kind."""

import asyncio
import functools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.load.callee import Callee, Outcome, is_async_function
from pytest_agentperf.measure.load.threads import Threads

pytestmark = pytest.mark.asyncio


async def later(value: object = 42) -> object:
    await asyncio.sleep(0)
    return value


async def items() -> AsyncIterator[int]:
    yield 1
    await asyncio.sleep(0)
    yield 2


def plain(func: Callable[[], Any]) -> Callable[[], Any]:
    """Return a function that does not say that what it returns is to be awaited."""
    return lambda: func()  # noqa: PLW0108


def started_task() -> Any:
    return asyncio.get_running_loop().create_task(later())


def generated() -> Iterator[int]:
    yield from (1, 2, 3)


class Later:
    async def __call__(self) -> int:
        return 42

    async def method(self) -> int:
        return 42


class Items:
    async def __call__(self) -> AsyncIterator[int]:
        yield 1


async def call(func: Callable[..., Any], *args: Any, has_loop: bool = True) -> Outcome:
    threads = Threads(asyncio.get_running_loop())
    try:
        return await Callee(func, time.perf_counter, threads, has_loop=has_loop).call(args)
    finally:
        threads.close()


@pytest.mark.parametrize(
    "func", [later, functools.partial(later, 42), Later(), Later().method, items, Items()]
)
async def test_async_functions_say_so_themselves(func: Callable[..., Any]) -> None:
    assert is_async_function(func)
    assert not is_async_function(plain(func))


async def test_async_function_is_called_in_the_loop() -> None:
    async def where() -> int:
        return threading.get_ident()

    outcome = await call(where, has_loop=False)
    assert outcome.result == threading.get_ident()
    assert outcome.ended >= outcome.started


async def test_sync_function_is_called_in_a_thread_and_timed_there() -> None:
    def where(seconds: float) -> int:
        time.sleep(seconds)
        return threading.get_ident()

    outcome = await call(where, 0.01)
    assert outcome.result != threading.get_ident()
    assert outcome.ended - outcome.started >= 0.01


async def test_lambda_that_returns_a_coroutine_is_awaited_in_the_loop() -> None:
    async def where() -> int:
        return threading.get_ident()

    assert (await call(plain(where))).result == threading.get_ident()


async def test_lambda_that_makes_a_task_is_called_in_the_loop() -> None:
    assert (await call(started_task)).result == 42


async def test_function_that_is_known_to_be_async_needs_no_thread_again() -> None:
    threads = Threads(asyncio.get_running_loop())
    callee = Callee(lambda: later(threading.get_ident()), time.perf_counter, threads, has_loop=True)
    first, second = await callee.call(()), await callee.call(())
    threads.close()
    assert first.result != second.result == threading.get_ident()


@pytest.mark.parametrize("func", [plain(later), started_task, plain(items)])
async def test_awaitable_in_a_sync_test_is_an_error_that_says_what_to_do(
    func: Callable[..., Any],
) -> None:
    with pytest.raises(UsageError, match="write the test as `async def` and await perf_load"):
        await call(func, has_loop=False)


@pytest.mark.parametrize(("func", "count"), [(items, 2), (generated, 3), (plain(items), 2)])
async def test_streams_are_gone_through(func: Callable[..., Any], count: int) -> None:
    outcome = await call(func)
    assert outcome.items is not None
    assert outcome.items.count == count
    assert outcome.items.first is not None


@pytest.mark.parametrize("is_sync", [False, True])
async def test_error_of_a_call_is_its_outcome(is_sync: bool) -> None:
    def refuse() -> None:
        raise ConnectionError("refused")

    async def refuse_later() -> None:
        refuse()

    outcome = await call(refuse if is_sync else refuse_later)
    assert isinstance(outcome.error, ConnectionError)
    assert outcome.ended >= outcome.started


async def test_end_of_an_iterator_in_a_thread_is_an_error_like_others() -> None:
    outcome = await call(lambda: next(iter([])))
    assert isinstance(outcome.error, StopIteration)


async def test_class_of_plain_results_is_known() -> None:
    threads = Threads(asyncio.get_running_loop())
    callee = Callee(later, time.perf_counter, threads, has_loop=True)
    assert callee.plain is None
    await callee.call(("text",))
    assert callee.plain is str
