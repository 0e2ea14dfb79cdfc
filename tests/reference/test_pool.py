"""The pool: every scenario of the research's failure list that applies, in virtual time.

Time is virtual: the event loop jumps to its next timer, and fails a test that would wait for ever.
"""

import asyncio
import contextlib
import contextvars
import gc
import math
import threading
import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from pytest_agentperf.reference.pool import (
    ConnectFailedError,
    Lease,
    Pool,
    PoolClosedError,
    PoolFullError,
    PoolStats,
    PoolTimeoutError,
    PoolTypeError,
    PoolUsageError,
    PoolValueError,
    rule_of_thumb,
)

Run: TypeAlias = Callable[..., None]
NewLoop: TypeAlias = Callable[[], asyncio.AbstractEventLoop]


def now() -> float:
    return asyncio.get_running_loop().time()


def clock() -> float:
    try:
        return now()
    except RuntimeError:
        return 0.0


class Server:
    """Scripted connections: numbers from 1; what happens is in `events`."""

    def __init__(self, *, connect_time: float = 0.0, close_time: float = 0.0) -> None:
        self.connect_time, self.close_time = connect_time, close_time
        self.failures: list[BaseException] = []
        self.attempts = self.opened = 0
        self.open: set[int] = set()
        self.events: list[str] = []
        self.max_open = 0

    async def connect(self) -> int:
        self.attempts += 1
        await asyncio.sleep(self.connect_time)
        if self.failures:
            raise self.failures.pop(0)
        self.opened += 1
        self.open.add(self.opened)
        self.max_open = max(self.max_open, len(self.open))
        return self.opened

    async def close(self, connection: int) -> None:
        self.events.append(f"close {connection}")
        await asyncio.sleep(self.close_time)
        self.open.remove(connection)

    def pool(self, **options: Any) -> Pool[int]:
        options.setdefault("clock", clock)
        options.setdefault("rand", lambda: 0.0)
        return Pool(self.connect, self.close, **options)


async def settle(rounds: int = 20) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)


async def hold(pool: Pool[int], until: asyncio.Event, log: list[Any], name: Any) -> None:
    async with pool.acquire():
        log.append(name)
        await until.wait()


async def take(pool: Pool[int], timeout: float | None = None) -> int:  # noqa: ASYNC109
    async with pool.acquire(timeout) as connection:
        return connection


# The seeds' feature and the shape


def test_three_leases_of_five_are_active_and_none_after_their_release(run: Run) -> None:
    async def main() -> None:
        server = Server()
        pool = server.pool(min_size=2, max_size=5)
        leases = [await pool.acquire() for _ in range(3)]
        assert pool.stats().active == 3
        for lease in leases:
            lease.release()
        assert pool.stats().active == 0
        await pool.close()
        assert not server.open

    run(main())


def test_start_opens_min_size_connections(run: Run) -> None:
    async def main() -> None:
        server = Server(connect_time=1)
        async with server.pool(min_size=3, max_size=5) as pool:
            assert (pool.stats().idle, pool.stats().active, now()) == (3, 0, 1)
        assert not server.open

    run(main())


def test_start_reports_a_failed_connect_and_leaves_nothing(run: Run) -> None:
    async def main() -> None:
        server = Server()
        server.failures = [OSError("refused")] * 9
        with pytest.raises(ConnectFailedError, match=r"min_size=2.*refused"):
            async with server.pool(min_size=2):
                pass

    run(main())


def test_reuse_rate_counts_leases_that_needed_no_new_connection(run: Run) -> None:
    async def main() -> None:
        async with Server().pool() as pool:
            for _ in range(4):
                await take(pool)
            stats = pool.stats()
            assert (stats.created, stats.leases, stats.reused, stats.reuse_rate) == (1, 4, 3, 0.75)

    run(main())


def test_lease_can_be_entered_after_it_was_awaited(run: Run) -> None:
    async def main() -> None:
        async with Server().pool() as pool:
            lease = await pool.acquire()
            async with lease as connection:
                assert connection == lease.connection == 1
            assert pool.stats().active == 0
            with pytest.raises(PoolUsageError, match="holds no connection"):
                _ = lease.connection

    run(main())


def test_last_used_connection_is_leased_first(run: Run) -> None:
    async def main() -> None:
        async with Server().pool(min_size=3) as pool:
            leases = [await pool.acquire() for _ in range(3)]
            for lease in leases:
                lease.release()
            assert await take(pool) == leases[2]._pool._free[-1].connection

    run(main())


def test_near_capacity_is_reported_once_until_calm(run: Run) -> None:
    async def main() -> None:
        reports: list[PoolStats] = []
        async with Server().pool(max_size=10, on_near_capacity=reports.append) as pool:
            leases = [await pool.acquire() for _ in range(8)]
            await settle()
            assert not reports  # 80 %
            leases.append(await pool.acquire())
            await settle()
            assert [report.utilization for report in reports] == [0.9]
            for _ in range(3):  # between 80 and 90 %: no news
                leases.pop().release()
                leases.append(await pool.acquire())
            await settle()
            assert len(reports) == 1
            leases.pop().release()
            leases.pop().release()  # 70 %: calm
            leases += [await pool.acquire() for _ in range(3)]
            await settle()
            assert len(reports) == 2
            for lease in leases:
                lease.release()

    run(main())


def test_near_capacity_callback_that_raises_loses_no_lease(run: Run) -> None:
    async def main() -> None:
        problems: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: problems.append(context["exception"]))

        def fail(_stats: PoolStats) -> None:
            raise ZeroDivisionError

        async with Server().pool(max_size=1, on_near_capacity=fail) as pool:
            await take(pool)
            await settle()
            assert [type(problem) for problem in problems] == [ZeroDivisionError]
            assert await take(pool) == 1

    run(main())


def test_recommended_size_follows_littles_law(run: Run) -> None:
    async def main() -> None:
        async with Server().pool(max_size=10) as pool:
            with pytest.raises(PoolUsageError, match="no lease was measured"):
                pool.recommended_size()

            async def work() -> None:
                async with pool.acquire():
                    await asyncio.sleep(0.5)

            tasks = []
            for _ in range(160):  # 8 a second, 0.5 s each: 4 busy on average
                tasks.append(asyncio.create_task(work()))
                await asyncio.sleep(0.125)
            await asyncio.gather(*tasks)
            # 160 leases of 0.5 s in 20.375 s: R = 3.93; R + 2 √R = 7.9
            assert pool.stats().lease_time == pytest.approx(0.5)
            assert pool.recommended_size() == 8
            assert pool.recommended_size(spare=0) == 4

    run(main())


def test_rule_of_thumb_is_load_plus_buffer() -> None:
    assert rule_of_thumb(100, 0.25, buffer=5) == 30
    assert rule_of_thumb(0, 0, buffer=0) == 1
    with pytest.raises(PoolValueError, match="buffer=-1"):
        rule_of_thumb(1, 1, buffer=-1)


