"""Tests of the effort."""

import math
from collections.abc import Mapping

import pytest

from pytest_agentperf.core.effort import Effort, parse_effort
from pytest_agentperf.core.errors import BudgetError, UnitError, UnknownNameError


def test_effort_is_parsed_from_numbers_and_text() -> None:
    stated = {
        "rounds": 40,
        "warmup": 0,
        "max_calls": 200,
        "max_time": "2min",
        "max_tokens": "1.5k",
        "max_cost": "$0.50",
    }
    assert parse_effort(stated) == Effort(40, 0, 200, 120.0, 1500, 0.5)


def test_tokens_are_a_whole_number() -> None:
    assert isinstance(parse_effort({"max_tokens": "1.5k"}).max_tokens, int)


def test_effort_of_nothing_states_nothing() -> None:
    assert parse_effort({}) == Effort()
    assert parse_effort({"rounds": None, "max_time": None}) == Effort()


@pytest.mark.parametrize(
    ("stated", "error", "sentence"),
    [
        (
            {"round": 5},
            UnknownNameError,
            "unknown measuring option 'round'; did you mean 'rounds'?",
        ),
        ({"rounds": 0}, BudgetError, "rounds=0: expected a whole number of 1 or more"),
        ({"rounds": True}, BudgetError, "rounds=True: expected a whole number of 1 or more"),
        ({"rounds": 2.0}, BudgetError, "rounds=2.0: expected a whole number of 1 or more"),
        ({"rounds": "5"}, BudgetError, "rounds='5': expected a whole number of 1 or more"),
        ({"max_calls": 0}, BudgetError, "max_calls=0: expected a whole number of 1 or more"),
        ({"warmup": -1}, BudgetError, "warmup=-1: expected a whole number of 0 or more"),
        ({"max_time": "-1s"}, UnitError, "'-1s': expected a finite time of zero or more"),
        ({"max_tokens": math.nan}, UnitError, "nan: expected a finite count of zero or more"),
        ({"max_cost": "5 s"}, UnitError, "'5 s': unknown unit 's'; expected a bare amount of mo"),
    ],
)
def test_effort_that_cannot_be_meant_is_refused(
    stated: Mapping[str, object], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error) as caught:
        parse_effort(stated)
    assert str(caught.value).startswith(sentence)


def test_later_effort_wins_where_it_states_something() -> None:
    earlier = Effort(rounds=5, warmup=2, max_time=1.0)
    assert earlier.updated(Effort(rounds=9, warmup=0)) == Effort(rounds=9, warmup=0, max_time=1.0)
    assert earlier == Effort(rounds=5, warmup=2, max_time=1.0)
