"""The base of the state machines: random programs in virtual time."""

from collections.abc import Coroutine
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine

from pytest_agentperf.conformance.suite import Suite, run_without_loop
from pytest_agentperf.conformance.virtual import VirtualClock

__all__ = ["Machine"]


class Machine(RuleBasedStateMachine):
    """Steps of a program that hypothesis chooses; each runs to its end in one virtual loop.

    Args:
        suite: Has the factory of the component under test.
    """

    def __init__(self, suite: Suite) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.runner = suite.new_runner(self.clock) if suite.needs_loop else None

    def do(self, step: Coroutine[Any, Any, None]) -> None:
        """Run *step* to its end."""
        __tracebackhide__ = True
        if self.runner is None:
            run_without_loop(step)
        else:
            self.runner.run(step)

    def teardown(self) -> None:
        """End what still runs."""
        if self.runner is not None:
            self.runner.close()
