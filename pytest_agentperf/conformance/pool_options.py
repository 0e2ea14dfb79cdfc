"""What a pool may promise besides; each is declared by a `supports_…`."""

import asyncio

from pytest_agentperf.conformance.pool_subject import SOON, PoolSubject, PoolSuite
from pytest_agentperf.conformance.suite import expect, require, scenario
from pytest_agentperf.conformance.virtual import turns

__all__ = ["CloseTests", "OptionTests"]

TICKS = range(7)


class CloseTests(PoolSuite):
    """The end of a pool."""

    @scenario("supports_close")
    async def test_close_closes_every_connection_once(self) -> None:
        """Seen in long2ice/asyncmy#156 (one was lost) and psycopg/psycopg#1176."""
        pool = await self.new_pool(3)
        await pool.check_slots()
        await self._check_closed(pool)

    @scenario("supports_close")
    async def test_close_closes_what_cancelled_callers_left(self) -> None:
        """Seen in encode/httpcore#830 and go-sql-driver/mysql#1023 (leaked sockets)."""
        for ticks in TICKS:
            pool = await self.new_pool(2)
            pool.server.connect_time = 1.0
            for pause in (0.5, 1.0, 1.0):
                caller = pool.ask()
                await asyncio.sleep(pause)
                await turns(ticks)
                caller.cancel()
                await turns()
            await self._check_closed(pool)

    @scenario("supports_close")
    async def test_close_ends_though_callers_hold_and_wait(self) -> None:
        """Seen in MagicStack/asyncpg#299 (`close` waited for ever)."""
        pool = await self.new_pool(1)
        (holder,) = await pool.hold()
        waiter = pool.ask()
        await turns()
        closing = asyncio.create_task(pool.close(), name="close()")
        await turns()
        for _ in range(2):  # a waiter may be served first
            holder.end()
            waiter.end()
            await asyncio.sleep(SOON)
        require(closing.done(), "close() still waits after every lease came back")
        closing.result()
        require(waiter.task.done(), "a caller still waits after the pool was closed")
        expect(pool.server.open, [], "connections open after close()")

    @scenario("supports_close")
    async def test_acquire_after_close_fails(self) -> None:
        """Seen in scylladb/python-driver#118 (a pool used while it shuts down)."""
        pool = await self.new_pool()
        await pool.check_slots()
        await pool.close()
        caller = pool.ask()
        await asyncio.sleep(SOON)
        require(not caller.is_served, f"a closed pool leased {caller.connection}")
        require(caller.error is not None, "a caller of a closed pool waits for ever")

    @scenario("supports_close")
    async def test_second_close_does_nothing(self) -> None:
        """Seen in brianc/node-postgres#111 (a connection that was closed twice)."""
        pool = await self.new_pool()
        await pool.check_slots()
        await pool.close()
        await self._check_closed(pool)

    @scenario()
    async def test_cancelled_tasks_end_while_a_connect_hangs(self) -> None:
        """Seen in psycopg/psycopg#1401 (a cancellation was taken for a connect that failed).

        `asyncio.run` cancels all tasks at its end and waits for them.
        """
        pool = await self.new_pool(1)
        pool.server.connect_time = 10 * SOON
        pool.ask()
        await turns(20)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.sleep(SOON)
        left = sorted(task.get_name() for task in tasks if not task.done())
        require(not left, f"still running after they were cancelled: {', '.join(left)}")

    async def _check_closed(self, pool: PoolSubject) -> None:
        await pool.close()
        await asyncio.sleep(SOON)
        expect(pool.server.open, [], f"of {len(pool.server.opened)} connections open after close()")
        pool.server.check()


