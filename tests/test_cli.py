"""Tests of the command."""

import json
import tomllib
from pathlib import Path

import pytest

from pytest_agentperf.cli import main
from pytest_agentperf.judge.baseline import Baseline, Entry
from pytest_agentperf.judge.runs import Count, Run
from pytest_agentperf.report.record import MeasurementRecord, PerfRecord
from pytest_agentperf.report.run import Run as WholeRun
from pytest_agentperf.report.runfile import write_run


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def save_run(path: Path) -> None:
    """Write a run of two tests to *path*."""
    measurement = MeasurementRecord(None, "ask", 5, 0, {"latency_max": 0.1}, {}, [])
    write_run(path, WholeRun([PerfRecord(f"t.py::{name}", [measurement], [], 0) for name in "ab"]))


def cached(folder: Path) -> Path:
    return folder / ".pytest_cache" / "d" / "agentperf" / "last-run.json"


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what the command with *arguments* is refused with."""
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_init_writes_budgets_from_the_last_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_run(cached(tmp_path))
    assert main(["init"]) == 0
    assert capsys.readouterr().out == (
        "budgets.toml: budgets of 2 tests; try: pytest --perf-budget budgets.toml\n"
    )
    content = tomllib.loads((tmp_path / "budgets.toml").read_text(encoding="utf-8"))
    assert content == {
        "version": 1,
        "tests": {"t.py::a": {"latency": "130ms"}, "t.py::b": {"latency": "130ms"}},
    }


def test_init_finds_the_last_run_of_a_folder_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_run(cached(tmp_path))
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert main(["init"]) == 0
    assert (below / "budgets.toml").is_file()


def test_init_takes_a_saved_run_and_another_output(tmp_path: Path) -> None:
    save_run(tmp_path / "run.json")
    assert main(["init", "run.json", "-o", "new/b.toml"]) == 0
    assert "pytest --perf-budget b.toml" in Path("new/b.toml").read_text(encoding="utf-8")
    assert not Path("budgets.toml").exists()


def test_init_keeps_a_file_that_exists_unless_forced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_run(cached(tmp_path))
    Path("budgets.toml").write_text("mine", encoding="utf-8")
    assert refusal(capsys, "init") == (
        "agentperf: budgets.toml exists; give --force to replace it, or --output another\n"
    )
    assert Path("budgets.toml").read_text(encoding="utf-8") == "mine"
    assert main(["init", "--force"]) == 0
    assert "version = 1" in Path("budgets.toml").read_text(encoding="utf-8")


def test_init_without_a_run_says_how_to_get_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "init").startswith(
        "agentperf: no run found in .pytest_cache here or above; run pytest with a measured test"
    )
    assert not Path("budgets.toml").exists()


def test_init_with_a_run_that_is_missing_or_none_writes_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert refusal(capsys, "init", "none.json") == (
        "agentperf: none.json: No such file or directory\n"
    )
    Path("bad.json").write_text(json.dumps({"version": 2}), encoding="utf-8")
    assert refusal(capsys, "init", "bad.json") == (
        "agentperf: bad.json: no saved run: expected an object with version 1\n"
    )
    assert not Path("budgets.toml").exists()


def test_check_says_what_a_valid_file_holds(capsys: pytest.CaptureFixture[str]) -> None:
    Path("budgets.toml").write_text(
        "version = 1\n[defaults]\np95 = 1\nmean = 1\n[markers.slow]\np95 = 2\n[tests.a]\np95 = 1\n"
        "[tests.b]\n[environments.ci]\n[prices.m]\ninput = 1\noutput = 2\n",
        encoding="utf-8",
    )
    assert main(["check"]) == 0
    assert capsys.readouterr().out == (
        "budgets.toml: valid: 2 default limits, 1 marker, 2 test patterns, 1 environment, 1 price\n"
    )


def test_check_says_that_a_file_holds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Path("b.toml").write_text("version = 1", encoding="utf-8")
    assert main(["check", "b.toml"]) == 0
    assert capsys.readouterr().out == "b.toml: valid: no limits yet\n"


def test_check_lists_all_that_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    Path("b.toml").write_text("version = 1\n[defaults]\nlatncy = 1\np95 = '5m'", encoding="utf-8")
    assert refusal(capsys, "check", "b.toml").splitlines() == [
        "agentperf: b.toml: defaults.latncy: unknown metric 'latncy'; did you mean 'latency'?",
        (
            "b.toml: defaults.p95: '5m': unknown unit 'm' (minutes or milliseconds?);"
            " expected min or ms"
        ),
    ]


def test_check_of_a_file_that_cannot_be_read_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, "check") == "agentperf: budgets.toml: No such file or directory\n"
    assert refusal(capsys, "check", str(tmp_path)) == f"agentperf: {tmp_path}: Is a directory\n"


def test_error_of_the_system_without_a_file_is_shown_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*args: object) -> None:
        raise OSError("disk on fire")

    save_run(cached(tmp_path))
    monkeypatch.setattr("pytest_agentperf.cli.write_text", refuse)
    assert refusal(capsys, "init") == "agentperf: disk on fire\n"


def keep(test: str, *medians: float, refused: bool = False, environment: str = "CPU") -> None:
    """Add runs of *test* to a baseline, accepted or *refused* ones."""
    baseline = Baseline(Path("perf-baseline"), environment)
    for median in medians:
        entries = {test: Entry(Run(median, 20), "2026-01-02T03:04:05Z", "a1b2")}
        baseline.append({} if refused else entries, entries if refused else {})


def test_history_shows_every_test_of_every_environment(capsys: pytest.CaptureFixture[str]) -> None:
    keep("t.py::a", 0.01, 0.02)
    keep("t.py::b", 0.01, environment="GPU")
    assert main(["history"]) == 0
    blocks = {text.splitlines()[0]: text for text in capsys.readouterr().out.split("\n\n")}
    assert set(blocks) == {"CPU", "GPU"}
    assert "     2     20 ms  +100 %  ▁█         a1b2       t.py::a" in blocks["CPU"]
    assert "t.py::b" in blocks["GPU"]


def test_history_of_a_test_shows_its_runs(capsys: pytest.CaptureFixture[str]) -> None:
    keep("t.py::a", 0.01)
    keep("t.py::a", 0.02, refused=True)
    keep("t.py::b", 0.01, environment="GPU")
    assert main(["history", "t.py::a"]) == 0
    out = capsys.readouterr().out
    assert "a1b2           20     20 ms  regressed" in out
    assert "GPU" not in out


def test_accept_takes_the_runs_that_regressed(capsys: pytest.CaptureFixture[str]) -> None:
    keep("t.py::a", *[0.01] * 9)
    keep("t.py::a", *[0.02] * 5, refused=True)
    keep("t.py::a", 0.01, environment="GPU")
    assert main(["accept", "t.py::a"]) == 0
    assert sorted(capsys.readouterr().out.splitlines()) == [
        "t.py::a: 5 runs taken over (CPU)",
        "t.py::a: begins anew, new until there are 5 (GPU)",
    ]
    history = Baseline(Path("perf-baseline"), "CPU").history()
    assert [run.median for run in history["t.py::a"]] == [0.02] * 5


@pytest.mark.parametrize("command", [["accept", "t.py::test_b"], ["history", "t.py::test_b"]])
def test_unknown_test_or_baseline_is_refused(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, *command, "--baseline", "kept") == (
        "agentperf: kept: no baseline; pytest --perf-baseline kept --perf-update-baseline begins"
        " one\n"
    )
    keep("t.py::test_a", 0.01)
    assert refusal(capsys, *command) == (
        "agentperf: unknown test of perf-baseline 't.py::test_b'; did you mean 't.py::test_a'?\n"
    )


def save_times(name: str, **medians: float) -> None:
    """Write a run of tests with these medians to *name*."""
    records = [
        PerfRecord(
            test, [], [], 0, runs={test: Run(median, 20, counts={"llm_calls": Count(1, 1, 1)})}
        )
        for test, median in medians.items()
    ]
    write_run(Path(name), WholeRun(records))


def test_compare_exits_with_1_where_a_test_regressed(capsys: pytest.CaptureFixture[str]) -> None:
    save_times("a.json", same=0.01, slower=0.01)
    save_times("b.json", same=0.01, slower=0.03)
    assert main(["compare", "a.json", "b.json"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("regressed: slower: latency median 10 ms → 30 ms, +200 % (95 % CI ")
    assert "1 pair × 20 calls" in lines[0]
    assert lines[1].startswith("undecided: same: latency median 10 ms → 10 ms, +0.0 %")
    assert lines[2] == "against a.json: 1 regressed, 1 undecided"
    assert main(["compare", "b.json", "a.json"]) == 0


def test_compare_names_a_shift_that_all_tests_share(capsys: pytest.CaptureFixture[str]) -> None:
    names = "abcde"
    save_times("a.json", **dict.fromkeys(names, 0.010))
    save_times("b.json", **dict.fromkeys(names, 0.011))
    assert main(["compare", "a.json", "b.json"]) == 0
    *_, note, _totals = capsys.readouterr().out.splitlines()
    assert note == "note: all 5 tests +10 %: machine or a shared dependency"


def test_compare_refuses_a_run_without_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_run(tmp_path / "a.json")
    assert refusal(capsys, "compare", "a.json", "a.json") == (
        "agentperf: a.json: holds no runs; save them by pytest --perf-report json=PATH, without"
        " --perf-quick\n"
    )


@pytest.mark.parametrize("arguments", [[], ["paint"], ["check", "a", "b"]])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: agentperf" in capsys.readouterr().err


def test_arguments_are_those_of_the_process_where_none_are_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["agentperf", "check", "none.toml"])
    assert main() == 1
    assert "none.toml: No such file" in capsys.readouterr().err
