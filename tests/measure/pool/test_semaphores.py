"""Semaphores of asyncio: pools of permits."""

import asyncio

import pytest

from pytest_agentperf.core.errors import CheckError
from pytest_agentperf.measure.pool.door import PerfPool


async def work(semaphore: asyncio.Semaphore) -> None:
    async with semaphore:
        await asyncio.sleep(0)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [asyncio.Semaphore, asyncio.BoundedSemaphore])
async def test_semaphore_that_is_too_small(
    perf_pool: PerfPool, kind: type[asyncio.Semaphore]
) -> None:
    semaphore = kind(2)
    async with perf_pool(semaphore) as use:
        await asyncio.gather(*(work(semaphore) for _ in range(5)))
    assert (use.acquired, use.waits, use.utilization_max, use.leaked) == (5, 3, 1.0, ())
    with pytest.raises(CheckError, match="5 callers waited for a permit of semaphore"):
        use.assert_waits()
    with pytest.raises(CheckError, match="do not tell how many connections were opened"):
        _ = use.created


@pytest.mark.asyncio
async def test_permits_taken_before_are_known_of_a_bounded_semaphore_alone(
    perf_pool: PerfPool,
) -> None:
    for semaphore, utilization in (
        (asyncio.BoundedSemaphore(4), 0.5),
        (asyncio.Semaphore(4), 1 / 3),
    ):
        await semaphore.acquire()
        async with perf_pool(semaphore) as use:
            await work(semaphore)
        semaphore.release()
        assert use.utilization_max == pytest.approx(utilization)


@pytest.mark.asyncio
async def test_permit_that_is_not_released_names_its_line(perf_pool: PerfPool) -> None:
    semaphore = asyncio.Semaphore(2)
    async with perf_pool(semaphore) as use:
        await semaphore.acquire()  # this one
        await work(semaphore)
    assert [str(held.place).endswith("# this one") for held in use.leaked] == [True]


@pytest.mark.asyncio
async def test_permit_may_be_released_by_another_task(perf_pool: PerfPool) -> None:
    semaphore = asyncio.Semaphore(2)
    async with perf_pool(semaphore) as use:
        await semaphore.acquire()

        async def let_go() -> None:
            semaphore.release()

        await asyncio.create_task(let_go())
    use.assert_no_leaks()


@pytest.mark.asyncio
async def test_cancelled_waiter_got_no_permit(perf_pool: PerfPool) -> None:
    semaphore = asyncio.Semaphore(1)
    async with perf_pool(semaphore) as use, semaphore:
        waiter = asyncio.create_task(work(semaphore))
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
    assert (use.acquired, use.failed, use.waits, use.leaked) == (1, 1, 1, ())
