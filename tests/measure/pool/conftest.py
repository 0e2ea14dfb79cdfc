"""`perf_pool` as a test holds it, connections that cost nothing, and servers of real pools."""

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from pytest_agentperf.core.finding import Finding
from pytest_agentperf.measure.pool.door import PerfPool, Pooling
from pytest_agentperf.measure.pool.settings import PoolContext
from pytest_agentperf.reference.pool import Pool

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


@pytest.fixture
def accepted() -> set[str]:
    """Causes of findings that the user accepts."""
    return set()


@pytest.fixture
def pooling(accepted: set[str]) -> Pooling:
    def is_accepted(finding: Finding) -> bool:
        return finding.cause in accepted

    return Pooling(PoolContext(time.perf_counter, is_accepted))


@pytest.fixture
def perf_pool(pooling: Pooling) -> PerfPool:
    return PerfPool(lambda: pooling)


async def connect() -> object:
    await asyncio.sleep(0)
    return object()


async def close(connection: object) -> None:
    await asyncio.sleep(0)


def new_pool(max_size: int, leases_per_connection: int = 1) -> Pool[object]:
    return Pool(connect, close, max_size=max_size, leases_per_connection=leases_per_connection)


async def lease(pool: Pool[object], times: int = 1) -> None:
    for _ in range(times):
        async with pool.acquire():
            await asyncio.sleep(0)


@asynccontextmanager
async def http_server(seconds: float = 0.005) -> AsyncIterator[str]:
    """Answer each request after *seconds*, and keep connections open."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            try:
                while True:
                    await reader.readuntil(b"\r\n\r\n")
                    await asyncio.sleep(seconds)
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            finally:
                writer.close()
                await writer.wait_closed()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.create_task(answer(reader, writer)))

    serving: list[asyncio.Task[None]] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        # A client has closed its connections, but the server may not have heard of it.
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def wait_for(path: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the server did not open {path}")
        time.sleep(0.02)


@pytest.fixture(scope="session")
def redis_socket() -> Iterator[str]:
    """Start a Redis of our own, and return the path of its socket."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (Debian package redis-server)")
    folder = Path(tempfile.mkdtemp())
    options = ("--port", "0", "--unixsocket", f"{folder}/s", "--save", "", "--dir", str(folder))
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        wait_for(folder / "s", process)
        yield f"{folder}/s"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Start a PostgreSQL of our own, and return the folder of its socket."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not programs:
        pytest.skip("postgres is not installed (Debian package postgresql)")
    folder, home = Path(tempfile.mkdtemp()), programs[-1].parent
    user = None
    if os.geteuid() == 0:  # as which it refuses to run
        shutil.chown(folder, user := "nobody")

    def start(*command: str) -> "subprocess.Popen[bytes]":
        nowhere = subprocess.DEVNULL
        return subprocess.Popen(command, cwd=folder, user=user, stdout=nowhere, stderr=nowhere)

    data = f"{folder}/data"
    made = start(f"{home}/initdb", "-D", data, "-A", "trust", "-U", "tester", "--no-sync")
    assert made.wait() == 0
    process = start(f"{home}/postgres", "-D", data, "-k", str(folder), "-F", "-h", "")
    try:
        wait_for(folder / ".s.PGSQL.5432.lock", process)
        while subprocess.call([f"{home}/pg_isready", "-q", "-h", str(folder)]):
            time.sleep(0.02)
        yield str(folder)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)
