"""Tests of the causes of blocks: pure decisions on counters, and counters of real threads."""

import threading
import time
from collections.abc import Iterator
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
        ({"suspended": 0.06}, "suspended"),
        ({"suspended": 0.04}, "waiting"),
        ({"suspended": 0.06, "is_known": False}, "suspended"),
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


@pytest.fixture
def meter() -> Iterator[Meter]:
    meter = Meter()
    if not meter.is_known:
        pytest.skip("this system does not count the time of a thread")
    meter.start()
    yield meter
    meter.stop()


def compute_for(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_meter_tells_the_computing_of_its_thread_from_that_of_others(meter: Meter) -> None:
    before = meter.read()
    compute_for(0.05)
    own = Cost.between(before, meter.read())
    other = threading.Thread(target=compute_for, args=(0.05,))
    other.start()
    other.join()
    both = Cost.between(before, meter.read())
    assert own.cpu >= 0.05 > own.others
    assert both.others >= 0.05 > both.cpu - own.cpu


def test_meter_tells_that_its_thread_sleeps_from_that_it_computed(meter: Meter) -> None:
    slept: list[float] = []
    is_idle = threading.Event()

    def look_until_it_slept() -> None:
        is_idle.wait()
        until = time.monotonic() + 5
        while not slept or (slept[-1] < 0.05 and time.monotonic() < until):
            slept.append(meter.read().slept)

    looking = threading.Thread(target=look_until_it_slept)
    looking.start()
    meter.read()
    compute_for(0.05)
    began = time.monotonic()
    is_idle.set()
    looking.join()  # asleep
    seconds = time.monotonic() - began
    assert slept[0] == 0  # it slept by then, but had computed since the reading before
    assert 0.05 <= slept[-1] <= seconds
