"""What a watch of the loop costs: the processor time of busy loops with it and without.

Interleaved rounds in one process; the ratio of the least times counts, for noise only adds. "A
thread beside" is one that sleeps, as any call of `asyncio.to_thread` leaves: it alone costs what
asks the system for events in every iteration some per cent, with or without a watch.
"""

import asyncio
import contextlib
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from pytest_agentperf.measure.concurrency.loopwatch import LoopWatch

ROUNDS = 9
Load: TypeAlias = Callable[[], Awaitable[None]]
Around: TypeAlias = Callable[[], contextlib.AbstractAsyncContextManager[None]]


async def switches() -> None:
    async def work() -> None:
        for _ in range(1000):
            await asyncio.sleep(0)

    await asyncio.gather(*(work() for _ in range(100)))


async def call_soon() -> None:
    loop, done, left = asyncio.get_running_loop(), asyncio.Event(), 100_000

    def again() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(again)
        else:
            done.set()

    again()
    await done.wait()


async def create_task() -> None:
    async def nothing() -> None:
        pass

    for _ in range(20_000):
        await asyncio.create_task(nothing())


async def stream_echo() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(64):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for _ in range(4000):
        writer.write(b"x" * 64)
        await reader.readexactly(64)
    writer.close()
    server.close()
    await server.wait_closed()


@contextlib.asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    yield


@contextlib.asynccontextmanager
async def thread_beside() -> AsyncIterator[None]:
    wake = threading.Event()
    thread = threading.Thread(target=wake.wait)
    thread.start()
    try:
        yield
    finally:
        wake.set()
        thread.join()


@contextlib.asynccontextmanager
async def watch(*, exact: bool = False) -> AsyncIterator[None]:
    watching = LoopWatch(exact=exact)
    watching.start()
    try:
        yield
    finally:
        watching.stop()


@contextlib.asynccontextmanager
async def exact_watch() -> AsyncIterator[None]:
    async with watch(exact=True):
        yield


@contextlib.asynccontextmanager
async def pyleak() -> AsyncIterator[None]:
    peer: Any = pytest.importorskip("pyleak")
    async with peer.no_event_loop_blocking(action="log", threshold=0.025, check_interval=0.005):
        yield


@contextlib.asynccontextmanager
async def blockbuster() -> AsyncIterator[None]:
    peer: Any = pytest.importorskip("blockbuster")
    with peer.blockbuster_ctx():
        yield


@contextlib.asynccontextmanager
async def debug_mode() -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    yield
    loop.set_debug(False)


AROUND: dict[str, tuple[Around, str]] = {
    "watch": (watch, "<= 1.03"),
    "exact watch": (exact_watch, "<= 1.20"),
    "a thread beside": (thread_beside, "shown"),
    "pyleak 25/5 ms": (pyleak, "shown"),
    "blockbuster": (blockbuster, "shown"),
}


async def processor_seconds(load: Load, around: Around) -> float:
    async with around():
        began = time.process_time()
        await load()
        return time.process_time() - began


def least(load: Load, around: dict[str, Around]) -> dict[str, float]:
    """Return the least processor time of *load* within each of *around*, in interleaved rounds."""
    spent: dict[str, list[float]] = {name: [] for name in around}
    for _ in range(ROUNDS):
        for name, entered in around.items():
            spent[name].append(asyncio.run(processor_seconds(load, entered)))
    return {name: min(values) for name, values in spent.items()}


@pytest.mark.parametrize("load", [stream_echo, switches, create_task, call_soon])
def bench_overhead(record_ratio: Callable[[str, str, float], None], load: Load) -> None:
    around = {"nothing": nothing, **{name: entered for name, (entered, _) in AROUND.items()}}
    times = least(load, {**around, "nothing again": nothing})
    name = load.__name__
    for entered, (_, must_be) in AROUND.items():
        record_ratio(f"{name}: {entered} ÷ nothing", must_be, times[entered] / times["nothing"])
    beside = times["a thread beside"]
    record_ratio(f"{name}: watch ÷ a thread beside", "shown", times["watch"] / beside)
    record_ratio(
        f"{name}: nothing ÷ nothing (A/A)", "noise", times["nothing again"] / times["nothing"]
    )


@pytest.mark.parametrize("load", [stream_echo, switches, create_task, call_soon])
def bench_debug_mode(record_ratio: Callable[[str, str, float], None], load: Load) -> None:
    base = asyncio.run(processor_seconds(load, nothing))
    debug = asyncio.run(processor_seconds(load, debug_mode))
    record_ratio(f"{load.__name__}: debug mode ÷ nothing", "shown", debug / base)


TESTS = """
import asyncio, time, pytest
from pytest_agentperf.measure.concurrency.loopwatch import LoopWatch

@pytest.mark.parametrize("number", range(20))
@pytest.mark.asyncio
async def test_empty(number):
    {body}
"""
WATCHED = "watch = LoopWatch(); watch.start(); watch.stop()"
BODIES = {"watch": WATCHED, "pyleak": "pass", "nothing again": "pass"}
CONFTEST = """
spent = 0.0
def pytest_runtest_logreport(report):
    global spent
    spent += report.duration
def pytest_sessionfinish():
    print("spent", spent)
"""


def seconds_of_tests(folder: Path, body: str, mark: str = "") -> float:
    """Return the time of 20 async tests with *body*, as pytest sums it up."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_empty.py").write_text(mark + TESTS.format(body=body))
    options = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:agentperf", "--rootdir", str(folder)]
    command = [sys.executable, "-m", "pytest", *options, "-c", "/dev/null", str(folder)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(next(line for line in shown.splitlines() if line.startswith("spent")).split()[1])


def bench_empty_tests(record_ratio: Callable[[str, str, float], None], tmp_path: Path) -> None:
    leaks = "import pytest\npytestmark = [pytest.mark.no_leaks]\n"
    spent: dict[str, list[float]] = {"nothing": [], "watch": [], "nothing again": [], "pyleak": []}
    for _ in range(ROUNDS):
        spent["nothing"].append(seconds_of_tests(tmp_path, "pass"))
        spent["watch"].append(seconds_of_tests(tmp_path, WATCHED))
        spent["nothing again"].append(seconds_of_tests(tmp_path, "pass"))
    spent["pyleak"].append(seconds_of_tests(tmp_path, "pass", leaks))
    base = statistics.median(spent["nothing"])
    for name, must_be in (("watch", "<= 1.3"), ("nothing again", "noise"), ("pyleak", "shown")):
        ratio = statistics.median(spent[name]) / base
        record_ratio(f"20 empty tests: {name} ÷ nothing", must_be, ratio)
