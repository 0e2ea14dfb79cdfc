"""Counts: which call made how many model calls, tool calls or retries."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

__all__ = ["CallCounts", "Counters"]


class CallCounts:
    """The counts of one call in flight; what it counts its parent counts too."""

    __slots__ = ("numbers", "parent")

    def __init__(self, parent: "CallCounts | None") -> None:
        self.parent = parent
        self.numbers: dict[str, int] = {}

    def add(self, metric: str) -> None:
        """Count one call of *metric*, for this call and those around it."""
        self.numbers[metric] = self.numbers.get(metric, 0) + 1
        if self.parent is not None:
            self.parent.add(metric)


_current: ContextVar[CallCounts | None] = ContextVar("agentperf_call", default=None)


class Counters:
    """What is counted in one test, and for which call in flight.

    Attributes:
        metrics: The metrics that are counted; empty as long as nothing is.
        outside: Counted calls that belong to no call in flight.
    """

    __slots__ = ("_in_flight", "_lock", "metrics", "outside")

    def __init__(self) -> None:
        self.metrics: dict[str, None] = {}
        self.outside = 0
        self._in_flight: list[CallCounts] = []
        self._lock = threading.Lock()

    def open(self) -> CallCounts:
        """Return the counts of a call that begins now."""
        counts = CallCounts(_current.get())
        self._in_flight.append(counts)
        return counts

    def close(self, counts: CallCounts) -> None:
        """Note that the call of *counts* ended."""
        self._in_flight.remove(counts)

    @contextmanager
    def active(self, counts: CallCounts | None) -> Iterator[None]:
        """Attribute to *counts* what this context, and the tasks it starts, count."""
        if counts is None:
            yield
            return
        token = _current.set(counts)
        try:
            yield
        finally:
            with suppress(ValueError):  # closed from another context, as by the garbage collector
                _current.reset(token)

    def count(self, metric: str) -> None:
        """Count one call of *metric* for the call in flight that made it.

        A thread that did not inherit the context has no current call; where one call is in flight
        it must be that one.
        """
        counts = _current.get()
        if counts is None and len(self._in_flight) == 1:
            counts = self._in_flight[0]
        with self._lock:
            if counts is None:
                self.outside += 1
            else:
                counts.add(metric)