def test_repr_shows_the_whole_state(run: Run) -> None:
    async def main() -> None:
        server = Server()
        pool = server.pool(min_size=1, max_size=4)
        assert repr(pool).startswith(
            "<Pool new, size 1–4 × 1: PoolStats(active=0, idle=0, total=0, "
        )
        async with pool:
            lease = await pool.acquire()
            text = repr(pool)
            for part in ("open", "active=1", "waiting=0", "capacity=4", "created=1", "closed={}"):
                assert part in text
            assert repr(lease) == "<Lease of 1>"
            lease.release()
            assert repr(lease) == "<Lease of nothing>"
        assert repr(pool).startswith("<Pool closed")
        assert "closed={'closed': 1}" in repr(pool)

    run(main())


# A. Waiting for a slot


def test_woken_waiter_cancelled_before_it_runs_passes_the_slot_on(run: Run) -> None:  # 1, 2, 3, 4
    async def main() -> None:
        async with Server().pool(max_size=1) as pool:
            lease = await pool.acquire()
            first, second = (asyncio.create_task(take(pool)) for _ in range(2))
            await settle()
            lease.release()
            first.cancel()  # granted in this very tick
            assert await second == 1
            assert first.cancelled()
            assert (pool.stats().active, pool.stats().cancelled) == (0, 1)

    run(main())


def test_cancel_then_release_in_one_tick_serves_the_next_waiter(run: Run) -> None:  # 4, 7
    async def main() -> None:
        async with Server().pool(max_size=1) as pool:
            lease = await pool.acquire()
            first, second = (asyncio.create_task(take(pool)) for _ in range(2))
            await settle()
            first.cancel()
            lease.release()
            assert await second == 1
            assert pool.stats().waiting == 0

    run(main())


def test_all_waiters_cancelled_leave_the_pool_usable(run: Run) -> None:  # 7, 8
    async def main() -> None:
        async with Server().pool(max_size=1) as pool:
            lease = await pool.acquire()
            tasks = [asyncio.create_task(take(pool)) for _ in range(5)]
            await settle()
            for task in tasks:
                task.cancel()
            lease.release()
            await asyncio.wait(tasks)
            assert await take(pool) == 1
            assert (pool.stats().cancelled, pool.stats().waiting) == (5, 0)

    run(main())


def test_newcomer_never_overtakes_a_woken_waiter(run: Run) -> None:  # 5, 9
    async def main() -> None:
        async with Server().pool(max_size=1) as pool:
            lease = await pool.acquire()
            waiter = asyncio.create_task(take(pool))
            await settle()
            lease.release()
            with pytest.raises(PoolTimeoutError):
                await take(pool, timeout=0)
            assert pool.stats().active == 1  # over-grant would be 2
            await waiter

    run(main())


def test_waiters_are_served_in_order_of_arrival(run: Run) -> None:  # 9, 10
    async def main() -> None:
        log: list[int] = []

        async def visit(number: int) -> None:
            async with pool.acquire():
                log.append(number)
                await asyncio.sleep(1)

        async with Server().pool(max_size=3) as pool:
            await asyncio.gather(*(visit(number) for number in range(30)))
        assert log == list(range(30))

    run(main())


def test_workers_that_reacquire_at_once_take_equal_turns(run: Run) -> None:  # 9
    async def main() -> None:
        turns = [0] * 100

        async def work(number: int) -> None:
            while now() < 100:
                async with pool.acquire():
                    turns[number] += 1
                    await asyncio.sleep(0.1)

        async with Server().pool(max_size=10) as pool:
            await asyncio.gather(*(work(number) for number in range(100)))
        assert max(turns) - min(turns) <= 1

    run(main())


def test_wait_for_around_a_granted_acquire_loses_nothing(run: Run) -> None:  # 11
    async def main() -> None:
        async with Server().pool(max_size=1) as pool:
            lease = await pool.acquire()

            async def wait() -> Lease[int]:
                return await pool.acquire()

            task = asyncio.create_task(asyncio.wait_for(wait(), 1))
            asyncio.get_running_loop().call_at(1, lease.release)
            with contextlib.suppress(TimeoutError):
                (await task).release()
            await settle()
            gc.collect()
            assert pool.stats().active == 0

    run(main())


def test_cancellation_of_a_waiter_is_not_swallowed(run: Run) -> None:  # 12
    async def main() -> None:
        async with Server().pool(max_size=1) as pool:
            async with pool.acquire():
                with pytest.raises(TimeoutError) as caught:
                    async with asyncio.timeout(3):
                        await take(pool)
                assert now() == 3
                assert not isinstance(caught.value, PoolTimeoutError)
            assert pool.stats().waiting == 0

    run(main())


def test_release_skips_a_timed_out_waiter_and_keeps_the_connection(run: Run) -> None:  # 13
    async def main() -> None:
        async with Server().pool(max_size=1) as pool:
            lease = await pool.acquire()
            loop = asyncio.get_running_loop()
            late = asyncio.create_task(take(pool, timeout=1))
            patient = asyncio.create_task(take(pool))
            await settle()
            loop.call_at(1, lease.release)
            assert await patient == 1
            with pytest.raises(PoolTimeoutError):
                await late
            assert (pool.stats().total, pool.stats().closed) == (1, {})

    run(main())


def test_release_between_no_idle_and_enqueue_is_impossible_as_taking_is_one_step(
    run: Run,
) -> None:  # 14
    async def main() -> None:
        async with Server().pool(max_size=1) as pool:
            lease = await pool.acquire()
            waiter = pool.acquire()
            step = waiter.__aenter__()
            future = step.send(None)  # has queued when it yields for the first time
            assert future is next(iter(pool._waiters))
            lease.release()
            with pytest.raises(StopIteration) as done:
                step.send(None)
            assert done.value.value == 1
            waiter.release()

    run(main())


def test_cancel_after_the_grant_and_before_the_lease_returns_the_connection(run: Run) -> None:  # 15
    async def main() -> None:
        server = Server(connect_time=1)
        async with server.pool(max_size=1) as pool:
            task = asyncio.create_task(take(pool))
            await settle()
            asyncio.get_running_loop().call_at(
                1, lambda: asyncio.get_running_loop().call_soon(task.cancel)
            )
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await take(pool) == 1
            assert pool.stats().active == 0

    run(main())


def test_many_cancelled_waiters_cost_linear_time_and_leave_no_memory(run: Run) -> None:  # 16, 21
    async def main() -> None:
        async with Server().pool(max_size=1) as pool, pool.acquire():
            for _ in range(50):
                tasks = [asyncio.create_task(take(pool, timeout=99)) for _ in range(40)]
                await settle(2)
                for task in reversed(tasks):
                    task.cancel()
                await asyncio.wait(tasks)
            assert pool.stats().cancelled == 2000
            assert not pool._waiters

    run(main())


