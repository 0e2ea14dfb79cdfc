"""Blocks around caches: what they count, when they refuse, and what assertions say."""

import asyncio
import functools
from typing import Any

import pytest

from pytest_agentperf.core.errors import CheckError, UsageError
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.measure.cache.door import CacheUse, PerfCache
from pytest_agentperf.reference.cache import Cache, cached


class Counters:
    """A cache of a user: it counts, and computes nothing."""

    def __init__(self, hits: int = 0, misses: int = 0, size: int | None = None) -> None:
        self.figures: dict[str, Any] = {"hits": hits, "misses": misses}
        if size is not None:
            self.figures["size"] = size

    def stats(self) -> dict[str, Any]:
        return dict(self.figures)

    def count(self, **more: int) -> None:
        for name, number in more.items():
            self.figures[name] = self.figures.get(name, 0) + number


class AsyncCounters(Counters):
    async def stats(self) -> dict[str, Any]:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().stats()


def measured(use: CacheUse) -> Measurement:
    (measurement,) = use.measurements()
    return measurement


def test_block_counts_what_came_after_its_start(perf_cache: PerfCache) -> None:
    cache = Counters(hits=100, misses=50, size=3)
    with perf_cache(cache) as hits:
        cache.count(hits=3, misses=1, size=1)
    assert (hits.hits, hits.misses, hits.hit_rate) == (3, 1, 0.75)
    assert (hits.size_before, hits.size_after) == (3, 4)
    assert str(hits) == (
        "3 hits and 1 miss of the Counters, warm at the start (100 hits and 50 misses before),"
        " 4 entries at the end"
    )


@pytest.mark.asyncio
async def test_async_block_awaits_counters_that_are_async(perf_cache: PerfCache) -> None:
    cache = AsyncCounters()
    async with perf_cache(cache) as hits:
        cache.count(hits=1)
    assert hits.hits == 1


@pytest.mark.asyncio
async def test_async_block_reads_counters_that_are_not(perf_cache: PerfCache) -> None:
    cache = Counters()
    async with perf_cache(cache) as hits:
        cache.count(misses=1)
    assert hits.misses == 1


def test_plain_block_refuses_counters_that_are_async(perf_cache: PerfCache) -> None:
    with (
        pytest.raises(UsageError, match="write `async with perf_cache"),
        perf_cache(AsyncCounters()),
    ):
        pytest.fail("entered")


@pytest.mark.parametrize(("size", "started"), [(0, "cold"), (1, "warm"), (None, "unknown")])
def test_block_says_whether_it_started_cold(
    perf_cache: PerfCache, size: int | None, started: str
) -> None:
    with perf_cache(Counters(size=size)) as hits:
        pass
    assert hits.started == started


@pytest.mark.parametrize(("size", "why"), [(0, "holds no entries"), (None, "does not tell")])
def test_warm_block_refuses_a_cache_that_may_be_empty(
    perf_cache: PerfCache, size: int | None, why: str
) -> None:
    with pytest.raises(UsageError, match=why), perf_cache(Counters(size=size), warm=True):
        pytest.fail("entered")


def test_warm_block_takes_a_cache_with_an_entry(perf_cache: PerfCache) -> None:
    with perf_cache(Counters(size=1), warm=True) as hits:
        pass
    assert hits.started == "warm"


def test_hit_rate_of_no_lookups_is_unknown(perf_cache: PerfCache, use: CacheUse) -> None:
    with perf_cache(Counters()) as hits:
        pass
    with pytest.raises(CheckError, match="nothing was looked up"):
        _ = hits.hit_rate
    with pytest.raises(CheckError, match="nothing was looked up"):
        hits.assert_all_hits()
    with pytest.raises(CheckError, match="nothing was looked up"):
        hits.assert_hit_rate(at_least=0)
    assert "hit_rate" in measured(use).unknown
    assert measured(use).values["misses"] == 0


