"""What the history of the regression gate costs: time beside collecting the tests, and bytes."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pytest_agentperf.gate.history import open_history
from pytest_agentperf.judge.baseline import Baseline, Entry
from pytest_agentperf.judge.comparison import STANDARD
from pytest_agentperf.judge.runs import Count, Run
from tests.benchmarks.simulated_machine import seed

COLLECT = """
import sys, time, pytest

class Watch:
    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self):
        began = time.perf_counter()
        yield
        print("seconds", time.perf_counter() - began)

options = ["--collect-only", "-qqq", "-p", "no:cacheprovider", sys.argv[1]]
assert pytest.main(options, plugins=[Watch()]) == 0
"""


@pytest.mark.parametrize("repeat", range(5))
def bench_judging_beside_collecting(
    tmp_path: Path, record_ratio: Callable[[str, str, float], None], repeat: int
) -> None:
    random = np.random.default_rng([seed(), repeat])
    counts = {"tool_calls": Count(3, 3, 3), "tokens_per_call": Count(900, 1000, 1100)}
    names = [f"tests/agents/test_many.py::test_{number}" for number in range(1000)]
    baseline = Baseline(tmp_path / "perf", "here")

    def run() -> Run:
        row = np.sort(random.lognormal(-4, 0.1, 200)).tolist()
        return Run(row[100], 200, tuple(row), counts, "here", "b0d7b0d7b0d7b0d7", 0.05)

    for _ in range(20):
        entries = {name: Entry(run(), "2026-01-02T03:04:05Z", "a1b2c3d4e5f6") for name in names}
        baseline.append(entries, {})
    body = "(perf_timer):\n    perf_timer(sum, [1, 2])\n\n\n"
    tests = "".join(f"def {name.partition('::')[2]}{body}" for name in names)
    (tmp_path / "test_many.py").write_text(tests)
    program = [sys.executable, "-c", COLLECT, str(tmp_path)]
    collected = subprocess.run(program, capture_output=True, text=True, check=True, cwd=tmp_path)
    collecting = float(collected.stdout.split("seconds ")[1].split()[0])
    head = {name: run() for name in names}
    began = time.perf_counter()
    history = open_history(baseline.folder, "here", STANDARD)
    read = time.perf_counter()
    tests_judged = history.count(head)
    for name, one in head.items():
        history.judge({name: one}, tests_judged)
    judged = time.perf_counter()
    record_ratio(
        "judging 1,000 tests with 20 runs / collecting", "< 1", (judged - read) / collecting
    )
    record_ratio("reading and judging / collecting", "shown", (judged - began) / collecting)
    record_ratio("reading the file, seconds", "shown", read - began)
    record_ratio("judging, seconds", "shown", judged - read)
    size = baseline.path.stat().st_size / 20_000
    record_ratio("bytes of a test and run", "<= 3000", size)
