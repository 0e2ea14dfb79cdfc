"""Tests of throughput by the number of callers."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pytest_agentperf.core.errors import CheckError, UsageError
from pytest_agentperf.measure.concurrency.scaling import Level, ScalingRun, fit_serial_share

from ..conftest import FakeClock  # noqa: TID252 -- the fixtures of the layer

LEVELS = (1, 2, 4, 8)


def law(serial: float, crosstalk: float, callers: int) -> Level:
    """Return what the law says of *callers*, with one call a second of one caller."""
    speedup = callers / (1 + serial * (callers - 1) + crosstalk * callers * (callers - 1))
    return Level(callers, 100, 100 / speedup, speedup / callers)


@pytest.mark.parametrize(
    ("serial", "crosstalk"), [(0, 0), (0.05, 0), (0.3, 0.02), (1, 0), (0, 0.1)]
)
def test_fit_finds_the_shares_that_made_the_numbers(serial: float, crosstalk: float) -> None:
    levels = [law(serial, crosstalk, callers) for callers in LEVELS]
    assert fit_serial_share(levels) == pytest.approx((serial, crosstalk), abs=1e-9)


def test_fit_of_two_levels_is_the_law_of_amdahl() -> None:
    assert fit_serial_share([law(0.5, 0, 1), law(0.5, 0, 4)]) == pytest.approx((0.5, 0))


def test_fit_of_what_speeds_up_too_well_is_not_negative() -> None:
    levels = [Level(1, 10, 10, 1), Level(2, 10, 4, 1.25), Level(4, 10, 2, 1.25)]
    assert fit_serial_share(levels) == (0, 0)


def test_fit_does_not_exceed_the_whole_call() -> None:
    levels = [Level(1, 10, 10, 1), Level(2, 10, 40, 0.125)]
    assert fit_serial_share(levels) == (1, 0)


def run_of(call: Callable[[], Any], clock: FakeClock, **options: Any) -> ScalingRun:
    options = {"levels": LEVELS, "calls": 3, "max_time": 60.0, **options}
    return ScalingRun(call, "ask", clock=clock, **options)


class Agent:
    """Takes a second by the clock for all callers at once, or a second for each."""

    def __init__(self, clock: FakeClock, *, is_serial: bool) -> None:
        self.clock, self.is_serial, self.in_flight, self.most = clock, is_serial, 0, 0
        self.until: list[float] = []

    async def ask(self) -> None:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        await asyncio.sleep(0)  # everybody gets here before the second is over
        if self.is_serial or self.in_flight == self.most:
            self.clock.advance(1)
        await asyncio.sleep(0)
        self.in_flight -= 1


@pytest.mark.asyncio
async def test_every_level_makes_its_calls_with_as_many_at_once(clock: FakeClock) -> None:
    agent = Agent(clock, is_serial=True)
    seen = []

    async def ask() -> None:
        await agent.ask()
        seen.append(agent.most)

    run = run_of(ask, clock)
    await run.measure_async()
    levels = run.result().levels
    assert [(level.callers, level.calls) for level in levels] == [(1, 3), (2, 6), (4, 12), (8, 24)]
    assert agent.most == 8
    assert len(seen) == 45


@pytest.mark.asyncio
async def test_calls_that_take_turns_are_wholly_serial(clock: FakeClock) -> None:
    run = run_of(Agent(clock, is_serial=True).ask, clock)
    await run.measure_async()
    result = run.result("the lock at agent.py:3 was waited for 21 s")
    assert [level.throughput for level in result.levels] == [1, 1, 1, 1]
    assert [level.efficiency for level in result.levels] == [1, 0.5, 0.25, 0.125]
    assert result.efficiency == 0.125
    assert result.serial_share == pytest.approx(1)
    with pytest.raises(CheckError) as caught:
        result.assert_scales(efficiency=0.8)
    assert str(caught.value) == (
        "ask scales to 2 callers with an efficiency of 50%, expected at least 80%: "
        "1 × 1/s (100%), 2 × 1/s (50%), 4 × 1/s (25%), 8 × 1/s (12%); 100% of a call is serial; "
        "the lock at agent.py:3 was waited for 21 s"
    )


@pytest.mark.asyncio
async def test_error_of_a_call_is_raised_as_it_is_and_leaves_no_task(clock: FakeClock) -> None:
    turns = iter(range(100))

    async def ask() -> None:
        clock.advance(1)
        if next(turns) == 8:
            raise OSError
        await asyncio.sleep(0)

    with pytest.raises(OSError):  # noqa: PT011 -- the error itself is the point
        await run_of(ask, clock).measure_async()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.asyncio
async def test_levels_that_do_not_fit_are_named_and_never_pass(clock: FakeClock) -> None:
    run = run_of(Agent(clock, is_serial=False).ask, clock, max_time=1.0)
    await run.measure_async()
    result = run.result()
    assert [level.callers for level in result.levels] == [1]
    assert result.missing == "2, 4, 8 callers were not measured within max_time 1 s; raise it"
    with pytest.raises(CheckError, match="ask cannot be told to scale: 2, 4, 8 callers"):
        result.assert_scales(efficiency=0.1)


def test_sync_function_is_called_in_as_many_threads() -> None:
    barriers = {n: threading.Barrier(n) for n in LEVELS}
    run: list[ScalingRun] = []

    def ask() -> None:  # would hang if fewer threads than callers were at work
        found = run[0].result().levels if run[0]._found else ()
        barriers[LEVELS[len(found)]].wait(timeout=30)

    clock = FakeClock()
    run.append(run_of(ask, clock))
    run[0].measure()
    assert [level.callers for level in run[0].result().levels] == [1, 2, 4, 8]


@pytest.mark.parametrize("levels", [(), (1,), (2, 4), (1, 1), (1, 4, 2), (1, 2.5), (0, 1), "12"])
def test_levels_that_do_not_rise_from_one_are_refused(levels: Any, clock: FakeClock) -> None:
    with pytest.raises(UsageError, match="expected rising numbers of callers"):
        run_of(dict, clock, levels=levels)


@pytest.mark.parametrize("calls", [0, 1.5, None, True])
def test_number_of_calls_out_of_range_is_refused(calls: Any, clock: FakeClock) -> None:
    with pytest.raises(UsageError, match=f"calls={calls!r}: expected a number of calls"):
        run_of(dict, clock, calls=calls)


@pytest.mark.asyncio
@pytest.mark.parametrize("efficiency", [0, -1, 1.01])
async def test_efficiency_out_of_range_is_refused(efficiency: float, clock: FakeClock) -> None:
    run = run_of(Agent(clock, is_serial=True).ask, clock)
    await run.measure_async()
    with pytest.raises(UsageError, match="expected a share above 0 and up to 1"):
        run.result().assert_scales(efficiency=efficiency)
