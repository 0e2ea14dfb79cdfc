"""Memory readings beside the truth and beside what else is read, and what watching costs."""

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from pympler import asizeof

from pytest_agentperf.measure.memory.lines import held_by_line
from pytest_agentperf.measure.memory.pauses import PauseWatch
from pytest_agentperf.measure.memory.process import ProcessMeter, resident_bytes
from pytest_agentperf.measure.memory.sizes import size
from pytest_agentperf.measure.memory.traced import Tracer

SIZES = (1000, 10_000, 100_000, 1_000_000, 20_000_000, 200_000_000)
REPEATS = 3
ROUNDS = 60
OBJECT = sys.getsizeof(object())
clock = time.process_time  # all is computation; other programs must not count

Record: TypeAlias = Callable[[str, str, float], None]
Holding: TypeAlias = tuple[Callable[[], object], int]  # and how many bytes it takes


def holding_bytes(size: int) -> Holding:
    """Return what takes *size* bytes, with every page touched."""
    content = size - sys.getsizeof(b"")
    return lambda: b"x" * content, size


def holding_objects(size: int) -> Holding:
    """Return what takes *size* bytes for many small objects, and where it puts them."""
    places = [*range(size // OBJECT)]
    kept: list[object] = [None] * len(places)

    def hold() -> object:
        for place in places:
            kept[place] = object()
        return kept

    return hold, len(places) * OBJECT + sys.getsizeof(iter(places))


def holding_array(size: int) -> Holding:
    """Return what takes *size* bytes for an array."""
    numpy: Any = pytest.importorskip("numpy", reason="numpy is not installed")
    content = size - numpy.ndarray.__basicsize__  # numpy keeps the memory of shapes for reuse

    def hold() -> object:
        array = numpy.empty(content, dtype="u1")
        array.fill(1)
        return array

    return hold, size


HOLDERS = {"bytes": holding_bytes, "objects": holding_objects, "numpy": holding_array}


@pytest.mark.parametrize("kind", HOLDERS)
@pytest.mark.parametrize("size", SIZES)
def bench_peak_of_known_allocations(record_ratio: Record, kind: str, size: int) -> None:
    tracer, meter = Tracer(), ProcessMeter()
    HOLDERS[kind](size)[0]()  # what is made with a first call is no part of it
    for _ in range(REPEATS):
        hold, truth = HOLDERS[kind](size)
        with tracer.block() as block:
            hold()
        what = f"{kind}, {size // 1000:,} kB"
        record_ratio(f"traced peak ÷ truth, {what}", "0.99–1.02", (block.result.peak or 0) / truth)
        del hold
        hold, truth = HOLDERS[kind](size)
        before = resident_bytes()
        with meter.block() as process:
            hold()
        after = resident_bytes()
        mark = (process.result.rss_peak or 0) / truth
        record_ratio(f"VmHWM above the start ÷ truth, {what}", "shown", mark)
        record_ratio(f"RSS after above before ÷ truth, {what}", "shown", (after - before) / truth)


MESSAGES = json.dumps([{"role": "user", "content": "x" * 200, "n": n} for n in range(50)])


def agent_work() -> None:
    """Make what an agent makes: messages, which the collector has to look through."""
    kept = []
    for _ in range(400):
        messages = json.loads(MESSAGES)
        messages.append(messages)  # a cycle
        kept.append([dict(message) for message in messages[:-1]])


def spent(watch: bool) -> float:
    gc.collect()
    began = clock()
    if watch:
        with PauseWatch():
            agent_work()
    else:
        agent_work()
    return clock() - began


@pytest.mark.parametrize("repeat", range(REPEATS))
def bench_callbacks_of_the_collector(record_ratio: Record, repeat: int) -> None:
    rounds = [(spent(watch=False), spent(watch=True), spent(watch=False)) for _ in range(ROUNDS)]
    base, watched, again = (statistics.median(times) for times in zip(*rounds, strict=True))
    record_ratio(
        "a pass with the pauses watched ÷ without", "<= 1.01", 2 * watched / (base + again)
    )
    record_ratio("a pass ÷ itself (A/A)", "noise", again / base)


class Message:
    def __init__(self, number: int) -> None:
        self.text = str(number)
        self.parts = [number * 1.5]


@pytest.mark.parametrize("repeat", range(REPEATS))
def bench_deep_size(record_ratio: Record, repeat: int) -> None:
    with Tracer().block() as block:
        things = [Message(number) for number in range(20_000)]
    truth = block.result.growth or 0
    began = clock()
    ours = size(things)
    middle = clock()
    theirs = asizeof.asizeof(things)  # type: ignore[no-untyped-call]
    ended = clock()
    record_ratio("deep size ÷ truth", "0.98–1.02", ours / truth)
    record_ratio("asizeof ÷ truth", "shown", theirs / truth)
    record_ratio("time of deep size ÷ asizeof", "<= 0.5", (middle - began) / (ended - middle))


def bench_lines_of_many_blocks(record_ratio: Record) -> None:
    gc.collect()
    with Tracer().block():
        kept = [str(number) for number in range(500_000)]
        began = clock()
        assert held_by_line()
        record_ratio("seconds to name the lines of 500,000 blocks", "<= 5", clock() - began)
    del kept
