"""Random schedules for a pool; at the end every slot must still work."""
# ruff: noqa: D102 - the name of a rule is its sentence

import asyncio
from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from pytest_agentperf.conformance.machine import Machine
from pytest_agentperf.conformance.pool_subject import SOON, Holder, PoolSubject, PoolSuite
from pytest_agentperf.conformance.suite import require
from pytest_agentperf.conformance.virtual import turns

__all__ = ["PoolMachine"]


class PoolMachine(Machine):
    """Callers come, hold, fail and are cancelled in any order while connects are slow or fail."""

    def __init__(self, suite: PoolSuite) -> None:
        super().__init__(suite)
        self.suite = suite
        self.pool: PoolSubject

    @initialize(max_size=st.integers(1, 3), connect_time=st.sampled_from([0.0, 1.0]))
    def make_pool(self, max_size: int, connect_time: float) -> None:
        self.do(self._make(max_size, connect_time))

    async def _make(self, max_size: int, connect_time: float) -> None:
        self.pool = await self.suite.new_pool(max_size, self.clock)
        self.pool.server.connect_time = connect_time

    @rule(count=st.integers(1, 3))
    def callers_come(self, count: int) -> None:
        self.do(self._act(lambda: [self.pool.ask() for _ in range(count)]))

    @rule(place=st.integers(0, 3))
    def holder_ends(self, place: int) -> None:
        self.do(self._act(lambda: self._pick(place, is_served=True, what=Holder.end)))

    @rule(place=st.integers(0, 3))
    def holder_raises(self, place: int) -> None:
        error = ValueError("in the block")
        self.do(
            self._act(lambda: self._pick(place, is_served=True, what=lambda each: each.end(error)))
        )

    @rule(place=st.integers(0, 3), is_served=st.booleans())
    def caller_is_cancelled(self, place: int, is_served: bool) -> None:  # noqa: FBT001
        self.do(self._act(lambda: self._pick(place, is_served=is_served, what=Holder.cancel)))

    @rule()
    def next_connect_fails(self) -> None:
        self.pool.server.failures += 1

    @rule(count=st.integers(1, 3))
    def loop_goes_round(self, count: int) -> None:
        self.do(turns(count))

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0]))
    def time_passes(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))

    async def _act(self, what: Callable[[], object]) -> None:
        what()
        self.pool.server.check()

    def _pick(self, place: int, *, is_served: bool, what: Callable[[Holder], None]) -> None:
        alive = [each for each in self.pool.holders if not each.task.done()]
        found = [each for each in alive if each.is_served == is_served]
        if found:
            what(found[place % len(found)])

    def teardown(self) -> None:
        """Let all end, see that all slots work, and close."""
        try:
            if hasattr(self, "pool"):
                self.do(self._rest())
        finally:
            super().teardown()

    async def _rest(self) -> None:
        pool = self.pool
        pool.server.failures = 0
        for _ in range(len(pool.holders) + 1):
            for each in pool.holders:
                if each.is_served:
                    each.end()
            if all(each.task.done() for each in pool.holders):
                break
            await asyncio.sleep(SOON / 4)
        await pool.check_slots()
        if self.suite.supports_close:
            await pool.close()
            await asyncio.sleep(SOON)
            require(not pool.server.open, f"open after close(): {pool.server.open}")
