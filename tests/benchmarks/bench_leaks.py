"""How often leak verdicts are wrong, over seeded trials of known functions, each in its own fork.

`LEAK_TRIALS` is the number of trials of each function; 2 take about two minutes.
"""

import asyncio
import collections
import contextlib
import contextvars
import ctypes
import functools
import gc
import importlib
import inspect
import itertools
import json
import logging.handlers
import os
import random
import re
import sys
import tracemalloc
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import pytest

from pytest_agentperf.measure.memory.leakrun import LeakRun

Call: TypeAlias = Callable[[], Any]
Shape: TypeAlias = Callable[[random.Random], Call]
TRIALS = int(os.environ.get("LEAK_TRIALS", "2"))
PEER_TRIALS = max(1, TRIALS // 5)
SIZES = (1_000, 10_000, 100_000)


def noise(rng: random.Random) -> Any:
    """Return what a call of an agent makes and drops: 3 to 15 messages of up to 2 kB."""
    messages = [
        {"role": "user", "content": rng.choice("abc") * rng.randrange(2000)}
        for _ in range(rng.randrange(3, 16))
    ]
    return json.loads(json.dumps(messages))


# Functions that do not leak, those of the research first.


def plain(rng: random.Random) -> Call:
    return lambda: noise(rng)


def lru_of_128(rng: random.Random) -> Call:
    cached = functools.lru_cache(128)(lambda key: bytes(1000) + bytes([key % 256]))
    return lambda: (noise(rng), cached(rng.randrange(400)))


def cache_of_200_keys(rng: random.Random) -> Call:
    cache: dict[int, bytes] = {}
    return lambda: (noise(rng), cache.setdefault(rng.randrange(200), bytes(1000)))


def regex_cache(rng: random.Random) -> Call:
    numbers = itertools.count()
    return lambda: (noise(rng), re.match(f"a{next(numbers)}b?", "a1"))


def lazy_imports(rng: random.Random) -> Call:
    names = [
        name for name in sorted(sys.stdlib_module_names - sys.modules.keys()) if name[0] != "_"
    ]
    names = [name for name in names if name not in {"antigravity", "this", "idlelib", "tkinter"}]
    rng.shuffle(names)

    def call() -> None:
        noise(rng)
        if names and rng.random() < 0.05:
            with contextlib.suppress(ImportError):
                importlib.import_module(names.pop())

    return call


def interned(rng: random.Random) -> Call:
    return lambda: [sys.intern(f"key {rng.randrange(1000)}") for _ in range(5)]


def ring(rng: random.Random, length: int = 100) -> Call:
    kept: collections.deque[Any] = collections.deque(maxlen=length)
    return lambda: kept.append(noise(rng))


def history(rng: random.Random, length: int = 50) -> Call:
    kept: list[Any] = []

    def call() -> None:
        kept.append(noise(rng))
        del kept[:-length]

    return call


def cycles(rng: random.Random) -> Call:
    def call() -> None:
        message = noise(rng)
        message.append(message)

    return call


def flushed_buffer(rng: random.Random) -> Call:
    kept: list[Any] = []

    def call() -> None:
        kept.append(noise(rng))
        if len(kept) >= 64:
            kept.clear()

    return call


def raised(rng: random.Random) -> Call:
    def call() -> None:
        try:
            try:
                noise(rng)[99]
            except IndexError as error:
                raise ValueError(noise(rng)) from error
        except ValueError as error:
            str(error)

    return call


def gathered(rng: random.Random) -> Call:
    async def part() -> Any:
        await asyncio.sleep(0)
        return noise(rng)

    async def call() -> None:
        await asyncio.gather(*(part() for _ in range(5)))

    return call


def threads(rng: random.Random) -> Call:
    pool = ThreadPoolExecutor(8)
    return lambda: list(pool.map(lambda _: noise(rng), range(3)))


# Functions that do not leak and had no part in finding the rule.


def history_of_300(rng: random.Random) -> Call:
    return history(rng, 300)


def ring_of_200(rng: random.Random) -> Call:
    return ring(rng, 200)


def lru_of_2000(rng: random.Random) -> Call:
    numbers = itertools.count()
    cached = functools.lru_cache(2000)(lambda key: f"{key}" * 300)
    return lambda: (noise(rng), cached(next(numbers)))


def cache_of_1500_random_keys(rng: random.Random) -> Call:
    cache: dict[int, bytes] = {}
    return lambda: (noise(rng), cache.setdefault(rng.randrange(1500), bytes(1000)))


def memory_log(rng: random.Random) -> Call:
    handler = logging.handlers.MemoryHandler(100, target=logging.NullHandler())
    logger = logging.Logger("log")  # noqa: LOG001 -- gone with the call
    logger.addHandler(handler)
    return lambda: logger.info("%s", noise(rng))


def weak_registry(rng: random.Random) -> Call:
    class Session:
        def __init__(self) -> None:
            self.messages = noise(rng)

    known: weakref.WeakValueDictionary[int, Session] = weakref.WeakValueDictionary()
    numbers = itertools.count()

    def call() -> None:
        known[next(numbers)] = session = Session()
        session.messages.append(session)

    return call


def expiring_cache(rng: random.Random) -> Call:
    cache: dict[int, Any] = {}
    numbers = itertools.count()

    def call() -> None:
        now = next(numbers)
        cache[now] = noise(rng)
        for key in [key for key in cache if key < now - 40 - rng.randrange(20)]:
            del cache[key]

    return call


def set_and_reset(rng: random.Random) -> Call:
    var: contextvars.ContextVar[Any] = contextvars.ContextVar("messages")

    def call() -> None:
        token = var.set(noise(rng))
        var.reset(token)

    return call


def made_classes(rng: random.Random) -> Call:
    return lambda: type("Message", (), {"content": noise(rng)})().content


def large_buffers(rng: random.Random) -> Call:
    return lambda: bytearray(rng.randrange(2_000_000)).find(1)


def truncated_text(rng: random.Random) -> Call:
    text = bytearray()

    def call() -> None:
        text.extend(b"x" * rng.randrange(2000))
        if len(text) > 50_000:
            text.clear()

    return call


def last_error_kept(rng: random.Random) -> Call:
    kept: list[BaseException] = []

    def call() -> None:
        try:
            noise(rng)[99]
        except IndexError as error:
            kept[:] = [error]

    return call


def queued(rng: random.Random) -> Call:
    async def produce(queue: asyncio.Queue[Any]) -> None:
        for _ in range(5):
            await queue.put(noise(rng))

    async def call() -> None:
        queue: asyncio.Queue[Any] = asyncio.Queue(2)
        task = asyncio.create_task(produce(queue))
        for _ in range(5):
            await queue.get()
        await task

    return call


def fire_and_forget(rng: random.Random) -> Call:
    running = set()

    async def part() -> None:
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
        noise(rng)

    async def call() -> None:
        task = asyncio.create_task(part())
        running.add(task)
        task.add_done_callback(running.discard)

    return call


def timed_out(rng: random.Random) -> Call:
    async def call() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                noise(rng)
                await asyncio.Event().wait()

    return call


def counted_words(rng: random.Random) -> Call:
    counts: collections.Counter[str] = collections.Counter()
    return lambda: counts.update(f"word {rng.randrange(500)}" for _ in range(20))


RESEARCH: tuple[Shape, ...] = (
    plain, lru_of_128, cache_of_200_keys, regex_cache, lazy_imports, interned, ring, history,
    cycles, flushed_buffer, raised, gathered, threads,
)  # fmt: skip
NEW: tuple[Shape, ...] = (
    history_of_300, ring_of_200, lru_of_2000, cache_of_1500_random_keys, memory_log, weak_registry,
    expiring_cache, set_and_reset, made_classes, large_buffers, truncated_text, last_error_kept,
    queued, fire_and_forget, timed_out, counted_words,
)  # fmt: skip


# Functions that leak: a line with the comment `leaks` allocates what is left.


def leaked_dict(rng: random.Random, size: int) -> Call:
    kept: list[Any] = []

    def call() -> None:
        noise(rng)
        kept.append({"id": len(kept), "content": bytearray(size)})  # leaks dict

    return call


def leaked_bytes(rng: random.Random, size: int) -> Call:
    kept: list[bytes] = []

    def call() -> None:
        noise(rng)
        kept.append(bytes(size))  # leaks bytes

    return call


def leaked_str(rng: random.Random, size: int) -> Call:
    kept: dict[int, str] = {}

    def call() -> None:
        noise(rng)
        kept[len(kept)] = "x" * size  # leaks str

    return call


def leaked_task(rng: random.Random, size: int) -> Call:
    events: list[asyncio.Event] = []

    async def wait(event: asyncio.Event) -> None:
        messages = bytes(size)  # leaks Task
        await event.wait()  # leaks Task
        print(messages)

    async def call() -> None:
        noise(rng)
        events.append(asyncio.Event())  # leaks Task
        asyncio.create_task(wait(events[-1]))  # leaks Task  # noqa: RUF006

    return call


def leaked_cycle(rng: random.Random, size: int) -> Call:
    class Node:
        def __init__(self) -> None:
            self.me = self
            self.content = bytearray(size)  # leaks Node

    kept: list[Node] = []

    def call() -> None:
        noise(rng)
        kept.append(Node())  # leaks Node

    return call


def leaked_closure(rng: random.Random, size: int) -> Call:
    callbacks: list[Call] = []

    def call() -> None:
        noise(rng)
        content = bytearray(size)  # leaks function
        callbacks.append(lambda: content)  # leaks function

    return call


def leaked_context_var(rng: random.Random, size: int) -> Call:
    def call() -> None:
        noise(rng)
        contextvars.ContextVar[bytes]("messages").set(bytes(size))  # leaks ContextVar bytes

    return call


def leaked_log_handler(rng: random.Random, size: int) -> Call:
    logger = logging.Logger("agent")  # noqa: LOG001 -- gone with the call

    def call() -> None:
        noise(rng)
        handler = logging.Handler()  # leaks Handler
        handler.addFilter(bytearray(size).find)  # type: ignore[arg-type]  # leaks Handler
        logger.addHandler(handler)

    return call


def leaked_exceptions(rng: random.Random, size: int) -> Call:
    last: list[BaseException | None] = [None]

    def call() -> None:
        noise(rng)
        content = bytearray(size)  # leaks ValueError
        try:
            raise ValueError(content[0]) from last[0]  # noqa: TRY301  # leaks ValueError
        except ValueError as error:
            last[0] = error

    return call


def leaked_slots(rng: random.Random, size: int) -> Call:
    class Session:
        __slots__ = ("content",)
        known: set["Session"] = set()  # noqa: RUF012

        def __init__(self) -> None:
            self.content = "y" * size  # leaks Session

    def call() -> None:
        noise(rng)
        Session.known.add(Session())  # leaks Session

    return call


LEAKS: tuple[Callable[[random.Random, int], Call], ...] = (
    leaked_dict, leaked_bytes, leaked_str, leaked_task, leaked_cycle, leaked_closure,
    leaked_context_var, leaked_log_handler, leaked_exceptions, leaked_slots,
)  # fmt: skip


def native(rng: random.Random) -> Call:
    memory = ctypes.CDLL(None)
    memory.malloc.restype = ctypes.c_void_p

    def call() -> None:
        noise(rng)
        ctypes.memset(memory.malloc(10_000), 1, 10_000)

    return call


def marked(shape: Callable[..., Call]) -> dict[int, set[str]]:
    """Return the lines of *shape* that leak, and the types that they may be told to leak."""
    source, first = inspect.getsourcelines(shape)
    return {
        first + at: set(line.partition("# leaks ")[2].partition("#")[0].split())
        for at, line in enumerate(source)
        if "# leaks" in line
    }


def forked(work: Callable[[], Any]) -> Any:
    """Return what *work* returns in a child process."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        with os.fdopen(writing, "w") as out:
            try:
                json.dump(work(), out)
            except BaseException as error:  # noqa: BLE001 -- told by the parent
                json.dump({"error": repr(error)}, out)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as source:
        found = json.load(source)
    os.waitpid(child, 0)
    assert "error" not in found, found
    return found


def judged(call: Call) -> dict[str, Any]:
    run = LeakRun(call, "call")
    leak = asyncio.run(run.run_async()) if inspect.iscoroutinefunction(call) else run.run()
    return {
        "verdict": leak.verdict,
        "calls": leak.calls,
        "line": leak.lines[0].line if leak.lines else 0,
        "type": leak.types[0].name if leak.types else "",
        "text": str(leak),
    }


def peers(call: Call) -> dict[str, bool]:
    """Return whether a line through the traced memory rises, and whether some type gets more."""
    if inspect.iscoroutinefunction(call):
        with asyncio.Runner() as runner:
            return peers(lambda: runner.run(call()))
    gc.freeze()  # only what the calls make is counted
    for _ in range(20):
        call()
    tracemalloc.start()
    sizes, counts = [], []
    for _ in range(6):
        for _ in range(20):
            call()
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    for _ in range(6):
        for _ in range(20):
            call()
        gc.collect()
        names = collections.Counter(type(each).__name__ for each in gc.get_objects())
        counts.append(json.dumps(names))  # a text, so that the counts do not count themselves
    rise = sum((at - 2.5) * size for at, size in enumerate(sizes)) / 17.5 / 20
    found = [json.loads(each) for each in counts]
    grows = any(
        all(after[name] > before.get(name, 0) for before, after in itertools.pairwise(found))
        for name in set.intersection(*map(set, found))
    )
    return {"slope": rise >= 256, "gc counts": grows}


def share(values: list[bool]) -> float:
    return sum(values) / len(values)


@pytest.fixture
def record(record_ratio: Callable[[str, str, float], None]) -> Callable[..., None]:
    def record(what: str, must_be: str, values: list[bool]) -> None:
        record_ratio(f"{what}, of {len(values)}", must_be, share(values))

    return record


@pytest.mark.parametrize("shapes", [RESEARCH, NEW], ids=["research", "new"])
def bench_clean_functions_flagged(record: Callable[..., None], shapes: tuple[Shape, ...]) -> None:
    kind = "of the research" if shapes is RESEARCH else "new"
    flagged, undecided = [], []
    rules: dict[str, list[bool]] = {"slope": [], "gc counts": []}
    for shape, seed in itertools.product(shapes, range(TRIALS)):
        found = forked(lambda: judged(shape(random.Random(seed))))  # noqa: B023
        flagged.append(found["verdict"] in {"leak", "native growth"})
        undecided.append(found["verdict"] == "undecided")
        if flagged[-1] or undecided[-1]:
            print(shape.__name__, seed, found["text"])
        if seed < PEER_TRIALS:
            peer = forked(lambda: peers(shape(random.Random(seed))))  # noqa: B023
            for name, values in rules.items():
                values.append(peer[name])
    record(f"clean functions ({kind}) flagged", "<= 0.005", flagged)
    record(f"clean functions ({kind}) undecided", "shown", undecided)
    for name, values in rules.items():
        record(f"clean functions ({kind}) flagged by {name}", "shown", values)


@pytest.mark.parametrize("size", SIZES)
def bench_leaks_found(record: Callable[..., None], size: int) -> None:
    found, lines, types, bytes_seen = [], [], [], []
    for shape, seed in itertools.product(LEAKS, range(TRIALS)):
        leak = forked(lambda: judged(shape(random.Random(seed), size)))  # noqa: B023
        right = marked(shape)
        found.append(leak["verdict"] == "leak")
        lines.append(leak["line"] in right)
        types.append(leak["type"] in set().union(*right.values()))
        if not (found[-1] and lines[-1] and types[-1]):
            print(shape.__name__, size, seed, leak)
        if seed < PEER_TRIALS and shape in {leaked_bytes, leaked_str}:
            peer = forked(lambda: peers(shape(random.Random(seed), size)))  # noqa: B023
            bytes_seen.append(peer["gc counts"])
    record(f"leaks of {size} B a call found", ">= 0.99", found)
    record(f"leaks of {size} B a call: line right", ">= 0.99", lines)
    record(f"leaks of {size} B a call: type right", ">= 0.95", types)
    record(f"leaks of {size} B a call in bytes or str found by gc counts", "shown", bytes_seen)


def bench_native_growth_found(record: Callable[..., None]) -> None:
    verdicts = [
        forked(lambda: judged(native(random.Random(seed))))["verdict"]  # noqa: B023
        for seed in range(TRIALS * 5)
    ]
    record("10 kB of C memory a call found", ">= 0.95", [v == "native growth" for v in verdicts])
