"""Random programs for a circuit breaker, against a model of its state."""
# ruff: noqa: D102 - the name of a rule is its sentence

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from pytest_agentperf.conformance.breaker_subject import (
    BreakerSubject,
    BreakerSuite,
)
from pytest_agentperf.conformance.machine import Machine
from pytest_agentperf.conformance.suite import expect

__all__ = ["BreakerMachine"]


class BreakerMachine(Machine):
    """Calls succeed and fail, one after the other, while time passes."""

    def __init__(self, suite: BreakerSuite) -> None:
        super().__init__(suite)
        self.suite = suite
        self.breaker: BreakerSubject
        self.streak = 0
        self.opened: float | None = None  # when the circuit opened

    @initialize(max_failures=st.integers(1, 3))
    def make_breaker(self, max_failures: int) -> None:
        self.max_failures = max_failures
        self.do(self._make())

    async def _make(self) -> None:
        self.breaker = await self.suite.new_breaker(self.max_failures, self.clock)

    @rule(fails=st.booleans())
    def call(self, fails: bool) -> None:  # noqa: FBT001
        self.do(self._call(fails=fails))

    async def _call(self, *, fails: bool) -> None:
        got = await self.breaker.attempt(ValueError("failure") if fails else None)
        is_probe = self.opened is not None
        if self.opened is not None and self.clock.now < self.opened + self.suite.reset_timeout:
            expect(got, "rejected", "a call of an open circuit")
            return
        expect(got, "raised" if fails else "returned", f"a call after {self.streak} failures")
        self.streak = self.streak + 1 if fails else 0
        is_open = fails and (is_probe or self.streak >= self.max_failures)
        self.opened = self.clock.now if is_open else None

    @rule(seconds=st.sampled_from([1.5, 4.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.do(self.breaker.wait(seconds))
