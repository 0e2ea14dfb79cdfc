"""Sessions that a pool can share: each is entered and left by a task of its own.

Copy this file into your project: it needs Python 3.11 and the standard library. With the pool of
`pool.py` beside it, callers share sessions, for example of MCP, of which each serves many at once:

    pool = Pool(
        lambda: OwnedSession.open(lambda: mcp.Client(server)),
        OwnedSession.close,
        is_broken=OwnedSession.is_broken,
        leases_per_connection=8,
    )
    async with pool.acquire() as owned:
        result = await owned.session.call_tool("search", {"text": "weather"})
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

__all__ = ["OwnedSession", "SessionEndedError", "SessionError", "SessionTypeError"]

S = TypeVar("S")


class SessionError(Exception):
    """Any error that an owned session raises on purpose."""


class SessionTypeError(SessionError, TypeError):
    """An argument of the wrong type."""


class SessionEndedError(SessionError, RuntimeError):
    """The session is over; `__cause__` is what ended it, if it did not just end."""


class OwnedSession(Generic[S]):
    """A session that lives in a task of its own; made by `OwnedSession.open`.

    The cancel scopes of anyio, and so the sessions of MCP, must be left by the task that entered
    them (modelcontextprotocol/python-sdk#79), while a pool opens and closes in different tasks.
    """

    def __init__(self, task: "asyncio.Task[None]", stop: asyncio.Event, session: S) -> None:
        self._task = task
        self._stop = stop
        self._session = session

    @classmethod
    async def open(cls, factory: Callable[[], AbstractAsyncContextManager[S]]) -> "OwnedSession[S]":
        """Enter a session in a new task and return when it is ready.

        Args:
            factory: Returns an async context manager that enters a session, as `mcp.Client` does.

        Raises:
            SessionTypeError: *factory* cannot be called.
            SessionEndedError: The task was cancelled, but not by the caller.
            BaseException: Whatever entering the session raises.
        """
        if not callable(factory):
            raise SessionTypeError(f"factory={factory!r}: expected a function without arguments")
        ready: asyncio.Future[S] = asyncio.get_running_loop().create_future()
        stop = asyncio.Event()
        task = asyncio.create_task(_own(factory, ready, stop))
        await _wait_or_cancel(task, ready)
        if not ready.done():
            if task.cancelled():
                raise SessionEndedError("the task of the session was cancelled while it opened")
            task.result()
        return cls(task, stop, ready.result())

    @property
    def session(self) -> S:
        """What the context manager returned, while it lasts."""
        if self.is_alive:
            return self._session
        cause = None if self._task.cancelled() else self._task.exception()
        raise SessionEndedError(f"{self!r} is over; open another one") from cause

    @property
    def is_alive(self) -> bool:
        """False once the session ended, by itself or by `close`."""
        return not self._task.done()

    def is_broken(self, _error: BaseException | None = None) -> bool:
        """Tell a pool whether to replace the session: it ended; an error of one call is no reason.

        What died without ending, such as a server behind a proxy, is found by a `validate` that
        asks the server something.
        """
        return not self.is_alive

    async def close(self) -> None:
        """Leave the session in its own task; raise what leaving it raised."""
        self._stop.set()
        await _wait_or_cancel(self._task)
        if not self._task.cancelled():
            self._task.result()

    def __repr__(self) -> str:
        return f"<OwnedSession {'alive' if self.is_alive else 'ended'}: {self._session!r}>"


async def _own(
    factory: Callable[[], AbstractAsyncContextManager[S]],
    ready: "asyncio.Future[S]",
    stop: asyncio.Event,
) -> None:
    async with factory() as session:
        ready.set_result(session)
        await stop.wait()


async def _wait_or_cancel(task: "asyncio.Task[None]", *others: "asyncio.Future[Any]") -> None:
    """Wait for the first to end; a caller that is cancelled meanwhile leaves no task behind."""
    try:
        await asyncio.wait((task, *others), return_when=asyncio.FIRST_COMPLETED)
    except BaseException:
        task.cancel()
        await asyncio.wait((task,))
        if not task.cancelled():
            task.exception()  # seen: the cancellation comes first
        raise
