"""Tests of leak runs, on functions that leak and others that do not."""

import asyncio
import contextlib
import functools
import gc
import itertools
import os
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_agentperf.core.errors import CheckError, UsageError
from pytest_agentperf.measure.memory.leak import Leak
from pytest_agentperf.measure.memory.leakplan import LeakPlan
from pytest_agentperf.measure.memory.leakrun import LeakRun
from pytest_agentperf.measure.memory.readings import Readings
from pytest_agentperf.measure.memory.staged import BLOCKS

from ..conftest import FakeClock  # noqa: TID252 -- the fixtures of the layer

HERE = Path(__file__).name
SESSIONS: dict[int, bytes] = {}  # the sessions


def leak_of(call: Callable[[], Any], **options: Any) -> Leak:
    return LeakRun(call, "ask", LeakPlan(**options)).run()


def line_of(text: str) -> int:
    """Return the number of the line of this file that ends with *text* as a comment."""
    lines = Path(__file__).read_text("utf-8").splitlines()
    return next(at for at, line in enumerate(lines, 1) if line.endswith(f"# {text}"))


def test_clean_function_is_clean_after_80_calls() -> None:
    calls = itertools.count()
    leak = leak_of(lambda: [next(calls)] * 1000)
    assert (leak.verdict, leak.calls, next(calls)) == ("clean", 80, 80)
    assert leak.bytes_per_call < 256
    leak.assert_clean()
    assert str(leak).startswith("ask is clean: it keeps ")


def test_leak_of_bytes_is_told_with_type_holder_and_line() -> None:
    kept: list[bytes] = []

    def ask() -> None:
        kept.append(bytes(1000))  # bytes are left

    leak = leak_of(ask)
    where = f"{HERE}:{line_of('bytes are left')}"
    assert leak.verdict == "leak"
    assert leak.calls == 920
    assert leak.bytes_per_call == pytest.approx(1041, abs=5)  # 1033 of a `bytes`, 8 of the list
    points = leak.curves["traced memory"].points
    assert points[-1].at == 900  # after the warmup of 20
    assert points[-1].value / points[-1].at == pytest.approx(leak.bytes_per_call, abs=20)
    assert str(leak.lines[0]).endswith(where)
    assert leak.lines[0].source == "kept.append(bytes(1000))  # bytes are left"
    kind = leak.types[0]
    assert (kind.name, kind.holder, kind.count, kind.count_per_call) == ("bytes", "list", 30, 1)
    assert f"{where} (1.00 a call)" in str(leak)
    assert "30 × bytes held by list at " in str(leak)
    assert "warmup=1840" in str(leak)


def test_failed_assertion_says_what_leaks() -> None:
    kept: list[bytes] = []
    leak = leak_of(lambda: kept.append(bytes(1000)))
    with pytest.raises(CheckError, match=r"^ask leaks 1\.04 kB a call: 30 × bytes held by list"):
        leak.assert_clean()


@pytest.mark.usefixtures("whole_heap")
def test_leak_into_a_module_names_the_variable() -> None:
    try:
        leak = leak_of(lambda: SESSIONS.update({len(SESSIONS): bytes(1000)}))
    finally:
        SESSIONS.clear()
    assert leak.types[0].holder == "dict"  # one that the garbage collector does not look at
    assert f"{HERE}:{line_of('the sessions')} SESSIONS" in str(leak)


def test_objects_of_a_class_are_told_rather_than_what_they_hold() -> None:
    class Session:
        def __init__(self) -> None:
            self.messages = [bytes(2000)]

    kept: list[Session] = []
    leak = leak_of(lambda: kept.append(Session()))
    assert (leak.types[0].name, leak.types[0].holder) == ("Session", "list")


def test_chain_of_objects_is_told_by_its_kind() -> None:
    class Link:
        def __init__(self, before: Any) -> None:
            self.before, self.content = before, bytes(500)

    last: list[Any] = [None]

    def ask() -> None:
        last[0] = Link(last[0])

    leak = leak_of(ask)
    assert (leak.types[0].name, leak.types[0].count) == ("Link", 30)


