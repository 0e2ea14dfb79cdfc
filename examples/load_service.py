"""The agent behind HTTP, a real ASGI app under uvicorn: `python load_service.py` prints its port.

`/now` answers at once, `/simple` thinks once, `/tools` calls two tools as well; `/stalling` is fast
but does nothing at all for half a second in every two and a half.
"""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

MODEL_SECONDS = 0.250
TOOL_SECONDS = 0.300
STALL_SECONDS = 0.5
PERIOD_SECONDS = 2.5


async def think() -> None:
    """Wait for the model."""
    await asyncio.sleep(MODEL_SECONDS)


async def use_tools() -> None:
    """Wait for the model, for two tools, and for the model again."""
    await think()
    await asyncio.gather(asyncio.sleep(TOOL_SECONDS), asyncio.sleep(TOOL_SECONDS))
    await think()


async def stall() -> None:
    """Answer in 5 ms, but not in the last half second of each period."""
    left = PERIOD_SECONDS - time.monotonic() % PERIOD_SECONDS
    await asyncio.sleep(0.005 + (left if left < STALL_SECONDS else 0.0))


async def nothing() -> None:
    """Answer at once."""


WORK = {"/now": nothing, "/simple": think, "/tools": use_tools, "/stalling": stall}


async def app(
    scope: dict[str, Any],
    _receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer a request (ASGI 3.0)."""
    work = WORK.get(scope["path"])
    if work is not None:
        await work()
    body = json.dumps({"answer": f"42 ({scope['path']})"}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    status = 404 if work is None else 200
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class LoadService:
    """Runs the service in a process of its own until the block ends, so that its work is its own.

    Attributes:
        url: Where it answers.
    """

    url = ""

    def __enter__(self) -> Self:
        program = [sys.executable, str(Path(__file__))]
        self._process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)  # noqa: S603
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.communicate()


def main() -> None:
    """Serve on a free port, which is printed."""
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)  # noqa: T201 -- whoever started it reads this
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
