"""Tests of `agentperf bench`."""

import json
import os
import pstats
import signal
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from pytest_agentperf.cli import main
from pytest_agentperf.report.runfile import read_run

CALLEES = """
import asyncio, time

async def ask():
    await asyncio.sleep(0.001)

def nap():
    time.sleep(0.001)

async def fail():
    raise ValueError("no")

calls = []

def flaky():
    calls.append(1)
    if len(calls) % 2:
        raise ValueError("no")

async def hang():
    print("hanging", flush=True)
    await asyncio.sleep(60)

class Agent:
    async def ask(self):
        await asyncio.sleep(0)

agent = Agent()
number = 3
"""

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the current folder, with a module `callees`."""
    (tmp_path / "callees.py").write_text(CALLEES)
    (tmp_path / "broken.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("callees", None)


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    """Return the status of the command, and the lines that it prints."""
    status = main(["bench", *arguments])
    return status, capsys.readouterr().out.splitlines()


def program_of(*arguments: str) -> list[str]:
    """Return the command as a program of its own."""
    code = "import sys; from pytest_agentperf.cli import main; sys.exit(main())"
    return [sys.executable, "-c", code, *arguments]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what the command is refused with."""
    assert main(["bench", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.removeprefix("agentperf: ").strip()


def test_load_is_made_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = bench(capsys, "callees:ask", "--users", "2", "--requests", "20")
    assert status == 0
    assert lines[0].startswith("callees:ask: 20 calls, ")
    assert lines[1].startswith("closed load of 2 users: ")


@pytest.mark.parametrize("target", ["callees:nap", "callees:agent.ask"])
def test_target_may_be_sync_or_a_method(capsys: pytest.CaptureFixture[str], target: str) -> None:
    status, lines = bench(capsys, target, "--requests", "5")
    assert status == 0
    assert lines[0].startswith(f"{target}: 5 calls, ")


def test_one_user_calls_where_nothing_else_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert "closed load of 1 user:" in bench(capsys, "callees:ask", "--requests", "2")[1][1]


def test_rate_is_an_open_load(capsys: pytest.CaptureFixture[str]) -> None:
    _, lines = bench(capsys, "callees:ask", "--rate", "100/s", "--duration", "200ms")
    assert lines[0].startswith("callees:ask: 20 calls, ")


def test_stages_are_told_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    _, lines = bench(capsys, "callees:ask", "--stages", "100ms:2,100ms:4")
    assert [line.partition(":")[0] for line in lines[1:3]] == ["stage 1", "stage 2"]


@pytest.mark.parametrize(
    ("limit", "status", "words"),
    [
        ("error_rate=50%", 0, "passed: error rate was 50 %, budget 50 % (20 calls; --perf-set"),
        ("error_rate=49%", 1, "failed: error rate was 50 %, budget 49 % (20 calls; --perf-set"),
        ("rss_peak=1GB", 0, "passed: rss peak was "),
        ("ttft_p95=1s", 1, "failed: p95 ttft was not measured: "),
    ],
)
def test_budget_of_the_command_line_decides_the_status(
    capsys: pytest.CaptureFixture[str], limit: str, status: int, words: str
) -> None:
    load = ("--users", "2", "--requests", "20")
    found, lines = bench(capsys, "callees:flaky", *load, "--perf-set", limit)
    assert found == status
    assert lines[-1].startswith(words)


@pytest.mark.parametrize(("strict", "status"), [((), 0), (("--perf-strict",), 1)])
def test_undecided_budget_fails_where_it_is_strict(
    capsys: pytest.CaptureFixture[str], strict: tuple[str, ...], status: int
) -> None:
    limits = ("--perf-set", "p99=10s", *strict)  # which 5 calls cannot tell
    found, lines = bench(capsys, "callees:nap", "--requests", "5", *limits)
    assert found == status
    assert lines[-1].startswith("undecided: p99 latency is undecided")


def test_budget_file_holds_by_its_defaults_and_by_the_name_of_the_target(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "budgets.toml").write_text(
        "version = 1\n[defaults]\nrss_peak = '1GB'\n"
        "[tests.'callees:flaky']\nerror_rate = '1%'\n"
        "[environments.rough.tests.'callees:flaky']\nerror_rate = '60%'\n"
    )
    load = ("callees:flaky", "--requests", "6", "--perf-budget", "budgets.toml")
    status, lines = bench(capsys, *load)
    assert status == 1
    assert any('budgets.toml: tests."callees:flaky".error_rate' in line for line in lines)
    assert any(line.startswith("passed: rss peak was ") for line in lines)
    assert bench(capsys, *load, "--perf-env", "rough")[0] == 0


def test_load_of_which_every_call_fails_has_failed(capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = bench(capsys, "callees:fail", "--requests", "5")
    assert status == 1
    assert "5 of 5 calls failed (5 × ValueError), the first with ValueError: no" in lines


def test_report_holds_the_numbers_and_the_curves(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    bench(capsys, "callees:ask", "--requests", "5", "--report", "sub/run.json")
    (record,) = read_run(folder / "sub" / "run.json").records
    (measurement,) = record.measurements
    assert record.nodeid == "callees:ask"
    assert measurement.calls == 5
    assert {"latency_p50", "throughput", "error_rate", "rss_peak"} <= set(measurement.metrics)
    assert {"rss", "cpu", "tasks", "throughput"} <= set(measurement.curves)
    assert json.loads((folder / "sub" / "run.json").read_text())["version"] == 1


@pytest.mark.parametrize(
    ("report", "name", "start"),
    [
        ("load.md", "load.md", "<!-- "),
        ("markdown=load.txt", "load.txt", "<!-- "),
        ("openmetrics=x=y", "x=y", "# "),
        ("a=b", "a=b", "{"),
    ],
)
def test_report_is_written_in_any_format(
    capsys: pytest.CaptureFixture[str], folder: Path, report: str, name: str, start: str
) -> None:
    bench(capsys, "callees:ask", "--requests", "5", "--report", report)
    assert (folder / name).read_text(encoding="utf-8").startswith(start)


def test_processes_make_the_load_together(capsys: pytest.CaptureFixture[str]) -> None:
    load = ("--users", "2", "--requests", "10", "--workers", "2")
    status, lines = bench(capsys, "callees:nap", *load)
    assert status == 0
    assert lines[0].startswith("callees:nap: 10 calls, ")


def test_profile_of_the_processor_is_written(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    options = ("--requests", "5", "--profiler", "cpu", "--output", "x/load.prof")
    status, lines = bench(capsys, "callees:ask", *options)
    assert status == 0
    assert "x/load.prof: the profile by cprofile, beside which calls take longer" in lines
    profile = pstats.Stats(str(folder / "x" / "load.prof"))
    assert any(name == "ask" for _, _, name in profile.stats)  # type: ignore[attr-defined]


def test_profile_that_is_a_page_is_made_by_pyinstrument(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    pytest.importorskip("pyinstrument")
    bench(capsys, "callees:ask", "--requests", "5", "--profiler", "cpu", "--output", "load.html")
    assert "<html" in (folder / "load.html").read_text()


def test_profile_of_memory_is_written_anew(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    memray = pytest.importorskip("memray")
    (folder / "bench.bin").write_text("of an earlier run")
    bench(capsys, "callees:nap", "--requests", "5", "--profiler", "memory")
    with memray.FileReader(folder / "bench.bin") as reader:
        assert reader.metadata.total_allocations > 0


REFUSED = [
    ("callees", "'callees': expected module:callable, as in agents:ask"),
    (":ask", "':ask': expected module:callable, as in agents:ask"),
    ("callees:", "'callees:': expected module:callable, as in agents:ask"),
    ("absent:ask", "'absent:ask': absent cannot be imported from *No module named 'absent'"),
    ("broken:ask", "'broken:ask': broken cannot be imported from *: division by zero"),
    ("callees:asc", "unknown attribute in 'callees:asc' 'asc'; did you mean 'ask'?"),
    ("callees:number", "a load got a int; expected a callable and its arguments apart: *"),
    ("callees:ask --users 0", "users=0: expected a whole number from 1 to 100,000"),
    ("callees:ask --users x", "users='x': expected a whole number of 1 or more"),
    ("callees:ask --duration 1m", "'1m': unknown unit 'm' (*); expected min or ms"),
    ("callees:ask --stages 1s:", "stages='1s:': at its end: expected a number of users, or *"),
    ("callees:ask --users 1 --rate 1", "users=1 and rate=1: expected one of users=, rate= and *"),
    ("callees:ask --workers 0", "workers=0: expected a whole number from 1 to 1000"),
    ("callees:ask --perf-set p95", "--perf-set p95: expected METRIC=LIMIT, as in *"),
    ("callees:ask --perf-env ci", "environment 'ci' without a file; give --perf-budget too"),
    ("callees:ask --perf-budget no.toml", "no.toml: No such file or directory"),
    ("callees:ask --report json=", "--report json=: expected a file, as in *"),
    ("callees:ask --output x", "--output is what a profiler writes; add --profiler cpu or memory"),
    ("callees:ask --profiler cpu --workers 2", "--profiler sees this process alone; drop it or *"),
    ("callees:nap --profiler cpu", "--profiler cpu sees the event loop alone, and functions *"),
]


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED)
def test_what_cannot_be_meant_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: str, sentence: str
) -> None:
    assert fnmatchcase(refusal(capsys, *arguments.split()), sentence)


@pytest.mark.parametrize("target", ["load:ask", "load:stream"])
def test_example_runs(target: str) -> None:
    program = program_of("bench", target, "--requests", "2", "--perf-set", "error_rate=0")
    examples = Path(__file__).parent.parent / "examples"
    out = subprocess.check_output(program, cwd=examples, env=ENVIRONMENT, text=True)
    assert out.startswith(f"{target}: 2 calls, ")


def test_interrupted_load_tells_what_it_has_come_to(folder: Path) -> None:
    options = ("--duration", "60s", "--perf-set", "p95=1s", "--report", "run.json")
    program = program_of("bench", "callees:hang", *options)
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as bench:
        assert bench.stdout is not None
        assert bench.stdout.readline() == "hanging\n"
        bench.send_signal(signal.SIGINT)
        out = bench.stdout.read()
    assert bench.returncode == 130
    assert "callees:hang: 0 calls" in out
    assert "it was interrupted" in out
    assert (folder / "run.json").exists()
