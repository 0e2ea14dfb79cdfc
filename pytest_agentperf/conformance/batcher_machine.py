"""Random schedules for a batcher; at the end every caller must have its answer."""
# ruff: noqa: D102 - the name of a rule is its sentence

import asyncio
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from pytest_agentperf.conformance.batcher_subject import BatcherSubject, BatcherSuite, answers
from pytest_agentperf.conformance.machine import Machine
from pytest_agentperf.conformance.suite import expect, require
from pytest_agentperf.conformance.virtual import turns

__all__ = ["BatcherMachine"]


class BatcherMachine(Machine):
    """Callers come and go in any order while batches are slow or fail."""

    def __init__(self, suite: BatcherSuite) -> None:
        super().__init__(suite)
        self.suite = suite
        self.batcher: BatcherSubject
        self.count = self.failures = 0

    @initialize(batch_size=st.integers(1, 4), time=st.sampled_from([0.0, 0.5, 3.0]))
    def make_batcher(self, batch_size: int, time: float) -> None:
        self.do(self._make(batch_size, time))

    async def _make(self, batch_size: int, time: float) -> None:
        self.batcher = await self.suite.new_batcher(batch_size, clock=self.clock)
        self.batcher.work.time = time
        self.batcher.work.answer = self._answer

    def _answer(self, items: list[Any]) -> list[str]:
        if self.failures:
            self.failures -= 1
            raise ValueError("a batch that fails")
        return answers(items)

    @rule(count=st.integers(1, 5))
    def callers_come(self, count: int) -> None:
        self.do(self._come(count))

    async def _come(self, count: int) -> None:
        self.batcher.ask(*range(self.count, self.count + count))
        self.count += count

    @rule(place=st.integers(0, 7))
    def caller_is_cancelled(self, place: int) -> None:
        waiting = [task for task in self.batcher.callers.values() if not task.done()]
        if waiting:
            waiting[place % len(waiting)].cancel()

    @rule()
    def next_batch_fails(self) -> None:
        self.failures += 1

    @rule(count=st.integers(1, 3))
    def loop_goes_round(self, count: int) -> None:
        self.do(turns(count))

    @rule(seconds=st.sampled_from([0.4, 1.0, 3.0]))
    def time_passes(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))

    def teardown(self) -> None:
        """Let all end, and look at what each got."""
        try:
            if hasattr(self, "batcher"):
                self.do(self._rest())
        finally:
            super().teardown()

    async def _rest(self) -> None:
        batcher = self.batcher
        for item, task in batcher.callers.items():
            (got,) = await batcher.ended(task)
            ends = isinstance(got, ValueError | asyncio.CancelledError)
            ends = ends or (isinstance(got, Exception) and self._is_cause(got))
            require(ends or got == f"result of {item}", f"the caller of {item} got {got!r}")
        processed = batcher.work.items
        expect(len(processed), len(set(processed)), f"items processed once, of {processed}")
        batcher.check_sizes()
        self.failures = 0
        await batcher.check(-1, -2)

    def _is_cause(self, error: BaseException) -> bool:
        return isinstance(error.__cause__ or error.__context__, ValueError)
