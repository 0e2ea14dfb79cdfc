"""Pools of database connections: asyncpg, psycopg_pool, SQLAlchemy and redis."""

# ruff: noqa: SLF001 -- what has no public name is asked for by its private one
import sys
from typing import Any

from pytest_agentperf.measure.pool.observing import Observer, Target

__all__ = ["asyncpg_pool", "psycopg_pool", "redis_pool", "sqlalchemy_pool"]

_UNLIMITED = 2**31


def asyncpg_pool(pool: Any) -> Target | None:
    """Return how to observe a pool of asyncpg; None for anything else."""
    holder: Any = getattr(sys.modules["asyncpg.pool"], "PoolConnectionHolder", None)
    if holder is None or not hasattr(pool, "get_max_size"):
        return None

    def is_of_pool(thing: Any) -> bool:
        return thing._pool is pool

    def is_held(thing: Any) -> bool:
        return thing._pool is pool and thing._in_use is not None

    def place(observer: Observer) -> None:
        observer.takes(type(pool), "_acquire", lambda _, proxy: id(proxy._holder))
        # Where all ways of returning a connection meet, also that of one that was closed.
        observer.gives(holder, "_release", lambda thing, _: id(thing), is_held)
        observer.creates(holder, "connect", is_of_pool)

    return Target(
        pool,
        "asyncpg pool",
        capacity=pool.get_max_size,
        in_use=lambda: sum(not each.is_idle() for each in pool._holders),
        place=place,
    )


def psycopg_pool(pool: Any) -> Target | None:
    """Return how to observe a pool of psycopg_pool, sync or async; None for anything else."""
    if not hasattr(pool, "getconn") or not hasattr(pool, "get_stats"):
        return None

    def place(observer: Observer) -> None:
        observer.takes(type(pool), "getconn")
        observer.gives(type(pool), "putconn")

    return Target(
        pool,
        "psycopg pool",
        capacity=lambda: pool.max_size or None,
        in_use=lambda: 0,  # it does not tell those that are leased from those that are opened
        place=place,
        created=lambda: pool.get_stats().get("connections_num", 0),
    )


def sqlalchemy_pool(pool: Any) -> Target | None:
    """Return how to observe a queue pool of SQLAlchemy; None for anything else."""
    if not hasattr(pool, "checkedout") or not hasattr(pool, "_max_overflow"):
        return None

    def is_of_pool(record: Any) -> bool:
        return getattr(record, "_ConnectionRecord__pool", None) is pool

    def capacity() -> int | None:
        return None if pool._max_overflow < 0 else pool.size() + pool._max_overflow

    def place(observer: Observer) -> None:
        observer.takes(type(pool), "connect", lambda _, fairy: id(fairy._connection_record))
        observer.gives(type(pool), "_do_return_conn")
        record: Any = sys.modules["sqlalchemy.pool.base"]._ConnectionRecord
        observer.creates(record, "_ConnectionRecord__connect", is_of_pool)

    return Target(
        pool,
        f"SQLAlchemy {type(pool).__name__}",
        capacity=capacity,
        in_use=pool.checkedout,
        place=place,
    )


def redis_pool(pool: Any) -> Target | None:
    """Return how to observe a connection pool of redis, sync or async; None for anything else."""
    if not hasattr(pool, "make_connection") or not hasattr(pool, "max_connections"):
        return None

    def place(observer: Observer) -> None:
        observer.takes(type(pool), "get_connection")
        observer.gives(type(pool), "release")
        observer.creates(type(pool), "make_connection")

    most = pool.max_connections
    return Target(
        pool,
        "redis pool",
        capacity=lambda: most if most < _UNLIMITED else None,
        in_use=lambda: len(pool._get_in_use_connections()),
        place=place,
    )
