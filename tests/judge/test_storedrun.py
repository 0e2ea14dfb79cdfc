"""Tests of stored runs; what reads and refuses them is tested with the baseline."""

from pytest_agentperf.judge.runs import Run
from pytest_agentperf.judge.storedrun import pooled_latencies


def test_latencies_of_several_runs_are_pooled_in_order() -> None:
    runs = [Run(2.0, 2, (1.0, 3.0)), Run(2.0, 1, (2.0,)), Run(2.0, 0, ())]
    assert pooled_latencies(runs) == (1.0, 2.0, 3.0)
    assert pooled_latencies([]) == ()


def test_many_latencies_are_thinned_evenly() -> None:
    runs = [Run(1.0, 100, tuple(float(n) for n in range(start, 400, 4))) for start in range(4)]
    found = pooled_latencies(runs, 4)
    assert found == (50.0, 150.0, 250.0, 350.0)
    assert len(pooled_latencies(runs)) == 200