def test_timed_out_waiters_leave_no_memory(run: Run) -> None:  # 21
    async def main() -> None:
        async with Server().pool(max_size=1, acquire_timeout=1) as pool:
            async with pool.acquire():
                for _ in range(20):
                    tasks = [asyncio.create_task(take(pool)) for _ in range(50)]
                    await asyncio.wait(tasks)
                    assert all(isinstance(task.exception(), PoolTimeoutError) for task in tasks)
                assert not pool._waiters
            assert pool.stats().timeouts == 1000

    run(main())


def test_deadlines_in_any_order_are_met_with_few_searches_of_a_long_queue(run: Run) -> None:  # 20
    async def main() -> None:
        ends: list[float] = []
        lateness: list[float] = []

        async def wait(timeout: float) -> None:  # noqa: ASYNC109
            with pytest.raises(PoolTimeoutError):
                await take(pool, timeout)
            ends.append(now())
            lateness.append(now() - timeout)

        async with Server().pool(max_size=1) as pool, pool.acquire():
            await asyncio.gather(*(wait(2 - number * 1e-6) for number in range(1000)))
        assert min(lateness) > -1e-9
        assert max(lateness) < 1.1e-3
        assert len(set(ends)) <= 3

    run(main())


def test_task_that_waits_while_it_holds_a_lease_is_warned_of_in_debug_mode(run: Run) -> None:  # 18
    async def main() -> None:
        asyncio.get_running_loop().set_debug(True)
        async with Server().pool(max_size=1) as pool:
            async with pool.acquire():
                with (
                    pytest.warns(RuntimeWarning, match=r"Task-\d+.* while it holds one") as caught,
                    pytest.raises(PoolTimeoutError),
                ):
                    await take(pool, timeout=1)
                assert caught[0].filename == __file__
                with pytest.raises(PoolTimeoutError):  # another task may wait
                    await asyncio.create_task(take(pool, timeout=1))
            assert await take(pool) == 1

    run(main())


def test_nested_warning_as_an_error_leaves_the_queue_sound(run: Run) -> None:  # 18
    async def main() -> None:
        asyncio.get_running_loop().set_debug(True)
        async with Server().pool(max_size=1) as pool:
            async with pool.acquire():
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    with pytest.raises(RuntimeWarning):
                        await take(pool)
            assert pool.stats().waiting == 0
            assert await take(pool) == 1

    run(main())


def test_acquire_times_out_with_the_statistics_in_its_message(run: Run) -> None:  # 19
    async def main() -> None:
        async with Server().pool(max_size=1, acquire_timeout=2) as pool:
            async with pool.acquire():
                with pytest.raises(
                    PoolTimeoutError,
                    match=r"in time; PoolStats\(active=1, idle=0, .*waiting=1",
                ):
                    await take(pool)
            stats = pool.stats()
            assert (now(), stats.timeouts, stats.waiting) == (2, 1, 0)
            assert stats.wait_max == pytest.approx(2)

    run(main())


def test_max_waiting_refuses_one_more(run: Run) -> None:  # 19
    async def main() -> None:
        async with Server().pool(max_size=1, max_waiting=2) as pool:
            lease = await pool.acquire()
            tasks = [asyncio.create_task(take(pool)) for _ in range(2)]
            await settle()
            with pytest.raises(PoolFullError, match="max_waiting=2"):
                await take(pool)
            lease.release()
            assert await asyncio.gather(*tasks) == [1, 1]

    run(main())


def test_max_waiting_of_zero_still_waits_for_connections_that_are_being_opened(
    run: Run,
) -> None:  # 19
    async def main() -> None:
        async with Server().pool(max_size=2, max_waiting=0) as pool:
            leases = [await pool.acquire() for _ in range(2)]
            with pytest.raises(PoolFullError):
                await take(pool)
            for lease in leases:
                lease.release()

    run(main())


@pytest.mark.parametrize("default", [None, 10])
def test_short_timeout_is_not_delayed_by_a_long_one_ahead(
    run: Run, default: float | None
) -> None:  # 20
    async def main() -> None:
        ends: dict[float, float] = {}

        async def wait(timeout: float | None, name: float) -> None:  # noqa: ASYNC109
            with pytest.raises(PoolTimeoutError):
                await take(pool, timeout)
            ends[name] = now()

        async with Server().pool(max_size=1, acquire_timeout=default) as pool:
            async with pool.acquire():
                await asyncio.gather(*(wait(t, t) for t in (9, 1, 5, 0.5, 7)))
            assert ends == pytest.approx({9: 9, 1: 1, 5: 5, 0.5: 0.5, 7: 7}, abs=1e-5)
            if default:
                async with pool.acquire():
                    await asyncio.gather(wait(None, 10), wait(2, 2))
                assert (ends[10], ends[2]) == (19, 11)

    run(main())


def test_infinite_timeout_overrides_the_default(run: Run) -> None:
    async def main() -> None:
        async with Server().pool(max_size=1, acquire_timeout=1) as pool:
            lease = await pool.acquire()
            asyncio.get_running_loop().call_later(50, lease.release)
            assert await take(pool, timeout=math.inf) == 1
            assert now() == 50

    run(main())


def test_waits_are_measured(run: Run) -> None:
    async def main() -> None:
        async with Server().pool(max_size=1) as pool:
            lease = await pool.acquire()
            asyncio.get_running_loop().call_later(3, lease.release)
            await asyncio.gather(take(pool), take(pool))
            stats = pool.stats()
            assert (stats.wait_max, stats.wait_total) == (3, 6)

    run(main())


# B. Connection life


def test_lease_cancelled_in_the_middle_of_a_command_breaks_its_connection(
    run: Run,
) -> None:  # 22, 23
    async def main() -> None:
        server = Server()
        async with server.pool(max_size=1, is_broken=lambda c, e: False) as pool:
            task = asyncio.create_task(hold(pool, asyncio.Event(), [], 0))
            await settle()
            task.cancel()
            assert await take(pool) == 2
            assert pool.stats().closed == {"broken": 1}

    run(main())


@pytest.mark.parametrize(
    ("error", "is_kept"),
    [
        (ValueError("tool error"), True),
        (OSError("reset by peer"), False),
        (EOFError(), False),
        (TimeoutError(), False),
        (PoolTimeoutError("of another pool"), True),
    ],
)
def test_error_in_the_block_breaks_the_connection_only_if_it_is_of_the_connection(
    run: Run, error: Exception, *, is_kept: bool
) -> None:
    async def main() -> None:
        async with Server().pool() as pool:
            with pytest.raises(type(error)):
                async with pool.acquire():
                    raise error
            await settle()
            assert pool.stats().closed == ({} if is_kept else {"broken": 1})

    run(main())


