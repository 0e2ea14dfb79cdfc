"""perf_concurrency in a user's project: the fixture, the marker, the file, every kind of test."""

import pytest

from tests.plugin.conftest import Project, shown

BLOCK = "loop_block_max='50ms'"


def test_watch_of_a_clean_block_passes_every_assertion(project: Project) -> None:
    project.tests("""
        @pytest.mark.asyncio
        async def test_x(perf_concurrency):
            async with perf_concurrency() as watch:
                await asyncio.gather(asyncio.sleep(0.05), asyncio.sleep(0.05))
            watch.assert_not_blocked("30ms")
            watch.assert_no_leaks()
            assert watch.blocking == [] and watch.leaked_tasks == []
    """)
    project.run().assert_outcomes(passed=1)
    metrics = project.measurement()["metrics"]
    assert metrics["loop_block_max"] == 0
    assert metrics["leaked_tasks"] == metrics["leaked_threads"] == metrics["leaked_fds"] == 0


def test_blocking_line_is_named_by_assertion_and_budget(project: Project) -> None:
    project.tests(f"""
        async def work():
            await asyncio.sleep(0)
            time.sleep(0.2)  # the line
        @pytest.mark.asyncio
        async def test_assert(perf_concurrency):
            async with perf_concurrency() as watch:
                await work()
            (block,) = watch.blocking
            assert 0.15 < block.seconds < 1
            assert block.where.endswith("in work: time.sleep(0.2)  # the line")
            watch.assert_not_blocked("50ms")
        @pytest.mark.asyncio
        @pytest.mark.perf_budget({BLOCK})
        async def test_fixture(perf_concurrency):
            async with perf_concurrency():
                await work()
        @pytest.mark.asyncio
        @pytest.mark.perf_budget({BLOCK})
        async def test_marker():
            await work()
    """)
    result = project.run()
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            (
                "E *CheckError: the event loop was blocked for * ms, at most 50 ms is expected*"
                "test_it.py:* in work: time.sleep(0.2)  # the line*"
            ),
            (
                "loop block max was * ms, budget 50 ms: *test_it.py:* in work: time.sleep(0.2)*"
                " (1 round*; marker on test_it.py::test_fixture)"
            ),
            (
                "loop block max was * ms, budget 50 ms: *test_it.py:* in work: time.sleep(0.2)*"
                " (1 round*; marker on test_it.py::test_marker)"
            ),
        ]
    )


@pytest.mark.parametrize(
    ("marks", "fixture"),
    [
        ("@pytest.mark.asyncio", ""),
        ('@pytest.mark.asyncio(loop_scope="session")', ""),
        ("@pytest.mark.anyio", "anyio_backend"),
    ],
)
def test_marker_alone_judges_any_async_test(project: Project, marks: str, fixture: str) -> None:
    project.tests(f"""
        @pytest.fixture
        def anyio_backend():
            return "asyncio"
        {marks}
        @pytest.mark.perf_budget({BLOCK}, leaked_tasks=0)
        async def test_blocks({fixture}):
            time.sleep(0.2)
        {marks}
        @pytest.mark.perf_budget({BLOCK}, leaked_tasks=0)
        async def test_leaks({fixture}):
            global kept
            kept = asyncio.create_task(asyncio.sleep(100))
            await asyncio.sleep(0)
        {marks}
        @pytest.mark.perf_budget({BLOCK}, leaked_tasks=0)
        async def test_clean({fixture}):
            await asyncio.sleep(0.01)
    """)
    result = project.run()
    result.assert_outcomes(failed=2, passed=1)
    assert project.statuses() == {
        "test_blocks": {"loop_block_max": "failed", "leaked_tasks": "passed"},
        "test_leaks": {"loop_block_max": "passed", "leaked_tasks": "failed"},
        "test_clean": {"loop_block_max": "passed", "leaked_tasks": "passed"},
    }
    result.stdout.fnmatch_lines(["leaked tasks was 1, budget 0: *test_it.py:*sleep(100)*"])


