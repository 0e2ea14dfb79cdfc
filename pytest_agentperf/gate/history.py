"""The gate against history: each test judged when it ends, the baseline moved after the last."""

import subprocess
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pytest_agentperf.judge.baseline import Baseline, Entry
from pytest_agentperf.judge.compare import compare_history, history_priors
from pytest_agentperf.judge.comparison import Comparison, Outcome, Rule
from pytest_agentperf.judge.evidence import Priors
from pytest_agentperf.judge.history import LEAST_RUNS
from pytest_agentperf.judge.runs import Run, Suite
from pytest_agentperf.judge.storedrun import thinned

__all__ = [
    "MISSING",
    "History",
    "Kept",
    "current_commit",
    "is_known",
    "keep_runs",
    "open_history",
]

MISSING: Final = frozenset({Outcome.NEW, Outcome.NOT_COMPARABLE, Outcome.OTHER_ENVIRONMENT})
"""Outcomes of tests that have nothing to compare with."""

_PATIENCE: Final = 10.0


@dataclass(frozen=True, slots=True)
class History:
    """What is known before the first test.

    Attributes:
        runs: The accepted runs of every test.
        priors: What the variances of all of them have in common.
        rule: What makes a change a regression.
    """

    runs: Suite
    priors: Priors
    rule: Rule

    def judge(self, runs: Mapping[str, Run], tests: int) -> tuple[Comparison, ...]:
        """Return the verdicts on *runs*, those of one test that has just ended.

        Args:
            runs: By name.
            tests: What `count` says; the chance of a false alarm is shared among them, also where
                each process of xdist runs only some.
        """
        head = {name: [thinned(run)] for name, run in runs.items()}
        known = {name: self.runs.get(name, ()) for name in head}
        most = max(tests, len(runs))
        return compare_history(known, head, self.rule, tests=most, priors=self.priors).tests

    def count(self, nodeids: Collection[str]) -> int:
        """Return how many verdicts *nodeids* come to: a test has one for each of its labels."""
        labelled = sum(name not in nodeids and _belongs(name, nodeids) for name in self.runs)
        return len(nodeids) + labelled


def _belongs(name: str, nodeids: Collection[str]) -> bool:
    """Return whether *name* is that of a label of one of *nodeids*."""
    return any(name[:place] in nodeids for place, sign in enumerate(name) if sign == "#")


def open_history(folder: Path, environment: str, rule: Rule) -> History:
    """Return the history of *environment* in *folder*.

    Raises:
        OSError: A file cannot be read.
        FileFormatError: A file is no baseline.
    """
    runs = Baseline(folder, environment).history()
    return History(runs, history_priors(runs), rule)


def is_known(folder: Path, environment: str) -> bool:
    """Return whether *folder* knows any test of *environment* well enough to compare it.

    Raises:
        OSError: A file cannot be read.
        FileFormatError: A file is no baseline.
    """
    pasts = Baseline(folder, environment).read().values()
    return any(len(past.runs) >= LEAST_RUNS for past in pasts)


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of the runs of a session.

    Attributes:
        accepted: Tests whose history is one run longer.
        refused: Tests that regressed, whose run was put aside.
    """

    accepted: int = 0
    refused: int = 0


def keep_runs(
    folder: Path,
    found: Iterable[tuple[str, Run, bool]],
    *,
    is_accepted: bool,
    now: datetime | None = None,
) -> Kept:
    """Write the runs of a session into *folder*, each to the baseline of its environment.

    Args:
        folder: Where baselines are kept.
        found: Name, run, and whether it regressed.
        is_accepted: Whether those that did not regress become history: no test failed.
        now: When the session ended.

    Raises:
        OSError: A file cannot be written.
        FileFormatError: What is there is no baseline.
    """
    time = (now or datetime.now(UTC)).isoformat(timespec="seconds").replace("+00:00", "Z")
    commit, kept = current_commit(Path.cwd()), Kept()
    split: dict[str, tuple[dict[str, Entry], dict[str, Entry]]] = {}
    for name, run, is_regressed in found:
        accepted, refused = split.setdefault(run.environment, ({}, {}))
        if is_regressed:
            refused[name] = Entry(run, time, commit)
        elif is_accepted:
            accepted[name] = Entry(run, time, commit)
    for environment, (accepted, refused) in split.items():
        Baseline(folder, environment).append(accepted, refused)
        kept = replace(
            kept,
            accepted=kept.accepted + len(accepted),
            refused=kept.refused + len(refused),
        )
    return kept


def current_commit(folder: Path) -> str:
    """Return the revision that is checked out in *folder*, as `a1b2c3d4e5f6` or `…-dirty`."""
    command = ("git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    try:
        done = subprocess.run(  # noqa: S603 -- nothing in it comes from outside
            command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
