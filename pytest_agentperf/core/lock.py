"""A lock between processes, which ends with the process that holds it, however that ends."""

import errno
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from pytest_agentperf.core.clock import REAL_TIME, Clock

__all__ = ["locked"]

_PATIENCE: Final = 30.0
_PAUSE: Final = 0.02

if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _try_to_lock(file: IO[bytes]) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_to_lock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked(
    path: Path,
    patience: float = _PATIENCE,
    clock: Clock = REAL_TIME.clock,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[None]:
    """Hold the lock of the file at *path*, which is made where it is missing and stays.

    Args:
        path: A file of its own, beside what it protects; a lock on the content itself would be
            lost when that is replaced.
        patience: Seconds to wait for another holder.
        clock: Tells the time, in seconds.
        sleep: Waits between two attempts.

    Raises:
        TimeoutError: Another process held it all the time.
        OSError: The file cannot be made, or not be locked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:  # closing it gives the lock back
        last = clock() + patience
        while not _is_locked(file):
            if clock() >= last:
                raise TimeoutError(errno.ETIMEDOUT, f"still locked after {patience:g} s", str(path))
            sleep(_PAUSE)
        yield


def _is_locked(file: IO[bytes]) -> bool:
    """Return whether the lock could be had now."""
    try:
        _try_to_lock(file)
    except (BlockingIOError, PermissionError):  # the latter is what Windows says
        return False
    return True
