"""Tests of usage and prices."""

import pytest

from pytest_agentperf.core.usage import Price, Usage


def test_usages_add_up() -> None:
    added = Usage(10, 2, 4, "a", 0.5) + Usage(20, 3, 1, "b", 0.25)
    assert added == Usage(30, 5, 5, "a", 0.75, total=35)
    assert added.total_tokens == 35


def test_model_is_taken_from_the_usage_that_names_one() -> None:
    assert (Usage(1, 1) + Usage(1, 1, model="b")).model == "b"


def test_sum_does_not_know_what_one_part_does_not() -> None:
    added = Usage(10, 2, cost=0.5) + Usage(None, None, total=7)
    assert (added.input_tokens, added.output_tokens, added.cost) == (None, None, None)
    assert added.total_tokens == 19


@pytest.mark.parametrize(
    ("usage", "total"),
    [
        (Usage(10, 2), 12),
        (Usage(10, None), 10),
        (Usage(None, 2), 2),
        (Usage(None, None, total=7), 7),
        (Usage(None, None), 0),
    ],
)
def test_total_is_stated_or_the_sum_of_both_directions(usage: Usage, total: int) -> None:
    assert usage.total_tokens == total


def test_price_is_for_a_million_tokens() -> None:
    # 1000 * 2.5 + 100 * 10 = 3500 dollars for a million calls.
    assert Price(2.5, 10.0).of(Usage(1000, 100)) == 0.0035


def test_cached_tokens_have_their_own_price() -> None:
    usage = Usage(1000, 100, cached_tokens=400)
    # 600 * 2.5 + 400 * 0.25 + 100 * 10 = 2600.
    assert Price(2.5, 10.0, 0.25).of(usage) == 0.0026
    assert Price(2.5, 10.0, 0.0).of(usage) == 0.0025
    assert Price(2.5, 10.0).of(usage) == 0.0035


@pytest.mark.parametrize("usage", [Usage(None, 2), Usage(2, None), Usage(None, None, total=4)])
def test_price_of_a_sum_of_tokens_is_unknown(usage: Usage) -> None:
    assert Price(1.0, 2.0).of(usage) is None