@pytest.mark.parametrize("fall", [{"hits": -1}, {"misses": -1}, {"hits": 5, "misses": -1}])
def test_counters_that_run_backwards_are_unknown(
    perf_cache: PerfCache, use: CacheUse, fall: dict[str, int]
) -> None:
    cache = Counters(hits=1, misses=1)
    with perf_cache(cache) as hits:
        cache.count(**fall)
    for name in ("hits", "misses", "hit_rate"):
        with pytest.raises(CheckError, match="ran backwards, from 1 hit and 1 miss to"):
            getattr(hits, name)
    with pytest.raises(CheckError, match="ran backwards"):
        hits.assert_misses(exactly=-1)
    assert set(measured(use).unknown) == {"hit_rate", "misses", "evictions", "time_saved"}
    assert not measured(use).values


def test_block_that_raises_keeps_what_it_counted(perf_cache: PerfCache, use: CacheUse) -> None:
    cache = Counters()
    hits = perf_cache(cache)

    def work() -> None:
        with hits:
            cache.count(hits=1)
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert hits.hits == 1
    assert measured(use).values["hit_rate"] == 1.0


@pytest.mark.asyncio
async def test_cancelled_block_keeps_what_it_counted(perf_cache: PerfCache, use: CacheUse) -> None:
    cache, has_missed = AsyncCounters(), asyncio.Event()

    async def work() -> None:
        async with perf_cache(cache):
            cache.count(misses=2)
            has_missed.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(work())
    await has_missed.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert measured(use).values["misses"] == 2


def test_cache_that_fails_at_the_end_does_not_hide_what_the_block_raised(
    perf_cache: PerfCache, use: CacheUse
) -> None:
    cache = Counters()
    hits = perf_cache(cache)

    def work() -> None:
        with hits:
            cache.figures = {}
            raise KeyError

    with pytest.raises(KeyError):
        work()
    with pytest.raises(CheckError, match="could not be read when the block ended: UsageError"):
        _ = hits.hits
    assert "could not be read" in measured(use).unknown["hit_rate"]


def test_blocks_nest_and_overlap_on_one_cache(perf_cache: PerfCache) -> None:
    cache = Counters()
    first, second = perf_cache(cache), perf_cache(cache)
    first.__enter__()
    cache.count(hits=1)
    second.__enter__()
    cache.count(hits=10)
    first.__exit__(None, None, None)
    cache.count(hits=100)
    second.__exit__(None, None, None)
    assert (first.hits, second.hits) == (11, 110)


def test_block_is_read_after_it_and_used_once(perf_cache: PerfCache) -> None:
    block = perf_cache(Counters())
    with pytest.raises(UsageError, match="is new; read"):
        _ = block.hits
    with block, pytest.raises(UsageError, match="is in use; read"):
        _ = block.hits
    with pytest.raises(UsageError, match="used before"), block:
        pytest.fail("entered")


def test_time_saved_is_what_the_cache_says(perf_cache: PerfCache) -> None:
    cache = Cache(max_size=10)
    with perf_cache(cache) as hits:
        cache.set("a", 1, cost=1.0)
        cache.get("a")
    assert hits.time_saved == cache.stats().time_saved


def test_time_saved_is_the_hits_times_the_mean_of_the_load(perf_cache: PerfCache) -> None:
    load = perf_cache.count(str)
    answer = functools.lru_cache(load)
    with perf_cache(answer, load=load) as hits:
        for key in (1, 2, 1, 1):
            answer(key)
    assert hits.computations == 2
    assert load.computed.mean is not None
    assert hits.time_saved == pytest.approx(2 * load.computed.mean)


def test_what_a_cache_does_not_know_is_told_with_its_cure(
    perf_cache: PerfCache, use: CacheUse
) -> None:
    with perf_cache(Counters()) as hits:
        pass
    with pytest.raises(CheckError, match=r"does not know what computing takes; give .*load="):
        _ = hits.time_saved
    with pytest.raises(CheckError, match="does not count evictions"):
        _ = hits.evictions
    with pytest.raises(CheckError, match=r"write perf_cache\(cache, load="):
        _ = hits.computations
    assert set(measured(use).unknown) == {"hit_rate", "evictions", "time_saved"}


