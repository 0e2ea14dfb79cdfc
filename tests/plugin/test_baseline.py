"""Tests of `--perf-baseline` on whole projects."""

import json

import pytest

from tests.plugin.conftest import Project, shown
from tests.plugin.gates import kept, make_history, stored

TESTS = """
    @pytest.mark.perf(rounds=5)
    def test_body():
        nap()
    def test_timed(perf_timer):
        perf_timer["plan"](nap)
    def test_other():
        pass
"""
BODY, PLAN = "test_it.py::test_body", "test_it.py::test_timed#plan"


def begin(project: Project, *args: str) -> None:
    """Run the tests and make their runs a baseline."""
    result = project.run("--perf-baseline=perf", "--perf-update-baseline", *args)
    assert result.ret == 0, shown(result)


def test_slower_test_fails_with_a_sentence_and_no_traceback(project: Project) -> None:
    project.tests(TESTS)
    begin(project)
    make_history(project, 0.1)
    result = project.run("--perf-baseline=perf", "--junitxml=junit.xml")
    assert result.parseoutcomes() == {"passed": 1, "failed": 2}
    assert result.ret == 1
    sentence = "latency median * → *, ×* (95 % CI *, p = *, 10 earlier runs × 5 calls, could *)"
    result.stdout.fnmatch_lines(
        [
            f"regressed: {sentence}; baseline perf",
            f"regressed (plan): {sentence}; baseline perf",
            f"regressed: {BODY}: {sentence}",
            f"regressed: {PLAN}: {sentence}",
            "against baseline perf: 2 regressed",
        ]
    )
    assert "Traceback" not in shown(result)
    names = [one.get("name") for one in project.junit().iter("property")]
    assert {"agentperf.regression", "agentperf.plan.latency_ratio"} <= set(names)
    assert len(list(project.junit().iter("failure"))) == 2
    (comparison,) = project.records()["test_body"]["comparisons"]
    assert comparison["outcome"] == "regressed"
    assert comparison["ratio"] > 5
    assert comparison["against"] == "baseline perf"
    assert kept(project) == {BODY: (10, 0), PLAN: (10, 0)}  # nobody asked to update


def test_test_is_new_until_there_are_five_runs(project: Project) -> None:
    project.tests(TESTS)
    for number in range(1, 5):
        begin(project)
        assert kept(project) == {BODY: (number, 0), PLAN: (number, 0)}
    make_history(project, 0.1, runs=4)
    result = project.run("--perf-baseline=perf")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["against baseline perf: 2 new"])
    make_history(project, 0.1, runs=5)
    assert project.run("--perf-baseline=perf").ret == 1


def test_faster_test_passes_and_is_listed(project: Project) -> None:
    project.tests(TESTS)
    begin(project)
    make_history(project, 100)
    result = project.run("--perf-baseline=perf")
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"faster: {BODY}: latency *", "against baseline perf: 2 faster"])


def test_regressed_run_is_put_aside_and_never_absorbed(project: Project) -> None:
    project.tests(TESTS)
    begin(project)
    make_history(project, 0.1)
    result = project.run("--perf-baseline=perf", "--perf-update-baseline")
    assert result.ret == 1
    assert kept(project) == {BODY: (10, 1), PLAN: (10, 1)}
    result.stdout.fnmatch_lines(
        [
            (
                "baseline perf: not updated, since a test failed; 2 regressed and put aside:"
                " agentperf accept TEST takes them"
            )
        ]
    )


def test_regressed_run_is_not_absorbed_where_its_failure_is_expected(project: Project) -> None:
    project.tests("""
        @pytest.mark.xfail
        @pytest.mark.perf(rounds=5)
        def test_body():
            nap()
        @pytest.mark.perf(rounds=5)
        def test_same():
            nap()
    """)
    # The test that is expected to fail and does not keeps the run green all the same.
    begin(project)
    make_history(project, 0.1)
    path = stored(project)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["tests"]["test_it.py::test_same"]["runs"] *= 0
    path.write_text(json.dumps(content), encoding="utf-8")
    result = project.run("--perf-baseline=perf", "--perf-update-baseline")
    assert result.parseoutcomes() == {"passed": 1, "xfailed": 1}
    assert result.ret == 0
    assert kept(project) == {BODY: (10, 1), "test_it.py::test_same": (1, 0)}


def test_failed_run_is_no_history(project: Project) -> None:
    project.tests(TESTS + "    def test_wrong():\n        assert 0\n")
    result = project.run("--perf-baseline=perf", "--perf-update-baseline")
    result.stdout.fnmatch_lines(["baseline perf: not updated, since a test failed"])
    assert not (project.path / "perf").exists()


def test_failed_test_is_not_compared(project: Project) -> None:
    project.tests(TESTS)
    begin(project)
    make_history(project, 0.1)
    project.tests(TESTS.replace("(nap)\n", "(nap)\n        assert 0\n"))
    result = project.run("--perf-baseline=perf")
    assert project.records()["test_timed"]["comparisons"] == []
    assert result.parseoutcomes()["failed"] == 2
    result.stdout.fnmatch_lines(["against baseline perf: 1 regressed"])


def test_count_is_compared_exactly(project: Project) -> None:
    source = """
        def respond():
            nap()
            return {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}
        def test_ask(perf_timer):
            perf_timer(respond)
    """
    project.tests(source)
    begin(project)
    make_history(project, 1)
    project.tests(source.replace(": 4", ": 6"))
    result = project.run("--perf-baseline=perf")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*output tokens per call 4 → 6, +50 % (exact); *; baseline perf"])