def test_is_broken_is_asked_at_return_and_before_each_lease(run: Run) -> None:
    async def main() -> None:
        asked: list[tuple[int, BaseException | None]] = []
        broken: set[int] = set()

        def is_broken(connection: int, error: BaseException | None) -> bool:
            asked.append((connection, error))
            return connection in broken

        async with Server().pool(is_broken=is_broken) as pool:
            await take(pool)
            assert asked == [(1, None)]
            broken.add(1)  # dies while idle
            assert await take(pool) == 2
            error = KeyError()
            with contextlib.suppress(KeyError):
                async with pool.acquire() as connection:
                    broken.add(connection)
                    raise error
            assert asked[-1] == (2, error)
            await settle()
            assert pool.stats().closed == {"broken": 2}

    run(main())


def test_is_broken_that_raises_counts_as_broken_and_hides_no_error(run: Run) -> None:
    async def main() -> None:
        def is_broken(connection: int, error: BaseException | None) -> bool:
            raise ZeroDivisionError

        async with Server().pool(is_broken=is_broken) as pool:
            with pytest.raises(KeyError):
                async with pool.acquire():
                    raise KeyError
            await settle()
            stats = pool.stats()
            assert (stats.closed, stats.errors) == ({"broken": 1}, 1)
            assert stats.last_error == "ZeroDivisionError()"

    run(main())


def test_connect_survives_the_cancel_of_its_caller_and_serves_the_next(
    run: Run,
) -> None:  # 24, 36, 39
    async def main() -> None:
        server = Server(connect_time=5)
        async with server.pool(max_size=1) as pool:
            first = asyncio.create_task(take(pool))
            await asyncio.sleep(1)
            first.cancel()
            assert await take(pool) == 1
            assert (now(), server.attempts) == (5, 1)

    run(main())


def test_connect_of_a_cancelled_caller_ends_idle(run: Run) -> None:  # 24, 39
    async def main() -> None:
        server = Server(connect_time=5)
        async with server.pool(max_size=1) as pool:
            first = asyncio.create_task(take(pool))
            await asyncio.sleep(1)
            first.cancel()
            await asyncio.sleep(9)
            assert (pool.stats().idle, pool.stats().active) == (1, 0)

    run(main())


def test_two_cancelled_connects_do_not_kill_a_pool_of_two(run: Run) -> None:  # 36
    async def main() -> None:
        server = Server()
        server.failures = [asyncio.CancelledError(), asyncio.CancelledError()]
        async with server.pool(max_size=2) as pool:
            results = await asyncio.gather(take(pool), take(pool), return_exceptions=True)
            assert [type(result) for result in results] == [ConnectFailedError] * 2
            assert await take(pool) == 1
            assert pool.stats().errors == 2

    run(main())


def test_cancel_during_a_health_check_leaks_nothing(run: Run) -> None:  # 25
    async def main() -> None:
        async def validate(connection: int) -> None:
            await asyncio.sleep(5)

        async with Server().pool(max_size=1, validate=validate, validate_after=1) as pool:
            await take(pool)
            await asyncio.sleep(2)
            task = asyncio.create_task(take(pool))
            await asyncio.sleep(1)
            task.cancel()
            await settle()
            assert pool.stats().cancelled == 1
            assert await take(pool) == 1
            assert now() == 7

    run(main())


def test_cancel_during_release_cannot_interrupt_the_reset(run: Run) -> None:  # 26, 35
    async def main() -> None:
        resets: list[int] = []

        async def reset(connection: int) -> None:
            await asyncio.sleep(2)
            resets.append(connection)

        async with Server().pool(max_size=1, reset=reset) as pool:
            task = asyncio.create_task(take(pool))
            await asyncio.sleep(0.5)
            task.cancel()
            await settle()
            assert await take(pool) == 1
            assert resets == [1]
            assert now() == 2

    run(main())


def test_reset_runs_before_the_next_lease_and_a_failed_one_closes(run: Run) -> None:  # 26, 27
    async def main() -> None:
        async def reset(connection: int) -> bool:
            if connection == 2:
                raise OSError
            return connection > 2

        async with Server().pool(max_size=1, reset=reset) as pool:
            assert [await take(pool) for _ in range(4)] == [1, 2, 3, 3]
            stats = pool.stats()
            assert (stats.closed, stats.errors) == ({"broken": 2}, 1)

    run(main())


def test_second_release_warns_and_changes_nothing(run: Run) -> None:  # 28
    async def main() -> None:
        async with Server().pool() as pool:
            lease, other = await pool.acquire(), await pool.acquire()
            lease.release()
            with pytest.warns(RuntimeWarning, match="without being held"):
                lease.release()
            assert (pool.stats().active, pool.stats().idle) == (1, 1)
            pool.release(other)

    run(main())


def test_release_within_the_block_is_enough(run: Run) -> None:  # 28
    async def main() -> None:
        async with Server().pool() as pool:
            lease = await pool.acquire()
            async with lease:
                lease.release()
            assert (pool.stats().active, pool.stats().idle) == (0, 1)

    run(main())


def test_all_connections_returned_broken_are_replaced(run: Run) -> None:  # 29
    async def main() -> None:
        async with Server().pool(max_size=3) as pool:
            leases = [await pool.acquire() for _ in range(3)]
            for lease in leases:
                lease.release(broken=True)
            assert sorted(await asyncio.gather(*(take(pool) for _ in range(3)))) == [4, 5, 6] or (
                pool.stats().closed == {"broken": 3}
            )

    run(main())


def test_waiters_get_new_connections_when_all_come_back_broken(run: Run) -> None:  # 29
    async def main() -> None:
        async with Server(close_time=1).pool(max_size=2) as pool:
            leases = [await pool.acquire() for _ in range(2)]
            tasks = [asyncio.create_task(take(pool)) for _ in range(4)]
            await settle()
            for lease in leases:
                lease.release(broken=True)
            assert set(await asyncio.gather(*tasks)) <= {3, 4}

    run(main())


@pytest.mark.parametrize("reason", ["broken", "lifetime"])
def test_pool_refills_to_min_size(run: Run, reason: str) -> None:  # 30
    async def main() -> None:
        server = Server()
        options = {"max_lifetime": 10.0} if reason == "lifetime" else {}
        async with server.pool(min_size=3, max_size=5, **options) as pool:
            if reason == "broken":
                for lease in [await pool.acquire() for _ in range(3)]:
                    lease.release(broken=True)
                await settle()
            else:
                await asyncio.sleep(10.5)
            stats = pool.stats()
            assert (stats.idle, stats.created, stats.closed) == (3, 6, {reason: 3})

    run(main())


