"""Scaling: throughput by the number of callers at once, and the share of a call that is serial.

The Universal Scalability Law (Gunther, Guerrilla Capacity Planning, 2007) for n callers:

    throughput(n) / throughput(1) = n / (1 + s·(n - 1) + k·n·(n - 1))

s is the share of a call that runs alone (Amdahl's law where k is 0), k what two callers cost each
other.
"""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.core.errors import CheckError, UsageError
from pytest_agentperf.core.units import Unit, format_quantity

__all__ = ["Level", "Scaling", "ScalingRun", "fit_serial_share"]

_NEGLIGIBLE = 0.01


@dataclass(frozen=True, slots=True)
class Level:
    """What one number of callers reached.

    Attributes:
        callers: Calls in flight at once.
        calls: Calls made.
        seconds: From the start of the first call to the end of the last.
        efficiency: Its throughput ÷ (callers × that of one caller); 1 is perfect.
    """

    callers: int
    calls: int
    seconds: float
    efficiency: float

    @property
    def throughput(self) -> float:
        """Calls that ended, a second."""
        return self.calls / self.seconds


@dataclass(frozen=True, slots=True)
class Scaling:
    """How the throughput of a function grows with the number of its callers.

    Attributes:
        subject: What was called.
        levels: What was measured, with few callers first.
        serial_share: The share of a call that runs alone, 0 to 1.
        crosstalk: What each further pair of callers costs, as a share of a call.
        cause: What serialises the calls, in a sentence; empty where nothing was seen to.
        missing: Why levels are missing; empty where none is.
    """

    subject: str
    levels: tuple[Level, ...]
    serial_share: float
    crosstalk: float
    cause: str
    missing: str

    @property
    def efficiency(self) -> float:
        """The efficiency at the highest level; 1 is perfect."""
        return self.levels[-1].efficiency

    def assert_scales(self, efficiency: float) -> None:
        """Fail where a level is less efficient than *efficiency*, above 0 and up to 1."""
        __tracebackhide__ = True
        if not 0 < efficiency <= 1:
            raise UsageError(f"efficiency={efficiency!r}: expected a share above 0 and up to 1")
        if self.missing:
            raise CheckError(f"{self.subject} cannot be told to scale: {self.missing}")
        poor = [level for level in self.levels if level.efficiency < efficiency]
        if poor:
            raise CheckError(
                f"{self.subject} scales to {poor[0].callers} callers with an efficiency of"
                f" {poor[0].efficiency:.0%}, expected at least {efficiency:.0%}: {self}"
            )

    def __str__(self) -> str:
        shown = ", ".join(
            f"{level.callers} × {format_quantity(level.throughput, Unit.RATE)}"
            f" ({level.efficiency:.0%})"
            for level in self.levels
        )
        fit = f"{self.serial_share:.0%} of a call is serial"
        if self.crosstalk * self.levels[-1].callers > _NEGLIGIBLE:
            fit += f", each pair of callers costs {self.crosstalk:.1%} of a call"
        return "; ".join(filter(None, (shown, fit, self.cause, self.missing)))


