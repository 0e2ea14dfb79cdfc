"""Tests of waiting: what is timed, and who is said to have had it."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_agentperf.measure.concurrency.origins import caller
from pytest_agentperf.measure.concurrency.waits.waiting import Record, Stopwatch
from pytest_agentperf.measure.frames import place_of

from ...conftest import FakeClock  # noqa: TID252 -- the fixtures of the layer

pytestmark = pytest.mark.asyncio


class Turnstile:
    """Something of which there is one, handed out in the order of asking."""

    def __init__(self) -> None:
        self.waiters: list[asyncio.Future[None]] = []

    async def acquire(self) -> str:
        self.waiters.append(asyncio.get_running_loop().create_future())
        await self.waiters[-1]
        return "acquired"

    def release(self) -> None:
        self.waiters.pop(0).set_result(None)


@pytest.fixture
def records() -> list[Record]:
    return []


@pytest.fixture
def stopwatch(clock: FakeClock, records: list[Record]) -> Iterator[Stopwatch]:
    stopwatch = Stopwatch(clock, lambda: "span", caller, records.append)
    stopwatch.start()
    yield stopwatch
    stopwatch.stop()


def enter(stopwatch: Stopwatch, thing: Any, name: str = "waiter") -> "asyncio.Task[str]":
    return asyncio.create_task(stopwatch.wait("lock", thing, thing.acquire), name=name)


async def release_slowly(thing: Turnstile) -> None:
    thing.release()


async def release_quickly(thing: Turnstile) -> None:
    thing.release()


def function_of(record: Record) -> str:
    return place_of(record.holder).function if record.holder else ""


async def test_wait_returns_what_it_waited_for_and_is_recorded(
    stopwatch: Stopwatch, records: list[Record], clock: FakeClock
) -> None:
    thing = Turnstile()
    task = enter(stopwatch, thing)
    await asyncio.sleep(0)
    clock.advance(0.5)
    assert records == []
    thing.release()
    assert await task == "acquired"
    (record,) = records
    assert (record.seconds, record.kind, record.span) == (0.5, "lock", "span")


async def test_holder_is_who_let_go_after_the_longest_time(
    stopwatch: Stopwatch, records: list[Record], clock: FakeClock
) -> None:
    thing = Turnstile()
    tasks = [enter(stopwatch, thing) for _ in range(3)]
    await asyncio.sleep(0)
    for release, seconds in ((release_quickly, 1), (release_slowly, 3), (release_quickly, 1)):
        clock.advance(seconds)
        await asyncio.create_task(release(thing), name=f"after {seconds} s")
    await asyncio.gather(*tasks)
    assert [record.seconds for record in records] == [1, 4, 5]
    assert [function_of(record) for record in records] == [
        "release_quickly", "release_slowly", "release_slowly",
    ]  # fmt: skip
    assert [record.task for record in records] == ["after 1 s", "after 3 s", "after 3 s"]


async def test_holder_of_before_a_wait_is_not_its_holder(
    stopwatch: Stopwatch, records: list[Record], clock: FakeClock
) -> None:
    thing = Turnstile()
    first = enter(stopwatch, thing)
    await asyncio.sleep(0)
    clock.advance(3)
    second = enter(stopwatch, thing)
    await asyncio.sleep(0)
    await release_slowly(thing)
    await first
    clock.advance(1)
    await release_quickly(thing)
    await second
    assert [(record.seconds, function_of(record)) for record in records] == [
        (3, "release_slowly"), (1, "release_quickly"),
    ]  # fmt: skip


async def test_wait_that_is_cancelled_is_recorded_and_stays_cancelled(
    stopwatch: Stopwatch, records: list[Record], clock: FakeClock
) -> None:
    thing = Turnstile()
    task = enter(stopwatch, thing)
    await asyncio.sleep(0)
    clock.advance(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (record,) = records
    assert (record.seconds, record.holder, record.task) == (0.5, None, "")


async def test_wait_that_fails_is_recorded_and_fails(
    stopwatch: Stopwatch, records: list[Record]
) -> None:
    async def fail() -> None:
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        await stopwatch.wait("pool", object(), fail)
    assert len(records) == 1


async def test_wait_within_a_wait_is_a_part_of_it(
    stopwatch: Stopwatch, records: list[Record]
) -> None:
    thing = Turnstile()

    async def wait_for_a_lock_that_another_task_waits_for() -> None:
        task = enter(stopwatch, thing)
        await asyncio.sleep(0)
        thing.release()
        await task

    async def within() -> None:
        await stopwatch.wait("event", object(), wait_for_a_lock_that_another_task_waits_for)

    await stopwatch.wait("pool", object(), within)
    assert [record.kind for record in records] == ["lock", "pool"]


async def test_thing_is_known_by_the_line_that_waited_for_it_first(
    stopwatch: Stopwatch, records: list[Record]
) -> None:
    thing = Turnstile()

    async def first() -> None:
        await stopwatch.wait("lock", thing, thing.acquire)

    async def second() -> None:
        await stopwatch.wait("lock", thing, thing.acquire)

    for wait in (first, second):
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        thing.release()
        await task
    assert records[0].key == records[1].key == records[0].site
    assert records[1].site != records[0].site


async def test_thing_without_weak_references_is_known_by_each_line(
    stopwatch: Stopwatch, records: list[Record]
) -> None:
    class Odd:
        __slots__ = ()

        async def acquire(self) -> None:
            pass

    await stopwatch.wait("lock", Odd(), Odd().acquire)
    assert records[0].key == records[0].site


async def test_thing_that_nobody_of_the_user_waits_for_is_known_by_its_type(
    clock: FakeClock, records: list[Record]
) -> None:
    stopwatch = Stopwatch(clock, lambda: None, lambda: None, records.append)
    thing = Turnstile()
    task = enter(stopwatch, thing)
    await asyncio.sleep(0)
    thing.release()
    await task
    stopwatch.stop()
    assert (records[0].key, records[0].site) == ("Turnstile", None)


async def test_release_is_hooked_from_the_first_wait_until_the_stop(stopwatch: Stopwatch) -> None:
    before, thing = Turnstile.release, Turnstile()
    for _ in range(2):
        assert Turnstile.release is before
        task = enter(stopwatch, thing)
        await asyncio.sleep(0)
        assert Turnstile.release is not before
        thing.release()
        await task
        thing.waiters.append(asyncio.get_running_loop().create_future())
        thing.release()  # which nobody waits for
        stopwatch.stop()
        stopwatch.start()


async def test_release_after_a_stop_is_nobodys(stopwatch: Stopwatch, records: list[Record]) -> None:
    thing = Turnstile()
    task = enter(stopwatch, thing)
    await asyncio.sleep(0)
    stopwatch.stop()
    thing.release()
    assert await task == "acquired"
    assert [record.holder for record in records] == [None]
