"""Traced memory: peaks and growth, in blocks that nest, overlap, fail or lose the trace."""

import asyncio
import gc
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from typing import Self

import pytest

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.memory import traced
from pytest_agentperf.measure.memory.traced import Tracer

HEADER = sys.getsizeof(b"")  # what bytes take besides their content
CALLBACKS = 64  # bytes: the list of `gc.callbacks`, which hypothesis fills, is made anew
NEAR = 600  # bytes: what Python keeps for reuse, or takes for an event loop's turn
NESTED = 0.02  # a block within or beside another collects garbage, which empties Python's caches


@pytest.fixture
def tracer() -> Iterator[Tracer]:
    assert not tracemalloc.is_tracing()
    yield Tracer()
    tracemalloc.stop()


def hold(size: int) -> bytes:
    """Return an object of exactly *size* bytes."""
    return bytes(size - HEADER)


def of_size(size: int) -> object:
    """Hold exactly *size* bytes for a moment."""
    return len(hold(size))


@pytest.mark.parametrize("size", [1000, 10_000, 1_000_000, 50_000_000])
def test_peak_and_growth_are_what_was_allocated(tracer: Tracer, size: int) -> None:
    content = size - HEADER
    with tracer.block() as block:
        kept = bytes(content)
    assert block.result.peak == size
    assert block.result.growth == pytest.approx(size, abs=CALLBACKS)
    del kept


def test_peak_sees_what_was_released_and_growth_does_not(tracer: Tracer) -> None:
    with tracer.block() as block:
        of_size(1_000_000)
    assert block.result.peak == pytest.approx(1_000_000, abs=100)
    assert block.result.growth == pytest.approx(0, abs=CALLBACKS)


def test_block_that_allocates_nothing_has_neither(tracer: Tracer) -> None:
    for _ in range(3):
        with tracer.block() as block:
            pass
        assert block.result.peak == 0
        assert block.result.growth == pytest.approx(0, abs=CALLBACKS)


def test_garbage_that_nobody_holds_is_peak_and_no_growth(tracer: Tracer) -> None:
    with tracer.block() as block:
        cycle: list[object] = [hold(100_000)]
        cycle.append(cycle)
        del cycle
    assert block.result.peak is not None
    assert block.result.peak >= 100_000
    assert block.result.growth == pytest.approx(0, abs=CALLBACKS)


def test_garbage_of_before_does_not_count_against_a_traced_block(tracer: Tracer) -> None:
    gc.disable()
    try:
        with tracer.block():
            cycle: list[object] = [hold(100_000)]
            cycle.append(cycle)
            del cycle
            with tracer.block() as inner:
                gc.collect()
                kept = hold(50_000)
    finally:
        gc.enable()
    assert inner.result.growth == pytest.approx(50_000, abs=NEAR)
    del kept


def test_inner_block_does_not_take_the_peak_of_the_outer(tracer: Tracer) -> None:
    with tracer.block() as outer:
        of_size(500_000)
        with tracer.block() as inner:
            of_size(100_000)
        with tracer.block() as second:
            of_size(200_000)
    assert outer.result.peak == pytest.approx(500_000, rel=NESTED)
    assert inner.result.peak == pytest.approx(100_000, rel=NESTED)
    assert second.result.peak == pytest.approx(200_000, rel=NESTED)


def test_outer_block_sees_the_peak_of_the_inner(tracer: Tracer) -> None:
    with tracer.block() as outer:
        kept = hold(100_000)
        with tracer.block() as inner:
            of_size(500_000)
        of_size(50_000)
    assert outer.result.peak == pytest.approx(600_000, rel=NESTED)
    assert inner.result.peak == pytest.approx(500_000, rel=NESTED)
    assert outer.result.notes == inner.result.notes == ()
    del kept


def test_blocks_that_end_in_the_order_in_which_they_began_keep_their_peaks(tracer: Tracer) -> None:
    first, second = tracer.block(), tracer.block()
    first.__enter__()
    of_size(300_000)
    second.__enter__()
    of_size(100_000)
    first.__exit__(None, None, None)
    of_size(200_000)
    second.__exit__(None, None, None)
    assert first.result.peak == pytest.approx(300_000, rel=NESTED)
    assert second.result.peak == pytest.approx(200_000, rel=NESTED)
    assert not tracemalloc.is_tracing()


