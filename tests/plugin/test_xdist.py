import pytest

from tests.plugin.conftest import Project, shown

TESTS = """
    def respond(tokens=4):
        return {"usage": {"prompt_tokens": 3, "completion_tokens": tokens}}
    @pytest.mark.perf_budget(latency="1ms")
    def test_failed():
        nap()
    @pytest.mark.perf_budget(p95="60s", tokens_per_call=7)
    def test_passed(perf_timer):
        perf_timer(respond)
    @pytest.mark.perf_budget(tokens_per_call={"warn": 5, "fail": 10})
    def test_warned(perf_timer):
        perf_timer(respond)
    @pytest.mark.perf_budget(tokens_per_call=5)
    def test_undecided(perf_timer):
        perf_timer(answer)
    @pytest.mark.perf_budget("plan", latency="60s")
    @pytest.mark.asyncio
    async def test_labels(perf_timer):
        await perf_timer["plan"](ask)
        await perf_timer["retrieve"](ask)
    @pytest.mark.parametrize("n", range(4))
    def test_glob(n):
        pass
    @pytest.mark.perf
    def test_raises():
        raise OSError("down")
    @pytest.mark.perf
    def test_skipped():
        pytest.skip("no")
    def test_other():
        pass
    attempts = []
    @pytest.mark.flaky(reruns=2)
    @pytest.mark.perf_budget(tokens_per_call=7)
    def test_rerun(perf_timer):
        attempts.append(1)
        perf_timer(respond, 7 - len(attempts))
"""
BUDGETS = """
    [defaults]
    ttft = "1s"
    [tests."test_it.py::test_glob*"]
    latency = "60s"
    [tests."test_it.py::test_gone"]
    latency = "60s"
"""


def comparable(project: Project) -> dict[str, object]:
    """Return the records of the last run without what a clock decides."""
    found: dict[str, object] = {}
    for name, record in project.records().items():
        measurements = [
            {**one, "metrics": {k: v for k, v in one["metrics"].items() if "latency" not in k}}
            | {"names": sorted(one["metrics"])}
            for one in record["measurements"]
        ]
        verdicts = [
            {key: one[key] for key in ("status", "metric", "label", "limit", "warn", "source")}
            for one in record["verdicts"]
        ]
        runs = sorted(record["runs"])
        found[name] = {**record, "measurements": measurements, "verdicts": verdicts, "runs": runs}
    return found


def test_workers_give_the_same_verdicts_and_records_as_one_process(project: Project) -> None:
    project.tests(TESTS)
    file = project.budgets(BUDGETS)
    alone = project.run(file)
    expected = comparable(project)
    project.last_run.unlink()
    beside = project.run_with_workers(file)
    outcomes = {"passed": 10, "failed": 2, "skipped": 1, "rerun": 2}
    assert alone.parseoutcomes() == beside.parseoutcomes() == outcomes
    assert alone.ret == beside.ret == 1
    assert comparable(project) == expected
    assert len(expected) == 11
    assert project.records()["test_rerun"]["attempt"] == 3
    # The message of a time, and of nothing else, says that others ran beside it.
    beside.stdout.fnmatch_lines(
        [
            (
                "max latency was * ms, budget 1 ms (1 round beside 2 xdist workers; marker on"
                " test_it.py::test_failed)"
            )
        ]
    )
    assert "xdist" not in project.sentence("tokens_per_call", "test_warned")
    warning = 'warning: budgets.toml: tests."test_it.py::test_gone" matches no collected test; *'
    for result in (alone, beside):
        result.stdout.fnmatch_lines(
            [
                "failed *test_it.py::test_failed",
                "undecided [[]1] *test_it.py::test_undecided",
                "warned [[]2] *test_it.py::test_warned",
                "passed *",
                "measured *",
                (
                    "12 measurements: 1 failed, 1 undecided, 1 warned, 7 passed, 2 measured without"
                    " a budget, 11 limits not applicable"
                ),
                warning,
            ]
        )
        assert shown(result).count("matches no collected test") == 1


