"""What perf_concurrency sees of an agent, with the message that each mistake gives.

The mistakes are made on purpose, so each test expects its failure; in a project of your own leave
the `pytest.raises` out.
"""

import asyncio
import re
import time

import pytest

from pytest_agentperf import PerfConcurrency

pytestmark = pytest.mark.asyncio


class Agent:
    """Answers with what three tools know; the ways to call them differ."""

    async def search(self, question: str) -> str:
        await asyncio.sleep(0.30)
        return f"pages about {question}"

    async def index(self, question: str) -> str:
        await asyncio.sleep(0.20)
        return f"entries about {question}"

    async def storage(self, question: str) -> str:
        await asyncio.sleep(0.15)
        return f"files about {question}"

    async def ask_in_turn(self, question: str) -> list[str]:
        return [
            await self.search(question),
            await self.index(question),
            await self.storage(question),
        ]

    async def ask_at_once(self, question: str) -> list[str]:
        tools = (self.search, self.index, self.storage)
        return await asyncio.gather(*(tool(question) for tool in tools))

    async def count_pages(self) -> int:
        time.sleep(0.1)  # noqa: ASYNC251 -- a sync driver, a large file, a busy loop
        return 7

    async def start_refreshing(self) -> None:
        self.refreshing = asyncio.create_task(asyncio.sleep(3600), name="refresh")


# Three tools that need nothing of each other take 650 ms in turn and 300 ms at once.
async def test_tools_run_at_once(perf_concurrency: PerfConcurrency) -> None:
    agent = Agent()
    for ask, seconds in ((agent.ask_in_turn, 0.65), (agent.ask_at_once, 0.30)):
        async with perf_concurrency() as watch:
            for tool in ("search", "index", "storage"):
                watch.track(agent, tool)
            began = time.perf_counter()
            await ask("whales")
            assert time.perf_counter() - began == pytest.approx(seconds, rel=0.3)
        if ask == agent.ask_at_once:
            watch.assert_parallel("search", "index", "storage")
            watch.assert_parallel(min=2.0)
        else:
            with pytest.raises(AssertionError) as caught:
                watch.assert_parallel("search", "index", "storage")
            print(f"\n{caught.value}")  # noqa: T201
            assert any(finding.cause == "sequential" for finding in watch.findings)


# A sync call inside an async tool stops every other task of the loop.
async def test_blocking_tool(perf_concurrency: PerfConcurrency) -> None:
    async with perf_concurrency() as watch:
        await Agent().count_pages()
    with pytest.raises(
        AssertionError, match=re.escape("in Agent.count_pages: time.sleep(0.1)")
    ) as caught:
        watch.assert_not_blocked("50ms")
    print(f"\n{caught.value}")  # noqa: T201


# A background task that nobody ends is cancelled by the test runner without a word.
async def test_leaking_task(perf_concurrency: PerfConcurrency) -> None:
    agent = Agent()
    async with perf_concurrency() as watch:
        await agent.start_refreshing()
    with pytest.raises(AssertionError, match="'refresh'") as caught:
        watch.assert_no_leaks()
    print(f"\n{caught.value}")  # noqa: T201
    agent.refreshing.cancel()


# No fixture: the marker alone watches the body of the test.
@pytest.mark.perf_budget(loop_block_max="50ms", leaked_tasks=0)
async def test_clean_agent() -> None:
    await Agent().ask_at_once("whales")
