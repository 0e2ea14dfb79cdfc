"""A call under the clock: its time, and what is counted while it runs."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.measure.counting import Counters
from pytest_agentperf.measure.recording import Recording

if TYPE_CHECKING:
    from pytest_agentperf.measure.stream import ItemClock

__all__ = ["TimedCall"]

_NOWHERE: Final = nullcontext()


class TimedCall:
    """A call that has begun; it ends once, by `end` or `fail`.

    Args:
        recording: Where it is recorded.
        counters: What is counted in this test.
        clock: The clock.
        started: When it began; now, by default.
    """

    __slots__ = ("_clock", "_counters", "_counts", "_recording", "_started")

    def __init__(
        self, recording: Recording, counters: Counters, clock: Clock, started: float | None = None
    ) -> None:
        self._recording, self._counters, self._clock = recording, counters, clock
        self._counts = counters.open() if counters.metrics else None
        self._started = clock() if started is None else started

    def active(self) -> AbstractContextManager[None]:
        """Attribute what is counted inside to this call."""
        return _NOWHERE if self._counts is None else self._counters.active(self._counts)

    def end(self) -> None:
        """Record that the call ended now."""
        self._record(None)

    def _record(self, items: "ItemClock | None") -> Mapping[str, int]:
        """Record the call, with the items of its stream; return what was counted in it."""
        seconds = self._clock() - self._started
        counts = None
        if self._counts is not None:
            self._counters.close(self._counts)
            numbers = self._counts.numbers
            counts = {name: numbers.get(name, 0) for name in self._counters.metrics}
        self._recording.add(seconds, items, counts)
        self._recording.note_moment(self._started, self._started + seconds)
        return counts or {}

    def fail(self, error: BaseException) -> None:
        """Record that the call raised *error* now."""
        seconds = self._clock() - self._started
        if self._counts is not None:
            self._counters.close(self._counts)
        self._recording.fail(seconds, error)
