"""What GitHub is told: the summary of the job, and annotations."""

from pathlib import Path

import pytest

from tests.plugin.conftest import Project, shown

TESTS = """
    @pytest.mark.perf_budget(latency="60s")
    def test_passed():
        pass
    @pytest.mark.perf_budget(latency="1ms")
    def test_failed():
        nap()
    @pytest.mark.perf_budget(tokens_per_call=5)
    def test_undecided(perf_timer):
        perf_timer(answer)
"""


@pytest.fixture
def actions(monkeypatch: pytest.MonkeyPatch, project: Project) -> Path:
    """Return the file of the job summary, with an environment as GitHub's."""
    summary = project.path / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    return summary


def annotations(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.startswith("::")]


@pytest.mark.parametrize("flags", [(), ("-q",), ("-qq",), ("-v",), ("-pno:terminal",)])
@pytest.mark.usefixtures("actions")
def test_annotations_stand_at_the_start_of_lines(project: Project, flags: tuple[str, ...]) -> None:
    project.tests(TESTS)
    lines = annotations(project.run(*flags))
    assert [line.partition(" ")[0] for line in lines] == ["::error", "::warning"]
    place = f"file=test_it.py,line={project.line_of('1ms')}"  # of the marker
    assert lines[0].startswith(f"::error {place},title=failed%3A test_it.py%3A%3Atest_failed::")
    assert "title=undecided%3A test_it.py%3A%3Atest_undecided::tokens per call is " in lines[1]


@pytest.mark.parametrize("value", [None, "false", ""])
def test_annotations_are_for_github_alone(
    project: Project, actions: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    project.tests(TESTS)
    if value is None:
        monkeypatch.delenv("GITHUB_ACTIONS")
    else:
        monkeypatch.setenv("GITHUB_ACTIONS", value)
    assert annotations(project.run()) == []


@pytest.mark.usefixtures("actions")
def test_annotations_of_a_run_that_passed_are_none(project: Project) -> None:
    project.tests(TESTS)
    assert annotations(project.run("-k", "test_passed")) == []


def test_annotations_name_files_from_the_top_of_the_repository(
    project: Project, actions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.path.parent))
    project.tests(TESTS)
    line = annotations(project.run())[0]
    assert line.startswith(f"::error file={project.path.name}/test_it.py,line=")


def test_summary_is_appended(project: Project, actions: Path) -> None:
    project.tests(TESTS)
    project.run()
    project.run("-k", "test_passed")
    text = actions.read_text(encoding="utf-8")
    assert text.startswith("before\n\n<!-- pytest-agentperf -->\n")
    assert text.count("<!-- pytest-agentperf -->") == 2
    assert "### ❌ 1 of 3 budgets exceeded, 1 undecided" in text
    assert "### ✅ 1 budget kept" in text


def test_summary_is_for_measured_tests(project: Project, actions: Path) -> None:
    project.tests("def test_x(): pass")
    project.run()
    project.run("--perf-report=json=a.out")
    assert actions.read_text(encoding="utf-8") == "before\n"


def test_summary_that_cannot_be_written_is_one_line(
    project: Project, actions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path))
    project.tests(TESTS)
    result = project.run("-k", "test_passed")
    assert result.ret == 0
    assert shown(result).count("the job summary could not be written: Is a directory") == 1


def test_each_can_be_switched_off(project: Project, actions: Path) -> None:
    project.tests(TESTS)
    off = {name: f"-operf_github_{name}=false" for name in ("summary", "annotations")}
    assert annotations(project.run(off["annotations"])) == []
    assert "budgets exceeded" in actions.read_text(encoding="utf-8")
    actions.write_text("", encoding="utf-8")
    assert len(annotations(project.run(off["summary"]))) == 2
    assert actions.read_text(encoding="utf-8") == ""


def test_controller_of_xdist_alone_tells(project: Project, actions: Path) -> None:
    project.tests(TESTS)
    lines = annotations(project.run_with_workers())
    assert [line.partition(" ")[0] for line in lines] == ["::error", "::warning"]
    assert actions.read_text(encoding="utf-8").count("<!-- pytest-agentperf -->") == 1
