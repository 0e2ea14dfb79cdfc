"""The agent's way to the weather service: with a pool, a cache and a batcher, or without any."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Self

from pytest_agentperf.reference.batcher import Batcher
from pytest_agentperf.reference.cache import Cache, cached
from pytest_agentperf.reference.pool import Pool


class Connection:
    """One connection to the service; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, what: str, cities: list[str]) -> list[str]:
        """Return what the service says of each of *cities*."""
        self._writer.write(json.dumps({"what": what, "cities": cities}).encode() + b"\n")
        answers: list[str] = json.loads(await self._reader.readline())
        return answers

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        await self._writer.wait_closed()

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connect, and wait until the service is ready."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await reader.readline()
        return cls(reader, writer)


class WeatherClient:
    """Asks the service for places and forecasts.

    Args:
        port: Where the service listens on this machine.
        pool: Keep connections and lend them, instead of one for each request.
        cache: Remember places, which do not move.
        batch: Ask for the forecasts of several callers in one request.
    """

    def __init__(
        self, port: int, *, pool: bool = True, cache: bool = True, batch: bool = True
    ) -> None:
        self._port = port
        self.pool = Pool(self._connect, Connection.close, max_size=4) if pool else None
        self.cache = Cache(max_size=1000, ttl="factual") if cache else None
        self.batcher: Batcher[str, str] | None = None
        if batch:
            self.batcher = Batcher(self._forecasts, batch_size=20)
        self.locate: Callable[[str], Coroutine[Any, Any, str]] = self._locate
        if self.cache is not None:
            self.locate = cached(self.cache)(self._locate)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        if self.batcher is not None:
            await self.batcher.close()
        if self.pool is not None:
            await self.pool.close()

    async def forecast(self, city: str) -> str:
        """Return tomorrow's weather in *city*."""
        if self.batcher is not None:
            return await self.batcher(city)
        return (await self._forecasts([city]))[0]

    async def _forecasts(self, cities: list[str]) -> list[str]:
        async with self._connection() as connection:
            return await connection.ask("forecast", cities)

    async def _locate(self, city: str) -> str:
        async with self._connection() as connection:
            return (await connection.ask("place", [city]))[0]

    async def _connect(self) -> Connection:
        return await Connection.open(self._port)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        if self.pool is not None:
            async with self.pool.acquire(timeout=10) as connection:
                yield connection
            return
        connection = await self._connect()
        try:
            yield connection
        finally:
            await connection.close()
