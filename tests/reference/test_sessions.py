"""Sessions in tasks of their own: alone, and as the connections of a pool."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pytest

from pytest_agentperf.reference.pool import ConnectFailedError, Pool
from pytest_agentperf.reference.sessions import (
    OwnedSession,
    SessionEndedError,
    SessionTypeError,
)

Run: TypeAlias = Callable[..., None]


class TaskBound:
    """A session that refuses to be left by another task, as those of anyio do."""

    def __init__(self, *, enter_time: float = 0, leave_time: float = 0) -> None:
        self.enter_time, self.leave_time = enter_time, leave_time
        self.log: list[str] = []

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[str]:
        task = asyncio.current_task()
        await asyncio.sleep(self.enter_time)
        self.log.append("enter")
        try:
            yield "the session"
        finally:
            assert asyncio.current_task() is task
            await asyncio.sleep(self.leave_time)
            self.log.append("leave")


@asynccontextmanager
async def failing(error: BaseException | None) -> AsyncIterator[str]:
    if error is not None:
        raise error
    yield "never"


def pool_of(factory: Any, **options: Any) -> Pool[OwnedSession[str]]:
    return Pool(
        lambda: OwnedSession.open(factory),
        OwnedSession.close,
        is_broken=OwnedSession.is_broken,
        **options,
    )


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_session_is_entered_and_left_by_one_task(run: Run) -> None:  # 88
    async def main() -> None:
        bound = TaskBound()
        owned = await asyncio.create_task(OwnedSession.open(bound.enter))
        assert owned.session == "the session"
        assert owned.is_alive
        assert repr(owned) == "<OwnedSession alive: 'the session'>"
        await asyncio.create_task(owned.close())
        assert bound.log == ["enter", "leave"]

    run(main())


def test_session_cannot_be_used_after_it_was_closed(run: Run) -> None:
    async def main() -> None:
        owned = await OwnedSession.open(TaskBound().enter)
        await owned.close()
        await owned.close()  # again: nothing to do
        assert not owned.is_alive
        with pytest.raises(SessionEndedError, match=r"<OwnedSession ended: .* is over") as caught:
            _ = owned.session
        assert caught.value.__cause__ is None

    run(main())


def test_session_that_ended_by_itself_says_why(run: Run) -> None:  # 89, 91
    async def main() -> None:
        cause = OSError("killed")

        @asynccontextmanager
        async def factory() -> AsyncIterator[str]:
            async with asyncio.TaskGroup() as group:
                group.create_task(die())
                yield "the session"

        async def die() -> None:
            await asyncio.sleep(5)
            raise cause

        owned = await OwnedSession.open(factory)
        assert not owned.is_broken(ValueError())  # of one call
        await asyncio.sleep(6)
        assert owned.is_broken()
        with pytest.raises(SessionEndedError) as caught:
            _ = owned.session
        assert isinstance(caught.value.__cause__, ExceptionGroup)
        assert caught.value.__cause__.exceptions == (cause,)
        with pytest.raises(ExceptionGroup):
            await owned.close()

    run(main())


def test_session_whose_task_was_cancelled_is_over_without_an_error(run: Run) -> None:  # 89
    async def main() -> None:
        owned = await OwnedSession.open(TaskBound().enter)
        owned._task.cancel()
        await settle()
        with pytest.raises(SessionEndedError):
            _ = owned.session
        await owned.close()

    run(main())


def test_session_that_does_not_open_raises_what_entering_raised(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(OSError, match="no such server"):
            await OwnedSession.open(lambda: failing(OSError("no such server")))

    run(main())


def test_session_cancelled_from_within_while_it_opens_is_no_cancellation_of_the_caller(
    run: Run,
) -> None:  # 89
    async def main() -> None:
        with pytest.raises(SessionEndedError, match="cancelled while it opened"):
            await OwnedSession.open(lambda: failing(asyncio.CancelledError()))

    run(main())


def test_session_whose_opening_is_cancelled_has_ended_when_the_caller_goes_on(run: Run) -> None:
    async def main() -> None:
        bound = TaskBound(leave_time=3)

        @asynccontextmanager
        async def factory() -> AsyncIterator[str]:
            async with bound.enter():
                await asyncio.sleep(1000)
                yield "never"

        task = asyncio.create_task(OwnedSession.open(factory))
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert bound.log == ["enter", "leave"]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


def test_cancelled_close_cancels_a_session_that_hangs_when_it_is_left(run: Run) -> None:
    async def main() -> None:
        owned = await OwnedSession.open(TaskBound(leave_time=1000).enter)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await owned.close()
        assert asyncio.get_running_loop().time() == 2
        assert not owned.is_alive

    run(main())


def test_error_of_leaving_is_raised_by_close(run: Run) -> None:
    async def main() -> None:
        @asynccontextmanager
        async def factory() -> AsyncIterator[str]:
            yield "the session"
            raise OSError("broken pipe")

        owned = await OwnedSession.open(factory)
        with pytest.raises(OSError, match="broken pipe"):
            await owned.close()

    run(main())


def test_factory_that_cannot_be_called_is_refused(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(SessionTypeError, match="factory=3: expected a function"):
            await OwnedSession.open(3)  # type: ignore[arg-type]

    run(main())


def test_factory_that_makes_no_context_manager_fails_with_its_type_error(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="asynchronous context manager"):
            await OwnedSession.open(lambda: 3)  # type: ignore[arg-type, return-value]

    run(main())


def test_callers_share_the_sessions_of_a_pool(run: Run) -> None:  # 88
    async def main() -> None:
        sessions: list[TaskBound] = []

        def factory() -> Any:
            sessions.append(TaskBound(enter_time=1))
            return sessions[-1].enter()

        async def call() -> None:
            async with pool.acquire() as owned:
                assert owned.session == "the session"
                await asyncio.sleep(0.01)

        pool = pool_of(factory, max_size=2, leases_per_connection=2)
        await asyncio.gather(*(call() for _ in range(10)))
        await pool.close()
        assert [session.log for session in sessions] == [["enter", "leave"]] * 2

    run(main())


def test_session_that_ended_while_it_was_idle_is_replaced(run: Run) -> None:  # 89, 91
    async def main() -> None:
        pool = pool_of(TaskBound().enter, max_size=1)
        async with pool.acquire() as first:
            pass
        first._task.cancel()
        await settle()
        async with pool.acquire() as second:
            assert second is not first
        await pool.close()
        assert pool.stats().closed == {"broken": 1, "closed": 1}

    run(main())


def test_session_that_ended_while_it_was_leased_is_replaced_after_its_last_lease(
    run: Run,
) -> None:  # 91
    async def main() -> None:
        pool = pool_of(TaskBound().enter, max_size=2, leases_per_connection=2)
        async with pool.acquire() as first:
            async with pool.acquire() as same:
                assert same is first
                first._task.cancel()
                await settle()
            async with pool.acquire() as second:
                assert second is not first
            assert pool.stats().closed == {}
        await settle()
        assert pool.stats().closed == {"broken": 1}
        await pool.close()

    run(main())


def test_session_that_does_not_open_fails_its_caller(run: Run) -> None:
    async def main() -> None:
        pool = pool_of(lambda: failing(OSError("no such server")), max_size=1)
        with pytest.raises(ConnectFailedError, match="no such server"):
            async with pool.acquire():
                pass
        await pool.close()

    run(main())


def test_session_that_hangs_when_it_is_left_is_cancelled_after_connect_timeout(run: Run) -> None:
    async def main() -> None:
        pool = pool_of(TaskBound(leave_time=1000).enter, max_size=1, connect_timeout=2)
        async with pool.acquire():
            pass
        await pool.close()
        assert asyncio.get_running_loop().time() == 2
        assert pool.stats().errors == 1

    run(main())
