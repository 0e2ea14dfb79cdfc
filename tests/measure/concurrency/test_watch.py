"""Tests of the watch as a whole: one block, whatever happens in it and around it."""

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from pytest_agentperf.core.clock import REAL_TIME
from pytest_agentperf.core.errors import CheckError, UsageError
from pytest_agentperf.measure.concurrency.settings import WatchContext, WatchSettings
from pytest_agentperf.measure.concurrency.watch import Watch
from pytest_agentperf.measure.monitors import Monitors

CONTEXT = WatchContext(REAL_TIME.clock, Monitors(), lambda _: False)


def new_watch(context: WatchContext = CONTEXT, **settings: Any) -> Watch:
    return Watch(WatchSettings(**settings), context)


def block(seconds: float = 0.1) -> None:
    time.sleep(seconds)


@pytest.mark.asyncio
async def test_watch_is_for_one_block() -> None:
    watch = new_watch()
    async with watch:
        with pytest.raises(UsageError, match=r"this watch is in use; a watch is for one block"):
            await watch.__aenter__()
    with pytest.raises(UsageError, match=r"this watch is over; .* call perf_concurrency\(\) again"):
        await watch.__aenter__()


@pytest.mark.asyncio
async def test_watch_is_read_after_its_block() -> None:
    watch = new_watch()
    for state in ("new", "in use"):
        with pytest.raises(UsageError, match=f"this watch is {state}; read what it saw after"):
            _ = watch.blocking
        if state == "new":
            await watch.__aenter__()
    await watch.__aexit__(None, None, None)
    assert watch.blocking == []


@pytest.mark.asyncio
async def test_watches_within_each_other_see_what_falls_into_each() -> None:
    outer, inner = new_watch(), new_watch()
    async with outer:
        block()
        await asyncio.sleep(0)  # a block ends with the step of the loop that it is in
        async with inner:
            with inner.span("work"):
                block()
            kept = asyncio.create_task(asyncio.sleep(100))
            await asyncio.sleep(0)
    assert [seen.task for seen in outer.blocking] == [seen.task for seen in inner.blocking] * 2
    assert (len(outer.blocking), len(inner.blocking)) == (2, 1)
    assert [len(outer.leaked_tasks), len(inner.leaked_tasks)] == [1, 1]
    assert [span.name for span in inner.spans] == ["work"]
    kept.cancel()


@pytest.mark.asyncio
async def test_watches_left_in_another_order_put_everything_back() -> None:
    loop = asyncio.get_running_loop()
    lock, factory = asyncio.Lock.acquire, loop.get_task_factory()
    threads = set(sys._current_frames())
    first, second = new_watch(exact=True), new_watch(exact=True)
    await first.__aenter__()
    await second.__aenter__()
    await first.__aexit__(None, None, None)
    block()
    await second.__aexit__(None, None, None)
    assert (len(first.blocking), len(second.blocking)) == (0, 1)
    assert asyncio.Lock.acquire is lock
    assert loop.get_task_factory() is factory
    assert set(sys._current_frames()) <= threads


@pytest.mark.asyncio
async def test_error_leaves_the_block_and_what_was_seen_stays() -> None:
    watch = new_watch()
    with pytest.raises(KeyError, match="mine"):  # noqa: PT012
        async with watch:
            block()
            raise KeyError("mine")
    assert len(watch.blocking) == 1


@pytest.mark.asyncio
async def test_cancellation_leaves_the_block_at_once_and_what_was_seen_stays() -> None:
    watch = new_watch()
    kept: list[asyncio.Task[None]] = []
    began = asyncio.Event()

    async def work() -> None:
        async with watch:
            block()
            kept.append(asyncio.create_task(asyncio.sleep(100)))
            began.set()
            await asyncio.sleep(100)

    task = asyncio.create_task(work())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert len(watch.blocking) == 1
    assert [leak.count for leak in watch.leaked_tasks] == [1]
    kept[0].cancel()


def test_watches_of_loops_one_after_the_other_and_at_once_are_apart() -> None:
    contexts = [WatchContext(REAL_TIME.clock, Monitors(), lambda _: False) for _ in range(2)]
    found: dict[str, Watch] = {}

    async def blocks() -> None:
        async with new_watch(contexts[0]) as found["blocks"]:
            await asyncio.sleep(0.02)
            block()

    async def waits() -> None:
        async with new_watch(contexts[1]) as found["waits"]:
            await asyncio.sleep(0.15)

    def run(main: Coroutine[Any, Any, None]) -> None:
        asyncio.run(main)

    for turn in range(2):
        threads = [threading.Thread(target=run, args=(main(),)) for main in (blocks, waits)]
        for thread in threads:
            thread.start()
            if turn == 0:
                thread.join()
        for thread in threads:
            thread.join()
        assert len(found["blocks"].blocking) == 1
        assert found["waits"].blocking == []


@pytest.mark.asyncio
async def test_accepted_findings_count_nowhere() -> None:
    context = WatchContext(REAL_TIME.clock, Monitors(), lambda finding: finding.cause == "blocking")
    watch = new_watch(context)
    async with watch:
        block()
        kept = asyncio.create_task(asyncio.sleep(100))
        await asyncio.sleep(0)
    watch.assert_not_blocked()
    assert watch.measurement().values["loop_block_max"] == 0.0
    assert [finding.cause for finding in watch.findings] == ["leaked_task"]
    with pytest.raises(CheckError, match="1 leak"):
        watch.assert_no_leaks()
    kept.cancel()


@pytest.mark.asyncio
async def test_limit_below_the_threshold_is_refused_for_it_would_pass_unseen_blocks() -> None:
    async with new_watch(threshold=0.025) as watch:
        pass
    watch.assert_not_blocked("25ms")
    with pytest.raises(UsageError, match=r"sees blocks from 25 ms on; .*threshold='10ms'"):
        watch.assert_not_blocked("10ms")


@pytest.mark.asyncio
async def test_watch_that_missed_calls_passes_no_assertion_and_no_budget() -> None:
    async with new_watch() as watch:
        watch.miss("max_calls 1 was used up")
    with pytest.raises(CheckError, match="was not watched: max_calls 1 was used up"):
        watch.assert_not_blocked()
    assert watch.measurement().unknown["loop_block_max"] == "max_calls 1 was used up"


@pytest.mark.asyncio
async def test_pause_of_the_watch_leaves_out_blocks_and_keeps_spans() -> None:
    monitors = Monitors()
    async with new_watch(WatchContext(REAL_TIME.clock, monitors, lambda _: False)) as watch:
        with monitors.paused(), watch.span("timed"):
            block()
        block()
    assert len(watch.blocking) == 1
    assert [span.name for span in watch.spans] == ["timed"]


@pytest.mark.asyncio
async def test_assertion_of_nothing_says_what_to_write() -> None:
    async with new_watch() as watch:
        pass
    with pytest.raises(UsageError, match=r"assert_parallel\(\) of what\?"):
        watch.assert_parallel()
    with pytest.raises(UsageError, match="no span"):
        _ = watch.parallelism


@pytest.mark.asyncio
async def test_watch_that_is_dropped_leaves_nothing_to_the_garbage_collector() -> None:
    async def watched() -> None:
        async with new_watch() as watch:
            with watch.span("work"):
                await asyncio.to_thread(int)
        watch.measurement()

    await watched()
    gc.collect()
    gc.disable()
    try:
        await watched()
        assert gc.collect() == 0
    finally:
        gc.enable()
