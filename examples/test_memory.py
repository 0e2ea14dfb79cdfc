"""What perf_memory says of agents that keep what they should not, and of one that may.

The mistakes are made on purpose, so each test expects its verdict; in a project of your own write
`leak.assert_clean()`.
"""

import asyncio
from functools import lru_cache

import pytest

from pytest_agentperf import PerfMemory


class Agent:
    """Answers, and remembers more than it needs."""

    def __init__(self) -> None:
        self.history: list[str] = []
        self.answers: dict[str, str] = {}
        self.asked = 0

    async def ask(self, question: str) -> str:
        await asyncio.sleep(0)
        answer = f"It will be sunny in {question}. " * 20
        self.history.append(answer)
        return answer

    def look_up(self) -> str:
        self.asked += 1
        question = f"question {self.asked}"
        return self.answers.setdefault(question, question * 50)

    async def watch_prices(self) -> None:
        asyncio.get_running_loop().create_task(asyncio.sleep(3600), name="watch prices")
        await asyncio.sleep(0)


class Session:
    """A session with a service, which ought to end with its user."""


class Sessions:
    """Keeps every session that it opens."""

    def __init__(self) -> None:
        self.opened: list[Session] = []

    def open(self) -> Session:
        self.opened.append(Session())
        return self.opened[-1]


# A whole conversation is kept for ever.
@pytest.mark.asyncio
async def test_history(perf_memory: PerfMemory) -> None:
    leak = await perf_memory.leak(Agent().ask, "Paris")
    assert leak.verdict == "leak"
    assert leak.lines[0].source.startswith('answer = f"It will be sunny')
    assert ".history → list" in str(leak)


# A cache that grows with each new question.
def test_unbounded_cache(perf_memory: PerfMemory) -> None:
    leak = perf_memory.leak(Agent().look_up)
    assert leak.verdict == "leak"


# A task for each call, none of which ends.
@pytest.mark.asyncio
async def test_endless_task(perf_memory: PerfMemory) -> None:
    leak = await perf_memory.leak(Agent().watch_prices)
    assert leak.verdict == "leak"
    assert "tasks" in (leak.growing or {})
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


# A cache with a bound is full after a while, and no leak.
def test_bounded_cache(perf_memory: PerfMemory) -> None:
    @lru_cache(maxsize=64)
    def answer(question: int) -> str:
        return f"answer {question} " * 50

    questions = iter(range(10_000))
    leak = perf_memory.leak(lambda: answer(next(questions)), warmup=100)
    leak.assert_clean()


# What one request takes at its highest, and what of it is still held.
@pytest.mark.perf_budget("request", memory_per_request="5MB", memory_growth="100kB")
def test_peak(perf_memory: PerfMemory) -> None:
    with perf_memory("request") as memory:
        pages = [bytes(1000) for _ in range(2000)]
        answer = b"".join(pages[:20])
        del pages
    assert len(answer) == 20_000
    assert memory.peak > 2_000_000
    assert memory.growth < 100_000


# A session that must be gone with the test, and is: its list of sessions goes as well.
def test_session_is_collected(perf_memory: PerfMemory) -> None:
    sessions = Sessions()
    perf_memory.collected(sessions.open(), "session")
