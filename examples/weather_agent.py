"""A small agent with two tools, built with pydantic-ai: the thing under test."""

from collections.abc import AsyncIterator
from typing import Self

from openai import AsyncOpenAI
from pydantic_ai import Agent, AgentRunResult
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from weather_client import WeatherClient


class WeatherAgent:
    """Answers questions about the weather; every call of a tool goes through `call_tool`."""

    def __init__(self, base_url: str, weather: WeatherClient) -> None:
        self._weather = weather
        self._client = AsyncOpenAI(base_url=base_url, api_key="unused")
        provider = OpenAIProvider(openai_client=self._client)
        model = OpenAIChatModel("gpt-4o-mini", provider=provider)
        self._agent = Agent(model, system_prompt="Answer briefly.")
        self._agent.tool_plain(self.locate)
        self._agent.tool_plain(self.forecast)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.close()

    async def ask(self, question: str) -> AgentRunResult[str]:
        """Return the answer to *question*, with the usage that the model reported."""
        return await self._agent.run(question)

    async def stream(self, question: str) -> AsyncIterator[str]:
        """Yield the answer to *question* word by word."""
        async with self._agent.run_stream(question) as run:
            async for text in run.stream_text(delta=True, debounce_by=None):
                yield text

    async def locate(self, city: str) -> str:
        """Return latitude and longitude of a city."""
        return await self.call_tool("locate", city)

    async def forecast(self, city: str) -> str:
        """Return tomorrow's weather in a city."""
        return await self.call_tool("forecast", city)

    async def call_tool(self, name: str, city: str) -> str:
        """Return what the tool *name* knows of *city*."""
        if name == "locate":
            return await self._weather.locate(city)
        return await self._weather.forecast(city)
