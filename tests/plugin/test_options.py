import pytest

from tests.plugin.conftest import Project, shown

TESTS = """
    @pytest.mark.perf
    def test_x():
        nap()
"""


def test_options_are_not_needed(project: Project) -> None:
    project.tests(TESTS)
    result = project.run()
    assert result.ret == 0
    assert not [line for line in result.outlines if line.startswith("agentperf:")]


def test_options_work_from_the_ini_file_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.tests(TESTS, name="sub/test_it.py")
    project.ini("""
        perf_budget = conf/limits.toml
        perf_env = laptop
        perf_strict = true
        perf_junit = false
    """)
    project.write(
        "conf/limits.toml",
        """
        version = 1
        [defaults]
        latency = "60s"
        [environments.laptop.defaults]
        latency = "1ms"
        """,
    )
    # The path counts from the ini file, wherever pytest is started.
    monkeypatch.chdir(project.path / "sub")
    result = project.run("--rootdir=..", "-c../pytest.ini", "--junitxml=junit.xml")
    result.assert_outcomes(failed=1)
    assert "agentperf: budgets limits.toml, environment laptop" in result.outlines
    assert "agentperf." not in (project.path / "sub/junit.xml").read_text()


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest 9 brought native tables")
def test_options_work_from_the_native_tables_of_pyproject(project: Project) -> None:
    (project.path / "pytest.ini").unlink()
    project.write(
        "pyproject.toml",
        """
        [tool.pytest]
        asyncio_default_fixture_loop_scope = "function"
        perf_budget = "limits.toml"
        perf_strict = true
        perf_junit = false
        """,
    )
    project.write("limits.toml", 'version = 1\n[tests."nowhere.py"]\nlatency = "1s"\n')
    project.tests(TESTS)
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "matches no collected test" in shown(result)


def test_flag_wins_over_the_ini_file(project: Project) -> None:
    project.tests(TESTS)
    project.ini("""
        perf_budget = broken.toml
        perf_env = broken
    """)
    project.write("broken.toml", "version = 2")
    file = project.budgets("""
        [environments.laptop.defaults]
        latency = "1ms"
    """)
    result = project.run(file, "--perf-env=laptop")
    result.assert_outcomes(failed=1)
    assert "agentperf: budgets budgets.toml, environment laptop" in result.outlines


def test_flag_of_the_budget_file_counts_from_the_current_folder(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.tests(TESTS)
    project.write("sub/limits.toml", 'version = 1\n[defaults]\nlatency = "1ms"')
    monkeypatch.chdir(project.path / "sub")
    project.run("..", "--perf-budget", "limits.toml").assert_outcomes(failed=1)


def test_flag_of_the_budget_file_may_be_absolute(project: Project) -> None:
    project.tests(TESTS)
    project.budgets('[defaults]\nlatency = "1ms"')
    project.run("--perf-budget", str(project.path / "budgets.toml")).assert_outcomes(failed=1)


def test_strict_flag_wins_over_the_ini_file(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(tokens_per_call=5)
        def test_x(perf_timer):
            perf_timer(answer)
    """)
    project.ini("perf_strict = false")
    assert project.run().ret == 0
    assert project.run("--perf-strict").ret == 1


def test_marker_wins_over_the_globs_of_the_file(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="60s")
        def test_x():
            nap()
        def test_y():
            nap()
    """)
    project.run(project.budgets('[tests."*"]\nlatency = "1ms"')).assert_outcomes(passed=1, failed=1)


def test_override_wins_over_file_and_marker_and_is_named(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="60s")
        def test_x():
            nap()
        def test_other():
            nap()
    """)
    file = project.budgets('[tests."test_it.py::test_x"]\nlatency = "50s"')
    result = project.run(file, "--perf-set", "latency=1ms")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        ["max latency was * ms, budget 1 ms (1 round; --perf-set latency=1ms)"]
    )


def test_override_may_be_repeated_scaled_by_nothing_and_switched_off(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="1ms")
        def test_x():
            nap()
    """)
    result = project.run("--perf-set=latency=off", "--perf-set=mean=60", "--perf-set=ttft=1s")
    result.assert_outcomes(passed=1)
    assert project.verdicts() == {"latency_mean": "passed"}
    assert project.record()["not_applicable"] == 1


def test_override_is_a_default_that_need_not_apply(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf
        def test_body():
            pass
        def test_timer(perf_timer):
            perf_timer(answer)
    """)
    project.run("--perf-set=p95=60s", "--perf-strict").assert_outcomes(passed=2)
    assert project.statuses() == {"test_body": {}, "test_timer": {"latency_p95": "passed"}}


def test_help_lists_the_options_and_ini_keys(project: Project) -> None:
    text = shown(project.run("--help"))
    for option in ("budget=FILE", "env=NAME", "set=METRIC=LIMIT", "strict", "quick"):
        assert f"--perf-{option}" in text
    for key in ("budget (string)", "env (string)", "strict (bool)", "junit (bool)"):
        assert f"perf_{key}" in text
