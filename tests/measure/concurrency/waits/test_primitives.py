"""Tests of primitives: waits are timed, and what need not wait goes on as ever."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from pytest_agentperf.measure.concurrency.waits import primitives
from pytest_agentperf.measure.concurrency.waits.ledger import WaitLedger
from pytest_agentperf.measure.concurrency.waits.totals import WaitTotal

from ...conftest import FakeClock  # noqa: TID252 -- the fixtures of the layer

pytestmark = pytest.mark.asyncio


@pytest.fixture
def ledger(clock: FakeClock) -> WaitLedger:
    return WaitLedger(clock)


async def waited(
    ledger: WaitLedger, clock: FakeClock, wait: Awaitable[Any], end: Callable[[], Any]
) -> WaitTotal:
    """Return what is recorded of *wait*, which *end* ends half a second after it began."""
    ledger.start()
    task = asyncio.ensure_future(wait)
    for _ in range(3):
        await asyncio.sleep(0)
    clock.advance(0.5)
    end()
    await task
    ledger.stop()
    (total,) = ledger.totals
    return total


@pytest.mark.parametrize("make", [asyncio.Lock, anyio.Lock])
async def test_lock_is_waited_for_while_it_is_held(
    make: Any, ledger: WaitLedger, clock: FakeClock
) -> None:
    lock = make()

    async def hold() -> None:
        async with lock:
            await asyncio.sleep(0)
            clock.advance(0.25)

    ledger.start()
    await asyncio.gather(hold(), hold(), hold())
    ledger.stop()
    (total,) = ledger.totals
    assert (total.kind, total.count, total.seconds) == ("lock", 2, 0.75)
    assert total.longest.holder
    assert total.longest.holder.source == "async with lock:"
    assert total.longest.holder_task.startswith("Task-")


@pytest.mark.parametrize("make", [asyncio.Semaphore, asyncio.BoundedSemaphore, anyio.Semaphore])
async def test_semaphore_is_waited_for_when_it_is_full(
    make: Any, ledger: WaitLedger, clock: FakeClock
) -> None:
    semaphore = make(2)

    async def hold() -> None:
        async with semaphore:
            for _ in range(3):
                await asyncio.sleep(0)
            clock.advance(0.25)

    ledger.start()
    await asyncio.gather(hold(), hold(), hold())
    ledger.stop()
    (total,) = ledger.totals
    assert (total.kind, total.count) == ("semaphore", 1)
    assert total.longest.holder
    assert total.longest.holder.source == "async with semaphore:"


async def test_limiter_is_waited_for_when_it_is_full(ledger: WaitLedger, clock: FakeClock) -> None:
    limiter = anyio.CapacityLimiter(1)
    await limiter.acquire_on_behalf_of("another")

    async def enter() -> None:
        async with limiter:
            pass

    def leave() -> None:
        limiter.release_on_behalf_of("another")

    total = await waited(ledger, clock, enter(), leave)
    assert (total.kind, total.count, total.seconds) == ("limiter", 1, 0.5)
    assert total.longest.holder
    assert total.longest.holder.function == "leave"


async def test_queue_is_waited_for_when_it_is_empty(ledger: WaitLedger, clock: FakeClock) -> None:
    queue: asyncio.PriorityQueue[int] = asyncio.PriorityQueue()

    async def get() -> None:
        assert await queue.get() == 1

    total = await waited(ledger, clock, get(), lambda: queue.put_nowait(1))
    assert (total.kind, total.count, total.seconds) == ("queue get", 1, 0.5)


async def test_queue_is_waited_for_when_it_is_full(ledger: WaitLedger, clock: FakeClock) -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(1)

    async def put() -> None:
        await queue.put(1)
        await queue.put(item=2)

    total = await waited(ledger, clock, put(), queue.get_nowait)
    assert (total.kind, total.count, total.seconds) == ("queue put", 1, 0.5)
    assert queue.get_nowait() == 2


async def test_event_is_waited_for_until_it_is_set(ledger: WaitLedger, clock: FakeClock) -> None:
    event = asyncio.Event()

    async def wait() -> None:
        assert await event.wait() is True
        assert await event.wait() is True

    total = await waited(ledger, clock, wait(), event.set)
    assert (total.kind, total.count, total.seconds) == ("event", 1, 0.5)


async def test_condition_is_waited_for_until_it_is_notified(
    ledger: WaitLedger, clock: FakeClock
) -> None:
    ledger.start()  # a condition keeps the functions of its lock as they are when it is made
    condition = asyncio.Condition()

    async def wait() -> None:
        async with condition:
            await condition.wait()

    async def notify() -> None:
        async with condition:
            condition.notify()
            await asyncio.sleep(0)
            clock.advance(0.25)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    clock.advance(0.5)
    await notify()
    await task
    ledger.stop()
    # To have the lock again is a part of the wait for the condition.
    assert [(total.kind, total.seconds) for total in ledger.totals] == [("condition", 0.75)]
    async with condition:
        assert condition.locked()


async def test_what_is_free_is_not_waited_for(ledger: WaitLedger) -> None:
    lock, semaphore, queue = asyncio.Lock(), asyncio.Semaphore(2), asyncio.Queue[int](1)
    event = asyncio.Event()
    event.set()
    ledger.start()
    async with lock, semaphore, anyio.Lock(), anyio.Semaphore(1), anyio.CapacityLimiter(1):
        assert lock.locked()
        assert (semaphore._value, await event.wait()) == (1, True)
        await queue.put(1)
        assert await queue.get() == 1
    ledger.stop()
    assert ledger.totals == ()
    assert not lock.locked()
    assert ledger.notes == ()


async def test_lock_that_is_handed_over_is_waited_for(ledger: WaitLedger, clock: FakeClock) -> None:
    lock = asyncio.Lock()
    await lock.acquire()
    ledger.start()

    async def enter(seconds: float) -> None:
        async with lock:
            await asyncio.sleep(0)
            clock.advance(seconds)

    first = asyncio.create_task(enter(0.5))
    await asyncio.sleep(0)
    lock.release()  # to the first, which has not run yet
    assert not lock.locked()
    await enter(0.25)
    await first
    ledger.stop()
    assert [total.count for total in ledger.totals] == [2]
    assert ledger.waits[0].seconds == 0.5


async def test_wait_that_times_out_is_recorded_and_the_lock_left_to_the_others(
    ledger: WaitLedger, clock: FakeClock
) -> None:
    lock = asyncio.Lock()
    await lock.acquire()
    ledger.start()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await lock.acquire()
    lock.release()
    async with lock:
        pass
    ledger.stop()
    assert [total.count for total in ledger.totals] == [1]


@pytest.mark.parametrize("owner", [asyncio.Lock, asyncio.Semaphore, asyncio.Queue, asyncio.Event])
async def test_primitive_whose_state_is_elsewhere_is_left_alone_and_named(
    owner: Any, ledger: WaitLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other:
        async def acquire(self) -> str:
            return "acquired"

        get = put = wait = acquire

    before = dict(vars(Other))
    monkeypatch.setattr(asyncio, owner.__name__, Other)
    ledger.start()
    assert dict(vars(Other)) == before
    ledger.stop()
    assert {note.partition(".")[0] for note in ledger.notes} == {"waits for Other"}


async def test_primitives_that_an_old_anyio_has_elsewhere_are_left_alone(
    ledger: WaitLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(primitives.sys.modules[primitives.ANYIO], "Semaphore")  # type: ignore[attr-defined]
    ledger.start()
    ledger.stop()
    assert ledger.notes == ()