def test_marker_judges_hypothesis_and_unittest_tests(project: Project) -> None:
    project.tests(f"""
        from hypothesis import given, settings, strategies as st
        @pytest.mark.asyncio
        @pytest.mark.perf_budget({BLOCK})
        @settings(max_examples=5, deadline=None)
        @given(st.just(0.2))
        async def test_examples(seconds):
            time.sleep(seconds)
        class TestCase(unittest.IsolatedAsyncioTestCase):
            @pytest.mark.perf_budget({BLOCK})
            async def test_method(self):
                time.sleep(0.2)
    """)
    project.run().assert_outcomes(failed=2)
    assert project.statuses() == {
        "test_examples": {"loop_block_max": "failed"},
        "TestCase::test_method": {"loop_block_max": "failed"},
    }


def test_setup_of_an_async_fixture_is_watched_under_its_own_label(project: Project) -> None:
    project.tests(f"""
        import pytest_asyncio
        @pytest_asyncio.fixture
        async def slow():
            time.sleep(0.2)
            yield 1
        @pytest_asyncio.fixture
        async def quick():
            return 2
        @pytest.mark.asyncio
        @pytest.mark.perf_budget({BLOCK})
        async def test_x(slow, quick):
            assert (slow, quick) == (1, 2)
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    labels = {
        one["label"]: one["metrics"]["loop_block_max"] for one in project.record()["measurements"]
    }
    assert labels[None] == labels["fixture quick"] == 0
    assert labels["fixture slow"] > 0.15
    result.stdout.fnmatch_lines(["loop block max was * in slow: time.sleep(0.2)*"])


def test_marker_about_the_loop_on_a_sync_test_is_a_mistake(project: Project) -> None:
    project.tests(f"""
        @pytest.mark.perf_budget({BLOCK})
        def test_x(): pass
    """)
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "loop_block_max is about an event loop and this test has none" in shown(result)


def test_pattern_about_the_loop_does_not_apply_to_sync_tests(project: Project) -> None:
    project.tests("""
        def test_sync(): pass
        @pytest.mark.asyncio
        async def test_async(): pass
    """)
    option = project.budgets("""
        [tests."test_it.py"]
        loop_block_max = "1s"
    """)
    project.run(option).assert_outcomes(passed=2)
    assert project.statuses() == {"test_sync": {}, "test_async": {"loop_block_max": "passed"}}


def test_watch_in_a_sync_test_says_what_to_use_instead(project: Project) -> None:
    project.tests("""
        def test_x(perf_concurrency):
            with perf_concurrency(): pass
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    assert "write `async with perf_concurrency()` in an async test" in shown(result)


def test_metric_that_nothing_recorded_fails_and_names_who_records_it(project: Project) -> None:
    project.tests("""
        @pytest.mark.asyncio
        @pytest.mark.perf_budget(parallelism=2)
        async def test_x(perf_concurrency):
            async with perf_concurrency(): pass
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    assert (
        "parallelism was not measured: nothing recorded it; it is recorded by perf_concu"
        in shown(result)
    )


def test_spans_feed_the_budgets(project: Project) -> None:
    project.tests("""
        class Agent:
            async def call_tool(self, name):
                await asyncio.sleep(0.05)
        @pytest.mark.asyncio
        @pytest.mark.perf_budget(parallelism=1.5, in_flight_max=2)
        @pytest.mark.parametrize("at_once", [True, False])
        async def test_x(perf_concurrency, at_once):
            agent = Agent()
            async with perf_concurrency() as watch:
                watch.track(agent, "call_tool")
                if at_once:
                    await asyncio.gather(*(agent.call_tool(n) for n in "abc"))
                else:
                    for n in "ab":
                        await agent.call_tool(n)
            assert watch.in_flight_max == {"call_tool": 3 if at_once else 1}
    """)
    project.run().assert_outcomes(failed=2)
    assert project.statuses() == {
        "test_x[True]": {"parallelism": "passed", "in_flight_max": "failed"},
        "test_x[False]": {"parallelism": "failed", "in_flight_max": "passed"},
    }


def test_latency_comes_from_rounds_without_the_watch(project: Project) -> None:
    project.tests("""
        @pytest.mark.asyncio
        @pytest.mark.perf(rounds=5, warmup=1)
        async def test_x(perf_timer, perf_concurrency):
            calls = []
            async def work():
                calls.append(1)
                time.sleep(0.06)
            async with perf_concurrency() as watch:
                await perf_timer(work)
            assert len(calls) == 7
            assert len(watch.blocking) == 1
    """)
    project.run().assert_outcomes(passed=1)
    assert project.measurement()["calls"] == 5


def test_body_alone_is_timed_under_the_watch_and_says_so(project: Project) -> None:
    project.tests("""
        @pytest.mark.asyncio
        @pytest.mark.perf_budget(latency="1ms", loop_block_max="1s")
        async def test_x():
            await asyncio.sleep(0.01)
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    assert project.measurement()["monitors"] == ["loop watch"]
    result.stdout.fnmatch_lines(
        ["max latency was * ms, budget 1 ms (1 round under the loop watch; *"]
    )


def test_accepted_finding_does_not_count_and_an_unused_entry_is_told(project: Project) -> None:
    project.tests(f"""
        def load():
            time.sleep(0.2)
        @pytest.mark.asyncio
        @pytest.mark.perf_budget({BLOCK})
        async def test_x():
            load()
    """)
    option = project.budgets("""
        [accept.blocking]
        "test_it.py::load" = "once at start-up"
        "test_it.py::gone" = "of old"
    """)
    for more in ([], ["-n2"]):
        result = project.run(option, *more)
        result.assert_outcomes(passed=1)
        assert project.measurement()["metrics"]["loop_block_max"] == 0
        sentence = 'accept.blocking."test_it.py::gone": nothing of the kind was found; remove it'
        assert f"warning: budgets.toml: {sentence} (of old)" in shown(result)
    assert "nothing of the kind" not in shown(project.run(option, "-k", "test_x"))


def test_watch_left_by_an_exception_keeps_what_it_saw(project: Project) -> None:
    project.tests("""
        @pytest.mark.asyncio
        async def test_x(perf_concurrency):
            async with perf_concurrency() as watch:
                time.sleep(0.2)
                raise OSError("boom")
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    assert "boom" in shown(result)
    assert project.measurement()["metrics"]["loop_block_max"] > 0.15


def test_test_without_a_watch_imports_nothing_of_it(project: Project) -> None:
    project.tests("""
        import sys
        def test_x(perf_timer):
            perf_timer(answer)
            assert not any("concurrency" in name for name in sys.modules if "agentperf" in name)
    """)
    project.run_apart().assert_outcomes(passed=1)


def test_scaling_is_awaited_and_asserted(project: Project) -> None:
    project.tests("""
        @pytest.mark.asyncio
        async def test_free(perf_concurrency):
            scaling = await perf_concurrency.scaling(asyncio.sleep, 0.02, levels=(1, 4), calls=3)
            scaling.assert_scales(efficiency=0.6)
        @pytest.mark.asyncio
        async def test_locked(perf_concurrency):
            lock = asyncio.Lock()
            async def ask():
                async with lock:
                    await asyncio.sleep(0.02)
            scaling = await perf_concurrency.scaling(ask, levels=(1, 4), calls=3)
            assert scaling.serial_share > 0.8
            scaling.assert_scales(efficiency=0.6)
        def test_threads(perf_concurrency):
            scaling = perf_concurrency.scaling(time.sleep, 0.02, levels=(1, 4), calls=3)
            scaling.assert_scales(efficiency=0.6)
    """)
    result = project.run()
    result.assert_outcomes(passed=2, failed=1)
    text = shown(result)
    assert "scales to 4 callers with an efficiency of 2" in text
    assert "lock" in text.partition("of a call is serial; ")[2].splitlines()[0].lower()


@pytest.mark.parametrize("exact", [False, True])
def test_import_of_the_recorder_of_spans_is_no_block(project: Project, *, exact: bool) -> None:
    project.write(
        "conftest.py",
        """
        import sys, time

        class Slow:
            @staticmethod
            def find_spec(name, path=None, target=None):
                if name.endswith("spans.recorder"):
                    time.sleep(0.2)

        def pytest_collection_finish():
            sys.meta_path.insert(0, Slow)
        """,
    )
    project.tests(f"""
        @pytest.mark.asyncio
        async def test_x(perf_concurrency):
            async with perf_concurrency(exact={exact}) as watch:
                await asyncio.sleep(0)
                with watch.span("search"):
                    await asyncio.sleep(0)
                time.sleep(0.1)
            (block,) = watch.blocking
            assert "time.sleep(0.1)" in str(block)
            assert block.seconds < 0.2
            assert watch.in_flight_max == {{"search": 1}}
    """)
    project.run_apart().assert_outcomes(passed=1)
