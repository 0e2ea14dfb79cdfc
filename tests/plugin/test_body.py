import pytest

from tests.plugin.conftest import Project, shown


def test_body_is_one_call_when_the_test_has_a_budget_and_no_timer(project: Project) -> None:
    project.tests("""
        ran = []
        @pytest.mark.perf_budget(latency="1ms")
        def test_sync():
            ran.append("sync")
            nap()
        @pytest.mark.perf_budget(latency="1ms")
        @pytest.mark.asyncio
        async def test_async():
            ran.append("async")
            await asyncio.sleep(0.005)
        @pytest.mark.perf_budget(latency="60s")
        def test_quick():
            assert ran == ["sync", "async"]
    """)
    result = project.run()
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        [
            "max latency was * ms, budget 1 ms (1 round; marker on test_it.py::test_sync)",
            "max latency was * ms, budget 1 ms (1 round; marker on test_it.py::test_async)",
        ]
    )
    assert project.calls() == {"test_sync": [1], "test_async": [1], "test_quick": [1]}


@pytest.mark.parametrize("mark", ["asyncio", "anyio"])
def test_body_is_repeated_in_the_same_loop_with_the_same_fixtures_when_rounds_are_stated(
    project: Project, mark: str
) -> None:
    project.tests(f"""
        @pytest.fixture
        def anyio_backend():
            return "asyncio"
        made, seen = [], []
        @pytest.fixture
        async def agent():
            made.append(object())
            return made[-1]
        if {mark == "asyncio"}:
            import pytest_asyncio
            @pytest_asyncio.fixture
            async def agent():
                made.append(object())
                return made[-1]
        @pytest.mark.{mark}
        @pytest.mark.perf(rounds=20)
        @pytest.mark.perf_budget(p95="60s")
        async def test_x(agent):
            seen.append((agent, asyncio.get_running_loop()))
            await asyncio.sleep(0)
        def test_y():
            assert len(seen) == 20
            assert len(set(seen)) == 1
            assert [agent for agent, _ in seen[:1]] == made
    """)
    project.run().assert_outcomes(passed=2)
    assert project.calls() == {"test_x": [20]}
    assert project.verdicts() == {"latency_p95": "passed"}


def test_body_is_repeated_under_trio(project: Project) -> None:
    project.tests("""
        import trio
        seen = []
        @pytest.fixture
        def anyio_backend():
            return "trio"
        @pytest.mark.anyio
        @pytest.mark.perf(rounds=20)
        @pytest.mark.perf_budget(p95="60s")
        async def test_x():
            seen.append(trio.lowlevel.current_trio_token())
            await trio.sleep(0)
        def test_y():
            assert len(seen) == 20
            assert len(set(seen)) == 1
    """)
    project.run().assert_outcomes(passed=2)
    assert project.calls() == {"test_x": [20]}


def test_body_is_repeated_with_the_same_fixtures_in_a_sync_test(project: Project) -> None:
    project.tests("""
        seen = []
        @pytest.fixture
        def agent():
            return object()
        @pytest.mark.perf(rounds=3)
        def test_x(agent):
            seen.append(agent)
        def test_y():
            assert len(seen) == 3
            assert len(set(map(id, seen))) == 1
    """)
    project.run().assert_outcomes(passed=2)
    assert project.calls() == {"test_x": [3]}


def test_body_ends_its_rounds_when_one_of_them_fails(project: Project) -> None:
    project.tests("""
        rounds = []
        @pytest.mark.perf(rounds=20)
        @pytest.mark.perf_budget(latency="60s")
        def test_x():
            rounds.append(1)
            assert len(rounds) < 3
        def test_y():
            assert len(rounds) == 3
    """)
    project.run().assert_outcomes(failed=1, passed=1)
    measurement = project.measurement()
    assert (measurement["calls"], measurement["errors"]) == (3, 1)


def test_body_is_not_measured_when_it_times_calls_itself(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="1ms")
        def test_x(perf_timer):
            nap()
            perf_timer["a"](time.perf_counter)
    """)
    project.run()
    assert [one["label"] for one in project.record()["measurements"]] == ["a"]


def test_body_error_rate_is_not_recorded_since_a_test_that_raises_has_failed(
    project: Project,
) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="60s")
        def test_x():
            pass
    """)
    project.run("--perf-set=error_rate=0").assert_outcomes(passed=1)
    assert "error_rate" not in project.measurement()["metrics"]
    assert project.record()["not_applicable"] == 1


def test_body_with_a_percentile_in_its_marker_is_a_usage_error_that_names_both_cures(
    project: Project,
) -> None:
    project.tests("""
        pathlib.Path("imported").touch()
        @pytest.mark.perf_budget(p95="200ms")
        def test_x():
            pathlib.Path("ran").touch()
    """)
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            (
                "ERROR: marker on test_it.py::test_x: latency_p95 needs 20 calls and the body of"
                " this test is one; state latency= for that one call, or add"
                " @pytest.mark.perf(rounds=20)"
            )
        ]
    )
    assert (project.path / "imported").exists()
    assert not (project.path / "ran").exists()


@pytest.mark.parametrize(
    "cure",
    ["@pytest.mark.perf(rounds=20)", "@pytest.mark.parametrize('perf', [1])"],
    ids=["rounds", "none"],
)
def test_body_with_a_percentile_in_its_marker_runs_only_with_a_cure(
    project: Project, cure: str
) -> None:
    project.tests(f"""
        @pytest.mark.perf_budget(p95="60s")
        {cure}
        def test_x({"perf" if "parametrize" in cure else ""}):
            pass
    """)
    ret = 0 if "rounds" in cure else 4
    assert project.run().ret == ret


def test_body_with_a_percentile_from_the_file_is_not_applicable(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="60s")
        def test_x():
            pass
    """)
    file = project.budgets("""
        [defaults]
        p90 = "60s"
        [tests."test_it.py::*"]
        p95 = "60s"
        ttft_p95 = "off"
    """)
    result = project.run(file)
    result.assert_outcomes(passed=1)
    assert project.verdicts() == {"latency_max": "passed"}
    assert project.record()["not_applicable"] == 2
    result.stdout.fnmatch_lines(["1 measurement: 1 passed, 2 limits not applicable"])


def test_body_with_a_percentile_from_the_file_is_judged_when_the_file_states_rounds(
    project: Project,
) -> None:
    project.tests("""
        def test_x():
            pass
    """)
    file = project.budgets("""
        [tests."test_it.py::*"]
        p95 = "60s"
        measure = { rounds = 20 }
    """)
    project.run(file).assert_outcomes(passed=1)
    assert project.verdicts() == {"latency_p95": "passed"}


def test_body_keeps_its_warning_about_what_it_returned(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf
        def test_x():
            return 5
    """)
    result = project.run_apart()
    assert "PytestReturnNotNoneWarning" in shown(result)


def test_body_of_a_test_with_a_server_is_measured_too(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="1ms")
        def test_x(perf_llm_server):
            nap()
    """)
    project.run().assert_outcomes(failed=1)
    assert project.calls() == {"test_x": [1]}


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_failure_of_a_measured_body_shows_its_own_line(project: Project, kind: str) -> None:
    mark = "@pytest.mark.asyncio" if kind == "async def" else ""
    project.tests(f"""
        @pytest.mark.perf
        {mark}
        {kind} test_x():
            expected = 2
            assert expected == 3
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">       assert expected == 3", "test_it.py:*: AssertionError"])
    result.stdout.no_fnmatch_line("*_hookexec*")
