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
        self._asks: dict[int, tuple[Ask, Any]] = {}
        self._leases: dict[int, int | None] = {
            id(each): id(each.connection) for each in self._requests if each.connection
        }

    def follow(self) -> None:
        """Tell the ledger who came, got a connection, and went."""
        found = {id(each): each for each in self._requests}
        for key in self._leases.keys() - found.keys():
            self._give(key)
        for key in self._asks.keys() - found.keys():
            self._leave(key)
        for key, request in found.items():
            if key not in self._leases:
                self._follow_waiting(key, request)

    def _follow_waiting(self, key: int, request: Any) -> None:
        if key not in self._asks:
            self._asks[key] = self._observer.ledger.ask(self._observer.spot()), request
        # All who wait are given the connection that is free, and the first of them gets it.
        is_taken = not self._is_shared and id(request.connection) in self._leases.values()
        if request.connection is not None and not is_taken:
            self._take(key)

    def _leave(self, key: int) -> None:
        ask, request = self._asks[key]
        if request.connection is None:
            del self._asks[key]
            self._observer.ledger.leave(ask)
            return
        # Another thread was served, by a connection whose last user has not said yet to be done.
        for holder, connection in self._leases.items():
            if connection == id(request.connection):
                self._leases[holder] = None
                self._observer.ledger.give(holder)
        self._take(key)
        self._give(key)

    def _take(self, key: int) -> None:
        ask, request = self._asks.pop(key)
        self._leases[key] = id(request.connection)
        self._observer.ledger.take(ask, key)

    def _give(self, key: int) -> None:
        if self._leases.pop(key) is not None:
            self._observer.ledger.give(key)


def aiohttp_connector(pool: Any) -> Target | None:
    """Return how to observe a connector of aiohttp; None for anything else."""
    if not hasattr(pool, "_acquired") or not hasattr(pool, "limit_per_host"):
        return None

    def place(observer: Observer) -> None:
        observer.takes(type(pool), "connect", lambda _, connection: id(connection._protocol))
        observer.gives(type(pool), "_release", lambda _, given: id(given[1]))
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
