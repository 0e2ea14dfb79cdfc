"""The gate against a revision, on real repositories and with real processes."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from tests.plugin.conftest import Project, shown
from tests.plugin.gates import TOOLS, Repository, git, wait_for

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def repository(project: Project, monkeypatch: pytest.MonkeyPatch) -> Repository:
    return Repository(project, monkeypatch)


def test_regression_fails_that_very_test_and_nothing_else_does(repository: Repository) -> None:
    repository.agents(2)
    repository.write(
        "test_it.py",
        """
        import agents, pathlib
        def test_tools(perf_timer):
            agents.counted(perf_timer, agents.WANTED)
        def test_same(perf_timer):
            agents.counted(perf_timer, 3)
        def test_body_changed(perf_timer):
            agents.counted(perf_timer, 1)
        def test_gone(perf_timer):
            agents.counted(perf_timer, 1)
        def test_broken_before(perf_timer):
            agents.counted(perf_timer, 1)
            if agents.WANTED == 2:
                raise Few
        class Few(Exception):
            pass
        def test_plain():
            with open("plain.txt", "a") as file:
                file.write("x")
        """,
    )
    repository.commit()
    # None of what follows is committed.
    repository.agents(4)
    text = (repository.path / "test_it.py").read_text()
    text = text.replace("def test_gone", "def test_new")
    text = text.replace(
        "changed(perf_timer):\n    agents.counted(perf_timer, 1)",
        "changed(perf_timer):\n    agents.counted(perf_timer, 9)",
    )
    (repository.path / "test_it.py").write_text(text)
    result = repository.run("--junitxml=junit.xml", "-v")
    result.assert_outcomes(failed=1, passed=5)
    assert result.ret == 1
    output = shown(result)
    assert (
        "FAILED test_it.py::test_tools - Failed: regressed: tool calls 2 → 4, +100 % (exact)"
        in output
    )
    section = [line for line in result.outlines if "test_it.py::" in line]
    for line in (
        "new: test_it.py::test_new: the base does not have it",
        "gone: test_it.py::test_gone: the base has it and this run does not",
        "not comparable: test_it.py::test_body_changed: the test or its input changed",
        "not comparable: test_it.py::test_broken_before: it failed (test_it.Few) on the base",
    ):
        assert line in section
    # Only measured tests were run on both sides.
    assert (repository.path / "plain.txt").read_text() == "x"
    records = repository.project.records()
    (compared,) = records["test_tools"]["comparisons"]
    assert compared["outcome"] == "regressed"
    assert compared["pairs"] == 2
    assert [one["outcome"] for one in records["test_new"]["comparisons"]] == ["new"]
    found = {
        one.attrib["name"]: one.attrib["value"]
        for one in repository.project.junit().iter("property")
    }
    assert found["agentperf.regression"]
    assert float(found["agentperf.latency_ratio"]) > 0
    assert repository.worktrees == []


def test_slower_calls_fail_their_test(repository: Repository) -> None:
    source = """
        import time
        def ask(seconds={seconds}):
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                pass
    """
    repository.write("agents.py", source.replace("{seconds}", "0.0005"))
    repository.write(
        "test_it.py",
        """
        import agents
        def test_ask(perf_timer):
            perf_timer["plan"](agents.ask)
        """,
    )
    repository.commit()
    repository.write("agents.py", source.replace("{seconds}", "0.002"))
    result = repository.run(pairs=5)
    result.assert_outcomes(failed=1)
    (line,) = [line for line in result.outlines if line.startswith("regressed (plan): ")]
    assert "5 pairs × 20 calls" in line
    commit = git(repository.path, "rev-parse", "HEAD")[:7]
    assert line.endswith(f"; base HEAD@{commit}")
    progress = [line for line in result.outlines if line.startswith("agentperf: against HEAD@")]
    assert "1 test, 5 pairs of base and head: 210 calls, about" in progress[0]
    assert progress[-1].endswith("pair 5 of 5")
    assert "left" in progress[1]


def test_workers_fail_the_tests_that_regressed(repository: Repository) -> None:
    repository.agents(2)
    repository.write("test_it.py", TOOLS + "    def test_other():\n        pass\n")
    repository.commit()
    repository.agents(4)
    result = repository.run("-pxdist", "-n2")
    result.assert_outcomes(failed=1, passed=1)
    assert "regressed: tool calls 2 → 4, +100 % (exact)" in shown(result)
    assert "against base HEAD@" in shown(result)
    result = repository.run("-pxdist", "-n2", "--perf-against=nowhere")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--perf-against nowhere: no such revision" in shown(result)


def test_regressions_only_warn_where_that_is_asked_for(repository: Repository) -> None:
    repository.agents(2)
    repository.write("test_it.py", TOOLS)
    repository.commit()
    repository.agents(4)
    result = repository.run("--perf-regressions=warn")
    result.assert_outcomes(passed=1)
    assert "regressed: test_it.py::test_tools: tool calls 2 → 4" in shown(result)
    file = repository.project.budgets('[regression]\ntolerance = "150%"\n')
    result = repository.run(file)
    result.assert_outcomes(passed=1)
    assert "regressed" not in shown(result)
    result = repository.run("--perf-regressions=off")
    result.assert_outcomes(passed=1)
    assert "HEAD@" not in shown(result)


def test_part_of_a_project_below_the_top_is_compared_with_its_own_base(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = "my part/src"
    repository.agents(2, f"{part}/agents.py")
    repository.write("my part/pytest.ini", "[pytest]\naddopts = -x\n")
    repository.write("my part/tests/test_it.py", TOOLS)
    repository.write("my part/tests/test_else.py", TOOLS)
    repository.write(".gitmodules", "")
    repository.commit()
    repository.agents(4, f"{part}/agents.py")
    repository.write("my part/tests/test_young.py", TOOLS)
    # As an editable install would have it: the head's folder, by its absolute path.
    monkeypatch.setenv("PYTHONPATH", f"{repository.path / part}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.chdir(repository.path / "my part")
    result = repository.run(
        "tests/test_it.py::test_tools", "tests/test_young.py", "-k", "tools", "--maxfail=5"
    )
    result.assert_outcomes(failed=1, passed=1)
    output = shown(result)
    assert "rootdir: " + str(repository.path / "my part") in output
    assert "regressed: tests/test_it.py::test_tools: tool calls 2 → 4" in output
    assert "1 regressed, 1 new" in output
    assert "note: the base has submodules, which were not checked out there" in output
    assert "test_else" not in output
    assert "gone" not in output


def test_base_that_cannot_be_imported_is_a_broken_gate(repository: Repository) -> None:
    repository.write("test_it.py", "import nothing_of_the_kind")
    repository.commit()
    repository.agents(1)
    repository.write("test_it.py", TOOLS)
    result = repository.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    output = shown(result)
    assert "ended with status 2 instead of measuring; it printed:" in output
    assert "No module named 'nothing_of_the_kind'" in output
    assert repository.worktrees == []


def test_base_that_imports_the_head_is_a_broken_gate(repository: Repository) -> None:
    repository.agents(2, "src/agents.py")
    repository.write("test_it.py", TOOLS)
    repository.write(
        "conftest.py", f"import sys\nsys.path.insert(0, {str(repository.path / 'src')!r})"
    )
    repository.commit()
    repository.agents(4, "src/agents.py")
    result = repository.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "imported code of the head" in shown(result)
    assert "src/agents.py" in shown(result)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--perf-against=nowhere", "--perf-against nowhere: no such revision"),
        ("--perf-max-time=1ms", "which is beyond --perf-max-time 1 ms; raise it"),
        ("--perf-pairs=1", "perf_pairs: got '1'; expected a whole number of 2 or more"),
        ("--perf-max-time=soon", "'soon': expected a time"),
        ("--perf-regressions=maybe", "perf_regressions: got 'maybe'; expected fail, warn, off"),
        ("--perf-base-python=/nowhere/python", "/nowhere/python could not be run"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    repository: Repository, option: str, sentence: str
) -> None:
    repository.agents(2)
    repository.write("test_it.py", TOOLS)
    repository.commit()
    result = repository.run(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert sentence in shown(result)
    assert repository.worktrees == []


def test_interrupted_gate_leaves_nothing_behind(repository: Repository) -> None:
    begun = repository.path / "begun"
    repository.write(
        "test_it.py",
        f"""
        import pathlib, time
        def test_slow(perf_timer):
            pathlib.Path({str(begun)!r}).touch()
            time.sleep(60)
        """,
    )
    repository.commit()
    command = [sys.executable, "-m", "pytest", "-ppytest_agentperf.plugin", "--perf-against=HEAD"]
    with subprocess.Popen(command, cwd=repository.path, stdout=subprocess.PIPE) as process:
        wait_for(begun)
        assert len(repository.worktrees) == 1
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert repository.worktrees == []


def test_no_duet_is_run_where_no_test_would_be(repository: Repository) -> None:
    repository.agents(2)
    repository.write("test_it.py", TOOLS)
    repository.write("test_plain.py", "def test_plain():\n    pass\n")
    repository.commit()
    for arguments in (["--collect-only"], ["test_plain.py"], ["--perf-quick"], ["--setup-plan"]):
        result = repository.run(*arguments)
        assert result.ret == 0
        assert "HEAD@" not in shown(result)
