"""What a load costs, and whether its numbers are true: beside a bare loop, Locust and wrk."""

import asyncio
import json
import math
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from pytest_agentperf.core.sample import Sample
from pytest_agentperf.measure.load.engine import Engine, Job
from pytest_agentperf.measure.load.keywords import read_plan
from pytest_agentperf.measure.load.result import LoadResult
from pytest_agentperf.measure.load.scenario import Scenario

Record: TypeAlias = Callable[[str, str, float], None]

REPEATS = 15
USERS = 50
SECONDS = 0.25
RATE = 20_000
CALLS = 10_000_000
SERVER = str(Path(__file__).parents[2] / "examples" / "load_service.py")
spent = time.process_time  # all is computation; other programs must not count


async def turn() -> None:
    """Do nothing but let the loop go round once."""
    await asyncio.sleep(0)


async def load(func: Callable[..., Any], *args: Any, **stated: Any) -> LoadResult:
    plan = read_plan(stated)
    engine = Engine(plan, Job([Scenario(func, *args)]))
    await engine.run()
    return LoadResult(plan, engine.tally, ("it",), "it")


async def bare_loop() -> float:
    """Return calls for each second of the processor of a loop that records every latency."""
    sample, clock = Sample(), time.perf_counter
    end = clock() + SECONDS

    async def user() -> None:
        append = sample.append
        while True:
            started = clock()
            await turn()
            ended = clock()
            append(ended - started)
            if ended >= end:
                return

    began = spent()
    await asyncio.gather(*(user() for _ in range(USERS)))
    return sample.count / (spent() - began)


async def our_loop(**stated: Any) -> float:
    began = spent()
    result = await load(turn, users=USERS, duration=SECONDS, **stated)
    return float(result.calls) / (spent() - began)


@pytest.mark.asyncio
@pytest.mark.parametrize("repeat", range(REPEATS))
async def bench_closed_loop(record_ratio: Record, repeat: int) -> None:
    base = await bare_loop()
    ours = await our_loop()
    again = await bare_loop()
    limited = await our_loop(deadline="5s")
    what = f"closed load of {USERS} users who let the loop go round"
    record_ratio(f"{what} ÷ bare loop", ">= 0.90", 2 * ours / (base + again))
    record_ratio("bare loop ÷ itself (A/A)", "noise", again / base)
    record_ratio(f"{what}, with deadlines ÷ bare loop", "shown", 2 * limited / (base + again))


@pytest.mark.asyncio
@pytest.mark.parametrize("repeat", range(REPEATS))
async def bench_open_loop(record_ratio: Record, repeat: int) -> None:
    result = await load(turn, rate=RATE, duration=1)
    what = f"starts/s of an open load of {RATE}/s"
    record_ratio(what, ">= 15000", result.calls / result.seconds)
    delay = result.dispatch_delay
    record_ratio("its send lag in ms, p50", "shown", 1e3 * delay.p50)
    record_ratio("its send lag in ms, p99", "<= 15", 1e3 * delay.p99)


async def stalling() -> None:
    """Answer in 5 ms, but not in the last second of ten."""
    left = 10 - time.monotonic() % 10
    await asyncio.sleep(0.005 + (left if left < 1 else 0.0))


@pytest.mark.asyncio
async def bench_stalling_server(record_ratio: Record) -> None:
    closed, opened = await asyncio.gather(
        load(stalling, users=10, duration=20), load(stalling, rate=100, duration=20)
    )
    what = "p99 of a server that stalls 1 s in 10 ÷ the truth (905 ms)"
    record_ratio(f"{what}, open load", "0.95–1.05", opened.latency.p99 / 0.905)
    record_ratio(f"{what}, closed load", "0.012", closed.latency.p99 / 0.905)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("repeat", range(3))
def bench_injected_latencies(record_ratio: Record, repeat: int, loop: str) -> None:
    factory = asyncio.new_event_loop
    if loop == "uvloop":
        reason = "the peer uvloop is not installed"
        factory = pytest.importorskip("uvloop", reason=reason).new_event_loop
    chance, injected = random.Random(repeat), Sample()

    async def ask() -> None:
        seconds = 0.02 * math.exp(chance.gauss(0, 0.45))
        injected.add(seconds)
        await asyncio.sleep(seconds)

    with asyncio.Runner(loop_factory=factory) as runner:
        result = runner.run(load(ask, users=20, duration=3))
    for p in (50, 99):
        ratio = result.latency.percentile(p) / injected.percentile(p)
        record_ratio(f"measured ÷ injected p{p}, lognormal, {loop}", "<= 1.10", ratio)


