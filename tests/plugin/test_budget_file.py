import json

import pytest

from tests.plugin.conftest import Project, shown


def sources(project: Project, test: str = "test_x") -> dict[str, tuple[float, str]]:
    """Return the limit on each metric and where it came from."""
    found = project.records()[test]["verdicts"]
    return {one["metric"]: (one["limit"], one["source"]) for one in found}


def test_file_layers_apply_in_their_documented_order(project: Project) -> None:
    project.ini("markers = slow: takes long")
    # One metric more in each layer: whatever wins is the last one that states it.
    names = ["min", "mean", "stddev", "p10", "p20", "p30", "p40", "p50", "p60", "p70", "p80"]

    def limits(layer: int) -> list[str]:
        return [f'{name}="{60 + layer}s"' for name in names[layer:]]

    def table(layer: int) -> str:
        return ("\n" + " " * 8).join(limits(layer))

    project.tests(f"""
        pytestmark = [pytest.mark.slow, pytest.mark.perf_budget({", ".join(limits(4))})]
        @pytest.mark.perf_budget({", ".join(limits(5))})
        class TestC:
            @pytest.mark.perf_budget({", ".join(limits(6))})
            def test_x(self, perf_timer):
                perf_timer(answer)
    """)
    file = project.budgets(f"""
        [tests."test_it.py::TestC::test_x"]
        {table(7)}
        [environments.ci.tests."test_it.py::*"]
        {table(9)}
        [environments.ci.defaults]
        {table(8)}
        [tests."test_it.py::*"]
        {table(3)}
        [tests."*"]
        {table(2)}
        [markers.slow]
        {table(1)}
        [defaults]
        {table(0)}
    """)
    result = project.run(file, "--perf-env=ci", "--perf-set=p80=70s")
    result.assert_outcomes(passed=1)
    assert sources(project, "TestC::test_x") == {
        "latency_min": (60, "budgets.toml: defaults.min"),
        "latency_mean": (61, "budgets.toml: markers.slow.mean"),
        "latency_stddev": (62, 'budgets.toml: tests."*".stddev'),
        "latency_p10": (63, 'budgets.toml: tests."test_it.py::*".p10'),
        "latency_p20": (64, "marker on test_it.py"),
        "latency_p30": (65, "marker on test_it.py::TestC"),
        "latency_p40": (66, "marker on test_it.py::TestC::test_x"),
        "latency_p50": (67, 'budgets.toml: tests."test_it.py::TestC::test_x".p50'),
        "latency_p60": (68, "budgets.toml: environments.ci.defaults.p60"),
        "latency_p70": (69, 'budgets.toml: environments.ci.tests."test_it.py::*".p70'),
        "latency_p80": (70, "--perf-set p80=70s"),
    }


@pytest.mark.parametrize(
    ("budgets", "source"),
    [
        ('[defaults]\nlatency = "1ms"', "budgets.toml: defaults.latency"),
        ('[markers.slow]\nlatency = "1ms"', "budgets.toml: markers.slow.latency"),
        ('[tests."*"]\nlatency = "1ms"', 'budgets.toml: tests."*".latency'),
        (
            '[tests."test_it.py::test_x"]\nlatency = "1ms"',
            'budgets.toml: tests."test_it.py::test_x".latency',
        ),
        (
            '[environments.ci.defaults]\nlatency = "1ms"',
            "budgets.toml: environments.ci.defaults.latency",
        ),
        (
            '[environments.ci]\nscale = {latency = 0.5}\n[defaults]\nlatency = "2ms"',
            "budgets.toml: defaults.latency × 0.5",
        ),
        ("[environments.ci]", "--perf-set latency=1ms"),
    ],
)
def test_file_is_named_with_its_key_in_the_failure(
    project: Project, budgets: str, source: str
) -> None:
    project.ini("markers = slow: takes long")
    project.tests("""
        @pytest.mark.slow
        @pytest.mark.perf
        def test_x():
            nap()
    """)
    options = ["--perf-env=ci"] if "environments" in budgets else []
    options += ["--perf-set=latency=1ms"] if "perf-set" in source else []
    result = project.run(project.budgets(budgets), *options)
    result.assert_outcomes(failed=1)
    (line,) = [line for line in result.outlines if line.startswith("max latency was ")]
    assert line.endswith(f", budget 1 ms (1 round; {source})")


