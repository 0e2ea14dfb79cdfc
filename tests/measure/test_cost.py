"""Cost: who is asked for a price, in which order, and what is said where nobody knows one."""

import genai_prices
import pytest

from pytest_agentperf.core.usage import Price, Usage
from pytest_agentperf.measure import cost
from pytest_agentperf.measure.cost import explain_unknown_cost, price_usage

USAGE = Usage(1_000_000, 500_000, 400_000, model="gpt-4o")


def absent(name: str) -> None:
    """Stand in for `find_spec` where genai-prices is not installed."""


def test_cost_that_the_response_states_comes_first() -> None:
    usage = Usage(1_000_000, 500_000, model="gpt-4o", cost=0.25)
    assert price_usage(usage, {"gpt-4o": Price(2.0, 8.0)}) == 0.25
    assert price_usage(Usage(1, 1, cost=0.0), {}) == 0.0


def test_cost_by_the_users_price_comes_before_the_published_one() -> None:
    # 1 M × $2 + 0.5 M × $8
    assert price_usage(USAGE, {"gpt-4o": Price(2.0, 8.0)}) == 6.0


def test_cost_of_cached_tokens_has_its_own_price() -> None:
    # 0.6 M × $2 + 0.4 M × $0.5 + 0.5 M × $8
    assert price_usage(USAGE, {"gpt-4o": Price(2.0, 8.0, 0.5)}) == pytest.approx(5.4)


def test_cost_by_published_prices_is_that_of_genai_prices() -> None:
    counts = genai_prices.Usage(
        input_tokens=1_000_000, output_tokens=500_000, cache_read_tokens=400_000
    )
    expected = float(genai_prices.calc_price(counts, model_ref="gpt-4o").total_price)
    assert expected > 0
    assert price_usage(USAGE, {"another": Price(2.0, 8.0)}) == expected


def test_cost_of_an_unknown_model_is_unknown() -> None:
    assert price_usage(Usage(1, 1, model="nobody-knows-1"), {}) is None


def test_cost_without_a_model_is_unknown() -> None:
    assert price_usage(Usage(1, 1), {"gpt-4o": Price(2.0, 8.0)}) is None


def test_cost_of_a_mere_total_is_unknown() -> None:
    usage = Usage(None, None, model="gpt-4o", total=10)
    assert price_usage(usage, {}) is None
    assert price_usage(usage, {"gpt-4o": Price(2.0, 8.0)}) is None


def test_cost_is_unknown_where_genai_prices_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "find_spec", absent)
    assert price_usage(USAGE, {}) is None


def test_explanation_asks_for_usage_where_there_is_none() -> None:
    assert explain_unknown_cost(None) == (
        "its usage is unknown; give perf_timer.configure(usage=…) or (cost=…)"
    )


def test_explanation_says_that_no_model_is_named() -> None:
    assert explain_unknown_cost(Usage(1, 1)) == (
        "the response names no model; give perf_timer.configure(cost=…)"
    )


def test_explanation_names_the_table_of_prices() -> None:
    assert explain_unknown_cost(Usage(1, 1, model="my-model")) == (
        "model 'my-model' has no known price; add [prices.\"my-model\"] to the budget file"
    )


def test_explanation_names_the_package_where_it_is_absent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cost, "find_spec", absent)
    assert explain_unknown_cost(Usage(1, 1, model="my-model")).endswith(
        ", or pip install 'pytest-agentperf[cost]'"
    )
