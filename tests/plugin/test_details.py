"""Tests of what a report draws of a test: it is gathered where one is asked for, and only there."""

import json
from typing import Any

import pytest

from tests.plugin.conftest import Project
from tests.plugin.gates import Repository, make_history

WATCHED = """
class Agent:
    async def search(self, query):
        await asyncio.sleep(0.001)
        return "found"

    async def ask(self, question):
        return [await self.search(question), await self.search(question)]

@pytest.mark.asyncio
async def test_it(perf_timer, perf_concurrency):
    agent = Agent()
    async with perf_concurrency() as watch:
        watch.track(agent, "search")
        perf_timer.configure(rounds=7)
        await perf_timer(agent.ask, "a secret question")
"""


def detail(project: Project, test: int = 0, label: str | None = None) -> Any:
    """Return the detail in the report `run.json`."""
    tests = json.loads((project.path / "run.json").read_text(encoding="utf-8"))["tests"]
    (found,) = (m["detail"] for m in tests[test]["measurements"] if m["label"] == label)
    return found


def test_report_has_the_spans_of_the_median_call_and_of_the_slowest(project: Project) -> None:
    project.tests(WATCHED)
    project.run("--perf-report=json=run.json").assert_outcomes(passed=1)
    median, slowest = detail(project)["traces"]
    assert [median["title"], slowest["title"]] == ["median call", "slowest call"]
    assert [span["name"] for span in median["spans"]] == ["search", "search"]
    assert 0 < median["seconds"] <= slowest["seconds"]
    steps = sum(step["seconds"] for step in median["path"])
    assert steps == pytest.approx(median["seconds"])
    assert len(detail(project)["quantiles"]["latency"]) == 7


def test_report_has_the_memory_before_and_after_a_body_that_runs_once(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="10s")
        @pytest.mark.asyncio
        async def test_it():
            pass
    """)
    project.run("--perf-report=json=run.json").assert_outcomes(passed=1)
    points = project.measurement()["curves"]["rss"]["points"]
    assert [calls for calls, _ in points] == [0, 1]


def test_prompts_and_answers_are_not_in_it(project: Project) -> None:
    project.tests(WATCHED)
    project.run("--perf-report=json=run.json", "--perf-report=html=run.html")
    text = (project.path / "run.json").read_text(encoding="utf-8")
    page = (project.path / "run.html").read_text(encoding="utf-8")
    assert "search" in text
    assert not any("a secret question" in each or "found" in each for each in (text, page))


def test_nothing_is_gathered_without_a_report(project: Project) -> None:
    project.tests(WATCHED)
    project.write(
        "conftest.py",
        """
        import sys

        def pytest_unconfigure():
            gathered = [name for name in sys.modules if "agentperf" in name and "detail" in name]
            print("GATHERED BY", sorted(gathered))
        """,
    )
    result = project.run_apart("-s").stdout.str()
    assert "GATHERED BY []" in result
    assert project.measurement()["detail"] is None
    result = project.run_apart("-s", "--perf-report=json=run.json").stdout.str()
    assert "'pytest_agentperf.measure.concurrency.details', 'pytest_agentperf.measure.det" in result


def test_watched_block_without_timed_calls_is_a_trace_of_its_own(project: Project) -> None:
    project.tests(
        """
        @pytest.mark.asyncio
        async def test_it(perf_concurrency):
            async with perf_concurrency("block") as watch:
                with watch.span("step"):
                    time.sleep(0.06)
        """
    )
    project.run("--perf-report=json=run.json").assert_outcomes(passed=1)
    found = detail(project, label="block")
    (trace,) = found["traces"]
    assert trace["title"] == "the watched block"
    assert [span["name"] for span in trace["spans"]] == ["step"]
    assert any("test_it.py" in line for block in found["blocks"] for line in block["stack"])


def test_order_of_cache_lookups_is_in_it(project: Project) -> None:
    pytest.importorskip("cachetools")
    project.tests(
        """
        from cachetools import LRUCache

        def test_it(perf_cache):
            cache = LRUCache(10)
            with perf_cache(cache):
                for key in (1, 2, 1, 1):
                    if cache.get(key) is None:
                        cache[key] = key
        """
    )
    project.run("--perf-report=json=run.json").assert_outcomes(passed=1)
    assert detail(project)["lookups"] == "MMHH"


def test_details_cross_xdist(project: Project) -> None:
    project.tests(WATCHED)
    project.run_with_workers("--perf-report=json=run.json").assert_outcomes(passed=1)
    assert len(detail(project)["traces"]) == 2


def test_calls_that_run_at_once_have_no_spans_of_their_own(project: Project) -> None:
    project.tests(
        """
        class Agent:
            async def search(self):
                await asyncio.sleep(0.002)

        @pytest.mark.asyncio
        async def test_it(perf_timer, perf_concurrency):
            agent = Agent()
            async with perf_concurrency() as watch:
                watch.track(agent, "search")
                search = perf_timer.wrap(agent.search)
                await asyncio.gather(*(search() for _ in range(5)))
        """
    )
    project.run("--perf-report=json=run.json").assert_outcomes(passed=1)
    (trace,) = detail(project)["traces"]
    assert trace["title"] == "the watched block"
    assert len(trace["spans"]) == 5


TIMED = """
def test_it(perf_timer):
    perf_timer["plan"](nap)
"""


def test_latencies_of_the_history_are_drawn_beside_those_of_the_run(project: Project) -> None:
    project.tests(TIMED)
    project.run("--perf-baseline=perf", "--perf-update-baseline")
    make_history(project, 1.0, runs=5, latencies=[0.001, 0.002])
    project.run("--perf-baseline=perf", "--perf-report=json=run.json")
    assert detail(project, label="plan")["baseline"] == {"latency": [0.001] * 5 + [0.002] * 5}
    project.run("--perf-report=json=run.json")
    assert detail(project, label="plan")["baseline"] == {}


def test_latencies_of_the_base_cross_to_the_workers(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(project, monkeypatch)
    repository.write("test_it.py", "def test_it(perf_timer):\n    perf_timer(sum, [1])\n")
    repository.commit()
    repository.run("--perf-report=json=run.json", "-pxdist", "-n1")
    (latencies,) = detail(project)["baseline"].values()
    assert len(latencies) == 40  # of two processes with 20 calls each
    assert latencies == sorted(latencies)
