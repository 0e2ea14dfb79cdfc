"""What ten million recorded calls hold in memory, beside a list of floats."""

import gc
import tracemalloc
from collections.abc import Callable

from pytest_agentperf import PerfTimer

CALLS = 10_000_000
MEGABYTE = 1_000_000


def f() -> None:
    pass


def bench_memory_of_ten_million_calls(
    perf_timer: PerfTimer, record_ratio: Callable[[str, str, float], None]
) -> None:
    perf_timer.configure(rounds=CALLS, max_time="1h", warmup=0)
    gc.collect()
    tracemalloc.start()
    try:
        perf_timer(f)
        ours, peak = tracemalloc.get_traced_memory()
        values = [float(number) for number in range(CALLS // 10)]
        listed = tracemalloc.get_traced_memory()[0] - ours
    finally:
        tracemalloc.stop()
    assert perf_timer.latency.count == CALLS
    assert perf_timer.latency.p99 > 0
    assert values
    record_ratio("10,000,000 calls: MB held", "<= 20", ours / MEGABYTE)
    record_ratio("10,000,000 calls: MB at the peak", "shown", peak / MEGABYTE)
    record_ratio("the same in a list of floats: MB", "shown", 10 * listed / MEGABYTE)
