"""The fixtures: session-scoped doors to the running test.

A function-scoped fixture would fail hypothesis's health check, so each of these is made once and
finds the running test when it is used. What they need is imported when they are first asked for.
"""

from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

import pytest

from pytest_agentperf.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_agentperf.integrations.llm_server import LLMServer
    from pytest_agentperf.measure.cache.door import PerfCache
    from pytest_agentperf.measure.concurrency.door import PerfConcurrency
    from pytest_agentperf.measure.load.door import PerfLoad
    from pytest_agentperf.measure.memory.door import PerfMemory
    from pytest_agentperf.measure.pool.door import PerfPool
    from pytest_agentperf.measure.timer import PerfTimer
    from pytest_agentperf.session import PerfSession

__all__ = [
    "SESSION",
    "perf_cache",
    "perf_concurrency",
    "perf_llm_server",
    "perf_load",
    "perf_memory",
    "perf_pool",
    "perf_timer",
]

SESSION: "Final[pytest.StashKey[PerfSession]]" = pytest.StashKey()
"""Where the session's state is kept, in `config.stash`, once there is any."""


@pytest.fixture(scope="session")
def perf_timer(pytestconfig: pytest.Config) -> "PerfTimer":
    """Time calls: give it a function and its arguments, and await what an async one returns."""
    from pytest_agentperf.measure.timer import PerfTimer

    return PerfTimer(_session(pytestconfig, "perf_timer").current)


@pytest.fixture(scope="session")
def perf_concurrency(pytestconfig: pytest.Config) -> "PerfConcurrency":
    """Watch what blocks an event loop, what overlaps there, what waits and what leaks."""
    from pytest_agentperf.measure.concurrency.door import PerfConcurrency

    return PerfConcurrency(_session(pytestconfig, "perf_concurrency").current_watching)


@pytest.fixture(scope="session")
def perf_memory(pytestconfig: pytest.Config) -> "PerfMemory":
    """Meter memory: peaks and growth, leaks, sizes, and the pauses of the garbage collector."""
    from pytest_agentperf.measure.memory.door import PerfMemory

    return PerfMemory(_session(pytestconfig, "perf_memory").current_metering)


@pytest.fixture(scope="session")
def perf_cache(pytestconfig: pytest.Config) -> "PerfCache":
    """Count what caches answer and what is computed behind them, and what of prompts repeats."""
    from pytest_agentperf.measure.cache.door import PerfCache

    return PerfCache(_session(pytestconfig, "perf_cache").current_caching)


@pytest.fixture(scope="session")
def perf_pool(pytestconfig: pytest.Config) -> "PerfPool":
    """See how full pools are, who waits, what is reused or leaked, and what batchers gather."""
    from pytest_agentperf.measure.pool.door import PerfPool

    return PerfPool(_session(pytestconfig, "perf_pool").current_pooling)


@pytest.fixture(scope="session")
def perf_load(pytestconfig: pytest.Config) -> "PerfLoad":
    """Call with many users at once, or at a rate: give it a function, arguments and the load."""
    from pytest_agentperf.measure.load.door import PerfLoad

    return PerfLoad(_session(pytestconfig, "perf_load").current_loading)


@pytest.fixture(scope="session")
def perf_llm_server() -> "Iterator[Callable[..., LLMServer]]":
    """Start OpenAI-compatible servers on loopback: `perf_llm_server(ttft="50ms").url`."""
    from pytest_agentperf.integrations.llm_server import LLMServer

    # A server goes with the last reference to it, or here: a suite may start thousands.
    servers: WeakSet[LLMServer] = WeakSet()

    def start(**options: Any) -> LLMServer:
        server = LLMServer(**options).start()
        servers.add(server)
        return server

    yield start
    for server in servers:
        server.close()


def _session(config: pytest.Config, fixture: str) -> "PerfSession":
    session = config.stash.get(SESSION, None)
    if session is None:
        raise UsageError(
            f"{fixture} was requested while the tests run; name it as an argument of the test"
        )
    return session
