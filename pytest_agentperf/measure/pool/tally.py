"""Tallies: what the users of a pool did to it in one block, and the size that their load needs."""

from dataclasses import dataclass, field
from math import ceil, sqrt

from pytest_agentperf.core.finding import Place
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.core.units import Unit, format_quantity

__all__ = ["HeldLease", "Load", "Tally"]

SPARE = 2.0
"""How many square roots of the load are added to it, as in `reference.pool`."""


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease that was not returned before the block ended.

    Attributes:
        place: The line that took it; None where it is not known.
        seconds: How long it had been held by then.
    """

    place: Place | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Load:
    """What a pool had to bear, and so its size by Little's law.

    Attributes:
        rate: Leases asked for, per second.
        lease_time: Seconds that a lease was held, on average.
        most: Leases that were asked for or held at once, at most.
        share: Leases that a connection serves at once.
    """

    rate: float
    lease_time: float
    most: int
    share: int = 1

    @property
    def mean(self) -> float:
        """Leases held at once on average: L = λ W (Little, Operations Research 9(3), 1961)."""
        return self.rate * self.lease_time

    def size(self, spare: float = SPARE) -> int:
        """Return the connections that keep waiting rare, but no more than were wanted at once.

        Args:
            spare: Square roots of the load on top of it (Halfin and Whitt, Operations Research
                29(3), 1981).
        """
        wanted = min(self.mean + spare * sqrt(self.mean), self.most)
        return max(1, ceil(wanted / self.share - 1e-9))

    def __str__(self) -> str:
        held = format_quantity(self.lease_time, Unit.SECONDS)
        return (
            f"{self.rate:.3g} leases/s × {held} = {self.mean:.2g} in use on average, and at most"
            f" {self.most} at once"
        )


@dataclass(frozen=True, slots=True)
class Tally:
    """What was seen of a pool in one block; None where it could not be told.

    Attributes:
        name: What messages call the pool.
        unit: What it lends, in the singular.
        seconds: How long the block took.
        capacity: Leases possible at once; None where there is no limit.
        acquired: Leases that were taken.
        failed: Callers that got none: it took too long, they were cancelled, or it raised.
        waits: Callers that found every connection taken.
        wait: Seconds from asking to having, or to giving up, of each caller.
        wait_mean: Seconds that those who waited did so on average, where only a counter tells.
        created: Connections that were opened.
        reused: Leases that needed no new connection.
        in_use_max: Leases at once, at most.
        in_use_mean: Leases at once, on average over the block.
        full: Seconds in which every connection was leased.
        held: Leases that were not returned.
        load: What the pool had to bear.
        notes: Sentences on what could not be seen.
        unknown: Why what is None is not known, by the name of the attribute.
    """

    name: str
    seconds: float
    unit: str = "connection"
    capacity: int | None = None
    acquired: int | None = None
    failed: int = 0
    waits: int | None = None
    wait: Sample = field(default_factory=Sample)
    wait_mean: float | None = None
    created: int | None = None
    reused: int | None = None
    in_use_max: int | None = None
    in_use_mean: float | None = None
    full: float | None = None
    held: tuple[HeldLease, ...] = ()
    load: Load | None = None
    notes: tuple[str, ...] = ()
    unknown: dict[str, str] = field(default_factory=dict)

    @property
    def is_used(self) -> bool:
        """Whether anybody asked for a connection."""
        return bool(self.acquired or self.failed or self.in_use_max)

    @property
    def advice(self) -> str:
        """The size that the load needs, with the numbers that it comes from."""
        if self.load is None:
            return "what size the load needs cannot be told"
        size = self.load.size()
        unit = "permit" if self.unit == "permit" else "connection"
        hidden = " or more, for a full pool hides load" if self.waits or self.failed else ""
        return f"Little's law recommends {size} {unit}{'s'[: size != 1]}{hidden} ({self.load})"
