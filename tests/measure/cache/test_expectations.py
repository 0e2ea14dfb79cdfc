"""What is tried out on a cache: stampedes, lifetimes, evictions."""

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pytest_agentperf.core.errors import CheckError, UsageError
from pytest_agentperf.measure.cache.door import PerfCache
from pytest_agentperf.reference.cache import Cache, cached
from tests.measure.conftest import FakeClock


def echo(key: object) -> object:
    return key


async def echo_later(key: object) -> object:
    await asyncio.sleep(0)
    return key


def forgetful(load: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a cache that keeps values and joins no callers."""
    kept: dict[Any, Any] = {}

    async def get_later(key: Any) -> Any:
        if key not in kept:
            kept[key] = await load(key)
        return kept[key]

    def get(key: Any) -> Any:
        if key not in kept:
            kept[key] = load(key)
        return kept[key]

    return get_later if asyncio.iscoroutinefunction(load) else get


# Stampedes


def test_threads_that_share_a_computation_pass(perf_cache: PerfCache) -> None:
    load = perf_cache.count(echo)
    answer = cached(Cache(max_size=10))(load)
    perf_cache.assert_computed_once(answer, "a", load=load)
    assert load.computed.calls == 1


@pytest.mark.asyncio
async def test_tasks_that_share_a_computation_pass(perf_cache: PerfCache) -> None:
    load = perf_cache.count(echo_later)
    answer = cached(Cache(max_size=10))(load)
    await perf_cache.assert_computed_once(answer, "a", load=load)
    assert load.computed.calls == 1


def test_stampede_of_threads_is_told(perf_cache: PerfCache) -> None:
    load = perf_cache.count(echo)
    answer = functools.lru_cache(load)
    with pytest.raises(
        CheckError, match="8 concurrent callers of echo made echo compute 8 times, expected once"
    ):
        perf_cache.assert_computed_once(answer, "a", load=load, concurrency=8, hold="60s")


@pytest.mark.asyncio
async def test_stampede_of_tasks_is_told(perf_cache: PerfCache) -> None:
    load = perf_cache.count(echo_later)
    with pytest.raises(CheckError, match=r"50 concurrent callers .* compute 50 times"):
        await perf_cache.assert_computed_once(forgetful(load), "a", load=load, hold="60s")
    assert load.computed.most_at_once == 50


@pytest.mark.asyncio
async def test_value_that_was_cached_before_proves_nothing(perf_cache: PerfCache) -> None:
    load = perf_cache.count(echo_later)
    answer = forgetful(load)
    await answer("a")
    with pytest.raises(CheckError, match=r"compute nothing: .* ask for a new key"):
        await perf_cache.assert_computed_once(answer, "a", load=load)


@pytest.mark.asyncio
async def test_caller_that_raises_fails_the_stampede(perf_cache: PerfCache) -> None:
    async def fail(key: object) -> None:
        raise KeyError(key)

    load = perf_cache.count(fail)
    with pytest.raises(CheckError, match=r"2 of 2 concurrent callers .* KeyError\('a'\)"):
        await perf_cache.assert_computed_once(load, "a", load=load, concurrency=2)


def test_thread_that_raises_fails_the_stampede(perf_cache: PerfCache) -> None:
    load = perf_cache.count(int)
    with pytest.raises(CheckError, match=r"2 of 2 concurrent callers .* raised, the first ValueE"):
        perf_cache.assert_computed_once(load, "x", load=load, concurrency=2)


@pytest.mark.asyncio
async def test_caller_that_is_cancelled_fails_the_stampede(perf_cache: PerfCache) -> None:
    """As theine and cachebox cancel those who wait, with the one that they wait for."""
    load = perf_cache.count(echo_later)

    async def answer(key: object) -> None:
        await load(key)
        raise asyncio.CancelledError

    with pytest.raises(CheckError, match="raised, the first CancelledError"):
        await perf_cache.assert_computed_once(answer, "a", load=load, concurrency=2)


@pytest.mark.asyncio
async def test_caller_that_hangs_fails_the_stampede(perf_cache: PerfCache) -> None:
    load = perf_cache.count(echo_later)

    async def answer(key: object) -> None:
        await load(key)
        await asyncio.Event().wait()

    with pytest.raises(CheckError, match=r"2 of 2 concurrent callers .* not return within 20 ms"):
        await perf_cache.assert_computed_once(
            answer, "a", load=load, concurrency=2, hold=0, max_time="20ms"
        )
    assert len(asyncio.all_tasks()) == 1


def test_thread_that_hangs_fails_the_stampede(perf_cache: PerfCache) -> None:
    load = perf_cache.count(echo)
    freed = threading.Event()

    def answer(key: object) -> None:
        load(key)
        freed.wait()

    with pytest.raises(CheckError, match=r"2 of 2 concurrent callers .* not return within 20 ms"):
        perf_cache.assert_computed_once(
            answer, "a", load=load, concurrency=2, hold=0, max_time="20ms"
        )
    freed.set()


@pytest.mark.asyncio
async def test_cancelled_stampede_leaves_no_task_and_no_gate(perf_cache: PerfCache) -> None:
    load = perf_cache.count(echo_later)
    task = asyncio.ensure_future(
        perf_cache.assert_computed_once(forgetful(load), "a", load=load, hold="60s", concurrency=2)
    )
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert load.computed.gate is None
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("concurrency", [1, 0, -1, 2.0, True])
def test_stampede_needs_two_callers(perf_cache: PerfCache, concurrency: Any) -> None:
    load = perf_cache.count(echo)
    with pytest.raises(UsageError, match="expected 2 callers or more"):
        perf_cache.assert_computed_once(load, "a", load=load, concurrency=concurrency)


# Lifetimes


def expiring(clock: FakeClock, load: Callable[[Any], Any], ttl: float, *, slides: bool) -> Any:
    """Return a cache whose entries live *ttl* seconds, since they were last asked for if it slides.

    At the very end of its lifetime an entry is gone.
    """
    ends: dict[Any, float] = {}

    def get(key: Any) -> Any:
        if clock() >= ends.get(key, 0.0):
            load(key)
            ends[key] = clock() + ttl
        elif slides:
            ends[key] = clock() + ttl
        return key

    return get


@pytest.mark.parametrize("slides", [False, True])
@pytest.mark.parametrize(
    ("ttl", "wrong"),
    [(60.0, ""), (60.5, ""), (59.5, ""), (61.0, "still there"), (59.0, "gone"), (1.0, "gone")],
)
def test_lifetime_is_probed_on_both_sides(
    perf_cache: PerfCache, clock: FakeClock, ttl: float, wrong: str, *, slides: bool
) -> None:
    load = perf_cache.count(echo)
    answer = expiring(clock, load, ttl, slides=slides)
    if not wrong:
        perf_cache.assert_expires(answer, "a", load=load, after="60s", advance=clock.advance)
        return
    with pytest.raises(CheckError, match=wrong):
        perf_cache.assert_expires(answer, "a", load=load, after="60s", advance=clock.advance)


@pytest.mark.asyncio
async def test_own_cache_expires_as_promised(perf_cache: PerfCache, clock: FakeClock) -> None:
    load = perf_cache.count(echo_later)
    answer = cached(Cache(max_size=10, ttl=60.0, clock=clock))(load)
    await perf_cache.assert_expires(answer, "a", load=load, after="1min", advance=clock.advance)


def test_lifetime_of_a_value_that_was_cached_before_is_not_known(
    perf_cache: PerfCache, clock: FakeClock
) -> None:
    load = perf_cache.count(echo)
    answer = functools.lru_cache(load)
    answer("a")
    with pytest.raises(CheckError, match="was cached before; ask for a new key"):
        perf_cache.assert_expires(answer, "a", load=load, after="60s", advance=clock.advance)


def test_lifetime_must_be_some_time(perf_cache: PerfCache, clock: FakeClock) -> None:
    load = perf_cache.count(echo)
    with pytest.raises(UsageError, match="expected a time above 0"):
        perf_cache.assert_expires(load, "a", load=load, after=0, advance=clock.advance)


# Evictions


def test_least_recently_used_entry_is_evicted(perf_cache: PerfCache) -> None:
    load = perf_cache.count(echo)
    answer = functools.lru_cache(maxsize=2)(load)
    perf_cache.assert_evicts(answer, ["a", "b", "a", "c"], load=load, evicted=["b"], kept=["a"])


@pytest.mark.parametrize(
    ("evicted", "kept", "why"),
    [(["a"], [], "'a' was kept, expected it to be evicted"), ([], ["b"], "'b' was evicted, exp")],
)
def test_wrong_eviction_is_told(
    perf_cache: PerfCache, evicted: list[str], kept: list[str], why: str
) -> None:
    load = perf_cache.count(echo)
    answer = functools.lru_cache(maxsize=2)(load)
    with pytest.raises(CheckError, match=why):
        perf_cache.assert_evicts(
            answer, ["a", "b", "a", "c"], load=load, evicted=evicted, kept=kept
        )


@pytest.mark.asyncio
async def test_eviction_goes_by_an_injected_clock(perf_cache: PerfCache, clock: FakeClock) -> None:
    load = perf_cache.count(echo_later)
    answer = cached(Cache(max_size=2, policy="lru", clock=clock))(load)
    began = clock()
    await perf_cache.assert_evicts(
        answer, "abc", load=load, evicted="a", kept="bc", between=lambda: clock.advance(1)
    )
    assert clock() - began == 6


def test_eviction_needs_an_expectation(perf_cache: PerfCache) -> None:
    load = perf_cache.count(echo)
    with pytest.raises(UsageError, match="expected keys in evicted= or kept="):
        perf_cache.assert_evicts(load, "abc", load=load)
