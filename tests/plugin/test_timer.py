import pytest

from tests.plugin.conftest import Project, shown


def test_timer_records_five_rounds_in_a_sync_test_when_nothing_asks_for_more(
    project: Project,
) -> None:
    project.tests("""
        made = []
        def test_x(perf_timer):
            assert perf_timer(made.append, 1) is None
            assert len(made) == 1 + 5  # one call of warmup
    """)
    project.run().assert_outcomes(passed=1)
    assert project.calls() == {"test_x": [5]}


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_timer_awaits_in_the_loop_of_the_test_under_pytest_asyncio(
    project: Project, mode: str
) -> None:
    project.tests("""
        @pytest.mark.asyncio
        async def test_x(perf_timer):
            loops = []
            async def ask(question, *, loud):
                loops.append(asyncio.get_running_loop())
                return question.upper() if loud else question
            assert await perf_timer(ask, "q", loud=True) == "Q"
            assert set(loops) == {asyncio.get_running_loop()}
            assert len(loops) == 6
    """)
    project.run("-o", f"asyncio_mode={mode}").assert_outcomes(passed=1)
    assert project.calls() == {"test_x": [5]}


def test_timer_needs_no_marker_in_the_auto_mode_of_pytest_asyncio(project: Project) -> None:
    project.tests("""
        async def test_x(perf_timer):
            assert await perf_timer(ask) == "answer to q"
    """)
    project.run("-o", "asyncio_mode=auto").assert_outcomes(passed=1)
    assert project.calls() == {"test_x": [5]}


def test_timer_awaits_in_the_loop_of_the_test_under_both_backends_of_anyio(
    project: Project,
) -> None:
    project.tests("""
        import anyio, sniffio
        @pytest.mark.anyio
        async def test_x(perf_timer, anyio_backend_name):
            async def ask():
                await anyio.sleep(0)
                return sniffio.current_async_library()
            assert await perf_timer(ask) == anyio_backend_name
    """)
    project.run().assert_outcomes(passed=2)
    assert project.calls() == {"test_x[asyncio]": [5], "test_x[trio]": [5]}


def test_timer_can_be_run_by_the_loop_of_a_sync_test(project: Project) -> None:
    project.tests("""
        def test_x(perf_timer):
            assert asyncio.run(perf_timer(ask, "w")) == "answer to w"
    """)
    project.run().assert_outcomes(passed=1)
    assert project.calls() == {"test_x": [5]}


def test_timer_returns_the_own_result_of_the_last_call(project: Project) -> None:
    project.tests("""
        def test_x(perf_timer):
            made = []
            def make():
                made.append(object())
                return made[-1]
            assert perf_timer(make) is made[-1]
    """)
    project.run().assert_outcomes(passed=1)


def test_timer_returns_the_items_of_a_stream_and_records_the_first(project: Project) -> None:
    project.tests("""
        def words():
            for word in "abc":
                nap()
                yield word
        @pytest.mark.perf_budget(ttft="1ms", itl_p50="60s", items_per_second="0.001/s")
        def test_sync(perf_timer):
            assert perf_timer(words) == ["a", "b", "c"]
        @pytest.mark.perf_budget(ttft="60s", itl_p50="1ms")
        @pytest.mark.asyncio
        async def test_async(perf_timer):
            async def words():
                for word in "abc":
                    await asyncio.sleep(0.005)
                    yield word
            assert await perf_timer(words) == ["a", "b", "c"]
    """)
    project.run().assert_outcomes(failed=2)
    assert project.statuses() == {
        "test_sync": {
            "ttft_max": "failed",
            "itl_p50": "passed",
            "items_per_second": "passed",
        },
        "test_async": {"ttft_max": "passed", "itl_p50": "failed"},
    }


def test_timer_fails_the_test_with_one_sentence_when_its_call_is_never_awaited(
    project: Project,
) -> None:
    project.tests("""
        import gc
        @pytest.mark.asyncio
        async def test_async(perf_timer):
            perf_timer(ask)
        def test_sync(perf_timer):
            perf_timer(ask)
        def test_later():
            gc.collect()  # would warn of coroutines that nobody awaited
    """)
    result = project.run_apart("-Werror")
    result.assert_outcomes(failed=2, passed=1)
    sentence = (
        "perf_timer(ask) was never awaited: nothing was timed;"
        " write `await perf_timer(ask, …)` in an async test"
    )
    assert result.outlines.count(sentence) == 2
    assert "RuntimeWarning" not in shown(result)
    assert "Traceback" not in shown(result)


def test_timer_fails_the_test_when_its_call_has_not_ended(project: Project) -> None:
    project.tests("""
        @pytest.mark.asyncio
        async def test_x(perf_timer):
            task = asyncio.ensure_future(perf_timer(asyncio.sleep, 60))
            await asyncio.sleep(0.01)
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["perf_timer(sleep) had not ended when the test did: *"])


def test_timer_explains_the_error_when_a_sync_result_is_awaited(project: Project) -> None:
    project.tests("""
        @pytest.mark.asyncio
        async def test_x(perf_timer):
            await perf_timer(answer)
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *TypeError: object int can't be used in 'await' expression",
            (
                "E *perf_timer(answer) returned the result itself, since answer returned nothing"
                " that can be awaited; drop the await"
            ),
        ]
    )


