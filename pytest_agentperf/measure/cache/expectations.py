"""Expectations of a cache that are tried out: a stampede, an expiry, an eviction."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from typing import Any, Final, TypeAlias

from pytest_agentperf.core.clock import REAL_TIME, Clock
from pytest_agentperf.core.errors import CheckError
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.cache.loads import Computations, Gate

__all__ = ["Stampede", "Steps", "eviction_steps", "expiry_steps", "follow", "follow_async"]

Steps: TypeAlias = Generator[tuple[Any, ...], None, None]
"""Yields the arguments of the next call; goes on when that has ended."""

_NEAR: Final = 0.01
"""How close to its end a lifetime is probed, as a share of it: no cache promises the very end."""


class Stampede:
    """Concurrent callers of one key that nobody has computed yet.

    Args:
        call: Asks the cache.
        name: What messages call it.
        computed: What the load behind it computes.
        callers: How many call at once.
        hold: Seconds that each computation is held at most, so that all callers meet.
        patience: Seconds after which callers that have not returned are given up.
    """

    def __init__(
        self,
        call: Callable[[], Any],
        name: str,
        computed: Computations,
        callers: int,
        hold: float,
        patience: float,
    ) -> None:
        self._call, self._name, self._computed = call, name, computed
        self._callers, self._hold, self._patience = callers, hold, patience
        self._before = computed.calls

    def run(self, clock: Clock = REAL_TIME.clock) -> None:
        """Call in threads.

        Raises:
            CheckError: There was more than one computation or none, or a caller did not return.
        """
        errors: list[BaseException] = []
        threads = [
            threading.Thread(target=self._call_noting, args=(errors,), daemon=True)
            for _ in range(self._callers)
        ]
        self._computed.gate = Gate(self._callers, self._hold)
        try:
            for thread in threads:
                thread.start()
            deadline = clock() + self._patience
            for thread in threads:
                thread.join(max(deadline - clock(), 0.0))
        finally:
            self._computed.gate = None
        self._check(sum(thread.is_alive() for thread in threads), errors)

    def _call_noting(self, errors: list[BaseException]) -> None:
        try:
            self._call()
        except BaseException as error:  # noqa: BLE001 -- raised in the caller's thread
            errors.append(error)

    async def run_async(self) -> None:
        """Call in tasks; raises what `run` does."""
        self._computed.gate = Gate(self._callers, self._hold)
        tasks = [asyncio.ensure_future(self._call()) for _ in range(self._callers)]
        try:
            done, pending = await asyncio.wait(tasks, timeout=self._patience)
        finally:
            self._computed.gate = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        errors = [_error_of(task) for task in done]
        self._check(len(pending), [error for error in errors if error is not None])

    def _check(self, stuck: int, errors: Sequence[BaseException]) -> None:
        callers = f"{self._callers} concurrent callers of {self._name}"
        if stuck:
            waited = format_quantity(self._patience, Unit.SECONDS)
            raise CheckError(f"{stuck} of {callers} did not return within {waited}")
        if errors:
            raise CheckError(
                f"{len(errors)} of {callers} raised, the first {errors[0]!r}"
            ) from errors[0]
        made = self._computed.calls - self._before
        if not made:
            raise CheckError(
                f"{callers} made {self._computed.name} compute nothing: the value was cached"
                " before, or the cache uses another function; ask for a new key"
            )
        if made != 1:
            raise CheckError(
                f"{callers} made {self._computed.name} compute {made} times, expected once: the"
                " cache does not let callers share a computation that is under way"
            )


def _error_of(task: "asyncio.Future[Any]") -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()


def follow(steps: Steps, call: Callable[..., object]) -> None:
    """Make the calls of *steps* of a sync function."""
    for args in steps:
        call(*args)


async def follow_async(steps: Steps, call: Callable[..., Awaitable[object]]) -> None:
    """Make the calls of *steps* of an async function."""
    for args in steps:
        await call(*args)


def expiry_steps(
    args: tuple[Any, ...], computed: Computations, after: float, advance: Callable[[float], object]
) -> Steps:
    """Ask past the end of a lifetime of *after* seconds, and then before the end of the next.

    In this order it is told of lifetimes that each hit prolongs, too.
    """
    shown = format_quantity(after, Unit.SECONDS)
    before = computed.calls
    yield args
    if computed.calls == before:
        raise CheckError(f"{args!r:.80} was cached before; ask for a new key")
    advance(after * (1 + _NEAR))
    before = computed.calls
    yield args
    if computed.calls == before:
        raise CheckError(
            f"an entry was still there {_NEAR:.0%} past {shown}: expected it to expire then"
            " (does the cache go by the clock that `advance` moves?)"
        )
    advance(after * (1 - _NEAR))
    before = computed.calls
    yield args
    if computed.calls != before:
        raise CheckError(
            f"an entry was gone {_NEAR:.0%} before {shown} were over: it expired too early"
        )


def eviction_steps(
    keys: Iterable[Any],
    evicted: Iterable[Any],
    kept: Iterable[Any],
    computed: Computations,
    between: Callable[[], object],
) -> Steps:
    """Ask for *keys* in turn, then for those *kept*, then for those *evicted*."""
    for key in keys:
        yield (key,)
        between()
    for expected, wanted in ((0, kept), (1, evicted)):
        for key in wanted:
            before = computed.calls
            yield (key,)
            if computed.calls - before != expected:
                found, should = ("kept", "evicted") if expected else ("evicted", "kept")
                raise CheckError(f"{key!r:.80} was {found}, expected it to be {should}")
            between()