def test_file_prefers_the_more_specific_glob_and_the_later_at_a_tie(project: Project) -> None:
    project.tests("""
        def test_x(perf_timer):
            perf_timer(answer)
    """)
    file = project.budgets("""
        [tests."test_it.py::test_*"]
        min = "61s"
        mean = "61s"
        [tests."test_it.py"]
        min = "62s"
        [tests."test_it.py::*est_x"]
        mean = "63s"
    """)
    project.run(file).assert_outcomes(passed=1)
    assert {metric: limit for metric, (limit, _) in sources(project).items()} == {
        "latency_min": 61,
        "latency_mean": 63,
    }


def test_file_limits_a_label_behind_the_last_bracket(project: Project) -> None:
    project.tests("""
        @pytest.mark.parametrize("q", ["a#b"])
        def test_x(perf_timer, q):
            perf_timer["retrieve"](nap)
            perf_timer["other"](nap)
    """)
    file = project.budgets("""
        [tests."test_it.py::test_x[a#b]#retrieve"]
        latency = "1ms"
        [tests."test_it.py::test_x[a#b]"]
        latency = "60s"
    """)
    project.run(file).assert_outcomes(failed=1)
    verdicts = {one["label"]: one["status"] for one in project.record()["verdicts"]}
    assert verdicts == {"retrieve": "failed", "other": "passed"}


@pytest.mark.parametrize(
    ("limit", "verdict", "ret"),
    [
        ('{ warn = "1ms", fail = "60s" }', "warned", 0),
        ('{ warn = "30s", fail = "60s" }', "passed", 0),
        ('{ warn = "0.5ms", fail = "1ms" }', "failed", 1),
        ('{ warn = "1ms" }', "warned", 0),
        ('{ fail = "1ms" }', "failed", 1),
    ],
)
def test_file_warns_before_it_fails(project: Project, limit: str, verdict: str, ret: int) -> None:
    project.tests("""
        def test_x():
            nap()
    """)
    result = project.run(project.budgets(f'[tests."*"]\nlatency = {limit}'))
    assert result.ret == ret
    assert project.verdicts() == {"latency_max": verdict}
    if verdict == "warned":
        result.stdout.fnmatch_lines(["*max latency was * ms, warning from 1 ms (1 round; *"])


def test_file_switches_an_inherited_limit_off(project: Project) -> None:
    project.tests("""
        def test_a():
            nap()
        @pytest.mark.perf_budget(latency="1ms")
        def test_b():
            nap()
    """)
    file = project.budgets("""
        [tests."*"]
        latency = "1ms"
        mean = "60s"
        [tests."test_it.py::test_a"]
        latency = "off"
        [tests."test_it.py::test_b"]
        latency = "off"
    """)
    project.run(file).assert_outcomes(passed=2)
    assert project.statuses() == {name: {"latency_mean": "passed"} for name in ("test_a", "test_b")}


def test_file_states_how_to_measure_and_the_marker_wins_over_its_globs(project: Project) -> None:
    project.tests("""
        def test_glob(perf_timer):
            perf_timer(answer)
        @pytest.mark.perf(rounds=9)
        def test_mark(perf_timer):
            perf_timer(answer)
        @pytest.mark.perf(rounds=9)
        def test_exact(perf_timer):
            perf_timer(answer)
    """)
    file = project.budgets("""
        [tests."test_it.py::*"]
        measure = { rounds = 7, max_time = "1min" }
        [tests."test_it.py::test_exact"]
        measure = { rounds = 8 }
    """)
    project.run(file).assert_outcomes(passed=3)
    assert project.calls() == {"test_glob": [7], "test_mark": [9], "test_exact": [8]}


