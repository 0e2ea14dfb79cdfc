"""Pool waits: for a free connection of aiohttp or httpcore (and so of httpx), or a free thread."""

import functools
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeAlias

from pytest_agentperf.measure.concurrency.waits.waiting import Stopwatch

__all__ = ["POOL_MODULES", "place_pools"]

_Function: TypeAlias = Callable[..., Any]


def place_pools(stopwatch: Stopwatch) -> tuple[str, ...]:
    """Time the waits for threads, and for connections of the libraries that are imported already.

    Returns:
        Sentences about what cannot be timed here.
    """
    notes = []
    for module, (owner, name, make) in _POOLS.items():
        if module in sys.modules:
            pool = getattr(sys.modules[module], owner, None)
            if not stopwatch.hooks.place(pool, name, functools.partial(make, stopwatch)):
                library = module.partition(".")[0]
                notes.append(f"waits for connections of {library} are not seen in this release")
    if _counts_idle(ThreadPoolExecutor):
        stopwatch.hooks.place(ThreadPoolExecutor, "submit", functools.partial(_submit, stopwatch))
    else:
        notes.append("waits for threads of an executor are not seen with this Python")
    return tuple(notes)


def _httpcore(stopwatch: Stopwatch, wait: _Function) -> _Function:
    def waiting(request: Any, *args: Any, **kwargs: Any) -> Any:
        waited = functools.partial(wait, request, *args, **kwargs)
        if request.connection is not None or not stopwatch.hooks.active:
            return waited()
        name = f"connection of httpcore to {request.request.url.origin}"
        return stopwatch.wait("pool", request, waited, name)

    return waiting


def _aiohttp(stopwatch: Stopwatch, wait: _Function) -> _Function:
    def waiting(connector: Any, key: Any, *args: Any, **kwargs: Any) -> Any:
        waited = functools.partial(wait, connector, key, *args, **kwargs)
        if not stopwatch.hooks.active:
            return waited()
        name = f"connection of aiohttp to {key.host}:{key.port}"
        return stopwatch.wait("pool", connector, waited, name)

    return waiting


_REQUEST: Final = ("AsyncPoolRequest", "wait_for_connection", _httpcore)
_POOLS: Final = {
    "httpcore._async.connection_pool": _REQUEST,
    "httpcore2._async.connection_pool": _REQUEST,
    "aiohttp.connector": ("BaseConnector", "_wait_for_available_connection", _aiohttp),
}
POOL_MODULES: Final = tuple(_POOLS)
"""Where libraries have their pools of connections, once they are imported."""


def _submit(stopwatch: Stopwatch, submit: _Function) -> _Function:
    def submitted(executor: Any, func: _Function, /, *args: Any, **kwargs: Any) -> Any:
        if not stopwatch.hooks.active or not _is_full(executor):
            return submit(executor, func, *args, **kwargs)
        size = executor._max_workers  # noqa: SLF001
        name = f"thread of executor {executor._thread_name_prefix!r} ({size} at most)"  # noqa: SLF001
        end = stopwatch.begin("executor", executor, name)

        def begun() -> Any:
            end()
            return func(*args, **kwargs)

        return submit(executor, begun)

    return submitted


@functools.cache
def _counts_idle(executor: Callable[[int], object]) -> bool:
    return hasattr(executor(1), "_idle_semaphore")


def _is_full(executor: Any) -> bool:
    """Return whether all threads are busy; otherwise one begins at once, or is started."""
    idle = executor._idle_semaphore._value  # noqa: SLF001 -- there is no public way to ask
    return not idle and len(executor._threads) >= executor._max_workers  # noqa: SLF001