def test_refill_goes_on_after_failed_connects(run: Run) -> None:  # 30, 41
    async def main() -> None:
        server = Server()
        async with server.pool(min_size=1, max_size=2, backoff=1) as pool:
            server.failures = [OSError()] * 3
            (await pool.acquire()).release(broken=True)
            await asyncio.sleep(6.9)  # 1 + 2 + 4 s of backoff
            assert pool.stats().total == 0
            await asyncio.sleep(0.2)
            assert (pool.stats().idle, server.attempts) == (1, 5)

    run(main())


def test_lifetime_of_a_connection_that_is_never_idle_is_enforced(run: Run) -> None:  # 31
    async def main() -> None:
        used: set[int] = set()

        async def work() -> None:
            while now() < 35:
                async with pool.acquire() as connection:
                    used.add(connection)
                    await asyncio.sleep(1)

        async with Server().pool(max_size=1, max_lifetime=10) as pool:
            await asyncio.gather(work(), work())
            assert len(used) == 4

    run(main())


def test_connection_that_was_never_used_expires(run: Run) -> None:  # 32
    async def main() -> None:
        server = Server(connect_time=1)
        async with server.pool(max_size=2, idle_timeout=5) as pool:
            task = asyncio.create_task(take(pool))
            await settle()
            task.cancel()
            await asyncio.sleep(5.9)
            assert pool.stats().idle == 1
            await asyncio.sleep(0.2)
            assert pool.stats().closed == {"idle": 1}
            assert not server.open

    run(main())


def test_idle_connections_expire_down_to_min_size_the_coldest_first(run: Run) -> None:
    async def main() -> None:
        server = Server()
        async with server.pool(min_size=1, max_size=4, idle_timeout=10) as pool:
            leases = [await pool.acquire() for _ in range(4)]
            for lease in leases:
                lease.release()
                await asyncio.sleep(1)
            await asyncio.sleep(30)
            numbers = [1, 2, 3]
            assert server.events == [f"close {number}" for number in numbers]
            assert pool.stats().idle == 1

    run(main())


def test_idle_pool_has_no_timer_at_its_floor(run: Run) -> None:
    async def main() -> None:
        async with Server().pool(min_size=2, idle_timeout=1) as pool:
            await asyncio.gather(take(pool), take(pool))
            await asyncio.sleep(10)
            scheduled: list[asyncio.TimerHandle] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
            assert not [handle for handle in scheduled if not handle.cancelled()]

    run(main())


def test_connection_leased_for_long_is_idle_only_from_its_return(run: Run) -> None:
    async def main() -> None:
        async with Server().pool(max_size=2, idle_timeout=5) as pool:
            async with pool.acquire():
                await take(pool)
                await asyncio.sleep(20)
            assert pool.stats().closed == {"idle": 1}
            await asyncio.sleep(4.9)
            assert pool.stats().idle == 1
            await asyncio.sleep(0.2)
            assert pool.stats().closed == {"idle": 2}

    run(main())


def test_lifetimes_are_jittered_so_that_all_do_not_expire_together(run: Run) -> None:  # 33
    async def main() -> None:
        numbers = iter([0.0, 0.5, 1.0])
        server = Server()
        pool = server.pool(min_size=3, max_lifetime=100, rand=lambda: next(numbers, 0.0))
        async with pool:
            ends = sorted(entry.expires for entry in pool._entries)
            assert ends == pytest.approx([97.5, 98.75, 100])

    run(main())


def test_expired_connection_is_not_leased_even_if_its_timer_is_late(
    run: Run, new_loop: NewLoop
) -> None:
    async def main() -> None:
        async with Server().pool(max_lifetime=10) as pool:
            await take(pool)
            loop: Any = asyncio.get_running_loop()
            loop.sleep_through(11)
            assert await take(pool) == 2

    run(main())


@pytest.mark.parametrize("close_time", [0, 3])
def test_closing_connections_count_against_max_size(run: Run, close_time: float) -> None:  # 34
    async def main() -> None:
        server = Server(close_time=close_time)
        async with server.pool(max_size=2) as pool:
            for _ in range(3):
                for lease in [await pool.acquire() for _ in range(2)]:
                    lease.release(broken=True)
            assert server.max_open == 2

    run(main())


def test_failing_close_frees_its_slot_and_is_counted(run: Run) -> None:  # 34
    async def main() -> None:
        async def close(connection: int) -> None:
            raise OSError("already gone")

        server = Server()
        pool = Pool(server.connect, close, max_size=1, clock=clock)
        (await pool.acquire()).release(broken=True)
        assert await take(pool) == 2
        assert pool.stats().errors == 1
        await pool.close()

    run(main())


def test_hanging_close_frees_its_slot_after_connect_timeout(run: Run) -> None:  # 34
    async def main() -> None:
        async with Server(close_time=1000).pool(max_size=1, connect_timeout=5) as pool:
            (await pool.acquire()).release(broken=True)
            assert await take(pool) == 2
            assert now() == 5

    run(main())


def test_health_check_runs_only_after_validate_after(run: Run) -> None:
    async def main() -> None:
        checked: list[float] = []

        async def validate(connection: int) -> bool:
            checked.append(now())
            return now() < 5

        async with Server().pool(max_size=2, validate=validate, validate_after=1) as pool:
            for _ in range(3):
                await take(pool)
            assert not checked
            await asyncio.sleep(1)
            assert await take(pool) == 1
            assert checked == [1]
            await asyncio.sleep(9)
            assert await take(pool) == 2  # the check failed
            assert pool.stats().closed == {"broken": 1}

    run(main())


def test_health_check_counts_against_the_acquire_timeout(run: Run) -> None:
    async def main() -> None:
        async def validate(connection: int) -> None:
            await asyncio.sleep(8)

        async with Server().pool(max_size=1, validate=validate, validate_after=0) as pool:
            await take(pool)
            with pytest.raises(PoolTimeoutError):
                await take(pool, timeout=2)
            assert now() == 2
            await asyncio.sleep(9)
            assert pool.stats().idle == 1

    run(main())


# C. Connecting


def test_failed_connect_fails_the_first_waiter_and_is_retried_for_the_others(
    run: Run,
) -> None:  # 37
    async def main() -> None:
        server = Server()
        cause = OSError("refused")
        server.failures = [cause]
        async with server.pool(max_size=1, backoff=3) as pool:
            results = await asyncio.gather(take(pool), take(pool), return_exceptions=True)
            assert isinstance(results[0], ConnectFailedError)
            assert results[0].__cause__ is cause
            assert results[1] == 1
            assert now() == 3

    run(main())


def test_waiter_of_a_failed_connect_may_get_a_returned_connection(run: Run) -> None:  # 37
    async def main() -> None:
        server = Server()
        async with server.pool(max_size=2, backoff=100) as pool:
            lease = await pool.acquire()
            server.failures = [OSError()]
            tasks = [asyncio.create_task(take(pool)) for _ in range(2)]
            asyncio.get_running_loop().call_later(1, lease.release)
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert results[1] == 1
            assert now() == 1

    run(main())


