"""The real clock, bound before a test can replace it."""

import time
from collections.abc import Callable
from typing import Final, TypeAlias

__all__ = ["REAL_TIME", "Clock"]

Clock: TypeAlias = Callable[[], float]
"""Returns seconds since an arbitrary moment; never goes back."""


class _RealTime:
    """Holds the clock as a class attribute.

    freezegun replaces the functions of `time` wherever a module holds them by name
    (spulec/freezegun#286), so that a module attribute bound at import would be frozen too.
    """

    __slots__ = ()
    clock: Final = staticmethod(time.perf_counter)


REAL_TIME: Final = _RealTime()
