"""Memory in whole runs of pytest: by fixture and by marker, peaks, leaks and what is collected."""

import pytest

from .conftest import Project

BIG = "bytearray(8_000_000)"


def test_block_tells_peak_growth_and_lines(project: Project) -> None:
    project.tests(f"""
        def test_x(perf_memory):
            with perf_memory() as memory:
                gone = {BIG}
                del gone
                kept = [str(number) * 10 for number in range(1000)]
            assert 8_000_000 <= memory.peak < 8_200_000
            assert 50_000 < memory.growth < 200_000
            line = memory.top(1)[0]
            assert (line.file, line.source) == (
                "test_it.py", "kept = [str(number) * 10 for number in range(1000)]"
            )
            assert memory.gc_pauses.all is not None
            assert len(kept) == 1000
    """)
    project.run().assert_outcomes(passed=1)


def test_block_of_an_async_test_feeds_budgets_by_its_label(project: Project) -> None:
    project.tests(f"""
        @pytest.mark.asyncio
        @pytest.mark.perf_budget("load", memory_peak="5MB")
        async def test_x(perf_memory):
            async with perf_memory("load"):
                await asyncio.sleep(0)
                {BIG}
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["memory peak was 8 MB, budget 5 MB: peak * (process memory) (1 call; marker on*"]
    )


@pytest.mark.parametrize("limit", ['memory_peak="5MB"', "memory_mb=5", 'memory_per_request="5MB"'])
def test_body_alone_is_traced_in_its_one_run(project: Project, limit: str) -> None:
    project.tests(f"""
        runs = []
        @pytest.mark.perf_budget({limit})
        def test_big():
            runs.append(1)
            {BIG}
        @pytest.mark.perf_budget({limit})
        def test_small():
            assert runs == [1]
    """)
    result = project.run()
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["memory peak was 8* MB, budget 5 MB*"])


def test_trace_beside_a_latency_needs_a_rerun(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(memory_peak="5MB", latency="1s")
        def test_x(): pass
    """)
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*memory_peak would slow down what latency_max times; add*perf(rerun=True)*"]
    )


def test_rerun_is_traced_and_the_first_run_is_timed(project: Project) -> None:
    project.tests(f"""
        import tracemalloc
        traced = []
        @pytest.mark.perf(rerun=True)
        @pytest.mark.perf_budget(memory_peak="5MB", latency="10s")
        def test_x():
            traced.append(tracemalloc.is_tracing())
            {BIG}
        def test_y():
            assert traced == [False, True]
    """)
    result = project.run()
    result.assert_outcomes(failed=1, passed=1)
    assert project.statuses() == {"test_x": {"memory_peak": "failed", "latency_max": "passed"}}


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_calls_of_perf_timer_are_traced_after_the_timed_rounds(project: Project, kind: str) -> None:
    is_async = kind == "async def"
    project.tests(f"""
        import tracemalloc
        traced = []
        {kind} work():
            traced.append(tracemalloc.is_tracing())
            {BIG}
        {"@pytest.mark.asyncio" if is_async else ""}
        @pytest.mark.perf(rounds=3, warmup=0)
        @pytest.mark.perf_budget(memory_per_request="5MB", latency="10s")
        {kind} test_x(perf_timer):
            {"await " if is_async else ""}perf_timer(work)
            assert traced == [False, False, False, True]
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    assert project.statuses() == {"test_x": {"memory_peak": "failed", "latency_max": "passed"}}


def test_calls_that_may_not_be_made_leave_memory_undecided(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf(rounds=3, warmup=0, max_calls=3)
        @pytest.mark.perf_budget(memory_peak="5MB")
        def test_x(perf_timer):
            perf_timer(answer)
    """)
    result = project.run()
    result.assert_outcomes(passed=1)
    assert project.statuses() == {"test_x": {"memory_peak": "undecided"}}
    result.stdout.fnmatch_lines(["*no call of answer was metered within max_calls 3; raise it*"])


def test_defaults_switch_no_trace_on(project: Project) -> None:
    project.tests("""
        import tracemalloc
        @pytest.mark.perf
        def test_x():
            assert not tracemalloc.is_tracing()
    """)
    option = project.budgets("""
        [defaults]
        memory_peak = "1B"
        gc_pause_max = "1ns"
    """)
    result = project.run(option)
    result.assert_outcomes(passed=1)


