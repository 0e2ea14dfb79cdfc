"""`perf_pool`: what the author of a test holds, and what it has seen in one test."""

from collections.abc import Callable
from typing import Any, overload

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.measurement import Measurement, check_label
from pytest_agentperf.core.units import Unit, parse_quantity
from pytest_agentperf.measure.pool.batches import BatchUse
from pytest_agentperf.measure.pool.batchsources import Batching, find_source
from pytest_agentperf.measure.pool.settings import PoolContext
from pytest_agentperf.measure.pool.use import PoolUse

__all__ = ["PerfPool", "Pooling"]


class Pooling:
    """The pools and batchers that were looked at in one test.

    Args:
        context: The test.
    """

    def __init__(self, context: PoolContext) -> None:
        self.context = context
        self._uses: list[PoolUse | BatchUse] = []

    def add(self, use: PoolUse | BatchUse) -> None:
        """Count *use* for the test."""
        self._uses.append(use)

    def measurements(self) -> list[Measurement]:
        """Return what was seen in each block that has ended."""
        return [use.measurement() for use in self._uses if use.is_over]


class PerfPool:
    """Sees how full pools are, who waits for them, what they reuse, and what batchers gather.

    Args:
        current: Returns what was looked at in the running test.
    """

    def __init__(self, current: Callable[[], Pooling]) -> None:
        self._current = current

    @overload
    def __call__(self, pool: Batching, label: str | None = None) -> BatchUse: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(
        self, pool: object, label: str | None = None, *, every: str | float | None = ...
    ) -> PoolUse: ...
    def __call__(
        self, pool: Any, label: str | None = None, *, every: str | float | None = "5ms"
    ) -> Any:
        """Return a block for `with` or `async with` that sees how *pool* is used inside.

        Args:
            pool: A pool of `reference.pool`, httpcore, asyncpg, psycopg_pool, SQLAlchemy or redis,
                a client or engine that has one (httpx, openai, aiohttp, …), a semaphore of asyncio,
                an object with `stats()` or `get_stats()`, or a function that returns the counts.
                A batcher, ours or aiodataloader's, gives a `BatchUse`.
            label: A name for it, where a test has several.
            every: Time between two looks at a pool that only tells its counts, by a thread; seconds
                or text with a unit, None to look before and after the block alone.

        Raises:
            UsageError: It cannot be told how to read *pool*, or no measured test is in its call
                phase.
        """
        check_label(label)
        seconds = None if every is None else parse_quantity(every, Unit.SECONDS)
        if seconds is not None and not seconds > 0:
            raise UsageError(f"every={every!r}: expected a time above 0, as in '5ms', or None")
        pooling = self._current()
        source = find_source(pool, pooling.context.clock)
        use = (
            PoolUse(pool, pooling.context, label, seconds)
            if source is None
            else BatchUse(source, pooling.context, label)
        )
        pooling.add(use)
        return use

    def __repr__(self) -> str:
        return "<perf_pool>"
