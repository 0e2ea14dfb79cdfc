"""A run: what one process saw of one test; the unit of evidence of the regression gate.

Calls within a run resemble each other, runs do not: a test that counted calls would find a change
in unchanged code in up to every third comparison.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

__all__ = ["Count", "Run", "Suite"]


class Count(NamedTuple):
    """What a run counted per call, such as model calls or tokens."""

    lowest: float
    mean: float
    highest: float


@dataclass(frozen=True, slots=True)
class Run:
    """One test in one process.

    Attributes:
        median: Latency of its calls in seconds, above 0.
        calls: How many there were.
        latencies: Seconds, ascending: of all calls, or of a fair sample of them; may be empty,
            then the tail is not judged.
        counts: By the quantity's name.
        environment: A key; runs with different ones are not compared.
        body: Hash of the test's source and its input; runs with different ones are not compared.
        reference: Seconds that the reference workload took beside it; None: it did not run.
    """

    median: float
    calls: int
    latencies: tuple[float, ...] = ()
    counts: Mapping[str, Count] = field(default_factory=dict)
    environment: str = ""
    body: str = ""
    reference: float | None = None

    @property
    def scale(self) -> float:
        """The median, but a nanosecond at least: a coarse clock may see no time at all."""
        return max(self.median, 1e-9)


Suite: TypeAlias = Mapping[str, Sequence[Run]]
"""Runs by the name of the test, oldest first; those of a duet pair up by position."""
