"""Tests of what a load came to."""

import asyncio

import pytest

from pytest_agentperf.core.errors import EmptySampleError
from pytest_agentperf.measure.load.scenario import Scenario
from tests.measure.load.conftest import Loads


async def tenth() -> None:
    await asyncio.sleep(0.10001)


async def refuse() -> None:
    await asyncio.sleep(0.10001)
    raise ConnectionError("refused")


def test_closed_load_says_that_it_is_closed(load: Loads) -> None:
    result = load(tenth, users=5, duration=1)
    assert result.model == "closed"
    assert "closed load of 5 users: whoever waits does not call" in result.notes[0]


def test_open_load_says_nothing_where_nothing_is_wrong(load: Loads) -> None:
    result = load(tenth, rate=5, duration=1)
    assert result.model == "open"
    assert result.notes == ()


def test_result_shows_its_numbers_and_its_notes(load: Loads) -> None:
    result = load(tenth, rate=10, duration=2)
    assert str(result) == "tenth: 20 calls, 10/s, p50 100 ms, p95 100 ms, p99 100 ms"
    assert repr(result) == f"<LoadResult {result}>"


def test_result_shows_its_errors(load: Loads) -> None:
    ends = iter([tenth, refuse, refuse, tenth])

    async def ask() -> None:
        await next(ends)()

    shown = str(load(ask, rate=10, requests=4))
    assert "4 calls" in shown
    assert "50 % failed (2 × ConnectionError)" in shown
    assert "2 of 4 calls failed (2 × ConnectionError), the first with ConnectionError: refused" in (
        shown
    )


def test_result_shows_stages_and_scenarios_where_there_are_several(load: Loads) -> None:
    called = [Scenario(tenth, name="a"), Scenario(tenth, name="b")]
    lines = str(load(*called, stages="1s:10/s,1s:10/s")).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["a and b", "stage 1", "stage 2", "a", "b"]


def test_parts_of_a_load_add_up(load: Loads) -> None:
    called = [Scenario(tenth, name="a", weight=2), Scenario(refuse, name="b")]
    result = load(*called, stages="3s:10,3s:2", warmup=1)
    for parts in (result.stages, result.windows, result.scenarios.values()):
        assert sum(part.calls for part in parts) == result.calls
        assert sum(part.latency.count for part in parts) == result.latency.count
        assert sum((part.errors for part in parts), start=type(result.errors)()) == result.errors
    assert result.stages[0].start == 1
    assert result.stages[0].seconds == pytest.approx(2)


def test_service_of_a_closed_load_is_its_latency(load: Loads) -> None:
    result = load(tenth, users=5, duration=1)
    assert result.service is result.latency
    assert not result.dispatch_delay.count


def test_windows_that_a_load_did_not_reach_are_left_out(load: Loads) -> None:
    result = load(tenth, users=1, requests=5, duration=600)
    assert len(result.windows) == 1
    assert result.windows[0].throughput == pytest.approx(10, rel=1e-3)


def test_load_of_requests_has_windows_although_nobody_knows_how_long_it_takes(load: Loads) -> None:
    result = load(tenth, users=1, requests=55)
    assert [window.calls for window in result.windows] == [12, 12, 12, 12, 7]  # of 1.2 s


def test_requests_that_could_not_be_made_are_noted(load: Loads) -> None:
    missed = load(tenth, rate=10, requests=25, duration=2)
    assert missed.notes == ("20 of requests=25 were made within 2 s; state a longer duration",)
    assert load(tenth, rate=10, requests=20, duration=2).notes == ()


def test_numbers_of_no_call_are_errors(load: Loads) -> None:
    async def never() -> None:
        await asyncio.sleep(100)

    engine, result = load.engine(never, users=1, duration=10)
    with pytest.raises(EmptySampleError, match="error rate of never: no call ended"):
        _ = result().error_rate
    with pytest.raises(EmptySampleError, match="no limits were stated; add goodput="):
        _ = result().goodput
    assert engine.tally.cells == {}
    assert result().throughput == 0


def test_unknown_attribute_is_an_error(load: Loads) -> None:
    with pytest.raises(AttributeError, match="the result of a load has no 'p95'"):
        _ = load(tenth, users=1, requests=1).p95
