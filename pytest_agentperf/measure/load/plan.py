"""The plan of a load: who calls when, how often, and what ends a call."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.load.shape import Shape

__all__ = ["ARM_AFTER", "GRACE", "MAX_IN_FLIGHT", "LoadPlan"]

MAX_IN_FLIGHT: Final = 1000
"""Calls in flight at once where an open load does not state it."""
GRACE: Final = 30.0
"""Seconds that the last calls of a load get to end."""
ARM_AFTER: Final = 10.0
"""Seconds after which budgets are watched, at least."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """A load, or the share of one that this process makes.

    Attributes:
        shape: Users, or the rate, at each moment.
        requests: All calls of all shares, or None for as many as fit.
        think_time: The least and the most seconds that a user waits between two calls.
        max_in_flight: Calls of an open load in flight at once, those of all shares.
        is_poisson: Whether the gaps between the calls of an open load are exponential.
        deadline: Seconds from the start of a call after which it is cancelled, or None.
        grace: Seconds that the last calls get to end.
        warmup: Seconds at the beginning of which no call is recorded.
        goodput: Seconds that a good call takes at most, by `latency`, `ttft` and `itl`.
        arm_after: Seconds after which the budgets are watched.
        is_abortable: Whether a budget that is missed then ends the load.
        seed: Of its random numbers.
        share: Which share this is, from 0.
        shares: How many there are.
    """

    shape: Shape
    requests: int | None = None
    think_time: tuple[float, float] = (0.0, 0.0)
    max_in_flight: int = MAX_IN_FLIGHT
    is_poisson: bool = False
    deadline: float | None = None
    grace: float = GRACE
    warmup: float = 0.0
    goodput: tuple[tuple[str, float], ...] = ()
    arm_after: float = ARM_AFTER
    is_abortable: bool = False
    seed: int = 0
    share: int = 0
    shares: int = 1

    @property
    def is_open(self) -> bool:
        """Whether calls start at a rate, whatever has ended."""
        return self.shape.is_open

    @property
    def seconds(self) -> float:
        """After how long no further call is due."""
        return self.shape.seconds

    @property
    def users(self) -> range:
        """The users of a closed load in this share, by number."""
        most = 0 if self.is_open else int(self.shape.most)
        return range(self.share, most, self.shares)

    @property
    def most_in_flight(self) -> int:
        """Calls in flight at once in this share, at most."""
        return self._part(self.max_in_flight) if self.is_open else len(self.users)

    @property
    def calls(self) -> int | None:
        """All calls of this share, or None for as many as fit."""
        return None if self.requests is None else self._part(self.requests)

    def _part(self, whole: int) -> int:
        return len(range(self.share, whole, self.shares))

    def arrivals(self) -> Iterator[float]:
        """Return when the calls of this share of an open load are due, in seconds."""
        marks = self._random_marks() if self.is_poisson else itertools.count()
        due = itertools.islice(self.shape.arrivals(marks), self.requests)
        return itertools.islice(due, self.share, None, self.shares)

    def _random_marks(self) -> Iterator[float]:
        # The same for all shares, so that together they make one Poisson process.
        gap, mark = random.Random(self.seed), 0.0  # noqa: S311 -- no secret
        while True:
            mark += gap.expovariate(1.0)
            yield mark

    def thoughts(self) -> Iterator[float]:
        """Return for how many seconds users think, one after the other."""
        chance = random.Random(self.seed * self.shares + self.share)  # noqa: S311
        while True:
            yield chance.uniform(*self.think_time)

    def split(self, shares: int) -> "list[LoadPlan]":
        """Return the *shares* that together make this load."""
        return [replace(self, share=share, shares=shares) for share in range(shares)]

    def __str__(self) -> str:
        most = self.shape.most
        target = format_quantity(most, Unit.RATE) if self.is_open else _users(int(most))
        kind = "open" if self.is_open else "closed"
        return f"{kind} load of {'up to ' * (len(self.shape.segments) > 1)}{target}"


def _users(number: int) -> str:
    return "1 user" if number == 1 else f"{number} users"