async def call(tracer: Tracer, size: int, begun: asyncio.Barrier) -> traced.TracedMemory:
    async with tracer.block() as block:
        kept = hold(size)
        await begun.wait()
        del kept
    return block.result


@pytest.mark.asyncio
async def test_calls_that_overlap_count_each_other_and_say_so(tracer: Tracer) -> None:
    begun = asyncio.Barrier(2)
    async with tracer.block() as around:
        results = await asyncio.gather(*(call(tracer, 1_000_000, begun) for _ in range(2)))
    for result in results:
        assert "blocks overlapped" in result.notes[0]
    assert max(result.peak or 0 for result in results) == pytest.approx(2_000_000, rel=0.02)
    assert around.result.peak == pytest.approx(2_000_000, rel=0.02)
    assert around.result.notes == ()  # they are inside it


@pytest.mark.asyncio
async def test_calls_after_each_other_do_not_overlap(tracer: Tracer) -> None:
    for size in (1_000_000, 10_000):
        result = await asyncio.create_task(call(tracer, size, asyncio.Barrier(1)))
        assert result.peak == pytest.approx(size, abs=2_000)
        assert result.notes == ()


@pytest.mark.asyncio
async def test_async_block_is_exact_too(tracer: Tracer) -> None:
    content = 1000 - HEADER
    async with tracer.block() as block:
        kept = bytes(content)
    assert block.result.peak == 1000
    assert block.result.growth == pytest.approx(1000, abs=CALLBACKS)
    del kept


@pytest.mark.asyncio
async def test_cancelled_block_has_its_numbers_and_ends_the_trace(tracer: Tracer) -> None:
    block = tracer.block()

    async def work() -> None:
        async with block:
            of_size(100_000)
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert block.result.peak == pytest.approx(100_000, abs=5_000)
    assert not tracemalloc.is_tracing()


def test_block_left_by_an_exception_has_its_numbers(tracer: Tracer) -> None:
    block = tracer.block()
    with suppress(ZeroDivisionError), block:
        of_size(100_000)
        raise ZeroDivisionError
    assert block.result.peak == pytest.approx(100_000, abs=NEAR)
    assert not tracemalloc.is_tracing()


def test_trace_that_was_on_stays_on_with_its_peak(tracer: Tracer) -> None:
    tracemalloc.start()
    of_size(1_000_000)
    before = tracemalloc.get_traced_memory()[1]
    with tracer.block() as block:
        of_size(100_000)
    assert block.result.peak == pytest.approx(100_000, abs=NEAR)
    assert tracemalloc.is_tracing()
    assert tracemalloc.get_traced_memory()[1] == pytest.approx(before, abs=NEAR)


def test_trace_that_was_on_has_the_peak_of_the_block_where_it_is_higher(tracer: Tracer) -> None:
    tracemalloc.start()
    of_size(100_000)
    with tracer.block():
        of_size(1_000_000)
    assert tracemalloc.get_traced_memory()[1] == pytest.approx(1_000_000, rel=0.01)


def test_trace_that_was_on_and_cleared_twice_inside_stays_on(tracer: Tracer) -> None:
    tracemalloc.start()
    with tracer.block():
        tracemalloc.clear_traces()
        with tracer.block() as inner:
            of_size(100_000)
    assert inner.result.peak == pytest.approx(100_000, abs=NEAR)
    assert tracemalloc.is_tracing()
    assert tracer._water._open == []


def test_frames_are_traced_as_asked_for(tracer: Tracer) -> None:
    with tracer.block(frames=10):
        assert tracemalloc.get_traceback_limit() == 10


@pytest.mark.parametrize("restarted", [False, True])
def test_trace_stopped_inside_is_said_to_be_lost(tracer: Tracer, restarted: bool) -> None:
    with tracer.block() as block:
        tracemalloc.stop()
        if restarted:
            tracemalloc.start()
    assert block.result.peak is None
    assert str(block.result) == (
        "n/a: memory data lost: tracemalloc was stopped or cleared inside the block"
    )
    assert not tracemalloc.is_tracing()  # as it was found


