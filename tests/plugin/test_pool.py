"""perf_pool in a user's project: budgets, labels, findings, xdist, and what is undecided."""

import pytest

from .conftest import Project, shown

POOL = """
    import pytest_agentperf.reference.pool
    import pytest_agentperf.reference.batcher

    async def connect():
        return object()

    async def close(connection):
        pass

    def new_pool(max_size):
        return pytest_agentperf.reference.pool.Pool(connect, close, max_size=max_size)

    async def lease(pool, seconds=0.01):
        async with pool.acquire():
            await asyncio.sleep(seconds)

    async def burst(pool, callers):
        await asyncio.gather(*(lease(pool) for _ in range(callers)))
"""


@pytest.fixture
def pools(project: Project) -> Project:
    project.write("pools.py", "import asyncio\n" + POOL.replace("\n    ", "\n"))
    return project


def test_budgets_of_a_pool_that_is_too_small_fail_with_what_happened(pools: Project) -> None:
    pools.tests("""
        from pools import *
        @pytest.mark.asyncio
        @pytest.mark.perf_budget(
            pool_utilization_max="80%", pool_wait_p95="5ms", pool_reuse_rate="90%"
        )
        async def test_x(perf_pool):
            pool = new_pool(2)
            async with perf_pool(pool):
                await burst(pool, 6)
    """)
    result = pools.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "pool utilization* was 100 %, budget 80 %: 2 of 2 connections of Pool were in use at*",
            "pool wait p95 was * ms, budget 5 ms: 4 of 6 callers waited for a connection of Pool*",
            "pool reuse rate was 66.7 %, budget 90 %: 6 leases of Pool opened 2 connections (*",
        ],
        consecutive=True,
    )
    assert "Little's law recommends" in shown(result)
    assert "marker on test_it.py::test_x" in shown(result)


def test_budgets_of_a_pool_that_is_large_enough_pass(pools: Project) -> None:
    pools.tests("""
        from pools import *
        @pytest.mark.asyncio
        @pytest.mark.perf_budget(
            pool_utilization_max=0.8, pool_wait_p95="1s", pool_reuse_rate="50%"
        )
        async def test_x(perf_pool):
            pool = new_pool(4)
            async with perf_pool(pool) as use:
                await burst(pool, 2)
                await burst(pool, 2)
            use.assert_not_exhausted()
            use.assert_no_leaks()
    """)
    pools.run("-W", "error").assert_outcomes(passed=1)
    metrics = pools.measurement()["metrics"]
    assert metrics["pool_utilization_max"] == 0.5
    assert metrics["pool_reuse_rate"] == 0.5


def test_budget_without_an_acquire_is_undecided_and_fails_a_strict_run(pools: Project) -> None:
    pools.tests("""
        from pools import *
        @pytest.mark.perf_budget(pool_utilization_max="80%")
        def test_x(perf_pool):
            with perf_pool(new_pool(2)):
                pass
    """)
    result = pools.run()
    result.assert_outcomes(passed=1)
    assert pools.statuses() == {"test_x": {"pool_utilization_max": "undecided"}}
    result.stdout.fnmatch_lines(["*nothing was acquired from Pool inside the block*"])
    pools.run("--perf-strict").assert_outcomes(failed=1)


def test_one_pool_of_two_that_was_not_used_leaves_the_budget_undecided(pools: Project) -> None:
    pools.tests("""
        from pools import *
        @pytest.mark.asyncio
        @pytest.mark.perf_budget(pool_utilization_max="80%")
        async def test_x(perf_pool):
            used, unused = new_pool(2), new_pool(2)
            with perf_pool(used), perf_pool(unused):
                await lease(used)
    """)
    pools.run().assert_outcomes(passed=1)
    assert pools.statuses() == {"test_x": {"pool_utilization_max": "undecided"}}


def test_budget_whose_fixture_was_not_used_is_an_error(pools: Project) -> None:
    pools.tests("""
        @pytest.mark.perf_budget(pool_utilization_max="80%")
        def test_x():
            pass
    """)
    result = pools.run()
    assert "perf_pool" in shown(result)
    assert result.ret != 0


def test_labels_tell_two_pools_apart(pools: Project) -> None:
    pools.tests("""
        from pools import *
        @pytest.mark.asyncio
        @pytest.mark.perf_budget("small", pool_utilization_max="100%")
        @pytest.mark.perf_budget("large", pool_utilization_max="20%")
        async def test_x(perf_pool):
            small, large = new_pool(2), new_pool(4)
            with perf_pool(small, "small"), perf_pool(large, "large"):
                await burst(small, 2)
                await burst(large, 1)
    """)
    result = pools.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*pool utilization* was 25 %, budget 20 %: 1 of 4 connections of Pool 'large' were*"]
    )


