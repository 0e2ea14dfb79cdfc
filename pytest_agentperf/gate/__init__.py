"""The regression gate at work: runs of both sides are collected and judged for the tests."""

from typing import Final

__all__ = ["SIDE_PLUGIN", "SIDE_VARIABLE"]

SIDE_PLUGIN: Final = "agentperf-side"
"""The name under which the plugin manager knows the side of a duet that a process is."""

SIDE_VARIABLE: Final = "_AGENTPERF_SIDE"
"""The environment variable that makes a run of pytest one side of a duet; names its job's file."""
