"""Tests of leaks: what is planted is found with its kind and line, what is tidy is not."""

import asyncio
import concurrent.futures
import contextlib
import gc
import io
import math
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any, TypeAlias, get_args

import anyio.to_thread
import freezegun
import httpx
import pytest

from pytest_agentperf.core.metrics import QUANTITIES
from pytest_agentperf.measure.concurrency.leaks.leak import Kind
from pytest_agentperf.measure.concurrency.leaks.snapshot import METRICS, Leak, Snapshot
from pytest_agentperf.measure.concurrency.origins import _rank
from pytest_agentperf.measure.concurrency.waits.ledger import WaitLedger
from pytest_agentperf.measure.frames import is_plumbing, owner_of, place_of

LOOPS = ["asyncio", "uvloop"]
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


class Kept:
    """What a planted leak keeps, and how the test gets rid of it afterwards."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.things: list[Any] = []
        self.later = AsyncExitStack()

    def keep(self, thing: Any, close: Callable[[], Any] | None = None) -> Any:
        self.things.append(thing)
        self.later.callback(close or thing.close)
        return thing


Plant: TypeAlias = Callable[[Kept], Awaitable[None]]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A web server in a process of its own: its ends of the connections are not ours."""
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield int(server.stdout.readline())
        server.kill()


@pytest.fixture(params=LOOPS)
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    factory = None
    if request.param == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner


def leaks_of(runner: asyncio.Runner, plant: Plant, port: int = 0) -> tuple[Leak, ...]:
    """Return what *plant* leaves, and tidy up after it."""

    async def watched() -> tuple[Leak, ...]:
        kept = Kept(port)
        before = Snapshot.take()
        await plant(kept)
        found = await before.settle_and_diff()
        await kept.later.aclose()
        await asyncio.sleep(0)
        return found

    return runner.run(watched())


async def forever() -> None:
    await asyncio.Event().wait()


async def numbers() -> AsyncIterator[int]:
    yield 1
    yield 2


async def fail() -> None:
    raise ValueError("boom")


async def plant_task(kept: Kept) -> None:
    task = asyncio.create_task(forever())
    kept.keep(task, task.cancel)
    await asyncio.sleep(0)


async def plant_task_group_member(kept: Kept) -> None:
    tasks = {asyncio.ensure_future(forever())}
    kept.keep(tasks, tasks.copy().pop().cancel)


async def plant_thread(kept: Kept) -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait, name="worker")
    thread.start()
    kept.later.callback(thread.join)
    kept.later.callback(done.set)


async def plant_socket(kept: Kept) -> None:
    kept.keep(socket.create_connection(("127.0.0.1", kept.port)))


async def plant_http_client(kept: Kept) -> None:
    client = httpx.AsyncClient(trust_env=False)
    kept.later.push_async_callback(client.aclose)
    await client.get(kept.url)


async def plant_stream(kept: Kept) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", kept.port)
    kept.later.push_async_callback(writer.wait_closed)
    kept.keep((reader, writer), writer.close)


async def plant_file(kept: Kept) -> None:
    kept.keep(open(__file__, "rb"))  # noqa: SIM115, PTH123, ASYNC230 -- planted


async def plant_pipe(kept: Kept) -> None:
    read, write = os.pipe()
    kept.keep(read, lambda: os.close(read))
    os.close(write)


async def plant_process(kept: Kept) -> None:
    process = await asyncio.create_subprocess_exec("sleep", "60")
    kept.later.push_async_callback(process.wait)
    kept.keep(process, process.kill)


async def plant_async_generator(kept: Kept) -> None:
    generator = numbers()
    kept.later.push_async_callback(generator.aclose)  # type: ignore[attr-defined]
    async for _ in generator:
        break
    kept.things.append(generator)


async def plant_coroutine(kept: Kept) -> None:
    with pytest.warns(RuntimeWarning, match="never awaited"):
        fail()  # type: ignore[unused-coroutine]


async def plant_failed_task(kept: Kept) -> None:
    task = asyncio.create_task(fail())
    kept.keep(task, task.exception)
    await asyncio.sleep(0)


PLANTED: list[tuple[Plant, str]] = [
    (plant_task, "task"),
    (plant_task_group_member, "task"),
    (plant_thread, "thread"),
    (plant_socket, "socket"),
    (plant_http_client, "socket"),
    (plant_stream, "socket"),
    (plant_file, "fd"),
    (plant_pipe, "fd"),
    (plant_process, "process"),
    (plant_async_generator, "async generator"),
    (plant_coroutine, "coroutine"),
    (plant_failed_task, "failed task"),
]


@pytest.mark.parametrize(("plant", "kind"), PLANTED)
def test_planted_leak_is_found_with_the_line_that_made_it(
    runner: asyncio.Runner, port: int, plant: Plant, kind: str
) -> None:
    (leak,) = leaks_of(runner, plant, port)
    assert leak.kind == kind
    assert leak.place is not None
    assert leak.place.function == plant.__name__
    assert leak.place.file.endswith("test_snapshot.py")


async def tidy_task(kept: Kept) -> None:
    task = asyncio.create_task(forever())
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def tidy_task_group(kept: Kept) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(0))


