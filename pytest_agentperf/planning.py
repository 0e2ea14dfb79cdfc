"""Planning: how often a call is made, from what the user states and what the budgets need."""

from collections.abc import Callable, Sequence
from typing import Final

from pytest_agentperf.core.effort import Effort
from pytest_agentperf.judge.limits import Limit
from pytest_agentperf.judge.verdict import is_open, needed_rounds
from pytest_agentperf.measure.rounds import Plan

__all__ = ["plan_calls"]

_ROUNDS: Final = 5
_MAX_CALLS: Final = 1000
_MAX_TIME: Final = 5.0
_MAX_TIME_OF_PERCENTILES: Final = 60.0


def plan_calls(effort: Effort, limits: Sequence[Limit], announce: Callable[[str], None]) -> Plan:
    """Return how often to call.

    Args:
        effort: What the user states; stated rounds are made exactly, whatever the verdicts.
        limits: What the calls will be held to.
        announce: Tells the user something at once.
    """
    asks_percentile = any(limit.metric.percentile is not None for limit in limits)
    rounds = effort.rounds or needed_rounds(limits, _ROUNDS)
    # A call that costs money is never made for warmth alone.
    warmup = effort.warmup if effort.warmup is not None else int(effort.max_cost is None)
    max_calls = effort.max_calls or max(_MAX_CALLS, rounds + warmup)
    if effort.warmup is None:
        warmup = max(min(warmup, max_calls - rounds), 0)
    patience = _MAX_TIME_OF_PERCENTILES if asks_percentile or effort.rounds else _MAX_TIME
    return Plan(
        rounds=rounds,
        warmup=warmup,
        max_calls=max_calls,
        max_time=effort.max_time if effort.max_time is not None else patience,
        max_tokens=effort.max_tokens,
        max_cost=effort.max_cost,
        is_open=lambda measured: not effort.rounds and is_open(measured, limits),
        announce=announce,
        stated=effort,
    )
