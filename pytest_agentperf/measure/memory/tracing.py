"""The trace of the process: begun where it was off, and left as it was found."""

from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from pytest_agentperf.measure.memory.highwater import HighWater, Stretch

IS_TRACEABLE: Final = find_spec("_tracemalloc") is not None  # not so in PyPy
if TYPE_CHECKING or IS_TRACEABLE:
    import tracemalloc

__all__ = ["IS_TRACEABLE", "Trace", "TracedBytes", "is_traced"]

_DOMAIN: Final = 0xA9E2  # of allocations that tracemalloc is told of; Python's own are in 0


class TracedBytes:
    """What tracemalloc counts; zero while it is off."""

    def now(self) -> int:
        """Return the bytes that are held."""
        return tracemalloc.get_traced_memory()[0]

    def highest(self) -> int:
        """Return the most that were held since the last reset."""
        return tracemalloc.get_traced_memory()[1]

    def reset(self) -> None:
        """Make the most what is held now."""
        tracemalloc.reset_peak()


class Trace:
    """The trace that blocks share.

    Args:
        water: The marks of the traced bytes.
    """

    __slots__ = ("_found", "_is_ours", "_water", "_witness")

    def __init__(self, water: HighWater) -> None:
        self._water = water
        # It is traced for as long as the trace is the one that the blocks began with.
        self._witness: object = None
        self._is_ours = False
        self._found: Stretch | None = None

    def ensure(self, frames: int) -> object:
        """Begin to trace where it is off; return what is traced until the trace is lost."""
        if not is_traced(self._witness):
            self._is_ours = not tracemalloc.is_tracing()
            if self._is_ours:
                tracemalloc.start(frames)
            elif self._found is None:
                self._remember_peak()
            self._witness = object()
        return self._witness

    def end(self) -> None:
        """Trace no more, or go on with the peak as it would be without us."""
        is_alive = is_traced(self._witness)
        self._witness = None
        if self._found is not None:
            self._water.end(self._found)
            self._water.forget(self._found)
            if is_alive:
                _raise_peak(self._found.peak)
            self._found = None
        if self._is_ours:
            tracemalloc.stop()

    def _remember_peak(self) -> None:
        peak = tracemalloc.get_traced_memory()[1]
        self._found = Stretch()
        self._water.begin(self._found)
        self._found.raise_to(peak)


def is_traced(witness: object) -> bool:
    """Return whether *witness* was allocated under the trace that is on."""
    return tracemalloc.get_object_traceback(witness) is not None


def _raise_peak(peak: int) -> None:
    """Make the peak of tracemalloc *peak* again, by an allocation that it is only told of."""
    import ctypes

    with suppress(AttributeError):  # a Python that does not export it
        track = ctypes.pythonapi.PyTraceMalloc_Track
        untrack = ctypes.pythonapi.PyTraceMalloc_Untrack
        place = _DOMAIN, ctypes.c_size_t(_DOMAIN)
        missing = peak - tracemalloc.get_traced_memory()[0]
        if missing > 0:
            track(*place, ctypes.c_size_t(missing))
            untrack(*place)
