"""The error of a gate that cannot judge, which must never look like a gate that passed."""

from pytest_agentperf.core.errors import AgentPerfError

__all__ = ["BeyondBoundsError", "BrokenGateError"]


class BrokenGateError(AgentPerfError, RuntimeError):
    """The evidence of the regression gate could not be collected."""


class BeyondBoundsError(BrokenGateError):
    """What the user allows is not enough to collect any."""
