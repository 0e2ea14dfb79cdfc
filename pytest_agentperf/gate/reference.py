"""The reference workload: 50 ms of work that never changes, which tell how fast the machine is."""

import json
from collections.abc import Callable
from statistics import median
from typing import Final

from pytest_agentperf.core.clock import REAL_TIME, Clock

__all__ = ["Reference", "work"]

_PARTS: Final = 10
_FRESH: Final = 0.5
_DOCUMENT: Final = {f"key {number}": [number, str(number), number / 7] for number in range(40)}


class Reference:
    """How long the workload takes, measured again when the last time is half a second old.

    So it adds a tenth to the time of the tests at most, however short they are, and is close
    enough to each of them to see who else uses the machine.

    Args:
        clock: Tells the time, in seconds.
        part: A tenth of the workload.
    """

    def __init__(
        self, clock: Clock = REAL_TIME.clock, part: Callable[[], object] | None = None
    ) -> None:
        self._clock = clock
        self._part = part or work
        self._measured = 0.0
        self._seconds: float | None = None

    def seconds(self) -> float:
        """Return how long all of the workload takes now."""
        if self._seconds is None or self._clock() - self._measured >= _FRESH:
            # The median of its parts, so that one interruption does not count.
            self._seconds = _PARTS * median(self._time() for _ in range(_PARTS))
            self._measured = self._clock()
        return self._seconds

    def _time(self) -> float:
        started = self._clock()
        self._part()
        return self._clock() - started


def work() -> int:
    """Do about 5 ms of what agents do between their calls: arithmetic, dicts, text and JSON."""
    total = 0
    for _ in range(36):
        content = json.loads(json.dumps(_DOCUMENT))
        total += sum(len(key) for key in content)
        total += sum(number * number % 7 for number in range(1500))
    return total