def test_pauses_process_memory_and_processor_time_are_judged_on_the_body(project: Project) -> None:
    project.tests("""
        import gc
        @pytest.mark.perf_budget(gc_pause_max="1ns", cpu_time_per_call="1ns", rss_peak="10MB")
        def test_x():
            kept = bytes(1) * 100_000_000
            gc.collect()
    """)
    project.run().assert_outcomes(failed=1)
    assert project.statuses() == {
        "test_x": {"gc_pause_max": "failed", "cpu_time_per_call": "failed", "rss_peak": "failed"}
    }


def test_leak_is_a_verdict_that_fails_only_when_asserted(project: Project) -> None:
    project.tests("""
        class Agent:
            def __init__(self):
                self.history = []
            async def ask(self, question):
                self.history.append(question * 1000)
        @pytest.mark.asyncio
        async def test_told(perf_memory):
            leak = await perf_memory.leak(Agent().ask, "q")
            assert leak.verdict == "leak"
            assert leak.lines[0].source == "self.history.append(question * 1000)"
        @pytest.mark.asyncio
        async def test_asserted(perf_memory):
            (await perf_memory.leak(Agent().ask, "q")).assert_clean()
        def test_clean(perf_memory):
            perf_memory.leak(answer).assert_clean()
        @pytest.mark.perf_budget(memory_growth_per_call="500B")
        def test_budget(perf_memory):
            kept = []
            perf_memory.leak(lambda: kept.append(bytearray(1000)))
    """)
    result = project.run_apart()
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        ["*CheckError: Agent.ask leaks 1.* kB a call: * str held by list at test_it.py:*"]
    )
    result.stdout.fnmatch_lines(["memory growth per call was 1.* kB, budget 500 B*"])
    curves = project.measurement("test_clean")["curves"]
    assert curves["traced memory"]["points"][0] == [0, 0]
    assert curves["traced memory"]["points"][-1][0] == 60


def test_object_that_is_still_held_fails_the_test_with_its_holder(project: Project) -> None:
    project.tests("""
        import weakref
        class Session: pass
        SESSIONS = {}
        @pytest.fixture
        def provided():
            return Session()
        def test_held(perf_memory):
            SESSIONS["a"] = perf_memory.collected(Session())
        def test_gone(perf_memory):
            session = perf_memory.collected(Session())
            session.itself = session
        def test_provided(perf_memory, provided):
            perf_memory.collected(provided)
        def test_text(perf_memory):
            perf_memory.collected("text")
    """)
    result = project.run()
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(
        ["Session was to be collected and is still held by test_it.py:*SESSIONS*'a'*"]
    )
    result.stdout.fnmatch_lines(["*UsageError: collected(Session): the fixture 'provided'*"])
    result.stdout.fnmatch_lines(["*UsageError: collected(str): objects of type str cannot be*"])


def test_trace_that_the_test_stops_is_lost_and_no_pass(project: Project) -> None:
    project.tests("""
        import tracemalloc
        @pytest.mark.perf_budget(memory_peak="5MB")
        def test_x():
            tracemalloc.stop()
    """)
    result = project.run("--perf-strict")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*memory data lost: tracemalloc was stopped*"])


def test_collector_is_away_while_it_is_frozen(project: Project) -> None:
    project.tests("""
        import gc
        def test_x(perf_memory):
            with perf_memory.freeze_gc():
                assert not gc.isenabled()
            assert gc.isenabled()
            assert perf_memory.size([1000] * 10) > 80
            assert perf_memory.advise([float(n) for n in range(100_000)])
    """)
    project.run().assert_outcomes(passed=1)


def test_test_without_memory_imports_nothing_of_it(project: Project) -> None:
    project.tests("""
        import sys
        @pytest.mark.perf_budget(latency="1s")
        def test_x():
            assert not [name for name in sys.modules if "agentperf.measure.memory" in name]
    """)
    project.run_apart().assert_outcomes(passed=1)


def test_leaks_of_timed_calls_are_found_where_asked_for(project: Project) -> None:
    project.tests("""
        kept = []
        def leak():
            kept.append(bytearray(1000))
        async def leak_async():
            leak()
        def test_leaks(perf_timer):
            perf_timer(leak)
        @pytest.mark.asyncio
        async def test_leaks_async(perf_timer):
            await perf_timer(leak_async)
        def test_clean(perf_timer):
            perf_timer(answer)
        @pytest.mark.perf
        def test_body():
            leak()
        @pytest.mark.perf(rounds=2)
        def test_repeated_body():
            leak()
    """)
    result = project.run_apart("--perf-leaks")
    result.assert_outcomes(failed=3, passed=2)
    result.stdout.fnmatch_lines(
        ["leak leaks 1.* kB a call: * × bytearray held by list at test_it.py:*"]
    )
    project.run().assert_outcomes(passed=5)


