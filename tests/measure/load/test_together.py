"""Tests of loads that several processes make together: real ones, and a real cluster of Dask."""

import asyncio
import contextlib
import importlib
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from pytest_agentperf.core.errors import LoadError
from pytest_agentperf.measure.load.engine import Job
from pytest_agentperf.measure.load.keywords import read_plan
from pytest_agentperf.measure.load.measured import measurements_of
from pytest_agentperf.measure.load.result import LoadResult
from pytest_agentperf.measure.load.scenario import Scenario
from pytest_agentperf.measure.load.tally import LoadTally
from pytest_agentperf.measure.load.together import ShareWork, Together, most_shares
from pytest_agentperf.measure.load.workers import ExecutorWorkers, OwnWorkers, Workers

CALLEES = """
import asyncio, os, pathlib

async def ask(data=None):
    await asyncio.sleep(0.001)
    if data is not None:
        path = pathlib.Path(os.environ["SEEN"])
        with path.open("a") as file:
            file.write(f"{data}\\n")

async def fail():
    raise ValueError("no")

async def note_and_hang():
    pathlib.Path(os.environ["SEEN"], str(os.getpid())).touch()
    await asyncio.sleep(60)

async def die_in_one(folder=None):
    await asyncio.sleep(0.01)
    try:
        pathlib.Path(os.environ["SEEN"]).touch(exist_ok=False)
    except FileExistsError:
        return
    os._exit(3)
"""


