"""Noise for the simulation of the regression gate: runs of suites on machines of five kinds.

The logarithm of a latency is the sum of what the session (machine, hour), the process (memory
layout, hash seed) and the call contribute: session + process + drift within the run (AR(1) with
0.95) + normal noise + now and then an outlier. Only the ratios matter, so a call takes 10 ms.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from pytest_agentperf.judge.runs import Run

Array: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
SECONDS = 0.010
UNEQUAL = 0.4  # sd of the log noise of a test: one in six is half again as noisy as the middle
REFERENCE_NOISE = 0.008


@dataclass(frozen=True, slots=True)
class Regime:
    """Standard deviations of logarithms; `slow` is how often a session is on a slower machine."""

    call: float
    outliers: float
    lowest: float
    highest: float
    drift: float
    process: float
    session: float
    slow: float = 0.0
    slowness: float = 0.0


REGIMES = {
    "quiet": Regime(0.030, 0.02, 1.3, 3.0, 0.004, 0.004, 0.004),
    "vm": Regime(0.012, 0.10, 1.05, 2.5, 0.006, 0.012, 0.014),
    "ci": Regime(0.100, 0.03, 1.3, 4.0, 0.020, 0.012, 0.027),
    "hetero": Regime(0.100, 0.03, 1.3, 4.0, 0.020, 0.012, 0.027, 0.25, 0.12),
    "live": Regime(0.400, 0.03, 2.0, 6.0, 0.040, 0.000, 0.060),
}


@dataclass(frozen=True, slots=True)
class Change:
    """What the head does to its calls: all of them take `factor`, one in `of` takes double."""

    factor: float = 1.0
    doubled: float = 0.0


class Machine:
    """Draws runs of suites.

    Args:
        regime: What disturbs them.
        tests: In one suite; their noise is unequal where there are several.
        seed: Of the generator.
    """

    def __init__(self, regime: Regime, tests: int, seed: Sequence[int]) -> None:
        self.regime = regime
        self.tests = tests
        self.random = np.random.default_rng(seed)
        self.loudness = np.ones(1)
        self.follows = np.ones(1)

    def next_suite(self) -> None:
        """Draw how noisy each test is, and how far it follows the machine."""
        if self.tests > 1:
            noise = self.random.standard_normal(self.tests)
            self.loudness = np.exp(UNEQUAL * noise - UNEQUAL**2 / 2)
            self.follows = self.random.uniform(0.7, 1.1, self.tests)

    def sessions(self, count: int) -> tuple[Array, Array]:
        """Return the logarithms of *count* sessions for each test, and of their reference."""
        now = self.regime
        machine = now.session * self.random.standard_normal(count)
        machine += np.cumsum(0.15 * now.session * self.random.standard_normal(count))
        machine += now.slowness * (self.random.random(count) < now.slow)
        own = 0.25 * now.session * self.random.standard_normal((self.tests, count))
        values = self.follows[:, None] * machine + (own if self.tests > 1 else 0)
        return values, machine + REFERENCE_NOISE * self.random.standard_normal(count)

    def _logs(self, shape: tuple[int, ...], loudness: Array) -> Array:
        """Return logarithms of calls: (tests, runs, blocks, calls); a block is a process."""
        now, draw = self.regime, self.random
        drift = draw.standard_normal((*shape[:2], shape[2] * shape[3]))
        for call in range(1, drift.shape[2]):  # AR(1) over both processes of a pair
            drift[..., call] = 0.95 * drift[..., call - 1] + 0.3122499 * drift[..., call]
        logs = now.call * draw.standard_normal(shape) + now.drift * drift.reshape(shape)
        logs += now.process * draw.standard_normal((*shape[:3], 1))
        outliers = draw.random(shape) < now.outliers
        logs[outliers] += np.log(draw.uniform(now.lowest, now.highest, int(outliers.sum())))
        logs *= loudness[:, None, None, None]
        return logs

    def pairs(
        self, count: int, calls: int, changes: dict[int, Change], tests: Sequence[int] | None = None
    ) -> tuple[dict[str, list[Run]], dict[str, list[Run]]]:
        """Return *count* pairs for *tests*, of which some change: base and head."""
        chosen = list(range(self.tests)) if tests is None else list(tests)
        logs = self._logs((len(chosen), count, 2, calls), self.loudness[chosen])
        head = logs[:, :, 1]
        self._apply(head, {chosen.index(test): change for test, change in changes.items()
                           if test in chosen})  # fmt: skip
        names = [f"t{test}" for test in chosen]
        return dict(self._runs(names, logs[:, :, 0])), dict(self._runs(names, head))

    def history(
        self, count: int, calls: int, changes: dict[int, Change], *, reference: bool
    ) -> tuple[dict[str, list[Run]], dict[str, list[Run]]]:
        """Return *count* earlier runs of each test, and one of the head."""
        sessions, machine = self.sessions(count + 1)
        logs = self._logs((self.tests, count + 1, 1, calls), self.loudness)[:, :, 0]
        logs += sessions[:, :, None]
        head = logs[:, count:]
        self._apply(head, changes)
        names = [f"t{test}" for test in range(self.tests)]
        seconds = 0.05 * np.exp(machine) if reference else None
        before = None if seconds is None else seconds[:count].tolist()
        after = None if seconds is None else seconds[count:].tolist()
        return (
            dict(self._runs(names, logs[:, :count], before)),
            dict(self._runs(names, head, after)),
        )

    def _apply(self, logs: Array, changes: dict[int, Change]) -> None:
        """Change *logs*, (tests, runs, calls), in place."""
        for test, change in changes.items():
            logs[test] += math.log(change.factor)
            logs[test] += math.log(2) * (self.random.random(logs[test].shape) < change.doubled)

    def _runs(
        self, names: Sequence[str], logs: Array, references: Sequence[float] | None = None
    ) -> Iterator[tuple[str, list[Run]]]:
        """Yield the runs of each test."""
        seconds = SECONDS * np.exp(np.sort(logs, axis=-1))
        medians = np.median(seconds, axis=-1).tolist()
        calls = logs.shape[-1]
        beside = references or [None] * logs.shape[1]
        for name, own, rows in zip(names, medians, seconds.tolist(), strict=True):
            yield name, [
                Run(median, calls, tuple(row), reference=reference)
                for median, row, reference in zip(own, rows, beside, strict=True)
            ]
