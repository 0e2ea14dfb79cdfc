"""Tallies: exact numbers about spans, kept while they begin and end, in memory bounded by the open.

*Own seconds* are those in which a span is the innermost open one of its branch: a parent that waits
for its children counts in none of them twice. With `w(t)` such spans at the moment `t`, parallelism
is the integral of `w` over the time in which it is not zero.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Generic, TypeVar

from pytest_agentperf.core.errors import EmptySampleError
from pytest_agentperf.measure.concurrency.spans.running import RunningSpan
from pytest_agentperf.measure.concurrency.spans.span import Span

__all__ = ["OTHER_NAMES", "Aggregate", "Tally", "Totals"]

_SHOWN: Final = 16  # spans of the fullest moment that are remembered
OTHER_NAMES: Final = "(other names)"
_MAX_NAMES: Final = 1000


T = TypeVar("T", RunningSpan, Span)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """All spans of one name.

    Attributes:
        count: Spans that began.
        errors: Those that ended with an exception, cancellations included.
        seconds: The sum of their lengths.
        wall: Seconds in which at least one was in flight.
        in_flight_max: The most in flight at once.
    """

    count: int
    errors: int
    seconds: float
    wall: float
    in_flight_max: int


@dataclass(frozen=True, slots=True)
class Totals:
    """All spans.

    Attributes:
        count: Spans that began.
        seconds: The sum of their lengths, in which parents count beside their children.
        own: The sum of their own seconds.
        wall: Seconds in which at least one span was open.
    """

    count: int
    seconds: float
    own: float
    wall: float

    @property
    def parallelism(self) -> float:
        """Own seconds by wall time, at least 1; spans that took no time overlapped nothing.

        Raises:
            EmptySampleError: There was no span.
        """
        if not self.count:
            raise EmptySampleError("parallelism of no spans: track a method, or open a span")
        return self.own / self.wall if self.wall else 1.0


@dataclass(slots=True)
class _Named(Generic[T]):
    """The spans of one name, while they are counted."""

    count: int = 0
    errors: int = 0
    seconds: float = 0.0
    wall: float = 0.0
    busy_since: float = 0.0
    in_flight: dict[int, T] = field(default_factory=dict)
    peak: int = 0
    peak_at: float = 0.0
    peak_spans: tuple[T, ...] = ()


class Tally(Generic[T]):
    """Counts spans; each is given to `start` when it begins and to `end` when it ends."""

    __slots__ = ("_children", "_count", "_named", "_now", "_open", "_own", "_seconds", "_wall")

    def __init__(self) -> None:
        self._open: dict[int, T] = {}
        self._children: dict[int, int] = {}  # open children of the open spans that have some
        self._named: dict[str, _Named[T]] = {}
        self._count = 0
        self._seconds = self._own = self._wall = 0.0
        self._now = -math.inf

    @property
    def open(self) -> tuple[T, ...]:
        """The spans that have not ended, in the order in which they began."""
        return tuple(self._open.values())

    def start(self, span: T) -> None:
        """Count *span*, which begins."""
        self._advance(span.start)
        self._count += 1
        self._open[span.id] = span
        if span.parent in self._open:
            self._children[span.parent] = self._children.get(span.parent, 0) + 1
        named = self._of_name(span.name)
        named.count += 1
        if not named.in_flight:
            named.busy_since = self._now
        named.in_flight[span.id] = span
        if len(named.in_flight) > named.peak:
            named.peak, named.peak_at = len(named.in_flight), span.start
            named.peak_spans = tuple(islice(named.in_flight.values(), _SHOWN))

    def end(self, span: T) -> None:
        """Count the end of *span*; that of one that is not open is none."""
        if span.id not in self._open:
            return
        self._advance(span.end)
        del self._open[span.id]
        self._children.pop(span.id, None)
        self._leave(span.parent)
        self._seconds += span.end - span.start
        named = self._of_name(span.name)
        named.errors += bool(span.error)
        named.seconds += span.end - span.start
        del named.in_flight[span.id]
        if not named.in_flight:
            named.wall += self._now - named.busy_since

    def _leave(self, parent: int | None) -> None:
        """Count one open child less of *parent*."""
        if parent in self._children:
            self._children[parent] -= 1
            if not self._children[parent]:
                del self._children[parent]

    def _advance(self, now: float) -> None:
        """Count the time until *now*; threads may tell of moments in another order."""
        passed = now - self._now
        if passed > 0:
            self._now = now
            if self._open:
                self._wall += passed
                self._own += passed * (len(self._open) - len(self._children))

    def _of_name(self, name: str) -> _Named[T]:
        named = self._named.get(name)
        if named is None:
            if len(self._named) >= _MAX_NAMES:
                name = OTHER_NAMES
            named = self._named.setdefault(name, _Named())
        return named

    @property
    def totals(self) -> Totals:
        """The numbers of all spans; open ones count until the last beginning or end."""
        return Totals(self._count, self._seconds, self._own, self._wall)

    @property
    def by_name(self) -> Mapping[str, Aggregate]:
        """The numbers of each name, in the order in which the names first came."""
        return {
            name: Aggregate(found.count, found.errors, found.seconds, found.wall, found.peak)
            for name, found in self._named.items()
        }

    def fullest(self, name: str) -> tuple[float, tuple[T, ...]]:
        """Return when the most spans of *name* were in flight, and the first of them."""
        found = self._named[name]
        return found.peak_at, found.peak_spans

    @classmethod
    def of(cls, spans: Iterable[T]) -> "Tally[T]":
        """Return the tally of *spans* that have ended."""
        tally = cls()
        events = []
        for span in spans:
            # At one moment some end before others begin, so that those do not overlap.
            ends = 2 if span.end == span.start else 0
            events += [(span.start, 1, span), (span.end, ends, span)]
        for _, kind, span in sorted(events, key=lambda event: event[:2]):
            (tally.start if kind == 1 else tally.end)(span)
        return tally
