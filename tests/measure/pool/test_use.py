"""Blocks around a pool of our own: what they see, what they assert, and how they end."""

import asyncio
import importlib
import shutil
import threading
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import pytest_agentperf.reference.pool as pool_module
from pytest_agentperf.core.errors import CheckError, UsageError
from pytest_agentperf.measure.pool.door import PerfPool, Pooling
from pytest_agentperf.measure.pool.ledger import FIELDS
from pytest_agentperf.reference.pool import Lease, Pool, PoolClosedError, PoolTimeoutError
from pytest_agentperf.reference.sessions import OwnedSession

from .conftest import close, connect, lease, new_pool

ORIGINAL = {cls: dict(vars(cls)) for cls in (Pool, Lease)}


def is_restored() -> bool:
    return all(
        vars(cls)[name] is value for cls, own in ORIGINAL.items() for name, value in own.items()
    )


@pytest.mark.asyncio
async def test_use_of_a_pool_that_is_too_small(perf_pool: PerfPool) -> None:
    pool = new_pool(2)
    async with perf_pool(pool) as use:
        await asyncio.gather(*(lease(pool, 3) for _ in range(4)))
    assert (use.acquired, use.failed, use.created, use.in_use_max) == (12, 0, 2, 2)
    assert use.utilization_max == 1
    assert 0 < use.utilization_mean <= 1
    assert use.exhausted > 0
    assert use.reuse_rate == pytest.approx(10 / 12)
    assert use.wait.count == 12
    assert use.waits >= 2
    assert 1 <= use.recommended_size() <= 4  # no more than there were callers
    assert use.recommended_size() == use.load.size()
    assert {finding.cause for finding in use.findings} == {"pool_near_capacity", "pool_wait"}
    assert is_restored()


@pytest.mark.asyncio
async def test_use_of_a_pool_that_is_large_enough(perf_pool: PerfPool) -> None:
    pool = new_pool(3)
    async with perf_pool(pool) as use:
        await asyncio.gather(*(lease(pool, 3) for _ in range(2)))
    use.assert_not_exhausted()
    use.assert_no_leaks()
    use.assert_reused("60%")  # two of six leases had to open a connection
    use.assert_waits()
    assert use.findings == ()
    assert use.exhausted == 0


@pytest.mark.asyncio
async def test_assertions_say_what_happened(perf_pool: PerfPool) -> None:
    pool = new_pool(1)
    async with perf_pool(pool, "search") as use:
        await asyncio.gather(*(lease(pool) for _ in range(3)))
        left = await pool.acquire()
    for check, message in (
        (use.assert_not_exhausted, r"1 of 1 connections of Pool 'search' were in use at once"),
        (use.assert_not_exhausted, r"2 of 4 callers waited .* Little's law recommends \d"),
        (use.assert_waits, r"2 of 4 callers waited for a connection .*, expected at most 0; Lit"),
        (lambda: use.assert_waits(1), r"expected at most 1; "),
        (lambda: use.assert_waits("1ns"), r"expected at most p95 1 ns; "),
        (
            lambda: use.assert_reused(0.8),
            r"75 % of the leases .* reused .* at least 80 %: 4 leases",
        ),
        (
            use.assert_no_leaks,
            r"1 connection of Pool 'search' was not returned .*test_use.py:\d+ in",
        ),
    ):
        with pytest.raises(CheckError, match=message):
            check()
    use.assert_waits(2)
    use.assert_waits("1min")
    use.assert_reused(0.75)
    left.release()


@pytest.mark.asyncio
async def test_leak_names_the_line_that_took_the_lease(perf_pool: PerfPool) -> None:
    pool = new_pool(2)
    with perf_pool(pool) as use:
        left = await pool.acquire()  # this line
    (held,) = use.leaked
    assert held.place is not None
    assert held.place.source == "left = await pool.acquire()  # this line"
    left.release()


