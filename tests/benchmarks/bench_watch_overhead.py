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

from pytest_agentperf.core.clock import REAL_TIME
from pytest_agentperf.measure.concurrency.loop.loopwatch import LoopWatch
from pytest_agentperf.measure.concurrency.settings import WatchContext, WatchSettings
from pytest_agentperf.measure.concurrency.watch import Watch
from pytest_agentperf.measure.monitors import Monitors

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
async def all_parts() -> AsyncIterator[None]:
    context = WatchContext(REAL_TIME.clock, Monitors(), lambda _: False)
    async with Watch(WatchSettings(), context):
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
    "all parts of perf_concurrency": (all_parts, "shown"),
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

@pytest.mark.parametrize("number", range(21))
@pytest.mark.asyncio
{marks}
async def test_empty(number{fixtures}):
    {body}
"""
PLAIN = {"marks": "", "fixtures": "", "body": "pass"}
KINDS: dict[str, tuple[dict[str, str], str]] = {
    "perf_concurrency": (
        {
            **PLAIN,
            "fixtures": ", perf_concurrency",
            "body": "async with perf_concurrency(): pass",
        },
        "<= 1.3",
    ),
    "the marker": (
        {**PLAIN, "marks": "@pytest.mark.perf_budget(loop_block_max='50ms', leaked_tasks=0)"},
        "<= 1.3",
    ),
    "nothing again": (PLAIN, "noise"),
    "pyleak": ({**PLAIN, "marks": "@pytest.mark.no_leaks"}, "shown"),
}


CONFTEST = """
import time
marks = [time.perf_counter()]
def pytest_runtest_logfinish():
    marks.append(time.perf_counter())
def pytest_sessionfinish():
    print("spent", marks[-1] - marks[1], marks[-1] - marks[0])
"""


def seconds_of_tests(folder: Path, parts: dict[str, str]) -> tuple[float, float]:
    """Return what 20 async tests of these *parts* take, without and with all before them.

    Before them are the collection and a first such test, with which everything is imported.
    """
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_empty.py").write_text(TESTS.format(**parts))
    options = ["-q", "-s", "-p", "no:cacheprovider", "--rootdir", str(folder), "-c", "/dev/null"]
    command = [sys.executable, "-m", "pytest", *options, str(folder)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spent = next(line for line in shown.splitlines() if "spent" in line).split()
    return float(spent[-2]), float(spent[-1])


def bench_empty_tests(record_ratio: Callable[[str, str, float], None], tmp_path: Path) -> None:
    kinds = {"nothing": (PLAIN, ""), **KINDS}
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, (parts, _) in kinds.items():
            spent[name].append(seconds_of_tests(tmp_path, parts))
    for at, what in enumerate(("tests", "tests, with imports")):
        base = statistics.median(times[at] for times in spent["nothing"])
        for name, (_, must_be) in KINDS.items():
            ratio = statistics.median(times[at] for times in spent[name]) / base
            record_ratio(
                f"20 empty {what}: {name} ÷ nothing", must_be if at == 0 else "shown", ratio
            )