def test_file_limits_cost_by_its_prices(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(cost_per_call="$0.01")
        def test_x(perf_timer):
            perf_timer(lambda: {
                "model": "m", "usage": {"prompt_tokens": 1000, "completion_tokens": 100}
            })
    """)
    file = project.budgets("""
        [prices."m"]
        input = 10
        output = 100
    """)
    project.run(file).assert_outcomes(failed=1)
    # (1,000 × $10 + 100 × $100) / 1,000,000
    assert project.sentence("cost_per_call").startswith("cost per call was $0.02, budget $0.01 (")


def test_file_defaults_that_nothing_records_are_counted_as_not_applicable(
    project: Project,
) -> None:
    project.ini("markers = slow: takes long")
    project.tests("""
        @pytest.mark.slow
        def test_x(perf_timer):
            perf_timer(answer)
        def test_y(perf_timer):
            perf_timer(answer)
    """)
    file = project.budgets("""
        [defaults]
        ttft = "1s"
        latency = "60s"
        [markers.slow]
        hit_rate = "90%"
    """)
    result = project.run(file, "--perf-strict")
    result.assert_outcomes(passed=2)
    assert {name: one["not_applicable"] for name, one in project.records().items()} == {
        "test_x": 2,
        "test_y": 1,
    }
    result.stdout.fnmatch_lines(["2 measurements: 2 passed, 3 limits not applicable"])


def test_file_globs_that_nothing_records_fail_the_test(project: Project) -> None:
    project.tests("""
        def test_x(perf_timer):
            perf_timer(answer)
    """)
    result = project.run(project.budgets('[tests."*"]\nttft = "1s"'))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            (
                "max ttft was not measured: nothing recorded it; it is recorded by perf_timer on a"
                ' stream (budgets.toml: tests."[*]".ttft)'
            )
        ]
    )


ENVIRONMENTS = """
    [tests."*"]
    latency = "1ms"
    [environments.ci.tests."*"]
    latency = "60s"
    [environments.laptop]
    scale = { latency = 60000 }
"""


@pytest.mark.parametrize(
    ("name", "ci", "header"),
    [
        (None, None, "agentperf: budgets budgets.toml"),
        (None, "true", "agentperf: budgets budgets.toml, environment ci (because $CI is set)"),
        (None, "", "agentperf: budgets budgets.toml"),
        ("ci", None, "agentperf: budgets budgets.toml, environment ci"),
        ("laptop", None, "agentperf: budgets budgets.toml, environment laptop"),
        ("laptop", "true", "agentperf: budgets budgets.toml, environment laptop"),
    ],
)
def test_environment_is_the_one_asked_for_or_that_of_ci_and_the_header_says_so(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    name: str | None,
    ci: str | None,
    header: str,
) -> None:
    if ci is not None:
        monkeypatch.setenv("CI", ci)
    project.tests("""
        def test_x():
            nap()
    """)
    result = project.run(project.budgets(ENVIRONMENTS), *([f"--perf-env={name}"] if name else []))
    assert header in result.outlines
    assert result.ret == (0 if "environment" in header else 1)


def test_environment_of_ci_is_not_chosen_when_the_file_has_none(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    project.tests("def test_x(): pass")
    result = project.run(project.budgets('[defaults]\nlatency = "60s"'))
    assert "agentperf: budgets budgets.toml" in result.outlines
    assert result.ret == 0


def test_environment_scales_the_limits_of_file_and_marker_and_says_so(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="10s", error_rate="1%")
        def test_x(perf_timer):
            perf_timer(answer)
    """)
    file = project.budgets("""
        [defaults]
        mean = "20s"
        [environments.ci]
        scale = { latency = 1.5 }
        [environments.ci.defaults]
        p50 = "30s"
    """)
    project.run(file, "--perf-env=ci").assert_outcomes(passed=1)
    assert sources(project) == {
        "latency_max": (15, "marker on test_it.py::test_x × 1.5"),
        "latency_mean": (30, "budgets.toml: defaults.mean × 1.5"),
        "latency_p50": (30, "budgets.toml: environments.ci.defaults.p50"),
        "error_rate": (0.01, "marker on test_it.py::test_x"),
    }


