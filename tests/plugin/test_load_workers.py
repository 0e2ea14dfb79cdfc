"""Loads that several processes make, in whole runs of pytest, and what is seen of processes."""

import sys

import pytest

from .conftest import Project


def test_what_the_process_does_is_seen_over_the_load(project: Project) -> None:
    project.tests("""
        @pytest.mark.asyncio
        async def test_x(perf_load):
            await perf_load(ask, users=2, requests=10)
    """)
    project.run().assert_outcomes(passed=1)
    curves = project.measurement()["curves"]
    assert {"cpu", "rss", "threads", "files", "tasks", "gc pauses"} <= set(curves)
    assert curves["rss"]["unit"] == "B"
    assert curves["rss"]["axis"] == "seconds"


def test_processes_make_the_load_of_any_test(project: Project) -> None:
    project.tests("""
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        @pytest.mark.perf_budget(error_rate="1%")
        def test_sync(perf_load):
            result = perf_load(ask, "q", users=3, requests=30, workers=2)
            assert (result.calls, result.tally.lost) == (30, ())
        @pytest.mark.asyncio
        async def test_async(perf_load):
            result = await perf_load(nap, users=3, requests=10, workers=2)
            assert (result.calls, result.tally.lost) == (10, ())
        def test_executor(perf_load):
            with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
                assert perf_load(nap, users=2, requests=4, executor=executor).calls == 4
    """)
    result = project.run_apart()
    result.assert_outcomes(passed=3)
    assert project.measurement("test_sync")["calls"] == 30
    curves = project.measurement("test_async")["curves"].keys()
    assert {"cpu (worker 1)", "rss (worker 2)", "load average"} <= curves
    assert "threads" not in curves
    assert project.statuses()["test_sync"] == {"error_rate": "passed"}
    assert "resource_tracker" not in result.stderr.str()


def test_lost_share_leaves_its_budgets_undecided(project: Project) -> None:
    project.tests("""
        def die_in_one():
            time.sleep(0.01)
            try:
                pathlib.Path("seen").touch(exist_ok=False)
            except FileExistsError:
                return
            os._exit(3)
        @pytest.mark.perf_budget(error_rate="1%", latency="10s")
        def test_x(perf_load):
            perf_load(die_in_one, users=2, duration="500ms", workers=2)
    """)
    result = project.run_apart("--perf-strict")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["error rate is undecided at 0 %, budget 1 %: share ? of 2 was lost: BrokenProcessPool:*"]
    )


def test_function_that_cannot_travel_says_what_to_do(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    project.tests("""
        def test_x(perf_load):
            perf_load(lambda: 1, users=2, requests=4, workers=2)
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*LoadError: <lambda> cannot be pickled (*): define it in a module that workers can*"]
    )
    result.stdout.fnmatch_lines(["*or run pip install 'pytest-agentperf[[]dask]', whose *"])


def test_quick_run_calls_once_in_this_process(project: Project) -> None:
    project.tests("""
        seen = []
        def note():
            seen.append(os.getpid())
        def test_x(perf_load):
            perf_load(note, users=2, requests=4, workers=2)
            assert seen == [os.getpid()]
    """)
    project.run("--perf-quick").assert_outcomes(passed=1)