def test_traces_cleared_inside_are_lost(tracer: Tracer) -> None:
    with tracer.block() as block:
        tracemalloc.clear_traces()
    assert block.result.growth is None
    assert not tracemalloc.is_tracing()


def test_block_begun_after_the_trace_was_lost_is_right(tracer: Tracer) -> None:
    with tracer.block() as outer:
        tracemalloc.stop()
        with tracer.block() as inner:
            of_size(100_000)
    assert outer.result.peak is None
    assert inner.result.peak == pytest.approx(100_000, abs=NEAR)
    assert not tracemalloc.is_tracing()


class Worker:
    """A thread that goes on when it is told to."""

    def __init__(self) -> None:
        self.go, self.done, self.end = threading.Event(), threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self) -> None:
        self.go.wait()
        kept = hold(1_000_000)
        self.done.set()
        self.end.wait()
        del kept

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.go.set()
        self.end.set()
        self.thread.join()


def test_threads_that_run_beside_are_counted_and_said(tracer: Tracer) -> None:
    with Worker() as worker, tracer.block() as block:
        worker.go.set()
        worker.done.wait()
    assert block.result.growth == pytest.approx(1_000_000, rel=0.02)
    assert block.result.notes == (
        "other threads ran beside, and what they allocated is counted: the process is traced",
    )


def test_threads_that_sleep_beside_are_not_mentioned(tracer: Tracer) -> None:
    with Worker() as worker:
        worker.thread.join(0.05)  # until it waits
        with tracer.block() as block:
            pass
    assert block.result.notes == ()


def test_blocks_in_many_threads_keep_their_peaks_and_leave_no_trace_on(tracer: Tracer) -> None:
    barrier = threading.Barrier(4)
    peaks = []

    def work() -> None:
        for _ in range(4):
            barrier.wait()
            with tracer.block() as block:
                barrier.wait()
                of_size(10_000_000)
                barrier.wait()
            peaks.append(block.result.peak or 0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(peaks) == 16
    assert all(9_900_000 <= peak <= 40_100_000 for peak in peaks)
    assert not tracemalloc.is_tracing()


def test_lines_held_at_the_end_are_named(tracer: Tracer) -> None:
    with tracer.block(lines=True) as block:
        of_size(900_000)
        kept = [str(number) for number in range(1000)]
    (line,) = block.result.top(1)
    assert line.source.startswith("kept = [str(number)")
    assert line.count >= 1000
    assert line.size == pytest.approx(block.result.growth, rel=0.05)
    del kept


def test_lines_of_what_was_held_before_are_not_named(tracer: Tracer) -> None:
    with tracer.block():
        kept = hold(1_000_000)
        with tracer.block(lines=True) as block:
            more = hold(100_000)
    sizes = [line.size for line in block.result.top()]
    assert sizes[0] == pytest.approx(100_000, abs=1)
    assert sum(sizes) < 110_000
    del kept, more


def test_lines_are_not_kept_unless_asked_for(tracer: Tracer) -> None:
    with tracer.block() as block:
        kept = hold(1_000_000)
    assert block.result.top() == ()
    del kept


def test_result_is_read_after_the_block(tracer: Tracer) -> None:
    with tracer.block() as block, pytest.raises(UsageError, match="read it after the block"):
        _ = block.result


def test_result_tells_its_numbers(tracer: Tracer) -> None:
    with tracer.block() as block:
        of_size(20_000_000)
        kept = hold(1_000_000)
    assert str(block.result) == "peak 20 MB, growth 1 MB (Python memory)"
    del kept


def test_python_without_tracemalloc_says_so(
    tracer: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traced, "IS_TRACEABLE", False)
    with tracer.block() as block:
        pass
    assert str(block.result) == "n/a: this Python has no tracemalloc"


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system cannot fork")
def test_fork_inside_leaves_both_processes_with_their_numbers() -> None:
    program = """if True:
        import os
        from pytest_agentperf.measure.memory.traced import Tracer
        with Tracer().block() as block:
            child = os.fork()
            kept = bytes(100_000 if child else 200_000)
        assert abs(block.result.peak - len(kept)) < 2_000, block.result
        os._exit(0) if not child else None
        assert os.waitpid(child, 0)[1] == 0
    """
    subprocess.run([sys.executable, "-c", program], check=True)