def test_values_in_a_tuple_that_is_made_anew_are_told() -> None:
    last: list[tuple[bytes, ...]] = [()]

    def ask() -> None:
        last[0] = (*last[0], bytes(1000))

    leak = leak_of(ask)
    assert leak.types[0].name == "bytes"
    assert leak.types[0].count == pytest.approx(30, abs=1)


def test_line_behind_a_library_is_the_users() -> None:
    import json

    kept: list[Any] = []
    text = json.dumps([["x" * 50] * 3 for _ in range(5)])

    def ask() -> None:
        kept.append(json.loads(text))  # a library allocates

    leak = leak_of(ask)
    assert str(leak.lines[0]).endswith(f"{HERE}:{line_of('a library allocates')}")


def test_full_cache_has_warmed_up() -> None:
    numbers = itertools.count()
    cached = functools.lru_cache(100)(lambda _: bytes(1000))
    leak = leak_of(lambda: cached(next(numbers)))
    assert leak.verdict == "warming up"
    assert leak.calls == 200
    leak.assert_clean()
    assert "as a cache does that is full" in str(leak)


def test_bounded_cache_that_is_not_full_is_no_leak() -> None:
    numbers = itertools.count()
    cached = functools.lru_cache(5000)(lambda _: bytes(1000))
    leak = leak_of(lambda: cached(next(numbers)))
    assert leak.verdict == "warming up"
    assert "lru_cache holds 950 of at most 5,000" in str(leak)
    leak.assert_clean()


def test_unbounded_cache_is_a_leak() -> None:
    numbers = itertools.count()
    cached = functools.lru_cache(None)(lambda _: bytes(1000))
    assert leak_of(lambda: cached(next(numbers))).verdict == "leak"


def test_list_inside_a_bounded_container_is_a_leak() -> None:
    @functools.lru_cache(128)
    def sessions(_: str) -> list[bytes]:
        return []

    assert leak_of(lambda: sessions("a").append(bytes(1000))).verdict == "leak"


def test_warmup_and_calls_shift_what_is_judged() -> None:
    made: list[bytes] = []
    leak = leak_of(lambda: made.append(bytes(1000)) if len(made) < 300 else None, warmup=300)
    assert (leak.verdict, leak.calls) == ("clean", 360)


def test_higher_limit_clears() -> None:
    kept: list[bytes] = []
    assert leak_of(lambda: kept.append(bytes(1000)), max_leak_per_call=1100.0).verdict == "clean"


def test_too_few_calls_leave_a_leak_undecided() -> None:
    kept: list[bytes] = []
    leak = leak_of(lambda: kept.append(bytes(1000)), calls=200)
    assert (leak.verdict, leak.calls, len(kept)) == ("undecided", 200, 200)
    assert str(leak) == (
        "ask may leak or not: it kept 1.04 kB a call in 200 calls, and calls=200 allows no more;"
        " 920 calls would decide"
    )
    with pytest.raises(CheckError, match="920 calls would decide"):
        leak.assert_clean()


def test_few_calls_suffice_for_a_clean_function() -> None:
    assert leak_of(lambda: None, calls=80).verdict == "clean"
    assert leak_of(lambda: None, calls=79).verdict == "undecided"


def test_time_that_is_over_leaves_it_undecided() -> None:
    clock = FakeClock()
    kept: list[bytes] = []

    def ask() -> None:
        clock.advance(0.5)
        kept.append(bytes(1000))

    leak = LeakRun(ask, "ask", LeakPlan(max_time=60), clock=clock).run()
    assert (leak.verdict, len(kept)) == ("undecided", 120)
    assert "max_time 1 min was over" in str(leak) or "max_time 60 s was over" in str(leak)
    assert "920 calls would decide, which takes about 7.7 min" in str(leak)


