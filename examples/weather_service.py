"""A weather service on this machine: lines of JSON over TCP, slow to connect and to answer."""

import asyncio
import contextlib
import json
from typing import Any, Self

PLACES = {"Paris": "48.86, 2.35", "Oslo": "59.91, 10.75"}
SECONDS_TO_CONNECT = 0.010
SECONDS_TO_ANSWER = 0.005  # however many cities are asked for in one request


class WeatherService:
    """Serves until the block ends, and counts what its clients cost it."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = self.requests = self.cities = 0

    async def __aenter__(self) -> Self:
        self._clients: set[asyncio.Task[Any]] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        self.connections += 1
        try:
            await asyncio.sleep(SECONDS_TO_CONNECT)
            writer.write(b"ready\n")
            while line := await reader.readline():
                request = json.loads(line)
                self.requests += 1
                self.cities += len(request["cities"])
                await asyncio.sleep(SECONDS_TO_ANSWER)
                answers = [_answer(request["what"], city) for city in request["cities"]]
                writer.write(json.dumps(answers).encode() + b"\n")
        finally:
            self._clients.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def _answer(what: str, city: str) -> str:
    if what == "place":
        return PLACES.get(city, "somewhere")
    return f"Sunny in {city}, 21 degrees."