@pytest.mark.asyncio
async def test_leak_names_its_line_whatever_took_the_lease_before(perf_pool: PerfPool) -> None:
    pool = new_pool(4)

    async def enter() -> object:
        return await pool.acquire().__aenter__()  # no frame of the pool between

    with perf_pool(pool) as use:
        left = [await pool.acquire()]
        await enter()
        left += [await pool.acquire()]
    sources = [held.place.source for held in use.leaked if held.place]
    assert sources == [
        "left = [await pool.acquire()]",
        "return await pool.acquire().__aenter__()  # no frame of the pool between",
        "left += [await pool.acquire()]",
    ]
    for each in left:
        each.release()


@pytest.mark.asyncio
async def test_leak_of_a_subclass_of_a_copied_pool_names_its_line(
    perf_pool: PerfPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(pool_module.__file__, tmp_path / "our_pool.py")
    monkeypatch.syspath_prepend(tmp_path)
    copied: Any = importlib.import_module("our_pool")

    class Mine(copied.Pool):  # type: ignore[misc]
        pass

    pool: Pool[object] = Mine(connect, close, max_size=2)
    with perf_pool(pool) as use:
        left = await pool.acquire()  # here
    assert [held.place.source.endswith("# here") for held in use.leaked if held.place] == [True]
    left.release()


@pytest.mark.asyncio
async def test_accepted_leak_is_none(perf_pool: PerfPool, accepted: set[str]) -> None:
    accepted.add("pool_leak")
    pool = new_pool(2)
    with perf_pool(pool) as use:
        left = await pool.acquire()
    use.assert_no_leaks()
    assert "pool_leak" not in {finding.cause for finding in use.findings}
    left.release()


@pytest.mark.asyncio
async def test_nothing_acquired_is_known_to_be_nothing_and_proves_nothing(
    perf_pool: PerfPool, pooling: Pooling
) -> None:
    pool = new_pool(2)
    with perf_pool(pool) as use:
        pass
    assert (use.acquired, use.waits, use.created, use.findings) == (0, 0, 0, ())
    for check in (use.assert_not_exhausted, use.assert_no_leaks, use.assert_reused):
        with pytest.raises(CheckError, match="nothing was acquired from Pool inside the block"):
            check()
    for name in ("utilization_max", "utilization_mean", "reuse_rate", "load"):
        with pytest.raises(CheckError, match="nothing was acquired"):
            getattr(use, name)
    for limit in (0, "1s"):
        with pytest.raises(CheckError, match="nothing was acquired"):
            use.assert_waits(limit)
    (measured,) = pooling.measurements()
    assert measured.values == {}
    assert set(measured.unknown) == {"pool_utilization_max", "pool_wait_p95", "pool_reuse_rate"}


@pytest.mark.asyncio
async def test_measurement_has_the_metrics(perf_pool: PerfPool, pooling: Pooling) -> None:
    pool = new_pool(2)
    with perf_pool(pool, "search"):
        await lease(pool, 4)
    (measured,) = pooling.measurements()
    assert (measured.label, measured.calls, measured.errors) == ("search", 4, 0)
    assert measured.unknown == {}
    assert measured.values["pool_utilization_max"] == 0.5
    assert measured.values["pool_reuse_rate"] == 0.75
    assert 0 < measured.values["pool_wait_p95"] < 1
    assert measured.monitors == ("pool probe",)


@pytest.mark.asyncio
async def test_callers_who_gave_up_waited_and_failed(perf_pool: PerfPool) -> None:
    pool = new_pool(1)
    async with perf_pool(pool) as use, pool.acquire():
        with pytest.raises(PoolTimeoutError):
            await pool.acquire(timeout=0)
        waiter = asyncio.create_task(lease(pool))
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
    assert (use.acquired, use.failed, use.waits) == (1, 2, 2)
    use_again = perf_pool(pool)
    async with use_again:
        await lease(pool)
    assert use_again.in_use_max == 1  # the cancelled waiter holds nothing


@pytest.mark.asyncio
async def test_connection_that_comes_too_late_is_not_returned_by_anybody(
    perf_pool: PerfPool,
) -> None:
    pool = new_pool(2)
    before = await pool.acquire()
    with perf_pool(pool) as use:
        held = await pool.acquire()
        waiter = asyncio.create_task(lease(pool))
        await asyncio.sleep(0)
        held.release()
        waiter.cancel()  # granted already, and not awake yet
        with pytest.raises(asyncio.CancelledError):
            await waiter
        async with pool.acquire():
            last = asyncio.create_task(lease(pool))
            await asyncio.sleep(0)
            before.release()  # only now
            await last
    assert (use.acquired, use.failed, use.waits) == (3, 1, 2)


@pytest.mark.asyncio
async def test_callers_whom_a_warning_stops_have_failed(perf_pool: PerfPool) -> None:
    asyncio.get_running_loop().set_debug(True)
    pool = new_pool(1)
    with perf_pool(pool) as use, warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        async with pool.acquire():
            for _ in range(3):
                with pytest.raises(RuntimeWarning, match="which can deadlock"):
                    await pool.acquire()
    assert (use.acquired, use.failed, use.waits, use.load.most) == (1, 3, 3, 2)


def test_lease_that_outlives_its_loop_may_be_released(perf_pool: PerfPool) -> None:
    pool = new_pool(2)

    async def take() -> Lease[object]:
        return await pool.acquire()

    with perf_pool(pool) as use:
        asyncio.run(take()).release()
    assert (use.acquired, use.leaked) == (1, ())


@pytest.mark.asyncio
async def test_pool_that_refuses_has_failed(perf_pool: PerfPool) -> None:
    pool = new_pool(2)
    with perf_pool(pool) as use:
        await lease(pool)
        await pool.close()
        with pytest.raises(PoolClosedError):
            await lease(pool)
    assert (use.acquired, use.failed, use.waits) == (1, 1, 0)


@pytest.mark.asyncio
async def test_shared_connections_count_by_lease(perf_pool: PerfPool) -> None:
    pool = new_pool(2, leases_per_connection=4)
    async with perf_pool(pool) as use:
        await asyncio.gather(*(lease(pool, 2) for _ in range(8)))
    assert (use.in_use_max, use.utilization_max, use.created) == (8, 1.0, 2)
    assert use.recommended_size() <= 2
    assert "8 of 8 leases of Pool were in use at once" in str(use.findings[0])


@pytest.mark.asyncio
async def test_pool_of_sessions_counts_those_who_share_one(perf_pool: PerfPool) -> None:
    @asynccontextmanager
    async def session() -> AsyncIterator[str]:
        yield "session"

    pool = Pool(
        lambda: OwnedSession.open(session),
        OwnedSession.close,
        is_broken=OwnedSession.is_broken,
        max_size=2,
        leases_per_connection=2,
    )
    async with pool, perf_pool(pool) as use, pool.acquire() as one, pool.acquire() as other:
        assert one.session == other.session == "session"
    assert (use.created, use.in_use_max, use.utilization_max) == (1, 2, 0.5)


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, KeyboardInterrupt])
async def test_hooks_are_gone_after_an_error(
    perf_pool: PerfPool, error: type[BaseException]
) -> None:
    pool = new_pool(1)
    with pytest.raises(error):
        async with perf_pool(pool) as use, pool.acquire():
            raise error
    assert is_restored()
    assert (use.acquired, use.leaked) == (1, ())


