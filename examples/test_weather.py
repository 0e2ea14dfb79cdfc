"""Performance tests of the weather agent.

Run them with their budgets: pytest examples --perf-budget examples/budgets.toml
"""

import pytest
from weather_agent import WeatherAgent

from pytest_agentperf import LLMServer, PerfTimer, Reply

pytestmark = pytest.mark.asyncio


# Latency: p95 needs 20 calls, so the timer makes 20 (and one first that is not recorded).
@pytest.mark.perf_budget(p95="2s", tokens_per_call=400)
async def test_answer(perf_timer: PerfTimer, agent: WeatherAgent) -> None:
    result = await perf_timer(agent.ask, "Will it be sunny in Paris tomorrow?")
    assert "Paris" in result.output


# Streaming: the time to the first token and the gaps between tokens. The limits stand in the file.
async def test_stream(perf_timer: PerfTimer, agent: WeatherAgent) -> None:
    words = await perf_timer(agent.stream, "Will it be sunny in Oslo tomorrow?")
    assert "Oslo" in "".join(words)


# Counts have no noise: exactly two tool calls for each question.
@pytest.mark.perf_budget(tool_calls=2)
async def test_tool_calls(perf_timer: PerfTimer, agent: WeatherAgent) -> None:
    perf_timer.count(agent, "call_tool", metric="tool_calls")
    await perf_timer(agent.ask, "Will it be sunny in Paris tomorrow?")


# Labels: several measurements in one test, each with budgets of its own.
@pytest.mark.perf_budget("locate", p95="50ms")
@pytest.mark.perf_budget("ask", p95="2s")
async def test_steps(perf_timer: PerfTimer, agent: WeatherAgent) -> None:
    assert await perf_timer["locate"](agent.locate, "Oslo") == "59.91, 10.75"
    await perf_timer["ask"](agent.ask, "Will it be sunny in Oslo tomorrow?")


# Money is bounded: the timer stops before the tokens of all calls together exceed the bound.
@pytest.mark.perf(max_tokens=1500)
@pytest.mark.perf_budget(p95="2s")
async def test_within_tokens(perf_timer: PerfTimer, agent: WeatherAgent) -> None:
    await perf_timer(agent.ask, "Will it be sunny in Paris tomorrow?")


# Errors: a wrapped function records each of its calls, those that raise included.
@pytest.mark.perf_budget(error_rate="20%")
async def test_error_rate(perf_timer: PerfTimer, agent: WeatherAgent, llm: LLMServer) -> None:
    ask = perf_timer.wrap(agent.ask)
    llm.reply(Reply(status=400))
    failures = 0
    for _ in range(10):
        try:
            await ask("Will it be sunny in Paris tomorrow?")
        except Exception:  # noqa: BLE001 -- whatever the framework makes of a refused request
            failures += 1
    assert failures == 1


# No fixture at all: the body of the test is the call.
@pytest.mark.perf_budget(latency="5s")
async def test_body(agent: WeatherAgent) -> None:
    result = await agent.ask("Will it be sunny in Paris tomorrow?")
    assert "Paris" in result.output


# The body again, 20 times in the same loop with the same fixtures, so that it has percentiles.
@pytest.mark.perf(rounds=20)
@pytest.mark.perf_budget(p95="2s")
async def test_body_repeated(agent: WeatherAgent) -> None:
    await agent.ask("Will it be sunny in Paris tomorrow?")


# No marker either: budgets.toml has a pattern that matches this test.
async def test_existing(agent: WeatherAgent) -> None:
    result = await agent.ask("Will it be sunny in Oslo tomorrow?")
    assert "Oslo" in result.output
