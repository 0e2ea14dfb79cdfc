"""Profiles: `--perf-profiler` calls what is timed once more, and keeps what the profiler writes."""

import pstats
from pathlib import Path
from typing import Any

import pytest

from .conftest import Project

AGENT = """
    import asyncio, zlib, pytest
    calls = []
    def ask(text="q"):
        calls.append(text)
        return zlib.compressobj(), bytearray(3_000_000)
    async def think():
        calls.append("think")
        await asyncio.sleep(0)
        return slow_step()
    def slow_step():
        return sum(range(200_000))
"""


def profiles_of(measurement: dict[str, Any]) -> dict[str, Path]:
    return {name: Path(path) for name, path in measurement["profiles"].items()}


def test_profile_is_of_one_more_call_that_is_not_timed(project: Project) -> None:
    project.tests(
        AGENT
        + """
    @pytest.mark.perf(rounds=3, warmup=0)
    def test_sync(perf_timer):
        perf_timer(ask)
        assert len(calls) == 4
    @pytest.mark.asyncio
    @pytest.mark.perf(rounds=2, warmup=0)
    async def test_async(perf_timer):
        await perf_timer(think)
        assert calls.count("think") == 3
    """
    )
    project.run("--perf-profiler=cprofile").assert_outcomes(passed=2)
    assert project.calls() == {"test_sync": [3], "test_async": [2]}
    stats: Any = pstats.Stats(str(profiles_of(project.measurement("test_async"))["cprofile"]))
    timed = {name: calls for (_, _, name), (calls, *_) in stats.stats.items()}
    assert timed["slow_step"] == 1
    assert profiles_of(project.measurement("test_sync"))["cprofile"].name.startswith(
        "test_it.py_test_sync-"
    )


def test_each_label_has_a_profile_of_its_own(project: Project) -> None:
    project.tests(
        AGENT
        + """
    def test_x(perf_timer):
        perf_timer["a"](ask)
        perf_timer["b"](slow_step)
    """
    )
    project.run("--perf-profiler=cprofile").assert_outcomes(passed=1)
    files = {profiles_of(project.measurement("", label))["cprofile"] for label in "ab"}
    assert len(files) == 2
    assert all(file.is_file() for file in files)


def test_memray_names_what_c_code_allocates(project: Project) -> None:
    pytest.importorskip("memray")
    project.tests(
        AGENT
        + """
    @pytest.mark.perf_budget(memory_peak="10MB")
    def test_x(perf_timer):
        perf_timer(ask)
    """
    )
    result = project.run_apart("--perf-profiler=memray")
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"\[\d\] memray: 3 MB once by .*bytearray.* at test_it.py:\d+"])
    assert profiles_of(project.measurement())["memray"].suffix == ".bin"


def test_pyinstrument_writes_a_page(project: Project) -> None:
    pytest.importorskip("pyinstrument")
    project.tests(
        AGENT
        + """
    @pytest.mark.asyncio
    async def test_x(perf_timer):
        await perf_timer(think)
    """
    )
    project.run_apart("--perf-profiler=pyinstrument").assert_outcomes(passed=1)
    assert "<html" in profiles_of(project.measurement())["pyinstrument"].read_text()


def test_only_profiles_of_failed_tests_are_kept_where_asked_for(project: Project) -> None:
    project.tests(
        AGENT
        + """
    def test_good(perf_timer):
        perf_timer(ask)
    def test_bad(perf_timer):
        perf_timer(ask)
        assert False
    @pytest.mark.perf_budget(latency="1ns")
    def test_slow(perf_timer):
        perf_timer(ask)
    class Session: pass
    def test_held(perf_timer, perf_memory):
        calls.append(perf_memory.collected(Session()))
        perf_timer(ask)
    """
    )
    project.run("--perf-profiler=cprofile", "--perf-profiler-failed").assert_outcomes(
        passed=1, failed=3
    )
    kept = sorted(file.name for file in project.last_run.parent.glob("profiles/*"))
    assert [name.partition("-")[0] for name in kept] == [
        "test_it.py_test_bad",
        "test_it.py_test_held",
        "test_it.py_test_slow",
    ]
    assert project.measurement("test_good")["profiles"] == {}


def test_body_that_is_timed_in_its_one_run_is_not_profiled(project: Project) -> None:
    project.tests(
        AGENT
        + """
    @pytest.mark.perf_budget(latency="5s")
    def test_once():
        ask()
        assert len(calls) == 1
    @pytest.mark.perf_budget(latency="5s")
    @pytest.mark.perf(rerun=True)
    def test_twice():
        slow_step()
    """
    )
    result = project.run("--perf-profiler=cprofile")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*cprofile: the body of the test runs once*add*rerun=True*"])
    assert list(profiles_of(project.measurement("test_twice"))) == ["cprofile"]


@pytest.mark.parametrize(
    ("profiler", "start"),
    [
        ("memray", "import memray; other = memray.Tracker('own.bin'); other.__enter__()"),
        ("pyinstrument", "import pyinstrument as p; other = p.Profiler(); other.start()"),
    ],
)
def test_profiler_that_is_at_work_already_is_left_alone(
    project: Project, profiler: str, start: str
) -> None:
    pytest.importorskip(profiler)
    project.tests(
        AGENT
        + f"""
    def test_x(perf_timer):
        {start}
        perf_timer(ask)
        other.__exit__(None, None, None)
    """
    )
    result = project.run_apart(f"--perf-profiler={profiler}")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"*{profiler}: ask was not profiled: *"])


def test_profiles_are_written_under_xdist(project: Project) -> None:
    project.tests(
        AGENT
        + """
    @pytest.mark.parametrize("n", range(4))
    def test_x(perf_timer, n):
        perf_timer(ask)
    """
    )
    project.run_with_workers("--perf-profiler=cprofile").assert_outcomes(passed=4)
    for record in project.records().values():
        assert profiles_of(record["measurements"][0])["cprofile"].is_file()


def test_profiler_that_is_missing_is_told_before_the_tests(project: Project) -> None:
    project.tests("def test_x(): pass")
    (project.path / "conftest.py").write_text("import sys; sys.modules['memray'] = None")
    result = project.run_apart("--perf-profiler=memray")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*needs memray; pip install 'pytest-agentperf?profile?'*"])


def test_profiler_without_a_place_for_its_files_is_told_before_the_tests(project: Project) -> None:
    project.tests("def test_x(perf_timer): pass")
    result = project.run("--perf-profiler=cprofile", "-pno:cacheprovider")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*drop -p no:cacheprovider*"])
