"""Tests of what the author of a load may state."""

from typing import Any

import pytest

from pytest_agentperf.core.errors import AgentPerfError
from pytest_agentperf.measure.load.keywords import read_plan
from pytest_agentperf.measure.load.shape import Shape
from pytest_agentperf.measure.load.stages import Stage

USERS = {"users": 5, "duration": "10s"}
RATE = {"rate": "5/s", "duration": "10s"}


def test_users_begin_at_once_and_call_to_the_end() -> None:
    plan = read_plan(USERS)
    assert plan.shape == Shape(is_open=False, stages=(Stage(0, 5), Stage(10, 5)))
    assert plan.seconds == 10


def test_ramp_up_is_a_part_of_the_duration() -> None:
    plan = read_plan({"rate": "50/s", "duration": "1min", "ramp_up": "20s"})
    assert plan.shape == Shape(is_open=True, stages=(Stage(20, 50), Stage(40, 50)))


def test_ramp_up_may_last_to_the_end() -> None:
    assert read_plan({**USERS, "ramp_up": 10}).shape.stages == (Stage(10, 5),)


def test_load_of_requests_alone_is_bounded() -> None:
    assert read_plan({"users": 5, "requests": 10}).seconds == 600


def test_what_is_none_is_not_stated() -> None:
    assert read_plan({**USERS, "rate": None, "requests": None}) == read_plan(USERS)


def test_bounds_that_are_not_stated_have_defaults() -> None:
    plan = read_plan(RATE)
    assert (plan.max_in_flight, plan.grace, plan.deadline) == (1000, 30, None)
    assert (plan.arm_after, plan.warmup, plan.is_abortable) == (10, 0, False)


def test_budgets_are_armed_after_the_ramp() -> None:
    assert read_plan({**USERS, "duration": 60, "ramp_up": 20, "warmup": 3}).arm_after == 23
    assert read_plan({**USERS, "arm_after": 2}).arm_after == 2


@pytest.mark.parametrize(
    ("stated", "kind", "message"),
    [
        ({}, ValueError, "none of them: expected one of users=, rate= and stages="),
        ({"users": 5}, ValueError, "users=5 without an end; add duration= or requests="),
        ({"rate": 5}, ValueError, "rate=5 without an end"),
        ({"users": 5, "rate": 5, "duration": 1}, ValueError, "users=5 and rate=5: expected one"),
        ({"users": 5, "stages": "1s:1"}, ValueError, "users=5 and stages='1s:1'"),
        ({"stages": "1s:1", "duration": 5}, ValueError, "duration=5 beside stages="),
        ({"stages": "1s:1", "ramp_up": 5}, ValueError, "ramp_up=5 beside stages="),
        ({"stages": "1s:100001"}, ValueError, "at most 100,000"),
        ({"stages": "1s:1000001/s"}, ValueError, "at most 1,000,000"),
        ({"stages": "500h:1"}, ValueError, "7 days at most"),
        ({"users": 0, "duration": 1}, ValueError, "users=0: expected a whole number from 1"),
        ({"users": -1, "duration": 1}, ValueError, "users=-1: expected a whole number"),
        ({"users": 100_001, "duration": 1}, ValueError, "from 1 to 100,000"),
        ({"users": 1.5, "duration": 1}, TypeError, "users=1.5: expected a whole number"),
        ({"users": "5", "duration": 1}, TypeError, "users='5': expected a whole number"),
        ({"users": True, "duration": 1}, TypeError, "users=True: expected a whole number"),
        ({"rate": 0, "duration": 1}, ValueError, "rate=0: expected more than 0"),
        ({"rate": -1, "duration": 1}, ValueError, "-1: expected a finite rate"),
        ({"rate": "2M/s", "duration": 1}, ValueError, "at most 1,000,000"),
        ({"rate": "5/h", "duration": 1}, ValueError, "unknown unit '/h'"),
        ({"rate": [5], "duration": 1}, TypeError, "rate=[5]: expected calls a second"),
        ({"users": 1, "duration": 0}, ValueError, "duration=0: expected a time from 1 ms"),
        ({"users": 1, "duration": "0s"}, ValueError, "expected a time from 1 ms"),
        ({"users": 1, "duration": -1}, ValueError, "-1: expected a finite time"),
        ({"users": 1, "duration": "5m"}, ValueError, "unknown unit 'm' (minutes or"),
        ({"users": 1, "duration": "8000h"}, ValueError, "to 7 days"),
        ({"users": 1, "duration": float("nan")}, ValueError, "expected a finite time"),
        ({"users": 1, "duration": True}, TypeError, "duration=True: expected a time"),
        ({"users": 1, "requests": 0}, ValueError, "requests=0: expected a whole number"),
        ({**USERS, "ramp_up": "11s"}, ValueError, "longer than the whole load of 10 s"),
        ({**USERS, "warmup": "10s"}, ValueError, "the load takes 10 s; expected less"),
        ({**USERS, "think_time": (1, 2, 3)}, ValueError, "the least and the most"),
        ({**USERS, "think_time": (2, 1)}, ValueError, "expected the least time first"),
        ({**USERS, "think_time": [1, 2]}, TypeError, "think_time=[1, 2]: expected a time"),
        ({**USERS, "max_in_flight": 5}, ValueError, "a load of users has none; drop it"),
        ({**USERS, "arrivals": "poisson"}, ValueError, "a load of users has none; drop it"),
        ({**RATE, "think_time": 1}, ValueError, "a load of a rate has none; drop it"),
        ({**RATE, "arrivals": "uniform"}, ValueError, "unknown arrivals 'uniform'"),
        ({**RATE, "arrivals": ["poisson"]}, ValueError, "unknown arrivals"),
        ({**RATE, "max_in_flight": 0}, ValueError, "max_in_flight=0: expected a whole number"),
        ({**USERS, "deadline": 0}, ValueError, "deadline=0: expected a time from 1 ms"),
        ({**USERS, "grace": -1}, ValueError, "-1: expected a finite time"),
        ({**USERS, "abort_on_fail": "yes"}, TypeError, "abort_on_fail='yes': expected True"),
        ({**USERS, "goodput": "1s"}, TypeError, "goodput='1s': expected limits"),
        ({**USERS, "goodput": {"p95": 1}}, ValueError, "unknown limit of goodput 'p95'"),
        ({**USERS, "goodput": {"ttft": "x"}}, ValueError, "'x': expected a time"),
        ({**USERS, "usrs": 5}, ValueError, "unknown keyword of perf_load 'usrs'; did you mean"),
        ({**USERS, "seed": -1}, ValueError, "seed=-1: expected a whole number from 0"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(
    stated: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as caught:
        read_plan(stated)
    assert message in str(caught.value)
    assert isinstance(caught.value, AgentPerfError)
