"""The gate with a history and a revision: what the one flags, a duet with the other confirms."""

import json
import shutil
import signal
import subprocess
import sys

import pytest

from pytest_agentperf.judge.baseline import Baseline
from tests.plugin.conftest import Project, shown
from tests.plugin.gates import TOOLS, Repository, kept, make_history, stored, wait_for

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

TESTS = (
    TOOLS
    + """
    def test_other(perf_timer):
        perf_timer(lambda: agents.counted)
    def test_plain():
        pass
"""
)
TEST, OTHER = "test_it.py::test_tools", "test_it.py::test_other"


@pytest.fixture(scope="module")
def known() -> dict[str, str]:
    """Return the history of the tests by the name of its file, once one of them has made it."""
    return {}


@pytest.fixture
def repository(
    project: Project, monkeypatch: pytest.MonkeyPatch, known: dict[str, str]
) -> Repository:
    """Return a project whose tests have a history of ten runs, all of them slow."""
    repository = Repository(project, monkeypatch)
    repository.agents(2)
    repository.write("test_it.py", TESTS)
    repository.commit()
    if not known:
        options = ("-ppytest_agentperf.plugin", "--perf-baseline=perf", "--perf-update-baseline")
        assert project.run_apart(*options).ret == 0
        make_history(project, 10)  # times differ by chance; counts do not
        known[stored(project).name] = stored(project).read_text(encoding="utf-8")
    for name, text in known.items():
        repository.write(f"perf/{name}", text)
    return repository


def compared(repository: Repository, test: str = "test_tools") -> dict[str, object]:
    (found,) = repository.project.records()[test]["comparisons"]
    return dict(found)


def test_flag_that_the_duet_confirms_fails_the_test(repository: Repository) -> None:
    repository.agents(4)
    result = repository.run("--perf-baseline=perf", "--perf-update-baseline")
    result.assert_outcomes(failed=1, passed=2)
    (line,) = [line for line in result.outlines if line.startswith("regressed: tool calls 2 → 4")]
    assert "2 pairs × 20 calls" in line
    assert "; flagged by baseline perf (" in line
    assert "; base HEAD@" in line
    # Of that test alone, and when it has run.
    progress = [line for line in result.outlines if line.startswith("agentperf: ")]
    assert progress
    assert all(line.startswith(f"agentperf: {TEST} against HEAD@") for line in progress)
    assert ": 1 test, 2 pairs" in progress[0]
    assert compared(repository, "test_other")["against"] == "baseline perf"
    assert kept(repository.project) == {TEST: (10, 1), OTHER: (10, 0)}
    assert repository.worktrees == []


def test_flag_that_the_duet_refutes_fails_nothing(repository: Repository) -> None:
    change_history(repository, tool_calls=1)
    result = repository.run("--perf-baseline=perf", TEST, "-k", "tools")
    result.assert_outcomes(passed=1)
    found = compared(repository)
    assert str(found["against"]).startswith("base HEAD@")
    assert found["outcome"] != "regressed"
    assert "flagged by baseline perf" in str(found["sentence"])


def change_history(repository: Repository, tool_calls: int) -> None:
    path = stored(repository.project)
    content = json.loads(path.read_text(encoding="utf-8"))
    for run in content["tests"][TEST]["runs"]:
        run["counts"]["tool_calls"] = [tool_calls] * 3
    path.write_text(json.dumps(content), encoding="utf-8")


def test_worker_of_xdist_confirms_its_own_flags(repository: Repository) -> None:
    path = stored(repository.project)
    text = path.read_text(encoding="utf-8").replace(", 1 worker", ", 2 workers")
    path.unlink()
    environment = json.loads(text)["environment"]
    Baseline(path.parent, environment).path.write_text(text, encoding="utf-8")
    repository.agents(4)
    result = repository.run("--perf-baseline=perf", "-pxdist", "-n2")
    result.assert_outcomes(failed=1, passed=2)
    assert "regressed: tool calls 2 → 4, +100 % (exact)" in shown(result)
    assert "flagged by baseline perf" in shown(result)
    assert repository.worktrees == []


def test_flag_is_undecided_where_no_time_is_left(repository: Repository) -> None:
    repository.agents(4)
    result = repository.run("--perf-baseline=perf", "--perf-max-time=1ms")
    result.assert_outcomes(passed=3)
    found = compared(repository)
    assert found["outcome"] == "undecided"
    assert "not confirmed: --perf-against: 2 pairs" in str(found["sentence"])
    assert "beyond --perf-max-time" in str(found["sentence"])
    strict = repository.run("--perf-baseline=perf", "--perf-max-time=1ms", "--perf-strict")
    strict.assert_outcomes(failed=1, passed=2)


def test_flag_fails_its_test_where_the_base_cannot_be_measured(repository: Repository) -> None:
    repository.write("conftest.py", "import nothing_of_the_kind")
    repository.commit()
    (repository.path / "conftest.py").unlink()
    repository.agents(4)
    result = repository.run("--perf-baseline=perf")
    result.assert_outcomes(failed=1, passed=2)
    assert "instead of measuring; it printed:" in shown(result)
    assert "No module named 'nothing_of_the_kind'" in shown(result)


def test_all_tests_are_compared_with_the_base_until_there_is_a_history(
    repository: Repository,
) -> None:
    make_history(repository.project, 10, runs=4)
    repository.agents(4)
    result = repository.run("--perf-baseline=perf")
    result.assert_outcomes(failed=1, passed=2)
    assert "agentperf: against HEAD@" in shown(result)
    assert ": 2 tests, 2 pairs of base and head" in shown(result)


def test_new_test_is_compared_with_the_base_when_others_have_a_history(
    repository: Repository,
) -> None:
    path = stored(repository.project)
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["tests"][TEST]
    path.write_text(json.dumps(content), encoding="utf-8")
    repository.agents(4)
    result = repository.run("--perf-baseline=perf")
    result.assert_outcomes(failed=1, passed=2)
    assert "regressed: tool calls 2 → 4, +100 % (exact)" in shown(result)


def test_unknown_revision_is_found_before_the_first_test(repository: Repository) -> None:
    result = repository.run("--perf-baseline=perf", "--perf-against=nowhere")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--perf-against nowhere: no such revision" in shown(result)


def test_interrupted_confirmation_leaves_nothing_behind(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)  # which the sides of a duet have
    begun = repository.path / "begun"
    repository.write(
        "test_young.py",
        f"""
        import os, pathlib, time
        def test_young(perf_timer):
            perf_timer(len, "")
            if "PYTHONHASHSEED" in os.environ:
                pathlib.Path({str(begun)!r}).touch()
                time.sleep(60)
        """,
    )
    options = ("-ppytest_agentperf.plugin", "--perf-against=HEAD", "--perf-baseline=perf")
    command = [sys.executable, "-m", "pytest", *options, "test_young.py"]
    with subprocess.Popen(command, cwd=repository.path, stdout=subprocess.PIPE) as process:
        wait_for(begun)
        assert len(repository.worktrees) == 1
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert repository.worktrees == []
