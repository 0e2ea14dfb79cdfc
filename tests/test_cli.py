"""Tests of the command."""

import json
import tomllib
from pathlib import Path

import pytest

from pytest_agentperf.cli import main
from pytest_agentperf.report.record import MeasurementRecord, PerfRecord
from pytest_agentperf.report.run import Run
from pytest_agentperf.report.runfile import write_run


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def save_run(path: Path) -> None:
    """Write a run of two tests to *path*."""
    measurement = MeasurementRecord(None, "ask", 5, 0, {"latency_max": 0.1}, {}, [])
    write_run(path, Run([PerfRecord(f"t.py::{name}", [measurement], [], 0) for name in "ab"]))


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
