"""Spending: what calls used together, and why some of it is unknown."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.usage import Price, Usage
from pytest_agentperf.measure import cost
from pytest_agentperf.measure.spending import Spending, UsageReading

PRICES = {"m": Price(1.0, 2.0)}


def reply(sent: int, received: int, model: str | None = "m") -> dict[str, Any]:
    return {"usage": {"input_tokens": sent, "output_tokens": received}, "model": model}


def values(spending: Spending) -> dict[str, list[float]]:
    return {name: list(sample) for name, sample in spending.samples().items()}


def test_spending_of_nothing_is_nothing() -> None:
    spending = Spending()
    assert spending.samples() == {}
    assert spending.unknown(0) == {}
    assert (spending.tokens, spending.dollars) == (0, 0)
    assert (spending.most_tokens, spending.most_dollars) == (0, 0)


def test_spending_adds_tokens_of_each_call() -> None:
    spending = Spending()
    assert spending.read(reply(3, 4), "ask", UsageReading()) == Usage(3, 4, model="m")
    spending.read(reply(5, 1), "ask", UsageReading())
    assert values(spending) == {
        "tokens_per_call": [7, 6],
        "input_tokens_per_call": [3, 5],
        "output_tokens_per_call": [4, 1],
    }
    assert (spending.tokens, spending.most_tokens) == (13, 7)
    assert spending.unknown(2) == {}


def test_spending_looks_no_price_up_unless_somebody_wants_it() -> None:
    spending = Spending()
    spending.read(reply(1_000_000, 0), "ask", UsageReading(prices=PRICES))
    assert "cost_per_call" not in spending.samples()
    spending.read(reply(1_000_000, 0), "ask", UsageReading(prices=PRICES, wants_cost=True))
    assert values(spending)["cost_per_call"] == [1.0]


def test_spending_keeps_a_stated_cost_though_nobody_asked() -> None:
    spending = Spending()
    stated = {"usage": {"input_tokens": 1, "output_tokens": 1, "cost": 0.5}}
    spending.read(stated, "ask", UsageReading())
    spending.read(stated, "ask", UsageReading())
    assert (spending.dollars, spending.most_dollars) == (1.0, 0.5)


def test_spending_names_the_kind_that_reports_no_usage() -> None:
    class Answer:
        pass

    spending = Spending()
    assert spending.read(Answer(), "Agent.ask", UsageReading()) is None
    expected = (
        f"Agent.ask returned {__name__}.{Answer.__qualname__}, which reports no usage;"
        " give perf_timer.configure(usage=…)"
    )
    assert set(spending.unknown(1).values()) == {expected}
    assert spending.why_unknown("tokens_per_call") == expected
    assert spending.samples() == {}


@pytest.mark.parametrize(("plain", "name"), [(None, "None"), ("a", "str"), ([1], "list")])
def test_spending_names_plain_kinds_without_their_module(plain: object, name: str) -> None:
    spending = Spending()
    spending.read(plain, "ask", UsageReading())
    assert spending.why_unknown("tokens_per_call").startswith(f"ask returned {name}, which")


def test_spending_says_how_many_calls_are_unknown() -> None:
    spending = Spending()
    spending.read(reply(3, 4), "ask", UsageReading())
    spending.miss(str, "ask", 2)
    assert spending.unknown(3)["tokens_per_call"].startswith("2 of 3 calls: ask returned str")
    assert values(spending)["tokens_per_call"] == [7]


def test_spending_keeps_the_first_reason() -> None:
    spending = Spending()
    spending.miss(str, "ask")
    spending.miss(bytes, "ask")
    assert "returned str" in spending.why_unknown("tokens_per_call")


def test_spending_of_a_total_does_not_know_the_directions() -> None:
    spending = Spending()
    spending.read("a", "ask", UsageReading(usage=lambda reply: 7))
    assert values(spending) == {"tokens_per_call": [7]}
    reason = "usage= returned only a total; return a pair (input, output)"
    assert spending.unknown(1) == {
        "input_tokens_per_call": reason,
        "output_tokens_per_call": reason,
    }


def test_spending_asks_the_users_reader_alone() -> None:
    spending = Spending()
    reading = UsageReading(usage=lambda response: (1, 2))
    spending.read(reply(30, 40), "ask", reading, streamed=Usage(300, 400))
    assert values(spending)["tokens_per_call"] == [3]


def test_spending_of_a_reader_that_returns_none_is_unknown() -> None:
    spending = Spending()
    spending.read(reply(3, 4), "ask", UsageReading(usage=lambda response: None))
    assert spending.samples() == {}
    assert "tokens_per_call" in spending.unknown(1)


def test_spending_names_a_reader_that_returns_nonsense() -> None:
    def count_tokens(response: object) -> str:
        return "many"

    with pytest.raises(UsageError, match="usage=count_tokens returned 'many'; expected a number"):
        Spending().read("a", "ask", UsageReading(usage=count_tokens))


def test_spending_takes_streamed_usage_over_that_of_the_response() -> None:
    spending = Spending()
    spending.read(reply(30, 40), "ask", UsageReading(), streamed=Usage(1, 2))
    assert values(spending)["tokens_per_call"] == [3]


def test_cost_of_the_users_function_comes_first() -> None:
    spending = Spending()
    reading = UsageReading(cost=lambda response: 3, prices=PRICES, wants_cost=True)
    spending.read(reply(1_000_000, 0), "ask", reading)
    assert values(spending)["cost_per_call"] == [3.0]


def test_cost_of_the_users_function_needs_no_usage() -> None:
    spending = Spending()
    spending.read("a", "ask", UsageReading(cost=lambda response: 0.5))
    assert spending.dollars == 0.5


def test_cost_of_the_users_function_may_be_unknown() -> None:
    spending = Spending()
    spending.read(reply(1, 1), "ask", UsageReading(cost=lambda response: None, prices=PRICES))
    assert spending.unknown(1) == {
        "cost_per_call": "cost= returned None",
        "cost_total": "cost= returned None",
    }
    assert "cost_per_call" not in spending.samples()


def test_cost_of_an_unknown_model_is_unknown_and_not_zero() -> None:
    spending = Spending()
    spending.read(reply(1, 1, "nobody-knows-1"), "ask", UsageReading(wants_cost=True))
    assert "cost_per_call" not in spending.samples()
    assert spending.why_unknown("cost_total") == (
        "model 'nobody-knows-1' has no known price;"
        ' add [prices."nobody-knows-1"] to the budget file'
    )


def test_cost_of_a_response_without_a_model_is_unknown() -> None:
    spending = Spending()
    spending.read(reply(1, 1, None), "ask", UsageReading(prices=PRICES, wants_cost=True))
    assert spending.why_unknown("cost_per_call").startswith("the response names no model")


def test_cost_of_a_response_without_usage_is_unknown() -> None:
    spending = Spending()
    spending.read("a", "ask", UsageReading(prices=PRICES, wants_cost=True))
    assert spending.why_unknown("cost_per_call").startswith("its usage is unknown")


def test_cost_names_the_package_that_would_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "find_spec", lambda name: None)
    spending = Spending()
    spending.read(reply(1, 1, "gpt-4o"), "ask", UsageReading(wants_cost=True))
    assert "pip install 'pytest-agentperf[cost]'" in spending.why_unknown("cost_per_call")
    assert "cost_per_call" not in spending.samples()


counts = st.tuples(st.integers(0, 10_000), st.integers(0, 10_000))


@given(st.lists(st.one_of(st.none(), counts), min_size=1))
def test_every_call_is_either_known_or_missed(calls: list[tuple[int, int] | None]) -> None:
    spending = Spending()
    for call in calls:
        spending.read(call, "ask", UsageReading(usage=lambda response: response))
    known = [sum(call) for call in calls if call is not None]
    missed = len(calls) - len(known)
    assert list(spending.samples().get("tokens_per_call", ())) == known
    assert spending.tokens == sum(known)
    assert spending.most_tokens == max(known, default=0)
    assert ("tokens_per_call" in spending.unknown(len(calls))) is (missed > 0)
