"""Tests of the fixture perf_load in tests of users."""

import pytest

from pytest_agentperf.measure.load.lag import LagProbe

from .conftest import Project, shown

CALLS = """
import asyncio, time

async def second():
    await asyncio.sleep(1)

async def quick():
    await asyncio.sleep(0.01)

async def refused():
    await asyncio.sleep(0.001)
    raise ConnectionError("no server at port 80")

async def words():
    for word in "abc":
        await asyncio.sleep(0.01)
        yield word

def blocking():
    time.sleep(0.01)
"""


@pytest.fixture
def busy_loads(project: Project) -> Project:
    project.write("calls.py", CALLS)
    return project


@pytest.fixture
def loads(busy_loads: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose verdicts do not depend on what else this machine does."""
    monkeypatch.setattr(LagProbe, "start", lambda _: None)
    return busy_loads


def test_load_in_an_async_test_is_awaited(loads: Project) -> None:
    loads.tests("""
        from calls import *
        @pytest.mark.asyncio
        async def test_x(perf_load):
            result = await perf_load(quick, users=5, requests=20)
            assert (result.calls, result.error_rate, result.model) == (20, 0, "closed")
            assert result.latency.p50 >= 0.009
            result = await perf_load(blocking, users=5, requests=20)
            assert result.calls == 20
            result = await perf_load(lambda: quick(), rate="100/s", duration="200ms")
            assert (result.calls, result.model) == (20, "open")
    """)
    loads.run("-W", "error").assert_outcomes(passed=1)


def test_load_in_a_sync_test_returns_its_result(loads: Project) -> None:
    loads.tests("""
        from calls import *
        def test_x(perf_load):
            result = perf_load(blocking, users=5, requests=20)
            assert (result.calls, result.in_flight_max) == (20, 5)
            assert 0.009 < result.latency.p50
            assert perf_load(blocking, rate=50, duration="200ms").calls == 10
    """)
    loads.run("-W", "error").assert_outcomes(passed=1)
    measurement = loads.measurement()
    assert measurement["calls"] == 20
    assert measurement["metrics"]["throughput"] > 0


def test_load_keeps_the_event_loop_of_a_sync_test(loads: Project) -> None:
    loads.tests("""
        from calls import *
        def test_x(perf_load):
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            perf_load(blocking, users=1, requests=1)
            assert asyncio.get_event_loop() is loop
            asyncio.set_event_loop(None)
            loop.close()
    """)
    loads.run().assert_outcomes(passed=1)


def test_async_function_in_a_sync_test_is_an_error_that_says_what_to_do(loads: Project) -> None:
    loads.tests("""
        from calls import *
        def test_x(perf_load):
            perf_load(quick, users=1, requests=1)
        def test_hidden(perf_load):
            perf_load(lambda: quick(), users=1, requests=1)
        def test_hook(perf_load):
            perf_load(blocking, users=1, requests=1, on_start=quick)
    """)
    result = loads.run()
    result.assert_outcomes(failed=3)
    assert "perf_load(quick) needs an event loop of asyncio" in shown(result)
    assert "write the test as `async def` and await perf_load(…) there" in shown(result)


def test_budgets_are_judged_by_what_a_load_came_to(loads: Project) -> None:
    loads.tests("""
        from calls import *
        @pytest.mark.asyncio
        @pytest.mark.perf_budget(p95="500ms", error_rate="1%", throughput="1/s")
        async def test_slow(perf_load):
            await perf_load(second, users=40, requests=80)
        @pytest.mark.asyncio
        @pytest.mark.perf_budget(error_rate="1%")
        async def test_refused(perf_load):
            parts = iter([quick, refused] * 20)
            async def ask():
                await next(parts)()
            await perf_load(ask, users=4, requests=40)
    """)
    result = loads.run()
    result.assert_outcomes(failed=2)
    assert loads.statuses()["test_slow"] == {
        "latency_p95": "failed",
        "error_rate": "passed",
        "throughput": "passed",
    }
    assert "p95 latency was 1" in shown(result)
    assert "error rate was 50 %, budget 1 % (40 calls; marker on" in shown(result)
    assert "20 of 40 calls failed (20 × ConnectionError), the first with ConnectionError: no" in (
        shown(result)
    )


def test_load_whose_own_loop_was_late_is_undecided(busy_loads: Project) -> None:
    busy_loads.tests("""
        from calls import *
        async def compute():
            time.sleep(0.02)
            await asyncio.sleep(0)
        @pytest.mark.asyncio
        @pytest.mark.perf_budget(p95="60s", throughput="1000/s", error_rate=0)
        async def test_x(perf_load):
            result = await perf_load(compute, users=5, requests=50)
            assert "late itself" in result.doubt
    """)
    busy_loads.run().assert_outcomes(passed=1)
    assert busy_loads.verdicts() == {
        "latency_p95": "undecided",
        "throughput": "undecided",
        "error_rate": "passed",
    }
    busy_loads.run("--perf-strict").assert_outcomes(failed=1)


def test_budget_of_a_load_without_calls_fails(loads: Project) -> None:
    loads.tests("""
        from calls import *
        @pytest.mark.asyncio
        @pytest.mark.perf_budget(throughput="1/s")
        async def test_x(perf_load):
            pass
    """)
    result = loads.run()
    result.assert_outcomes(failed=1)
    assert "throughput was not measured: nothing recorded it; it is recorded by perf_load" in (
        shown(result)
    )


def test_labels_and_scenarios_have_budgets_of_their_own(loads: Project) -> None:
    loads.tests("""
        from calls import *
        from pytest_agentperf import Scenario
        @pytest.mark.asyncio
        @pytest.mark.perf_budget("night", error_rate="100%")
        @pytest.mark.perf_budget("broken", error_rate="50%")
        @pytest.mark.perf_budget("good", error_rate=0)
        async def test_x(perf_load):
            mix = [Scenario(quick, name="good"), Scenario(refused, name="broken")]
            await perf_load["night"](mix, users=2, requests=20)
    """)
    loads.run().assert_outcomes(failed=1)
    record = loads.record()
    assert {(v["label"], v["status"]) for v in record["verdicts"]} == {
        ("night", "passed"),
        ("broken", "failed"),
        ("good", "passed"),
    }


def test_stages_have_budgets_of_their_own_where_that_is_asked_for(loads: Project) -> None:
    loads.tests("""
        from calls import *
        @pytest.mark.asyncio
        @pytest.mark.perf_budget("stage 2", error_rate="1%")
        async def test_x(perf_load):
            began = time.monotonic()
            async def ask():
                await (refused if time.monotonic() - began > 0.25 else quick)()
            await perf_load(ask, stages="200ms:50/s,200ms:50/s", each="stage")
    """)
    loads.run().assert_outcomes(failed=1)
    assert [one["label"] for one in loads.record()["measurements"]] == [None, "stage 1", "stage 2"]
    assert [one["label"] for one in loads.record()["verdicts"]] == ["stage 2"]


def test_streams_have_their_metrics_under_load(loads: Project) -> None:
    loads.tests("""
        from calls import *
        @pytest.mark.asyncio
        @pytest.mark.perf_budget(ttft="60s", itl="60s", goodput="1/s")
        async def test_x(perf_load):
            result = await perf_load(words, users=5, requests=20, goodput={"ttft": "60s"})
            assert result.ttft.count == 20
            assert result.itl.count == 40
    """)
    loads.run().assert_outcomes(passed=1)
    assert set(loads.verdicts()) == {"ttft_max", "itl_max", "goodput"}


def test_load_that_is_not_awaited_fails_its_test(loads: Project) -> None:
    loads.tests("""
        from calls import *
        @pytest.mark.asyncio
        async def test_x(perf_load):
            perf_load(quick, users=1, requests=1)
    """)
    result = loads.run("-W", "error")
    result.assert_outcomes(failed=1)
    assert "perf_load(quick) was never awaited: nothing was called; write `await perf_load" in (
        shown(result)
    )


def test_load_that_runs_on_when_its_test_has_ended_fails_it_and_ends(loads: Project) -> None:
    loads.tests("""
        from calls import *
        @pytest.mark.asyncio
        async def test_x(perf_load):
            running = asyncio.create_task(perf_load(quick, users=2, duration=600))
            await asyncio.sleep(0.2)
    """)
    result = loads.run()
    result.assert_outcomes(failed=1)
    assert "perf_load(quick) had not ended when the test did: its calls are incomplete" in (
        shown(result)
    )
    assert loads.measurement()["calls"] > 0


def test_load_of_which_every_call_fails_ends_early_and_fails_its_test(loads: Project) -> None:
    loads.tests("""
        from calls import *
        @pytest.mark.asyncio
        async def test_x(perf_load):
            result = await perf_load(refused, users=2, duration=600)
            assert result.error_rate == 1
            assert result.first_error == "ConnectionError: no server at port 80"
    """)
    result = loads.run()
    result.assert_outcomes(failed=1)
    assert "calls failed, the first with ConnectionError: no server at port 80" in shown(result)


def test_hopeless_load_ends_where_it_may(loads: Project) -> None:
    loads.tests("""
        from calls import *
        @pytest.mark.asyncio
        @pytest.mark.perf_budget(error_rate="1%")
        async def test_x(perf_load):
            parts = iter([quick, *[refused] * 1_000_000])
            async def ask():
                await next(parts)()
            await perf_load(ask, users=2, duration=20, arm_after="500ms", abort_on_fail=True)
    """)
    result = loads.run()
    result.assert_outcomes(failed=1)
    assert "perf_load(test_x.<locals>.ask) was ended early: after" not in shown(result)
    assert "perf_load(ask) was ended early: after" in shown(result)
    assert "of 20 s: error rate was" in shown(result)


def test_load_that_is_interrupted_is_reported_with_what_it_has(loads: Project) -> None:
    loads.tests("""
        import signal
        from calls import *
        @pytest.mark.asyncio
        async def test_x(perf_load):
            interrupt = lambda: os.kill(os.getpid(), signal.SIGINT)
            asyncio.get_running_loop().call_later(0.5, interrupt)
            await perf_load(quick, users=2, duration=600)
    """)
    result = loads.interrupted()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "it was interrupted" in shown(result)
    result.stdout.fnmatch_lines(["measured *test_it.py::test_x*"])


def test_sync_load_that_is_interrupted_is_reported_with_what_it_has(loads: Project) -> None:
    loads.tests("""
        import signal, threading
        from calls import *
        def test_x(perf_load):
            threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            perf_load(blocking, users=2, duration=600)
    """)
    result = loads.interrupted()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "it was interrupted" in shown(result)


def test_calls_that_nothing_ends_do_not_keep_pytest_from_ending(loads: Project) -> None:
    loads.tests("""
        import threading
        from calls import *
        async def ask():
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    pass
        def test_sync(perf_load):
            result = perf_load(threading.Event().wait, users=2, duration="100ms", grace="100ms")
            assert result.errors == {"UnfinishedCall": 2}
        @pytest.mark.asyncio
        async def test_async(perf_load):
            result = await perf_load(ask, users=2, duration="100ms", grace="100ms")
            assert result.calls == 0
            assert "2 calls went on although they were cancelled" in str(result)
    """)
    result = loads.run_apart()
    result.assert_outcomes(passed=1, failed=1)
    assert "each of its 2 calls failed" in shown(result)
    assert "2 calls went on although they were cancelled" in shown(result)


def test_quick_run_calls_each_scenario_once(loads: Project) -> None:
    loads.tests("""
        from calls import *
        from pytest_agentperf import Scenario
        @pytest.mark.asyncio
        @pytest.mark.perf_budget(p95="1ms", error_rate="0%")
        async def test_x(perf_load):
            mix = [Scenario(quick, weight=9), Scenario(words)]
            result = await perf_load(mix, stages="5m:100,10m:500", think_time="1min")
            assert {name: part.calls for name, part in result.scenarios.items()} == {
                "quick": 1, "words": 1
            }
    """)
    loads.run("--perf-quick").assert_outcomes(passed=1)
    assert set(loads.verdicts()) == {"error_rate"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("perf_load(blocking, users=3)", "LoadError: users=3 without an end"),
        ("perf_load(blocking)", "LoadError: none of them: expected one of users="),
        ("perf_load(blocking())", "LoadTypeError: a load got a NoneType"),
        ("perf_load([], users=1, requests=1)", "LoadError: perf_load got no scenario"),
        ("perf_load([blocking, blocking], users=1, requests=1)", "expected a Scenario for each"),
        ("perf_load([Scenario(answer), 5], users=1, requests=1)", "got 5 among scenarios"),
        ("perf_load([Scenario(answer)] * 2, users=1, requests=1)", "called 'answer'; tell them"),
        ("perf_load(Scenario(answer), 5, users=1, requests=1)", "give them to the Scenario"),
        ("perf_load(answer, users=1, requests=1, each='call')", "unknown each 'call'"),
        ("perf_load(answer, rate=1, requests=1, on_start=answer)", "on_start= is for users"),
        ("perf_load(answer, users=1, requests=1, on_stop=5)", "on_stop=5: expected a callable"),
        ("perf_load['']", "label=''"),
        ("perf_load(answer, users=1, requests=1, question='q')", "unknown keyword of perf_load"),
    ],
)
def test_what_cannot_be_meant_is_an_error_of_ours(loads: Project, call: str, message: str) -> None:
    loads.tests(f"""
        from calls import *
        from pytest_agentperf import Scenario
        def test_x(perf_load):
            {call}
    """)
    result = loads.run()
    result.assert_outcomes(failed=1)
    assert message in shown(result)


def test_load_outside_of_a_test_is_an_error(loads: Project) -> None:
    loads.tests("""
        from calls import *
        @pytest.fixture
        def loaded(perf_load):
            perf_load(blocking, users=1, requests=1)
        def test_x(loaded):
            pass
    """)
    result = loads.run()
    result.assert_outcomes(errors=1)
    assert "perf_load was used outside of the call of a measured test" in shown(result)


def test_loads_run_under_xdist(loads: Project) -> None:
    loads.tests("""
        from calls import *
        @pytest.mark.asyncio
        @pytest.mark.perf_budget(error_rate="1%")
        async def test_x(perf_load):
            await perf_load(words, users=5, requests=20)
        def test_sync(perf_load):
            perf_load(blocking, users=5, requests=20)
    """)
    loads.run_with_workers().assert_outcomes(passed=2)
    assert loads.measurement("test_x")["calls"] == 20
    assert {"throughput", "p95 latency"} <= loads.measurement("test_x")["curves"].keys()


def test_targets_of_production_are_budgets_of_a_load(loads: Project) -> None:
    loads.tests("""
        from calls import *
        from pytest_agentperf import SIMPLE_AGENT
        @pytest.mark.asyncio
        @pytest.mark.perf_budget(**SIMPLE_AGENT)
        async def test_x(perf_load):
            await perf_load(second, users=20, requests=40)
    """)
    loads.run().assert_outcomes(failed=1)
    assert loads.verdicts() == {
        "latency_p95": "failed",
        "throughput": "failed",
        "error_rate": "passed",
        "rss_peak": "passed",
    }
