"""The circuit breaker under test, and calls through it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from pytest_agentperf.conformance.suite import Suite, expect, require, settle
from pytest_agentperf.conformance.virtual import VirtualClock, turns

__all__ = ["BreakerSubject", "BreakerSuite", "IgnoredError", "made"]

Outcome: TypeAlias = Literal["returned", "raised", "rejected"]


class IgnoredError(Exception):
    """What a breaker may be told not to take for a failure."""


class BreakerSuite(Suite):
    """The factory, the capabilities and the hooks of a breaker suite; see `BreakerConformance`."""

    supports_async = True
    supports_clock = True
    supports_generations = False
    supports_ignored = False
    supports_probe_timeout = False
    ignored: type[Exception] = IgnoredError
    probe_timeout = 60.0

    def make_breaker(
        self, *, max_failures: int, reset_timeout: float, clock: Callable[[], float]
    ) -> Any:
        """Return a new breaker of the kind under test, or an awaitable of one.

        Args:
            max_failures: Failures in a row that open the circuit.
            reset_timeout: Seconds after which an open circuit lets one call through.
            clock: Returns seconds, the time of the running loop.
        """
        raise NotImplementedError(
            f"{type(self).__name__}: define make_breaker(self, *, max_failures, reset_timeout, "
            "clock) to return the breaker under test"
        )

    def call(self, breaker: Any, function: Callable[[], Any]) -> Any:
        """Call *function* through *breaker*; by default `breaker.call(function)`.

        The function is async, or plain without `supports_async`.
        """
        return breaker.call(function)

    @property
    def reset_timeout(self) -> float:
        """How long a circuit stays open in these tests; real time is short of it."""
        return 10.0 if self.supports_clock else 0.3

    @property
    def early(self) -> float:
        """A time before the end of `reset_timeout`."""
        return self.reset_timeout * (0.95 if self.supports_clock else 0.3)

    @property
    def late(self) -> float:
        """A time after the end of `reset_timeout`."""
        return self.reset_timeout * (1.05 if self.supports_clock else 1.5)

    async def new_breaker(
        self, max_failures: int = 3, clock: VirtualClock | None = None
    ) -> "BreakerSubject":
        """Return a new breaker under test."""
        clock = clock or self.clock
        breaker = await self.made(
            self.make_breaker,
            "call" if type(self).call is BreakerSuite.call else "",
            max_failures=max_failures,
            reset_timeout=self.reset_timeout,
            clock=clock if self.supports_clock else time.monotonic,
        )
        return BreakerSubject(self, breaker, max_failures, clock)


class BreakerSubject:
    """A breaker under test, as the tests see it."""

    def __init__(
        self, suite: BreakerSuite, breaker: Any, max_failures: int, clock: VirtualClock
    ) -> None:
        self.suite, self.breaker, self.clock = suite, breaker, clock
        self.max_failures = max_failures

    async def _through(self, function: Callable[[], Any]) -> Any:
        if self.suite.supports_async:

            async def called() -> Any:
                await asyncio.sleep(0)
                return function()

            return await settle(self.suite.call(self.breaker, called))
        return await settle(self.suite.call(self.breaker, function))

    async def attempt(self, error: Exception | None = None, *, is_exact: bool = False) -> Outcome:
        """Return what became of a call that returns, or raises *error*.

        With *is_exact* the caller must get this very error.
        """
        calls: list[int] = []
        value = object()

        def function() -> object:
            calls.append(1)
            if error is not None:
                raise error
            return value

        try:
            got = await self._through(function)
        except Exception as caught:  # noqa: BLE001 - each breaker has its own
            if not calls:
                return "rejected"
            is_right = caught is error or not is_exact
            require(is_right, f"the function raised {error!r}, its caller got {caught!r}")
            return "raised"
        require(bool(calls), f"a call that was not made returned {got!r}")
        require(got is value, f"the function returned {value!r}, its caller got {got!r}")
        return "returned"

    async def reject(self) -> BaseException:
        """Return the exception of a call that must be rejected."""
        calls: list[int] = []
        try:
            await self._through(lambda: calls.append(1))
        except Exception as error:  # noqa: BLE001 - each breaker has its own
            require(not calls, "an open circuit made a call")
            return error
        require(condition=False, message="an open circuit let a call through")
        raise AssertionError

    async def fail(self, count: int = 1) -> None:
        """Make calls that fail; each must be made."""
        for _ in range(count):
            expect(await self.attempt(ValueError("failure")), "raised", "a call that fails")

    async def succeed(self) -> None:
        """Make a call that must go through."""
        expect(await self.attempt(), "returned", "a call that succeeds")

    async def open(self) -> None:
        """Let the circuit open."""
        await self.fail(self.max_failures)
        await self.reject()

    async def wait(self, seconds: float) -> None:
        """Let time pass, really so for a breaker that takes no clock."""
        if not self.suite.supports_clock:
            time.sleep(seconds)  # noqa: ASYNC251 - the breaker counts real time
        if self.suite.needs_loop:
            await asyncio.sleep(seconds)
        else:
            self.clock.advance(seconds)

    def begin(self, gate: "asyncio.Future[Any]") -> "asyncio.Task[Any]":
        """Start a call that goes on until *gate* is done; its `made` tells whether it was made."""

        async def function() -> Any:
            task.made = True
            return await gate

        async def through() -> Any:
            return await settle(self.suite.call(self.breaker, function))

        task = _Call(through())
        return task


class _Call(asyncio.Task[Any]):
    """A call that may go on for a while."""

    made = False


async def made(*calls: "asyncio.Task[Any]") -> int:
    """Return how many of *calls* were made, once all that can begin has begun."""
    await turns()
    return sum(getattr(each, "made", False) for each in calls)