@pytest.fixture
def callees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Return functions that processes can import, which inherit `sys.path`."""
    (tmp_path / "load_callees.py").write_text(CALLEES)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    yield importlib.import_module("load_callees")
    del sys.modules["load_callees"]


def make(workers: Workers, func: Any, data: Any = None, **load: Any) -> tuple[LoadResult, Together]:
    plan = read_plan(load)
    together = Together(plan, Job([Scenario(func, name="ask", data=data)]), workers)
    asyncio.run(together.run())
    return LoadResult(plan, together.tally, ("ask",), "ask"), together


def test_processes_share_the_calls_and_add_up_what_they_came_to(
    callees: ModuleType, tmp_path: Path
) -> None:
    result, together = make(OwnWorkers(2), callees.ask, range(7), users=3, requests=21)
    assert result.calls == result.latency.count == 21
    assert result.latency.is_exact
    assert result.tally.lost == ()
    # Each share takes every second of the data, again and again.
    seen = [int(line) for line in (tmp_path / "seen").read_text().split()]
    assert len(seen) == 21
    assert set(seen) == set(range(7))
    assert {"cpu (worker 1)", "rss (worker 2)"} <= set(together.curves)


def test_processes_have_ended_when_the_load_has(callees: ModuleType) -> None:
    before = set(psutil.Process().children())
    make(OwnWorkers(2), callees.ask, users=2, requests=2)
    left = set(psutil.Process().children()) - before
    assert all("resource_tracker" in " ".join(process.cmdline()) for process in left)


def test_errors_of_all_processes_are_counted(callees: ModuleType) -> None:
    result, _ = make(OwnWorkers(2), callees.fail, users=2, requests=10)
    assert result.errors == {"ValueError": 10}
    assert result.first_error == "ValueError: no"


def test_rate_of_all_processes_is_the_rate_that_was_asked_for(callees: ModuleType) -> None:
    result, _ = make(OwnWorkers(2), callees.ask, rate="100/s", duration="500ms")
    assert result.calls == 50
    assert result.model == "open"


def test_process_that_dies_takes_its_share_alone_and_that_is_said(callees: ModuleType) -> None:
    result, _ = make(OwnWorkers(2), callees.die_in_one, users=2, duration="500ms")
    (lost,) = result.tally.lost
    assert lost.startswith("share ")
    assert "of 2 was lost: BrokenProcessPool: " in lost
    assert result.calls > 1
    assert lost in result.notes
    (whole,) = measurements_of(result, None)
    assert set(whole.doubts) >= {"latency", "throughput", "error_rate"}


def test_executor_that_dies_is_an_error(callees: ModuleType) -> None:
    # Not forked: a fork of a process with threads may hang.
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        workers = ExecutorWorkers(executor, 2)
        with pytest.raises(LoadError, match=r"share 1 of 2 was lost: Broken.*share 2"):
            make(workers, callees.die_in_one, users=2, duration="500ms")


def test_load_that_is_cancelled_ends_its_processes(callees: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "seen").mkdir()
    plan = read_plan({"users": 2, "duration": "60s"})
    together = Together(plan, Job([Scenario(callees.note_and_hang)]), OwnWorkers(2))

    async def cancelled() -> None:
        task = asyncio.create_task(together.run())
        while len(list((tmp_path / "seen").iterdir())) < 2:  # noqa: ASYNC110 -- of other processes
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    began = time.monotonic()
    asyncio.run(cancelled())
    assert time.monotonic() - began < 60  # for as long the load would have gone on
    pids = [int(path.name) for path in (tmp_path / "seen").iterdir()]
    psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=10)
    assert not any(map(psutil.pid_exists, pids))
    assert together.tally.is_partial


def test_budgets_cannot_end_a_load_of_several_processes() -> None:
    plan = read_plan({"users": 2, "duration": "1s", "abort_on_fail": True})
    with pytest.raises(LoadError, match="abort_on_fail=True watches the calls of one process"):
        Together(plan, Job([Scenario(asyncio.sleep, 0)]), OwnWorkers(2))


@pytest.mark.parametrize(
    ("load", "most"),
    [
        ({"users": 5, "duration": 1}, 5),
        ({"users": 5, "requests": 3}, 3),
        ({"rate": 5, "duration": 1, "max_in_flight": 2}, 2),
        ({"stages": "1s:4,1s:9"}, 9),
    ],
)
def test_load_has_no_more_shares_than_parts(load: dict[str, Any], most: int) -> None:
    assert most_shares(read_plan(load)) == most


@pytest.mark.parametrize("arrivals", ["constant", "poisson"])
def test_shares_of_a_rate_are_together_the_one_schedule(arrivals: str) -> None:
    plan = read_plan({"rate": 50, "duration": 2, "ramp_up": 1, "arrivals": arrivals, "seed": 3})
    shares = [list(share.arrivals()) for share in plan.split(3)]
    assert sorted(due for share in shares for due in share) == list(plan.arrivals())
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_share_that_is_interrupted_comes_back_as_far_as_it_came() -> None:
    calls: list[int] = []

    async def interrupt() -> None:
        calls.append(1)
        await asyncio.sleep(0)
        if len(calls) == 3:
            raise KeyboardInterrupt

    plan = read_plan({"users": 1, "duration": "60s"})
    tally, curves = ShareWork(plan, Job([Scenario(interrupt)]), 1)(0)
    assert tally.is_partial
    assert sum(cell.calls for cell in tally.cells.values()) == 2
    assert "rss" in curves


def test_time_that_is_left_is_shown_meanwhile() -> None:
    shown: list[Any] = []
    plan = read_plan({"users": 2, "duration": "700ms"})
    job = Job([Scenario(asyncio.sleep, 0.001)])
    with ThreadPoolExecutor(2) as executor:
        asyncio.run(Together(plan, job, ExecutorWorkers(executor, 2)).run(shown.append))
    assert {glance.workers for glance in shown} == {2}
    assert shown[0].seconds_left is None
    assert shown[-1].seconds_left == pytest.approx(0.5, abs=0.5)


def test_tally_of_a_share_says_nothing_of_others() -> None:
    assert (LoadTally().lost, LoadTally().notes) == ((), ())


# A cluster

WORKER = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "60")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, list[Any]]]:
    """Return a client of a scheduler with two workers, all programs of their own."""
    distributed = pytest.importorskip("distributed")
    folder = tmp_path_factory.mktemp("dask")
    file = folder / "scheduler.json"
    scheduler = ("--scheduler-file", str(file), "--host", "127.0.0.1", "--port", "0")
    programs = [
        _start(folder, "distributed.cli.dask_scheduler", *scheduler, "--no-dashboard"),
        *(
            _start(folder, "distributed.cli.dask_worker", "--scheduler-file", str(file), *WORKER)
            for _ in range(2)
        ),
    ]
    deadline = time.monotonic() + 60
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    client = distributed.Client(scheduler_file=str(file), timeout=60)
    client.wait_for_workers(2, timeout=60)
    yield client, programs[1:]
    client.close()
    for program in programs:
        program.terminate()
        program.wait()


def _start(folder: Path, *module: str) -> "subprocess.Popen[bytes]":
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        [sys.executable, "-m", *module],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_cluster_makes_a_load_of_code_that_it_cannot_import(
    cluster: tuple[Any, list[Any]], callees: ModuleType
) -> None:
    client, _ = cluster
    result, _ = make(ExecutorWorkers(client.get_executor(), 2), callees.ask, users=4, requests=40)
    assert result.calls == 40
    assert result.tally.lost == result.tally.notes == ()


def test_cluster_that_loses_a_worker_loses_its_share_and_says_so(
    cluster: tuple[Any, list[Any]], tmp_path: Path
) -> None:
    client, programs = cluster
    pids = {program.pid: program for program in programs}
    seen = str(tmp_path / "seen")

    async def first_dies() -> None:
        await asyncio.sleep(0.2)
        with contextlib.suppress(FileExistsError):  # one dies, also where both look at once
            open(seen, "x").close()  # noqa: ASYNC230, PTH123 -- what travels knows no more
            os._exit(1)

    workers = ExecutorWorkers(client.get_executor(), 2)
    result, _ = make(workers, first_dies, users=2, duration="1s")
    (lost,) = result.tally.lost
    assert " of 2 was lost: " in lost
    assert result.calls >= 1
    assert any(program.poll() is not None for program in pids.values())
