"""What every pool promises: leases, cancellation at any moment, and connects that fail."""

import asyncio
from collections.abc import Callable

from pytest_agentperf.conformance.pool_subject import SOON, Holder, PoolSuite
from pytest_agentperf.conformance.suite import expect, require, scenario
from pytest_agentperf.conformance.virtual import turns

__all__ = ["CancellationTests", "ConnectTests", "LeaseTests"]

TICKS = range(7)  # turns of the loop after which something is cancelled
SLOW = 1.0  # virtual seconds of a slow connect


class LeaseTests(PoolSuite):
    """Leases without disturbance."""

    @scenario()
    async def test_acquire_gives_what_connect_returned(self) -> None:
        """Seen in djc/bb8#59 (between connecting and handing over)."""
        pool = await self.new_pool()
        (holder,) = await pool.hold()
        holder.end()
        await turns()
        await pool.check_end()

    @scenario()
    async def test_returned_connection_is_used_again(self) -> None:
        """Seen in brettwooldridge/HikariCP#1474 (connections go and come for nothing)."""
        pool = await self.new_pool()
        for _ in range(5):
            (holder,) = await pool.hold()
            holder.end()
            await turns()
        expect(pool.server.connects, 1, "connects for five leases, one after the other")
        await pool.check_slots()

    @scenario()
    async def test_all_of_max_size_can_be_leased_at_a_time(self) -> None:
        """Seen in brettwooldridge/HikariCP#2161 (fewer connections than configured)."""
        for max_size in (1, 2, 5):
            pool = await self.new_pool(max_size)
            await pool.check_slots()

    @scenario()
    async def test_never_more_connections_than_max_size(self) -> None:
        """Seen in aio-libs/aiohttp#4936 (those being opened were not counted)."""
        for connect_time in (0.0, SLOW):
            pool = await self.new_pool(3)
            pool.server.connect_time = connect_time
            await self._work(pool.ask, 12)
            await pool.check_end()

    @scenario()
    async def test_connection_is_never_leased_to_two_callers(self) -> None:
        """Seen in redis/redis-py#2665 (one caller read the answer of another)."""
        pool = await self.new_pool(2)
        for _ in range(3):
            await self._work(pool.ask, 8)
        await pool.check_end()

    async def _work(self, ask: Callable[[], Holder], count: int) -> None:
        holders = [ask() for _ in range(count)]
        for _ in range(4 * count):
            await asyncio.sleep(SLOW / 2)
            for holder in [each for each in holders if each.is_served][::2]:
                holder.end()
            holders = [each for each in holders if not each.task.done()]
            for holder in holders[-1:]:
                if holder.is_served:
                    holder.end()

    @scenario()
    async def test_waiter_is_served_when_a_connection_comes_back(self) -> None:
        """Seen in djc/bb8#122 (a return between looking and queueing woke nobody)."""
        for ticks in TICKS:
            pool = await self.new_pool(1)
            (first,) = await pool.hold()
            waiter = pool.ask()
            await turns(ticks)
            require(not waiter.is_served, "two leases at a time, with max_size=1")
            first.end()
            await asyncio.sleep(SOON)
            text = f"a caller that came {ticks} turns of the loop before the return still waits"
            require(waiter.is_served, text)
            expect(waiter.connection is first.connection, True, "it got what was returned")  # noqa: FBT003
            waiter.end()
            await pool.check_slots()

    @scenario()
    async def test_error_in_the_block_reaches_the_caller_and_frees_the_slot(self) -> None:
        """Seen in MagicStack/asyncpg#1324 (the holder never came back)."""
        pool = await self.new_pool(1)
        for number in range(3):
            (holder,) = await pool.hold()
            error = ValueError(f"error {number}")
            holder.end(error)
            await turns()
            expect(holder.error is error, True, f"the caller got its own error ({holder.error!r})")  # noqa: FBT003
        await pool.check_slots()


