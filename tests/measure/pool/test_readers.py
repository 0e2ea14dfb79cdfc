"""Pools that only tell their counts."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from pytest_agentperf.core.errors import CheckError, UsageError
from pytest_agentperf.measure.pool.door import PerfPool, Pooling

Counts = dict[str, object]


@dataclass
class Told:
    """A pool of the user's."""

    counts: Counts = field(default_factory=dict)

    def stats(self) -> Counts:
        return dict(self.counts)


def full() -> Told:
    return Told({"max_size": 4, "in_use": 1, "requests": 10, "created": 1, "waits": 0})


def test_counters_are_differences_over_the_block(perf_pool: PerfPool) -> None:
    pool = full()
    with perf_pool(pool) as use:
        pool.counts.update(in_use=3, requests=30, created=3, waits=5)
    assert (use.acquired, use.created, use.waits, use.in_use_max) == (20, 2, 5, 3)
    assert use.reuse_rate == 0.9
    assert use.utilization_max == 0.75


def test_what_remains_in_use_was_not_returned(perf_pool: PerfPool) -> None:
    pool = full()
    with perf_pool(pool) as use:
        pool.counts.update(in_use=3, requests=12)
    assert len(use.leaked) == 2
    with pytest.raises(CheckError, match="2 connections of Told were not returned when the block"):
        use.assert_no_leaks()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_peak_inside_the_block_is_seen_by_looking_again_and_again(perf_pool: PerfPool) -> None:
    pool, looks = full(), []

    def read() -> Counts:
        looks.append(threading.current_thread().name)
        return pool.stats()

    with perf_pool(read, every="1ms") as use:
        pool.counts.update(in_use=4)
        seen = len(looks)
        wait_until(lambda: len(looks) > seen + 2)
        pool.counts.update(in_use=1, requests=11)
    assert use.in_use_max == 4
    assert use.exhausted > 0
    assert use.notes == ("a thread read what was in use every 1 ms; shorter peaks are not seen",)
    assert "perf_pool" in looks
    assert all(thread.name != "perf_pool" for thread in threading.enumerate())


def test_thread_that_looks_ends_also_after_an_error(perf_pool: PerfPool) -> None:
    with pytest.raises(KeyError), perf_pool(full()):
        raise KeyError
    assert all(thread.name != "perf_pool" for thread in threading.enumerate())


def test_looking_can_be_switched_off(perf_pool: PerfPool) -> None:
    with perf_pool(pool := full(), every=None) as use:
        assert all(thread.name != "perf_pool" for thread in threading.enumerate())
        pool.counts.update(requests=11)
    assert use.notes == ("what was in use was read before and after the block alone",)


@pytest.mark.parametrize("every", [0, "0s"])
def test_time_between_looks_must_be_above_zero(perf_pool: PerfPool, every: str | int) -> None:
    with pytest.raises(UsageError, match="expected a time above 0"):
        perf_pool(full(), every=every)


def test_counter_that_runs_backwards_is_a_sentence(perf_pool: PerfPool, pooling: Pooling) -> None:
    pool = full()
    with perf_pool(pool) as use:
        pool.counts.update(requests=3, created=2)
    with pytest.raises(CheckError, match="'acquired' ran backwards, from 10 to 3: the pool was re"):
        _ = use.acquired
    assert use.created == 1
    (measured,) = pooling.measurements()
    assert "ran backwards" in measured.unknown["pool_reuse_rate"]
    assert any("ran backwards" in note for note in measured.notes)


def test_pool_that_cannot_be_read_at_the_end_is_unknown(perf_pool: PerfPool) -> None:
    answers = [{"in_use": 0, "acquired": 1}]

    def read() -> Counts:
        return dict(answers.pop())  # IndexError the second time

    with perf_pool(read, every=None) as use:
        pass
    with pytest.raises(CheckError, match=r"could not be read at the end .IndexError"):
        _ = use.acquired


def test_wait_is_zero_where_fewer_than_one_in_twenty_waited(
    perf_pool: PerfPool, pooling: Pooling
) -> None:
    for waits in (0, 1, 2):
        pool = full()
        with perf_pool(pool, f"{waits}"):
            pool.counts.update(requests=50, waits=waits)  # 40 more
    values = [measured.values.get("pool_wait_p95") for measured in pooling.measurements()]
    assert values == [0.0, 0.0, None]
    reason = pooling.measurements()[-1].unknown["pool_wait_p95"]
    assert reason == "the counts of Told '2' do not tell how long callers waited"


def test_mean_wait_stands_in_the_finding(perf_pool: PerfPool) -> None:
    pool = Told({"capacity": 4, "in_use": 0, "acquired": 0, "waits": 0, "wait_seconds": 0.0})
    with perf_pool(pool) as use:
        pool.counts.update(acquired=10, waits=4, wait_seconds=2.0)
    (finding,) = [found for found in use.findings if found.cause == "pool_wait"]
    assert str(finding).startswith(
        "4 of 10 callers waited for a connection of Told (500 ms on average); "
    )


@pytest.mark.parametrize(
    ("counts", "in_use"),
    [
        ({"in_use": 2, "active": 9}, 2),
        ({"active": 2}, 2),
        ({"checked_out": 2}, 2),
        ({"pool_size": 5, "pool_available": 3}, 2),
        ({"capacity": 5, "free": 3}, 2),
    ],
)
def test_what_is_in_use_has_many_names(perf_pool: PerfPool, counts: Counts, in_use: int) -> None:
    with perf_pool(lambda: counts, every=None) as use:
        pass
    assert use.in_use_max == in_use


def test_counts_may_be_attributes(perf_pool: PerfPool) -> None:
    def get_stats() -> object:
        return SimpleNamespace(capacity=4, in_use=2)

    pool: object = SimpleNamespace(get_stats=get_stats)
    with perf_pool(pool) as use:
        pass
    assert use.utilization_max == 0.5


def test_pool_without_a_limit_has_no_utilization(perf_pool: PerfPool, pooling: Pooling) -> None:
    with perf_pool(lambda: {"in_use": 2}, every=None) as use:
        pass
    with pytest.raises(CheckError, match="has no limit, and so no utilization"):
        _ = use.utilization_max
    use.assert_not_exhausted()  # it cannot be
    assert use.exhausted == 0
    (measured,) = pooling.measurements()
    assert "has no limit" in measured.unknown["pool_utilization_max"]


@pytest.mark.parametrize("told", [None, 3, {}, {"in_use": "2"}, {"in_use": True}, {"size": 3}])
def test_counts_that_cannot_be_understood_are_refused(perf_pool: PerfPool, told: object) -> None:
    wanted = "expected a mapping or an object with at least 'in_use' or 'acquired'"
    with pytest.raises(UsageError, match=wanted), perf_pool(lambda: told):
        pass


def test_async_reader_is_refused(perf_pool: PerfPool) -> None:
    async def read() -> Counts:
        return {}

    with pytest.raises(UsageError, match="is async; expected a function that returns the counts"):
        perf_pool(read)


@pytest.mark.parametrize("thing", [object(), 3, None, Told])
def test_what_cannot_be_read_is_an_error_that_says_what_was_looked_for(
    perf_pool: PerfPool, thing: object
) -> None:
    with pytest.raises(UsageError) as caught:
        perf_pool(thing)
    for name in ("httpx", "aiohttp", "asyncpg", "psycopg_pool", "sqlalchemy", "redis", "stats()"):
        assert name in str(caught.value)