async def tidy_thread(kept: Kept) -> None:
    await asyncio.to_thread(int)
    await anyio.to_thread.run_sync(int)
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        await asyncio.get_running_loop().run_in_executor(executor, int)


async def tidy_socket(kept: Kept) -> None:
    socket.create_connection(("127.0.0.1", kept.port)).close()


async def tidy_http_client(kept: Kept) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        await asyncio.gather(*(client.get(kept.url) for _ in range(3)))


async def tidy_stream(kept: Kept) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", kept.port)
    writer.close()  # and the loop closes the socket when it comes to it


async def tidy_file(kept: Kept) -> None:
    with open(__file__, "rb"), tempfile.TemporaryFile():  # noqa: PTH123, ASYNC230 -- the twin
        await asyncio.sleep(0)


async def tidy_pipe(kept: Kept) -> None:
    for end in os.pipe():
        os.close(end)


async def tidy_process(kept: Kept) -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("true", stdin=pipe, stdout=pipe, stderr=pipe)
    await process.communicate()


async def tidy_async_generator(kept: Kept) -> None:
    assert [number async for number in numbers()] == [1, 2]
    async for _ in numbers():
        break  # the loop closes what is dropped


async def tidy_coroutine(kept: Kept) -> None:
    fail().close()


async def tidy_failed_task(kept: Kept) -> None:
    tasks = [asyncio.create_task(fail()) for _ in range(2)]
    await asyncio.gather(*tasks, return_exceptions=True)


TIDY = [
    tidy_task, tidy_task_group, tidy_thread, tidy_socket, tidy_http_client, tidy_stream, tidy_file,
    tidy_pipe, tidy_process, tidy_async_generator, tidy_coroutine, tidy_failed_task,
]  # fmt: skip


@pytest.mark.parametrize("twin", TIDY)
def test_tidy_twin_of_a_leak_is_not_reported(
    runner: asyncio.Runner, port: int, twin: Plant
) -> None:
    assert leaks_of(runner, twin, port) == ()


class Stubborn:
    """A task that goes on for some turns of the loop after the code that started it."""

    def __init__(self, turns: float) -> None:
        self.turns = turns
        self.seen = 0

    async def run(self) -> None:
        while self.seen < self.turns:
            self.seen += 1
            await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_settling_gives_time_to_what_is_about_to_end() -> None:
    before, work = Snapshot.take(), Stubborn(turns=20)
    task = asyncio.create_task(work.run())
    assert await before.settle_and_diff() == ()
    assert task.done()


@pytest.mark.asyncio
async def test_settling_gives_a_turn_of_the_loop_without_any_patience() -> None:
    before, work = Snapshot.take(), Stubborn(turns=0)
    task = asyncio.create_task(work.run())
    assert await before.settle_and_diff(patience=0) == ()
    assert task.done()


@pytest.mark.asyncio
async def test_settling_takes_no_turn_where_nothing_is_left() -> None:
    older = Stubborn(turns=math.inf)
    task = asyncio.create_task(older.run())
    before = Snapshot.take()
    assert await before.settle_and_diff() == ()
    assert older.seen == 0
    task.cancel()


@pytest.mark.asyncio
async def test_settling_ends_when_its_patience_does() -> None:
    before = Snapshot.take()
    task = asyncio.create_task(forever())
    start = time.perf_counter()
    assert len(await before.settle_and_diff(patience=0.02)) == 1
    assert time.perf_counter() - start >= 0.02
    task.cancel()


@pytest.mark.asyncio
async def test_settling_ends_when_time_is_frozen() -> None:
    before = Snapshot.take()
    task = asyncio.create_task(forever())
    with freezegun.freeze_time("2024-01-01"):
        assert len(await before.settle_and_diff(patience=0.02)) == 1
    task.cancel()


@pytest.mark.asyncio
async def test_settling_that_is_cancelled_stops() -> None:
    loop = asyncio.get_running_loop()
    before = Snapshot.take()
    left = asyncio.create_task(forever())
    settling = asyncio.create_task(before.settle_and_diff(patience=60))
    await asyncio.sleep(0)
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    assert "create_task" not in vars(loop)
    left.cancel()


def replaced() -> tuple[object, ...]:
    """Return all that a snapshot replaces."""
    loop = asyncio.get_running_loop()
    return (
        vars(loop).get("create_task"), loop.get_exception_handler(), loop.get_task_factory(),
        sys.get_asyncgen_hooks(), warnings._warn_unawaited_coroutine,  # type: ignore[attr-defined]
        threading.Thread.start, subprocess.Popen.__init__, socket.socket.__init__, open, io.open,
        os.open, os.pipe, tuple(gc.callbacks),
    )  # fmt: skip


@pytest.mark.asyncio
async def test_snapshots_put_back_all_that_they_replace_also_when_nested() -> None:
    before = replaced()
    outer = Snapshot.take()
    inner = Snapshot.take()
    assert not set(map(id, before[:2])) & set(map(id, replaced()[:2])) - {id(None)}
    inner.stop()
    outer.stop()
    outer.stop()
    assert replaced() == before