@pytest.mark.asyncio
async def test_nested_blocks_see_the_same(perf_pool: PerfPool) -> None:
    pool = new_pool(2)
    with perf_pool(pool) as outer:
        await lease(pool)
        with perf_pool(pool) as inner:
            await lease(pool)
    assert (outer.acquired, inner.acquired) == (2, 1)
    assert is_restored()


@pytest.mark.asyncio
async def test_overlapping_blocks_end_in_any_order(perf_pool: PerfPool) -> None:
    pool = new_pool(2)
    first, second = perf_pool(pool), perf_pool(pool)
    with first:
        second.__enter__()
        await lease(pool)
    await lease(pool)
    second.__exit__()
    await lease(pool)
    assert (first.acquired, second.acquired) == (1, 2)
    assert is_restored()


@pytest.mark.asyncio
async def test_other_pools_of_the_class_do_not_count(perf_pool: PerfPool) -> None:
    pool, other = new_pool(2), new_pool(2)
    with perf_pool(pool) as use, perf_pool(other) as other_use:
        await lease(pool)
        await lease(other, 2)
    assert (use.acquired, other_use.acquired) == (1, 2)


@pytest.mark.asyncio
async def test_lease_from_before_is_in_use_until_it_is_returned(perf_pool: PerfPool) -> None:
    pool = new_pool(2)
    before = await pool.acquire()
    with perf_pool(pool) as use:
        await lease(pool)
        before.release()
        await lease(pool)
    assert (use.in_use_max, use.acquired, use.leaked) == (2, 2, ())