SENTENCE = (
    'budgets.toml: tests."tests/nowhere.py::*" matches no collected test; check the path and the'
    " spelling"
)


def with_unmatched_glob(project: Project) -> str:
    """Write two test files, and a budget file of which one pattern matches nothing."""
    project.tests("def test_x(): pass\ndef test_y(): pass")
    project.tests("def test_z(): pass", name="test_other.py")
    return project.budgets("""
        [tests."test_it.py::*"]
        latency = "60s"
        [tests."tests/nowhere.py::*"]
        latency = "60s"
    """)


def test_glob_that_matches_no_test_is_a_warning(project: Project) -> None:
    result = project.run(with_unmatched_glob(project))
    result.assert_outcomes(passed=3)
    assert result.outlines.count(f"warning: {SENTENCE}") == 1


def test_glob_that_matches_no_test_is_a_warning_when_it_is_the_only_one(project: Project) -> None:
    project.tests("def test_x(): pass")
    file = project.budgets('[tests."tests/nowhere.py::*"]\nlatency = "60s"')
    result = project.run(file, "-q")
    result.assert_outcomes(passed=1)
    assert result.outlines.count(f"warning: {SENTENCE}") == 1
    assert not project.last_run.exists()


def test_glob_that_matches_no_test_is_an_error_when_strict(project: Project) -> None:
    result = project.run(with_unmatched_glob(project), "--perf-strict")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.errlines.count(f"ERROR: {SENTENCE}") == 1


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    "narrow",
    [
        ["test_it.py"],
        ["-ktest_x"],
        ["-mperf"],
        ["--lf"],
        ["--deselect=test_it.py::test_x"],
        ["--ignore=test_other.py"],
    ],
    ids=str,
)
def test_glob_that_matches_no_test_is_nothing_when_the_run_was_narrowed(
    project: Project, narrow: list[str], strict: bool
) -> None:
    file = with_unmatched_glob(project)
    result = project.run(file, *narrow, *(["--perf-strict"] if strict else []))
    assert result.ret == 0
    assert "matches no collected test" not in shown(result)


def test_glob_of_another_environment_need_not_match(project: Project) -> None:
    project.tests("def test_x(): pass")
    file = project.budgets("""
        [tests."test_it.py"]
        latency = "60s"
        [environments.ci.tests."tests/nowhere.py::*"]
        latency = "60s"
    """)
    assert "matches no" not in shown(project.run(file))
    assert result_of(project, file) == [f"warning: {SENTENCE}"]


def result_of(project: Project, file: str) -> list[str]:
    """Return the warnings of a run in the environment ci."""
    return [line for line in project.run(file, "--perf-env=ci").outlines if "warning:" in line]


def test_glob_of_a_deselected_test_is_matched(project: Project) -> None:
    project.ini("markers = slow: takes long\naddopts = -m 'not slow'")
    project.tests("""
        @pytest.mark.slow
        def test_x():
            pass
        def test_y():
            pass
    """)
    file = project.budgets('[tests."test_it.py::test_x"]\nlatency = "60s"')
    result = project.run(file, "--perf-strict")
    result.assert_outcomes(passed=1, deselected=1)


def test_file_applies_to_folders_by_star_and_double_star(project: Project) -> None:
    for name in ("a/test_1.py", "a/b/test_2.py"):
        project.tests("def test_x(): pass", name=name)
    file = project.budgets("""
        [tests."a/*"]
        min = "60s"
        [tests."a/**"]
        max = "60s"
    """)
    project.run(file, "--import-mode=importlib").assert_outcomes(passed=2)
    tests = json.loads(project.last_run.read_text())["tests"]
    found = {test["nodeid"]: sorted(one["metric"] for one in test["verdicts"]) for test in tests}
    assert found == {
        "a/test_1.py::test_x": ["latency_max", "latency_min"],
        "a/b/test_2.py::test_x": ["latency_max"],
    }