LEAKING = """
        kept, calls = [], 0
        def leak():
            global calls
            calls += 1
            kept.append(bytearray(1000))
"""


def test_growth_per_call_is_judged_by_marker_alone(project: Project) -> None:
    project.tests(
        LEAKING
        + """
        @pytest.mark.perf_budget(memory_growth_per_call="500B")
        def test_timed(perf_timer):
            perf_timer(leak)
        @pytest.mark.perf_budget(memory_growth_per_call="500B")
        @pytest.mark.perf(rerun=True)
        def test_body():
            leak()
        @pytest.mark.perf_budget(memory_growth_per_call="2kB")
        def test_within(perf_timer):
            perf_timer(leak)
        @pytest.mark.perf_budget(memory_growth_per_call="500B")
        def test_clean(perf_timer):
            perf_timer(answer)
    """
    )
    result = project.run()
    result.assert_outcomes(failed=2, passed=2)
    result.stdout.fnmatch_lines(["memory growth per call was 1.* kB, budget 500 B: leak leaks*"])
    project.run("--perf-leaks").assert_outcomes(failed=2, passed=2)  # the budget allows it


def test_growth_per_call_of_a_body_that_runs_once_is_refused_with_its_cure(
    project: Project,
) -> None:
    project.tests("""
        @pytest.mark.perf_budget(memory_growth_per_call="500B")
        def test_x(): pass
    """)
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*memory_growth_per_call takes many calls*rerun=True*"])


def test_calls_that_search_for_a_leak_stay_within_the_bounds_of_the_user(
    project: Project,
) -> None:
    project.tests(
        LEAKING
        + """
        @pytest.mark.perf(max_calls=100)
        @pytest.mark.perf_budget(memory_growth_per_call="500B", memory_peak="1MB")
        def test_counted(perf_timer):
            perf_timer(leak)
            assert 80 < calls <= 100
        @pytest.mark.perf(max_time="100ms", max_calls=1_000_000)
        @pytest.mark.perf_budget(memory_growth_per_call="500B")
        def test_clocked(perf_timer):
            before = calls
            perf_timer(lambda: (time.sleep(0.001), leak()))
            assert calls - before <= 101
    """
    )
    project.run().assert_outcomes(passed=2)
    verdict = project.statuses()["test_counted"]["memory_growth_per_call"]
    assert verdict == "undecided"


def test_types_that_come_are_counted_where_asked_for(project: Project) -> None:
    project.tests("""
        class Message: pass
        def test_x(perf_memory):
            with perf_memory(types=True) as memory:
                kept = [Message() for _ in range(1000)]
            messages = [each for each in memory.types.types if each.name.endswith("Message")]
            assert [each.count for each in messages] == [1000] == [len(kept)]
        def test_y(perf_memory):
            with perf_memory() as memory:
                pass
            memory.types
    """)
    result = project.run_apart()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*UsageError: types were not counted; write perf_memory(types*"])


@pytest.mark.parametrize("budget", ['memory_peak="1GB"', 'rss_peak="1GB"'])
def test_budget_of_memory_shows_it_over_the_timed_rounds(project: Project, budget: str) -> None:
    project.tests(f"""
        import mmap
        kept, content = [], b"x" * 4_000_000
        @pytest.mark.perf(rounds=8, warmup=0)
        @pytest.mark.perf_budget({budget})
        @pytest.mark.asyncio
        async def test_x(perf_timer):
            async def leak():
                await asyncio.sleep(0.001)
                kept.append(mmap.mmap(-1, len(content)))  # pages that no block left behind
                kept[-1].write(content)
            await perf_timer(leak)
    """)
    project.run().assert_outcomes(passed=1)
    curve = project.measurement()["curves"]["rss"]
    points = dict(curve["points"])
    assert list(points) == [*range(9)]
    assert 28_000_000 < points[8] - points[0] < 60_000_000


def test_memory_is_read_between_timed_rounds_beside_perf_memory(project: Project) -> None:
    project.tests("""
        def test_x(perf_timer, perf_memory):
            perf_timer(nap)
    """)
    project.run().assert_outcomes(passed=1)
    assert project.measurement()["curves"]["rss"]["unit"] == "B"


def test_memory_is_not_read_where_only_a_default_limits_it(project: Project) -> None:
    option = project.budgets('[defaults]\nmemory_peak = "1GB"')
    project.tests("""
        def test_x(perf_timer):
            perf_timer(nap)
    """)
    project.run(option).assert_outcomes(passed=1)
    assert project.measurement()["curves"] == {}
