"""What the suite finds in pools of others, each with the server that it was made for.

A known failure is expected, strictly, with the issue that it belongs to: once it is mended the test
fails and the entry goes.
"""

import asyncio
import gc
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pytest_agentperf.conformance import PoolConformance, real_io
from pytest_agentperf.conformance import adapters as adapt
from tests.conformance import servers
from tests.conformance.peers import known, peer

# A loop that ends takes connections with it that nobody has closed.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)
LOST_NOTIFY = "python/cpython#112202: Condition loses a notify when the woken task is cancelled"
LOST_CANCELLATION = "python/cpython#86296: wait_for swallows a cancellation when its task is done"
BARGING = "as in python/cpython#83055: a newcomer takes the slot of a woken waiter"
HAS_LOST_NOTIFY = sys.version_info < (3, 13)
HAS_LOST_CANCELLATION = sys.version_info < (3, 12)
POSTGRES = ("postgresql", servers.postgres_program("initdb"))
REDIS = ("redis-server", shutil.which("redis-server"))


class Link:
    """A connection of the suite that lives as long as a real one."""

    held: Any = None
    close: Any

    async def open(self, connect: Any, close: Any, really: Callable[[], Awaitable[Any]]) -> Any:
        """Open both; the real one is what *really* returns."""
        self.held, self.close = await connect(), close
        try:
            with real_io():
                return await really()
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Close that of the suite, once."""
        held, self.held = self.held, None
        if held is not None:
            asyncio.get_running_loop().create_task(self.close(held))


class _Served(PoolConformance):
    supports_fifo = True
    """Of a pool that connects to a real server."""

    address: Any
    run_server: Any

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def server(cls) -> Iterator[None]:
        with cls.run_server() as cls.address:
            yield
        gc.collect()  # or what is left is reported in whichever test is next


@peer("asyncpg", None, POSTGRES)
class TestAsyncpg(_Served):
    supports_fifo = False  # a newcomer overtakes within one turn, which one depends on the server
    supports_timeout = True
    supports_idle_timeout = True
    run_server = staticmethod(servers.postgres)

    async def make_pool(self, *, connect: Any, close: Any, max_size: int, clock: Any) -> Any:
        library = pytest.importorskip("asyncpg")

        class Ours(library.Connection):  # type: ignore[misc,name-defined]
            __slots__ = ("link",)

            async def reset(self, **options: Any) -> None:
                with real_io():
                    await super().reset(**options)

        async def connect_both(*args: Any, **options: Any) -> Any:
            link = Link()
            connection = await link.open(connect, close, lambda: library.connect(*args, **options))
            connection.link = link
            connection.add_termination_listener(lambda _: link.end())
            return connection

        return await library.create_pool(
            connect=connect_both, connection_class=Ours, min_size=0, max_size=max_size,
            max_inactive_connection_lifetime=self.idle_timeout, host=self.address, user="peer",
            database="postgres",
        )  # fmt: skip

    @asynccontextmanager
    async def lease(self, pool: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        async with pool.acquire(timeout=timeout) as connection:
            yield connection.link.held


@peer("psycopg_pool", None, POSTGRES)
@known(
    f"psycopg_pool 3.3.3, as in psycopg/psycopg#1345: {LOST_CANCELLATION}",
    "test_slot_granted_to_a_cancelled_waiter_goes_to_the_next",
    "test_caller_cancelled_just_when_it_is_connected_loses_no_slot",
    condition=HAS_LOST_CANCELLATION,
)
@known(
    "psycopg_pool 3.3.3, as in psycopg/psycopg#1401: a worker takes its cancellation for a connect "
    "that failed, and goes on",
    "test_cancelled_tasks_end_while_a_connect_hangs",
)
class TestPsycopgPool(_Served):
    supports_timeout = True
    supports_max_lifetime = True
    run_server = staticmethod(servers.postgres)

    async def make_pool(self, *, connect: Any, close: Any, max_size: int, clock: Any) -> Any:
        library = pytest.importorskip("psycopg_pool")
        psycopg = pytest.importorskip("psycopg")
        for module in (library.base, library.pool_async, library.sched_async):
            module.monotonic = clock  # it asks for the time by this name

        class Ours(psycopg.AsyncConnection):  # type: ignore[misc,name-defined]
            link: Link

            @classmethod
            async def connect(cls, *args: Any, **options: Any) -> Any:
                link = Link()
                parent = super().connect
                connection = await link.open(connect, close, lambda: parent(*args, **options))
                connection.link = link
                return connection

            async def close(self) -> None:
                self.link.end()
                await super().close()

        pool = library.AsyncConnectionPool(
            f"host={self.address} user=peer dbname=postgres", connection_class=Ours, min_size=0,
            max_size=max_size, max_lifetime=self.max_lifetime, timeout=1e6, open=False,
        )  # fmt: skip
        await pool.open()
        return pool

    @asynccontextmanager
    async def lease(self, pool: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        async with pool.connection(timeout=timeout) as connection:
            yield connection.link.held


@peer("redis", None, REDIS)
@known(f"redis 8.1.0, {BARGING}", "test_newcomer_does_not_overtake_who_waits")
@known(
    f"redis 8.1.0: {LOST_CANCELLATION}",
    "test_cancelled_connect_loses_no_slot",
    "test_caller_cancelled_just_when_it_is_connected_loses_no_slot",
    condition=HAS_LOST_CANCELLATION,
)
@known(
    LOST_NOTIFY,
    "test_slot_granted_to_a_cancelled_waiter_goes_to_the_next",
    condition=HAS_LOST_NOTIFY,
)
class TestRedis(_Served):
    supports_close = False
    run_server = staticmethod(servers.redis)

    def make_pool(self, *, connect: Any, close: Any, max_size: int, clock: Any) -> Any:
        library = pytest.importorskip("redis.asyncio")

        class Ours(library.UnixDomainSocketConnection):  # type: ignore[misc,name-defined]
            def __init__(self, **options: Any) -> None:
                super().__init__(**options)
                self.link = Link()

            @property
            def held(self) -> Any:
                return self.link.held

            async def connect(self) -> None:
                if not self.is_connected:
                    await self.link.open(connect, close, super().connect)

            async def disconnect(self, *args: Any, **options: Any) -> None:
                self.link.end()
                await super().disconnect(*args, **options)

        return adapt.RedisPool(
            library.BlockingConnectionPool(
                max_size, timeout=None, connection_class=Ours, path=self.address
            )
        )


@peer("aiohttp")
@known(f"aiohttp 3.14.5, {BARGING}", "test_newcomer_does_not_overtake_who_waits")
@known(
    "aio-libs/aiohttp#9670: a waiter that is cancelled when it was woken wakes no other",
    "test_slot_granted_to_a_cancelled_waiter_goes_to_the_next",
)
class TestAiohttp(_Served):
    run_server = staticmethod(servers.http)

    def make_pool(self, *, connect: Any, close: Any, max_size: int, clock: Any) -> Any:
        import aiohttp
        from aiohttp.client_proto import ResponseHandler

        class Protocol(ResponseHandler):
            link: Link

            def close(self) -> None:
                self.link.end()
                super().close()

            def abort(self) -> None:
                self.link.end()
                super().abort()

        class Ours(aiohttp.TCPConnector):
            async def _create_connection(self, *args: Any) -> Any:
                link = Link()
                parent = super()._create_connection
                protocol = await link.open(connect, close, lambda: parent(*args))
                protocol.link = link
                return protocol

        connector: Any = Ours(limit=max_size, keepalive_timeout=None)
        connector._factory = lambda: Protocol(loop=asyncio.get_running_loop())
        return connector

    @asynccontextmanager
    async def lease(self, pool: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        import aiohttp
        from yarl import URL

        loop = asyncio.get_running_loop()
        request = aiohttp.ClientRequest("GET", URL(f"http://127.0.0.1:{self.address}"), loop=loop)
        connection = await pool.connect(request, [], aiohttp.ClientTimeout())
        try:
            yield connection.protocol.link.held
        finally:
            connection.release()


class _Httpcore(_Served):
    run_server = staticmethod(servers.http)
    library: Any

    def make_pool(self, *, connect: Any, close: Any, max_size: int, clock: Any) -> Any:
        library = pytest.importorskip(self.library)

        class Stream(library.AsyncNetworkStream):  # type: ignore[misc,name-defined]
            def __init__(self, stream: Any, link: Link) -> None:
                self.stream, self.link = stream, link

            async def read(self, *args: Any, **options: Any) -> Any:
                with real_io():
                    return await self.stream.read(*args, **options)

            async def write(self, *args: Any, **options: Any) -> None:
                await self.stream.write(*args, **options)

            async def aclose(self) -> None:
                self.link.end()
                await self.stream.aclose()

            def get_extra_info(self, info: str) -> Any:
                return self.link if info == "link" else self.stream.get_extra_info(info)

        class Backend(library.AnyIOBackend):  # type: ignore[misc,name-defined]
            async def connect_tcp(self, *args: Any, **options: Any) -> Any:
                link = Link()
                parent = super().connect_tcp
                stream = await link.open(connect, close, lambda: parent(*args, **options))
                return Stream(stream, link)

        return library.AsyncConnectionPool(max_connections=max_size, network_backend=Backend())

    @asynccontextmanager
    async def lease(self, pool: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        async with pool.stream("GET", f"http://127.0.0.1:{self.address}") as response:
            yield response.extensions["network_stream"].get_extra_info("link").held
            await response.aread()

    def close_pool(self, pool: Any) -> Any:
        return pool.aclose()


@peer("httpcore")
@known(f"httpcore 1.0.9, {BARGING}", "test_newcomer_does_not_overtake_who_waits")
@known(
    "encode/httpcore#1093: cancelled between assignment and connect, a connection stays for ever",
    "test_slot_granted_to_a_cancelled_waiter_goes_to_the_next",
)
@known(
    "encode/httpcore#1115: a response whose closing is cancelled keeps its slot",
    "test_holder_cancelled_while_it_returns_gives_its_slot_back",
)
@known(
    "httpcore 1.0.9: a pool opens connections after its end",
    "test_acquire_after_close_fails",
    "test_close_ends_though_callers_hold_and_wait",
)
class TestHttpcore(_Httpcore):
    library = "httpcore"


@peer("httpcore2")
@known(
    "httpcore2 2.16.2: a pool opens connections after its end",
    "test_acquire_after_close_fails",
    "test_close_ends_though_callers_hold_and_wait",
)
class TestHttpcore2(_Httpcore):
    library = "httpcore2"


@peer("generic-connection-pool")
@known(f"generic-connection-pool 0.8.1, {BARGING}", "test_newcomer_does_not_overtake_who_waits")
@known(
    "generic-connection-pool 0.8.1: a cancelled connect takes its slot along, as in "
    "encode/httpcore#1093 (`except Exception` misses CancelledError)",
    "test_close_closes_what_cancelled_callers_left",
    "test_cancelled_connect_loses_no_slot",
    "test_caller_cancelled_just_when_it_is_connected_loses_no_slot",
    "test_cancellation_is_never_swallowed",
    "test_any_schedule_loses_no_slot",
)
@known(
    "generic-connection-pool 0.8.1: a waiter that is cancelled takes along what it was given",
    "test_slot_granted_to_a_cancelled_waiter_goes_to_the_next",
)
class TestGenericConnectionPool(PoolConformance):
    deadline = 3.0
    supports_fifo = True

    def make_pool(self, *, connect: Any, close: Any, max_size: int, clock: Any) -> Any:
        library = pytest.importorskip("generic_connection_pool.asyncio")

        class Manager(library.BaseConnectionManager):  # type: ignore[misc,name-defined]
            async def create(self, endpoint: object) -> Any:
                return await connect()

            async def dispose(self, endpoint: object, conn: Any) -> None:
                await close(conn)

        return adapt.EndpointPool(
            library.ConnectionPool(
                Manager(), idle_timeout=1e6, max_lifetime=1e6, min_idle=max_size, max_size=max_size,
                total_max_size=max_size,
            )
        )  # fmt: skip
