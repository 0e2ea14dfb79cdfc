"""A tour of what is measured: an agent for questions about whales, with a few mistakes.

Its budgets stand beside it, and some of them are missed, so that the pictures show what that looks
like. `python examples/pictures/make.py` runs it and makes the pictures.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cachetools import LRUCache

from pytest_agentperf import PerfCache, PerfConcurrency, PerfLoad, PerfMemory, PerfTimer

pytestmark = pytest.mark.asyncio
_RANDOM = random.Random(7)  # noqa: S311 -- simulated delays are no secret


async def wait(milliseconds: float) -> None:
    """Wait as long as a service would: mostly about so long, and now and then much longer."""
    tail = 2.5 if _RANDOM.random() < 0.03 else 1.0
    await asyncio.sleep(milliseconds * tail * _RANDOM.lognormvariate(0, 0.18) / 1000)


class Agent:
    """Plans, searches three sources, reads what it found, and answers."""

    def __init__(self) -> None:
        self.transcript: list[bytes] = []

    async def plan(self, question: str) -> list[str]:
        await wait(14)
        return [f"{question} {source}" for source in ("books", "papers", "pages")]

    async def search(self, query: str) -> str:
        await wait(9)
        return f"{query}: 40 tonnes"

    async def rank(self, found: list[str]) -> list[str]:
        await wait(6)
        return sorted(found)

    async def model(self, prompt: str) -> str:
        await wait(22)
        return prompt[-9:]

    async def ask(self, question: str) -> dict[str, Any]:
        queries = await self.plan(question)
        # In turn, which is the first mistake.
        found = [await self.search(query) for query in queries]
        answer = await self.model(" ".join(await self.rank(found)))
        tokens = 180 + _RANDOM.randrange(60)
        return {"answer": answer, "usage": {"prompt_tokens": tokens, "completion_tokens": 12}}

    async def stream(self, question: str) -> AsyncIterator[str]:
        await wait(18)
        for word in f"The answer to {question} is that blue whales weigh most of all".split():
            yield word
            await wait(2.5)

    async def remember(self, question: str) -> int:
        # Never forgotten, which is the second.
        self.transcript.append(question.encode() * 200)
        return len(self.transcript)


async def test_answer(perf_timer: PerfTimer, perf_concurrency: PerfConcurrency) -> None:
    agent = Agent()
    async with perf_concurrency() as watch:
        for step in ("plan", "search", "rank", "model"):
            watch.track(agent, step)
        perf_timer.configure(rounds=60)
        result = await perf_timer(agent.ask, "How heavy is a whale?")
    assert "tonnes" in result["answer"]


async def test_stream(perf_timer: PerfTimer) -> None:
    perf_timer.configure(rounds=60)
    assert len(await perf_timer(Agent().stream, "whales")) > 10


class Reader:
    """Reads pages in the event loop, which is the third."""

    def __init__(self) -> None:
        self.page = json.dumps([{"whale": number, "tonnes": 40.5} for number in range(4000)])

    async def parse(self, pages: int) -> None:
        for _ in range(pages):
            json.loads(self.page)


async def test_reading(perf_concurrency: PerfConcurrency) -> None:
    reader = Reader()
    async with perf_concurrency() as watch:
        watch.track(reader, "parse")
        await asyncio.gather(reader.parse(15), reader.parse(40))


async def test_cached(perf_cache: PerfCache) -> None:
    agent = Agent()
    cache: LRUCache[str, str] = LRUCache(maxsize=12)
    with perf_cache(cache):
        for _ in range(120):
            topic = f"whale {int(_RANDOM.expovariate(0.11))}"
            if cache.get(topic) is None:
                cache[topic] = await agent.search(topic)


async def test_transcript(perf_memory: PerfMemory) -> None:
    agent = Agent()
    leak = await perf_memory.leak(agent.remember, "How heavy is a whale?")
    assert leak.verdict == "leak"


async def test_load(perf_load: PerfLoad) -> None:
    result = await perf_load(Agent().model, "whales", stages="1s:20,2s:20,1s:60,1s:5")
    assert result.calls > 100