def test_test_whose_body_changed_is_not_comparable_unless_that_is_required(
    project: Project,
) -> None:
    project.tests(TESTS)
    begin(project)
    make_history(project, 0.1, body="another")
    result = project.run("--perf-baseline=perf", "-v")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [f"not comparable: {BODY}: the test or its input changed", "*: 2 not comparable"]
    )
    result = project.run("--perf-baseline=perf", "--perf-require-baseline")
    assert result.parseoutcomes() == {"passed": 1, "failed": 2}
    result.stdout.fnmatch_lines(["not comparable: the test or its input changed; baseline perf"])


def test_baseline_under_the_name_of_another_is_refused(project: Project) -> None:
    project.tests(TESTS)
    begin(project)
    path = stored(project)
    content = json.loads(path.read_text(encoding="utf-8")) | {"environment": "elsewhere"}
    path.unlink()
    (path.parent / f"{'a' * 16}.json").write_text(json.dumps(content), encoding="utf-8")
    result = project.run("--perf-baseline=perf")
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["ERROR: --perf-baseline: */aaaaaaaaaaaaaaaa.json: no baseline of *"]
    )


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_broken_baseline_ends_the_run_before_the_first_test(
    project: Project, workers: tuple[str, ...]
) -> None:
    project.tests(TESTS + "    def test_ran():\n        pathlib.Path('ran').touch()\n")
    begin(project, *workers)
    path = stored(project)
    if workers:
        begin(project)  # a valid file, which the controller alone would have read
    path.write_text("{", encoding="utf-8")
    (project.path / "ran").unlink()
    result = project.run("--perf-baseline=perf", "--perf-update-baseline", *workers)
    assert result.ret == 4
    assert f"--perf-baseline: {path}: no baseline: " in result.stderr.str()
    assert "INTERNALERROR" not in shown(result)
    assert not (project.path / "ran").exists()
    assert path.read_text(encoding="utf-8") == "{"


def test_baseline_that_cannot_be_written_is_said_and_ends_with_4(project: Project) -> None:
    project.tests(TESTS + "    def test_block():\n        pathlib.Path('perf').touch()\n")
    result = project.run("--perf-baseline=perf", "--perf-update-baseline")
    assert result.ret == 4
    result.stdout.fnmatch_lines(["the baseline could not be updated: *perf*"])
    assert result.parseoutcomes() == {"passed": 4}


@pytest.mark.parametrize("name", ["update", "require"])
def test_option_without_a_baseline_is_a_mistake(project: Project, name: str) -> None:
    project.tests(TESTS)
    result = project.run(f"--perf-{name}-baseline")
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: --perf-{name}-baseline: which one? give --perf-base*"])


def test_ini_file_names_the_baseline_relative_to_itself(project: Project) -> None:
    project.ini("perf_baseline = kept/perf")
    project.tests(TESTS)
    assert project.run("--perf-update-baseline").ret == 0
    assert stored(project, "kept/perf").is_file()


def test_tolerance_of_the_budget_file_holds(project: Project) -> None:
    project.tests(TESTS)
    begin(project)
    make_history(project, 0.1)
    generous = project.budgets('[regression]\ntolerance = "90000%"')
    assert project.run("--perf-baseline=perf", generous).ret == 0
    strict = project.budgets('[regression]\nnoise_floor = "1s"\n')
    assert project.run("--perf-baseline=perf", strict).ret == 1  # beyond × 1.5 however short


def test_quick_run_is_neither_compared_nor_kept(project: Project) -> None:
    project.tests(TESTS)
    begin(project)
    make_history(project, 0.1)
    result = project.run("--perf-baseline=perf", "--perf-update-baseline", "--perf-quick")
    assert result.ret == 0
    assert kept(project) == {BODY: (10, 0), PLAN: (10, 0)}


def test_test_that_is_absent_keeps_its_runs(project: Project) -> None:
    project.tests(TESTS)
    begin(project)
    begin(project, "-k", "body")
    assert kept(project) == {BODY: (2, 0), PLAN: (1, 0)}


def test_workers_judge_what_the_controller_writes(project: Project) -> None:
    project.tests(TESTS)
    begin(project, "-n2")
    assert kept(project) == {BODY: (1, 0), PLAN: (1, 0)}
    assert "2 workers" in stored(project).read_text(encoding="utf-8")
    make_history(project, 0.1)
    result = project.run("-n2", "--perf-baseline=perf", "--perf-update-baseline")
    assert result.parseoutcomes() == {"passed": 1, "failed": 2}
    assert kept(project) == {BODY: (10, 1), PLAN: (10, 1)}
    result.stdout.fnmatch_lines(["against baseline perf: 2 regressed"])
    # Without workers it is another environment, with a file of its own.
    alone = project.run("--perf-baseline=perf", "--perf-update-baseline")
    assert alone.ret == 0
    alone.stdout.fnmatch_lines(["against baseline perf: 2 other environment"])
    assert len(list((project.path / "perf").glob("*.json"))) == 2


def test_rerun_keeps_the_run_of_the_last_attempt_alone(project: Project) -> None:
    project.tests("""
        attempts = []
        @pytest.mark.flaky(reruns=1)
        @pytest.mark.perf(rounds=2)
        def test_body():
            attempts.append(1)
            nap()
            assert len(attempts) > 1
    """)
    begin(project)
    assert kept(project) == {BODY: (1, 0)}
