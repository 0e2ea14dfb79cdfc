"""Process memory: what the system says a block took, native memory included.

The system counts pages, and a process keeps the pages that it has released: a block that needs no
more than was released before shows as zero. That makes it a guard beside the traced memory, exact
from about 32 MB on.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol, Self

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.memory.highwater import HighWater, Stretch

__all__ = [
    "ProcessBlock",
    "ProcessMemory",
    "ProcessMeter",
    "Resident",
    "find_resident_bytes",
    "resident_bytes",
]

_STATM: Final = "/proc/self/statm"
_PAGE: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_STATUS: Final = "/proc/self/status"
_CLEAR: Final = "/proc/self/clear_refs"
_RESET_MARK: Final = b"5"  # proc(5): the peak resident set becomes the current one
_BELOW: Final = (
    "the block stayed below the {} that the process had taken before, and this system cannot reset"
    " its high-water mark; run the test in a process of its own"
)
_BESIDE_TRACE: Final = (
    "the trace of Python memory took process memory itself, up to four times what it traced; limit"
    " rss_peak in a test that traces nothing"
)
# What fragments and the kernel's counting can make of what Python traced, and the trace besides.
_NOISE: Final = 1_000_000
_SHARE: Final = 0.25
_SHARE_OF_TRACE: Final = 5.0
_NO_SOURCE: Final = "this system does not say how much memory a process takes"


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """What the process took in a block.

    Attributes:
        rss_peak: Bytes above those at the start at the highest point; None where unknown.
        rss_growth: Bytes above those at the start at the end; None where unknown.
        is_traced: Whether Python memory was traced meanwhile, which takes process memory too.
        reason: Why the peak is unknown; empty where it is known.
    """

    rss_peak: int | None
    rss_growth: int | None
    is_traced: bool = False
    reason: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that weaken the numbers, each with its cure."""
        return (_BESIDE_TRACE,) if self.is_traced and self.rss_peak else ()

    def native(self, traced_peak: int) -> int | None:
        """Return the bytes that the peak lies above what Python traced, taken by C code.

        Args:
            traced_peak: The traced peak of the same block, or of another run of it.

        Returns:
            None where the difference may be noise: below 1 MB, and below a quarter of what was
            traced, or five times as much where the trace ran meanwhile.
        """
        native = (self.rss_peak or 0) - traced_peak
        share = _SHARE_OF_TRACE if self.is_traced else _SHARE
        return native if native > max(_NOISE, share * traced_peak) else None

    def __str__(self) -> str:
        if self.rss_peak is None:
            return f"n/a: {self.reason}"
        return f"peak {format_quantity(self.rss_peak, Unit.BYTES)} (process memory)"


class Resident(Protocol):
    """The resident memory of the process, and its high-water mark."""

    can_reset: bool
    """Whether the mark can be reset; otherwise it is that of the whole life of the process."""

    def now(self) -> int:
        """Return the bytes that are resident."""

    def highest(self) -> int:
        """Return the high-water mark, in bytes."""

    def reset(self) -> None:
        """Make the mark what is resident now; nothing where it cannot be reset."""


class LinuxResident:
    """As the kernel tells it under `/proc`."""

    def __init__(self) -> None:
        self.can_reset = True
        self.reset()

    def now(self) -> int:
        """Return the bytes that are resident."""
        return resident_bytes()

    def highest(self) -> int:
        """Return the high-water mark, in bytes."""
        for line in _read(_STATUS).splitlines():
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
        raise OSError(f"{_STATUS} has no VmHWM")

    def reset(self) -> None:
        """Make the mark what is resident now; containers may forbid it."""
        try:
            target = os.open(_CLEAR, os.O_WRONLY)
        except OSError:
            self.can_reset = False
            return
        try:
            os.write(target, _RESET_MARK)
        except OSError:
            self.can_reset = False
        finally:
            os.close(target)


class OtherResident:
    """As psutil and `getrusage` tell it, whose marks cannot be reset."""

    can_reset = False

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()

    def now(self) -> int:
        """Return the bytes that are resident."""
        return int(self._process.memory_info().rss)

    def highest(self) -> int:
        """Return the high-water mark, in bytes."""
        peak = getattr(self._process.memory_info(), "peak_wset", None)  # Windows
        if peak is not None:
            return int(peak)
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024

    def reset(self) -> None:
        """Do nothing."""


class ProcessMeter:
    """Meters blocks, any number of them nested or beside each other. One serves a process."""

    __slots__ = ("_resident", "_water")

    def __init__(self, resident: Resident | None = None) -> None:
        self._resident = resident or _find_resident()
        self._water = HighWater(self._resident) if self._resident else None

    def block(self, *, is_traced: bool = False) -> "ProcessBlock":
        """Return a context that meters what is inside.

        Args:
            is_traced: Whether Python memory is traced meanwhile.
        """
        return ProcessBlock(self._resident, self._water, is_traced=is_traced)


class ProcessBlock:
    """A context that meters what is inside; `result` can be read after it."""

    __slots__ = ("_is_traced", "_mark", "_resident", "_result", "_stretch", "_water")

    def __init__(
        self, resident: Resident | None, water: HighWater | None, *, is_traced: bool
    ) -> None:
        self._is_traced = is_traced
        self._resident = resident
        self._water = water
        self._stretch = Stretch()
        self._mark = 0
        self._result: ProcessMemory | None = None

    @property
    def result(self) -> ProcessMemory:
        """What the process took.

        Raises:
            UsageError: The block has not ended.
        """
        if self._result is None:
            raise UsageError(
                "what a block took is known when it has ended; read it after the block"
            )
        return self._result

    def __enter__(self) -> Self:
        if self._resident and self._water:
            self._mark = self._resident.highest()
            self._water.begin(self._stretch)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._resident and self._water:
            self._water.end(self._stretch)
            self._result = self._read(self._resident)
            self._water.forget(self._stretch)
        else:
            self._result = ProcessMemory(None, None, reason=_NO_SOURCE)

    def _read(self, resident: Resident) -> ProcessMemory:
        growth = resident.now() - self._stretch.start
        if not resident.can_reset and resident.highest() <= self._mark:
            reason = _BELOW.format(format_quantity(self._mark, Unit.BYTES))
            return ProcessMemory(None, growth, self._is_traced, reason)
        # The kernel sums its counters now and then, so that a mark may lie below a reading.
        peak = max(self._stretch.peak - self._stretch.start, growth, 0)
        return ProcessMemory(peak, growth, self._is_traced)


def resident_bytes() -> int:
    """Return the resident memory of this process, in bytes; it takes 6 us.

    Raises:
        OSError: The system has no `/proc/self/statm`.
    """
    # Opened each time: a file that is kept open tells of the parent after a fork.
    return int(_read(_STATM).split()[1]) * _PAGE


def find_resident_bytes() -> Callable[[], int] | None:
    """Return what reads the resident memory of this process in bytes, None where nothing does."""
    with suppress(OSError):
        resident_bytes()
        return resident_bytes
    with suppress(ImportError, OSError):
        return OtherResident().now
    return None


def _read(path: str) -> bytes:
    source = os.open(path, os.O_RDONLY)
    try:
        return os.read(source, 8192)
    finally:
        os.close(source)


def _find_resident() -> Resident | None:
    for kind in (LinuxResident, OtherResident):
        try:
            resident = kind()
            resident.now(), resident.highest()
        except (ImportError, OSError, AttributeError):
            continue
        return resident
    return None
