"""Loads in virtual time: `load(func, users=5, duration=10)` returns what they came to."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pytest_agentperf.conformance.virtual import Runner, VirtualClock
from pytest_agentperf.measure.load.engine import Engine, Job
from pytest_agentperf.measure.load.keywords import read_plan
from pytest_agentperf.measure.load.result import LoadResult
from pytest_agentperf.measure.load.scenario import Scenario


class Loads:
    """Runs loads, one after the other, in one virtual loop."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.runner = Runner(self.clock, 20)

    def engine(
        self, *called: Any, observe: Any = None, hooks: Any = (), **stated: Any
    ) -> tuple[Engine, Callable[[], LoadResult]]:
        """Return an engine, and what returns the result of what it has made by then."""
        scenarios = [one if isinstance(one, Scenario) else Scenario(one) for one in called]
        plan = read_plan(stated)
        engine = Engine(plan, Job(scenarios, *hooks), observe, clock=self.clock)
        names = tuple(scenario.name for scenario in scenarios)
        return engine, lambda: LoadResult(plan, engine.tally, names, " and ".join(names))

    def __call__(self, *called: Any, **stated: Any) -> LoadResult:
        engine, result = self.engine(*called, **stated)
        self.run(engine)
        return result()

    def run(self, engine: Engine) -> None:
        async def main() -> None:
            await engine.run()

        self.runner.run(main())


@pytest.fixture
def load() -> Iterator[Loads]:
    """Run loads in virtual time, whose loop is left clean."""
    loads = Loads()
    yield loads
    loads.runner.close()
    assert not loads.runner.problems
