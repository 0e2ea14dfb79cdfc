"""Machines that disturb what runs on them: simulated runs for the regression gate.

The logarithm of a latency is the sum of what the session (machine, hour), the process (memory
layout, hash seed) and the call contribute: session + process + drift within the run (AR(1) with
0.95) + normal noise + now and then an outlier. The two processes of a pair follow each other.
"""

import math
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from pytest_agentperf.judge.runs import Run

Array: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
TESTS = 50
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


Changes: TypeAlias = Mapping[int, Change]
Runs: TypeAlias = dict[str, list[Run]]


class Machine:
    """Draws runs of tests, 50 at a time.

    Args:
        regime: What disturbs them.
        seed: Of the generator.
        is_suite: Whether they are one suite: unequally noisy, in the same sessions. If not, each
            stands for a suite of its own.
    """

    def __init__(self, regime: Regime, seed: Sequence[int], *, is_suite: bool) -> None:
        self.regime = regime
        self.is_suite = is_suite
        self.random = np.random.default_rng(seed)
        self.loudness = np.ones(TESTS)
        self.follows = np.ones(TESTS)

    def next_suite(self) -> None:
        """Draw how noisy each test is, and how far it follows the machine."""
        if self.is_suite:
            noise = self.random.standard_normal(TESTS)
            self.loudness = np.exp(UNEQUAL * noise - UNEQUAL**2 / 2)
            self.follows = self.random.uniform(0.7, 1.1, TESTS)

    def sessions(self, count: int) -> tuple[Array, Array]:
        """Return the logarithms of *count* sessions for each test, and of their reference."""
        now, draw = self.regime, self.random
        shape = (1 if self.is_suite else TESTS, count)
        machine = now.session * draw.standard_normal(shape)
        machine += np.cumsum(0.15 * now.session * draw.standard_normal(shape), axis=1)
        machine += now.slowness * (draw.random(shape) < now.slow)
        values = self.follows[:, None] * machine
        if self.is_suite:
            values += 0.25 * now.session * draw.standard_normal((TESTS, count))
        reference = machine + REFERENCE_NOISE * draw.standard_normal(shape)
        return values, np.broadcast_to(reference, (TESTS, count))

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
        self, count: int, calls: int, changes: Changes, tests: Sequence[int]
    ) -> tuple[Runs, Runs]:
        """Return *count* pairs of runs for each of *tests*: base and head."""
        logs = self._logs((len(tests), count, 2, calls), self.loudness[tests])
        base, head = logs[:, :, 0], logs[:, :, 1]
        self._apply(head, changes, tests)
        return dict(self._runs(tests, base)), dict(self._runs(tests, head))

    def history(
        self, count: int, calls: int, changes: Changes, *, has_reference: bool
    ) -> tuple[Runs, Runs]:
        """Return *count* earlier runs of each test, and one of the head."""
        sessions, machine = self.sessions(count + 1)
        logs = self._logs((TESTS, count + 1, 1, calls), self.loudness)[:, :, 0]
        logs += sessions[:, :, None]
        before, head, tests = logs[:, :count], logs[:, count:], range(TESTS)
        self._apply(head, changes, tests)
        seconds = 0.05 * np.exp(machine) if has_reference else None
        if seconds is None:
            return dict(self._runs(tests, before)), dict(self._runs(tests, head))
        return (
            dict(self._runs(tests, before, seconds[:, :count])),
            dict(self._runs(tests, head, seconds[:, count:])),
        )

    def _apply(self, logs: Array, changes: Changes, tests: Sequence[int]) -> None:
        """Change *logs*, (tests, runs, calls), in place."""
        for place, test in enumerate(tests):
            if test in changes:
                doubled = self.random.random(logs[place].shape) < changes[test].doubled
                logs[place] += math.log(changes[test].factor) + math.log(2) * doubled

    def _runs(
        self, tests: Sequence[int], logs: Array, references: Array | None = None
    ) -> Iterator[tuple[str, list[Run]]]:
        """Yield the runs of each test."""
        seconds = SECONDS * np.exp(np.sort(logs, axis=-1))
        medians = np.median(seconds, axis=-1).tolist()
        calls = logs.shape[-1]
        beside = (
            [[None] * logs.shape[1]] * len(tests) if references is None else references.tolist()
        )
        for test, own, rows, machine in zip(tests, medians, seconds.tolist(), beside, strict=True):
            yield (
                str(test),
                [
                    Run(median, calls, tuple(row), reference=reference)
                    for median, row, reference in zip(own, rows, machine, strict=True)
                ],
            )


def seed() -> int:
    """Return the number of the commit that is measured."""
    program = ["git", "rev-parse", "HEAD"]
    head = subprocess.run(
        program, capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    return int(head.stdout[:12], 16)