def test_findings_stand_in_the_report_with_the_line_that_leaks(pools: Project) -> None:
    pools.tests("""
        from pools import *
        @pytest.mark.asyncio
        async def test_x(perf_pool):
            pool = new_pool(4)
            with perf_pool(pool):
                lease = await pool.acquire()  # kept
            lease.release()
    """)
    result = pools.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*1 connection of Pool was not returned*test_it.py:* in test_x: lease = await*# kept*"]
    )


def test_accepted_finding_is_none(pools: Project) -> None:
    pools.tests("""
        from pools import *
        @pytest.mark.asyncio
        async def test_x(perf_pool):
            pool = new_pool(4)
            with perf_pool(pool) as use:
                lease = await pool.acquire()
            use.assert_no_leaks()
            lease.release()
    """)
    option = pools.budgets("""
        [accept.pool_leak]
        "test_it.py::test_x" = "held for the whole test"
    """)
    result = pools.run(option)
    result.assert_outcomes(passed=1)
    assert "not returned" not in shown(result)


def test_assertion_fails_the_test_with_its_sentence(pools: Project) -> None:
    pools.tests("""
        from pools import *
        @pytest.mark.asyncio
        async def test_x(perf_pool):
            pool = new_pool(1)
            with perf_pool(pool) as use:
                await burst(pool, 2)
            use.assert_not_exhausted()
    """)
    result = pools.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *CheckError: 1 of 1 connections of Pool were in use at once*"])


def test_batchers_have_findings_and_no_metric(pools: Project) -> None:
    pools.tests("""
        from pools import *
        async def double(items):
            return [2 * item for item in items]
        @pytest.mark.asyncio
        async def test_x(perf_pool):
            batcher = pytest_agentperf.reference.batcher.Batcher(double)
            with perf_pool(batcher) as use:
                for item in range(3):
                    await batcher(item)
            assert use.lone_share == 1
    """)
    result = pools.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*Batcher made 3 batches of 3 items (3 by idle): 3 items went al*"]
    )


def test_calls_of_perf_timer_are_seen_as_well(pools: Project) -> None:
    pools.tests("""
        from pools import *
        @pytest.mark.asyncio
        @pytest.mark.perf(rounds=5, warmup=1)
        @pytest.mark.perf_budget(pool_reuse_rate="80%", latency="10s")
        async def test_x(perf_timer, perf_pool):
            pool = new_pool(2)
            with perf_pool(pool) as use:
                await perf_timer(lease, pool)
            assert use.acquired == 6
    """)
    pools.run().assert_outcomes(passed=1)


def test_door_is_closed_outside_of_the_call_of_a_test(pools: Project) -> None:
    pools.tests("""
        from pools import *
        @pytest.fixture
        def use(perf_pool):
            with perf_pool(new_pool(2)) as use:
                yield use
        def test_x(use): pass
    """)
    result = pools.run()
    result.assert_outcomes(errors=1)
    assert "perf_pool was used outside of the call of a measured test" in shown(result)


def test_examples_of_hypothesis_use_the_same_door(pools: Project) -> None:
    pools.tests("""
        from hypothesis import given, settings, strategies as st
        from pools import *
        @settings(max_examples=3, database=None)
        @given(callers=st.integers(1, 3))
        def test_x(perf_pool, callers):
            pool = new_pool(3)
            with perf_pool(pool) as use:
                asyncio.run(burst(pool, callers))
            assert use.acquired == callers
    """)
    pools.run().assert_outcomes(passed=1)


def test_verdicts_cross_xdist(pools: Project) -> None:
    pools.tests("""
        from pools import *
        @pytest.mark.asyncio
        @pytest.mark.perf_budget(pool_utilization_max="80%")
        @pytest.mark.parametrize("size", [1, 4])
        async def test_x(perf_pool, size):
            pool = new_pool(size)
            with perf_pool(pool):
                await burst(pool, 2)
    """)
    result = pools.run_with_workers()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*1 of 1 connections of Pool were in use at once*"])
    assert pools.statuses() == {
        "test_x[1]": {"pool_utilization_max": "failed"},
        "test_x[4]": {"pool_utilization_max": "passed"},
    }


def test_suite_without_pools_imports_nothing_of_them(pools: Project) -> None:
    pools.tests("""
        import sys
        @pytest.mark.perf
        def test_x(perf_timer):
            perf_timer(answer)
            assert not [name for name in sys.modules if ".measure.pool" in name]
    """)
    pools.run_apart().assert_outcomes(passed=1)