class ScalingRun:
    """Calls a function with more and more callers at once.

    Args:
        call: What to call, without arguments.
        subject: What messages call it.
        levels: Numbers of callers, from 1.
        calls: Calls for each caller.
        max_time: Seconds after which no further level begins.
        clock: The clock.
    """

    def __init__(
        self,
        call: Callable[[], Any],
        subject: str,
        levels: Iterable[int],
        calls: int,
        max_time: float,
        clock: Clock,
    ) -> None:
        self.call, self.subject = call, subject
        self._levels = _checked_levels(levels)
        if type(calls) is not int or calls < 1:
            raise UsageError(f"calls={calls!r}: expected a number of calls for each caller, from 1")
        self._calls, self._max_time, self._clock = calls, max_time, clock
        self._found: list[Level] = []
        self._began = clock()

    @property
    def most_callers(self) -> int:
        """The highest number of callers that was measured."""
        return self._found[-1].callers

    def measure(self) -> None:
        """Call with a thread for each caller."""
        for callers in self._next_levels():
            calls = callers * self._calls
            with ThreadPoolExecutor(callers) as executor:
                # Starts all threads, each of which takes one of these calls and waits.
                list(executor.map(threading.Barrier(callers).wait, [None] * callers))
                began = self._clock()
                for _ in executor.map(lambda _: self.call(), range(calls)):
                    pass
                self._add(callers, calls, began)

    async def measure_async(self) -> None:
        """Call with a task for each caller."""
        for callers in self._next_levels():
            began = self._clock()
            await self.call_at_once(callers)
            self._add(callers, callers * self._calls, began)

    async def call_at_once(self, callers: int) -> None:
        """Make the calls of one level."""
        turns = iter(range(callers * self._calls))

        async def work() -> None:
            for _ in turns:
                await self.call()

        tasks = [asyncio.create_task(work()) for _ in range(callers)]
        try:
            await asyncio.gather(*tasks)
        finally:  # the first error ends the level, as it is and not in a group
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def result(self, cause: str = "") -> Scaling:
        """Return what was measured, and *cause*, which serialises the calls."""
        serial, crosstalk = fit_serial_share(self._found) if len(self._found) > 1 else (0.0, 0.0)
        missing = ", ".join(map(str, self._levels[len(self._found) :]))
        if missing:
            bound = format_quantity(self._max_time, Unit.SECONDS)
            missing = f"{missing} callers were not measured within max_time {bound}; raise it"
        return Scaling(self.subject, tuple(self._found), serial, crosstalk, cause, missing)

    def _next_levels(self) -> Iterator[int]:
        for callers in self._levels:
            if self._found and self._clock() - self._began >= self._max_time:
                return
            yield callers

    def _add(self, callers: int, calls: int, began: float) -> None:
        seconds = max(self._clock() - began, 1e-9)
        alone = self._found[0].throughput if self._found else calls / seconds
        self._found.append(Level(callers, calls, seconds, calls / seconds / callers / alone))


def _checked_levels(levels: Iterable[int]) -> list[int]:
    """Return *levels* if they are numbers of callers that rise from 1.

    Raises:
        UsageError: They are not.
    """
    found = list(levels)
    is_rising = all(low < high for low, high in itertools.pairwise(found))
    is_counted = all(type(level) is int and level >= 1 for level in found)
    if not is_counted or not is_rising or len(found) < 2 or found[0] != 1:  # noqa: PLR2004
        raise UsageError(
            f"levels={levels!r}: expected rising numbers of callers that begin with 1, as in"
            " (1, 2, 4, 8)"
        )
    return found


def fit_serial_share(levels: Sequence[Level]) -> tuple[float, float]:
    """Return serial share and crosstalk of *levels* by least squares, both at least 0.

    With d = callers ÷ speedup - 1 the law is linear: d = s·(n - 1) + k·n·(n - 1).
    """
    points = [(level.callers - 1, *_lost(levels[0], level)) for level in levels[1:]]
    aa = sum(a * a for a, _, _ in points)
    ab = sum(a * b for a, b, _ in points)
    bb = sum(b * b for _, b, _ in points)
    ad = sum(a * d for a, _, d in points)
    bd = sum(b * d for _, b, d in points)
    determinant = aa * bb - ab * ab
    if determinant > 0:  # two levels or more above the first
        serial, crosstalk = (ad * bb - bd * ab) / determinant, (bd * aa - ad * ab) / determinant
        if serial >= 0 and crosstalk >= 0:
            return min(serial, 1.0), crosstalk
        if serial < 0 < crosstalk:
            return 0.0, max(bd / bb, 0.0)
    return min(max(ad / aa, 0.0), 1.0), 0.0


def _lost(first: Level, level: Level) -> tuple[float, float]:
    """Return the regressor of the crosstalk and what *level* lost against a perfect one."""
    n = level.callers
    speedup = level.throughput / first.throughput
    return n * (n - 1), n / speedup - 1
