"""A clock that stands still, and timers that run by it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from pytest_agentperf.core.effort import Effort
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.usage import Price
from pytest_agentperf.measure.call import CallContext, RunningCall
from pytest_agentperf.measure.counting import Counters
from pytest_agentperf.measure.recording import Recording
from pytest_agentperf.measure.rounds import Plan
from pytest_agentperf.measure.spending import UsageReading
from pytest_agentperf.measure.timer import PerfTimer
from pytest_agentperf.measure.timings import Timings


class FakeClock:
    """Seconds that pass only when a test says so; tests use fractions that floats hold exactly."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)


def never_open(measured: Measurement) -> bool:
    return False


def always_open(measured: Measurement) -> bool:
    return True


@dataclass
class Bench:
    """A timer as a test holds it, and what its session would see.

    `plan` is what no effort states; a stated one wins as in the session.
    """

    clock: FakeClock
    rounds: int = 3
    warmup: int = 0
    max_calls: int = 1000
    max_time: float = 60.0
    max_tokens: int | None = None
    max_cost: float | None = None
    is_open: Callable[[Measurement], bool] = never_open
    prices: Mapping[str, Price] = field(default_factory=dict)
    wants_cost: bool = False
    announced: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.timings = Timings(self.plan, self.prices, self.clock, wants_cost=self.wants_cost)
        self.timer = PerfTimer(lambda: self.timings)

    def plan(self, label: str | None, stated: Effort) -> Plan:
        def or_default(number: float | None, default: float | None) -> float | None:
            return default if number is None else number

        return Plan(
            rounds=stated.rounds or self.rounds,
            warmup=self.warmup if stated.warmup is None else stated.warmup,
            max_calls=stated.max_calls or self.max_calls,
            max_time=self.max_time if stated.max_time is None else stated.max_time,
            max_tokens=self.max_tokens if stated.max_tokens is None else stated.max_tokens,
            max_cost=or_default(stated.max_cost, self.max_cost),
            is_open=self.is_open,
            announce=self.announced.append,
        )

    def measured(self, label: str | None = None) -> Measurement:
        """Return the measurement under *label*."""
        return next(found for found in self.timings.measurements() if found.label == label)

    def latencies(self, label: str | None = None) -> list[float]:
        """Return the seconds of each recorded call under *label*."""
        return list(self.measured(label).samples["latency"])

    def takes(self, seconds: float, result: object = None) -> Callable[[], object]:
        """Return a function that takes *seconds* and returns *result*."""

        def work() -> object:
            self.clock.advance(seconds)
            return result

        return work


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def bench(clock: FakeClock) -> Bench:
    return Bench(clock)


@pytest.fixture
def perf(bench: Bench) -> PerfTimer:
    """The timer of `bench`: three rounds, no warmup."""
    return bench.timer


@pytest.fixture
def recording() -> Recording:
    return Recording(None)


@pytest.fixture
def begin(clock: FakeClock, recording: Recording) -> Callable[[], RunningCall]:
    """Begin a call that is recorded in `recording`."""
    context = CallContext("agent.ask", UsageReading(), Counters(), clock)
    return lambda: RunningCall(context, recording)
