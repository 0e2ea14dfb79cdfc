"""What the agent talks to, all on this machine: a model and a weather service."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from weather_agent import WeatherAgent
from weather_client import WeatherClient
from weather_service import WeatherService

from pytest_agentperf import LLMServer, Reply


def answer(body: dict[str, Any]) -> Reply:
    """Return the model's reply to a request: first it calls both tools, then it answers."""
    asked = [message for message in body["messages"] if message["role"] == "user"]
    city = "Paris" if "Paris" in str(asked[-1]["content"]) else "Oslo"
    if any(message["role"] == "tool" for message in body["messages"]):
        return Reply(text=f"It will be sunny in {city}, with 21 degrees.", prompt_tokens=160)
    calls = (("locate", {"city": city}), ("forecast", {"city": city}))
    return Reply(tool_calls=calls, prompt_tokens=90, tokens=12)


@pytest.fixture
def llm(perf_llm_server: Callable[..., LLMServer]) -> LLMServer:
    """Start a model that needs 20 ms to the first token and 2 ms between tokens."""
    return perf_llm_server(ttft="20ms", itl="2ms", reply=answer)


@pytest_asyncio.fixture
async def service() -> AsyncIterator[WeatherService]:
    """Start a weather service that needs 10 ms for a connection and 5 ms for a request."""
    async with WeatherService() as service:
        yield service


@pytest_asyncio.fixture
async def weather(service: WeatherService) -> AsyncIterator[WeatherClient]:
    """Make the agent's way to the service, with its pool, its cache and its batcher."""
    async with WeatherClient(service.port) as weather:
        yield weather


@pytest_asyncio.fixture
async def agent(llm: LLMServer, weather: WeatherClient) -> AsyncIterator[WeatherAgent]:
    """Make the agent that talks to both."""
    async with WeatherAgent(llm.url, weather) as agent:
        yield agent
