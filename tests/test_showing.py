"""Tests of the commands that show a saved run."""

import json
import os
import pty
import subprocess
import sys
import webbrowser
from pathlib import Path

import pytest

from pytest_agentperf.cli import main
from pytest_agentperf.report.formats import FORMATS, render
from pytest_agentperf.report.runfile import read_run, write_run
from pytest_agentperf.report.terminal import summary_lines
from tests.report.samples import RUN


@pytest.fixture(autouse=True)
def _last_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / ".pytest_cache/d/agentperf/last-run.json", RUN)
    write_run(tmp_path / "run.json", RUN)


def out(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_show_prints_what_the_terminal_showed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.text for line in summary_lines(RUN.records, 0, RUN.lost)]
    lines += [
        "regressed: agents/test_b.py::test_answer: median latency 500 ms is 12 % above 446 ms",
        "against origin/main@a1b2c3d: 1 regressed",
        'warning: budgets.toml: tests."gone" matches no collected test',
    ]
    assert out(capsys, "show").splitlines() == lines
    assert out(capsys, "show", "run.json").splitlines() == lines


def test_show_prints_every_metric_when_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.text for line in summary_lines(RUN.records, 1, RUN.lost)]
    assert out(capsys, "show", "-v").splitlines()[:-3] == lines


def show_on_a_terminal(**environment: str) -> str:
    """Return what `agentperf show` writes to a terminal of 80 columns."""
    program = "import sys; from pytest_agentperf.cli import main; sys.exit(main(['show']))"
    end, other = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", program],
        stdout=other,
        env={**os.environ, "COLUMNS": "80", "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        check=True,
    )
    os.close(other)
    written = b""
    try:
        while part := os.read(end, 65_536):
            written += part
    except OSError:  # what Linux says when the other end is closed
        pass
    os.close(end)
    return written.decode()


def test_show_has_the_colours_and_the_width_of_a_terminal() -> None:
    text = show_on_a_terminal(PYTHONIOENCODING="utf-8")
    assert "\x1b[31mt.py::test_fail\x1b[0m\r\n" in text
    assert "\x1b[32mpassed" in text
    assert "▃▄▄▅▅▇██" in text


def test_show_has_no_colours_and_no_unicode_where_they_are_not_wanted() -> None:
    text = show_on_a_terminal(NO_COLOR="1", PYTHONIOENCODING="ascii")
    assert "\x1b" not in text
    assert ":--==*##" in text
    assert text.isascii()


@pytest.mark.parametrize("name", FORMATS)
def test_report_prints_any_format(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert out(capsys, "report", "run.json", "--format", name) == render(RUN, name)
    assert out(capsys, "report", "--format", name) == render(RUN, name)


def test_report_writes_a_file_and_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = out(capsys, "report", "run.json", "--format", "github-benchmark", "-o", "new/g.json")
    assert told == "new/g.json\n"
    assert len(json.loads((tmp_path / "new/g.json").read_text(encoding="utf-8"))) > 1
    assert (tmp_path / "new/g.json.bigger.json").exists()


def test_report_of_a_report_is_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--format", "json", "-o", "again.json"]) == 0
    assert read_run(tmp_path / "again.json").to_builtin() == RUN.to_builtin()


@pytest.mark.parametrize("output", [[], ["-o", "a.md"]])
def test_report_opens_a_file_in_a_browser(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], output: list[str]
) -> None:
    opened: list[str] = []

    def browse(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", browse)
    told = out(capsys, "report", "--format", "markdown", "--open", *output).strip()
    assert opened == [Path(told).resolve().as_uri()]
    assert Path(told).read_text(encoding="utf-8") == render(RUN, "markdown")


def test_report_without_a_browser_says_where_the_file_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    assert main(["report", "--format", "markdown", "--open", "-o", "a.md"]) == 1
    assert capsys.readouterr().err == (
        "agentperf: a.md: written, but no browser was found; open it yourself\n"
    )


@pytest.mark.parametrize("command", ["show", "report"])
def test_run_that_is_missing_or_broken_is_refused_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, "none.json"]) == 1
    assert capsys.readouterr().err == "agentperf: none.json: No such file or directory\n"
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    assert main([command, "run.json"]) == 1
    assert "run.json: no saved run: expected an object with version 1" in capsys.readouterr().err
    (tmp_path / ".pytest_cache/d/agentperf/last-run.json").unlink()
    assert main([command]) == 1
    assert "agentperf: no run found in .pytest_cache here or above; " in capsys.readouterr().err


def test_report_in_a_format_that_there_is_not_is_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["report", "--format", "pdf"])
    assert caught.value.code == 2
    assert "invalid choice: 'pdf'" in capsys.readouterr().err
