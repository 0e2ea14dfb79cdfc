"""The files that `--perf-report` names: what is written, where, when, and by whom."""

import json
import os
from pathlib import Path

import pytest

from pytest_agentperf.gate import SIDE_VARIABLE
from pytest_agentperf.gate.job import Job, write_job
from pytest_agentperf.report.formats import FORMATS
from tests.plugin.conftest import Project, shown

TESTS = """
    @pytest.mark.perf_budget(latency="60s")
    def test_passed(perf_timer):
        perf_timer(answer)
    @pytest.mark.perf_budget(latency="1ms")
    def test_failed():
        nap()
"""
PASSED = ("-k", "test_passed")


def refusal(project: Project, *arguments: str) -> str:
    """Return why pytest with *arguments* ends before any test; it may leave nothing behind."""
    before = sorted(project.path.rglob("*.out*"))
    result = project.run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "test_it.py" not in result.stdout.str()
    assert sorted(project.path.rglob("*.out*")) == before
    return shown(result)


def test_help_names_every_format(project: Project) -> None:
    told = " ".join(shown(project.run_apart("--help")).split())
    named = told.partition("FORMAT is ")[2].partition(";")[0].replace(" or ", ", ")
    assert named.replace("- ", "-").split(", ") == [*FORMATS]


def test_every_format_is_written_in_one_run(project: Project) -> None:
    project.tests(TESTS)
    flags = [f"--perf-report={name}=out/{name}" for name in FORMATS]
    assert project.run(*flags).ret == 1
    assert sorted(path.name for path in (project.path / "out").iterdir()) == sorted(FORMATS)
    content = json.loads((project.path / "out/json").read_text(encoding="utf-8"))
    assert [test["nodeid"] for test in content["tests"]] == [
        *("test_it.py::test_passed", "test_it.py::test_failed"),
    ]
    assert content["exit_status"] == 1
    line = project.line_of("60s")
    assert content["places"]["test_it.py::test_passed"] == f"test_it.py:{line}"
    assert "1 worker" in content["environment"]
    assert content["versions"]["pytest"] == pytest.__version__
    text = (project.path / "out/markdown").read_text(encoding="utf-8")
    assert "1 of 2 budgets exceeded" in text


def test_second_file_is_written_where_bigger_is_better_and_else_removed(project: Project) -> None:
    project.tests("""
        def stream():
            yield from "abc"
        def test_stream(perf_timer):
            perf_timer(stream)
        def test_plain(perf_timer):
            perf_timer(answer)
    """)
    flag = "--perf-report=github-benchmark=g.json"
    project.run(flag)
    bigger = project.path / "g.json.bigger.json"
    assert "items per second" in bigger.read_text(encoding="utf-8")
    project.run(flag, "-k", "test_plain")
    assert (project.path / "g.json").exists()
    assert not bigger.exists()


