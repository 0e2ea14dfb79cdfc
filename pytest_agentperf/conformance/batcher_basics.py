"""What every batcher promises: batches, callers that go, and functions that fail."""

import asyncio
from typing import Any

from pytest_agentperf.conformance.batcher_subject import MAX_WAIT, BatcherSuite
from pytest_agentperf.conformance.suite import expect, require, scenario
from pytest_agentperf.conformance.virtual import turns

__all__ = ["BatchTests", "CallerTests", "FailureTests"]

TICKS = range(7)  # turns of the loop after which something is cancelled
SLOW = 3.0  # virtual seconds of a slow batch


class BatchTests(BatcherSuite):
    """Batches without disturbance."""

    @scenario()
    async def test_each_caller_gets_the_result_of_its_own_item(self) -> None:
        """Seen in Arize-ai/phoenix#4518 (results in another order than the items)."""
        batcher = await self.new_batcher()
        await batcher.check(*range(11))
        await batcher.check(*range(30, 20, -1))

    @scenario()
    async def test_batches_are_never_larger_than_batch_size(self) -> None:
        """Seen in speechbrain/speechbrain#1881 (80 where 64 were the limit)."""
        for batch_size in (1, 2, 5):
            batcher = await self.new_batcher(batch_size)
            await batcher.check(*range(3 * batch_size + 1))

    @scenario()
    async def test_items_that_come_together_share_a_batch(self) -> None:
        """Seen in graphql-python/graphene#1075 (one batch for each item)."""
        batcher = await self.new_batcher(10)
        await batcher.check(*range(10))
        count = len(batcher.work.batches)
        require(count < 10, "10 items that came together were processed in 10 batches")  # noqa: PLR2004

    @scenario()
    async def test_lone_item_waits_no_longer_than_max_wait(self) -> None:
        """Seen in ray-project/ray#42593 (an item that waited for a next one)."""
        batcher = await self.new_batcher()
        for item in range(2):
            began = self.clock.now
            await batcher.check(item)
            waited = batcher.work.started[-1] - began
            text = f"a lone item waited {waited:.3g} s, with max_wait={MAX_WAIT:g}"
            require(waited <= MAX_WAIT + 0.01, text)

    @scenario()
    async def test_full_batch_does_not_wait(self) -> None:
        """Seen in NVIDIA/TensorRT-LLM#6923 (a full batch waited for its timeout)."""
        batcher = await self.new_batcher(4)
        batcher.ask(*range(4))
        await asyncio.sleep(MAX_WAIT / 2)
        expect(
            batcher.work.items, [*range(4)], "items begun at half of max_wait, with a full batch"
        )
        await batcher.ended()

    @scenario()
    async def test_every_item_is_processed_once(self) -> None:
        """Seen in ray-project/ray#42593 (the event was cleared with items still queued)."""
        for pause in (0.0, MAX_WAIT / 4):
            batcher = await self.new_batcher(3)
            batcher.work.time = MAX_WAIT / 3
            for item in range(12):
                batcher.ask(item)
                await asyncio.sleep(pause)
            await batcher.ended()
            expect(batcher.work.items, [*range(12)], "items processed")

    @scenario()
    async def test_items_that_come_while_a_batch_runs_are_processed(self) -> None:
        """Seen in ray-project/ray#42593 (left in the queue until the next came)."""
        for ticks in TICKS:
            batcher = await self.new_batcher(2)
            batcher.work.time = SLOW
            batcher.ask(0, 1)
            await asyncio.sleep(MAX_WAIT)
            batcher.ask(2)
            await asyncio.sleep(SLOW - MAX_WAIT)
            await turns(ticks)
            batcher.ask(3, 4)
            await batcher.ended()
            expect(batcher.work.items, [*range(5)], "items processed")

    @scenario()
    async def test_none_and_falsy_results_reach_their_callers(self) -> None:
        """Seen in graphql/dataloader#148 (an absent row taken for a missing result)."""
        batcher = await self.new_batcher(5)
        results: list[Any] = [None, 0, False, "", []]
        batcher.work.answer = lambda items: [results[item] for item in items]
        got = await batcher.ended(*batcher.ask(*range(5)))
        expect(got, results, "what the callers got")

    @scenario()
    async def test_two_batchers_share_nothing(self) -> None:
        """Seen in alastairtree/LazyCache#198 (state of a class, not of an instance)."""
        one, other = await self.new_batcher(), await self.new_batcher()
        one.ask(1, 2)
        other.ask(3)
        await one.ended()
        await other.ended()
        got = [one.work.items, other.work.items]
        expect(got, [[1, 2], [3]], "items processed by two batchers")


