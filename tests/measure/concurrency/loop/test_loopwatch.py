"""Tests of the watch of the event loop, on real loops: blocks of 100 ms and more against 25 ms."""

import asyncio
import functools
import gc
import hashlib
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.concurrency.loop.blocking import Blocking, BlockLog
from pytest_agentperf.measure.concurrency.loop.loopwatch import LoopWatch

TEXT = json.dumps([{"number": n, "text": "x" * 20} for n in range(200_000)])


def compute() -> None:
    until = time.thread_time() + 0.15  # what other processes take does not count
    while time.thread_time() < until:
        pass


def search() -> None:
    re.search(r"(a+)+$", "a" * 24 + "b")


def parse() -> None:
    json.loads(TEXT)


def digest() -> None:
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 300_000)


def sleep() -> None:
    time.sleep(0.15)


def run() -> None:
    subprocess.run([sys.executable, "-c", "import time; time.sleep(0.1)"], check=True)


def wait_for_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    threading.Timer(0.15, lock.release).start()
    lock.acquire()


BLOCKERS = [compute, search, parse, digest, sleep, run, wait_for_lock]


async def blocks_of(work: Callable[[], object], *, exact: bool = False) -> list[Blocking]:
    watch = LoopWatch(exact=exact)
    watch.start()
    await asyncio.sleep(0.02)
    work()
    await asyncio.sleep(0.02)
    watch.stop()
    return watch.blocks


def by_code(blocks: list[Blocking]) -> list[Blocking]:
    return [block for block in blocks if block.is_by_user]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("work", BLOCKERS, ids=lambda work: work.__name__)
@pytest.mark.asyncio
async def test_block_is_found_with_its_line(work: Callable[[], object], exact: bool) -> None:
    began = time.perf_counter()
    blocks = by_code(await blocks_of(work, exact=exact))
    took = time.perf_counter() - began
    block = max(blocks, key=lambda each: each.seconds)
    assert block.place is not None
    assert block.place.function == work.__name__
    assert 0.025 <= block.seconds <= block.wall <= took
    assert block.is_exact is exact
    assert block.task == asyncio.current_task().get_name()  # type: ignore[union-attr]
    assert block.stack[-1] == block.where


@pytest.mark.parametrize(
    ("work", "cause"), [(compute, "computing"), (sleep, "waiting"), (digest, "computing")]
)
@pytest.mark.asyncio
async def test_cause_tells_computing_from_waiting(work: Callable[[], object], cause: str) -> None:
    block = max(by_code(await blocks_of(work)), key=lambda each: each.seconds)
    assert block.cause == cause


@pytest.mark.asyncio
async def test_loop_that_only_waits_is_not_blocked() -> None:
    watch = LoopWatch()
    watch.start()
    await asyncio.gather(asyncio.sleep(0.1), asyncio.to_thread(time.sleep, 0.1))
    watch.stop()
    assert by_code(watch.blocks) == []
    assert watch.block_max == watch.block_total == watch.lost_task_seconds == 0
    assert watch.lag.count


@pytest.mark.asyncio
async def test_other_threads_that_compute_are_not_the_codes_fault() -> None:
    threads = [threading.Thread(target=compute) for _ in range(4)]
    for thread in threads:
        thread.start()  # waits until it runs: with three others that compute, a block
    watch = LoopWatch()
    watch.start()
    for _ in range(20):
        await asyncio.sleep(0.005)
    watch.stop()
    for thread in threads:
        thread.join()
    assert by_code(watch.blocks) == []


@pytest.mark.asyncio
async def test_blocks_of_two_lines_are_two_and_add_up() -> None:
    watch = LoopWatch()
    watch.start()
    time.sleep(0.1)  # noqa: ASYNC251 -- what is to be found
    await asyncio.sleep(0)
    time.sleep(0.2)  # noqa: ASYNC251 -- what is to be found
    await asyncio.sleep(0)
    watch.stop()
    first, second = by_code(watch.blocks)
    assert first.place != second.place
    assert first.start < second.start
    assert watch.block_max == second.seconds
    assert watch.block_total == pytest.approx(first.seconds + second.seconds)


@pytest.mark.asyncio
async def test_tasks_that_were_ready_are_counted_as_lost_time() -> None:
    watch = LoopWatch()
    watch.start()
    others = [asyncio.create_task(asyncio.sleep(0)) for _ in range(5)]
    time.sleep(0.2)  # noqa: ASYNC251 -- what is to be found
    await asyncio.gather(*others)
    watch.stop()
    (block,) = by_code(watch.blocks)
    assert block.ready >= 5
    assert watch.lost_task_seconds >= 5 * 0.1


