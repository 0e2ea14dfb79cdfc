"""A program without its garbage collector, for times that no collection disturbs."""

import gc
import sys
import threading
from typing import Self

from pytest_agentperf.measure.memory.pauses import collect_unseen

__all__ = ["FrozenGc"]


class FrozenGc:
    """A context in which nothing is collected; contexts may nest and overlap.

    Garbage is collected first and what is left frozen, so that an explicit `gc.collect()` inside is
    cheap. The state found is restored after the last of them, whatever was changed inside. What was
    frozen before stays so: it could not be told from more, and then no more is frozen.
    """

    __slots__ = ("_depth", "_froze", "_lock", "_was_enabled")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._was_enabled = True
        self._froze = False

    def __enter__(self) -> Self:
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                self._freeze()
        return self

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._depth -= 1
            if not self._depth:
                self._restore()

    def _freeze(self) -> None:
        self._was_enabled = gc.isenabled()
        gc.disable()
        collect_unseen()
        # PyPy has nothing to freeze with.
        self._froze = hasattr(gc, "freeze") and not _is_frozen()
        if self._froze:
            gc.freeze()

    def _restore(self) -> None:
        if self._froze:
            gc.unfreeze()
        if self._was_enabled:
            gc.enable()
        else:
            gc.disable()


def _is_frozen() -> bool:
    """Return whether somebody has frozen what there is.

    The count of frozen objects does not tell: Python 3.12 puts its immortal ones there too.
    """
    oldest = vars(sys)
    return not any(each is oldest for each in gc.get_objects())