def test_connection_does_not_live_in_the_context_of_its_first_caller(run: Run) -> None:  # 38
    async def main() -> None:
        variable: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")
        seen: list[str] = []
        server = Server()

        async def connect() -> int:
            seen.append(variable.get())
            return await server.connect()

        pool = Pool(connect, server.close)
        variable.set("the first request")
        await take(pool)
        assert seen == ["none"]
        await pool.close()

    run(main())


def test_connects_in_progress_count_against_max_size(run: Run) -> None:  # 40
    async def main() -> None:
        server = Server(connect_time=1)
        async with server.pool(max_size=3) as pool:
            tasks = [asyncio.create_task(take(pool)) for _ in range(20)]
            await settle()
            assert (pool.stats().connecting, server.attempts) == (3, 3)
            await asyncio.gather(*tasks)
            assert server.attempts == 3

    run(main())


def test_failing_connects_back_off_up_to_a_maximum(run: Run) -> None:  # 41
    async def main() -> None:
        server = Server()
        server.failures = [OSError()] * 99
        pool = server.pool(max_size=1, backoff=1, rand=lambda: 0.0)
        tasks = [asyncio.create_task(take(pool)) for _ in range(10)]
        ends: list[float] = []
        for task in tasks:
            task.add_done_callback(lambda _task: ends.append(now()))
        await asyncio.wait(tasks)
        assert ends == [0, 1, 3, 7, 15, 31, 63, 127, 227, 327]  # from 1 to 100 s
        assert all(task.exception() for task in tasks)
        await pool.close()

    run(main())


def test_thousand_waiters_of_a_failing_server_are_no_herd(run: Run) -> None:  # 42
    async def main() -> None:
        server = Server()
        server.failures = [OSError()] * 10_000
        async with server.pool(max_size=10, acquire_timeout=1, backoff=0.1) as pool:
            tasks = [asyncio.create_task(take(pool)) for _ in range(1000)]
            await asyncio.wait(tasks)
            assert all(task.exception() for task in tasks)
            assert server.attempts <= 14  # 10 at first, then after 0.1, 0.3 and 0.7 s
            server.failures.clear()
            assert await take(pool) == 1
            await asyncio.gather(*(take(pool) for _ in range(5)))

    run(main())


def test_connect_timeout_is_a_failure(run: Run) -> None:
    async def main() -> None:
        async with Server(connect_time=100).pool(max_size=1, connect_timeout=2) as pool:
            with pytest.raises(ConnectFailedError, match="TimeoutError"):
                await take(pool)
            assert now() == 2

    run(main())


def test_connect_that_is_no_async_function_fails_with_its_type_error(run: Run) -> None:
    async def main() -> None:
        pool: Pool[int] = Pool(lambda: 1, Server().close)  # type: ignore[arg-type, return-value]
        with pytest.raises(ConnectFailedError, match="await"):
            await take(pool)
        await pool.close()

    run(main())


# D. Close, exit, loops


def test_close_gives_up_on_leases_after_its_timeout_and_says_who_holds_them(run: Run) -> None:  # 43
    async def main() -> None:
        server = Server()
        pool = server.pool()
        until = asyncio.Event()
        task = asyncio.create_task(hold(pool, until, [], 0))
        await settle()
        where = r"held by \[<Task pending name='Task-\d+' .*test_pool.py:\d+"
        with pytest.warns(ResourceWarning, match=f"after 3 s with leases {where}"):
            await pool.close(timeout=3)
        assert now() == 3
        assert not server.open
        assert pool.stats().closed == {"forced": 1}
        until.set()
        await task  # gives back what is no longer the pool's: nothing happens
        assert (pool.stats().active, pool.stats().closed) == (0, {"forced": 1})

    run(main())


def test_close_waits_for_leases(run: Run) -> None:  # 43
    async def main() -> None:
        server = Server()
        pool = server.pool()
        lease = await pool.acquire()
        asyncio.get_running_loop().call_later(5, lease.release)
        await pool.close(timeout=10)
        assert (now(), pool.stats().closed) == (5, {"closed": 1})

    run(main())


def test_close_that_would_wait_for_a_lease_of_its_own_task_raises(run: Run) -> None:  # 43
    async def main() -> None:
        server = Server()
        pool = server.pool(min_size=2)
        await pool.start()
        async with pool.acquire():
            with pytest.raises(PoolUsageError, match="lease of its own task; release it or pass"):
                await pool.close()
            with pytest.raises(PoolClosedError):
                await take(pool)
        await pool.close()
        assert (now(), pool.stats().closed) == (0, {"closed": 2})

    run(main())


def test_pool_left_with_a_forgotten_lease_raises_instead_of_waiting(run: Run) -> None:  # 43
    async def main() -> None:
        server = Server()
        with pytest.raises(PoolUsageError, match="lease of its own task"):
            async with server.pool() as pool:
                lease = await pool.acquire()
        lease.release()
        await pool.close()
        assert not server.open

    run(main())


def test_close_waits_for_the_leases_of_other_tasks_for_ever(run: Run) -> None:  # 43
    async def main() -> None:
        server = Server(connect_time=1)
        pool = server.pool(leases_per_connection=2)
        await take(pool)  # its own lease is over
        until = asyncio.Event()
        tasks = [asyncio.create_task(hold(pool, until, [], name)) for name in range(2)]
        asyncio.get_running_loop().call_later(1_000_000, until.set)
        await settle()
        await pool.close()
        assert now() == 1_000_001
        await asyncio.gather(*tasks)

    run(main())


def test_close_fails_waiters_and_newcomers(run: Run) -> None:
    async def main() -> None:
        pool = Server().pool(max_size=1)
        lease = await pool.acquire()
        waiter = asyncio.create_task(take(pool))
        await settle()
        closing = asyncio.create_task(pool.close())
        await settle()
        with pytest.raises(PoolClosedError, match="during the wait"):
            await waiter
        with pytest.raises(PoolClosedError, match="the pool is closed"):
            await take(pool)
        with pytest.raises(PoolClosedError):
            await pool.start()
        lease.release()
        await closing
        await pool.close()  # again: nothing to do

    run(main())


def test_close_cancels_connects(run: Run) -> None:
    async def main() -> None:
        server = Server(connect_time=1000)
        pool = server.pool(min_size=2)
        task = asyncio.create_task(take(pool))
        await settle()
        await pool.close()
        assert (now(), server.opened) == (0, 0)
        with pytest.raises(PoolClosedError):
            await task

    run(main())


def test_close_waits_for_a_running_check_and_closes_its_connection(run: Run) -> None:
    async def main() -> None:
        async def reset(connection: int) -> None:
            await asyncio.sleep(2)

        server = Server()
        pool = server.pool(reset=reset)
        await take(pool)
        await pool.close()
        assert now() == 2
        assert not server.open

    run(main())