class OptionTests(PoolSuite):
    """Timeouts, order, broken and old connections, event loops."""

    @scenario("supports_timeout")
    async def test_wait_ends_at_its_timeout(self) -> None:
        """Seen in golang/go#13327 (saturation became a hang)."""
        pool = await self.new_pool(1)
        (holder,) = await pool.hold()
        waiters = {seconds: pool.ask(seconds) for seconds in (5.0, 1.0, 3.0)}
        began = self.clock.now
        await asyncio.sleep(10)
        for seconds, waiter in waiters.items():
            require(waiter.error, f"a caller with timeout={seconds:g} still waits after 10 s")
            waited = waiter.ended - began
            text = f"a caller with timeout={seconds:g} behind one with 5 s waited {waited:.3g} s"
            require(abs(waited - seconds) < 0.1, text)  # noqa: PLR2004
        holder.end()
        await turns()
        await pool.check_slots()

    @scenario("supports_timeout")
    async def test_waiter_that_timed_out_takes_no_slot(self) -> None:
        """Seen in cap-js/cds-dbs#1721 (each timeout cost a connection)."""
        pool = await self.new_pool(1)
        for _ in range(3):
            (holder,) = await pool.hold()
            late, waiter = pool.ask(1.0), pool.ask()
            await asyncio.sleep(2)
            holder.end()
            await asyncio.sleep(SOON)
            require(not late.is_served, "a caller was served after its timeout")
            require(waiter.is_served, "the caller behind one that timed out still waits")
            waiter.end()
            await turns()
        await pool.check_slots()

    @scenario("supports_timeout")
    async def test_slot_granted_at_the_moment_of_the_timeout_is_not_lost(self) -> None:
        """Seen in python/cpython#86296 and MagicStack/asyncpg#467 (`wait_for` dropped it)."""
        for ticks in TICKS:
            pool = await self.new_pool(1)
            (holder,) = await pool.hold()
            waiter = pool.ask(1.0)
            await asyncio.sleep(0.9995)
            holder.end()
            await turns(ticks)
            self.clock.advance(0.001)  # now the time is over, with the connection on its way
            await turns()
            waiter.end()
            await asyncio.sleep(SOON)
            await pool.check_slots()

    @scenario("supports_fifo")
    async def test_waiters_are_served_in_the_order_they_came(self) -> None:
        """Seen in golang/go#31708 and golang/go#50358 (7.5 minutes instead of 2)."""
        pool = await self.new_pool(1)
        (holder,) = await pool.hold()
        waiters = [pool.ask() for _ in range(8)]
        await turns()
        for number, waiter in enumerate(waiters):
            holder.end()
            await turns(20)
            served = [place for place, each in enumerate(waiters) if each.is_served]
            expect(served, [*range(number + 1)], "callers served so far, by their place")
            holder = waiter
        holder.end()
        await turns()
        await pool.check_slots()

    @scenario("supports_fifo")
    async def test_newcomer_does_not_overtake_who_waits(self) -> None:
        """Seen in python/cpython#83055 (a newcomer took the slot of a woken waiter)."""
        for ticks in TICKS:
            pool = await self.new_pool(1)
            (holder,) = await pool.hold()
            waiter = pool.ask()
            await turns()
            holder.end()
            await turns(ticks)
            newcomer = pool.ask()
            await turns(20)
            text = f"a caller that came {ticks} turns after a return overtook one that waited"
            require(waiter.is_served and not newcomer.is_served, text)
            waiter.end()
            await turns(20)
            newcomer.end()
            await turns()
            await pool.check_slots()

    @scenario("supports_discard_on_cancel")
    async def test_connection_of_a_cancelled_block_is_not_leased_again(self) -> None:
        """Seen in redis/redis-py#2624 and encode/httpx#1461 (an answer left unread)."""
        pool = await self.new_pool(1)
        (holder,) = await pool.hold()
        holder.cancel()
        await self._check_discarded(pool, holder.connection)

    @scenario("supports_discard_on_error")
    async def test_broken_connection_is_not_leased_again(self) -> None:
        """Seen in djc/bb8#167 (every returned connection was broken)."""
        pool = await self.new_pool(2)
        for _ in range(2):
            for holder in await pool.hold(2):
                holder.end(ConnectionResetError("broken"))
                await self._check_discarded(pool, holder.connection)

    async def _check_discarded(self, pool: PoolSubject, connection: object) -> None:
        await turns()
        again = pool.ask()
        await asyncio.sleep(SOON)
        require(again.is_served, "a caller waits for ever after a connection broke")
        require(again.connection is not connection, f"{connection} broke and was leased again")
        again.end()
        await turns()

    @scenario("supports_idle_timeout")
    async def test_idle_connection_is_closed(self) -> None:
        """Seen in MagicStack/asyncpg#389 (the timer was never armed)."""
        pool = await self.new_pool(2)
        await pool.check_slots()
        await asyncio.sleep(self.idle_timeout * 0.9)
        expect(len(pool.server.open), 2, "connections open before the idle timeout")
        await asyncio.sleep(self.idle_timeout * 0.2)
        expect(len(pool.server.open), 0, "connections open after the idle timeout")
        await pool.check_slots()

    @scenario("supports_max_lifetime")
    async def test_busy_connection_is_replaced_when_it_is_old(self) -> None:
        """Seen in djc/bb8#224 (never idle when somebody looked, so it lived for ever)."""
        pool = await self.new_pool(1)
        (holder,) = await pool.hold()
        first = holder.connection
        for _ in range(11):
            await asyncio.sleep(self.max_lifetime / 10)
            waiter = pool.ask()
            await turns()
            holder.end()
            await turns(20)
            holder = waiter
        text = f"{first} is still leased {1.1 * self.max_lifetime:g} s after it was opened"
        require(holder.connection is not first, text)
        holder.end()
        await turns()
        await pool.check_slots()

    def test_pool_works_on_a_second_event_loop(self) -> None:
        """Seen in MagicStack/asyncpg#293 and psycopg/psycopg#219."""
        self.need("supports_loop_change")
        self.play_in_two_loops(self._first_loop, self._second_loop)

    async def _first_loop(self) -> None:
        self._pool = await self.new_pool(2)
        await self._pool.hold(2)
        self._pool.ask()
        await turns()

    async def _second_loop(self) -> None:
        server = self._pool.server
        server.max_size, server.most = 2 * server.max_size, 0  # what the first loop left is lost
        holders = await self._pool.hold(2)
        for each in holders:
            each.end()
        await turns()
