"""The error of a gate that cannot judge, which must never look like a gate that passed."""

from pytest_agentperf.core.errors import AgentPerfError

__all__ = ["BrokenGateError"]


class BrokenGateError(AgentPerfError, RuntimeError):
    """The evidence of the regression gate could not be collected."""
