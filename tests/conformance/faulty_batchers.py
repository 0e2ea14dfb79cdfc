"""A right batcher, and wrong ones."""

import asyncio
from collections import deque
from typing import Any, ClassVar

from tests.conformance.faulty import caught_by


class RightBatcher:
    """An event-driven batcher with everything that the suite can ask for."""

    def __init__(self, process: Any, batch_size: int, max_wait: float) -> None:
        self.process, self.batch_size, self.max_wait = process, batch_size, max_wait
        self.loop: Any = None
        self.is_closed = False

    def begin(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.queue: deque[tuple[Any, asyncio.Future[Any]]] = deque()
        self.timer: Any = None
        self.tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, item: Any) -> Any:
        if self.is_closed:
            raise RuntimeError("closed")
        if self.loop is not asyncio.get_running_loop():
            self.begin()
        future = self.loop.create_future()
        self.queue.append((item, future))
        if len(self.queue) >= self.batch_size:
            self.flush()
        elif self.timer is None:
            self.timer = self.loop.call_later(self.max_wait, self.flush)
        return await future

    def flush(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        while batch := self.next_batch():
            task = self.loop.create_task(self.run(batch))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def next_batch(self) -> list[Any]:
        batch: list[Any] = []
        while self.queue and len(batch) < self.batch_size:
            item, future = self.queue.popleft()
            if not future.done():
                batch.append((item, future))
        return batch

    async def run(self, batch: list[Any]) -> None:
        try:
            results = await self.process([item for item, _ in batch])
            self.check(batch, results)
        except BaseException as error:
            self.fail(batch, error)
            if not isinstance(error, Exception):
                raise
        else:
            self.answer(batch, results)

    def check(self, batch: list[Any], results: Any) -> None:
        if len(results) != len(batch):
            raise ValueError(f"{len(results)} results for {len(batch)} items")

    def answer(self, batch: list[Any], results: Any) -> None:
        for (_, future), result in zip(batch, results, strict=False):
            if not future.done():
                future.set_result(result)

    def fail(self, batch: list[Any], error: BaseException) -> None:
        for _, future in batch:
            if not future.done():
                failure = RuntimeError("the batch failed")
                failure.__cause__ = error
                future.set_exception(failure)

    async def close(self) -> None:
        self.is_closed = True
        if self.loop:
            self.flush()


@caught_by("test_each_caller_gets_the_result_of_its_own_item")
class MixesResultsUp(RightBatcher):
    def answer(self, batch: list[Any], results: Any) -> None:
        super().answer(batch, sorted(results))


@caught_by("test_batches_are_never_larger_than_batch_size")
class TakesOneTooMany(RightBatcher):
    def __init__(self, process: Any, batch_size: int, max_wait: float) -> None:
        super().__init__(process, batch_size + 1, max_wait)


@caught_by("test_items_that_come_together_share_a_batch")
class ProcessesOneByOne(RightBatcher):
    def __init__(self, process: Any, batch_size: int, max_wait: float) -> None:
        super().__init__(process, 1, max_wait)


@caught_by("test_lone_item_waits_no_longer_than_max_wait")
class WaitsTwice(RightBatcher):
    def __init__(self, process: Any, batch_size: int, max_wait: float) -> None:
        super().__init__(process, batch_size, 2 * max_wait)


@caught_by("test_full_batch_does_not_wait")
class WaitsAlways(RightBatcher):
    async def __call__(self, item: Any) -> Any:
        await asyncio.sleep(self.max_wait)
        return await super().__call__(item)


@caught_by("test_every_item_is_processed_once")
class ProcessesTheLastAgain(RightBatcher):
    def next_batch(self) -> list[Any]:
        batch = super().next_batch()
        if len(batch) == 3:
            self.queue.append((batch[-1][0], self.loop.create_future()))
        return batch


@caught_by("test_items_that_come_while_a_batch_runs_are_processed")
class ForgetsWhatComesMeanwhile(RightBatcher):
    async def __call__(self, item: Any) -> Any:
        if self.loop and self.tasks:
            return await asyncio.shield(self.loop.create_future())
        return await super().__call__(item)


@caught_by("test_none_and_falsy_results_reach_their_callers")
class TakesNoneForNoResult(RightBatcher):
    def check(self, batch: list[Any], results: Any) -> None:
        super().check(batch, [result for result in results if result is not None])


@caught_by("test_two_batchers_share_nothing")
class SharesItsQueue(RightBatcher):
    shared: ClassVar[deque[Any]] = deque()

    def begin(self) -> None:
        super().begin()
        self.queue = self.shared


@caught_by("test_cancelled_caller_leaves_the_others_their_results")
class AnswersTheCancelled(RightBatcher):
    def next_batch(self) -> list[Any]:
        return [self.queue.popleft() for _ in range(min(len(self.queue), self.batch_size))]

    def answer(self, batch: list[Any], results: Any) -> None:
        for (_, future), result in zip(batch, results, strict=False):
            future.set_result(result)


@caught_by("test_caller_cancelled_while_its_batch_runs_harms_nobody")
class IsCancelledByOneCaller(RightBatcher):
    async def run(self, batch: list[Any]) -> None:
        task: Any = asyncio.current_task()
        for _, future in batch:
            future.add_done_callback(lambda each: each.cancelled() and task.cancel())
        await super().run(batch)


@caught_by("test_batcher_works_after_all_callers_of_a_batch_were_cancelled")
class StopsWhenAllHaveGone(RightBatcher):
    def next_batch(self) -> list[Any]:
        if self.queue and all(future.done() for _, future in self.queue):
            self.is_closed = True
        return super().next_batch()


@caught_by("test_cancellation_is_never_swallowed")
class SwallowsCancellation(RightBatcher):
    async def __call__(self, item: Any) -> Any:
        task = asyncio.ensure_future(super().__call__(item))
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                continue
        return task.result()


@caught_by("test_error_of_a_batch_reaches_each_of_its_callers")
class FailsTheFirstAlone(RightBatcher):
    def fail(self, batch: list[Any], error: BaseException) -> None:
        super().fail(batch[:1], error)


@caught_by("test_error_of_a_batch_spares_the_other_batches")
class FailsEverybody(RightBatcher):
    def flush(self) -> None:
        super().flush()
        self.begun = getattr(self, "begun", [])

    async def run(self, batch: list[Any]) -> None:
        self.begun = [*getattr(self, "begun", []), *batch]
        await super().run(batch)

    def fail(self, batch: list[Any], error: BaseException) -> None:
        super().fail(self.begun, error)


@caught_by("test_too_few_results_are_an_error_for_every_caller")
class LeavesTheLastWaiting(RightBatcher):
    def check(self, batch: list[Any], results: Any) -> None:
        if len(results) > len(batch):
            super().check(batch, results)


@caught_by("test_too_many_results_are_an_error_for_every_caller")
class DropsWhatIsTooMuch(RightBatcher):
    def check(self, batch: list[Any], results: Any) -> None:
        if len(results) < len(batch):
            super().check(batch, results)


@caught_by("test_result_of_none_is_an_error_for_every_caller")
class TakesNoneForAllResults(RightBatcher):
    async def run(self, batch: list[Any]) -> None:
        results = await self.process([item for item, _ in batch])
        self.answer(batch, results or [None] * len(batch))


@caught_by("test_function_that_is_cancelled_leaves_nobody_waiting")
class CatchesExceptionsAlone(RightBatcher):
    def fail(self, batch: list[Any], error: BaseException) -> None:
        if isinstance(error, Exception):
            super().fail(batch, error)


@caught_by("test_close_leaves_nobody_waiting")
class ForgetsTheQueueAtClose(RightBatcher):
    async def close(self) -> None:
        self.is_closed = True
        self.queue.clear()


@caught_by("test_item_after_close_is_refused")
class TakesItemsAfterClose(RightBatcher):
    async def close(self) -> None:
        await super().close()
        self.is_closed = False


@caught_by("test_each_caller_gets_an_exception_of_its_own")
class SharesOneException(RightBatcher):
    def fail(self, batch: list[Any], error: BaseException) -> None:
        for _, future in batch:
            if not future.done():
                future.set_exception(error if isinstance(error, Exception) else RuntimeError())


@caught_by("test_item_of_a_caller_that_has_gone_is_not_processed")
class ProcessesForNobody(RightBatcher):
    def next_batch(self) -> list[Any]:
        return [self.queue.popleft() for _ in range(min(len(self.queue), self.batch_size))]


@caught_by("test_slow_batch_does_not_hold_up_the_next")
class ProcessesOneBatchAtATime(RightBatcher):
    def begin(self) -> None:
        super().begin()
        self.turn = asyncio.Lock()

    async def run(self, batch: list[Any]) -> None:
        async with self.turn:
            await super().run(batch)


@caught_by("test_idle_batcher_does_nothing")
class Polls(RightBatcher):
    def begin(self) -> None:
        super().begin()
        self.poller = asyncio.ensure_future(self.poll())

    async def poll(self) -> None:
        while not self.is_closed:  # noqa: ASYNC110 - that is the fault
            await asyncio.sleep(0.01)


@caught_by("test_batcher_works_on_a_second_event_loop")
class StaysOnItsFirstLoop(RightBatcher):
    def begin(self) -> None:
        if self.loop is None:
            super().begin()


@caught_by("test_cancelled_caller_spares_another_of_the_same_item")
class SharesTheTaskOfAnItem(RightBatcher):
    async def __call__(self, item: Any) -> Any:
        tasks = self.__dict__.setdefault("tasks_of_items", {})
        if item not in tasks:
            tasks[item] = asyncio.create_task(super().__call__(item))
        return await tasks[item]
