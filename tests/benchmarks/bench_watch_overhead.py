"""What a watch of the loop costs: the processor time of busy loops with it and without.

Interleaved short rounds in one process, each ÷ the mean of two rounds without anything beside it;
the median counts, for the same loop takes 58 ms or 65 ms by where its objects happen to lie, and
the least of all rounds would compare strokes of luck. "A thread that wakes as often" does nothing
else: to win the GIL from a loop that gives it up for microseconds is most of what a watch costs.
"""

import asyncio
import contextlib
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest

from pytest_agentperf.core.clock import REAL_TIME
from pytest_agentperf.measure.concurrency.loop.loopwatch import LoopWatch
from pytest_agentperf.measure.concurrency.loop.watchdog import TICK
from pytest_agentperf.measure.concurrency.settings import WatchContext, WatchSettings
from pytest_agentperf.measure.concurrency.watch import Watch
from pytest_agentperf.measure.monitors import Monitors
from tests.benchmarks.waking import waking_thread

ROUNDS = 21
SHORT_ROUNDS = 61
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
async def waking() -> AsyncIterator[None]:
    with waking_thread(TICK):
        yield


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
    "a thread that wakes as often": (waking, "shown"),
    "pyleak 25/5 ms": (pyleak, "shown"),
    "blockbuster": (blockbuster, "shown"),
}


async def processor_seconds(load: Load, around: Around) -> float:
    async with around():
        began = time.process_time()
        await load()
        return time.process_time() - began


@pytest.mark.parametrize("load", [stream_echo, switches, create_task, call_soon])
def bench_overhead(record_ratio: Callable[[str, str, float], None], load: Load) -> None:
    name, entered = load.__name__, {kind: each for kind, (each, _) in AROUND.items()}
    around = {"nothing": nothing, **entered, "nothing again": nothing}
    for _ in range(SHORT_ROUNDS):
        times = {kind: asyncio.run(processor_seconds(load, each)) for kind, each in around.items()}
        base = (times["nothing"] + times["nothing again"]) / 2
        for kind, (_, must_be) in AROUND.items():
            record_ratio(f"{name}: {kind} ÷ nothing", must_be, times[kind] / base)
        again = times["nothing again"] / times["nothing"]
        record_ratio(f"{name}: nothing ÷ nothing (A/A)", "noise", again)


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
    """Return the times of empty tests of all *kinds* ÷ those of plain ones, in the same turn.

    A turn that a noisy machine drags out is slow on both sides of a ratio.
    """
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
    plain = spent.pop("nothing")
    return {name: _median_ratios(each, plain) for name, each in spent.items()}


def _median_ratios(spent: Sequence[Spent], base: Sequence[Spent]) -> Spent:
    ratios = [
        [time / of for time, of in zip(one, beside, strict=True)]
        for one, beside in zip(spent, base, strict=True)
    ]
    return Spent(*map(statistics.median, zip(*ratios, strict=True)))


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
