"""Reports beside plugins of others that show tests their own way, and read by them."""

import importlib.util
import subprocess
import sys

import pytest

from tests.plugin.conftest import Project, shown

TESTS = """
    @pytest.mark.perf_budget(latency="60s")
    def test_passed(perf_timer):
        perf_timer(nap)
    @pytest.mark.perf_budget(latency="1ms")
    def test_failed():
        nap()
"""
# Each of them acts on all runs of pytest where it is installed, so they have an environment of
# their own: tox -e consumers.
PLUGINS = ("sugar", "rich", "benchmark")


def run_beside(project: Project, plugin: str, *arguments: str) -> pytest.RunResult:
    """Run pytest with *plugin* and none of the other two."""
    if importlib.util.find_spec(f"pytest_{plugin}") is None:
        pytest.skip(f"pytest-{plugin} is not installed")
    others = (f"-pno:{other}" for other in PLUGINS if other != plugin)
    return project.run_apart(*others, *arguments)


@pytest.mark.parametrize("flags", [(), ("-q",), ("-n2",)])
def test_section_and_reports_appear_beside_sugar(
    project: Project, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    project.tests(TESTS)
    result = run_beside(project, "sugar", "--force-sugar", "--perf-report=markdown=a.md", *flags)
    text = shown(result)
    assert "ms > 1 ms" in text
    assert "test_it.py::test_failed" in text
    assert [line[:8] for line in result.outlines if line.startswith("::")] == ["::error "]
    assert "1 of 2 budgets exceeded" in (project.path / "a.md").read_text(encoding="utf-8")


def test_reports_and_annotations_appear_beside_rich(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.md"))
    project.tests(TESTS)
    result = run_beside(project, "rich", "--rich", "--perf-report=markdown=a.md")
    assert result.ret == 1
    for name in ("a.md", "summary.md"):
        assert "1 of 2 budgets exceeded" in (project.path / name).read_text(encoding="utf-8")
    assert [line[:8] for line in result.outlines if line.startswith("::")] == ["::error "]


def test_report_is_read_by_compare_of_pytest_benchmark(project: Project) -> None:
    project.tests(TESTS)
    for name in ("before", "after"):
        run_beside(project, "benchmark", f"--perf-report=pytest-benchmark={name}.json")
    command = [sys.executable, "-m", "pytest_benchmark", "compare", "before.json", "after.json"]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=project.path)
    assert found.stdout.count("test_passed") == 2
    assert found.stdout.count("test_failed") == 2
    assert "Rounds" in found.stdout
    by_column = [*command[:4], "--between=median,ops", *command[4:]]
    found = subprocess.run(by_column, capture_output=True, text=True, check=False, cwd=project.path)
    assert "Traceback" not in found.stderr


def test_report_is_what_pytest_benchmark_compares_a_run_with(project: Project) -> None:
    project.tests("""
        def test_x(benchmark):
            benchmark(answer)
    """)
    project.tests(TESTS, "test_before.py")
    run_beside(
        project, "benchmark", "test_before.py", "--perf-report=pytest-benchmark=.b/0001_a.json"
    )
    result = run_beside(
        project, "benchmark", "test_it.py", "--benchmark-storage=.b", "--benchmark-compare=0001"
    )
    assert result.ret == 0
    assert "INTERNALERROR" not in shown(result)
