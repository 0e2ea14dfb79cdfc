"""Tests of the plan of a load and of its shares."""

import pickle
from itertools import islice

import pytest

from pytest_agentperf.measure.load.keywords import read_plan


def test_shares_of_users_make_up_all_users() -> None:
    plans = read_plan({"users": 10, "duration": 5, "requests": 103}).split(4)
    assert sorted(user for plan in plans for user in plan.users) == list(range(10))
    assert [plan.most_in_flight for plan in plans] == [3, 3, 2, 2]
    assert [plan.calls for plan in plans] == [26, 26, 26, 25]


@pytest.mark.parametrize("arrivals", ["constant", "poisson"])
def test_shares_of_a_rate_make_up_the_one_schedule(arrivals: str) -> None:
    whole = read_plan({"rate": 10, "duration": 5, "arrivals": arrivals, "requests": 40})
    shares = [list(plan.arrivals()) for plan in whole.split(3)]
    together = list(whole.arrivals())
    assert sorted(due for share in shares for due in share) == together
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_limit_of_calls_in_flight_is_that_of_all_shares() -> None:
    plans = read_plan({"rate": 10, "duration": 5, "max_in_flight": 10}).split(3)
    assert [plan.most_in_flight for plan in plans] == [4, 3, 3]


def test_requests_that_are_not_stated_have_no_end() -> None:
    assert read_plan({"users": 1, "duration": 1}).calls is None


def test_thoughts_lie_within_their_bounds_and_follow_the_seed() -> None:
    stated = {"users": 1, "duration": 1, "think_time": ("1s", "3s")}
    plan = read_plan(stated)
    thoughts = list(islice(plan.thoughts(), 200))
    assert 1 <= min(thoughts) < 1.2
    assert 2.8 < max(thoughts) <= 3
    assert thoughts == list(islice(read_plan(stated).thoughts(), 200))
    assert thoughts != list(islice(read_plan({**stated, "seed": 1}).thoughts(), 200))


def test_shares_think_differently() -> None:
    first, second = read_plan({"users": 2, "duration": 1, "think_time": (0, 1)}).split(2)
    assert next(first.thoughts()) != next(second.thoughts())


def test_plan_survives_pickling() -> None:
    plan = read_plan({"stages": "5s:10/s", "goodput": {"ttft": "1s"}, "deadline": "2s"})
    assert pickle.loads(pickle.dumps(plan)) == plan  # noqa: S301 -- our own


@pytest.mark.parametrize(
    ("stated", "shown"),
    [
        ({"users": 1, "duration": 1}, "closed load of 1 user"),
        ({"users": 5, "duration": 1}, "closed load of 5 users"),
        ({"users": 5, "duration": 2, "ramp_up": 1}, "closed load of up to 5 users"),
        ({"rate": "50/s", "duration": 1}, "open load of 50/s"),
        ({"stages": "1s:5/s,1s:9/s"}, "open load of up to 9/s"),
    ],
)
def test_plan_says_what_it_is(stated: dict[str, object], shown: str) -> None:
    assert str(read_plan(stated)) == shown