@pytest.mark.parametrize(
    "options",
    [{"calls": 0}, {"calls": 1.5}, {"warmup": -1}, {"max_leak_per_call": 0}, {"calls": True}],
)
def test_plan_refuses_what_cannot_be_meant(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected a"):
        LeakPlan(**options)


def test_reset_is_called_after_each_call() -> None:
    kept: list[bytes] = []
    leak = LeakRun(lambda: kept.append(bytes(1000)), "ask", reset=kept.clear).run()
    assert leak.verdict == "clean"
    assert not kept


def test_trace_that_a_call_stops_is_told() -> None:
    leak = leak_of(tracemalloc.stop)
    assert leak.verdict == "undecided"
    assert "memory data lost" in str(leak)


def test_trace_that_a_call_clears_is_told() -> None:
    assert "memory data lost" in str(leak_of(tracemalloc.clear_traces))


def test_trace_is_off_afterwards_where_it_was_off() -> None:
    leak_of(lambda: None)
    assert not tracemalloc.is_tracing()
    with pytest.raises(ZeroDivisionError):
        leak_of(lambda: 1 / 0)
    assert not tracemalloc.is_tracing()


def test_trace_is_off_when_holders_are_looked_for() -> None:
    kept: list[bytes] = []
    is_tracing = []

    def clock() -> float:
        is_tracing.append(tracemalloc.is_tracing())
        return 0.0

    leak = LeakRun(lambda: kept.append(bytes(1000)), "ask", clock=clock).run()
    assert "kept" in str(leak.chain)
    assert is_tracing[0]
    assert not is_tracing[-1]


def test_trace_that_was_on_stays_on_with_what_it_knows() -> None:
    kept: list[bytes] = []
    tracemalloc.start(3)
    try:
        before = bytearray(100)
        leak = leak_of(lambda: kept.append(bytes(1000)))
        assert leak.verdict == "leak"
        assert leak.types[0].name == "bytes"
        assert leak.types[0].count_per_call == pytest.approx(1, abs=0.01)
        assert tracemalloc.get_traceback_limit() == 3
        assert tracemalloc.get_object_traceback(before) is not None
    finally:
        tracemalloc.stop()


def test_collections_are_as_they_were() -> None:
    kept: list[bytes] = []
    leak_of(lambda: kept.append(bytes(1000)))
    assert gc.isenabled()
    gc.disable()
    try:
        leak_of(lambda: kept.append(bytes(1000)))
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_open_files_are_a_leak() -> None:
    opened: list[int] = []
    try:
        leak = leak_of(lambda: opened.append(os.open(os.devnull, os.O_RDONLY)))
    finally:
        for each in opened:
            os.close(each)
    assert leak.verdict == "leak"
    assert "leaks 1.00 open file descriptors a call over 920 calls" in str(leak)
    assert leak.growing == {"file descriptors": 1}


def test_imports_of_a_few_calls_are_forgiven() -> None:
    import sys
    from types import ModuleType

    calls = itertools.count()
    names: list[str] = []

    def ask() -> None:
        if next(calls) % 10 == 0:
            name = f"agentperf_made_{len(names)}"
            names.append(name)
            sys.modules[name] = ModuleType(name, "x" * 50_000 + name)

    try:
        assert leak_of(ask).verdict == "clean"
    finally:
        for name in names:
            del sys.modules[name]


def test_module_of_each_call_is_a_leak() -> None:
    import sys
    from types import ModuleType

    names: list[str] = []

    def ask() -> None:
        name = f"agentperf_made_{len(names)}"
        names.append(name)
        sys.modules[name] = ModuleType(name, "x" * 5000 + name)

    try:
        assert leak_of(ask).verdict == "leak"
    finally:
        for name in names:
            del sys.modules[name]


def test_native_memory_is_told_from_pythons() -> None:
    import ctypes

    memory = ctypes.CDLL(None)
    if not hasattr(memory, "mallinfo2"):
        pytest.skip("no glibc that counts what is allocated")
    memory.malloc.restype = ctypes.c_void_p
    memory.free.argtypes = (ctypes.c_void_p,)
    taken: list[int] = []
    try:
        leak = leak_of(lambda: taken.append(memory.malloc(10_000)))
    finally:
        for each in taken:
            memory.free(each)
    assert leak.verdict == "native growth"
    assert "takes 10 kB of native memory a call" in str(leak)
    assert not leak.lines
    with pytest.raises(CheckError, match="native"):
        leak.assert_clean()


def test_async_function_is_refused_by_the_sync_run() -> None:
    async def ask() -> None:
        """Never awaited."""

    with pytest.raises(UsageError, match="ask returned an awaitable"):
        leak_of(ask)


@pytest.mark.asyncio
async def test_async_function_is_awaited_call_after_call() -> None:
    kept: list[bytes] = []
    in_flight: set[object] = set()

    async def ask() -> None:
        in_flight.add(asyncio.current_task())
        await asyncio.sleep(0)
        kept.append(bytes(1000))  # an async leak

    leak = await LeakRun(ask, "ask").run_async()
    assert leak.verdict == "leak"
    assert leak.calls == 920
    assert len(kept) == 950
    assert in_flight == {asyncio.current_task()}
    assert str(leak.lines[0]).endswith(f"{HERE}:{line_of('an async leak')}")


@pytest.mark.asyncio
async def test_tasks_that_never_end_are_told() -> None:
    tasks = []
    event = asyncio.Event()

    async def ask() -> None:
        tasks.append(asyncio.create_task(event.wait()))

    leak = await LeakRun(ask, "ask").run_async()
    event.set()
    await asyncio.gather(*tasks)
    assert leak.verdict == "leak"
    assert leak.types[0].name == "Task"
    assert leak.growing == {"tasks": 1}
    assert "a call leaves 1.00 tasks that do not end" in str(leak)


@pytest.mark.asyncio
async def test_tasks_that_end_soon_are_no_leak() -> None:
    running = set()

    async def later() -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    async def ask() -> None:
        task = asyncio.create_task(later())
        running.add(task)
        task.add_done_callback(running.discard)

    assert (await LeakRun(ask, "ask").run_async()).verdict == "clean"


@pytest.mark.asyncio
async def test_async_reset_is_awaited() -> None:
    kept: list[bytes] = []

    async def ask() -> None:
        kept.append(bytes(1000))

    async def reset() -> None:
        kept.clear()

    assert (await LeakRun(ask, "ask", reset=reset).run_async()).verdict == "clean"


@pytest.mark.asyncio
async def test_cancelled_run_ends_its_trace() -> None:
    event = asyncio.Event()
    task = asyncio.create_task(LeakRun(event.wait, "wait").run_async())
    await asyncio.sleep(0)
    assert tracemalloc.is_tracing()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not tracemalloc.is_tracing()


def test_threads_are_counted() -> None:
    event, readings = threading.Event(), Readings()
    threads = [threading.Thread(target=event.wait) for _ in range(BLOCKS)]
    readings.begin()
    for thread in threads:
        thread.start()
        readings.take()
    event.set()
    for thread in threads:
        thread.join()
    assert readings.stage(1).growth["threads"] == (1,) * BLOCKS


def test_run_under_trio() -> None:
    trio = pytest.importorskip("trio")
    kept: list[bytes] = []

    async def ask() -> None:
        await trio.lowlevel.checkpoint()
        kept.append(bytes(1000))

    assert trio.run(LeakRun(ask, "ask").run_async).verdict == "leak"


def test_result_is_known_only_after_the_run() -> None:
    with contextlib.suppress(ZeroDivisionError):
        run = LeakRun(lambda: 1 / 0, "ask")
        run.run()
    with pytest.raises(UsageError, match="read it after"):
        _ = run.result
