"""What a batcher may promise besides; each is declared by a `supports_…`."""

import asyncio
from typing import Any

from pytest_agentperf.conformance.batcher_subject import MAX_WAIT, BatcherSuite
from pytest_agentperf.conformance.suite import expect, require, scenario
from pytest_agentperf.conformance.virtual import turns

__all__ = ["OptionTests"]

SLOW = 3.0
IDLE_TIME = 60.0  # virtual seconds
IDLE_TURNS = 10  # of the loop in that time


class OptionTests(BatcherSuite):
    """The end, errors, callers that have gone, batches at a time, idling, event loops."""

    @scenario("supports_close")
    async def test_close_leaves_nobody_waiting(self) -> None:
        """Seen in scylladb/python-driver#118 (what a shutdown leaves behind)."""
        for pause in (0.0, MAX_WAIT + SLOW / 2):
            batcher = await self.new_batcher(2)
            batcher.work.time = SLOW
            batcher.ask(*range(5))
            await turns()
            await asyncio.sleep(pause)
            closing = asyncio.create_task(batcher.close(), name="close()")
            await batcher.ended(closing, *batcher.callers.values())

    @scenario("supports_close")
    async def test_item_after_close_is_refused(self) -> None:
        """Seen in scylladb/python-driver#118 (used while it shuts down)."""
        batcher = await self.new_batcher()
        await batcher.check(0)
        await batcher.close()
        (got,) = await batcher.ended(*batcher.ask(1))
        require(isinstance(got, Exception), f"a closed batcher answered {got!r}")

    @scenario("supports_own_exceptions")
    async def test_each_caller_gets_an_exception_of_its_own(self) -> None:
        """Seen in aio-libs/async-lru#199 and python/cpython#90873 (tracebacks mix and grow)."""

        def fails(_: Any) -> Any:
            raise ValueError("no results")

        batcher = await self.new_batcher(4)
        batcher.work.answer = fails
        got = await batcher.ended(*batcher.ask(*range(4)))
        expect(len({id(each) for each in got}), 4, "exception objects for 4 callers")

    @scenario("supports_skipping_cancelled")
    async def test_item_of_a_caller_that_has_gone_is_not_processed(self) -> None:
        """Seen in strawberry-graphql/strawberry#3606 (an expensive call for nobody)."""
        batcher = await self.new_batcher(5)
        tasks = batcher.ask(0, 1, 2)
        await asyncio.sleep(0)
        tasks[0].cancel()
        await batcher.ended()
        expect(batcher.work.items, [1, 2], "items processed, with the caller of 0 gone before")
        tasks = batcher.ask(3, 4)
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await turns()
        await asyncio.sleep(2 * MAX_WAIT)
        expect(batcher.work.items, [1, 2], "items processed, with both callers gone before")

    @scenario("supports_concurrent_batches")
    async def test_slow_batch_does_not_hold_up_the_next(self) -> None:
        """Seen in graphql/dataloader#247 (a long one held up all others)."""
        batcher = await self.new_batcher(2)
        batcher.work.time = 20 * MAX_WAIT
        batcher.ask(*range(4))
        await asyncio.sleep(10 * MAX_WAIT)
        expect(batcher.work.running, 2, "full batches at work")
        await batcher.ended()

    @scenario("supports_idling")
    async def test_idle_batcher_does_nothing(self) -> None:
        """Seen in langchain-ai/langgraph#3445 (a batcher that polled with `sleep(0)`)."""
        batcher = await self.new_batcher()
        await batcher.check(0)
        await asyncio.sleep(2 * MAX_WAIT)
        before = self.runner.turns
        await asyncio.sleep(IDLE_TIME)
        count = self.runner.turns - before
        text = f"the loop woke {count} times in {IDLE_TIME:g} s in which nobody asked"
        require(count <= IDLE_TURNS, text)

    def test_batcher_works_on_a_second_event_loop(self) -> None:
        """Seen in MagicStack/asyncpg#293 and psycopg/psycopg#219 (bound to the first loop)."""
        self.need("supports_loop_change")
        self.play_in_two_loops(self._first_loop, self._second_loop)

    async def _first_loop(self) -> None:
        self._batcher = await self.new_batcher(2)
        await self._batcher.check(0, 1)
        self._batcher.work.time = SLOW
        self._batcher.ask(2, 3, 4)
        await asyncio.sleep(SLOW / 2)

    async def _second_loop(self) -> None:
        await self._batcher.check(5, 6, 7)
