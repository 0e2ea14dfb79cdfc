"""perf_cache in a user's project: the fixture, budgets, undecided numbers, workers, messages."""

import textwrap

import pytest

from tests.plugin.conftest import Project, shown

_CACHED = """\
import functools

@functools.lru_cache
def cached(question):
    return question

"""


def cached_tests(project: Project, source: str) -> None:
    """Write *source* to a test file that has a function `cached` with a cache in front."""
    project.tests(_CACHED + textwrap.dedent(source))


def test_block_assertions_and_counted_loads_work_in_tests_of_both_kinds(project: Project) -> None:
    cached_tests(
        project,
        """
        def test_sync(perf_cache):
            with perf_cache(cached) as hits:
                cached("a"), cached("a")
            hits.assert_hit_rate(at_least="50%")
            hits.assert_misses(exactly=1)
            assert hits.started == "cold"
        @pytest.mark.asyncio
        async def test_async(perf_cache):
            async with perf_cache(cached, warm=True) as hits:
                cached("a")
            hits.assert_all_hits()
            load = perf_cache.count(ask)
            assert await load("q") == "answer to q"
            assert load.computed.calls == 1
    """,
    )
    project.run().assert_outcomes(passed=2)
    assert project.measurement("test_sync")["metrics"]["hit_rate"] == 0.5
    assert project.measurement("test_async")["metrics"]["hit_rate"] == 1.0


def test_budgets_judge_what_was_counted_and_say_how(project: Project) -> None:
    cached_tests(
        project,
        """
        @pytest.mark.perf_budget(hit_rate="80%", misses=2)
        def test_x(perf_cache):
            with perf_cache(cached):
                for question in "abaaa":
                    cached(question)
    """,
    )
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            (
                "hit rate was 60 %, budget 80 %: 3 hits and 2 misses of the cache of cached,"
                " cold at the start, 2 entries at the end (*; marker on test_it.py::test_x)"
            )
        ]
    )
    assert project.verdicts() == {"hit_rate": "failed", "misses": "passed"}


def test_budget_with_a_label_judges_its_block_alone(project: Project) -> None:
    budgets = project.budgets("""
        [tests."test_it.py::test_x#again"]
        hit_rate = "100%"
        [tests."test_it.py::test_x#first"]
        evictions = 1
    """)
    project.tests("""
        from pytest_agentperf.reference.cache import Cache, cached
        def test_x(perf_cache):
            cache = Cache(max_size=1)
            load = cached(cache)(lambda key: key)
            with perf_cache(cache, "first"):
                load(1), load(2), load(3)
            with perf_cache(cache, "again"):
                load(3)
    """)
    result = project.run(budgets)
    result.assert_outcomes(failed=1)
    assert project.verdicts() == {"evictions": "failed", "hit_rate": "passed"}
    assert "2 evicted" in project.sentence("evictions")


@pytest.mark.parametrize(
    ("limit", "block", "why"),
    [
        ('hit_rate="0%"', "pass", "nothing was looked up in the cache of cached"),
        ('hit_rate="0%"', "cached.cache_clear()", "ran backwards, from 1 hit and 1 miss to"),
        ("evictions=5", "cached('a')", "the cache of cached does not count evictions"),
        ('time_saved="1s"', "cached('a')", "give perf_cache(cache, load=…)"),
    ],
)
def test_unknown_number_is_undecided_and_fails_where_strict(
    project: Project, limit: str, block: str, why: str
) -> None:
    cached_tests(
        project,
        f"""
        @pytest.mark.perf_budget({limit})
        def test_x(perf_cache):
            cached("a"), cached("a")
            with perf_cache(cached):
                {block}
    """,
    )
    project.run().assert_outcomes(passed=1)
    (status,) = project.verdicts().values()
    assert status == "undecided"
    assert why in project.sentence(next(iter(project.verdicts())))
    project.run("--perf-strict").assert_outcomes(failed=1)


def test_budget_without_a_block_says_who_records_it(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(hit_rate="80%")
        def test_x(): pass
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["hit rate was not measured: *recorded by perf_cache *"])


