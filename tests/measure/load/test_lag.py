"""Tests of the lag of the loop."""

import asyncio

import pytest

from pytest_agentperf.core.sample import Sample
from pytest_agentperf.measure.load.lag import LagProbe
from tests.measure.load.conftest import Loads


def lag_of(load: Loads, seconds: float, blocked: float) -> Sample:
    lag = Sample()

    async def main() -> None:
        probe = LagProbe(asyncio.get_running_loop(), lag)
        probe.start()
        await asyncio.sleep(seconds / 2)
        load.clock.advance(blocked)  # computes
        await asyncio.sleep(seconds / 2)
        probe.stop()
        count = lag.count
        await asyncio.sleep(1)
        assert lag.count == count

    load.runner.run(main())
    return lag


def test_loop_that_is_free_has_no_lag(load: Loads) -> None:
    lag = lag_of(load, 1, 0)
    assert lag.count == pytest.approx(100, abs=2)
    assert lag.max == 0


def test_loop_that_is_held_has_the_lag_of_it(load: Loads) -> None:
    assert lag_of(load, 1, 0.3).max == pytest.approx(0.29, abs=0.011)


def test_millisecond_of_the_timers_is_no_lag(load: Loads) -> None:
    assert lag_of(load, 0.01, 0.006).max == pytest.approx(0, abs=1e-5)
