"""The load balancer under test, and callers that hold its leases."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pytest_agentperf.conformance.holding import HoldingCaller
from pytest_agentperf.conformance.suite import ContractError, Suite, expect, require, settle
from pytest_agentperf.conformance.virtual import VirtualClock, turns

__all__ = ["BACKENDS", "SOON", "BalancerSubject", "BalancerSuite", "Holder"]

BACKENDS = ("a", "b", "c")
SOON = 20.0  # virtual seconds in which whatever is possible has happened


class BalancerSuite(Suite):
    """The factory, the capabilities and the hooks of a balancer suite."""

    supports_even_load = True
    supports_least_load = False
    supports_capacity = False
    supports_fifo = False
    supports_health = False
    capacity = 3
    max_failures = 3
    cooldown = 30.0

    def make_balancer(self, *, backends: Sequence[str], clock: Callable[[], float]) -> Any:
        """Return a new balancer of the kind under test, or an awaitable of one.

        Args:
            backends: What it chooses from, all alike.
            clock: Returns seconds, the time of the running loop.
        """
        raise NotImplementedError(
            f"{type(self).__name__}: define make_balancer(self, *, backends, clock) to return the "
            "balancer under test"
        )

    def lease(self, balancer: Any) -> Any:
        """Return a context manager, async or not, of one backend.

        By default `balancer.acquire()`, `balancer.lease()`, or a block around `balancer.pick()`,
        which may be async, and `balancer.release(backend)` if there is one.
        """
        for name in ("acquire", "lease"):
            if hasattr(balancer, name):
                return getattr(balancer, name)()
        return _picked(balancer)

    async def new_balancer(
        self, backends: Sequence[str] = BACKENDS, clock: VirtualClock | None = None
    ) -> "BalancerSubject":
        """Return a new balancer under test."""
        balancer = await self.made(
            self.make_balancer,
            "acquire|lease|pick" if type(self).lease is BalancerSuite.lease else "",
            backends=backends,
            clock=clock or self.clock,
        )
        return BalancerSubject(self, balancer, backends)


@asynccontextmanager
async def _picked(balancer: Any) -> Any:
    backend = await settle(balancer.pick())
    try:
        yield backend
    finally:
        if hasattr(balancer, "release"):
            await settle(balancer.release(backend))


class Holder(HoldingCaller):
    """A task that takes a lease of a backend and holds it until it is told to end."""

    def __init__(self, lease: Any, backends: Sequence[str], name: str) -> None:
        self.backend: Any = None
        self._lease, self._backends = lease, backends
        super().__init__(name)

    async def _hold(self) -> None:
        if hasattr(self._lease, "__aenter__"):
            async with self._lease as backend:
                await self._use(backend)
        else:
            with self._lease as backend:
                await self._use(backend)

    async def _use(self, backend: Any) -> None:
        if backend not in self._backends:
            wanted = f"expected one of {', '.join(self._backends)}"
            raise ContractError(f"a lease of the balancer gave {backend!r}: {wanted}")
        self.backend = backend
        await self._gate

    @property
    def is_served(self) -> bool:
        """Whether it holds or held a backend."""
        return self.backend is not None


class BalancerSubject:
    """A balancer under test, as the tests see it."""

    def __init__(self, suite: BalancerSuite, balancer: Any, backends: Sequence[str]) -> None:
        self.suite, self.balancer, self.backends = suite, balancer, backends
        self.holders: list[Holder] = []

    def ask(self) -> Holder:
        """Start a caller, which has not run yet."""
        lease = self.suite.lease(self.balancer)
        holder = Holder(lease, self.backends, f"caller {len(self.holders) + 1}")
        self.holders.append(holder)
        return holder

    async def hold(self, count: int) -> list[Holder]:
        """Return *count* callers that hold a backend each."""
        holders = [self.ask() for _ in range(count)]
        await turns(20)
        if not all(each.is_served for each in holders):
            await asyncio.sleep(SOON)
        for each in holders:
            if each.error is not None:
                raise each.error
        got = sum(each.is_served for each in holders)
        require(got == count, f"only {got} of {count} callers got a backend")
        return holders

    async def end(self, holders: Sequence[Holder]) -> None:
        """Let *holders* end without an error."""
        for each in holders:
            each.end()
        await turns(20)

    async def use(self, count: int = 1) -> list[str]:
        """Return the backends of *count* leases, one after the other."""
        used = []
        for _ in range(count):
            (holder,) = await self.hold(1)
            await self.end([holder])
            used.append(holder.backend)
        return used

    async def fail(self, backend: str, count: int, error: BaseException | None = None) -> None:
        """Let *count* leases of *backend* end with an error or a cancellation, others well."""
        for _ in range(100 * count):
            (holder,) = await self.hold(1)
            if holder.backend != backend:
                holder.end()
            elif isinstance(error, asyncio.CancelledError):
                holder.cancel()
            else:
                holder.end(ConnectionError("the backend failed"))
            await turns(20)
            count -= holder.backend == backend
            if not count:
                return
        require(condition=False, message=f"{backend!r} was not chosen often enough to fail")

    async def load(self, count: int) -> dict[str, int]:
        """Return how many of *count* leases held at the same time each backend has."""
        holders = await self.hold(count)
        found = Counter(each.backend for each in holders)
        await self.end(holders)
        return {backend: found[backend] for backend in self.backends}

    async def check_even(self, when: str) -> None:
        """Fail unless leases held at the same time spread evenly."""
        # With every backend full any choice would look even.
        each = max(1, self.suite.capacity - 1) if self.suite.supports_capacity else 3
        found = await self.load(each * len(self.backends))
        expect(found, dict.fromkeys(self.backends, each), f"leases held by backend, {when}")
