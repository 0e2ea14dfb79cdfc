"""Tests of the gate against itself, with sides that take scripted times."""

from pathlib import Path

import pytest

from pytest_agentperf.gate.aa import compare_with_itself, describe, pytest_command
from pytest_agentperf.gate.duet import Bounds
from pytest_agentperf.gate.errors import BrokenGateError
from pytest_agentperf.gate.job import SideReport
from pytest_agentperf.judge.comparison import Comparison
from pytest_agentperf.judge.runs import Run


class Side:
    """Runs a test `t` whose second run of every pair is slower where a duet is *unlucky*."""

    def __init__(self, *unlucky: int) -> None:
        self.unlucky, self.seeds, self.said = unlucky, [-1], list[str]()

    def __call__(self, seed: int, *, is_probe: bool, only: tuple[str, ...] | None) -> SideReport:
        is_second = seed == self.seeds[-1]
        self.seeds.append(seed)
        duet, pair = divmod(seed, 1000)
        # The order flips: the head comes second in odd pairs.
        is_head = is_second == bool(pair % 2)
        factor = 1.2 if duet in self.unlucky and is_head and pair else 1.0
        return SideReport({"t": Run(0.01 * factor * (1 + pair % 3 / 1000), 20)}, {"t": 20})

    def run(self, duets: int, pairs: int | None = 4) -> list[Comparison]:
        bounds = Bounds(pairs, 1e9)
        return list(compare_with_itself(self, duets, bounds, self.said.append, lambda: 0.0))


def test_alarms_are_counted_over_all_duets() -> None:
    found = Side(1).run(3)
    assert describe(found, 3) == [
        (
            "3 duets of the tests with themselves, 3 verdicts: 1 regressed (33 %; at most 86 %"
            " with 95 % confidence), 0 faster, 0 undecided"
        ),
        "half of the verdicts could have shown +5.0 %",
        "regressed in 1 of 3: t",
    ]


def test_each_duet_has_seeds_of_its_own_and_says_which_it_is() -> None:
    side = Side()
    side.run(2, pairs=2)
    assert sorted(set(side.seeds[1:])) == [0, 1, 2, 1000, 1001, 1002]
    assert side.said[0].startswith("duet 1 of 2: 1 test, 2 pairs of base and head: 80 calls")
    assert side.said[-1] == "duet 2 of 2: pair 2 of 2"


def test_without_a_measured_test_nothing_is_concluded() -> None:
    def nothing(seed: int, *, is_probe: bool, only: tuple[str, ...] | None) -> SideReport:
        return SideReport({})

    with pytest.raises(BrokenGateError, match="no measured test ran on both sides; name tests"):
        list(compare_with_itself(nothing, 1, Bounds(2, 1.0), print, lambda: 0.0))


def test_pytest_keeps_its_files_apart_and_runs_in_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    command = pytest_command(["tests/perf", "-x"], tmp_path, tmp_path / "scratch")
    assert command.folder == tmp_path
    assert list(command.arguments[1:5]) == ["-m", "pytest", "tests/perf", "-x"]
    assert f"-ocache_dir={tmp_path / 'scratch' / 'cache'}" in command.arguments
    assert "-n0" in command.arguments
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    assert "-n0" not in pytest_command([], tmp_path, tmp_path).arguments
