"""Batchers: ours, aiodataloader's, and any that tells the sizes of its batches."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from pytest_agentperf.core.errors import CheckError, UsageError
from pytest_agentperf.measure.pool.batches import BatchUse
from pytest_agentperf.measure.pool.door import PerfPool, Pooling
from pytest_agentperf.reference.batcher import Batcher


async def double(items: Sequence[int]) -> list[int]:
    return [2 * item for item in items]


def causes(use: BatchUse) -> list[str]:
    return [finding.cause for finding in use.findings]


@pytest.mark.asyncio
async def test_batches_of_ours_are_read_from_its_counters(
    perf_pool: PerfPool, pooling: Pooling
) -> None:
    batcher = Batcher(double, batch_size=4)
    await batcher(0)
    async with perf_pool(batcher, "double") as use:
        await asyncio.gather(*map(batcher, range(4)), *map(batcher, range(4)))
        await batcher(1)
    assert sorted(use.sizes) == [1, 4, 4]
    assert (use.batches, use.items, use.sizes.max) == (3, 9, 4)
    assert use.reasons == {"full": 1, "idle": 2} or sum(use.reasons.values()) == 3
    assert use.lone_share == 1 / 9
    assert 0 <= use.wait < 1
    (measured,) = pooling.measurements()
    assert (measured.label, measured.calls, measured.monitors) == ("double", 3, ())


@pytest.mark.asyncio
async def test_items_that_come_one_by_one_are_a_finding(perf_pool: PerfPool) -> None:
    batcher = Batcher(double)
    async with perf_pool(batcher) as use:
        for item in range(3):
            await batcher(item)
    assert causes(use) == ["batch_lone"]
    assert str(use.findings[0]).startswith(
        "Batcher made 3 batches of 3 items (3 by idle): 3 items went alone"
    )
    with pytest.raises(CheckError, match="1 items a batch, expected at least 2; submit items at"):
        use.assert_batched()
    use.assert_batched(at_least=1)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("bursts", "expected"),
    [
        ((4, 4), ["batch_full"]),
        ((4, 3), []),
        ((3, 3), ["batch_never_full"]),
        ((1, 1), ["batch_lone"]),
        ((1, 2), ["batch_never_full"]),
        ((4,), []),  # too little to tell
    ],
)
async def test_findings_depend_on_the_sizes(
    perf_pool: PerfPool, bursts: tuple[int, ...], expected: list[str]
) -> None:
    batcher = Batcher(double, batch_size=4)
    async with perf_pool(batcher) as use:
        for burst in bursts:
            await asyncio.gather(*map(batcher, range(burst)))
    assert causes(use) == expected


@pytest.mark.asyncio
async def test_no_batch_proves_nothing(perf_pool: PerfPool) -> None:
    async with perf_pool(Batcher(double)) as use:
        pass
    assert (use.batches, use.items, use.findings) == (0, 0, ())
    for read in (use.assert_batched, lambda: use.lone_share, lambda: use.wait):
        with pytest.raises(CheckError, match="Batcher had no batch in the block"):
            read()


class Told:
    """A batcher of the user's."""

    def __init__(self, **counts: object) -> None:
        self.counts = counts

    def stats(self) -> dict[str, object]:
        return self.counts


def test_batcher_of_the_users_needs_only_sizes(perf_pool: PerfPool) -> None:
    batcher: Any = Told(sizes={1: 2})
    with perf_pool(batcher) as use:
        batcher.counts = {"sizes": {1: 2, 8: 3}}
    assert list(use.sizes) == [8, 8, 8]
    with pytest.raises(CheckError, match="Told does not tell how long items waited"):
        _ = use.wait


def test_counters_that_run_backwards_are_a_sentence(perf_pool: PerfPool) -> None:
    batcher: Any = Told(sizes={1: 2})
    with perf_pool(batcher) as use:
        batcher.counts = {"sizes": {1: 1}}
    assert use.notes == (
        "the counters of Told ran backwards: it was reset or replaced inside the block",
    )
    with pytest.raises(CheckError, match="ran backwards"):
        use.assert_batched()


def test_block_around_a_batcher_is_read_after_its_end_and_used_once(perf_pool: PerfPool) -> None:
    use = perf_pool(Batcher(double))
    with pytest.raises(UsageError, match="this block is new"):
        _ = use.sizes
    with use, pytest.raises(UsageError, match="this block is in use"):
        use.__enter__()
    assert repr(use) == "<BatchUse of Batcher, over>"


@pytest.mark.asyncio
async def test_batches_of_aiodataloader(perf_pool: PerfPool) -> None:
    aiodataloader: Any = pytest.importorskip("aiodataloader")
    loader = aiodataloader.DataLoader(double, max_batch_size=3, cache=False)
    before = dict(vars(loader))
    async with perf_pool(loader) as use:
        await loader.load_many([1, 2, 3, 4, 5, 6])
        assert await loader.load(7) == 14
    assert list(use.sizes) == [1, 3, 3]
    assert use.reasons == {"full": 2, "tick": 1}
    assert 0 <= use.wait < 1
    assert {**vars(loader), "_queue": before["_queue"]} == before


@pytest.mark.asyncio
async def test_functions_of_aiodataloader_are_put_back_after_an_error(
    perf_pool: PerfPool,
) -> None:
    aiodataloader: Any = pytest.importorskip("aiodataloader")
    loader = aiodataloader.DataLoader(double)
    with pytest.raises(KeyError), perf_pool(loader):
        raise KeyError
    assert loader.batch_load_fn is double
    assert "load" not in vars(loader)
