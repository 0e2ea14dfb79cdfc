"""Pools of HTTP connections: httpcore, and so httpx and the clients built on it, and aiohttp."""

# ruff: noqa: SLF001 -- these pools have no public counts
from typing import TYPE_CHECKING, Any

from pytest_agentperf.measure.pool.observing import Observer, Target

if TYPE_CHECKING:
    from pytest_agentperf.measure.pool.ledger import Ask

__all__ = ["aiohttp_connector", "httpcore_pool"]

_UNLIMITED = 2**31 - 1


def httpcore_pool(pool: Any) -> Target | None:
    """Return how to observe a pool of httpcore; None for anything else."""
    if not hasattr(pool, "_requests") or not hasattr(pool, "_max_connections"):
        return None
    most = pool._max_connections
    return Target(
        pool,
        "httpcore pool",
        capacity=lambda: most if most < _UNLIMITED else None,
        in_use=lambda: sum(request.connection is not None for request in pool._requests),
        place=_place_httpcore,
        note="requests that share a connection by HTTP/2 count one by one"
        if getattr(pool, "_http2", False)
        else "",
    )


def _place_httpcore(observer: Observer) -> None:
    """Compare the requests of the pool after each of its decisions, which all are in one place."""
    pool, ledger = observer.pool, observer.ledger
    asks: dict[int, Ask] = {}
    leases = {id(request) for request in pool._requests if request.connection is not None}

    def follow() -> None:
        found = {id(request): request for request in pool._requests}
        for key in leases - found.keys():
            leases.remove(key)
            ledger.give(key)
        for key in asks.keys() - found.keys():
            ledger.leave(asks.pop(key))
        for key in found.keys() - leases:
            ask = asks.get(key) or ledger.ask(observer.site())
            if found[key].connection is None:
                asks[key] = ask
            else:
                asks.pop(key, None)
                leases.add(key)
                ledger.take(ask, key)

    def make(assign: Any) -> Any:
        def assigned(thing: Any) -> Any:
            closing = assign(thing)
            if thing is pool and observer.hooks.active:
                follow()
            return closing

        return assigned

    observer.place(type(pool), "_assign_requests_to_connections", make)
    observer.creates(type(pool), "create_connection")


def aiohttp_connector(pool: Any) -> Target | None:
    """Return how to observe a connector of aiohttp; None for anything else."""
    if not hasattr(pool, "_acquired") or not hasattr(pool, "limit_per_host"):
        return None

    def place(observer: Observer) -> None:
        observer.takes(type(pool), "connect", lambda _, connection: id(connection._protocol))
        observer.gives(type(pool), "_release", lambda _, __, protocol, *___: id(protocol))
        observer.creates(type(pool), "_create_connection")

    per_host = pool.limit_per_host
    return Target(
        pool,
        "aiohttp connector",
        capacity=lambda: pool.limit or None,
        in_use=lambda: len(pool._acquired),
        place=place,
        note=f"its limit of {per_host} connections to one host is not looked at"
        if per_host
        else "",
    )
