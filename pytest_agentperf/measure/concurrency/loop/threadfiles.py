"""The files of Linux on a thread: what it computed, what it waited for, whether it sleeps."""

import os
import threading
from contextlib import suppress
from typing import Final, NamedTuple

__all__ = ["StatisticsFile", "ThreadFile", "ThreadStatistics", "is_sleeping"]

# Bound before a watch for leaks stands in its place, to note who opens files.
_OPEN: Final = os.open


class ThreadStatistics(NamedTuple):
    """What Linux counts of a thread: seconds of computing and of waiting for a processor, turns."""

    cpu: float = 0.0
    run_delay: float = 0.0
    turns: int = 0


class ThreadFile:
    """A file of Linux on a thread of this process, kept open; elsewhere an empty one."""

    __slots__ = ("_file",)

    def __init__(self, native_id: int, name: str) -> None:
        self._file: int | None = None
        with suppress(OSError):
            self._file = _OPEN(f"/proc/self/task/{native_id}/{name}", os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> bytes:
        """Return what it says now; nothing for a thread that has ended."""
        if self._file is not None:
            with suppress(OSError):  # another thread moves no offset of `pread`
                return os.pread(self._file, 512, 0)
        return b""

    def close(self) -> None:
        """Close it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class StatisticsFile:
    """What Linux counts of a thread; elsewhere everything is 0.

    Args:
        native_id: Of the thread; by default, the one that opens it.

    Attributes:
        last: What was read last.
        is_known: Whether there is such a file, with numbers in it.
    """

    __slots__ = ("_file", "is_known", "last")

    def __init__(self, native_id: int = 0) -> None:
        self.last = ThreadStatistics()
        self.is_known = True
        self._file = ThreadFile(native_id or threading.get_native_id(), "schedstat")
        # A kernel that does not count says "0 0 0".
        self.is_known = self.read().cpu > 0

    def read(self) -> ThreadStatistics:
        """Return what the file says now."""
        with suppress(ValueError):
            cpu, delay, turns = map(int, self._file.read().split())
            self.last = ThreadStatistics(cpu / 1e9, delay / 1e9, turns)
        return self.last

    def close(self) -> None:
        """Close it."""
        self._file.close()


def is_sleeping(state: bytes) -> bool:
    """Return whether the file `stat` of a thread says so, right after its name in brackets."""
    return state.rpartition(b") ")[2][:1] in {b"S", b"D"}
