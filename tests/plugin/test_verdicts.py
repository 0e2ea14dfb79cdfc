import pytest

from tests.plugin.conftest import Project, shown


def test_verdict_failed_fails_the_test_with_one_sentence_and_no_traceback(
    project: Project,
) -> None:
    project.tests("""
        @pytest.mark.perf_budget(p95="1ms")
        def test_x(perf_timer):
            perf_timer(nap)
    """)
    result = project.run("--junitxml=junit.xml", "--no-header")
    result.assert_outcomes(failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    sentence = (
        "p95 latency was * ms, budget 1 ms (20 rounds, one-sided 95 % lower bound * ms, no upper"
        " bound below 59 calls; marker on test_it.py::test_x)"
    )
    result.stdout.fnmatch_lines(["*_ test_x _*", sentence, "*= performance =*"], consecutive=True)
    text = shown(result)
    assert "Traceback" not in text
    assert "def test_x" not in text
    assert "runtime.py" not in text
    (failure,) = project.junit().iter("failure")
    message = failure.attrib["message"]
    assert message.startswith("Failed: p95 latency was ")
    assert "\n" not in message
    assert failure.text == message.removeprefix("Failed: ")


def test_verdict_failed_gives_each_missed_budget_a_sentence(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="1ms", mean="1ms", p95="60s")
        def test_x(perf_timer):
            perf_timer(nap)
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    lines = [line for line in result.outlines if " latency was " in line and "FAILED" not in line]
    assert [line.split(" was ")[0] for line in lines] == ["max latency", "mean latency"]


def test_verdict_does_not_hide_the_failure_of_the_test_itself(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="1ms")
        def test_x(perf_timer):
            perf_timer(nap)
            assert answer() == 41
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *assert 42 == 41"])
    assert "max latency was" not in shown(result).split("= performance =")[0]
    assert project.verdicts() == {"latency_max": "failed"}


def test_verdict_passed_says_nothing_about_the_test(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(p95="60s", error_rate=0)
        def test_x(perf_timer):
            perf_timer(answer)
    """)
    result = project.run()
    assert result.ret == 0
    assert project.verdicts() == {"latency_p95": "passed", "error_rate": "passed"}
    result.stdout.fnmatch_lines(["passed *20 * test_it.py::test_x", "1 measurement: 1 passed"])


@pytest.mark.parametrize(("flags", "ret"), [([], 0), (["--perf-strict"], 1)])
def test_verdict_undecided_is_a_warning_with_its_cure_and_a_failure_when_strict(
    project: Project, flags: list[str], ret: int
) -> None:
    project.tests("""
        @pytest.mark.perf_budget(p99="60s")
        @pytest.mark.perf(max_calls=30, warmup=0)
        def test_x(perf_timer):
            perf_timer(answer)
    """)
    result = project.run(*flags)
    assert result.ret == ret
    assert project.verdicts() == {"latency_p99": "undecided"}
    sentence = (
        "p99 latency is undecided at *, budget 60 s: p99 needs 100 values and there are 30;"
        " raise max_calls 30 (30 rounds; marker on test_it.py::test_x)"
    )
    result.stdout.fnmatch_lines([f"[[]1] {sentence}"])
    if ret:
        result.stdout.fnmatch_lines([sentence, "*= performance =*"])


@pytest.mark.parametrize(("flags", "ret"), [([], 0), (["--perf-strict"], 1)])
def test_verdict_on_usage_that_no_response_reports_is_undecided_and_names_the_type(
    project: Project, flags: list[str], ret: int
) -> None:
    project.tests("""
        class Reply:
            pass
        @pytest.mark.perf_budget(tokens_per_call=5)
        def test_x(perf_timer):
            perf_timer(Reply)
    """)
    result = project.run(*flags)
    assert result.ret == ret
    assert project.verdicts() == {"tokens_per_call": "undecided"}
    sentence = (
        "tokens per call is unknown: Reply returned test_it.Reply, which reports no usage; give"
        " perf_timer.configure(usage=…) (marker on test_it.py::test_x)"
    )
    assert f"[1] {sentence}" in result.outlines
    assert (sentence in result.outlines) == bool(ret)


def test_verdict_on_usage_is_decided_when_the_cure_is_taken(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(tokens_per_call=5)
        def test_x(perf_timer):
            perf_timer.configure(usage=lambda reply: (len(reply), 4))
            perf_timer(lambda: "abc")
    """)
    project.run().assert_outcomes(failed=1)
    assert project.sentence("tokens_per_call").startswith("tokens per call was 7, budget 5 (")


def test_verdict_warned_keeps_the_exit_code_even_when_strict(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency={"warn": "1ms", "fail": "60s"})
        def test_x():
            nap()
    """)
    result = project.run("--perf-strict")
    assert result.ret == 0
    assert project.verdicts() == {"latency_max": "warned"}


@pytest.mark.parametrize(
    ("marker", "recorder"),
    [
        ('ttft="1s"', "perf_timer on a stream"),
        ("tool_calls=3", 'perf_timer.count(obj, "method", metric="tool_calls")'),
        ('hit_rate="90%"', "perf_cache"),
        ('throughput="5/s"', "perf_load"),
    ],
)
def test_verdict_on_a_metric_that_nothing_recorded_is_failed_when_it_was_stated(
    project: Project, marker: str, recorder: str
) -> None:
    project.tests(f"""
        @pytest.mark.perf_budget({marker})
        def test_x(perf_timer):
            perf_timer(answer)
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    assert project.sentence(*project.verdicts()).endswith(
        f" was not measured: nothing recorded it; it is recorded by {recorder}"
        " (marker on test_it.py::test_x)"
    )


def test_verdict_on_a_timer_that_was_never_used_is_failed(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(p95="1s")
        def test_x(perf_timer):
            pass
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["p95 latency was not measured: nothing recorded it; *"])


def test_verdict_on_a_label_that_nothing_recorded_is_failed_and_names_the_others(
    project: Project,
) -> None:
    project.tests("""
        @pytest.mark.perf_budget("retrieve", p95="1s")
        def test_x(perf_timer):
            perf_timer["retreive"](answer)
            perf_timer["plan"](answer)
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    assert (
        "p95 latency was not measured: nothing was recorded under the label 'retrieve' (recorded"
        " labels: 'retreive', 'plan') (marker on test_it.py::test_x)"
    ) in result.outlines


def test_verdict_is_not_given_on_what_a_failed_test_did_not_reach(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget("plan", latency="1s")
        @pytest.mark.perf_budget(latency="60s")
        def test_x(perf_timer):
            perf_timer(answer)
            raise OSError("down")
    """)
    project.run().assert_outcomes(failed=1)
    assert project.verdicts() == {"latency_max": "passed"}


def test_verdict_on_rounds_within_chance_doubles_them_to_the_cap(project: Project) -> None:
    project.tests("""
        calls = []
        def some_are_slow():
            calls.append(1)
            if len(calls) % 10 == 0:
                nap()  # 10 % of the calls: p95 is beyond, and few calls cannot tell
        @pytest.mark.perf_budget(p95="1ms")
        @pytest.mark.perf(warmup=0, max_calls=40)
        def test_x(perf_timer):
            perf_timer(some_are_slow)
    """)
    project.run().assert_outcomes(passed=1)
    assert project.calls() == {"test_x": [40]}
    assert project.verdicts() == {"latency_p95": "undecided"}
    assert "4 of 40 values above it are within chance; raise max_calls 40" in project.sentence(
        "latency_p95"
    )


def test_quick_run_calls_once_and_judges_counts_alone(project: Project) -> None:
    project.tests("""
        made = []
        @pytest.mark.perf_budget(p95="1ms", latency="1ms", tokens_per_call=5)
        def test_timer(perf_timer):
            perf_timer(lambda: made.append(nap()) or {
                "usage": {"prompt_tokens": 1, "completion_tokens": 2}
            })
            assert len(made) == 1
        @pytest.mark.perf(rounds=20)
        @pytest.mark.perf_budget(p95="1ms")
        def test_body():
            nap()
        @pytest.mark.perf_budget(tokens_per_call=2)
        def test_count(perf_timer):
            perf_timer(lambda: {"usage": {"prompt_tokens": 1, "completion_tokens": 2}})
    """)
    result = project.run("--perf-quick", "--perf-strict")
    result.assert_outcomes(passed=2, failed=1)
    assert project.calls() == {"test_timer": [1], "test_body": [1], "test_count": [1]}
    assert project.statuses() == {
        "test_timer": {"tokens_per_call": "passed"},
        "test_body": {},
        "test_count": {"tokens_per_call": "failed"},
    }
    assert project.records()["test_timer"]["not_applicable"] == 2


def test_exit_code_is_that_of_pytest_for_each_verdict(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="60s")
        def test_passed():
            pass
        @pytest.mark.perf_budget(latency="1ms")
        def test_failed():
            nap()
    """)
    assert project.run("-k", "passed").ret == pytest.ExitCode.OK
    assert project.run("-k", "failed").ret == pytest.ExitCode.TESTS_FAILED
    assert project.run("-k", "nothing").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_budget_is_undecided_with_the_cause_when_a_bound_left_no_round(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf(max_tokens=100)
        @pytest.mark.perf_budget(p95="60s")
        def test_x(perf_timer):
            perf_timer(lambda: {"usage": {"prompt_tokens": 80, "completion_tokens": 5}})
    """)
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*p95 latency is undecided: no round was made within max_tokens*"])
    project.run("--perf-strict").assert_outcomes(failed=1)
