"""What a recorded round costs, beside the bare loop and beside the peers, interleaved."""

import time
from array import array
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pytest_agentperf import PerfTimer

ROUNDS = 50_000
REPEATS = 15
clock = time.perf_counter


def f() -> None:
    pass


async def af() -> None:
    pass


def bare_loop() -> float:
    values = array("d")
    began = clock()
    for _ in range(ROUNDS):
        t = clock()
        f()
        values.append(clock() - t)
    return clock() - began


async def bare_async_loop() -> float:
    values = array("d")
    began = clock()
    for _ in range(ROUNDS):
        t = clock()
        await af()
        values.append(clock() - t)
    return clock() - began


def timed(run: Callable[[], object]) -> float:
    began = clock()
    run()
    return clock() - began


async def timed_async(run: Callable[[], Awaitable[object]]) -> float:
    began = clock()
    await run()
    return clock() - began


@pytest.mark.parametrize("repeat", range(REPEATS))
def bench_sync_round(
    perf_timer: PerfTimer,
    record_ratio: Callable[[str, str, float], None],
    benchmark: Any,
    repeat: int,
) -> None:
    perf_timer.configure(rounds=ROUNDS, max_time="10min")
    bare = bare_loop()
    ours = timed(lambda: perf_timer(f))
    again = bare_loop()
    batch = timed(lambda: benchmark.pedantic(f, rounds=ROUNDS, iterations=1))
    assert perf_timer.latency.count == ROUNDS
    record_ratio("perf_timer(f) ÷ bare loop", "<= 1.35", ours / bare)
    record_ratio("bare loop ÷ bare loop (A/A)", "noise", again / bare)
    record_ratio("pytest-benchmark, a clock pair a call ÷ bare loop", "shown", batch / bare)


@pytest.mark.parametrize("repeat", range(REPEATS))
def bench_codspeed_round(
    pytestconfig: pytest.Config,
    record_ratio: Callable[[str, str, float], None],
    codspeed_benchmark: Any,
    repeat: int,
) -> None:
    if not pytestconfig.getoption("codspeed"):
        pytest.skip("runs in a run of its own: pytest --codspeed deselects everything else")
    bare = bare_loop()
    peer = timed(lambda: codspeed_benchmark.pedantic(f, rounds=ROUNDS, iterations=1))
    record_ratio("pytest-codspeed, a clock pair a call ÷ bare loop", "shown", peer / bare)


@pytest.mark.asyncio
@pytest.mark.parametrize("repeat", range(REPEATS))
async def bench_async_round(
    perf_timer: PerfTimer,
    record_ratio: Callable[[str, str, float], None],
    async_benchmark: Any,
    repeat: int,
) -> None:
    perf_timer.configure(rounds=ROUNDS, max_time="10min")
    bare = await bare_async_loop()
    ours = await timed_async(lambda: perf_timer(af))
    again = await bare_async_loop()
    peer = await timed_async(lambda: async_benchmark(af, rounds=ROUNDS, iterations=1))
    assert perf_timer.latency.count == ROUNDS
    record_ratio("await perf_timer(af) ÷ bare loop", "<= 1.30", ours / bare)
    record_ratio("bare async loop ÷ itself (A/A)", "noise", again / bare)
    record_ratio("pytest-async-benchmark ÷ bare async loop", "shown", peer / bare)


@pytest.mark.asyncio
async def bench_what_await_of_a_coroutine_function_reports(
    record_ratio: Callable[[str, str, float], None],
    benchmark: Any,
    perf_timer: PerfTimer,
) -> None:
    import asyncio

    async def call() -> None:
        await asyncio.sleep(0.001)

    await perf_timer(call)
    await benchmark(call)  # passes, having timed the creation of coroutines
    reported = benchmark.stats.stats.median
    record_ratio(
        "1 ms coroutine: perf_timer ÷ what pytest-benchmark reports",
        "shown",
        perf_timer.latency.p50 / reported,
    )
