"""Tests of what of a load crosses to those who judge it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from pytest_agentperf.measure.load.measured import measurements_of
from pytest_agentperf.measure.load.scenario import Scenario
from tests.measure.load.conftest import Loads


async def tenth() -> None:
    await asyncio.sleep(0.10001)


async def items() -> AsyncIterator[str]:
    for item in "abc":
        await asyncio.sleep(0.10001)
        yield item


def test_load_is_one_measurement(load: Loads) -> None:
    (found,) = measurements_of(load(tenth, rate=10, duration=2), "label")
    assert found.label == "label"
    assert found.subject == "tenth (open load of 10/s)"
    assert found.calls == 20
    assert found.errors == 0
    assert set(found.samples) == {"latency"}
    assert found.values == {"throughput": pytest.approx(10, rel=1e-3), "error_rate": 0}
    assert not found.doubts


def test_streams_and_goodput_are_measured_where_there_are_any(load: Loads) -> None:
    (found,) = measurements_of(load(items, rate=1, duration=2, goodput={"itl": "1s"}), None)
    assert set(found.samples) == {"latency", "ttft", "itl"}
    assert found.values["goodput"] == found.values["throughput"]


def test_load_of_no_call_has_no_numbers(load: Loads) -> None:
    _, result = load.engine(tenth, users=1, duration=1)
    (found,) = measurements_of(result(), None)
    assert found.samples == {}
    assert found.values == {}


def test_scenarios_are_measured_apart_without_their_share_of_the_throughput(load: Loads) -> None:
    called = [Scenario(tenth, name="a", weight=3), Scenario(items, name="b")]
    whole, first, second = measurements_of(load(*called, rate=10, duration=2), "load")
    assert [whole.label, first.label, second.label] == ["load", "a", "b"]
    assert [whole.calls, first.calls, second.calls] == [20, 15, 5]
    assert set(first.values) == {"error_rate"}
    assert set(second.samples) == {"latency", "ttft", "itl"}


@pytest.mark.parametrize(("each", "count"), [(None, 0), ("stage", 2), ("window", 40)])
def test_parts_are_measured_apart_where_that_is_asked_for(
    load: Loads, each: str | None, count: int
) -> None:
    result = load(tenth, stages="2s:100/s,2s:100/s")
    _, *parts = measurements_of(result, None, each)
    assert [part.label for part in parts] == [f"{each} {n + 1}" for n in range(count)]
    called = [part for part in parts if part.calls]
    assert all(set(part.values) == {"throughput", "error_rate"} for part in called)
    assert sum(part.calls for part in parts) in {0, result.calls}


def test_curves_show_how_a_load_went(load: Loads) -> None:
    (found,) = measurements_of(load(tenth, rate=10, duration=6), None)
    rates, tails = found.curves["throughput"], found.curves["p95 latency"]
    assert (rates.axis, rates.unit, tails.unit) == ("seconds", "/s", "s")
    assert len(rates.points) == 60
    assert rates.points[-1].at == pytest.approx(6.0, abs=0.1)
    assert all(point.value == pytest.approx(0.1, rel=1e-2) for point in tails.points)
    assert found.curves["p50 latency"] == found.curves["p99 latency"]
    busy, failed = found.curves["in flight"], found.curves["error rate"]
    # Windows last as long as calls and hold one each, give or take one at an edge.
    assert sum(point.value for point in busy.points) / 60 == pytest.approx(1.0, rel=0.05)
    assert {point.value for point in failed.points} == {0.0}


def test_times_are_in_doubt_where_the_generator_was_late(load: Loads) -> None:
    async def ask() -> None:
        load.clock.advance(0.05)  # computes, and holds the loop

    (found,) = measurements_of(load(ask, users=5, duration=2), None)
    assert set(found.doubts) == {"latency", "ttft", "itl", "throughput", "goodput"}
    assert found.doubts["latency"] in found.notes
