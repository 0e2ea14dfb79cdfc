"""CPU time: how much of the processor a block took, whatever the clock on the wall says."""

import os
import threading
import time
from dataclasses import dataclass
from typing import Final, Self

from pytest_agentperf.core.clock import REAL_TIME, Clock
from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.units import Unit, format_quantity

__all__ = ["CpuBlock", "CpuTime"]

_STEPS: Final = 20
# Windows accounts a process in ticks, though it claims steps of 100 ns.
_STEP: Final = 1 / 64 if os.name == "nt" else time.get_clock_info("process_time").resolution
_COARSE: Final = (
    "the block was shorter than {} steps of this system's processor clock, {} each; measure more"
    " calls in one block"
)


@dataclass(frozen=True, slots=True)
class CpuTime:
    """What a block took of the processors.

    Attributes:
        process: Seconds of all threads of the process.
        thread: Seconds of the thread that the block began on; None where it ended on another.
        children: Seconds of the child processes that ended inside, to 10 ms.
        wall: Seconds that passed.
        reason: Why the numbers mean little; empty where they do.
    """

    process: float
    thread: float | None
    children: float
    wall: float
    reason: str = ""

    @property
    def share(self) -> float | None:
        """Processor time of the process over time that passed: 1 is one core; None if unknown."""
        return self.process / self.wall if self.wall > 0 and not self.reason else None

    def per_call(self, calls: int) -> float:
        """Return the seconds of the process for each of *calls*, 1 or more."""
        return self.process / calls

    def __str__(self) -> str:
        spent = f"{format_quantity(self.process, Unit.SECONDS)} of CPU time"
        if self.share is None:
            return f"{spent}: {self.reason}" if self.reason else spent
        passed = format_quantity(self.wall, Unit.SECONDS)
        return f"{spent} in {passed} ({format_quantity(self.share, Unit.SHARE)} of a core)"


class CpuBlock:
    """A context that takes the times of what is inside; `result` can be read after it.

    Args:
        clock: Seconds that pass.
        process: Seconds of the process.
        thread: Seconds of the thread that asks.
        children: Seconds of the child processes that have ended.
        step: Seconds by which *process* advances.
    """

    __slots__ = ("_children", "_clocks", "_found", "_owner", "_result", "_step")

    def __init__(
        self,
        clock: Clock = REAL_TIME.clock,
        process: Clock = time.process_time,
        thread: Clock = time.thread_time,
        children: Clock | None = None,
        step: float = _STEP,
    ) -> None:
        self._clocks = process, thread, children or _children_time, clock
        self._found: tuple[float, ...] = ()
        self._owner = 0
        self._step = step
        self._result: CpuTime | None = None

    @property
    def result(self) -> CpuTime:
        """What the block took.

        Raises:
            UsageError: The block has not ended.
        """
        if self._result is None:
            raise UsageError(
                "what a block took is known when it has ended; read it after the block"
            )
        return self._result

    def __enter__(self) -> Self:
        self._owner = threading.get_ident()
        self._found = tuple(clock() for clock in self._clocks)
        return self

    def __exit__(self, *exc: object) -> None:
        now = tuple(clock() for clock in self._clocks)
        process, thread, children, wall = (b - a for a, b in zip(self._found, now, strict=True))
        is_owner = threading.get_ident() == self._owner
        is_coarse = wall < _STEPS * self._step
        reason = _COARSE.format(_STEPS, format_quantity(self._step, Unit.SECONDS))
        self._result = CpuTime(
            process, thread if is_owner else None, children, wall, reason if is_coarse else ""
        )


def _children_time() -> float:
    """Return the seconds of the child processes that have ended and were waited for."""
    times = os.times()
    return times.children_user + times.children_system
