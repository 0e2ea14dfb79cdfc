"""Tests of origins: whose line is behind a call, and where suspended code stands."""

import asyncio
import contextlib
import threading
from collections import namedtuple
from collections.abc import AsyncIterator, Generator
from typing import Any

import anyio
import pytest

from pytest_agentperf.measure.concurrency import origins
from pytest_agentperf.measure.concurrency.origins import (
    caller,
    current_task,
    innermost,
    place_or_none,
    suspended_at,
    users_caller,
)
from pytest_agentperf.measure.frames import Site, place_of


def function_of(site: Site | None) -> str | None:
    return site and place_of(site).function


def test_caller_is_the_line_that_calls() -> None:
    assert function_of(caller()) == "test_caller_is_the_line_that_calls"
    assert function_of(users_caller()) == "test_caller_is_the_line_that_calls"


def test_caller_is_the_users_line_below_a_librarys() -> None:
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: seen.append(caller(2)))
        seen: list[Site | None] = []
    assert [function_of(site) for site in seen] == [
        "test_caller_is_the_users_line_below_a_librarys"
    ]


def test_caller_is_a_librarys_line_where_the_user_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origins, "_rank", lambda filename: origins._LIBRARYS)
    assert users_caller() is None
    assert function_of(caller()) is not None


@pytest.mark.asyncio
async def test_caller_is_nobody_in_a_callback_of_the_loop() -> None:
    seen: list[Site | None] = []
    asyncio.get_running_loop().call_soon(lambda: seen.append(caller(2)))
    await asyncio.sleep(0)
    assert seen == [None]


def test_caller_is_nobody_at_the_start_of_a_thread() -> None:
    seen: list[Site | None] = []
    thread = threading.Thread(target=lambda: seen.append(caller(2)))
    thread.start()
    thread.join()
    assert seen == [None]


def test_caller_is_no_generated_code() -> None:
    answer = namedtuple("answer", ["text"])  # noqa: PYI024 -- its code has no file
    site = (answer.__new__.__code__, 1)
    assert innermost([site, caller() or site]) != site


async def inner(event: asyncio.Event) -> None:
    await event.wait()


async def outer(event: asyncio.Event) -> None:
    await inner(event)


class Waiter:
    """Something that is awaited through a generator."""

    def __init__(self, event: asyncio.Event) -> None:
        self.event = event

    def __await__(self) -> Generator[Any, Any, None]:
        return (yield from inner(self.event).__await__())


@pytest.mark.asyncio
async def test_suspended_coroutine_stands_at_the_lines_of_all_that_it_awaits() -> None:
    event = asyncio.Event()
    task = asyncio.create_task(outer(event))
    await asyncio.sleep(0)
    sites = list(suspended_at(task.get_coro()))
    assert [function_of(site) for site in sites] == ["outer", "inner", "Event.wait"]
    assert function_of(innermost(sites)) == "inner"
    event.set()
    await task
    assert list(suspended_at(task.get_coro())) == []


@pytest.mark.asyncio
async def test_suspended_coroutine_stands_in_a_generator_that_it_awaits() -> None:
    async def wait(event: asyncio.Event) -> None:
        await Waiter(event)

    event = asyncio.Event()
    task = asyncio.create_task(wait(event))
    await asyncio.sleep(0)
    assert [function_of(site) for site in suspended_at(task.get_coro())][:2] == [
        "wait",
        "Waiter.__await__",
    ]
    event.set()
    await task


@pytest.mark.asyncio
async def test_suspended_async_generator_stands_where_it_yields() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    generator = numbers()
    async for _ in generator:
        assert [function_of(site) for site in suspended_at(generator)] == ["numbers"]


def test_what_is_not_suspended_stands_nowhere() -> None:
    assert list(suspended_at(None)) == []
    assert innermost([]) is None
    assert place_or_none(None) is None


def test_current_task_is_none_outside_of_asyncio() -> None:
    assert current_task() is None

    async def under_trio() -> object:
        return current_task()

    assert anyio.run(under_trio, backend="trio") is None
