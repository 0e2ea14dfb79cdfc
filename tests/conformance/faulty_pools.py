"""A right pool, and wrong ones."""

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import Any

from tests.conformance.faulty import caught_by


class RightPool:
    """A fair pool that hands connections over, with everything that the suite can ask for."""

    idle_timeout = 100.0
    max_lifetime = 200.0

    def __init__(self, connect: Any, close: Any, max_size: int) -> None:
        self.connect, self.close_one, self.max_size = connect, close, max_size
        self.loop: Any = None
        self.is_closed = False

    def begin(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.idle: list[Any] = []
        self.born: dict[Any, float] = {}
        self.waiters: deque[asyncio.Future[Any]] = deque()
        self.size = 0
        self.tasks: set[Any] = set()

    @asynccontextmanager
    async def acquire(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        connection = await self.take(timeout)
        try:
            yield connection
        except BaseException as error:
            self.give(connection, error)
            raise
        else:
            self.give(connection, None)

    async def take(self, timeout: float | None) -> Any:  # noqa: ASYNC109
        if self.is_closed:
            raise RuntimeError("closed")
        if self.loop is not asyncio.get_running_loop():
            self.begin()
        if self.idle:
            return self.idle.pop()
        if self.size < self.max_size:
            self.size += 1
            return await self.open()
        return await self.wait(timeout)

    async def open(self) -> Any:
        try:
            connection = await self.connect()
        except BaseException:
            self.pass_slot()
            raise
        self.born[connection] = self.loop.time()
        return connection

    async def wait(self, timeout: float | None) -> Any:  # noqa: ASYNC109
        future = self.loop.create_future()
        self.waiters.append(future)
        try:
            async with asyncio.timeout(timeout):
                connection = await future
        except BaseException as error:
            self.leave(future, error)
            raise
        return await self.open() if connection is None else connection

    def leave(self, future: Any, error: BaseException) -> None:
        if not future.done():
            future.cancel()
        elif not future.cancelled() and error is not future.exception():
            self.serve(future.result())

    def serve(self, connection: Any) -> bool:
        """Give a connection, or None for the right to open one, to the first that waits."""
        while self.waiters:
            future = self.next_waiter()
            if not future.done():
                future.set_result(connection)
                return True
        if connection is None:
            self.size -= 1
        else:
            self.keep(connection)
        return False

    def next_waiter(self) -> Any:
        return self.waiters.popleft()

    def keep(self, connection: Any) -> None:
        if self.is_closed:
            self.part(connection)
            return
        self.idle.append(connection)
        self.loop.call_later(self.idle_timeout, self.expire, connection, len(self.idle))

    def expire(self, connection: Any, _: int) -> None:
        if connection in self.idle:
            self.idle.remove(connection)
            self.part(connection)

    def give(self, connection: Any, error: BaseException | None) -> None:
        if self.loop.is_closed():
            return
        if self.is_broken(connection, error):
            self.part(connection)
        else:
            self.serve(connection)

    def is_broken(self, connection: Any, error: BaseException | None) -> bool:
        if isinstance(error, OSError) or (error and not isinstance(error, Exception)):
            return True
        return bool(self.loop.time() - self.born[connection] >= self.max_lifetime)

    def part(self, connection: Any) -> None:
        task = self.loop.create_task(self.close_one(connection))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        self.pass_slot()

    def pass_slot(self) -> None:
        self.serve(None)

    async def close(self) -> None:
        self.is_closed = True
        if self.loop is None:
            return
        while self.waiters:
            future = self.waiters.popleft()
            if not future.done():
                future.set_exception(RuntimeError("closed"))
        while self.idle:
            self.part(self.idle.pop())


@caught_by("test_never_more_connections_than_max_size")
class CountsOnlyWhatIsOpen(RightPool):
    async def open(self) -> Any:
        self.size -= 1
        connection = await self.connect()
        self.size += 1
        self.born[connection] = self.loop.time()
        return connection


@caught_by("test_all_of_max_size_can_be_leased_at_a_time")
class HasOneTooFew(RightPool):
    def __init__(self, connect: Any, close: Any, max_size: int) -> None:
        super().__init__(connect, close, max(1, max_size - 1))


@caught_by("test_connection_is_never_leased_to_two_callers")
class LeasesOneToTwo(RightPool):
    async def take(self, timeout: float | None) -> Any:  # noqa: ASYNC109
        if self.loop and len(self.born) == self.max_size and not self.idle:
            return next(iter(self.born))
        return await super().take(timeout)


@caught_by("test_returned_connection_is_used_again")
class NeverReuses(RightPool):
    def is_broken(self, connection: Any, error: BaseException | None) -> bool:
        return True


@caught_by("test_waiter_is_served_when_a_connection_comes_back")
class LooksThenQueues(RightPool):
    async def wait(self, timeout: float | None) -> Any:  # noqa: ASYNC109
        await asyncio.sleep(0)  # a return in this turn finds nobody
        return await super().wait(timeout)


@caught_by("test_error_in_the_block_reaches_the_caller_and_frees_the_slot")
class KeepsTheSlotOfAnError(RightPool):
    def give(self, connection: Any, error: BaseException | None) -> None:
        if not isinstance(error, ValueError):
            super().give(connection, error)


@caught_by("test_cancelled_holder_gives_its_slot_back")
class KeepsTheSlotOfTheCancelled(RightPool):
    def give(self, connection: Any, error: BaseException | None) -> None:
        if error is None or isinstance(error, Exception):
            super().give(connection, error)


@caught_by("test_holder_cancelled_while_it_returns_gives_its_slot_back")
class AwaitsBeforeItReturns(RightPool):
    @asynccontextmanager
    async def acquire(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        connection = await self.take(timeout)
        try:
            yield connection
        finally:
            await asyncio.sleep(0)
            self.give(connection, None)


@caught_by("test_cancelled_waiter_does_not_block_the_queue")
class WakesTheCancelled(RightPool):
    def serve(self, connection: Any) -> bool:
        if self.waiters and self.waiters[0].done():
            self.waiters.popleft()
            return True
        return super().serve(connection)


@caught_by("test_slot_granted_to_a_cancelled_waiter_goes_to_the_next")
class LosesWhatItGranted(RightPool):
    def leave(self, future: Any, error: BaseException) -> None:
        future.cancel()


@caught_by("test_cancelled_connect_loses_no_slot")
class LosesCancelledConnects(RightPool):
    async def open(self) -> Any:
        try:
            connection = await self.connect()
        except Exception:
            self.pass_slot()
            raise
        self.born[connection] = self.loop.time()
        return connection


@caught_by("test_caller_cancelled_just_when_it_is_connected_loses_no_slot")
class LosesFreshConnections(RightPool):
    async def open(self) -> Any:
        connecting = asyncio.ensure_future(super().open())
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            if not connecting.done():
                connecting.cancel()
            raise


@caught_by("test_failed_connects_lose_no_slots")
class LosesFailedConnects(RightPool):
    async def open(self) -> Any:
        try:
            connection = await self.connect()
        except asyncio.CancelledError:
            self.pass_slot()
            raise
        self.born[connection] = self.loop.time()
        return connection


@caught_by("test_waiters_go_on_after_the_connect_of_another_failed")
class WakesNobodyAfterAFailure(RightPool):
    def pass_slot(self) -> None:
        self.size -= 1


@caught_by("test_failed_connect_reaches_a_caller")
class HangsAfterAFailedConnect(RightPool):
    async def open(self) -> Any:
        try:
            return await super().open()
        except OSError:
            return await self.wait(None)


@caught_by("test_cancellation_is_never_swallowed")
class SwallowsCancellation(RightPool):
    async def wait(self, timeout: float | None) -> Any:  # noqa: ASYNC109
        while True:
            try:
                return await super().wait(timeout)
            except asyncio.CancelledError:
                await asyncio.sleep(0)


@caught_by("test_many_waiters_cancelled_at_once_leave_the_pool_working")
class CountsTheCancelledAsWaiting(RightPool):
    waiting = 0

    async def wait(self, timeout: float | None) -> Any:  # noqa: ASYNC109
        if self.waiting >= 20:
            raise RuntimeError("too many callers wait")
        self.waiting += 1
        connection = await super().wait(timeout)
        self.waiting -= 1
        return connection


@caught_by("test_close_closes_every_connection_once")
class ForgetsOneAtClose(RightPool):
    async def close(self) -> None:
        if self.loop and self.idle:
            self.idle.pop()
        await super().close()


@caught_by("test_close_closes_what_cancelled_callers_left")
class LeaksConnectionsOfTheCancelled(RightPool):
    async def open(self) -> Any:
        connecting = asyncio.ensure_future(self.connect())
        try:
            connection = await asyncio.shield(connecting)
        except BaseException:
            self.pass_slot()
            raise
        self.born[connection] = self.loop.time()
        return connection


@caught_by("test_close_ends_though_callers_hold_and_wait")
class ForgetsWhoWaitsAtClose(RightPool):
    async def close(self) -> None:
        if self.loop:
            self.waiters.clear()
        await super().close()


@caught_by("test_acquire_after_close_fails")
class LeasesAfterClose(RightPool):
    async def close(self) -> None:
        await super().close()
        self.is_closed = False


@caught_by("test_second_close_does_nothing")
class ClosesTwice(RightPool):
    async def close(self) -> None:
        for connection in self.born if self.is_closed else ():
            await self.close_one(connection)
        await super().close()


@caught_by("test_wait_ends_at_its_timeout")
class IgnoresTimeouts(RightPool):
    async def take(self, timeout: float | None) -> Any:  # noqa: ASYNC109
        return await super().take(None)


@caught_by("test_waiter_that_timed_out_takes_no_slot")
class ServesTheLate(RightPool):
    async def wait(self, timeout: float | None) -> Any:  # noqa: ASYNC109
        future = self.loop.create_future()
        self.waiters.append(future)
        async with asyncio.timeout(timeout):
            return await asyncio.shield(future) or await self.open()


@caught_by("test_slot_granted_at_the_moment_of_the_timeout_is_not_lost")
class DropsWhatCameInTime(RightPool):
    async def wait(self, timeout: float | None) -> Any:  # noqa: ASYNC109
        deadline = self.loop.time() + (timeout or 1e9)
        connection = await super().wait(None)
        if self.loop.time() >= deadline:
            raise TimeoutError
        return connection


@caught_by("test_waiters_are_served_in_the_order_they_came")
class ServesTheLastFirst(RightPool):
    def next_waiter(self) -> Any:
        return self.waiters.pop()


@caught_by("test_newcomer_does_not_overtake_who_waits")
class LetsNewcomersOvertake(RightPool):
    def give(self, connection: Any, error: BaseException | None) -> None:
        self.idle.append(connection)
        asyncio.get_running_loop().call_soon(self.later, connection)

    def later(self, connection: Any) -> None:
        if connection in self.idle:
            self.idle.remove(connection)
            super().give(connection, None)


@caught_by("test_connection_of_a_cancelled_block_is_not_leased_again")
class KeepsHalfReadConnections(RightPool):
    def is_broken(self, connection: Any, error: BaseException | None) -> bool:
        return isinstance(error, Exception) and super().is_broken(connection, error)


@caught_by("test_broken_connection_is_not_leased_again")
class KeepsBrokenConnections(RightPool):
    def is_broken(self, connection: Any, error: BaseException | None) -> bool:
        return not isinstance(error, OSError) and super().is_broken(connection, error)


@caught_by("test_idle_connection_is_closed")
class NeverLooksAtTheIdle(RightPool):
    def expire(self, connection: Any, _: int) -> None:
        pass


@caught_by("test_busy_connection_is_replaced_when_it_is_old")
class LooksAtTheIdleAlone(RightPool):
    max_lifetime = float("inf")


@caught_by("test_pool_works_on_a_second_event_loop")
class StaysOnItsFirstLoop(RightPool):
    def begin(self) -> None:
        if self.loop is None:
            super().begin()


@caught_by("test_cancelled_tasks_end_while_a_connect_hangs")
class TakesCancellationsForFailedConnects(RightPool):
    async def open(self) -> Any:
        while True:
            try:
                return await super().open()
            except asyncio.CancelledError:
                self.size += 1
