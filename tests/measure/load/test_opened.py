"""Tests of calls that start when they are due, whatever has ended."""

import asyncio
import itertools

import pytest

from pytest_agentperf.measure.load.scenario import Scenario
from tests.measure.load.conftest import Loads

EARLY = 1e-5  # the virtual loop runs timers up to a microsecond early


async def fifth() -> None:
    await asyncio.sleep(0.2)


def stalling(load: Loads, stall: float = 1.0, every: float = 10.0) -> Scenario:
    """Return a server of 5 ms that answers nothing in the last *stall* seconds of each period."""

    async def ask() -> None:
        at = (load.clock() - 1000) % every
        stalled = max(every - at, 0.0) if at > every - stall else 0.0
        await asyncio.sleep(stalled + 0.005)

    return Scenario(ask, name="ask")


def test_calls_start_at_the_rate_whatever_has_ended(load: Loads) -> None:
    started: list[float] = []

    async def ask() -> None:
        started.append(load.clock() - 1000)
        await asyncio.sleep(7)

    result = load(ask, rate="10/s", duration=2)
    assert started == pytest.approx([n / 10 for n in range(20)], abs=EARLY)
    assert result.calls == 20
    assert result.in_flight_max == 20
    assert result.throughput == pytest.approx(20 / result.seconds)


def test_throughput_of_calls_that_end_in_time_is_the_rate(load: Loads) -> None:
    async def ask() -> None:
        await asyncio.sleep(0.005)

    result = load(ask, rate=100, duration=10)
    assert result.calls == 1000
    assert result.throughput == pytest.approx(100)


def test_latency_counts_from_when_a_call_was_due(load: Loads) -> None:
    result = load(fifth, rate=10, duration=1, max_in_flight=1)
    # The n-th call is due after n × 0.1 s and begins after n × 0.2 s.
    assert list(result.dispatch_delay) == pytest.approx([n / 10 for n in range(10)], abs=EARLY)
    assert list(result.latency) == pytest.approx([0.2 + n / 10 for n in range(10)], abs=EARLY)
    assert list(result.service) == pytest.approx([0.2] * 10, abs=EARLY)


def test_calls_over_the_limit_wait_and_none_is_dropped(load: Loads) -> None:
    result = load(fifth, rate=100, duration=1, max_in_flight=4)
    assert result.calls == 100
    assert result.in_flight_max == 4
    assert not result.errors
    assert not result.doubt  # it is the plan that makes them wait
    assert "found max_in_flight=4 calls in flight" in str(result)


def test_limit_that_is_not_reached_is_not_mentioned(load: Loads) -> None:
    result = load(fifth, rate=10, duration=1, max_in_flight=3)
    assert result.in_flight_max == 2
    assert "max_in_flight" not in str(result)


def test_stall_that_a_closed_load_hides_is_seen(load: Loads) -> None:
    # The truth of an arrival at a random moment: 1 s of 10 s is stalled, so the p99 waits 0.9 s.
    opened = load(stalling(load), rate="100/s", duration=20)
    load.clock.advance(10 - (load.clock() - 1000) % 10)
    closed = load(stalling(load), users=10, duration=20)
    assert opened.latency.p99 == pytest.approx(0.905, rel=0.05)
    assert closed.latency.p99 < 0.02


def test_stall_is_seen_through_a_limit_of_calls_in_flight(load: Loads) -> None:
    result = load(stalling(load), rate="100/s", duration=20, max_in_flight=4)
    assert result.latency.p99 == pytest.approx(0.92, rel=0.05)
    assert result.service.p99 < 0.02


def test_stages_of_rates_rise_evenly(load: Loads) -> None:
    result = load(fifth, stages="10s:10/s,10s:10/s,0s:50/s,2s:50/s")
    assert [stage.calls for stage in result.stages] == [50, 100, 100]
    assert [stage.name for stage in result.stages] == ["stage 1", "stage 2", "stage 3"]


def test_poisson_arrivals_have_the_rate_and_exponential_gaps(load: Loads) -> None:
    started: list[float] = []

    async def ask() -> None:
        started.append(load.clock())

    load(ask, rate=50, duration=40, arrivals="poisson", seed=3)
    gaps = [later - sooner for sooner, later in itertools.pairwise(started)]
    assert len(started) == pytest.approx(2000, abs=4 * 2000**0.5)
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert spread == pytest.approx(mean, rel=0.1)  # of an exponential they are equal


def test_requests_end_an_open_load(load: Loads) -> None:
    result = load(fifth, rate=10, requests=25)
    assert result.calls == 25
    assert load.clock() - 1000 == pytest.approx(2.6, rel=1e-3)


def test_calls_that_cannot_start_in_time_count_as_failed(load: Loads) -> None:
    async def ask() -> None:
        await asyncio.sleep(1.0001)

    result = load(ask, rate=10, duration=2, max_in_flight=1, grace="3s")
    # One call a second begins, until grace has passed 5 s after the beginning.
    assert result.calls == 20
    assert result.errors == {"UnfinishedCall": 16}
    assert result.tally.unfinished == 1
    assert "15 calls were due and could not start within grace 3 s" in str(result)


def test_data_that_end_end_an_open_load(load: Loads) -> None:
    async def ask(item: str) -> None:
        await asyncio.sleep(0.1)

    result = load(Scenario(ask, data=iter("abc")), rate=10, duration=100)
    assert result.calls == 3
    assert "its data ended" in str(result)
    assert load.clock() - 1000 < 1


def test_calls_that_compute_for_long_are_late_and_the_others_keep_their_schedule(
    load: Loads,
) -> None:
    due = iter(range(100))

    async def ask() -> None:
        if next(due) == 10:
            load.clock.advance(0.5)  # computes, and holds the loop

    result = load(ask, rate=100, duration=1)
    assert result.calls == 100
    assert result.dispatch_delay.max == pytest.approx(0.49, abs=0.02)
    assert result.dispatch_delay.percentile(40) < 1e-3
    assert "the generator was late itself" in result.doubt
