"""Tests of the targets that are ready to be used."""

import pytest

from pytest_agentperf import SIMPLE_AGENT, TOOL_AGENT
from pytest_agentperf.judge.limits import parse_limit


def limits(targets: dict[str, str]) -> dict[str, float | None]:
    parsed = (parse_limit(name, value, "here", is_stated=True) for name, value in targets.items())
    return {name: limit.fail for name, limit in parsed if limit}


@pytest.mark.parametrize(("targets", "p95"), [(SIMPLE_AGENT, 0.1), (TOOL_AGENT, 0.5)])
def test_targets_are_limits_of_an_agent_in_production(targets: dict[str, str], p95: float) -> None:
    assert limits(targets) == {
        "latency_p95": p95,
        "throughput": 500,
        "error_rate": 0.001,
        "rss_peak": 512e6,
    }


def test_targets_cannot_be_changed_by_accident() -> None:
    with pytest.raises(TypeError):
        SIMPLE_AGENT["p95"] = "1h"  # type: ignore[index]