class CallerTests(BatcherSuite):
    """Callers may go at any moment."""

    @scenario()
    async def test_cancelled_caller_leaves_the_others_their_results(self) -> None:
        """Seen in syrusakbary/aiodataloader#44 and #55 (`InvalidStateError`, siblings hung)."""
        for time in (0.0, SLOW):
            for ticks in TICKS:
                batcher = await self.new_batcher(3)
                batcher.work.time = time
                tasks = batcher.ask(0, 1, 2)
                await turns(ticks)
                tasks[1].cancel()
                got = await batcher.ended()
                others = [got[0], got[2]]
                what = f"what the others got when one was cancelled after {ticks} turns"
                expect(others, ["result of 0", "result of 2"], what)
                await batcher.check(7, 8, 9)

    @scenario()
    async def test_caller_cancelled_while_its_batch_runs_harms_nobody(self) -> None:
        """Seen in ray-project/ray#50046 and #41057 (timeouts of clients degraded what followed)."""
        batcher = await self.new_batcher(3)
        batcher.work.time = SLOW
        tasks = batcher.ask(0, 1, 2)
        await asyncio.sleep(MAX_WAIT + SLOW / 2)
        tasks[0].cancel()
        got = await batcher.ended()
        expect(got[1:], ["result of 1", "result of 2"], "what the others got")
        await batcher.check(7, 8, 9)

    @scenario()
    async def test_cancelled_caller_spares_another_of_the_same_item(self) -> None:
        """Seen in aio-libs/async-lru#697 (one cancelled what both waited for)."""
        batcher = await self.new_batcher(3)
        batcher.work.time = SLOW
        (cancelled,), (other,) = batcher.ask(0), batcher.ask(0)
        await asyncio.sleep(MAX_WAIT + SLOW / 2)
        cancelled.cancel()
        got = await batcher.ended(other)
        expect(got, ["result of 0"], "what the other caller of the same item got")
        await batcher.check(0)

    @scenario()
    async def test_batcher_works_after_all_callers_of_a_batch_were_cancelled(self) -> None:
        """Seen in strawberry-graphql/strawberry#3606 and ray-project/ray#50046."""
        for pause in (0.0, MAX_WAIT + SLOW / 2):
            for ticks in TICKS:
                for items in ((0, 1), (0, 1, 2)):
                    batcher = await self.new_batcher(3)
                    batcher.work.time = SLOW
                    tasks = batcher.ask(*items)
                    await asyncio.sleep(pause)
                    await turns(ticks)
                    for task in tasks:
                        task.cancel()
                    await asyncio.sleep(2 * MAX_WAIT if ticks % 2 else 0)
                    await batcher.check(7, 8, 9)

    @scenario()
    async def test_cancellation_is_never_swallowed(self) -> None:
        """Seen in psycopg/psycopg#1401 (outer timeouts did nothing)."""
        batcher = await self.new_batcher()
        batcher.work.time = SLOW
        (task,) = batcher.ask(0)
        await turns()
        task.cancel()
        await turns()
        require(task.cancelled(), "a cancelled caller did not end so")


class FailureTests(BatcherSuite):
    """The function may do anything."""

    async def _fail(self, answer: Any, kind: type[BaseException] = Exception) -> list[Any]:
        """Return what the callers got whose batch ended with *answer*; the next must work."""
        batcher = await self.new_batcher(3)
        right, batcher.work.answer = batcher.work.answer, answer
        got = await batcher.ended(*batcher.ask(0, 1, 2))
        failed = [isinstance(each, kind) for each in got]
        require(all(failed), f"the callers of a batch that failed got {got!r}")
        batcher.work.answer = right
        await batcher.check(7, 8, 9)
        return got

    @scenario()
    async def test_error_of_a_batch_reaches_each_of_its_callers(self) -> None:
        """Seen in cksac/dataloader-rs#12 and ray-project/ray#66140 (the loop task died)."""

        def fails(_: Any) -> Any:
            raise ValueError("no results")

        await self._fail(fails)

    @scenario()
    async def test_error_of_a_batch_spares_the_other_batches(self) -> None:
        """Seen in ray-project/ray#66140 (one error ended the batcher)."""
        batcher = await self.new_batcher(2)
        right = batcher.work.answer

        def fails_first(items: list[Any]) -> Any:
            if 0 in items:
                raise ValueError("no results")
            return right(items)

        batcher.work.answer = fails_first
        got = await batcher.ended(*batcher.ask(0, 1, 2, 3))
        require(isinstance(got[0], Exception), f"the caller of a batch that failed got {got[0]!r}")
        last = max((batch for batch in batcher.work.batches if 0 not in batch), default=[])
        wrong = [got[item] for item in last if got[item] != f"result of {item}"]
        expect(wrong, [], "what callers of other batches got beside their results")
        require(len(last) > 0, "no other batch was processed")

    @scenario()
    async def test_too_few_results_are_an_error_for_every_caller(self) -> None:
        """Seen in graphql/dataloader#148 and epicweb-dev/cachified#153 (a wait without end)."""
        await self._fail(lambda items: [f"result of {item}" for item in items[:-1]])

    @scenario()
    async def test_too_many_results_are_an_error_for_every_caller(self) -> None:
        """Seen in graphql/dataloader#104 (a mismatch that nobody noticed)."""
        await self._fail(lambda items: [f"result of {item}" for item in [*items, "more"]])

    @scenario()
    async def test_result_of_none_is_an_error_for_every_caller(self) -> None:
        """Seen in epicweb-dev/cachified#153 (anything but a list)."""
        await self._fail(lambda _: None)

    @scenario()
    async def test_function_that_is_cancelled_leaves_nobody_waiting(self) -> None:
        """Seen in ray-project/ray#66140 (the task that ran batches died)."""

        def cancelled(_: Any) -> Any:
            raise asyncio.CancelledError

        await self._fail(cancelled, BaseException)
