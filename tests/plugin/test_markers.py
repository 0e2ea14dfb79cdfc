import pytest

from tests.plugin.conftest import Project, shown


def test_markers_of_function_class_and_module_merge_and_the_closest_wins_per_metric(
    project: Project,
) -> None:
    project.tests("""
        pytestmark = [
            pytest.mark.perf_budget(latency="30s", mean="30s", p50="30s"),
            pytest.mark.perf(rounds=30, warmup=0),
        ]
        @pytest.mark.perf_budget(latency="20s", mean="20s")
        @pytest.mark.perf(rounds=20)
        class TestAgent:
            @pytest.mark.perf_budget(latency="10s")
            def test_x(self, perf_timer):
                calls = []
                perf_timer(calls.append, 1)
                assert len(calls) == 20
    """)
    project.run().assert_outcomes(passed=1)
    limits = {one["metric"]: (one["limit"], one["source"]) for one in project.record()["verdicts"]}
    assert limits == {
        "latency_max": (10, "marker on test_it.py::TestAgent::test_x"),
        "latency_mean": (20, "marker on test_it.py::TestAgent"),
        "latency_p50": (30, "marker on test_it.py"),
    }


def test_markers_of_a_parent_class_and_of_a_parameter_count(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="20s")
        class Base:
            def test_x(self, perf_timer):
                perf_timer(answer)
        class TestAgent(Base):
            @pytest.mark.parametrize(
                "n", [1, pytest.param(2, marks=pytest.mark.perf_budget(latency="10s"))]
            )
            def test_y(self, perf_timer, n):
                perf_timer(answer)
    """)
    project.run().assert_outcomes(passed=3)
    limits = {name: one["verdicts"][0]["limit"] for name, one in project.records().items()}
    assert limits == {
        "TestAgent::test_x": 20,
        "TestAgent::test_y[1]": 20,
        "TestAgent::test_y[2]": 10,
    }


def test_marker_switches_an_inherited_limit_off(project: Project) -> None:
    project.tests("""
        pytestmark = pytest.mark.perf_budget(latency="1ms", mean="60s")
        @pytest.mark.perf_budget(latency="off")
        def test_x():
            nap()
    """)
    project.run().assert_outcomes(passed=1)
    assert project.verdicts() == {"latency_mean": "passed"}


@pytest.mark.parametrize(
    ("stated", "metric", "unit_limit"),
    [
        ('api_response_time_p95="60s"', "latency_p95", 60),
        ("p99_9=60", "latency_p99_9", 60),
        ("tokens_per_request=7", "tokens_per_call", 7),
        ('tokens_per_call="0.007k"', "tokens_per_call", 7),
        ('latency="1min"', "latency_max", 60),
        ("error_rate=0.5", "error_rate", 0.5),
        ('error_rate="50 %"', "error_rate", 0.5),
        ('latency="< 60s"', "latency_max", 60),
    ],
)
def test_marker_takes_units_and_other_spellings(
    project: Project, stated: str, metric: str, unit_limit: float
) -> None:
    project.tests(f"""
        @pytest.mark.perf_budget({stated})
        @pytest.mark.perf(max_calls=25)
        def test_x(perf_timer):
            perf_timer(lambda: {{"usage": {{"prompt_tokens": 3, "completion_tokens": 4}}}})
    """)
    project.run()
    (verdict,) = project.record()["verdicts"]
    assert (verdict["metric"], verdict["limit"]) == (metric, pytest.approx(unit_limit))


@pytest.mark.parametrize("stated", ["memory_mb=50", 'memory_per_request="50MB"'])
def test_marker_takes_the_aliases_of_memory(project: Project, stated: str) -> None:
    project.tests(f"""
        @pytest.mark.perf_budget({stated})
        def test_x(perf_timer):
            perf_timer(answer)
    """)
    project.run()
    (verdict,) = project.record()["verdicts"]
    assert (verdict["metric"], verdict["limit"]) == ("memory_peak", 50_000_000)


def test_marker_states_how_to_measure(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf(rounds=8, warmup=3)
        def test_x(perf_timer):
            calls = []
            perf_timer(calls.append, 1)
            assert len(calls) == 11
    """)
    project.run().assert_outcomes(passed=1)
    assert project.calls() == {"test_x": [8]}


def test_marker_bounds_calls_tokens_and_cost(project: Project) -> None:
    project.tests("""
        def respond():
            return {"usage": {"prompt_tokens": 30, "completion_tokens": 20}, "model": "m"}
        @pytest.mark.perf(rounds=20, warmup=0, max_calls=4)
        def test_calls(perf_timer):
            perf_timer(respond)
        @pytest.mark.perf(rounds=20, warmup=0, max_tokens=200)
        def test_tokens(perf_timer):
            perf_timer(respond)
        @pytest.mark.perf(rounds=20, max_cost=0.2)
        def test_cost(perf_timer):
            perf_timer(respond)
    """)
    file = project.budgets("""
        [prices."m"]
        input = 1000
        output = 1000
    """)
    project.run(file).assert_outcomes(passed=3)
    # 50 tokens a call, $0.05: four calls use all of either, and none is a warmup where one pays.
    assert project.calls() == {"test_calls": [4], "test_tokens": [4], "test_cost": [4]}


def test_markers_mistakes_are_all_told_at_once_in_a_sentence_each(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latncy="200ms")
        def test_a():
            pass
        @pytest.mark.perf(round=3)
        class TestB:
            def test_1(self):
                pass
            def test_2(self):
                pass
        def test_fine():
            pathlib.Path("ran").touch()
    """)
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in result.errlines if "marker on" in line]
    assert lines == [
        (
            "ERROR: marker on test_it.py::test_a: @pytest.mark.perf_budget: latncy: unknown metric"
            " 'latncy'; did you mean 'latency'?"
        ),
        (
            "marker on test_it.py::TestB: @pytest.mark.perf: unknown measuring option 'round'; did"
            " you mean 'rounds'?"
        ),
    ]
    assert not (project.path / "ran").exists()


def test_markers_of_tests_that_are_not_selected_are_not_looked_at(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latncy="200ms")
        def test_a():
            pass
        @pytest.mark.perf
        def test_b():
            pass
    """)
    project.run("-k", "test_b").assert_outcomes(passed=1, deselected=1)


def test_marker_mistakes_leave_no_file_of_the_last_run(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latncy="200ms")
        def test_a():
            pass
    """)
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert not project.last_run.exists()
    assert "INTERNALERROR" not in shown(result)
