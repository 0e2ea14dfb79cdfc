"""The batcher under test, the function that it calls, and its callers."""

import asyncio
from collections.abc import Callable
from typing import Any

from pytest_agentperf.conformance.suite import Suite, expect, require, settle
from pytest_agentperf.conformance.virtual import VirtualClock, turns

__all__ = ["MAX_WAIT", "SOON", "BatcherSubject", "BatcherSuite", "Work"]

MAX_WAIT = 1.0  # virtual seconds
SOON = 60.0  # in which whatever is possible has happened


class Work:
    """The function that processes batches; it notes what it was given.

    Attributes:
        batches: The items of each batch, in the order in which they began.
        time: Virtual seconds that a batch takes.
        answer: What gives the results of a batch, or raises.
    """

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.started: list[float] = []
        self.running = self.most = 0
        self.time = 0.0
        self.answer: Callable[[list[Any]], Any] = answers

    async def process(self, items: Any) -> Any:
        """Process one batch."""
        batch = list(items)
        self.batches.append(batch)
        self.started.append(asyncio.get_running_loop().time())
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.time)
            return self.answer(batch)
        finally:
            self.running -= 1

    @property
    def items(self) -> list[Any]:
        """All items that were processed, sorted."""
        return sorted(item for batch in self.batches for item in batch)


def answers(items: list[Any]) -> list[Any]:
    """Return a result for each of *items* that no other has."""
    return [f"result of {item}" for item in items]


class BatcherSuite(Suite):
    """The factory, the capabilities and the hooks of a batcher suite; see `BatcherConformance`."""

    supports_close = False
    supports_own_exceptions = False
    supports_skipping_cancelled = False
    supports_concurrent_batches = False
    supports_idling = False
    supports_loop_change = False

    def make_batcher(
        self,
        *,
        process: Callable[[list[Any]], Any],
        batch_size: int,
        max_wait: float,
        clock: Callable[[], float],
    ) -> Any:
        """Return a new batcher of the kind under test, or an awaitable of one.

        Args:
            process: Async function of a list of items that returns a list of results, in order.
            batch_size: Items of a batch at most.
            max_wait: Seconds that an item waits for others at most.
            clock: Returns seconds, the time of the running loop.
        """
        raise NotImplementedError(
            f"{type(self).__name__}: define make_batcher(self, *, process, batch_size, max_wait, "
            "clock) to return the batcher under test"
        )

    def submit(self, batcher: Any, item: Any) -> Any:
        """Return an awaitable of the result of *item*; by default `batcher(item)`."""
        return batcher(item)

    def close_batcher(self, batcher: Any) -> Any:
        """Close *batcher*; by `supports_close`."""
        return batcher.close()

    async def new_batcher(
        self,
        batch_size: int = 4,
        max_wait: float = MAX_WAIT,
        clock: VirtualClock | None = None,
    ) -> "BatcherSubject":
        """Return a new batcher under test."""
        work = Work()
        batcher = await self.made(
            self.make_batcher,
            "__call__" if type(self).submit is BatcherSuite.submit else "",
            process=work.process,
            batch_size=batch_size,
            max_wait=max_wait,
            clock=clock or self.clock,
        )
        return BatcherSubject(self, batcher, work, batch_size)


class BatcherSubject:
    """A batcher under test, as the tests see it."""

    def __init__(self, suite: BatcherSuite, batcher: Any, work: Work, batch_size: int) -> None:
        self.suite, self.batcher, self.work, self.batch_size = suite, batcher, work, batch_size
        self.callers: dict[Any, asyncio.Task[Any]] = {}

    def ask(self, *items: Any) -> list["asyncio.Task[Any]"]:
        """Start a caller for each of *items*, which have not run yet."""
        tasks = [asyncio.create_task(self._call(item), name=f"caller of {item}") for item in items]
        self.callers.update(zip(items, tasks, strict=True))
        return tasks

    async def _call(self, item: Any) -> Any:
        return await self.suite.submit(self.batcher, item)

    async def ended(self, *tasks: "asyncio.Task[Any]") -> list[Any]:
        """Return the outcome of each of *tasks*: a result or an exception; none may hang."""
        tasks = tasks or tuple(self.callers.values())
        await turns(20)
        if not all(task.done() for task in tasks):
            await asyncio.sleep(SOON)
        left = [task.get_name() for task in tasks if not task.done()]
        require(not left, f"still waiting after {SOON:g} s: {', '.join(left)}")
        return await asyncio.gather(*tasks, return_exceptions=True)

    async def check(self, *items: Any) -> None:
        """Fail unless new callers with *items* get their own results, in batches of legal size."""
        got = await self.ended(*self.ask(*items))
        expect(got, [f"result of {item}" for item in items], f"what the callers of {items} got")
        self.check_sizes()

    def check_sizes(self) -> None:
        """Fail if a batch was too large, or empty."""
        wrong = [batch for batch in self.work.batches if not 0 < len(batch) <= self.batch_size]
        require(not wrong, f"batches of wrong size, with batch_size={self.batch_size}: {wrong}")

    async def close(self) -> None:
        """Close the batcher."""
        await settle(self.suite.close_batcher(self.batcher))