def test_close_of_an_unused_pool_is_done_at_once(run: Run) -> None:
    async def main() -> None:
        pool = Server().pool(min_size=2)
        await pool.close()
        with pytest.raises(PoolClosedError):
            await take(pool)

    run(main())


def test_program_ends_although_a_connect_hangs(new_loop: NewLoop) -> None:  # 44
    server = Server(connect_time=math.inf)

    async def main() -> None:
        pool = server.pool(connect_timeout=None)
        asyncio.create_task(take(pool))  # noqa: RUF006 - ends with the program
        await settle()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
    assert server.attempts == 1


def test_program_ends_silently_with_a_pool_left_open(
    new_loop: NewLoop, caplog: pytest.LogCaptureFixture
) -> None:  # 44
    async def main() -> None:
        pool = Server().pool(min_size=2, max_size=2)
        for number in range(4):
            asyncio.create_task(hold(pool, asyncio.Event(), [], number))  # noqa: RUF006
        await settle()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
    gc.collect()
    assert not caplog.records


def test_cancelled_close_still_closes(run: Run) -> None:  # 45
    async def main() -> None:
        server = Server(close_time=1)
        pool = server.pool(min_size=2)
        await pool.start()
        lease = await pool.acquire()
        task = asyncio.create_task(pool.close())
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        lease.release()
        await asyncio.sleep(2)
        assert not server.open

    run(main())


def test_pool_serves_a_new_loop_after_its_old_one_was_closed(new_loop: NewLoop) -> None:  # 46
    server = Server()
    pool = server.pool(max_size=2, min_size=1, max_lifetime=100)

    async def main() -> None:
        await asyncio.gather(*(take(pool) for _ in range(5)))

    for turn in range(3):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        assert pool.stats().closed.get("loop", 0) == 2 * turn
    assert pool.stats().created == 6


def test_deadlines_work_on_a_second_loop(new_loop: NewLoop) -> None:  # 47
    pool = Server().pool(max_size=1)

    async def main() -> None:
        async with pool.acquire():
            with pytest.raises(PoolTimeoutError):
                await take(pool, timeout=5)
            assert now() == 5

    async def die_waiting() -> None:
        asyncio.create_task(hold(pool, asyncio.Event(), [], 0))  # noqa: RUF006
        asyncio.create_task(take(pool, timeout=50))  # noqa: RUF006
        await settle()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(die_waiting())
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


def test_second_open_loop_is_refused(new_loop: NewLoop) -> None:  # 46
    pool = Server().pool()

    async def main() -> None:
        await take(pool)

    with asyncio.Runner(loop_factory=new_loop) as first:
        first.run(main())
        with asyncio.Runner(loop_factory=new_loop) as second:
            with pytest.raises(PoolUsageError, match="another event loop"):
                second.run(main())
            with pytest.raises(PoolUsageError, match="another event loop"):
                second.run(pool.close())


def test_loop_in_another_thread_is_refused_while_ours_runs(run: Run) -> None:  # 46
    async def main() -> None:
        async with Server().pool() as pool:
            await take(pool)
            caught: list[BaseException] = []

            def elsewhere() -> None:
                try:
                    asyncio.run(take(pool))
                except PoolUsageError as error:
                    caught.append(error)

            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()
            assert len(caught) == 1

    run(main())


def test_closed_pool_of_a_dead_loop_can_be_closed_on_another(run: Run, new_loop: NewLoop) -> None:
    pool = Server().pool()

    async def main() -> None:
        await take(pool)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
    run(pool.close())
    assert pool.stats().total == 0


def test_forgotten_lease_gives_its_slot_back_from_its_finalizer(run: Run) -> None:  # 48
    async def main() -> None:
        server = Server()
        async with server.pool(max_size=1) as pool:
            lease: Any = await pool.acquire()
            waiter = asyncio.create_task(take(pool))
            await settle()
            with pytest.warns(ResourceWarning, match="never released"):
                del lease
            assert await waiter == 2
            assert pool.stats().closed == {"broken": 1}

    run(main())


def test_hooks_may_use_the_pool(run: Run) -> None:  # 49
    async def main() -> None:
        server = Server()

        async def close(connection: int) -> None:
            assert pool.stats().closing >= 1
            if connection == 1:
                await take(pool)

        pool = Pool(server.connect, close, max_size=2)
        (await pool.acquire()).release(broken=True)
        await asyncio.sleep(1)
        assert pool.stats().created == 2
        await pool.close()

    run(main())


def test_lease_of_a_dead_loop_released_on_another_is_ignored(
    run: Run, new_loop: NewLoop
) -> None:  # 50
    pool = Server().pool(max_size=1)
    leases: list[Lease[int]] = []

    async def first() -> None:
        leases.append(await pool.acquire())

    async def second() -> None:
        assert await take(pool) == 2
        leases[0].release()
        assert (pool.stats().idle, pool.stats().active) == (1, 0)
        await pool.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(first())
    run(second())


@pytest.mark.parametrize("broken", [True, False])
def test_lease_released_when_no_loop_runs_is_harmless(
    new_loop: NewLoop, *, broken: bool
) -> None:  # 50
    pool = Server().pool(max_size=1)

    async def main() -> Lease[int]:
        lease = await pool.acquire()
        asyncio.create_task(take(pool))  # noqa: RUF006 - left to die
        await settle()
        return lease

    with asyncio.Runner(loop_factory=new_loop) as runner:
        lease = runner.run(main())
    lease.release(broken=broken)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(take(pool)) == 2


# Shared connections


def test_shared_connection_serves_k_leases_at_once(run: Run) -> None:
    async def main() -> None:
        server = Server()
        async with server.pool(max_size=2, leases_per_connection=3) as pool:
            leases = [await pool.acquire() for _ in range(6)]
            assert sorted(lease.connection for lease in leases) == [1, 1, 1, 2, 2, 2]
            assert (pool.stats().active, pool.stats().utilization, pool.stats().total) == (6, 1, 2)
            with pytest.raises(PoolTimeoutError):
                await take(pool, timeout=1)
            for lease in leases:
                lease.release()
            assert (pool.stats().active, pool.stats().idle) == (0, 2)

    run(main())


def test_shared_connections_take_turns(run: Run) -> None:
    async def main() -> None:
        async with Server().pool(min_size=3, leases_per_connection=4) as pool:
            leases = [await pool.acquire() for _ in range(6)]
            assert [lease.connection for lease in leases] == [1, 2, 3, 1, 2, 3]
            for lease in leases:
                lease.release()

    run(main())


def test_callers_share_the_connects_that_they_wait_for(run: Run) -> None:
    async def main() -> None:
        server = Server(connect_time=1)
        async with server.pool(max_size=4, leases_per_connection=8) as pool:
            await asyncio.gather(*(take(pool) for _ in range(16)))
            assert server.attempts == 2

    run(main())