MANY_CALLS = f"""
import asyncio, psutil
from bench_load import load, turn
process = psutil.Process()

async def main():
    await load(turn, users=50, requests=1000)
    before = process.memory_info().rss
    result = await load(turn, users=50, requests={CALLS}, duration=600)
    print(result.calls, process.memory_info().rss - before, result.latency.p99)

asyncio.run(main())
"""


def bench_memory_of_many_calls(record_ratio: Record) -> None:
    program = [sys.executable, "-c", MANY_CALLS]
    out = subprocess.run(
        program, capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    calls, grown, _ = map(float, out.stdout.split())
    assert calls == CALLS
    record_ratio(f"MB held after {CALLS:,} calls", "<= 100", grown / 1e6)


# HTTP, beside other generators: the same server, 20 users or connections, 5 seconds each

HTTP_SECONDS = 4
HTTP_USERS = 20
Measured: TypeAlias = tuple[float, float, float]  # calls a second, p50 and p99 in ms


def with_server(measure: Callable[[str], Measured]) -> Measured:
    server = subprocess.Popen([sys.executable, SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        return measure(f"http://127.0.0.1:{int(server.stdout.readline())}/now")
    finally:
        server.terminate()
        server.communicate()


def of_our_load(url: str) -> Measured:
    aiohttp = pytest.importorskip("aiohttp", reason="the client aiohttp is not installed")

    async def main() -> LoadResult:
        async with aiohttp.ClientSession() as session:

            async def ask() -> None:
                async with session.get(url) as response:
                    await response.read()

            return await load(ask, users=HTTP_USERS, duration=HTTP_SECONDS)

    result = asyncio.run(main())
    return result.throughput, 1e3 * result.latency.p50, 1e3 * result.latency.p99


LOCUST = """
from locust import FastHttpUser, constant, task

class User(FastHttpUser):
    wait_time = constant(0)

    @task
    def ask(self):
        self.client.get("/now")
"""


def of_locust(url: str, folder: Path) -> Measured:
    locust = shutil.which("locust")
    if locust is None:
        pytest.skip("the peer locust is not installed")
    (folder / "locustfile.py").write_text(LOCUST)
    program = [
        *(locust, "--headless", "--json", "--users", str(HTTP_USERS)),
        *("--spawn-rate", str(HTTP_USERS), "--run-time", f"{HTTP_SECONDS}s"),
        *("--host", url.removesuffix("/now"), "--locustfile", str(folder / "locustfile.py")),
    ]
    out = subprocess.run(program, capture_output=True, text=True, check=True)
    (found,) = json.loads(out.stdout[out.stdout.index("[") :])
    times = {float(ms): n for ms, n in found["response_times"].items()}
    values = sorted(value for value, count in times.items() for _ in range(count))
    rate = found["num_requests"] / HTTP_SECONDS
    return rate, statistics.median(values), values[math.ceil(0.99 * len(values)) - 1]


def of_wrk(url: str) -> Measured:
    wrk = shutil.which("wrk")
    if wrk is None:
        pytest.skip("the peer wrk is not installed (apt-get install wrk)")
    program = [wrk, "--latency", "-t1", f"-c{HTTP_USERS}", f"-d{HTTP_SECONDS}s", url]
    text = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    units = {"us": 1e-3, "ms": 1.0, "s": 1e3}

    def percentile(p: int) -> float:
        number, unit = re.findall(rf"{p}%\s+([\d.]+)(us|ms|s)", text)[0]
        return float(number) * units[unit]

    return float(re.findall(r"Requests/sec:\s+([\d.]+)", text)[0]), percentile(50), percentile(99)


@pytest.mark.parametrize("peer", ["our load with aiohttp", "Locust (FastHttpUser)", "wrk"])
@pytest.mark.parametrize("repeat", range(2))
def bench_http(record_ratio: Record, tmp_path: Path, repeat: int, peer: str) -> None:
    measures: dict[str, Callable[[str], Measured]] = {
        "our load with aiohttp": of_our_load,
        "Locust (FastHttpUser)": lambda url: of_locust(url, tmp_path),
        "wrk": of_wrk,
    }
    rate, p50, p99 = with_server(measures[peer])
    record_ratio(f"HTTP calls/s of {HTTP_USERS} users, {peer}", "shown", rate)
    record_ratio(f"HTTP p50 in ms, {peer}", "shown", p50)
    record_ratio(f"HTTP p99 in ms, {peer}", "shown", p99)
