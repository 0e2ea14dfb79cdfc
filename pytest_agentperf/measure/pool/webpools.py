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
    most, is_shared = pool._max_connections, getattr(pool, "_http2", False)
    return Target(
        pool,
        "httpcore pool",
        capacity=lambda: None if is_shared or most >= _UNLIMITED else most,
        in_use=lambda: sum(request.connection is not None for request in pool._requests),
        place=_place_httpcore,
        note="with HTTP/2 requests share connections, so that their number says nothing of how full"
        " the pool is"
        if is_shared
        else "",
    )


def _place_httpcore(observer: Observer) -> None:
    requests = _Requests(observer)

    def make(assign: Any) -> Any:
        def assigned(thing: Any) -> Any:
            closing = assign(thing)
            if thing is observer.pool and observer.hooks.active:
                requests.follow()
            return closing

        return assigned

    observer.place(type(observer.pool), "_assign_requests_to_connections", make)
    observer.creates(type(observer.pool), "create_connection")


class _Requests:
    """The requests of a pool of httpcore, compared after each of its decisions.

    All of these are in one function, which the pool calls whenever a request comes or goes.

    Args:
        observer: Of the pool.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._requests: list[Any] = observer.pool._requests
        self._is_shared = getattr(observer.pool, "_http2", False)
        self._asks: dict[int, Ask] = {}
        self._leases = {id(each): id(each.connection) for each in self._requests if each.connection}

    def follow(self) -> None:
        """Tell the ledger who came, got a connection, and went."""
        ledger, found = self._observer.ledger, {id(each): each for each in self._requests}
        for key in self._leases.keys() - found.keys():
            del self._leases[key]
            ledger.give(key)
        for key in self._asks.keys() - found.keys():
            ledger.leave(self._asks.pop(key))
        for key, request in found.items():
            if key not in self._leases:
                self._follow_waiting(key, request.connection)

    def _follow_waiting(self, key: int, connection: Any) -> None:
        if key not in self._asks:
            self._asks[key] = self._observer.ledger.ask(self._observer.site())
        # All who wait are given the connection that is free, and the first of them gets it.
        is_taken = not self._is_shared and id(connection) in self._leases.values()
        if connection is not None and not is_taken:
            self._leases[key] = id(connection)
            self._observer.ledger.take(self._asks.pop(key), key)


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