def test_measurement_carries_the_numbers_under_its_label(
    perf_cache: PerfCache, use: CacheUse
) -> None:
    cache = Cache(max_size=1)
    answer = cached(cache)(lambda key: key)
    with perf_cache(cache, "places") as hits:
        for key in (1, 2, 2, 2):
            answer(key)
    found = measured(use)
    assert (found.label, found.calls) == ("places", 4)
    assert found.values["hit_rate"] == hits.hit_rate == 0.5
    assert found.values["misses"] == hits.misses == 2
    assert found.values["evictions"] == hits.evictions == 1
    assert found.values["time_saved"] == hits.time_saved
    assert not found.unknown


def test_block_that_never_ended_is_no_measurement(perf_cache: PerfCache, use: CacheUse) -> None:
    perf_cache(Counters()).__enter__()
    assert use.measurements() == []


@pytest.mark.parametrize("at_least", [0.75, "75 %", 0, 0.5])
def test_hit_rate_at_its_limit_passes(perf_cache: PerfCache, at_least: float | str) -> None:
    cache = Counters()
    with perf_cache(cache) as hits:
        cache.count(hits=3, misses=1)
    hits.assert_hit_rate(at_least=at_least)


def test_hit_rate_below_its_limit_tells_what_happened(perf_cache: PerfCache) -> None:
    cache = Counters(size=0)
    with perf_cache(cache) as hits:
        cache.count(hits=3, misses=1, size=1)
    with pytest.raises(CheckError) as failure:
        hits.assert_hit_rate(at_least="76 %")
    assert str(failure.value) == (
        "hit rate was 75 %, expected at least 76 %: 3 hits and 1 miss of the Counters,"
        " cold at the start, 1 entry at the end"
    )


@pytest.mark.parametrize("at_least", [1.01, 80, "101 %"])
def test_hit_rate_above_one_is_refused(perf_cache: PerfCache, at_least: float | str) -> None:
    cache = Counters()
    with perf_cache(cache) as hits:
        cache.count(hits=1)
    with pytest.raises(UsageError, match="at most 1"):
        hits.assert_hit_rate(at_least=at_least)


def test_all_hits_fails_on_one_miss(perf_cache: PerfCache) -> None:
    cache = Counters()
    with perf_cache(cache) as hits:
        cache.count(hits=3)
    hits.assert_all_hits()
    with perf_cache(cache) as more:
        cache.count(hits=3, misses=1)
    with pytest.raises(CheckError, match="1 of 4 lookups missed: 3 hits and 1 miss"):
        more.assert_all_hits()


def test_misses_must_be_exact(perf_cache: PerfCache) -> None:
    cache = Counters()
    with perf_cache(cache) as hits:
        cache.count(misses=2)
    hits.assert_misses(exactly=2)
    for wrong, words in ((1, "1 miss"), (3, "3 misses")):
        with pytest.raises(CheckError, match=f"expected exactly {words}: 0 hits and 2 misses of"):
            hits.assert_misses(exactly=wrong)


def test_block_and_door_show_what_they_are(perf_cache: PerfCache) -> None:
    block = perf_cache(Counters())
    assert str(block) == repr(block) == "<CacheHits of the Counters, new>"
    with block:
        assert repr(block) == "<CacheHits of the Counters, in use>"
    assert repr(block) == "<CacheHits of the Counters, over>"
    assert repr(perf_cache) == "<perf_cache>"
    assert repr(perf_cache.count(str).computed) == "<Computations of str: 0>"


@pytest.mark.parametrize("label", ["", 3])
def test_label_must_be_a_text(perf_cache: PerfCache, label: Any) -> None:
    with pytest.raises(UsageError, match="label="):
        perf_cache(Counters(), label)


def test_load_must_be_a_counted_one(perf_cache: PerfCache) -> None:
    load: Any = str
    with pytest.raises(UsageError, match=r"expected what perf_cache\.count\(load\) returned"):
        perf_cache(Counters(), load=load)
