"""Tests of how timed rounds and watched calls are kept apart."""

from collections.abc import Callable
from typing import Any

import pytest

from pytest_agentperf.measure.timer import PerfTimer

from .conftest import Bench, FakeClock


class Scribe:
    """A monitor that writes down what happens; calls write into the same list."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.missed: list[str] = []

    @property
    def names(self) -> tuple[str, ...]:
        return ("scribe",)

    def pause(self) -> None:
        self.events.append("pause")

    def resume(self) -> None:
        self.events.append("resume")

    def miss(self, reason: str) -> None:
        self.missed.append(reason)


@pytest.fixture
def scribe(bench: Bench) -> Scribe:
    scribe = Scribe()
    bench.timings.monitors.enter(scribe)
    return scribe


@pytest.fixture
def ask(clock: FakeClock, scribe: Scribe) -> Callable[..., Any]:
    async def ask(seconds: float = 0.25) -> str:
        scribe.events.append("call")
        clock.advance(seconds)
        return "yes"

    return ask


@pytest.mark.asyncio
async def test_rounds_are_made_unwatched_and_one_more_call_is_watched(
    bench: Bench, perf: PerfTimer, scribe: Scribe, ask: Callable[..., Any]
) -> None:
    bench.warmup = 1
    await perf(ask)
    assert scribe.events == ["pause", *["call"] * 4, "resume", "call"]
    assert bench.latencies() == [0.25] * 3


@pytest.mark.asyncio
async def test_no_further_call_is_made_when_nobody_watches(
    bench: Bench, perf: PerfTimer, scribe: Scribe, ask: Callable[..., Any]
) -> None:
    bench.timings.monitors.leave(scribe)
    await perf(ask)
    assert scribe.events == ["call"] * 3


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("bounds", "named"),
    [
        ({"max_calls": 3}, "max_calls 3"),
        ({"max_time": 0.7}, "max_time 700 ms"),
        ({"max_tokens": 10**6}, "max_tokens"),
        ({"max_cost": 10.0}, "max_cost"),
    ],
)
async def test_watched_call_stays_within_the_bounds(
    bench: Bench,
    perf: PerfTimer,
    scribe: Scribe,
    ask: Callable[..., Any],
    bounds: dict[str, float],
    named: str,
) -> None:
    perf.configure(**bounds, usage=lambda _: (1, 1), cost=lambda _: 0.01)
    await perf(ask)
    assert scribe.events == ["pause", *["call"] * 3, "resume"]
    (reason,) = scribe.missed
    assert f"was watched within {named}; raise it" in reason


@pytest.mark.asyncio
async def test_monitors_resume_when_a_round_raises(
    perf: PerfTimer, scribe: Scribe, ask: Callable[..., Any]
) -> None:
    async def fail() -> None:
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011 -- the error itself is the point
        await perf(fail)
    assert scribe.events == ["pause", "resume"]


def test_first_call_of_a_sync_function_is_watched_and_the_others_are_not(
    perf: PerfTimer, scribe: Scribe
) -> None:
    perf(scribe.events.append, "call")
    assert scribe.events == ["call", "pause", "call", "call", "resume"]


@pytest.mark.asyncio
async def test_body_that_runs_once_is_timed_and_watched_in_that_run(
    bench: Bench, scribe: Scribe, ask: Callable[..., Any]
) -> None:
    bench.rounds = 1
    await bench.timings.run_body(ask)
    assert scribe.events == ["call"]


@pytest.mark.asyncio
async def test_body_that_is_repeated_is_watched_in_a_run_of_its_own(
    bench: Bench, scribe: Scribe, ask: Callable[..., Any]
) -> None:
    await bench.timings.run_body(ask)
    assert scribe.events == ["pause", *["call"] * 3, "resume", "call"]
    assert bench.latencies() == [0.25] * 3