@pytest.mark.asyncio
async def test_watch_goes_on_after_a_stop_and_sees_nothing_in_between() -> None:
    watch = LoopWatch()
    watch.start()
    await asyncio.sleep(0.02)
    watch.stop()
    time.sleep(0.1)  # noqa: ASYNC251 -- what is not to be found
    watch.start()
    await asyncio.sleep(0.02)
    watch.stop()
    watch.stop()
    assert by_code(watch.blocks) == []


@pytest.mark.asyncio
async def test_exact_watch_puts_the_method_of_the_handles_back() -> None:
    handles: Any = asyncio.Handle
    before = handles._run
    watch = LoopWatch(exact=True)
    watch.start()
    assert handles._run is not before
    watch.stop()
    assert handles._run is before


class Wrapped:
    """Stands around the method of the handles, as other tools do, and counts what it runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        run: Any = asyncio.Handle._run

        @functools.wraps(run)
        def counted(handle: Any) -> None:
            self.count += 1
            run(handle)

        monkeypatch.setattr(asyncio.Handle, "_run", counted)


@pytest.mark.parametrize("is_wrapped", [False, True])
@pytest.mark.asyncio
async def test_exact_watch_leaves_errors_of_callbacks_to_the_loop(
    is_wrapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapped = Wrapped(monkeypatch) if is_wrapped else None
    loop, told = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: told.append(context))
    error = LookupError("of the callback")

    def fail() -> None:
        raise error

    watch = LoopWatch(exact=True)
    watch.start()
    handle: Any = loop.call_soon(fail)
    context = handle._context
    await asyncio.sleep(0)
    watch.stop()
    assert [(each["exception"], each["handle"]) for each in told] == [(error, handle)]
    assert "fail" in told[0]["message"]
    assert handle._context is context
    assert wrapped is None or wrapped.count >= 2


@pytest.mark.asyncio
async def test_exact_watch_leaves_the_error_of_a_callback_that_cancelled_itself() -> None:
    loop, told = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    error = OSError("the device is gone")

    def fail() -> None:
        handle.cancel()  # as `remove_reader` does
        raise error

    watch = LoopWatch(exact=True)
    watch.start()
    handle = loop.call_soon(fail)
    await asyncio.sleep(0)
    watch.stop()
    assert told == [error]


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_exact_watch_lets_a_callback_end_the_loop(is_cancelled: bool) -> None:
    async def main() -> None:
        def end() -> None:
            if is_cancelled:
                handle.cancel()
            sys.exit(3)

        watch = LoopWatch(exact=True)
        watch.start()
        try:
            handle = asyncio.get_running_loop().call_soon(end)
            await asyncio.sleep(0)
        finally:
            watch.stop()

    with pytest.raises(SystemExit, match="3"):
        asyncio.run(main())


@pytest.mark.asyncio
async def test_collection_that_nobody_asked_for_is_not_the_codes_fault() -> None:
    held: list[Any] = []
    watch = LoopWatch()
    watch.start()
    gc.disable()
    try:
        held = [[each] for each in range(1_500_000)]
    finally:
        gc.enable()
    await asyncio.sleep(0)
    watch.stop()
    del held
    # Making the list is a block by the test's code; none is by the collector in its name.
    assert {block.cause for block in watch.blocks} <= {"computing", "gc"}


def test_watch_without_a_loop_is_refused() -> None:
    with pytest.raises(UsageError, match="no event loop of asyncio runs here"):
        LoopWatch().start()


def test_log_keeps_the_worst_and_totals_of_all() -> None:
    log = BlockLog(kept=2)
    for seconds in (0.25, 0.5, 0.125):
        log.add(Blocking(seconds, seconds, "waiting", lost_task_seconds=seconds), ())
    log.add(Blocking(9.0, 9.0, "gc"), ())
    assert [block.seconds for block in log.read()] == [0.25, 0.5]
    assert (log.count, log.dropped, log.longest, log.total) == (4, 2, 0.5, 0.875)
    assert log.lost == 0.875


def test_sentence_tells_the_cause_and_the_task() -> None:
    block = Blocking(0.083, 0.09, "waiting", task="Task-7", ready=3)
    assert str(block) == (
        "blocked the event loop for at least 83 ms (task 'Task-7'; waiting, not computing;"
        " 3 ready to run meanwhile)"
    )
