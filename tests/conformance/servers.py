"""Real servers for pools to connect to, each of its own, in a temporary folder."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STARTS_WITHIN = 20.0  # seconds


def postgres_program(name: str) -> str | None:
    """Return the path of *name*; Debian keeps the programs of the server out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


def _wait_for(command: list[str], process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + STARTS_WITHIN
    while subprocess.run(command, capture_output=True, check=False).returncode:
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"{process.args!r} does not answer {command!r}")
        time.sleep(0.05)


@contextmanager
def _running(command: list[str], ping: list[str], **options: Any) -> Iterator[None]:
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    )
    try:
        _wait_for(ping, process)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(STARTS_WITHIN)


@contextmanager
def postgres() -> Iterator[str]:
    """Run PostgreSQL; give the folder of its socket."""
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        user: dict[str, Any] = {}
        if os.geteuid() == 0:  # which it refuses
            user = {"user": "postgres", "group": "postgres"}
            shutil.chown(folder, "postgres", "postgres")
        data = f"{folder}/data"
        initdb = [str(postgres_program("initdb")), "-D", data, "-U", "peer", "-A", "trust"]
        subprocess.run([*initdb, "--no-sync"], capture_output=True, check=True, cwd=folder, **user)
        settings = f"-c listen_addresses= -c fsync=off -c max_connections=300 -k {folder}"
        command = [str(postgres_program("postgres")), "-D", data, *settings.split()]
        ping = [str(postgres_program("pg_isready")), "-h", folder]
        with _running(command, ping, cwd=folder, **user):
            yield folder


@contextmanager
def redis() -> Iterator[str]:
    """Run Redis; give the path of its socket."""
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        path = f"{folder}/socket"
        command = [
            "redis-server",
            "--port",
            "0",
            "--unixsocket",
            path,
            "--save",
            "",
            "--dir",
            folder,
        ]
        with _running(command, ["redis-cli", "-s", path, "ping"]):
            yield path


@contextmanager
def http() -> Iterator[int]:
    """Run an aiohttp server in a thread; give its port on 127.0.0.1."""
    from aiohttp import web

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(text="ok")

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(
        loop.create_server(web.Server(answer, loop=loop), "127.0.0.1", 0)
    )
    thread = threading.Thread(target=loop.run_forever, name="http server", daemon=True)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()
