"""What a watch of the loop costs: the processor time of busy loops with it and without.

Interleaved rounds in one process; the ratio of the least times counts, for noise only adds: many
short rounds, for others leave the machine alone for a moment more often than for long. "A
thread beside" is one that sleeps, as any call of `asyncio.to_thread` leaves: it alone costs what
asks the system for events in every iteration some per cent, with or without a watch.
"""

import asyncio
import contextlib
import importlib.util
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest

from pytest_agentperf.core.clock import REAL_TIME
from pytest_agentperf.measure.concurrency.loop.loopwatch import LoopWatch
from pytest_agentperf.measure.concurrency.settings import WatchContext, WatchSettings
from pytest_agentperf.measure.concurrency.watch import Watch
from pytest_agentperf.measure.monitors import Monitors

ROUNDS = 9
SHORT_ROUNDS = 21
Load: TypeAlias = Callable[[], Awaitable[None]]
Around: TypeAlias = Callable[[], contextlib.AbstractAsyncContextManager[None]]


async def switches() -> None:
    async def work() -> None:
        for _ in range(500):
            await asyncio.sleep(0)

    await asyncio.gather(*(work() for _ in range(100)))


async def call_soon() -> None:
    loop, done, left = asyncio.get_running_loop(), asyncio.Event(), 50_000

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

    for _ in range(10_000):
        await asyncio.create_task(nothing())


async def stream_echo() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(64):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for _ in range(2000):
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
    for _ in range(SHORT_ROUNDS):
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
import pytest

@pytest.mark.parametrize("number", range({count}))
@pytest.mark.asyncio
{marks}
async def test_empty(number{fixtures}):
    {body}
"""
PLAIN = {"marks": "", "fixtures": "", "body": "pass"}
WATCHES: dict[str, dict[str, str]] = {
    "perf_concurrency": {
        **PLAIN,
        "fixtures": ", perf_concurrency",
        "body": "async with perf_concurrency(): pass",
    },
    "the marker": {
        **PLAIN,
        "marks": "@pytest.mark.perf_budget(loop_block_max='50ms', leaked_tasks=0)",
    },
}
BESIDE: dict[str, dict[str, str]] = {
    "the floor": {**PLAIN, "fixtures": ", floor", "body": "async with floor(): pass"},
    "perf_concurrency unused": {**PLAIN, "fixtures": ", perf_concurrency"},
    "nothing again": PLAIN,
}
PYLEAK = {**PLAIN, "marks": "@pytest.mark.no_leaks"}


# The floor is the least that any such watch has to do: wake a thread, and list what is open before
# and after.
CONFTEST = """
import _thread, contextlib, os, time, pytest
marks = []
def pytest_sessionstart():
    marks.append(time.perf_counter())
def pytest_runtest_logfinish():
    marks.append(time.perf_counter())
def pytest_unconfigure():
    print("spent", marks[-1] - marks[1], time.perf_counter() - marks[0])

def descriptors():
    found = set()
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):
            status = os.fstat(int(name))
            found.add((name, status.st_dev, status.st_ino))
    return found

@pytest.fixture(scope="session")
def floor():
    wake = _thread.allocate_lock()
    wake.acquire()
    def look():
        while True:
            wake.acquire()
    _thread.start_new_thread(look, ())
    class Floor:
        async def __aenter__(self):
            self.before = descriptors()
            if wake.locked():  # the thread has come round
                wake.release()
        async def __aexit__(self, *_):
            self.after = descriptors()
    return Floor
"""


class Spent(NamedTuple):
    """Seconds that a run of pytest took.

    Attributes:
        tests: All of its tests but the first, with which things are imported.
        session: What pytest itself shows at its end.
        command: All of it.
    """

    tests: float
    session: float
    command: float


def run_tests(folder: Path) -> Spent:
    """Run the tests in *folder*, which may have byte code, as those of users have."""
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", str(folder)]
    environment = {key: at for key, at in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    seconds = time.perf_counter() - began
    tests, session = next(x for x in shown.stdout.splitlines() if "spent" in x).split()[-2:]
    return Spent(float(tests), float(session), seconds)


def ratios_of_tests(folder: Path, kinds: dict[str, dict[str, str]], count: int) -> dict[str, Spent]:
    """Return the times of empty tests of all *kinds* ÷ those of plain ones, interleaved."""
    folders = {name: folder / str(number) for number, name in enumerate(("nothing", *kinds))}
    for name, at in folders.items():
        at.mkdir()
        (at / "pytest.ini").write_text("[pytest]\n")  # with which pytest looks no further up
        (at / "conftest.py").write_text(CONFTEST)
        (at / "test_empty.py").write_text(TESTS.format(count=count, **kinds.get(name, PLAIN)))
        run_tests(at)
    spent: dict[str, list[Spent]] = {name: [] for name in folders}
    for _ in range(ROUNDS):
        for name, at in folders.items():
            spent[name].append(run_tests(at))
    medians = {
        name: [*map(statistics.median, zip(*each, strict=True))] for name, each in spent.items()
    }
    plain = medians.pop("nothing")
    return {
        name: Spent(*(time / base for time, base in zip(times, plain, strict=True)))
        for name, times in medians.items()
    }


def bench_empty_tests(record_ratio: Callable[[str, str, float], None], tmp_path: Path) -> None:
    for name, ratios in ratios_of_tests(tmp_path, {**WATCHES, **BESIDE}, 201).items():
        must_be = "noise" if name == "nothing again" else "shown"
        record_ratio(f"a test after the first: {name} ÷ nothing", must_be, ratios.tests)


def bench_session(record_ratio: Callable[[str, str, float], None], tmp_path: Path) -> None:
    kinds = {**WATCHES, **BESIDE}
    if importlib.util.find_spec("pyleak"):
        kinds["pyleak"] = PYLEAK
    for name, ratios in ratios_of_tests(tmp_path, kinds, 20).items():
        must_be = "<= 1.3" if name in WATCHES else "noise" if name == "nothing again" else "shown"
        record_ratio(f"20 empty tests, the command: {name} ÷ nothing", must_be, ratios.command)
        record_ratio(f"20 empty tests, as pytest shows: {name} ÷ nothing", must_be, ratios.session)
