"""The use of a pool: one block of a test, and what was seen of the pool when it ended."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pytest_agentperf.core.errors import CheckError, UsageError
from pytest_agentperf.core.finding import Finding
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.core.units import Unit, format_quantity, parse_quantity
from pytest_agentperf.measure.pool.block import UseBlock
from pytest_agentperf.measure.pool.budgeted import (
    demand,
    measurement_of,
    reuse_rate,
    utilization,
    wait_p95,
)
from pytest_agentperf.measure.pool.findings import fullness, pool_findings, waiting
from pytest_agentperf.measure.pool.known import find_probe
from pytest_agentperf.measure.pool.settings import PoolContext
from pytest_agentperf.measure.pool.tally import SPARE, HeldLease, Load, Tally

__all__ = ["PoolUse"]


class PoolUse(UseBlock):
    """Sees how a pool is used inside `with` or `async with`; what it saw is read after the block.

    Args:
        pool: The pool, a client that has one, or a function that returns its counts.
        context: The test around the block.
        label: The user's name for it; None for the unnamed one.
        every: Seconds between two looks at a pool that only tells its counts; None for none.
    """

    def __init__(
        self, pool: Any, context: PoolContext, label: str | None, every: float | None
    ) -> None:
        self._probe = find_probe(pool, context.clock, every)
        self._seen: Tally | None = None
        super().__init__(self._probe.name, context, label)

    def _start(self) -> None:
        self._probe.start()

    def _stop(self) -> Iterable[Finding]:
        tally = self._probe.stop()
        self._seen = replace(tally, name=f"{tally.name} {self._label!r}") if self._label else tally
        return pool_findings(self._seen)

    # What was seen

    @property
    def is_over(self) -> bool:
        """Whether the block has ended."""
        return self._seen is not None

    @property
    def tally(self) -> Tally:
        """All numbers, None where one is not known."""
        if self._seen is None:
            raise UsageError(f"this block is {self._state}; read how the pool was used after it")
        return self._seen

    @property
    def utilization_max(self) -> float:
        """Leases at once at most ÷ leases possible, in [0, 1].

        Raises:
            CheckError: It is not known: nothing was acquired, or the pool has no limit.
        """
        return utilization(self.tally)

    @property
    def utilization_mean(self) -> float:
        """Leases on average over the block ÷ leases possible, in [0, 1].

        Raises:
            CheckError: It is not known, as for `utilization_max`.
        """
        return float(self._used("in_use_mean") / self._used("capacity"))

    @property
    def in_use_max(self) -> int:
        """Leases at once, at most."""
        return int(self._known("in_use_max"))

    @property
    def wait(self) -> Sample:
        """Seconds from asking for a connection to having it or giving up, of each caller."""
        return self.tally.wait

    @property
    def waits(self) -> int:
        """Callers that found every connection taken."""
        return int(self._known("waits"))

    @property
    def acquired(self) -> int:
        """Leases that were taken."""
        return int(self._known("acquired"))

    @property
    def failed(self) -> int:
        """Callers that got no connection: it took too long, they were cancelled, or it raised."""
        return self.tally.failed

    @property
    def created(self) -> int:
        """Connections that were opened."""
        return int(self._known("created"))

    @property
    def reuse_rate(self) -> float:
        """Leases that needed no new connection ÷ all, in [0, 1].

        Raises:
            CheckError: It is not known: nothing was acquired, or nothing counts connections.
        """
        return reuse_rate(self.tally)

    @property
    def exhausted(self) -> float:
        """Seconds in which every connection was leased; 0 where the pool has no limit."""
        return 0.0 if self.tally.capacity is None else float(self._known("full"))

    @property
    def leaked(self) -> tuple[HeldLease, ...]:
        """Leases that were not returned before the block ended, the oldest first."""
        return self.tally.held

    @property
    def load(self) -> Load:
        """What the pool had to bear: the rate of leases, and how long one was held.

        Raises:
            CheckError: Nothing was acquired.
        """
        load: Load = self._used("load")
        return load

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What its author would want to know of the pool; `str(finding)` is a sentence."""
        _ = self.tally
        return self._findings

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be seen, a sentence each."""
        return self.tally.notes

    def recommended_size(self, spare: float = SPARE) -> int:
        """Return the connections that the load needs, by Little's law; see `load`.

        A full pool slows its callers and so hides part of the load: enlarge it and measure again.

        Args:
            spare: Square roots of the mean load that are added to it; 0 for that load alone.

        Raises:
            CheckError: Nothing was acquired.
        """
        if not spare >= 0:
            raise UsageError(f"spare={spare!r}: expected a number from 0, as in 2.0")
        return self.load.size(spare)

    # What must hold

    def assert_not_exhausted(self) -> None:
        """Fail where every connection was leased at once."""
        __tracebackhide__ = True
        most, capacity = self._used("in_use_max"), self.tally.capacity
        if capacity is not None and most >= capacity:
            waited = f"; {waiting(self.tally)}" if self.tally.waits else "; nobody waited"
            raise CheckError(f"{fullness(self.tally)}{waited}; {self.tally.advice}")

    def assert_no_leaks(self) -> None:
        """Fail where a lease was not returned before the block ended."""
        __tracebackhide__ = True
        self._used("held")
        left = [str(finding) for finding in self._findings if finding.cause == "pool_leak"]
        if left:
            raise CheckError("; ".join(left))

    def assert_reused(self, at_least: float | str = 0.5) -> None:
        """Fail where too many leases opened a connection.

        Args:
            at_least: The least share of leases that need none: a fraction, or text as in ``"90%"``.
        """
        __tracebackhide__ = True
        least = parse_quantity(at_least, Unit.SHARE)
        if self.reuse_rate < least:
            shown, wanted = (format_quantity(r, Unit.SHARE) for r in (self.reuse_rate, least))
            raise CheckError(
                f"{shown} of the leases of {self.tally.name} reused a connection, expected at least"
                f" {wanted}: {self.acquired} leases opened {self.created} connections, and at most"
                f" {self.in_use_max} were in use at once"
            )

    def assert_waits(self, at_most: int | str = 0) -> None:
        """Fail where too many callers waited, or for too long.

        Args:
            at_most: How many may find every connection taken, or as text the time that 95 % of all
                callers may need to get a connection, as in ``"50ms"``.
        """
        __tracebackhide__ = True
        if isinstance(at_most, str):
            limit = parse_quantity(at_most, Unit.SECONDS)
            is_beyond = wait_p95(self.tally) > limit
            shown = f"p95 {format_quantity(limit, Unit.SECONDS)}"
        else:
            is_beyond, shown = self._used("waits") > at_most, f"{at_most}"
        if is_beyond:
            raise CheckError(
                f"{waiting(self.tally)}, expected at most {shown}; {self.tally.advice}"
            )

    def measurement(self) -> Measurement:
        """Return what budgets are held against."""
        is_paid = self._probe.is_paid
        return measurement_of(self.tally, self._label, self._findings, is_paid=is_paid)

    def _known(self, name: str) -> Any:
        __tracebackhide__ = True
        return demand(self.tally, name, is_used=False)

    def _used(self, name: str) -> Any:
        __tracebackhide__ = True
        return demand(self.tally, name)
