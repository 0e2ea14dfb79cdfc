"""Targets of an agent in production, ready to be used as budgets.

    @pytest.mark.perf_budget(**SIMPLE_AGENT)

The throughput is that of one instance, the memory what a load may add to the process.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["SIMPLE_AGENT", "TOOL_AGENT"]

_EVERY_AGENT: Final = {"throughput": "500/s", "error_rate": "0.1%", "rss_peak": "512MB"}

SIMPLE_AGENT: Final[Mapping[str, str]] = MappingProxyType({"p95": "100ms", **_EVERY_AGENT})
"""Of an agent that answers at once."""

TOOL_AGENT: Final[Mapping[str, str]] = MappingProxyType({"p95": "500ms", **_EVERY_AGENT})
"""Of an agent that calls several tools first."""
