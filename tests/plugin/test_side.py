"""One side of a duet: a run of pytest that measures and judges nothing."""

from pathlib import Path
from typing import Any

import pytest

from pytest_agentperf.gate import SIDE_VARIABLE
from pytest_agentperf.gate.job import Job, SideReport, read_report, write_job
from tests.plugin.conftest import Project, shown

TESTS = """
    def test_rounds(perf_timer):
        perf_timer(answer)
    @pytest.mark.perf_budget(p99="1s")
    def test_percentile(perf_timer):
        perf_timer["plan"](answer)
    @pytest.mark.perf(rounds=3, warmup=2)
    def test_stated(perf_timer):
        perf_timer(answer)
    @pytest.mark.perf_budget(latency="1ns", tokens_per_call=7)
    def test_budgets_that_fail():
        nap()
    @pytest.mark.perf(rounds=2)
    def test_body():
        pass
    def test_plain():
        raise AssertionError("this is not measured")
"""


def run_side(
    project: Project, monkeypatch: pytest.MonkeyPatch, *arguments: str, **job: Any
) -> tuple[pytest.RunResult, SideReport]:
    report = project.path / "report.json"
    known: dict[str, Any] = {"is_probe": False, "only": None, "wants_cost": False}
    write_job(project.path / "job.json", Job(str(report), **(known | job)))
    monkeypatch.setenv(SIDE_VARIABLE, str(project.path / "job.json"))
    result = project.run(*arguments)
    return result, read_report(report)


def calls(report: SideReport) -> dict[str, int]:
    return {name.partition("::")[2]: run.calls for name, run in report.runs.items()}


def test_side_makes_20_calls_or_more_and_judges_no_budget(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.tests(TESTS)
    result, report = run_side(project, monkeypatch)
    result.assert_outcomes(passed=5, deselected=1)
    assert calls(report) == {
        "test_rounds": 20,
        "test_percentile#plan": 100,
        "test_stated": 20,
        "test_budgets_that_fail": 1,  # a body that is run once may not bear more
        "test_body": 20,
    }
    assert report.unmeasured == {}
    assert {len(run.body) for run in report.runs.values()} == {16}
    assert all(run.environment.endswith(" 1 worker") for run in report.runs.values())


def test_probe_makes_every_call_once_and_tells_what_is_planned(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.tests(TESTS)
    _, report = run_side(project, monkeypatch, is_probe=True)
    assert set(calls(report).values()) == {1}
    planned = {name.partition("::")[2]: number for name, number in report.planned.items()}
    assert planned == {
        "test_rounds": 21,
        "test_percentile#plan": 101,
        "test_stated": 22,
        "test_budgets_that_fail": 1,
        "test_body": 20,
    }


def test_side_runs_only_the_tests_of_its_job(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.tests(TESTS)
    result, report = run_side(project, monkeypatch, only=("test_it.py::test_body", "gone"))
    result.assert_outcomes(passed=1, deselected=5)
    assert calls(report) == {"test_body": 20}


def test_side_tells_why_a_test_has_no_run(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.tests("""
        @pytest.fixture
        def broken():
            raise OSError("down")
        def test_setup(perf_timer, broken):
            pass
        def test_raises(perf_timer):
            perf_timer(answer)
            raise ValueError("a\\nb")
        def test_skipped(perf_timer):
            pytest.skip("no")
        @pytest.mark.xfail
        def test_expected(perf_timer):
            perf_timer(answer)
            raise ValueError
        def test_fails(perf_timer):
            pytest.fail("it is so", pytrace=False)
        def test_unawaited(perf_timer):
            perf_timer(ask)
        def test_nothing(perf_timer):
            pass
        tries = []
        @pytest.mark.flaky(reruns=1)
        def test_flaky(perf_timer):
            tries.append(1)
            assert len(tries) > 1
            perf_timer(answer)
    """)
    _, report = run_side(project, monkeypatch)
    found = {name.partition("::")[2]: why for name, why in report.unmeasured.items()}
    assert found.pop("test_unawaited").startswith("failed (perf_timer(ask) was never awaited")
    assert found == {
        "test_setup": "failed (OSError: down)",
        "test_raises": "failed (ValueError: a)",
        "test_skipped": "was skipped",
        "test_expected": "was skipped",
        "test_fails": "failed (it is so)",
    }
    assert calls(report) == {"test_flaky": 20}


def test_side_leaves_out_what_the_ordinary_run_does_with_its_results(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.tests(TESTS)
    budgets = project.budgets('[tests."nowhere.py"]\nlatency = "1s"\n')
    options = ("--junitxml=junit.xml", "-x", "--pdb", "--perf-strict", "--perf-quick", "--lf")
    result, report = run_side(
        project, monkeypatch, budgets, *options, "--perf-profiler=cprofile", "--perf-against=none"
    )
    result.assert_outcomes(passed=5, deselected=1)
    assert len(report.runs) == 5
    assert not (project.path / "junit.xml").exists()
    assert not list(project.path.glob("**/profiles"))


def test_side_is_one_for_its_own_process_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.tests(f"""
        def test_child(perf_timer):
            assert {SIDE_VARIABLE!r} not in os.environ
            perf_timer(answer)
    """)
    result, _ = run_side(project, monkeypatch)
    result.assert_outcomes(passed=1)


def test_side_tells_which_code_it_must_not_have_imported(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("other/agents.py", "")
    project.write("other/lib/site-packages/installed.py", "")
    project.tests("""
        import sys
        sys.path[:0] = ["other", "other/lib/site-packages"]
        import agents, installed
        def test_x(perf_timer):
            perf_timer(answer)
    """)
    _, report = run_side(project, monkeypatch, foreign=str(project.path / "other"))
    assert [Path(file).name for file in report.foreign] == ["agents.py"]


def test_side_counts_dollars_where_they_are_bounded(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.tests("""
        def reply():
            return {"model": "m", "usage": {"prompt_tokens": 1000, "completion_tokens": 0}}
        def test_priced(perf_timer):
            perf_timer(reply)
        def test_unpriced(perf_timer):
            perf_timer.configure(cost=lambda reply: None)
            perf_timer(reply)
    """)
    budgets = project.budgets("[prices.m]\ninput = 2.0\noutput = 4.0\n")
    result, report = run_side(project, monkeypatch, budgets, wants_cost=True)
    assert result.ret == 0, shown(result)
    assert report.runs["test_it.py::test_priced"].counts["cost_per_call"].mean == 0.002
    assert report.unpriced == ("test_it.py::test_unpriced",)
