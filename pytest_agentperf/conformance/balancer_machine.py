"""Random schedules for a load balancer; at the end the load must be even."""
# ruff: noqa: D102 - the name of a rule is its sentence

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from pytest_agentperf.conformance.balancer_subject import BalancerSubject, BalancerSuite
from pytest_agentperf.conformance.machine import Machine
from pytest_agentperf.conformance.suite import require
from pytest_agentperf.conformance.virtual import turns

__all__ = ["BalancerMachine"]


class BalancerMachine(Machine):
    """Leases are taken, end and are cancelled in any order."""

    def __init__(self, suite: BalancerSuite) -> None:
        super().__init__(suite)
        self.suite = suite
        self.balancer: BalancerSubject

    @initialize(count=st.integers(1, 4))
    def make_balancer(self, count: int) -> None:
        self.do(self._make(count))

    async def _make(self, count: int) -> None:
        self.balancer = await self.suite.new_balancer("abcd"[:count], self.clock)

    @rule(count=st.integers(1, 4))
    def callers_come(self, count: int) -> None:
        self.do(self._come(count))

    async def _come(self, count: int) -> None:
        for _ in range(count):
            self.balancer.ask()

    @rule(place=st.integers(0, 5), is_cancelled=st.booleans())
    def caller_ends(self, place: int, is_cancelled: bool) -> None:  # noqa: FBT001
        alive = [each for each in self.balancer.holders if not each.task.done()]
        if alive:
            holder = alive[place % len(alive)]
            holder.cancel() if is_cancelled else holder.end()

    @rule(count=st.integers(1, 3))
    def loop_goes_round(self, count: int) -> None:
        self.do(turns(count))

    def teardown(self) -> None:
        """Let all end, and look whether the load is even."""
        try:
            if hasattr(self, "balancer"):
                self.do(self._rest())
        finally:
            super().teardown()

    async def _rest(self) -> None:
        balancer = self.balancer
        for each in balancer.holders:
            each.end()
        for _ in balancer.holders:
            await turns(5)
        left = [each.task.get_name() for each in balancer.holders if not each.task.done()]
        require(not left, f"still waiting after all leases ended: {', '.join(left)}")
        for each in balancer.holders:
            if isinstance(each.error, Exception):
                raise each.error
        if self.suite.supports_least_load:
            await balancer.check_even("after leases that ended and were cancelled")
        most = self.suite.capacity * len(balancer.backends)
        await balancer.end(await balancer.hold(most if self.suite.supports_capacity else 3))
