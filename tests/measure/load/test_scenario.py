"""Tests of what a load calls, and with which arguments."""

import functools
from collections.abc import Iterable
from typing import Any

import pytest

from pytest_agentperf.core.errors import AgentPerfError, LoadError
from pytest_agentperf.measure.load.scenario import Mix, Scenario


def ask(*args: object) -> None:
    pass


def named(name: str, weight: float = 1, data: Iterable[Any] | None = None) -> Scenario:
    return Scenario(ask, name=name, weight=weight, data=data)


def order(count: int, *scenarios: Scenario) -> str:
    mix = Mix(scenarios)
    return "".join(scenarios[mix.take()[0]].name for _ in range(count))


def test_scenarios_of_equal_weight_take_turns() -> None:
    assert order(6, named("a"), named("b")) == "ababab"


def test_scenarios_come_as_evenly_as_their_weights_allow() -> None:
    assert order(12, named("a", 5), named("b", 1)) == "aaabaa" * 2
    assert order(10, named("a", 0.5), named("b", 0.3), named("c", 0.2)) == "abcaabacba"


def test_scenario_is_called_what_its_function_is() -> None:
    assert Scenario(ask).name == "ask"
    assert Scenario(functools.partial(ask, 1)).name == "ask"
    assert repr(named("x")) == "<Scenario x>"


def test_arguments_are_the_same_for_each_call() -> None:
    mix = Mix([Scenario(ask, 1, 2)])
    assert [mix.take() for _ in range(2)] == [(0, (1, 2)), (0, (1, 2))]
    assert mix.is_constant


def test_each_call_takes_the_next_of_the_data() -> None:
    mix = Mix([Scenario(ask, "q", data=[1, 2])])
    assert [mix.take()[1] for _ in range(3)] == [("q", 1), ("q", 2), ("q", 1)]
    assert not mix.is_constant


def test_data_are_not_copied() -> None:
    mix = Mix([Scenario(ask, data=range(10**12))])
    assert mix.take()[1] == (0,)


def test_shares_take_the_data_in_turn() -> None:
    scenarios = [Scenario(ask, data="abcdefg")]
    first, second = (Mix(scenarios, share, 2) for share in (0, 1))
    assert [first.take()[1][0] for _ in range(4)] == list("aceg")
    assert [second.take()[1][0] for _ in range(4)] == list("bdfa")


def test_data_without_an_item_are_refused() -> None:
    with pytest.raises(LoadError, match="data of ask: there are none"):
        Mix([Scenario(ask, data=[])]).take()


@pytest.mark.parametrize(
    ("stated", "kind", "message"),
    [
        ({"weight": 0}, ValueError, "weight=0: expected a number above 0"),
        ({"weight": -1}, ValueError, "weight=-1"),
        ({"weight": float("inf")}, ValueError, "weight=inf"),
        ({"weight": float("nan")}, ValueError, "weight=nan"),
        ({"weight": "3"}, TypeError, "weight='3'"),
        ({"weight": True}, TypeError, "weight=True"),
        ({"data": 5}, TypeError, "data=5: expected something to iterate over"),
    ],
)
def test_scenario_that_cannot_be_meant_is_refused(
    stated: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        Scenario(ask, **stated)
    assert isinstance(caught.value, AgentPerfError)


def test_result_of_a_call_is_no_function() -> None:
    with pytest.raises(TypeError, match=r"got a NoneType; expected a callable and its arguments"):
        Scenario(ask())  # type: ignore[arg-type,func-returns-value]
