"""Counted loads: of the kind that they count, and counting all that they compute."""

import asyncio
import functools
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.cache.door import PerfCache
from pytest_agentperf.measure.cache.loads import Gate, count_load
from tests.measure.conftest import FakeClock


def test_sync_load_stays_sync_and_is_counted(perf_cache: PerfCache) -> None:
    load = perf_cache.count(int)
    assert [load("1"), load("2")] == [1, 2]
    assert load.computed.calls == 2
    assert not inspect.iscoroutinefunction(load)


@pytest.mark.asyncio
async def test_async_load_stays_async_and_is_counted(perf_cache: PerfCache) -> None:
    async def fetch(key: str, *, times: int = 1) -> str:
        """Return it."""
        await asyncio.sleep(0)
        return key * times

    load = perf_cache.count(fetch)
    assert inspect.iscoroutinefunction(load)
    assert set(await asyncio.gather(load("a"), load("b", times=2))) == {"a", "bb"}
    assert (load.computed.calls, load.computed.most_at_once) == (2, 2)
    assert (load.__name__, load.__doc__) == ("fetch", "Return it.")  # type: ignore[attr-defined]


def test_load_that_raises_is_counted_and_raises(clock: FakeClock) -> None:
    load = count_load(int, "int", clock)
    with pytest.raises(ValueError, match="invalid literal"):
        load("x")
    assert (load.computed.calls, load.computed.errors, load.computed.mean) == (1, 1, None)


def test_mean_is_of_the_computations_that_ended(clock: FakeClock) -> None:
    def work(seconds: float) -> None:
        clock.advance(abs(seconds))
        if seconds < 0:
            raise ValueError

    load = count_load(work, "work", clock)
    load(1.0)
    load(2.0)
    with pytest.raises(ValueError):  # noqa: PT011 -- has no message
        load(-8.0)
    assert (load.computed.mean, load.computed.seconds) == (1.5, 3.0)


@pytest.mark.asyncio
async def test_cancelled_load_is_counted_and_runs_no_more(perf_cache: PerfCache) -> None:
    load = perf_cache.count(asyncio.Event().wait)
    task = asyncio.ensure_future(load())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (load.computed.calls, load.computed.errors) == (1, 1)


def test_partials_and_objects_are_counted(perf_cache: PerfCache) -> None:
    class Loader:
        def __call__(self, key: str) -> str:
            return key

    assert perf_cache.count(functools.partial(int, base=2))("10") == 2
    load = perf_cache.count(Loader())
    assert load("a") == "a"
    assert load.computed.name.endswith("Loader")


def numbers() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize("load", [3, None, numbers])
def test_what_returns_no_value_is_refused(perf_cache: PerfCache, load: Any) -> None:
    with pytest.raises(UsageError, match="expected a function, sync or async"):
        perf_cache.count(load)


def test_gate_opens_when_all_have_arrived() -> None:
    gate = Gate(callers=1, seconds=3600)
    gate.wait()


@pytest.mark.asyncio
async def test_async_gate_opens_when_all_have_arrived() -> None:
    gate = Gate(callers=3, seconds=3600)
    await asyncio.gather(*(gate.wait_async() for _ in range(3)))


@pytest.mark.asyncio
async def test_gate_opens_when_its_time_is_over() -> None:
    gate = Gate(callers=2, seconds=0.001)
    gate.wait()
    await Gate(callers=2, seconds=0.001).wait_async()