def test_timer_explains_no_other_error_of_await(project: Project) -> None:
    project.tests("""
        @pytest.mark.asyncio
        async def test_x(perf_timer):
            await perf_timer(ask)
            await answer()
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    assert "drop the await" not in shown(result)


def test_timer_keeps_what_it_recorded_when_a_later_round_raises(project: Project) -> None:
    project.tests("""
        calls = []
        def third_raises():
            calls.append(1)
            if len(calls) == 4:  # one of them is the warmup
                raise OSError("down")
        @pytest.mark.perf_budget(latency="60s")
        def test_x(perf_timer):
            perf_timer(third_raises)
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    assert "OSError: down" in shown(result)
    measurement = project.measurement()
    assert (measurement["calls"], measurement["errors"]) == (3, 1)
    assert measurement["notes"] == ["1 of 3 calls raised (1 × OSError)"]


def test_timer_keeps_labels_apart(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget("retrieve", latency="60s")
        @pytest.mark.perf_budget("slow", latency="1ms")
        def test_x(perf_timer):
            perf_timer["retrieve"](answer)
            perf_timer["slow"](nap)
            with perf_timer.measure("plan") as call:
                call.first_item()
            assert perf_timer["retrieve"].latency.count == 5
            assert perf_timer["plan"].ttft.count == 1
    """)
    project.run().assert_outcomes(failed=1)
    labels = [one["label"] for one in project.record()["measurements"]]
    assert labels == ["retrieve", "slow", "plan"]
    verdicts = {one["label"]: one["status"] for one in project.record()["verdicts"]}
    assert verdicts == {"slow": "failed", "retrieve": "passed"}


def test_timer_holds_every_label_to_a_budget_without_one_and_prefers_that_with_one(
    project: Project,
) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="1ms")
        @pytest.mark.perf_budget("slow", latency="60s")
        def test_x(perf_timer):
            perf_timer["slow"](nap)
            perf_timer["other"](nap)
    """)
    project.run().assert_outcomes(failed=1)
    verdicts = {one["label"]: one["status"] for one in project.record()["verdicts"]}
    assert verdicts == {"other": "failed", "slow": "passed"}


def test_timer_wraps_and_counts_calls_of_an_agent(project: Project) -> None:
    project.tests("""
        class Agent:
            def call_tool(self):
                return 1
            def ask(self):
                return self.call_tool() + self.call_tool()
        @pytest.mark.perf_budget(tool_calls=1)
        def test_count(perf_timer):
            agent = Agent()
            perf_timer.count(agent, "call_tool", metric="tool_calls")
            assert perf_timer(agent.ask) == 2
        @pytest.mark.perf_budget(error_rate="10%")
        def test_wrap(perf_timer):
            ask = perf_timer.wrap(lambda: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                ask()
        def test_patch(perf_timer):
            agent = Agent()
            perf_timer.patch(agent, "call_tool")
            agent.ask()
    """)
    result = project.run()
    result.assert_outcomes(failed=2, passed=1)
    assert project.sentence("tool_calls", "test_count").startswith("tool calls was 2, budget 1 (")
    assert project.sentence("error_rate", "test_wrap").startswith("error rate was 100 %, budget")
    assert project.measurement("test_patch", "call_tool")["calls"] == 2


@pytest.mark.parametrize("ending", ["pass", "raise OSError('down')", "pytest.skip('no')"])
def test_timer_restores_patched_attributes_when_the_test_ends(
    project: Project, ending: str
) -> None:
    project.tests(f"""
        class Agent:
            def ask(self):
                pass
            def call_tool(self):
                pass
        agent = Agent()
        before = Agent.call_tool
        def test_x(perf_timer):
            perf_timer.patch(agent, "ask")
            perf_timer.count(Agent, "call_tool", metric="tool_calls")
            assert "ask" in vars(agent)
            assert Agent.call_tool is not before
            {ending}
        def test_y():
            assert vars(agent) == {{}}
            assert Agent.call_tool is before
    """)
    result = project.run()
    assert result.parseoutcomes().get("passed") == (2 if ending == "pass" else 1)
    assert "assert vars(agent)" not in shown(result)


@pytest.mark.parametrize(
    ("source", "when"),
    [
        (
            """
            @pytest.fixture
            def warm(perf_timer):
                return perf_timer(answer)
            def test_x(warm):
                pass
            """,
            "setup",
        ),
        (
            """
            @pytest.fixture(scope="session")
            def warm(perf_timer):
                return perf_timer(answer)
            def test_x(warm):
                pass
            """,
            "setup",
        ),
        (
            """
            @pytest.fixture
            def late(perf_timer):
                yield
                perf_timer.latency
            def test_x(late):
                pass
            """,
            "teardown",
        ),
        (
            """
            @pytest.fixture
            def warm(request):
                return request.getfixturevalue("perf_timer").measure("x")
            @pytest.mark.perf
            def test_x(warm):
                pass
            """,
            "setup",
        ),
    ],
    ids=["fixture", "session fixture", "after the test", "getfixturevalue"],
)
def test_timer_explains_itself_when_it_is_used_outside_of_the_call_phase(
    project: Project, source: str, when: str
) -> None:
    project.tests(source)
    result = project.run()
    assert result.parseoutcomes()["errors"] == 1
    result.stdout.fnmatch_lines(
        [
            f"*ERROR at {when} of test_x*",
            (
                "E *UsageError: perf_timer was used outside of the call of a measured test; use it"
                " in the test itself, which names it as an argument, and not in a fixture"
            ),
        ]
    )


def test_timer_explains_itself_when_a_test_that_is_not_measured_asks_for_it(
    project: Project,
) -> None:
    project.tests("""
        def test_x(request):
            request.getfixturevalue("perf_timer")(answer)
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            (
                "E *UsageError: perf_timer was requested while the tests run; name it as an"
                " argument of the test"
            )
        ]
    )


def test_timer_explains_itself_when_only_other_tests_are_measured(project: Project) -> None:
    project.tests("""
        def test_measured(perf_timer):
            perf_timer(answer)
        def test_x(request):
            request.getfixturevalue("perf_timer")(answer)
    """)
    result = project.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *UsageError: perf_timer was used outside of the call of a*"])


def test_timer_works_when_a_measured_test_asks_for_it_by_name(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf
        def test_x(request):
            request.getfixturevalue("perf_timer")["late"](answer)
    """)
    project.run().assert_outcomes(passed=1)
    assert project.measurement("test_x", "late")["calls"] >= 1


def test_timer_begins_no_round_after_max_time_and_cuts_none(project: Project) -> None:
    project.tests("""
        ended = []
        def hang():
            time.sleep(0.05)
            ended.append(1)
        @pytest.mark.perf(rounds=50, warmup=0, max_time="120ms")
        def test_x(perf_timer):
            perf_timer(hang)
            assert 1 <= len(ended) <= 3
            assert perf_timer.latency.count == len(ended)
            assert perf_timer.latency.min >= 0.04
    """)
    project.run().assert_outcomes(passed=1)
    (note,) = project.measurement()["notes"]
    assert note.endswith(" of 50 rounds were made within max_time 120 ms")


def test_timer_says_at_once_when_the_rounds_will_not_fit(project: Project) -> None:
    project.tests("""
        calls = []
        def hang():
            calls.append(1)
            time.sleep(0.05)
            if len(calls) == 2:
                os._exit(7)  # what was not written by now never will be
        @pytest.mark.perf(rounds=50, warmup=0, max_time="1s")
        def test_x(perf_timer):
            print("captured")
            perf_timer(hang)
    """)
    result = project.run_apart()
    assert result.ret == 7
    assert "captured" not in shown(result)
    result.stdout.fnmatch_lines(
        [
            (
                "agentperf: hang: 50 rounds of about * ms will not fit in max_time 1 s;"
                " max_time='*' would do"
            )
        ]
    )


def test_timer_says_that_the_rounds_will_not_fit_past_the_fixtures_that_capture(
    project: Project,
) -> None:
    project.tests("""
        @pytest.mark.perf(rounds=50, warmup=0, max_time="1ms")
        def test_x(perf_timer, capsys):
            perf_timer(nap)
            assert capsys.readouterr() == ("", "")
    """)
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["agentperf: nap: 50 rounds of about * will not fit in max_time *"])


def test_timer_is_silent_when_the_rounds_fit(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf(rounds=5, max_time="60s")
        def test_x(perf_timer):
            perf_timer(answer)
    """)
    assert "will not fit" not in shown(project.run())


def test_timer_makes_as_many_rounds_as_the_tightest_percentile_needs(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(p95="60s")
        def test_p95(perf_timer):
            perf_timer(answer)
        @pytest.mark.perf_budget(p95="60s", p99="60s")
        def test_p99(perf_timer):
            perf_timer(answer)
        @pytest.mark.perf_budget(p99="60s")
        @pytest.mark.perf(rounds=7, warmup=2, max_calls=9)
        def test_stated(perf_timer):
            perf_timer(answer)
    """)
    project.run().assert_outcomes(passed=3)
    assert project.calls() == {"test_p95": [20], "test_p99": [100], "test_stated": [7]}


def test_timer_refuses_a_call_that_was_made_already(project: Project) -> None:
    project.tests("""
        @pytest.mark.asyncio
        async def test_x(perf_timer):
            await perf_timer(ask("q"))
    """)
    result = project.run_apart("-Werror")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *UsageError: perf_timer got a coroutine; expected a callable*"])
    assert "RuntimeWarning" not in shown(result)
