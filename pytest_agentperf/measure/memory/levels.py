"""Levels: how the memory of the process goes over timed calls, read between them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_agentperf.core.series import Curve, Series
from pytest_agentperf.measure.memory.process import find_resident_bytes
from pytest_agentperf.measure.memory.readings import IS_TRACEABLE

if TYPE_CHECKING or IS_TRACEABLE:  # not so in PyPy
    import tracemalloc

__all__ = ["Levels"]


class Levels:
    """Reads what the process holds; a reading takes some 6 us and keeps 500 points at most.

    What Python allocated is read too where somebody traces it; nothing is traced for this.
    """

    __slots__ = ("_read", "_rss", "_traced")

    def __init__(self) -> None:
        self._read = find_resident_bytes()
        self._rss, self._traced = Series(), Series()

    def note(self, calls: int) -> None:
        """Read the levels after so many recorded *calls*."""
        if self._read is not None:
            self._rss.add(calls, self._read())
        if IS_TRACEABLE and tracemalloc.is_tracing():
            self._traced.add(calls, tracemalloc.get_traced_memory()[0])

    @property
    def curves(self) -> Mapping[str, Curve]:
        """Bytes over the calls: `rss`, and `traced` where there was a trace."""
        levels = {"rss": self._rss, "traced": self._traced}
        return {
            name: Curve("calls", "B", series.points)
            for name, series in levels.items()
            if series.count
        }
