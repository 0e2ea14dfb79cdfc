"""What is found of calls that block the loop, and what is wrongly called so, beside the peers.

Every case runs five times, at a random moment of the monitor's period. The line to be named carries
the mark "# <-". `AGENTPERF_HOGS=6` adds as many processes that compute.
"""

import asyncio
import concurrent.futures
import contextlib
import ctypes
import functools
import gc
import hashlib
import importlib
import inspect
import itertools
import json
import logging
import os
import queue
import random
import re
import select
import socket
import socketserver
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from pytest_agentperf.measure.concurrency.loop.loopwatch import LoopWatch
from tests.benchmarks.waking import waking_thread

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # else a matrix product takes what it takes
RUNS = 5
THRESHOLD = 0.025
SECONDS = 0.07
SHORTEST = 0.05
Found: TypeAlias = list[tuple[str, int]]
Case: TypeAlias = Callable[[], Any]
Monitor: TypeAlias = Callable[[Found], Any]

FOLDER = Path(tempfile.mkdtemp(prefix="agentperf-blocking-"))


# What the cases need: a slow server, big inputs that take some 70 ms of computing on this machine.


class Slow(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        time.sleep(SECONDS)
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


@functools.cache
def slow_server() -> tuple[str, int]:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True

    def serve() -> None:
        while True:
            server.handle_request()  # waits for one, and never wakes beside other cases

    threading.Thread(target=serve, daemon=True).start()
    host, port = server.server_address[:2]
    return str(host), int(port)


def url() -> str:
    return "http://{}:{}/".format(*slow_server())


@functools.cache
def sized(make: Callable[[int], Any], work: Callable[[Any], object], size: int) -> Any:
    """Return an input made by *make* for which *work* computes for some 70 ms."""
    for _ in range(12):
        value = make(size)
        began = time.thread_time()
        work(value)
        spent = time.thread_time() - began
        if 0.85 * SECONDS < spent < 1.2 * SECONDS:
            break
        # Damped, else it would swing for ever: some take 16 times as long at twice the size.
        size = max(int(size * min(max(SECONDS / max(spent, 1e-3), 0.1), 10) ** 0.35), 1)
    return value


def after(seconds: float, call: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()


# 28 calls that block for 50 to 90 ms.


def sleep_80() -> None:
    time.sleep(0.08)  # <-


def sleep_50() -> None:
    time.sleep(0.05)  # <-


def socket_recv() -> None:
    ours, theirs = socket.socketpair()
    after(SECONDS, lambda: theirs.send(b"x"))
    ours.recv(1)  # <-
    ours.close()


def make_file(megabytes: int) -> Path:
    path = FOLDER / f"{megabytes}.bin"
    path.write_bytes(b"x" * (megabytes << 20))
    return path


def read_file() -> None:
    path = sized(make_file, Path.read_bytes, 100)
    path.read_bytes()  # <-


def fifo() -> None:
    path = FOLDER / f"fifo-{random.random()}"
    os.mkfifo(path)
    after(SECONDS, lambda: path.write_bytes(b"x"))
    path.read_bytes()  # <-


def http_client() -> None:
    requests: Any = pytest.importorskip("requests")
    requests.get(url(), timeout=5)  # <-


def url_open() -> None:
    urllib.request.urlopen(url()).read()  # noqa: S310  # <-


def run_subprocess() -> None:
    subprocess.run(["sleep", "0.07"], check=True)  # <-


def make_json(size: int) -> str:
    return json.dumps([{"name": str(i), "values": [i, 1.5, None]} for i in range(size)])


def json_loads() -> None:
    text = sized(make_json, json.loads, 20_000)
    json.loads(text)  # <-


def many_a(size: int) -> str:
    return "a" * size + "c"


def backtrack(text: str) -> object:
    return re.match(r"a*a*a*a*b", text)


def regex() -> None:
    text = sized(many_a, backtrack, 100)
    re.match(r"a*a*a*a*b", text)  # <-


def matrix(size: int) -> Any:
    numpy = pytest.importorskip("numpy")
    return numpy.random.rand(size, size)


def square(a: Any) -> Any:
    return a @ a


def matmul() -> None:
    a = sized(matrix, square, 900)
    a @ a  # <-


def lock_acquire() -> None:
    lock = threading.Lock()
    lock.acquire()
    after(SECONDS, lock.release)
    lock.acquire()  # <-


def queue_get() -> None:
    items: queue.Queue[int] = queue.Queue()
    after(SECONDS, lambda: items.put(1))
    items.get()  # <-


def thread_join() -> None:
    thread = threading.Thread(target=time.sleep, args=(SECONDS,))
    thread.start()
    thread.join()  # <-


POOL = concurrent.futures.ThreadPoolExecutor(4)


def future_result() -> None:
    POOL.submit(time.sleep, SECONDS).result()  # <-


SQL = (
    "with recursive n(i) as (select 1 union all select i + 1 from n where i < {}) "
    "select sum(i) from n"
)


def query(size: int) -> object:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        return database.execute(SQL.format(size)).fetchall()


def sqlite() -> None:
    size = sized(int, query, 500_000)
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.execute(SQL.format(size)).fetchall()  # <-


def derive(rounds: int) -> object:
    return hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", rounds)


def hashing() -> None:
    rounds = sized(int, derive, 100_000)
    hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", rounds)  # <-


def slow_resolver() -> Callable[..., Any]:
    """Return a resolver that takes 70 ms and looks as if it were a part of `socket`."""
    source = "def getaddrinfo(*args):\n    time.sleep(0.07)\n    return real(*args)"
    space: dict[str, Any] = {"time": time, "real": sys.modules["_socket"].getaddrinfo}
    exec(compile(source, socket.__file__, "exec"), space)  # noqa: S102
    resolver: Callable[..., Any] = space["getaddrinfo"]
    return resolver


def getaddrinfo() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("_socket.getaddrinfo", slow_resolver())
        socket.getaddrinfo("127.0.0.1", 80)  # <-


def write_log(size: int) -> None:
    logger = logging.Logger("benchmark")  # noqa: LOG001
    handler = logging.FileHandler(FOLDER / "log.txt")
    logger.addHandler(handler)
    for i in range(size):
        logger.warning("record %d", i)
    handler.close()


def logging_to_file() -> None:
    size = sized(int, write_log, 8000)
    logger = logging.Logger("benchmark")  # noqa: LOG001
    handler = logging.FileHandler(FOLDER / "log.txt")
    logger.addHandler(handler)
    for i in range(size):  # <-
        logger.warning("record %d", i)  # <-
    handler.close()


def make_source(size: int) -> str:
    return "\n".join(f"def f{i}(a, b={i}):\n    return [a * x for x in b]" for i in range(size))


def compiled(source: str) -> object:
    return compile(source, "heavy", "exec")


def heavy_import() -> None:
    name = f"heavy_{random.getrandbits(60)}"
    (FOLDER / f"{name}.py").write_text(sized(make_source, compiled, 1000))
    importlib.import_module(name)  # <-


def make_garbage(size: int) -> list[Any]:
    return [[i] for i in range(size)]


def collect(_: object) -> int:
    return gc.collect()


def gc_collect() -> None:
    kept = sized(make_garbage, collect, 500_000)
    gc.collect()  # <-
    assert kept


def count_up(size: int) -> int:
    total = 0
    for number in range(size):
        total += number
    return total


def python_loop() -> None:
    total = 0
    for number in range(sized(int, count_up, 1_000_000)):  # <-
        total += number  # <-


def extension_with_gil() -> None:
    ctypes.PyDLL(None).usleep(70_000)  # <-


def forty_sleeps() -> None:
    for _ in range(40):
        time.sleep(0.002)  # <-


async def callback() -> None:
    done = asyncio.Event()

    def blocks() -> None:
        done.set()
        time.sleep(SECONDS)  # <-

    asyncio.get_running_loop().call_soon(blocks)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(done.wait(), 1)


def deep(frames: int = 30) -> None:
    if frames:
        deep(frames - 1)
        return
    time.sleep(SECONDS)  # <-


def compared(a: int, b: int) -> int:
    return a - b  # <-


def shuffled(size: int) -> list[int]:
    return random.sample(range(size), size)


def sort(values: list[int]) -> list[int]:
    return sorted(values, key=functools.cmp_to_key(compared))  # <-


def python_sort() -> None:
    sort(sized(shuffled, sort, 20_000))


def sync_select() -> None:
    ours, theirs = socket.socketpair()
    after(SECONDS, lambda: theirs.send(b"x"))
    select.select([ours], [], [], 1)  # <-
    ours.close()


# Ten more.


def send_to_full_socket() -> None:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    after(SECONDS, theirs.close)
    with contextlib.suppress(OSError):
        ours.sendall(b"x" * 10_000_000)  # <-
    ours.close()


def piped_subprocess() -> None:
    subprocess.run(["sleep", "0.07"], check=True, capture_output=True, input=b"x")  # <-


def wait_for_event() -> None:
    event = threading.Event()
    after(SECONDS, event.set)
    event.wait()  # <-


def result_of_computing_thread() -> None:
    size = sized(int, count_up, 1_000_000)
    POOL.submit(count_up, size).result()  # <-


def compress() -> None:
    data = sized(os.urandom, zlib.compress, 500_000)
    zlib.compress(data)  # <-


def make_list(size: int) -> list[int]:
    return [*range(size)]


def count_negative(values: list[int]) -> int:
    return values.count(-1)


def search_list() -> None:
    values = sized(make_list, count_negative, 3_000_000)
    values.count(-1)  # <-


def write(data: bytes) -> None:
    path = FOLDER / "written.bin"
    path.unlink(missing_ok=True)  # to write over a file is faster
    path.write_bytes(data)  # <-


def write_file() -> None:
    write(sized(bytes, write, 50_000_000))


def locked_database() -> None:
    path = FOLDER / f"locked-{random.random()}.db"
    first = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    first.execute("create table t (x)")
    first.execute("begin exclusive")
    after(SECONDS, first.rollback)
    with contextlib.closing(sqlite3.connect(path, timeout=5)) as second:
        second.execute("insert into t values (1)")  # <-
    first.close()


class Client:
    def __init__(self) -> None:
        time.sleep(SECONDS)  # <-


def constructor() -> None:
    Client()


async def async_generator() -> None:
    async def items() -> AsyncIterator[int]:
        yield 1
        time.sleep(SECONDS)  # noqa: ASYNC251  # <-
        yield 2

    async for _ in items():
        pass


FIRST: list[Case] = [
    sleep_80, sleep_50, socket_recv, read_file, fifo, http_client, url_open, run_subprocess,
    json_loads, regex, matmul, lock_acquire, queue_get, thread_join, future_result, sqlite, hashing,
    getaddrinfo, logging_to_file, heavy_import, gc_collect, python_loop, extension_with_gil,
    forty_sleeps, callback, deep, python_sort, sync_select,
]  # fmt: skip
MORE: list[Case] = [
    send_to_full_socket, piped_subprocess, wait_for_event, result_of_computing_thread, compress,
    search_list, write_file, locked_database, constructor, async_generator,
]  # fmt: skip
HOLDS_GIL: list[Case] = [json_loads, regex, gc_collect, extension_with_gil, search_list]


# 19 that must not be called blocking by the user's code.


async def await_sleep() -> None:
    await asyncio.sleep(SECONDS)


async def thread_sleeps() -> None:
    await asyncio.to_thread(time.sleep, SECONDS)


async def thread_asks() -> None:
    await asyncio.to_thread(lambda: urllib.request.urlopen(url()).read())  # noqa: S310


async def thread_reads() -> None:
    path = sized(make_file, Path.read_bytes, 100)
    await asyncio.to_thread(path.read_bytes)


async def thread_computes() -> None:
    await asyncio.to_thread(count_up, sized(int, count_up, 1_000_000))


async def four_threads_compute() -> None:
    size = sized(int, count_up, 1_000_000)
    await asyncio.gather(*(asyncio.to_thread(count_up, size) for _ in range(4)))


async def stream_echo() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(64):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for _ in range(1000):
        writer.write(b"x" * 64)
        await reader.readexactly(64)
    writer.close()
    server.close()
    await server.wait_closed()


async def async_subprocess() -> None:
    process = await asyncio.create_subprocess_exec("sleep", "0.07")
    await process.wait()


async def async_getaddrinfo() -> None:
    await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)


async def saturated_iteration() -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    for _ in range(3_000):  # more would block while they are posted
        loop.call_soon(count_up, 300)
    loop.call_soon(done.set)
    await done.wait()


async def free_lock() -> None:
    lock = threading.Lock()
    with lock:
        await asyncio.sleep(0)


async def non_blocking_socket() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        ours.recv(1)
    ours.close()
    theirs.close()


async def eight_ms() -> None:
    ended = time.thread_time() + 0.008
    while time.thread_time() < ended:
        pass


async def cached_import() -> None:
    importlib.import_module("json")


async def small_read() -> None:
    path = FOLDER / "small"
    with path.open("wb") as file:
        file.write(b"x" * 100)
    with path.open("rb") as file:
        file.read()


async def stat() -> None:
    FOLDER.stat()  # noqa: ASYNC240


async def sleep_0() -> None:
    time.sleep(0)  # noqa: ASYNC251


async def select_1() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.execute("select 1").fetchall()


async def null_log() -> None:
    handler = logging.FileHandler(os.devnull)
    handler.emit(logging.makeLogRecord({"msg": "x"}))
    handler.close()


HARMLESS: list[Case] = [
    await_sleep, thread_sleeps, thread_asks, thread_reads, thread_computes, four_threads_compute,
    stream_echo, async_subprocess, async_getaddrinfo, saturated_iteration, free_lock,
    non_blocking_socket, eight_ms, cached_import, small_read, stat, sleep_0, select_1, null_log,
]  # fmt: skip


# The monitors. Each fills a list with file and line of what it calls blocking.


@contextlib.asynccontextmanager
async def watch(found: Found, *, exact: bool = False) -> AsyncIterator[None]:
    watching = LoopWatch(THRESHOLD, exact=exact)
    watching.start()
    try:
        yield
    finally:
        watching.stop()
        for block in watching.blocks:
            if block.is_by_user:
                place = block.place
                found.append((place.file, place.line) if place else ("", 0))


exact_watch = functools.partial(watch, exact=True)


@contextlib.asynccontextmanager
async def pyleak(found: Found) -> AsyncIterator[None]:
    peer: Any = pytest.importorskip("pyleak")
    watching = peer.no_event_loop_blocking(
        action="raise", threshold=THRESHOLD, check_interval=0.005, caller_context=None
    )
    try:
        async with watching:
            yield
    except peer.EventLoopBlockError as error:
        for block in error.blocking_events:
            found.append(innermost_of_here(block.blocking_stack))


@contextlib.asynccontextmanager
async def blockbuster(found: Found) -> AsyncIterator[None]:
    peer: Any = pytest.importorskip("blockbuster")
    try:
        with peer.blockbuster_ctx():
            yield
    except peer.BlockingError as error:
        found.append(innermost_of_here(traceback.extract_tb(error.__traceback__)))


@contextlib.asynccontextmanager
async def debug_mode(found: Found) -> AsyncIterator[None]:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "took" in record.getMessage():
                found.append(("", 0))  # it names the task, never the line

    loop, logger, handler = asyncio.get_running_loop(), logging.getLogger("asyncio"), Handler()
    logger.addHandler(handler)
    loop.set_debug(True)
    loop.slow_callback_duration = THRESHOLD
    try:
        yield
    finally:
        await asyncio.sleep(0)
        loop.set_debug(False)
        logger.removeHandler(handler)


def innermost_of_here(stack: Any) -> tuple[str, int]:
    """Return the line of the cases at which *stack* is, as a reader of the report would."""
    own = [(frame.filename, frame.lineno) for frame in stack if frame.filename == __file__]
    return own[-1] if own else ("", 0)


MONITORS: dict[str, Monitor] = {
    "watch": watch,
    "exact watch": exact_watch,
    "pyleak 25/5 ms": pyleak,
    "blockbuster": blockbuster,
    "debug mode": debug_mode,
}
OURS = ("watch", "exact watch")


# Running and counting.


def marked_lines(case: Case) -> set[int]:
    """Return the lines of *case* and of what it calls here that carry the mark."""
    others: dict[Case, list[Any]] = {
        python_sort: [compared, sort],
        constructor: [Client],
        write_file: [write],
    }
    lines = set()
    for function in (case, *others.get(case, [])):
        source, first = inspect.getsourcelines(function)
        lines |= {first + at for at, line in enumerate(source) if "# <-" in line}
    return lines


async def run_once(case: Case, monitor: Monitor) -> tuple[Found, float]:
    """Run *case* under *monitor*; return what that found, and how many seconds the case took."""
    found: Found = []
    seconds = SHORTEST  # where the monitor breaks the case off
    async with monitor(found):
        await asyncio.sleep(random.uniform(0.001, 0.02))
        began = time.perf_counter()
        result = case()
        if isinstance(result, Awaitable):
            await result
        seconds = time.perf_counter() - began
        await asyncio.sleep(0.03)
    return found, seconds


def run_case(case: Case, monitor: Monitor, factory: Any) -> Found:
    """Return what *monitor* found in a run of *case* that took as long as it says.

    A processor that has become faster since the inputs were sized makes a block too short.
    """
    for _ in range(10):
        with asyncio.Runner(loop_factory=factory) as runner:
            found, seconds = runner.run(run_once(case, monitor))
        if case in HARMLESS or seconds >= SHORTEST:
            break
        sized.cache_clear()
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(run_once(case, monitor))  # sizes them again
    return found


def count(cases: list[Case], monitor: Monitor, factory: Any) -> tuple[int, int, dict[str, int]]:
    """Return in how many runs something was found, with the right line, and which runs lack it."""
    hits = exact = 0
    missed: dict[str, int] = defaultdict(int)
    for case, run in itertools.product(cases, range(-1, RUNS)):
        marked = marked_lines(case)
        found = run_case(case, monitor, factory)
        if run < 0:  # a first run sizes the inputs, starts the threads, imports
            continue
        lines = {line for file, line in found if Path(file).name == Path(__file__).name}
        hits += bool(found)
        exact += bool(lines & marked)
        missed[case.__name__] += bool(found) if cases is HARMLESS else not lines & marked
    return hits, exact, {name: number for name, number in missed.items() if number}


def factories() -> dict[str, Any]:
    loops: dict[str, Any] = {"asyncio": asyncio.SelectorEventLoop}
    with contextlib.suppress(ImportError):
        loops["uvloop"] = importlib.import_module("uvloop").new_event_loop
    return loops


@pytest.fixture(autouse=True)
def imports_from_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


@pytest.fixture(autouse=True, scope="module")
def small_heap() -> Iterator[None]:
    """Leave what pytest holds out of collections, which else take longer than the cases."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True, scope="module")
def hogs() -> Iterator[None]:
    number = int(os.environ.get("AGENTPERF_HOGS", "0"))
    code = "while True: pass"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(number)]
    yield
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.parametrize("loop", factories())
@pytest.mark.parametrize("name", MONITORS)
def bench_harmless(record_ratio: Callable[[str, str, float], None], name: str, loop: str) -> None:
    # Before the others: uvloop forks on the loop's thread, and to fork a process that has grown
    # does block the loop.
    hits, _, flagged = count(HARMLESS, MONITORS[name], factories()[loop])
    print(f"\n{name}, {loop}: flagged {hits} of {len(HARMLESS) * RUNS}: {flagged}")
    must_be = ("<= 1" if os.environ.get("AGENTPERF_HOGS") else "0") if name in OURS else "shown"
    record_ratio(f"{name}, {loop}: harmless runs flagged of 95", must_be, hits)


BESIDE_A_THREAD = "GIL, beside a thread that wakes"
KINDS = [("first", FIRST), ("more", MORE), ("GIL", HOLDS_GIL), (BESIDE_A_THREAD, HOLDS_GIL)]


@pytest.mark.parametrize("loop", factories())
@pytest.mark.parametrize("name", MONITORS)
@pytest.mark.parametrize(("kind", "cases"), KINDS)
def bench_found(
    record_ratio: Callable[[str, str, float], None],
    name: str,
    loop: str,
    kind: str,
    cases: list[Case],
) -> None:
    of = len(cases) * RUNS
    with waking_thread(0.05) if kind == BESIDE_A_THREAD else contextlib.nullcontext():
        hits, exact, missed = count(cases, MONITORS[name], factories()[loop])
    print(f"\n{name}, {loop}, {kind}: found {hits}, exact {exact} of {of}; not exact: {missed}")
    wanted = name in OURS and kind in {"first", "GIL"}
    record_ratio(
        f"{name}, {loop}: found of {of} ({kind})", f">= {of - 1}" if wanted else "shown", hits
    )
    record_ratio(
        f"{name}, {loop}: exact of {of} ({kind})", f">= {of - 3}" if wanted else "shown", exact
    )
