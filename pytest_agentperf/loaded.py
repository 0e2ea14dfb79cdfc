"""Loads of a test: which budgets they are held to while they run."""

import pytest

from pytest_agentperf.core.clock import REAL_TIME
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.judge.limits import ResolvedLimits
from pytest_agentperf.judge.verdict import Status, judge
from pytest_agentperf.live import live_view
from pytest_agentperf.measure.load.guard import Judge
from pytest_agentperf.measure.load.made import LoadContext

__all__ = ["load_context"]


def load_context(config: pytest.Config, limits: ResolvedLimits, *, is_quick: bool) -> LoadContext:
    """Return the test around its loads.

    Args:
        config: Of the session.
        limits: What the test is held to.
        is_quick: Whether each scenario is called once.
    """
    return LoadContext(
        REAL_TIME.clock,
        lambda label: _judge_of(limits, label),
        is_quick=is_quick,
        view=lambda: live_view(config),
    )


def _judge_of(limits: ResolvedLimits, label: str | None) -> Judge | None:
    """Return what holds a measurement called *label* to its limits; None without any."""
    return (lambda measurement: _missed(measurement, limits)) if limits.of(label) else None


def _missed(measurement: Measurement, limits: ResolvedLimits) -> str:
    """Return the sentence of the first limit that *measurement* misses, or an empty text."""
    verdicts, _ = judge([measurement], limits, is_complete=False)
    missed = [verdict.sentence for verdict in verdicts if verdict.status is Status.FAILED]
    return missed[0] if missed else ""
