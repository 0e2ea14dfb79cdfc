"""What a pool, a cache and a batcher buy: the same questions with each of them and without.

The times stand in the report, a line for each variant; counts have no noise, so they are asserted.
"""

import asyncio

import pytest
from weather_agent import WeatherAgent
from weather_client import WeatherClient
from weather_service import WeatherService

from pytest_agentperf import PerfTimer

pytestmark = pytest.mark.asyncio

CITIES = ["Paris", "Oslo"] * 10


async def at_once(weather: WeatherClient) -> list[str]:
    return await asyncio.gather(*(weather.forecast(city) for city in CITIES))


async def one_by_one(weather: WeatherClient) -> list[str]:
    return [await weather.locate(city) for city in CITIES]


async def by_four_callers(weather: WeatherClient) -> None:
    async def caller() -> None:
        for city in CITIES[:5]:
            await weather.forecast(city)

    await asyncio.gather(*(caller() for _ in range(4)))


# A pool: 4 callers keep 4 connections instead of opening one for each question.
@pytest.mark.perf(rounds=5, warmup=0)
async def test_pool(perf_timer: PerfTimer, service: WeatherService) -> None:
    async with WeatherClient(service.port, pool=False, batch=False) as weather:
        await perf_timer["without a pool"](by_four_callers, weather)
    opened, service.connections = service.connections, 0
    async with WeatherClient(service.port, batch=False) as weather:
        await perf_timer["with a pool"](by_four_callers, weather)
    assert service.connections == 4 < opened == 100
    assert weather.pool is not None
    assert weather.pool.stats().reuse_rate == pytest.approx(0.96)


# A cache: of 20 questions after two places, two reach the service.
@pytest.mark.perf(rounds=5, warmup=0)
@pytest.mark.perf_budget("with a cache", p50="20ms")
async def test_cache(perf_timer: PerfTimer, service: WeatherService) -> None:
    async with WeatherClient(service.port, cache=False) as weather:
        await perf_timer["without a cache"](one_by_one, weather)
    asked, service.requests = service.requests, 0
    async with WeatherClient(service.port) as weather:
        await perf_timer["with a cache"](one_by_one, weather)
    assert weather.cache is not None
    assert service.requests == 2 < asked == 100
    assert weather.cache.stats().hit_rate == pytest.approx(0.98)
    assert weather.cache.stats().time_saved > 0.4


# A batcher: 20 callers at once are one request.
@pytest.mark.perf(rounds=5, warmup=0)
async def test_batcher(perf_timer: PerfTimer, service: WeatherService) -> None:
    async with WeatherClient(service.port, batch=False) as weather:
        await perf_timer["without a batcher"](at_once, weather)
    asked, service.requests = service.requests, 0
    async with WeatherClient(service.port) as weather:
        await perf_timer["with a batcher"](at_once, weather)
    assert weather.batcher is not None
    assert service.requests == 5 < asked == 100
    assert weather.batcher.stats().mean_size == 20


# All three in the agent: ten questions at once, of which each calls both tools.
@pytest.mark.perf(rounds=3)
@pytest.mark.perf_budget(latency="10s")
async def test_agents(perf_timer: PerfTimer, agent: WeatherAgent, service: WeatherService) -> None:
    async def ask_ten() -> None:
        await asyncio.gather(*(agent.ask("Will it be sunny in Oslo tomorrow?") for _ in range(10)))

    await perf_timer(ask_ten)
    assert service.cities == 1 + 4 * 10  # one place, and the forecasts of each round
    assert service.requests < service.cities
    assert service.connections <= 4
