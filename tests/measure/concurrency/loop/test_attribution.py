"""Tests of the causes of blocks: pure decisions on counters, and counters of real threads."""

import threading
import time
from typing import Any

import pytest

from pytest_agentperf.measure.concurrency.loop.attribution import Cost, Meter, Reading, cause_of

THRESHOLD = 0.025


# 100 ms in which the loop stood still; 20 turns are one each switch interval of 5 ms.
@pytest.mark.parametrize(
    ("cost", "cause"),
    [
        ({"cpu": 0.1}, "computing"),
        ({"cpu": 0.025, "others": 0.09, "turns": 25}, "computing"),  # a block by itself
        ({"cpu": 0.024, "others": 0.09, "turns": 25}, "gil"),
        ({"others": 0.09, "turns": 25}, "gil"),
        ({"others": 0.09, "turns": 2}, "waiting"),  # for the thread that computes
        ({"starved": 0.09, "turns": 25}, "gil"),  # who had the GIL was preempted
        ({"starved": 0.09, "turns": 2}, "waiting"),  # sleeps with the GIL
        ({}, "waiting"),
        ({"cpu": 0.1, "gc": 0.09}, "gc"),
        ({"cpu": 0.1, "gc": 0.07}, "computing"),  # 30 ms of its own
        ({"asleep": 0.06}, "suspended"),
        ({"asleep": 0.04}, "waiting"),
        ({"asleep": 0.06, "is_known": False}, "suspended"),
        ({"cpu": 0.1, "is_known": False}, "unknown"),
    ],
)
def test_cause_follows_from_what_the_threads_did(cost: dict[str, Any], cause: str) -> None:
    assert cause_of(0.1, Cost(**cost), THRESHOLD) == cause


def test_block_that_is_none_without_other_processes_is_preempted() -> None:
    cost = Cost(cpu=0.02, run_delay=0.2)
    assert cause_of(0.024, cost, THRESHOLD) == "preempted"
    assert cause_of(0.025, cost, THRESHOLD) == "computing"


def test_cost_is_the_difference_of_two_readings_and_never_negative() -> None:
    before, after = Reading(cpu=1, turns=3, gc=2), Reading(cpu=1.5, turns=5, gc=1)
    assert Cost.between(before, after) == Cost(cpu=0.5, turns=2)


def test_meter_tells_the_computing_of_its_thread_from_that_of_others() -> None:
    def compute() -> None:
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass

    meter = Meter()
    if not meter.is_known:
        pytest.skip("this system does not count the time of a thread")
    meter.start()
    before = meter.read()
    compute()
    own = Cost.between(before, meter.read())
    other = threading.Thread(target=compute)
    other.start()
    other.join()
    both = Cost.between(before, meter.read())
    meter.stop()
    assert own.cpu >= 0.05 > own.others
    assert both.others >= 0.05 > both.cpu - own.cpu