@pytest.mark.asyncio
async def test_snapshots_of_which_the_outer_ends_first_leave_the_loop_usable() -> None:
    outer = Snapshot.take()
    inner = Snapshot.take()
    outer.stop()
    task = asyncio.create_task(forever())
    (leak,) = await inner.settle_and_diff(patience=0)
    assert leak.place is not None
    task.cancel()


@pytest.mark.asyncio
async def test_leak_is_found_by_all_snapshots_around_it() -> None:
    outer = Snapshot.take()
    inner = Snapshot.take()
    task = asyncio.create_task(forever())
    (first,) = await inner.settle_and_diff(patience=0)
    (second,) = await outer.settle_and_diff(patience=0)
    assert first == second
    task.cancel()


@pytest.mark.asyncio
async def test_snapshot_that_was_stopped_goes_on_and_finds_what_came_in_between() -> None:
    before = Snapshot.take()
    before.stop()
    unseen = asyncio.create_task(forever(), name="unseen")
    before.start()
    before.start()
    seen = asyncio.create_task(forever(), name="seen")
    found = {leak.name: leak.place for leak in await before.settle_and_diff(patience=0)}
    assert found["unseen"] is None
    assert found["seen"] is not None
    unseen.cancel()
    seen.cancel()


def test_snapshot_of_a_loop_that_is_closed_stops() -> None:
    async def take() -> Snapshot:
        return Snapshot.take()

    asyncio.run(take()).stop()


def test_snapshot_under_trio_finds_threads_and_files() -> None:
    async def leave() -> tuple[tuple[Leak, ...], ...]:
        done = threading.Event()
        before = Snapshot.take()
        await anyio.to_thread.run_sync(int)
        thread = threading.Thread(target=done.wait)
        thread.start()
        read, write = os.pipe()
        left = await before.settle_and_diff(patience=0.002)
        again = Snapshot.take()
        for end in (read, write):
            os.close(end)
        done.set()
        thread.join()
        return left, await again.settle_and_diff()

    left, nothing = anyio.run(leave, backend="trio")
    assert [leak.kind for leak in left] == ["thread", "fd", "fd"]
    assert all(leak.place for leak in left)
    assert nothing == ()


def test_metrics_count_kinds_that_leaks_have() -> None:
    kinds = set(get_args(Kind))
    assert {kind for counted in METRICS.values() for kind in counted} < kinds
    assert set(METRICS) <= set(QUANTITIES)


def test_session_of_aiohttp_that_is_kept_is_found_and_its_tidy_twin_is_not(
    runner: asyncio.Runner, port: int
) -> None:
    aiohttp = pytest.importorskip("aiohttp")

    async def plant(kept: Kept) -> None:
        session = aiohttp.ClientSession()
        kept.later.push_async_callback(session.close)
        async with session.get(kept.url) as response:
            await response.read()

    async def tidy(kept: Kept) -> None:
        async with aiohttp.ClientSession() as session, session.get(kept.url) as response:
            await response.read()

    (leak,) = leaks_of(runner, plant, port)
    assert (leak.kind, leak.name) == ("socket", f"socket to 127.0.0.1:{port}")
    assert leak.place is not None
    assert leak.place.function.endswith("plant")
    assert leaks_of(runner, tidy, port) == ()


@pytest.mark.asyncio
async def test_snapshot_calls_nothing_that_blocks_as_long_as_a_loop_seems_to_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            assert asyncio._get_running_loop() is None, function
            return function(*args, **kwargs)

        return call

    for cached in (_rank, place_of, owner_of, is_plumbing):
        cached.cache_clear()
    for name in ("listdir", "stat", "lstat", "readlink", "getcwd", "scandir"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    before = Snapshot.take()
    process = subprocess.Popen(["sleep", "60"])  # noqa: ASYNC220 -- planted
    task = asyncio.create_task(forever())
    file = tempfile.TemporaryFile()  # noqa: SIM115 -- planted
    found = await before.settle_and_diff(patience=0.002)
    monkeypatch.undo()
    assert [leak.kind for leak in found] == ["task", "process", "fd"]
    process.kill()
    process.wait()
    task.cancel()
    file.close()


@pytest.mark.asyncio
async def test_snapshot_works_beside_tools_that_watch_the_same_places() -> None:
    blockbuster, pyleak = pytest.importorskip("blockbuster"), pytest.importorskip("pyleak")

    async def work() -> tuple[Leak, ...]:
        with blockbuster.blockbuster_ctx():
            before, ledger = Snapshot.take(), WaitLedger()
            ledger.start()
            async with pyleak.no_task_leaks(enable_creation_tracking=True):
                await asyncio.create_task(asyncio.sleep(0))
            lock = asyncio.Lock()
            async with lock:
                waiting = asyncio.create_task(lock.acquire())
                await asyncio.sleep(0)
            await waiting
            task = asyncio.create_task(forever())
            found = await before.settle_and_diff(patience=0.002)
            ledger.stop()
            assert [total.count for total in ledger.totals if total.kind == "lock"] == [1]
            task.cancel()
        return found

    (leak,) = await work()
    assert leak.place is not None
    assert leak.place.function.endswith("work")
