"""What several processes make of a load that one processor core bounds, interleaved with one.

The processes of each kind stay the same over all repeats; what starts them is not timed.
"""

import asyncio
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pytest_agentperf.measure.load.engine import Job
from pytest_agentperf.measure.load.keywords import read_plan
from pytest_agentperf.measure.load.result import LoadResult
from pytest_agentperf.measure.load.scenario import Scenario
from pytest_agentperf.measure.load.spread import Spread
from pytest_agentperf.measure.load.together import Together
from pytest_agentperf.measure.load.workers import ExecutorWorkers
from pytest_agentperf.measure.system import SystemWatch

pytest.importorskip("cloudpickle", reason="what is called stands in no module of the workers")
REPEATS = 5
SECONDS = 2.0
WORKER = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "60")


async def compute() -> int:
    """Take about half a millisecond of a processor core."""
    await asyncio.sleep(0)
    return sum(range(20_000))


def throughput(executor: Executor, workers: int) -> float:
    """Return the calls a second that so many workers make together."""
    plan = read_plan({"users": 8, "duration": SECONDS, "warmup": SECONDS / 4})
    together = Together(plan, Job([Scenario(compute)]), ExecutorWorkers(executor, workers))
    asyncio.run(together.run())
    assert not together.tally.lost
    return float(LoadResult(plan, together.tally, ("compute",), "compute").throughput)


def bare_loop(number: int) -> float:
    """Return the calls a second of a loop that does nothing but call."""
    calls, end = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        sum(range(20_000))
        calls += 1
    return calls / SECONDS


def bare_throughput(executor: Executor, workers: int) -> float:
    """Return the calls a second that so many bare loops make: more, the machine has not."""
    spread = Spread(ExecutorWorkers(executor, workers), bare_loop, (bare_loop,), SECONDS)
    return float(sum(asyncio.run(spread.run()).results))


def compare(
    executor: Executor, workers: int, what: str, record: Callable[[str, str, float], None]
) -> None:
    one, many = throughput(executor, 1), throughput(executor, workers)
    bare_one, bare_many = bare_throughput(executor, 1), bare_throughput(executor, workers)
    record(f"{what} ÷ one, on {os.cpu_count()} cores", ">= 1.7", many / one)
    record(f"{what} ÷ one, of bare loops", "2 where nothing else runs", bare_many / bare_one)
    record(f"{what} ÷ as many bare loops", ">= 0.85", many / bare_many)


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    """Return a client of a scheduler of Dask with two workers, all programs of their own."""
    distributed = pytest.importorskip("distributed")
    folder = tmp_path_factory.mktemp("dask")
    file = folder / "scheduler.json"
    named = ("--scheduler-file", str(file), "--no-dashboard")
    programs = [
        start(folder, "dask_scheduler", "--host", "127.0.0.1", "--port", "0", *named),
        *(start(folder, "dask_worker", "--scheduler-file", str(file), *WORKER) for _ in range(2)),
    ]
    while not file.exists():
        time.sleep(0.05)
    client = distributed.Client(scheduler_file=str(file), timeout=60)
    client.wait_for_workers(2, timeout=60)
    yield client.get_executor()
    client.close()
    for program in programs:
        program.terminate()
        program.wait()


def start(folder: Path, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.{program}", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("repeat", range(REPEATS))
def bench_four_processes(
    processes: Executor, record_ratio: Callable[[str, str, float], None], repeat: int
) -> None:
    compare(processes, 4, "four processes", record_ratio)


@pytest.mark.parametrize("repeat", range(REPEATS))
def bench_two_workers_of_dask(
    cluster: Executor, record_ratio: Callable[[str, str, float], None], repeat: int
) -> None:
    compare(cluster, 2, "two workers of Dask", record_ratio)


@pytest.mark.parametrize("repeat", range(REPEATS))
def bench_system_metrics(record_ratio: Callable[[str, str, float], None], repeat: int) -> None:
    """What the readings take of a core beside an event loop of 1000 tasks."""

    async def idle() -> float:
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(asyncio.sleep(60)) for _ in range(1000)
        ]
        await asyncio.sleep(0)
        began, spent = time.perf_counter(), time.process_time()
        with SystemWatch(asyncio.get_running_loop()):
            await asyncio.sleep(SECONDS)
        spent, took = time.process_time() - spent, time.perf_counter() - began
        for task in tasks:
            task.cancel()
        return spent / took

    record_ratio("system metrics ÷ a core", "<= 0.01", asyncio.run(idle()))
