"""The size that a load needs."""

import pytest

from pytest_agentperf.measure.pool.tally import Load, Tally


def test_load_is_rate_times_time() -> None:
    assert Load(rate=50, lease_time=0.2, most=100).mean == 10


@pytest.mark.parametrize(
    ("load", "size"),
    [
        (Load(50, 0.2, 100), 17),  # 10 + 2 √10 = 16.3
        (Load(50, 0.2, 12), 12),  # more were never wanted at once
        (Load(40, 0.1, 8), 8),  # 4 + 2 √4 is 8
        (Load(40, 0.1, 9), 8),
        (Load(1, 0.001, 1), 1),
        (Load(50, 0.2, 100, share=8), 3),  # 16.3 leases, of which a connection serves 8
        (Load(40, 0.1, 8, share=8), 1),
    ],
)
def test_recommended_size_adds_spare_up_to_what_was_wanted_at_once(load: Load, size: int) -> None:
    assert load.size() == size


def test_recommended_size_without_spare_is_the_mean_load() -> None:
    assert Load(50, 0.2, 100).size(spare=0) == 10


def test_advice_tells_the_numbers_that_it_comes_from() -> None:
    tally = Tally("Pool", 1.0, capacity=4, load=Load(50, 0.2, 40), waits=0)
    assert tally.advice == (
        "Little's law recommends 17 connections (50 leases/s × 200 ms = 10 in use on average, and"
        " at most 40 at once)"
    )


def test_advice_of_a_pool_that_was_waited_for_is_a_lower_bound() -> None:
    tally = Tally("Pool", 1.0, capacity=4, load=Load(50, 0.2, 40), waits=1)
    assert "17 connections or more, for a full pool hides load" in tally.advice


def test_advice_without_a_load_says_that_there_is_none() -> None:
    assert Tally("Pool", 1.0).advice == "what size the load needs cannot be told"