def test_workers_end_the_run_with_an_error_when_a_marker_is_wrong(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latncy="1s")
        def test_x():
            pass
        def test_y():
            pathlib.Path("ran").touch()
    """)
    result = project.run_with_workers()
    assert result.ret != 0
    text = shown(result)
    assert "INTERNALERROR" not in text
    assert "latncy: unknown metric 'latncy'; did you mean 'latency'?" in text
    assert not (project.path / "ran").exists()
    assert not project.last_run.exists()


def test_workers_end_the_run_with_an_error_when_strict_and_a_glob_matches_nothing(
    project: Project,
) -> None:
    project.tests(TESTS)
    result = project.run_with_workers(project.budgets(BUDGETS), "--perf-strict")
    assert result.ret != 0
    text = shown(result)
    assert "INTERNALERROR" not in text
    assert 'tests."test_it.py::test_gone" matches no collected test' in text
    assert "passed" not in result.parseoutcomes()


def test_workers_do_not_mind_an_unmatched_glob_when_the_run_was_narrowed(
    project: Project,
) -> None:
    project.tests(TESTS)
    file = project.budgets(BUDGETS)
    result = project.run_with_workers(file, "--perf-strict", "-k", "test_glob")
    result.assert_outcomes(passed=4)
    assert "matches no" not in shown(result)


def test_workers_do_not_start_when_the_budget_file_is_wrong(project: Project) -> None:
    project.tests(TESTS)
    project.write("budgets.toml", "version = 2")
    result = project.run_with_workers("--perf-budget=budgets.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert [line for line in result.errlines if line] == [
        "ERROR: budgets.toml: version: got 2, expected 1"
    ]


def test_workers_that_crash_leave_their_measured_test_listed_as_not_measured(
    project: Project,
) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="60s")
        def test_crash():
            os._exit(3)
        @pytest.mark.perf_budget(latency="60s")
        def test_fine():
            pass
        def test_other():
            pass
    """)
    result = project.run_with_workers()
    assert result.ret == 1
    text = shown(result)
    assert text.count("not measured: test_it.py::test_crash (its worker ended)") == 1
    assert "INTERNALERROR" not in text
    assert set(project.records()) == {"test_fine"}


def test_the_only_worker_that_crashes_leaves_its_test_listed_too(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="60s")
        def test_crash():
            os._exit(3)
    """)
    result = project.run_apart("-n1", "--max-worker-restart=0")
    assert result.ret != 0
    assert "not measured: test_it.py::test_crash (its worker ended)" in shown(result)


def test_workers_send_numbers_and_labels_that_are_no_plain_builtins(project: Project) -> None:
    project.ini("disable_test_id_escaping_and_forfeit_all_rights_to_community_support = true")
    project.tests(r"""
        class Float64(float):
            pass
        class Label(str):
            pass
        class Count(int):
            pass
        @pytest.mark.perf_budget(cost_per_call=Float64(0.5), latency=Float64(60))
        def test_numbers(perf_timer):
            perf_timer.configure(
                usage=lambda reply: (Count(3), Count(4)), cost=lambda reply: Float64(0.25)
            )
            perf_timer[Label("x")](Float64, 1.0)
        @pytest.mark.perf_budget(Label("y"), latency=1)
        def test_label(perf_timer):
            perf_timer["y"](answer)
        def test_surrogate(perf_timer):
            perf_timer["\udc80|<b>"](answer)
        @pytest.mark.perf_budget("\udc81", latency=1)
        def test_surrogate_in_a_marker(perf_timer):
            perf_timer["\udc82"](answer)
    """)
    result = project.run_with_workers("--junitxml=junit.xml")
    result.assert_outcomes(passed=3, failed=1)
    assert "INTERNALERROR" not in shown(result)
    assert project.measurement("test_numbers", "x")["metrics"]["cost_per_call"] == 0.25
    assert project.measurement("test_surrogate", "\\udc80|<b>")["calls"] >= 1
