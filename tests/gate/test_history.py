"""Tests of the gate against history."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pytest_agentperf.gate.history import (
    History,
    Kept,
    current_commit,
    keep_runs,
    open_history,
)
from pytest_agentperf.judge.baseline import Baseline, Entry
from pytest_agentperf.judge.comparison import STANDARD, Outcome
from pytest_agentperf.judge.runs import Run

# Ten medians whose logarithms vary by 1 %.
NOISE = (1.0, 1.01, 0.99, 1.012, 0.995, 1.003, 0.988, 1.008, 0.992, 1.001)


def run(median: float = 0.01, **fields: Any) -> Run:
    return Run(median, 20, environment="e", **fields)


def history(folder: Path, *names: str, runs: int = 10) -> History:
    for noise in NOISE[:runs]:
        entries = {name: Entry(run(0.01 * noise), "t", "c") for name in names}
        Baseline(folder, "e").append(entries, {})
    return open_history(folder, "e", STANDARD)


def outcome(known: History, median: float, tests: int = 1) -> Outcome:
    (one,) = known.judge({"a": run(median)}, tests)
    return one.outcome


def test_slower_run_regressed_and_an_equal_one_did_not(tmp_path: Path) -> None:
    known = history(tmp_path, "a")
    assert outcome(known, 0.02) is Outcome.REGRESSED
    assert outcome(known, 0.01) is Outcome.UNCHANGED
    assert outcome(known, 0.005) is Outcome.FASTER


def test_test_is_new_until_there_are_five_runs(tmp_path: Path) -> None:
    assert outcome(history(tmp_path / "4", "a", runs=4), 0.02) is Outcome.NEW
    assert outcome(history(tmp_path / "5", "a", runs=5), 0.02) is Outcome.REGRESSED
    assert outcome(open_history(tmp_path / "none", "e", STANDARD), 0.02) is Outcome.NEW


def test_chance_of_a_false_alarm_is_shared_among_all_measured_tests(tmp_path: Path) -> None:
    # The noise has a deviation of 0.8 %, so +6 % is t = 6.7 and p = 4e-5 with 9 degrees of freedom:
    # below .05 / 2, which holds for one test, and above .05 / 2000.
    known = history(tmp_path, "a")
    assert outcome(known, 0.0106) is Outcome.REGRESSED
    assert outcome(known, 0.0106, tests=1000) is Outcome.UNDECIDED


def test_labels_of_measured_tests_count_as_tests_and_others_do_not(tmp_path: Path) -> None:
    known = history(tmp_path / "1", "a", "a#plan", "a#b#c", "b", "b#plan")
    assert known.count({"a"}) == 3
    assert known.count({"a", "b"}) == 5
    assert known.count({"a", "c"}) == 4
    assert known.count({"a", "a#b"}) == 4


def test_variance_is_shared_by_all_tests_of_the_file(tmp_path: Path) -> None:
    assert history(tmp_path / "1", *"abcd").priors.latency is None
    assert history(tmp_path / "2", *"abcde").priors.latency is not None


def test_run_is_judged_with_the_digits_it_would_be_kept_with(tmp_path: Path) -> None:
    known = history(tmp_path, "a")
    (one,) = known.judge({"a": run(0.02, latencies=tuple([0.02] * 500))}, 1)
    assert one.outcome is Outcome.REGRESSED


def kept(folder: Path) -> dict[str, tuple[int, int]]:
    tests = Baseline(folder, "e").read()
    return {name: (len(past.runs), len(past.refused)) for name, past in tests.items()}


def test_passed_session_becomes_history_but_for_what_regressed(tmp_path: Path) -> None:
    found = [("a", run(), False), ("b", run(), True)]
    assert keep_runs(tmp_path, found, is_accepted=True) == Kept(accepted=1, refused=1)
    assert kept(tmp_path) == {"a": (1, 0), "b": (0, 1)}


def test_failed_session_is_no_history(tmp_path: Path) -> None:
    found = [("a", run(), False), ("b", run(), True)]
    assert keep_runs(tmp_path, found, is_accepted=False) == Kept(accepted=0, refused=1)
    assert kept(tmp_path) == {"b": (0, 1)}


def test_runs_go_to_the_file_of_their_environment_with_time_and_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_agentperf.gate.history.current_commit", lambda folder: "a1b2")
    now = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    found = [("a", run(), False), ("a", Run(1.0, 1, environment="f"), False)]
    assert keep_runs(tmp_path, found, is_accepted=True, now=now).accepted == 2
    for environment in "ef":
        (entry,) = Baseline(tmp_path, environment).read()["a"].runs
        assert (entry.time, entry.commit) == ("2026-01-02T03:04:05Z", "a1b2")


def git(folder: Path, *arguments: str) -> str:
    names = ("-c", "user.name=n", "-c", "user.email=e@f.invalid")
    done = subprocess.run(
        ["git", *names, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_commit_is_what_is_checked_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "a folder"
    folder.mkdir()
    assert current_commit(folder) == ""
    assert current_commit(folder / "none") == ""
    git(folder, "init", "-q")
    assert current_commit(folder) == ""
    (folder / "a").write_text("1", encoding="utf-8")
    git(folder, "add", "a")
    git(folder, "commit", "-qm", "first")
    git(folder, "tag", "v1")
    assert current_commit(folder) == git(folder, "rev-parse", "HEAD")[:12]
    (folder / "a").write_text("2", encoding="utf-8")
    assert current_commit(folder).endswith("-dirty")