@pytest.mark.asyncio
async def test_lease_that_is_released_twice_was_returned_once(perf_pool: PerfPool) -> None:
    pool = new_pool(3)
    before = await pool.acquire()
    with perf_pool(pool) as use:
        async with (held := pool.acquire()):
            held.release()
        async with pool.acquire(), pool.acquire():
            pass
    assert use.in_use_max == 3  # the one from before is still held
    before.release()


@pytest.mark.asyncio
async def test_pool_may_be_closed_inside_the_block(perf_pool: PerfPool) -> None:
    pool = new_pool(2)
    with perf_pool(pool) as use:
        await lease(pool, 2)
        await pool.close()
    assert (use.acquired, use.created, use.utilization_max) == (2, 1, 0.5)


def test_pool_may_be_used_from_one_loop_after_the_other(perf_pool: PerfPool) -> None:
    pool = new_pool(2)
    with perf_pool(pool) as use:
        asyncio.run(lease(pool))
        asyncio.run(lease(pool))
    assert (use.acquired, use.created, use.in_use_max) == (2, 2, 1)


def test_pools_of_several_threads_do_not_mix(perf_pool: PerfPool) -> None:
    pools = [new_pool(2) for _ in range(3)]
    uses = [perf_pool(pool) for pool in pools]

    def run(pool: Pool[object]) -> None:
        asyncio.run(lease(pool, 200))

    for use in uses:
        use.__enter__()
    threads = [threading.Thread(target=run, args=(pool,)) for pool in pools]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for use in uses:
        use.__exit__()
    assert [(use.acquired, use.in_use_max, len(use.leaked)) for use in uses] == [(200, 1, 0)] * 3


@pytest.mark.asyncio
async def test_cost_of_a_block_is_bounded(perf_pool: PerfPool) -> None:
    pool = new_pool(2)
    with perf_pool(pool) as use:
        await lease(pool, 5000)
        ledger = use._probe._ledger  # type: ignore[union-attr]
        assert len(ledger.events) < 5000 * FIELDS
        assert len(ledger._held) <= 2
    assert use.acquired == 5000


def test_block_is_read_after_its_end_and_used_once(perf_pool: PerfPool) -> None:
    use = perf_pool(new_pool(2))
    with pytest.raises(UsageError, match="this block is new; read how the pool was used after it"):
        _ = use.findings
    with use:
        with pytest.raises(UsageError, match="this block is in use"):
            _ = use.acquired
        with pytest.raises(UsageError, match=r"this block is in use; .* call perf_pool\(\) again"):
            use.__enter__()
    with pytest.raises(UsageError, match="this block is over"):
        use.__enter__()
    assert repr(use) == "<PoolUse of Pool, over>"


def test_unfinished_block_measures_nothing(perf_pool: PerfPool, pooling: Pooling) -> None:
    perf_pool(new_pool(2))
    assert pooling.measurements() == []


@pytest.mark.parametrize("label", ["", 3])
def test_label_must_be_a_text(perf_pool: PerfPool, label: object) -> None:
    with pytest.raises(UsageError, match="expected a text that is not empty"):
        perf_pool(new_pool(2), label)  # type: ignore[call-overload]


@pytest.mark.asyncio
@pytest.mark.parametrize("spare", [-1.0, float("nan")])
async def test_spare_must_be_a_number_from_zero(perf_pool: PerfPool, spare: float) -> None:
    pool = new_pool(2)
    with perf_pool(pool) as use:
        await lease(pool)
    with pytest.raises(UsageError, match="expected a number from 0"):
        use.recommended_size(spare)