class CancellationTests(PoolSuite):
    """A caller may be cancelled at any moment."""

    @scenario()
    async def test_cancelled_waiter_does_not_block_the_queue(self) -> None:
        """Seen in agronholm/anyio#1145 (the cancelled one stayed at the head)."""
        for ticks in TICKS:
            pool = await self.new_pool(1)
            (holder,) = await pool.hold()
            waiters = [pool.ask() for _ in range(3)]
            await turns(ticks)
            waiters[0].cancel()
            await turns(ticks)
            holder.end()
            await asyncio.sleep(SOON)
            served = [each for each in waiters[1:] if each.is_served]
            expect(len(served), 1, "callers served after the one before them was cancelled")
            for each in waiters:
                each.end()
            await asyncio.sleep(SOON)
            await pool.check_slots()

    @scenario()
    async def test_slot_granted_to_a_cancelled_waiter_goes_to_the_next(self) -> None:
        """Seen in aio-libs/aiohttp#9670, python/cpython#112202 and agronholm/anyio#947.

        The waiter is cancelled so many turns after the connection came back, or after its holder
        was cancelled: then a pool may open another, as in encode/httpcore#1093.
        """
        for let_go in (Holder.end, Holder.cancel):
            for ticks in range(12):
                pool = await self.new_pool(1)
                (holder,) = await pool.hold()
                cancelled, waiter = pool.ask(), pool.ask()
                await turns()
                let_go(holder)
                await turns(ticks)
                cancelled.cancel()
                await asyncio.sleep(SOON)
                text = f"a slot was lost: its waiter was cancelled {ticks} turns after the return"
                require(waiter.is_served, text)
                waiter.end()
                await pool.check_slots()

    @scenario()
    async def test_cancelled_connect_loses_no_slot(self) -> None:
        """Seen in encode/httpcore#1093 (assigned, cancelled, never closed) and #830."""
        for connect_time in (0.0, SLOW):
            for ticks in TICKS:
                pool = await self.new_pool(2)
                pool.server.connect_time = connect_time
                for _ in range(3):
                    caller = pool.ask()
                    await turns(ticks)
                    if connect_time:
                        await asyncio.sleep(connect_time / 2)
                    caller.cancel()
                    await turns()
                await pool.check_slots()

    @scenario()
    async def test_caller_cancelled_just_when_it_is_connected_loses_no_slot(self) -> None:
        """Seen in go-sql-driver/mysql#1023 and ClickHouse/clickhouse-go#1759."""
        for ticks in TICKS:
            pool = await self.new_pool(1)
            pool.server.connect_time = SLOW
            caller = pool.ask()
            await asyncio.sleep(SLOW)
            await turns(ticks)
            caller.cancel()
            await turns()
            await pool.check_slots()

    @scenario()
    async def test_cancelled_holder_gives_its_slot_back(self) -> None:
        """Seen in newrelic/go-agent#519 (cancelled in the middle of a command)."""
        pool = await self.new_pool(2)
        for _ in range(4):
            (holder,) = await pool.hold()
            holder.cancel()
            await turns()
            cancelled = isinstance(holder.error, asyncio.CancelledError)
            require(cancelled, f"a cancelled holder ended with {holder.error!r}")
        await pool.check_slots()

    @scenario()
    async def test_holder_cancelled_while_it_returns_gives_its_slot_back(self) -> None:
        """Seen in redis/redis-py#4121 (cancelled in the release)."""
        for ticks in TICKS:
            for is_cancelled_before in (False, True):
                pool = await self.new_pool(1)
                (holder,) = await pool.hold()
                if is_cancelled_before:
                    holder.cancel()
                else:
                    holder.end()
                await turns(ticks)
                holder.cancel()
                await turns()
                await pool.check_slots()

    @scenario()
    async def test_cancellation_is_never_swallowed(self) -> None:
        """Seen in psycopg/psycopg#1401 and #1275 (outer timeouts did nothing)."""
        for connect_time in (0.0, SLOW):
            pool = await self.new_pool(1)
            holders = await pool.hold(1 if not connect_time else 0)
            pool.server.connect_time = connect_time
            caller = pool.ask()
            await turns()
            caller.cancel()
            await asyncio.sleep(SLOW / 2)
            what = "while it connected" if connect_time else "in the queue"
            require(caller.task.cancelled(), f"a caller cancelled {what} did not end so")
            for each in holders:
                each.end()
            await asyncio.sleep(SOON)
            await pool.check_slots()

    @scenario()
    async def test_many_waiters_cancelled_at_once_leave_the_pool_working(self) -> None:
        """Seen in python/cpython#90155 (a cancellation broke the semaphore for ever)."""
        pool = await self.new_pool(2)
        holders = await pool.hold(2)
        waiters = [pool.ask() for _ in range(30)]
        await turns()
        for each in waiters:
            each.cancel()
        late = pool.ask()
        await turns()
        for holder in holders:
            holder.end()
        await asyncio.sleep(SOON)
        require(late.is_served, f"a caller behind {len(waiters)} cancelled ones still waits")
        late.end()
        await turns()
        await pool.check_slots()


class ConnectTests(PoolSuite):
    """Connects may fail."""

    @scenario()
    async def test_failed_connect_reaches_a_caller(self) -> None:
        """Seen in true-async/php-async#141 (a caller was left waiting)."""
        pool = await self.new_pool(1)
        pool.server.failures = 1
        caller = pool.ask()
        await asyncio.sleep(SOON)
        served = caller.is_served  # a pool may try again
        require(served or caller.error, "a caller still waits after its connect failed")
        caller.end()
        await turns()
        await pool.check_slots()

    @scenario()
    async def test_failed_connects_lose_no_slots(self) -> None:
        """Seen in golang/go#10886 (failed connects took slots for ever)."""
        for connect_time in (0.0, SLOW):
            pool = await self.new_pool(2)
            pool.server.connect_time = connect_time
            for _ in range(3):
                pool.server.failures = 1
                caller = pool.ask()
                await asyncio.sleep(SOON)
                caller.end()
                await turns()
            pool.server.failures = 0
            await pool.check_slots()

    @scenario()
    async def test_waiters_go_on_after_the_connect_of_another_failed(self) -> None:
        """Seen in golang/go#10886 and true-async/php-async#141 (nobody connected for them)."""
        for count in (1, 3):
            pool = await self.new_pool(1)
            pool.server.connect_time = SLOW
            pool.server.failures = count
            callers = [pool.ask() for _ in range(4)]
            for _ in callers:
                await asyncio.sleep(SOON)
                for each in callers:
                    if each.is_served:
                        each.end()
            await asyncio.sleep(SOON)
            left = sum(not each.task.done() for each in callers)
            expect(left, 0, f"callers that still wait after {count} connects failed")
            await pool.check_slots()
