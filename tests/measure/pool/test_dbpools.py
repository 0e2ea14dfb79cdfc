"""Pools of databases: against a PostgreSQL and a Redis of our own, and SQLite."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pytest_agentperf.core.errors import CheckError
from pytest_agentperf.measure.pool.door import PerfPool
from pytest_agentperf.measure.pool.use import PoolUse

SIX = range(6)


def check_busy(use: PoolUse, *, waits: int = 4) -> None:
    """Check what six callers and then a seventh, which leaks, do to a pool of two."""
    assert (use.acquired, use.failed, use.created, use.in_use_max) == (7, 0, 2, 2)
    assert (use.utilization_max, use.waits) == (1.0, waits)
    assert use.reuse_rate == pytest.approx(5 / 7)
    assert 2 < use.recommended_size() <= 6
    (held,) = use.leaked
    assert held.place is not None
    assert held.place.source.endswith("# leaks")
    with pytest.raises(CheckError, match=r"test_dbpools.py:\d+ in .*# leaks"):
        use.assert_no_leaks()


@pytest.mark.asyncio
async def test_asyncpg(perf_pool: PerfPool, postgres: str) -> None:
    asyncpg: Any = pytest.importorskip("asyncpg")
    where = {"host": postgres, "user": "tester", "database": "postgres"}
    async with asyncpg.create_pool(**where, min_size=0, max_size=2) as pool:
        async with perf_pool(pool) as use:
            await asyncio.gather(*(pool.fetch("select pg_sleep(0.01)") for _ in SIX))
            left = await pool.acquire()  # leaks
        await pool.release(left)
    check_busy(use)


@pytest.mark.asyncio
async def test_asyncpg_connection_that_was_closed_is_returned(
    perf_pool: PerfPool, postgres: str
) -> None:
    asyncpg: Any = pytest.importorskip("asyncpg")
    where = {"host": postgres, "user": "tester", "database": "postgres"}
    async with asyncpg.create_pool(**where, min_size=0, max_size=2) as pool, perf_pool(pool) as use:
        async with pool.acquire() as connection:
            await connection.close()
        async with pool.acquire() as connection:
            pass
        await pool.release(connection)  # a second time
    assert (use.acquired, use.created, use.in_use_max, use.leaked) == (2, 2, 1, ())


@pytest.mark.asyncio
async def test_psycopg(perf_pool: PerfPool, postgres: str) -> None:
    psycopg_pool: Any = pytest.importorskip("psycopg_pool")
    pool = psycopg_pool.AsyncConnectionPool(
        f"host={postgres} user=tester dbname=postgres", min_size=0, max_size=2, open=False
    )

    async def ask() -> None:
        async with pool.connection() as connection:
            await connection.execute("select pg_sleep(0.01)")

    async with pool:
        async with perf_pool(pool) as use:
            await asyncio.gather(*(ask() for _ in SIX))
            left = await pool.getconn()  # leaks
        await pool.putconn(left)
    check_busy(use)


def test_psycopg_sync(perf_pool: PerfPool, postgres: str) -> None:
    psycopg_pool: Any = pytest.importorskip("psycopg_pool")
    pool = psycopg_pool.ConnectionPool(
        f"host={postgres} user=tester dbname=postgres", min_size=0, max_size=2, open=False
    )
    with pool, perf_pool(pool) as use:
        for _ in SIX:
            with pool.connection() as connection:
                connection.execute("select 1")
    assert (use.acquired, use.created, use.in_use_max, use.waits) == (6, 1, 1, 0)
    use.assert_no_leaks()


@pytest.mark.asyncio
async def test_psycopg_timeout_is_a_caller_that_got_none(
    perf_pool: PerfPool, postgres: str
) -> None:
    psycopg_pool: Any = pytest.importorskip("psycopg_pool")
    pool = psycopg_pool.AsyncConnectionPool(
        f"host={postgres} user=tester dbname=postgres", min_size=1, max_size=1, open=False
    )
    async with pool, perf_pool(pool) as use, pool.connection():
        with pytest.raises(psycopg_pool.PoolTimeout):
            await pool.getconn(timeout=0.02)
    assert (use.acquired, use.failed, use.waits, use.leaked) == (1, 1, 1, ())
    assert use.wait.max >= 0.02


@pytest.mark.asyncio
async def test_redis(perf_pool: PerfPool, redis_socket: str) -> None:
    redis: Any = pytest.importorskip("redis.asyncio")
    connection = {"connection_class": redis.UnixDomainSocketConnection, "path": redis_socket}
    pool = redis.BlockingConnectionPool(max_connections=2, timeout=5, **connection)
    client = redis.Redis(connection_pool=pool)
    async with perf_pool(client) as use:
        await asyncio.gather(*(client.blpop("nothing", timeout=0.02) for _ in SIX))
        left = await pool.get_connection()  # leaks
    check_busy(use)
    await pool.release(left)
    await pool.aclose()


def test_redis_sync(perf_pool: PerfPool, redis_socket: str) -> None:
    redis: Any = pytest.importorskip("redis")
    with (
        redis.Redis(unix_socket_path=redis_socket, max_connections=3) as client,
        perf_pool(client) as use,
    ):
        for _ in SIX:
            client.ping()
    assert (use.acquired, use.created, use.in_use_max, use.waits) == (6, 1, 1, 0)
    use.assert_no_leaks()


def test_redis_pool_that_has_none_left_raises_and_is_counted(
    perf_pool: PerfPool, redis_socket: str
) -> None:
    redis: Any = pytest.importorskip("redis")
    with redis.Redis(unix_socket_path=redis_socket, max_connections=1) as client:
        pool = client.connection_pool
        with perf_pool(pool) as use:
            held = pool.get_connection()
            with pytest.raises(redis.ConnectionError):
                pool.get_connection()
            pool.release(held)
    assert (use.acquired, use.failed, use.in_use_max, use.leaked) == (1, 1, 1, ())


def sqlite(module: Any, path: Path, **options: Any) -> Any:
    pool = module.pool.QueuePool
    return module.create_engine(f"sqlite:///{path}/x.db", poolclass=pool, **options)


def test_sqlalchemy_sync(perf_pool: PerfPool, tmp_path: Path) -> None:
    sqlalchemy: Any = pytest.importorskip("sqlalchemy")
    engine = sqlite(sqlalchemy, tmp_path, pool_size=1, max_overflow=1)
    with perf_pool(engine) as use:
        for _ in SIX:
            with engine.connect() as connection:
                connection.execute(sqlalchemy.text("select 1"))
        left = engine.connect()  # leaks
    left.close()
    engine.dispose()
    assert (use.acquired, use.created, use.in_use_max, use.utilization_max) == (7, 1, 1, 0.5)
    assert "# leaks" in str(use.findings[0])


def test_sqlalchemy_timeout_is_a_caller_that_got_none(perf_pool: PerfPool, tmp_path: Path) -> None:
    sqlalchemy: Any = pytest.importorskip("sqlalchemy")
    engine = sqlite(sqlalchemy, tmp_path, pool_size=1, max_overflow=0, pool_timeout=0.02)
    with (
        perf_pool(engine.pool) as use,
        engine.connect(),
        pytest.raises(sqlalchemy.exc.TimeoutError),
    ):
        engine.connect()
    engine.dispose()
    assert (use.acquired, use.failed, use.waits, use.leaked) == (1, 1, 1, ())


@pytest.mark.asyncio
async def test_sqlalchemy_async(perf_pool: PerfPool, postgres: str) -> None:
    pytest.importorskip("asyncpg")
    sqlalchemy: Any = pytest.importorskip("sqlalchemy")
    extension: Any = pytest.importorskip("sqlalchemy.ext.asyncio")
    engine = extension.create_async_engine(
        f"postgresql+asyncpg://tester@/postgres?host={postgres}", pool_size=1, max_overflow=1
    )

    async def ask() -> None:
        async with engine.connect() as connection:
            await connection.execute(sqlalchemy.text("select pg_sleep(0.01)"))

    async with perf_pool(engine) as use:
        await asyncio.gather(*(ask() for _ in SIX))
        left = await engine.connect()  # leaks
    check_busy(use)
    await left.close()
    await engine.dispose()
