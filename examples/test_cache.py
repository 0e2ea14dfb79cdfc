"""What perf_cache says of the agent's own cache, of other people's, and of its prompts."""

import functools
import itertools

import pytest
from weather_agent import WeatherAgent
from weather_client import WeatherClient
from weather_service import WeatherService

from pytest_agentperf import LLMServer, PerfCache
from pytest_agentperf.reference.cache import Cache, cached

QUESTION = "Will it be sunny in Oslo tomorrow?"


# The agent remembers places: of three questions on one city, one reaches the service for it.
@pytest.mark.asyncio
@pytest.mark.perf_budget(hit_rate="60%", misses=1, evictions=0)
async def test_agent(
    perf_cache: PerfCache, agent: WeatherAgent, weather: WeatherClient, service: WeatherService
) -> None:
    async with perf_cache(weather.cache) as hits:
        for _ in range(3):
            await agent.ask(QUESTION)
    hits.assert_hit_rate(at_least="60%")
    assert (hits.started, hits.size_after) == ("cold", 1)
    assert hits.time_saved > 0.01  # each hit saves a request, which takes 5 ms
    assert service.requests == 1 + 3  # the place once, the forecast three times


# A cache that was filled before answers everything.
@pytest.mark.asyncio
@pytest.mark.perf_budget("warm", hit_rate="100%")
async def test_warm(perf_cache: PerfCache, weather: WeatherClient) -> None:
    await weather.locate("Oslo")
    async with perf_cache(weather.cache, "warm", warm=True) as hits:
        await weather.locate("Oslo")
    hits.assert_all_hits()


# Fifty callers who ask for a new city at once, and one computation: no stampede.
@pytest.mark.asyncio
async def test_stampede(perf_cache: PerfCache, service: WeatherService) -> None:
    async with WeatherClient(service.port, cache=False) as weather:
        load = perf_cache.count(weather.locate)
        locate = cached(Cache(max_size=100))(load)
        await perf_cache.assert_computed_once(locate, "Paris", load=load, concurrency=50)


# Somebody else's cache: `functools.lru_cache` lets every thread compute.
def test_stampede_of_lru_cache(perf_cache: PerfCache) -> None:
    load = perf_cache.count(str.upper)
    with pytest.raises(AssertionError, match="compute 8 times, expected once"):
        perf_cache.assert_computed_once(
            functools.lru_cache(load), "paris", load=load, concurrency=8
        )


# Lifetimes and evictions by a clock that the test moves.
def test_lifetime_and_eviction(perf_cache: PerfCache) -> None:
    now = [0.0]

    def advance(seconds: float) -> None:
        now[0] += seconds

    load = perf_cache.count(str.upper)
    cache = Cache(max_size=2, ttl=60, policy="lru", clock=lambda: now[0])
    shout = cached(cache)(load)
    perf_cache.assert_expires(shout, "paris", load=load, after="1min", advance=advance)
    perf_cache.assert_evicts(shout, ["a", "b", "a", "c"], load=load, evicted=["b"], kept=["a"])


# What of each request repeats the one before, which the provider then need not read again.
@pytest.mark.asyncio
@pytest.mark.perf_budget(prefix_reuse="50%")
async def test_prompts(perf_cache: PerfCache, agent: WeatherAgent, llm: LLMServer) -> None:
    for city in ("Oslo", "Paris"):
        await agent.ask(f"Will it be sunny in {city} tomorrow?")
    reuse = perf_cache.prefix(llm.requests)
    assert reuse.change is not None
    assert (
        reuse.change.path == "messages[1].content"
    )  # the question, behind tools and system prompt


# A clock in the system prompt spoils all that follows, and is named.
def test_clock_in_the_prompt(perf_cache: PerfCache) -> None:
    minutes = itertools.count(10)

    def prompt(question: str) -> list[dict[str, str]]:
        system = f"It is 12:{next(minutes)}. " + "Answer in one sentence. " * 50
        return [{"role": "system", "content": system}, {"role": "user", "content": question}]

    reuse = perf_cache.prefix([prompt("Oslo?"), prompt("Paris?")])
    with pytest.raises(AssertionError, match=r"messages\[0\].content changed at bytes"):
        reuse.assert_prefix_reuse(min="90%")