def test_shared_connection_survives_the_cancel_and_timeout_of_one_lease(run: Run) -> None:
    async def main() -> None:
        async with Server().pool(max_size=1, leases_per_connection=2) as pool:
            async with pool.acquire():
                task = asyncio.create_task(hold(pool, asyncio.Event(), [], 0))
                await settle()
                task.cancel()
                with pytest.raises(TimeoutError):
                    async with pool.acquire():
                        raise TimeoutError
            assert await take(pool) == 1

    run(main())


def test_broken_shared_connection_closes_after_its_last_lease(run: Run) -> None:
    async def main() -> None:
        server = Server()
        async with server.pool(max_size=2, leases_per_connection=2) as pool:
            first, second = await pool.acquire(), await pool.acquire()
            first.release(broken=True)
            await settle()
            assert server.open == {1}
            assert await take(pool) == 2
            second.release()
            await settle()
            assert (server.open, pool.stats().closed) == ({2}, {"broken": 1})

    run(main())


# Bad input


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_size": 0}, PoolValueError, "max_size=0: expected an integer of at least 1"),
        ({"max_size": 2.5}, PoolTypeError, "max_size=2.5"),
        ({"max_size": True}, PoolTypeError, "max_size=True"),
        ({"min_size": -1}, PoolValueError, "min_size=-1"),
        ({"min_size": 11}, PoolValueError, "min_size=11: expected at most max_size=10"),
        ({"acquire_timeout": -1}, PoolValueError, "acquire_timeout=-1: expected seconds from 0"),
        ({"acquire_timeout": "1"}, PoolTypeError, "acquire_timeout='1'"),
        ({"acquire_timeout": math.nan}, PoolValueError, "acquire_timeout=nan"),
        ({"idle_timeout": 0}, PoolValueError, "idle_timeout=0: expected seconds above 0"),
        ({"max_lifetime": 0}, PoolValueError, "max_lifetime=0"),
        ({"connect_timeout": 0}, PoolValueError, "connect_timeout=0"),
        ({"connect_timeout": -3}, PoolValueError, "connect_timeout=-3"),
        ({"backoff": 0}, PoolValueError, "backoff=0"),
        ({"max_waiting": -1}, PoolValueError, "max_waiting=-1"),
        ({"leases_per_connection": 0}, PoolValueError, "leases_per_connection=0"),
        ({"validate": 1}, PoolTypeError, "validate=1: expected an async function or None"),
        ({"reset": "x"}, PoolTypeError, "reset='x'"),
        ({"clock": None}, PoolTypeError, "clock=None: expected a function"),
        ({"on_near_capacity": 3}, PoolTypeError, "on_near_capacity=3: expected a function or None"),
    ],
)
def test_bad_option_is_named_with_what_is_accepted(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    server = Server()
    with pytest.raises(error, match=message.replace(".", r"\.")):
        Pool(server.connect, server.close, **options)


def test_connect_and_close_must_be_functions() -> None:
    server = Server()
    with pytest.raises(PoolTypeError, match="connect=3: expected an async function"):
        Pool(3, server.close)  # type: ignore[arg-type]
    with pytest.raises(PoolTypeError, match="close=None: expected an async function"):
        Pool(server.connect, None)  # type: ignore[arg-type]


def test_async_is_broken_is_refused_as_it_would_always_be_true() -> None:
    async def is_broken(connection: int, error: object) -> bool:
        return False

    server = Server()
    with pytest.raises(PoolTypeError, match=r"is_broken=.*expected a function or None"):
        server.pool(is_broken=is_broken)


def test_reset_of_shared_connections_is_refused() -> None:
    server = Server()
    with pytest.raises(PoolValueError, match="reset: expected None"):
        server.pool(reset=server.close, leases_per_connection=2)


@pytest.mark.parametrize("timeout", [-1, math.nan, "2", True])
def test_bad_timeouts_are_refused(timeout: Any) -> None:
    pool = Server().pool()
    with pytest.raises((PoolValueError, PoolTypeError), match="timeout="):
        pool.acquire(timeout)
    with pytest.raises((PoolValueError, PoolTypeError), match="timeout="):
        asyncio.run(pool.close(timeout))


def test_release_takes_only_leases_of_its_pool(run: Run) -> None:
    async def main() -> None:
        async with Server().pool() as pool, Server().pool() as other:
            lease = await pool.acquire()
            with pytest.raises(PoolValueError, match="expected a lease of this pool"):
                other.release(lease)
            with pytest.raises(PoolTypeError, match=r"expected what `await pool\.acquire"):
                pool.release(lease.connection)  # type: ignore[arg-type]
            pool.release(lease)

    run(main())


def test_close_with_a_timeout_says_nothing_of_leases_when_only_a_close_is_slow(run: Run) -> None:
    async def main() -> None:
        server = Server(close_time=3)
        pool = server.pool(min_size=2)
        await pool.start()
        await pool.close(timeout=1)
        assert now() == 3
        assert not server.open

    run(main())


def test_connections_idle_since_the_same_moment_expire_down_to_min_size(run: Run) -> None:
    async def main() -> None:
        server = Server()
        async with server.pool(min_size=1, max_size=4, idle_timeout=10) as pool:
            for lease in [await pool.acquire() for _ in range(4)]:
                lease.release()
            await asyncio.sleep(100)
            assert (len(server.events), pool.stats().idle, server.opened) == (3, 1, 4)

    run(main())


@pytest.mark.parametrize("what", ["connect", "close", "wait"])
def test_task_of_a_dead_loop_that_is_collected_later_changes_no_count(
    new_loop: NewLoop, what: str
) -> None:  # 50
    server = Server(
        connect_time=9 if what == "connect" else 0, close_time=9 if what == "close" else 0
    )
    pool = server.pool(max_size=1)

    async def first() -> None:
        if what == "connect":
            tasks.append(asyncio.create_task(take(pool)))
        else:
            lease = await pool.acquire()
            if what == "close":
                lease.release(broken=True)
            else:
                tasks.append(asyncio.create_task(take(pool)))
                leases.append(lease)
        await settle()

    async def second() -> None:
        server.connect_time = server.close_time = 0
        await take(pool)
        tasks.clear()
        leases.clear()
        gc.collect()  # ends the old coroutines by GeneratorExit
        stats = pool.stats()
        assert (stats.active, stats.idle, stats.waiting) == (0, 1, 0)
        assert (stats.connecting, stats.closing, stats.total) == (0, 0, 1)
        server.open &= {server.opened}
        await pool.close()

    tasks: list[asyncio.Task[int]] = []
    leases: list[Any] = []
    loop = new_loop()
    loop.set_exception_handler(lambda _loop, _context: None)  # "Task was destroyed"
    loop.run_until_complete(first())
    loop.close()
    kept = [*pool._tasks]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.get_loop()
            kept.clear()
            runner.run(second())
