"""Tests of the loads of a test: what they are held to while they run, and how they end."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from pytest_agentperf.core.errors import AgentPerfError, LoadError, LoadTypeError, UsageError
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.measure.load.door import Loading, PerfLoad
from pytest_agentperf.measure.load.made import LoadContext
from pytest_agentperf.measure.load.result import LoadResult
from pytest_agentperf.measure.load.scenario import Scenario
from tests.measure.load.conftest import Loads


async def tenth() -> None:
    await asyncio.sleep(0.10001)


def judge(measurement: Measurement) -> str:
    """Hold calls to half a second."""
    return "calls were slow" if measurement.samples["latency"].max > 0.5 else ""


def loading(load: Loads, **stated: Any) -> Loading:
    return Loading(LoadContext(load.clock, lambda _: judge, **stated))


def made(load: Loads, loads: Loading, func: Callable[..., Any], **stated: Any) -> LoadResult:
    """Return what a load came to that a test awaits."""
    found: list[LoadResult] = []

    async def test() -> None:
        found.append(await PerfLoad(lambda: loads)(func, **stated))

    load.runner.run(test())
    return found[0]


def slow_from(load: Loads, moment: float) -> Callable[[], Any]:
    async def ask() -> None:
        await asyncio.sleep(1 if load.clock() - 1000 > moment else 0.1)

    return ask


def test_budget_that_is_missed_ends_a_load_that_may_end(load: Loads) -> None:
    loads = loading(load)
    ask = slow_from(load, 20)
    made(load, loads, ask, users=5, duration=60, arm_after=10, abort_on_fail=True)
    (failure,) = loads.failures()
    assert failure.startswith("perf_load(ask) was ended early: after 2")
    assert failure.endswith("of 60 s: calls were slow")
    assert 20 < load.clock() - 1000 < 25
    (found,) = loads.measurements()
    assert found.planned_looks > 1
    assert "calls were slow" in " ".join(found.notes)


def test_budget_that_is_missed_is_noted_of_a_load_that_goes_on(load: Loads) -> None:
    loads = loading(load)
    made(load, loads, slow_from(load, 20), users=5, duration=60, arm_after=10)
    assert loads.failures() == []
    assert load.clock() - 1000 == pytest.approx(60, abs=1.1)
    (found,) = loads.measurements()
    assert found.planned_looks == 1
    assert found.notes[-1].endswith("of 60 s: calls were slow")


def test_budget_that_is_missed_before_it_is_armed_is_none(load: Loads) -> None:
    loads = loading(load)

    async def ask() -> None:
        await asyncio.sleep(1 if load.clock() - 1000 < 5 else 0.1)

    stated = {"users": 5, "duration": 30, "warmup": 6, "abort_on_fail": True}
    made(load, loads, ask, **stated)
    assert loads.failures() == []
    assert len(loads.measurements()[0].notes) == 1


@pytest.mark.parametrize("warmup", [0, 10])
def test_load_of_which_every_call_failed_fails_its_test(load: Loads, warmup: float) -> None:
    async def ask() -> None:
        await asyncio.sleep(0.01)
        raise ConnectionError("refused")

    loads = loading(load)
    made(load, loads, ask, users=5, duration=60, warmup=warmup)
    (failure,) = loads.failures()
    assert failure.startswith("perf_load(ask): each of its ")
    assert failure.endswith("calls failed, the first with ConnectionError: refused")
    assert load.clock() - 1000 < 2


def test_load_shows_how_far_it_has_come(load: Loads) -> None:
    seen: list[Any] = []
    made(load, loading(load, view=lambda: nullcontext(seen.append)), tenth, users=5, duration=3)
    assert len(seen) == pytest.approx(5, abs=1)
    assert seen[-1].calls > seen[0].calls


def test_quick_load_calls_each_scenario_once(load: Loads) -> None:
    mix = [Scenario(tenth, name="a", weight=9), Scenario(tenth, name="b", data="xy")]

    async def ask(item: str) -> None:
        await asyncio.sleep(0.1)

    mix[1] = Scenario(ask, name="b", data="xy")
    found = made(load, loading(load, is_quick=True), mix, rate="100/s", duration="1h")  # type: ignore[arg-type]
    assert {name: part.calls for name, part in found.scenarios.items()} == {"a": 1, "b": 1}


def test_loads_of_one_test_are_measured_by_their_labels(load: Loads) -> None:
    loads = loading(load)

    async def test() -> None:
        perf_load = PerfLoad(lambda: loads)
        await perf_load(tenth, users=1, requests=2)
        await perf_load["night"](tenth, users=1, requests=3)

    load.runner.run(test())
    assert [(one.label, one.calls) for one in loads.measurements()] == [(None, 2), ("night", 3)]
    assert loads.close() == []


def test_load_that_was_not_awaited_is_no_measurement(load: Loads) -> None:
    loads = loading(load)

    async def test() -> None:
        _ = PerfLoad(lambda: loads)(tenth, users=1, requests=2)

    load.runner.run(test())
    assert loads.measurements() == []
    assert loads.failures() == []
    (sentence,) = loads.close()
    assert sentence.startswith("perf_load(tenth) was never awaited")


def test_load_that_still_runs_is_ended(load: Loads) -> None:
    loads = loading(load)

    async def test() -> None:
        running = asyncio.create_task(PerfLoad(lambda: loads)(tenth, users=1, duration=100))
        await asyncio.sleep(1)
        (sentence,) = loads.close()
        assert sentence.startswith("perf_load(tenth) had not ended when the test did")
        assert (await running).is_partial

    load.runner.run(test())
    assert load.clock() - 1000 < 2


def test_coroutine_in_place_of_a_function_is_refused_and_closed(load: Loads) -> None:
    perf_load = PerfLoad(lambda: loading(load))
    with pytest.raises(LoadTypeError, match="got a coroutine; expected a callable"):
        perf_load(tenth(), users=1, requests=1)  # type: ignore[call-overload]
    with pytest.raises(LoadTypeError, match=r"on_start=<coroutine .*: expected a callable"):
        _ = perf_load(tenth, users=1, requests=1, on_start=tenth())


@pytest.mark.parametrize("label", [None, "", 5])
def test_label_that_is_none_is_refused(load: Loads, label: Any) -> None:
    with pytest.raises(UsageError, match="expected a"):
        PerfLoad(lambda: loading(load))[label]


def test_mistakes_are_found_before_anything_runs(load: Loads) -> None:
    def fail() -> Loading:
        raise AssertionError

    with pytest.raises(LoadError, match="several scenarios are called 'tenth'"):
        PerfLoad(fail)([Scenario(tenth), Scenario(tenth)], users=1, requests=1)
    with pytest.raises(AgentPerfError, match="unknown each 'call'"):
        _ = PerfLoad(fail)(tenth, users=1, requests=1, each="call")


def test_fixture_shows_its_label(load: Loads) -> None:
    perf_load = PerfLoad(lambda: loading(load))
    assert repr(perf_load) == "<perf_load>"
    assert repr(perf_load["night"]) == "<perf_load['night']>"