def test_path_counts_from_where_pytest_was_started(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.tests(
        """
        @pytest.mark.perf
        def test_x(monkeypatch, tmp_path):
            os.chdir(tmp_path)
        """,
        name="sub/test_it.py",
    )
    project.ini("perf_report = json=from_ini.out")
    monkeypatch.chdir(project.path / "sub")
    project.run("--rootdir=..", "-c../pytest.ini")
    monkeypatch.chdir(project.path / "sub")
    project.run("--rootdir=..", "-c../pytest.ini", "--perf-report=json=a/b/c/from_flag.out")
    monkeypatch.chdir(project.path)
    found = [str(path.relative_to(project.path)) for path in project.path.rglob("*.out")]
    assert sorted(found) == ["sub/a/b/c/from_flag.out", "sub/from_ini.out"]


def test_ini_file_names_several_and_a_flag_wins_over_all_of_them(project: Project) -> None:
    project.tests(TESTS)
    project.ini("""
        perf_report =
            json=a.out
            markdown=b.out
    """)
    project.run(*PASSED)
    assert sorted(path.name for path in project.path.glob("*.out")) == ["a.out", "b.out"]
    for path in project.path.glob("*.out"):
        path.unlink()
    project.run(*PASSED, "--perf-report=bencher=c.out")
    assert [path.name for path in project.path.glob("*.out")] == ["c.out"]


def test_unknown_format_lists_the_formats(project: Project) -> None:
    project.tests(TESTS)
    said = refusal(project, "--perf-report=pdf=a.out")
    assert (
        "--perf-report pdf=a.out: unknown format 'pdf'; expected one of bencher, github-benchmark,"
        " html, json, markdown, openmetrics, pytest-benchmark"
    ) in said
    assert "did you mean 'markdown'?" in refusal(project, "--perf-report=markdwn=a.out")


@pytest.mark.parametrize("text", ["json", "json=", "=a.out", "a.out"])
def test_report_without_a_format_or_a_path_is_refused(project: Project, text: str) -> None:
    project.tests(TESTS)
    assert f"--perf-report {text}: " in refusal(project, f"--perf-report={text}")


def test_path_that_cannot_be_written_is_refused_before_the_tests(project: Project) -> None:
    project.tests(TESTS)
    (project.path / "folder.out").mkdir()
    project.write("file.out", "")
    os.mkfifo(project.path / "fifo.out")
    for path, reason in (
        ("folder.out", "it is no ordinary file"),
        ("fifo.out", "it is no ordinary file"),
        ("file.out/a.out", "file.out is no folder"),
        ("file.out/new/a.out", "file.out is no folder"),
    ):
        assert f"{reason}; name a file that can be written" in refusal(
            project, f"--perf-report=json={path}"
        )


def test_path_in_a_folder_that_is_not_ours_is_refused_before_the_tests(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.tests(TESTS)
    usual = os.access
    locked = project.path / "locked"
    locked.mkdir()

    def access(path: "str | os.PathLike[str]", mode: int) -> bool:  # root may write anywhere
        return not mode & os.W_OK if Path(path) == locked else usual(path, mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "access", access)
        assert "locked is not writable; " in refusal(project, "--perf-report=json=locked/b/a.out")


def test_path_that_is_named_twice_is_refused(project: Project) -> None:
    project.tests(TESTS)
    said = refusal(project, "--perf-report=json=a.out", "--perf-report=bencher=./b/../a.out")
    assert "a.out: is named twice; give each report its own file" in said


@pytest.mark.parametrize("flag", ["--collect-only", "--help", "--markers", "--fixtures"])
def test_nothing_is_written_where_no_test_runs(project: Project, flag: str) -> None:
    project.tests(TESTS)
    project.run(flag, "--perf-report=json=new/a.out")
    assert not (project.path / "new").exists()


def test_run_without_measured_tests_writes_an_empty_report_over_an_old_one(
    project: Project,
) -> None:
    project.tests("def test_x(): pass")
    project.write("a.out", "old")
    assert project.run("--perf-report=json=a.out").ret == 0
    assert json.loads((project.path / "a.out").read_text(encoding="utf-8"))["tests"] == []


@pytest.mark.parametrize("body", ["raise KeyboardInterrupt", "pytest.exit('enough')"])
def test_run_that_was_interrupted_leaves_the_old_report(project: Project, body: str) -> None:
    project.ini("perf_report = json=a.out")
    project.write("a.out", "old")
    project.tests(f"""
        @pytest.mark.perf
        def test_a():
            pass
        def test_b():
            {body}
    """)
    assert project.interrupted().ret == pytest.ExitCode.INTERRUPTED
    assert (project.path / "a.out").read_text(encoding="utf-8") == "old"


def test_run_whose_tests_are_not_found_leaves_the_old_report(project: Project) -> None:
    project.tests(TESTS)
    project.write("a.out", "old")
    result = project.run("--perf-report=json=a.out", "-k", "nothing")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert (project.path / "a.out").read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize(("test", "ret"), [("test_passed", 4), ("test_failed", 1)])
def test_report_that_cannot_be_written_in_the_end_fails_the_run_and_leaves_the_old_one(
    project: Project, monkeypatch: pytest.MonkeyPatch, test: str, ret: int
) -> None:
    project.tests(TESTS)
    project.write("a.out", "old")
    usual = Path.replace

    def replace(path: Path, target: Path) -> Path:
        if target.name == "a.out":
            raise OSError(28, "No space left on device")
        return usual(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        result = project.run("--perf-report=json=a.out", "--perf-report=json=b.out", "-k", test)
    assert result.ret == ret
    result.stdout.fnmatch_lines(
        ["warning: *a.out: the report could not be written: No space left on device"]
    )
    assert (project.path / "a.out").read_text(encoding="utf-8") == "old"
    assert sorted(path.name for path in project.path.glob("*.out*")) == ["a.out", "b.out"]


@pytest.mark.parametrize("plugin", ["terminal", "cacheprovider"])
def test_report_is_written_without_plugins_of_pytest(project: Project, plugin: str) -> None:
    project.tests(TESTS)
    result = project.run("--perf-report=json=a.out", f"-pno:{plugin}")
    assert result.ret == 1
    content = json.loads((project.path / "a.out").read_text(encoding="utf-8"))
    assert len(content["tests"]) == 2


def test_controller_of_xdist_writes_once_what_its_workers_measured(project: Project) -> None:
    project.tests(
        TESTS
        + """
    @pytest.mark.parametrize("n", range(6))
    def test_many(perf_timer, n):
        perf_timer(answer)
    """
    )
    result = project.run_with_workers("--perf-report=json=a.out", "--perf-report=markdown=b.out")
    assert result.ret == 1
    content = json.loads((project.path / "a.out").read_text(encoding="utf-8"))
    assert len(content["tests"]) == 8
    assert "2 workers" in content["environment"]
    line = project.line_of("1ms")
    assert content["places"]["test_it.py::test_failed"] == f"test_it.py:{line}"
    assert "1 of 2 budgets exceeded" in (project.path / "b.out").read_text(encoding="utf-8")


def test_process_that_a_test_forks_writes_nothing(project: Project) -> None:
    project.write(
        "conftest.py",
        """
        import os, pathlib
        first = os.getpid()

        def pytest_unconfigure():
            if os.getpid() != first:
                seen = pathlib.Path("a.out").exists()
                pathlib.Path("seen").write_text(str(seen))
        """,
    )
    project.tests("""
        def test_x(perf_timer):
            perf_timer(answer)
            if os.fork() == 0:
                pass  # the child goes on and ends as pytest does
            else:
                os.wait()
    """)
    result = project.run_apart("--perf-report=json=a.out", "-Wignore")
    assert result.ret == 0
    assert (project.path / "seen").read_text(encoding="utf-8") == "False"
    assert [path.name for path in project.path.glob("*.out*")] == ["a.out"]


def test_side_of_a_comparison_writes_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.tests(TESTS)
    project.ini("perf_report = json=a.out")
    report = project.path / "report.json"
    write_job(
        project.path / "job.json",
        Job(str(report), is_probe=False, only=None, wants_cost=False),
    )
    monkeypatch.setenv(SIDE_VARIABLE, str(project.path / "job.json"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.out"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = project.run()
    assert report.exists()
    assert list(project.path.glob("*.out*")) == []
    assert "::" not in "".join(line[:2] for line in result.outlines)
