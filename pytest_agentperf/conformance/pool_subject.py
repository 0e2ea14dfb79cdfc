"""The pool under test, the server that it connects to, and callers that hold its leases."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from pytest_agentperf.conformance.holding import HoldingCaller
from pytest_agentperf.conformance.suite import Suite, require, settle
from pytest_agentperf.conformance.virtual import VirtualClock, turns

__all__ = ["Connection", "Holder", "PoolSubject", "PoolSuite", "Server"]

SOON = 60.0  # virtual seconds in which whatever is possible has happened, back-offs included


class Connection:
    """What the server gives; it knows who uses it."""

    def __init__(self, number: int) -> None:
        self.number, self.users, self.closings = number, 0, 0

    def __repr__(self) -> str:
        return f"connection {self.number}"


class Server:
    """Opens and closes connections, and refuses to open more than the pool may have.

    Attributes:
        max_size: Connections that may be open or opening at a time.
        connect_time: Virtual seconds that opening takes.
        failures: Connects that will fail, one after the other.
    """

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self.connect_time = 0.0
        self.failures = 0
        self.connects = 0
        self.opening = 0
        self.opened: list[Connection] = []
        self.most = 0

    @property
    def open(self) -> list[Connection]:
        """The connections that were opened and not closed."""
        return [each for each in self.opened if not each.closings]

    async def connect(self) -> Connection:
        """Open a connection, or fail."""
        self.connects += 1
        self.opening += 1
        self.most = max(self.most, self.opening + len(self.open))
        try:
            await asyncio.sleep(self.connect_time)
            if self.failures:
                self.failures -= 1
                raise ConnectionRefusedError("the server of the test refuses")
            connection = Connection(len(self.opened) + 1)
            self.opened.append(connection)
        finally:
            self.opening -= 1
        return connection

    async def close(self, connection: Connection) -> None:
        """Close *connection*."""
        connection.closings += 1
        await asyncio.sleep(0)

    def check(self) -> None:
        """Fail the test if there were too many connections, or one was closed twice."""
        text = f"{self.most} connections were open or opening, with max_size={self.max_size}"
        require(self.most <= self.max_size, text)
        twice = [each for each in self.opened if each.closings > 1]
        require(not twice, f"closed more than once: {twice}")


class Holder(HoldingCaller):
    """A task that acquires a lease and holds it until it is told to end.

    Attributes:
        connection: What it was given, once it was.
    """

    def __init__(self, lease: AbstractAsyncContextManager[Any], name: str) -> None:
        self.connection: Any = None
        self.time = asyncio.get_running_loop().time
        self.since = self.ended = self.time()
        self._lease = lease
        super().__init__(name)

    async def _hold(self) -> None:
        try:
            async with self._lease as connection:
                self._check(connection)
                self.connection, self.since = connection, self.time()
                connection.users += 1
                try:
                    await self._gate
                finally:
                    connection.users -= 1
        finally:
            self.ended = self.time()

    def _check(self, connection: Any) -> None:
        is_ours = isinstance(connection, Connection)
        require(is_ours, f"acquire() gave {connection!r}: expected what connect() returned")
        require(not connection.users, f"{connection} was leased to two callers at a time")
        require(not connection.closings, f"{connection} was leased after it was closed")

    @property
    def is_served(self) -> bool:
        """Whether it holds or held a connection."""
        return self.connection is not None


class PoolSuite(Suite):
    """The factory, the capabilities and the hooks of a pool suite; see `PoolConformance`."""

    supports_close = True
    supports_timeout = False
    supports_fifo = False
    supports_discard_on_cancel = False
    supports_discard_on_error = False
    supports_idle_timeout = False
    supports_max_lifetime = False
    supports_loop_change = False
    idle_timeout = 100.0
    max_lifetime = 200.0

    def make_pool(
        self,
        *,
        connect: Callable[[], Any],
        close: Callable[[Any], Any],
        max_size: int,
        clock: Callable[[], float],
    ) -> Any:
        """Return a new pool of the kind under test, or an awaitable of one.

        Args:
            connect: Async function that opens a connection.
            close: Async function that closes the connection it is given.
            max_size: Connections at most.
            clock: Returns seconds, the time of the running loop.
        """
        raise NotImplementedError(
            f"{type(self).__name__}: define make_pool(self, *, connect, close, max_size, clock) "
            "to return the pool under test"
        )

    def lease(self, pool: Any, timeout: float | None = None) -> Any:
        """Return an async context manager of one connection.

        By default `pool.acquire()`: a context manager, or an awaitable of a connection that
        `pool.release(connection)` takes back. A *timeout* is passed by keyword, and only by
        `supports_timeout`.
        """
        acquired = pool.acquire() if timeout is None else pool.acquire(timeout=timeout)
        return acquired if hasattr(acquired, "__aenter__") else _leased(pool, acquired)

    def close_pool(self, pool: Any) -> Any:
        """Close *pool*; by `supports_close`."""
        return pool.close()

    async def new_pool(self, max_size: int = 2, clock: VirtualClock | None = None) -> "PoolSubject":
        """Return a new pool under test and its server."""
        server = Server(max_size)
        pool = await self.made(
            self.make_pool,
            "acquire" if type(self).lease is PoolSuite.lease else "",
            connect=server.connect,
            close=server.close,
            max_size=max_size,
            clock=clock or self.clock,
        )
        return PoolSubject(self, pool, server)


@asynccontextmanager
async def _leased(pool: Any, acquired: Any) -> Any:
    connection = await settle(acquired)
    try:
        yield connection
    finally:
        await settle(pool.release(connection))


class PoolSubject:
    """A pool under test, as the tests see it."""

    def __init__(self, suite: PoolSuite, pool: Any, server: Server) -> None:
        self.suite, self.pool, self.server = suite, pool, server
        self.holders: list[Holder] = []

    def ask(self, timeout: float | None = None) -> Holder:
        """Start a caller, which has not run yet."""
        lease = self.suite.lease(self.pool, timeout)
        holder = Holder(lease, f"caller {len(self.holders) + 1}")
        self.holders.append(holder)
        return holder

    async def hold(self, count: int = 1) -> list[Holder]:
        """Return *count* callers that hold a connection each."""
        holders = [self.ask() for _ in range(count)]
        await turns(20)
        if not all(each.is_served for each in holders):
            await asyncio.sleep(SOON)
        for each in holders:
            if each.error is not None:
                raise each.error
        got = sum(each.is_served for each in holders)
        text = f"only {got} of {count} callers got a connection, with max_size="
        require(got == count, f"{text}{self.server.max_size}: slots are lost, or nobody was woken")
        return holders

    async def check_slots(self) -> None:
        """Fail unless all leases can be had at a time, and all connections are accounted for."""
        holders = await self.hold(self.server.max_size)
        for each in holders:
            each.end()
        await turns(20)
        await self.check_end()

    async def check_end(self) -> None:
        """Fail if a caller still waits, broke, or the server saw too much."""
        for each in self.holders:
            if isinstance(each.error, AssertionError):
                raise each.error
        stuck = [each.task.get_name() for each in self.holders if not each.task.done()]
        require(not stuck, f"still waiting at the end: {', '.join(stuck)}")
        self.server.check()

    async def close(self) -> None:
        """Close the pool."""
        await settle(self.suite.close_pool(self.pool))