def test_prefix_reuse_feeds_its_budget_and_names_the_change(project: Project) -> None:
    project.tests("""
        def body(now, *more):
            prompt = f"It is {now}. " + "Answer briefly. " * 20
            return {"messages": [{"role": "system", "content": prompt}, *more]}
        @pytest.mark.perf_budget(prefix_reuse="90%")
        def test_x(perf_cache):
            perf_cache.prefix([body("10:01"), body("10:02")])
        @pytest.mark.perf_budget(prefix_reuse="90%")
        def test_y(perf_cache):
            perf_cache.prefix([body("10:01"), body("10:01", {"role": "user", "content": "q"})])
    """)
    result = project.run()
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            (
                "prefix reuse was * %, budget 90 %: request 1 repeats * % of its * bytes:"
                " messages?0?.content changed at bytes * from *10:01*to*10:02*"
            )
        ]
    )


def test_requests_of_the_test_server_are_compared(project: Project) -> None:
    project.tests("""
        import json, urllib.request
        def test_x(perf_cache, perf_llm_server):
            server = perf_llm_server()
            said = [{"role": "user", "content": "a"}]
            for text in "bc":
                data = json.dumps({"model": "m", "messages": said}).encode()
                url = server.url + "/chat/completions"
                headers = {"Content-Type": "application/json"}
                urllib.request.urlopen(urllib.request.Request(url, data, headers)).read()
                said.append({"role": "user", "content": text})
            reuse = perf_cache.prefix(server.requests)
            assert reuse.change is None
            reuse.assert_prefix_reuse(min="40%")
    """)
    project.run().assert_outcomes(passed=1)


def test_stampede_fails_with_its_sentence(project: Project) -> None:
    project.tests("""
        kept = {}
        @pytest.mark.asyncio
        async def test_x(perf_cache):
            load = perf_cache.count(ask)
            async def answer(key):
                if key not in kept:
                    kept[key] = await load(key)
                return kept[key]
            await perf_cache.assert_computed_once(answer, "q", load=load, concurrency=5)
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E *CheckError: 5 concurrent callers of answer made ask compute 5 times, expected once*"]
    )


def test_counts_cross_to_the_controller_of_workers(project: Project) -> None:
    cached_tests(
        project,
        """
        @pytest.mark.perf_budget(hit_rate="80%")
        def test_x(perf_cache):
            with perf_cache(cached):
                cached("a")
        @pytest.mark.perf_budget(misses=1)
        def test_y(perf_cache):
            with perf_cache(cached):
                cached("b")
    """,
    )
    result = project.run_with_workers()
    result.assert_outcomes(failed=1, passed=1)
    assert project.statuses() == {"test_x": {"hit_rate": "failed"}, "test_y": {"misses": "passed"}}


def test_cache_that_another_test_filled_is_told_by_its_counts(project: Project) -> None:
    cached_tests(
        project,
        """
        def test_first(perf_cache):
            cached("a"), cached("a")
        @pytest.mark.perf_budget(misses=0)
        def test_second(perf_cache):
            with perf_cache(cached) as hits:
                cached("b")
    """,
    )
    result = project.run()
    result.assert_outcomes(passed=1, failed=1)
    assert "warm at the start (1 hit and 1 miss before)" in project.sentence(
        "misses", "test_second"
    )


def test_block_outside_of_a_test_is_refused(project: Project) -> None:
    cached_tests(
        project,
        """
        @pytest.fixture
        def hits(perf_cache):
            with perf_cache(cached) as hits:
                yield hits
        def test_x(hits): pass
    """,
    )
    result = project.run()
    result.assert_outcomes(errors=1)
    assert "perf_cache was used outside of the call of a measured test" in shown(result)


def test_test_that_fails_keeps_what_was_counted(project: Project) -> None:
    cached_tests(
        project,
        """
        def test_x(perf_cache):
            with perf_cache(cached):
                cached("a")
                assert False
    """,
    )
    project.run().assert_outcomes(failed=1)
    assert project.measurement()["metrics"]["misses"] == 1


def test_unused_fixture_imports_nothing_of_it(project: Project) -> None:
    project.tests("""
        import sys
        def test_x():
            assert not [name for name in sys.modules if "measure.cache" in name]
    """)
    project.run_apart().assert_outcomes(passed=1)
