"""What perf_pool says of the agent's own pool and batcher, and of a client of httpx.

Some pools are too small on purpose, so these tests expect the finding; in a project of your own
write `use.assert_not_exhausted()`, or a budget.
"""

import asyncio
import json

import httpx
import pytest
from weather_client import WeatherClient
from weather_service import WeatherService

from pytest_agentperf import LLMServer, PerfPool

pytestmark = pytest.mark.asyncio

CITIES = ["Paris", "Oslo", "Rome", "Bern"]


async def ask_at_once(weather: WeatherClient, callers: int) -> None:
    await asyncio.gather(*(weather.forecast(CITIES[n % 4]) for n in range(callers)))


# The agent's own pool has four connections: enough for three callers, who reuse them.
@pytest.mark.perf_budget(pool_utilization_max="80%", pool_wait_p95="1s", pool_reuse_rate="60%")
async def test_own_pool(perf_pool: PerfPool, service: WeatherService) -> None:
    async with WeatherClient(service.port, batch=False) as weather, perf_pool(weather.pool) as use:
        for _ in range(3):
            await ask_at_once(weather, callers=3)
    use.assert_not_exhausted()
    use.assert_no_leaks()
    use.assert_reused(at_least="60%")


# Twenty callers at once wait for each other, and the finding says what size their load needs.
async def test_own_pool_is_too_small(perf_pool: PerfPool, service: WeatherService) -> None:
    async with WeatherClient(service.port, batch=False) as weather, perf_pool(weather.pool) as use:
        await ask_at_once(weather, callers=20)
    assert use.utilization_max == 1
    assert use.waits == 16
    assert 4 < use.recommended_size() <= 20
    assert "Little's law recommends" in str(use.findings[0])


# With a batcher the same twenty callers need one connection.
async def test_batcher_in_front_of_the_pool(perf_pool: PerfPool, service: WeatherService) -> None:
    async with WeatherClient(service.port) as weather:
        assert weather.batcher is not None
        with (
            perf_pool(weather.pool, "pool") as use,
            perf_pool(weather.batcher, "batcher") as batches,
        ):
            await ask_at_once(weather, callers=20)
    assert use.in_use_max == 1
    batches.assert_batched(at_least=20)


# An httpx client with two connections for eight calls of the model.
async def test_httpx_is_too_small(perf_pool: PerfPool, llm: LLMServer) -> None:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Oslo?"}]}

    async def ask(client: httpx.AsyncClient) -> str:
        reply = await client.post(f"{llm.url}/chat/completions", json=body, timeout=10)
        return json.dumps(reply.raise_for_status().json())

    limits = httpx.Limits(max_connections=2)
    async with httpx.AsyncClient(limits=limits) as client, perf_pool(client) as use:
        await asyncio.gather(*(ask(client) for _ in range(8)))
    assert use.utilization_max == 1
    assert use.waits == 6
    assert use.wait.p95 > 0.02  # a call of the model takes 20 ms, and the last ones wait for three
    with pytest.raises(AssertionError, match="6 of 8 callers waited for a connection"):
        use.assert_waits(at_most=0)
