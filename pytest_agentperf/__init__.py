"""Performance tests for agents: timed calls, streams, concurrency, memory and budgets, in pytest.

The public names are imported when they are first used, and none of them imports pytest.

PYTEST_DONT_REWRITE
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_agentperf.core.errors import AgentPerfError
    from pytest_agentperf.core.sample import Sample
    from pytest_agentperf.core.usage import Usage
    from pytest_agentperf.integrations.llm_server import LLMServer
    from pytest_agentperf.integrations.reply import Reply
    from pytest_agentperf.judge.targets import SIMPLE_AGENT, TOOL_AGENT
    from pytest_agentperf.measure.cache.door import PerfCache
    from pytest_agentperf.measure.concurrency.door import PerfConcurrency
    from pytest_agentperf.measure.load.door import PerfLoad
    from pytest_agentperf.measure.load.result import LoadResult
    from pytest_agentperf.measure.load.scenario import Scenario
    from pytest_agentperf.measure.memory.door import PerfMemory
    from pytest_agentperf.measure.pool.door import PerfPool
    from pytest_agentperf.measure.timer import PerfTimer

__all__ = [
    "SIMPLE_AGENT",
    "TOOL_AGENT",
    "AgentPerfError",
    "LLMServer",
    "LoadResult",
    "PerfCache",
    "PerfConcurrency",
    "PerfLoad",
    "PerfMemory",
    "PerfPool",
    "PerfTimer",
    "Reply",
    "Sample",
    "Scenario",
    "Usage",
]

_HOMES = {
    "AgentPerfError": "core.errors",
    "LLMServer": "integrations.llm_server",
    "PerfCache": "measure.cache.door",
    "PerfConcurrency": "measure.concurrency.door",
    "LoadResult": "measure.load.result",
    "PerfLoad": "measure.load.door",
    "PerfMemory": "measure.memory.door",
    "PerfPool": "measure.pool.door",
    "PerfTimer": "measure.timer",
    "Reply": "integrations.reply",
    "SIMPLE_AGENT": "judge.targets",
    "Sample": "core.sample",
    "Scenario": "measure.load.scenario",
    "TOOL_AGENT": "judge.targets",
    "Usage": "core.usage",
}


def __getattr__(name: str) -> Any:
    """Return the public name *name*, imported from its home."""
    if name == "__version__":
        from importlib.metadata import version

        return version("pytest-agentperf")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
