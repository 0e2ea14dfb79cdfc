"""Real duets of an agent test: how often the gate is wrong, and how often it sees +10 %.

    python tests/benchmarks/gate_duets.py --duets 40 --slower 20 --output duets.json

Half of the duets run beside a process that loads another core. What was measured is appended to the
file after each duet, so that the command can be run in pieces; the table is about all of the file.
The same runs are judged by the rule of pytest-benchmark's `--benchmark-compare-fail=mean:5%`, which
compares the mean of one run with that of an earlier one.
"""

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tabulate import tabulate

from pytest_agentperf.gate.aa import pytest_command, seeded
from pytest_agentperf.gate.child import run_on
from pytest_agentperf.gate.duet import Bounds, Duet, Sides
from pytest_agentperf.judge.binomial import highest_share
from pytest_agentperf.judge.runs import Run

# Between two model calls of 3 ms an agent works for about 2 ms; all of it takes `FACTOR` times. It
# is no coroutine: asyncio rounds waits up to whole milliseconds, which would make more of +10 %.
AGENT = """
    import json, os, time
    FACTOR = float(os.environ["FACTOR"])
    DOCUMENT = {f"key {number}": [number, str(number)] for number in range(40)}

    class Agent:
        def call_model(self):
            time.sleep(0.003 * FACTOR)

        def parse(self):
            for _ in range(round(30 * FACTOR)):
                json.loads(json.dumps(DOCUMENT))

        def ask(self, question):
            self.call_model()
            self.parse()
            self.call_model()
            return question

    def test_agent(perf_timer):
        perf_timer(Agent().ask, "What is the capital of France?")
"""
# It ends with this process, however that ends.
BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
OPTIONS = ("-ppytest_agentperf.plugin", "-q")
SLOWER = 1.1
PEER = 1.05
PAIRS, RED, CAUGHT = 10, 1 / 40, 18 / 20


@contextlib.contextmanager
def loaded(*, is_loaded: bool) -> Iterator[None]:
    """Keep another core busy meanwhile, if *is_loaded*."""
    if not is_loaded:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", BUSY]) as process:
        try:
            yield
        finally:
            process.kill()


def make_duet(number: int, factor: float, *, is_loaded: bool) -> dict[str, Any]:
    """Return what a duet of the agent and of one that takes *factor* times as long came to."""
    with tempfile.TemporaryDirectory() as folder, loaded(is_loaded=is_loaded):
        place = Path(folder)
        (place / "test_agent.py").write_text(textwrap.dedent(AGENT))
        command = pytest_command([*OPTIONS, "test_agent.py"], place, place / "scratch")
        both = ({**os.environ, "FACTOR": text} for text in ("1", str(factor)))
        sides = [
            seeded(run_on(replace(command, environment=one), place, wants_cost=False), number)
            for one in both
        ]
        began = time.perf_counter()
        duet = Duet(Sides(sides[0], sides[1]), Bounds(None, 1e6), lambda _: None, time.perf_counter)
        (verdict,) = duet.run().tests
    runs = [(next(iter(p.base.runs.values())), next(iter(p.head.runs.values()))) for p in duet.made]
    return {
        "factor": factor,
        "loaded": is_loaded,
        "outcome": verdict.outcome.value,
        "sentence": verdict.sentence,
        "seconds": time.perf_counter() - began,
        "log_ratios": [math.log(head.median / base.median) for base, head in runs],
        "mean_log_ratios": [math.log(mean(head) / mean(base)) for base, head in runs],
    }


def mean(run: Run) -> float:
    """Return the mean of the latencies of *run*."""
    return statistics.fmean(run.latencies)


def summary(found: list[dict[str, Any]]) -> tuple[str, bool]:
    """Return the table of all duets, and whether they reach what they must."""
    rows, is_reached = [], True
    for factor in (1.0, SLOWER):
        for is_loaded in (None, False, True):
            some = [
                one
                for one in found
                if one["factor"] == factor and is_loaded in {None, one["loaded"]}
            ]
            if some:
                rows.append(row(some, factor, is_loaded))
        red = [one["outcome"] == "regressed" for one in found if one["factor"] == factor]
        share = sum(red) / len(red) if red else None
        if share is not None:
            is_reached &= share >= CAUGHT if factor > 1 else share <= RED
    headers = ("head", "other core", "duets", "red", "at most", "undecided", "pairs",
               "sd of a pair", "mean:5% of a run, red", "seconds")  # fmt: skip
    return tabulate(rows, headers, disable_numparse=True), is_reached


def row(some: list[dict[str, Any]], factor: float, is_loaded: bool | None) -> tuple[str, ...]:
    """Return a row of the table about *some* duets."""
    outcomes = [one["outcome"] for one in some]
    red = outcomes.count("regressed")
    # Each pair is a run and an earlier one, as the peer compares them.
    peer = [ratio > math.log(PEER) for one in some for ratio in one["mean_log_ratios"]]
    noise = statistics.fmean(statistics.variance(one["log_ratios"]) for one in some)
    return (
        "the same" if factor == 1 else f"+{factor - 1:.0%}",
        {None: "all", True: "loaded", False: "left alone"}[is_loaded],
        f"{len(some)}",
        f"{red}",
        f"{highest_share(red, len(some)):.0%}",
        f"{outcomes.count('undecided')}",
        f"{statistics.fmean(len(one['log_ratios']) for one in some):.1f}",
        f"{math.sqrt(noise):.1%}",
        f"{sum(peer)} of {len(peer)} ({sum(peer) / len(peer):.0%})",
        f"{statistics.fmean(one['seconds'] for one in some):.0f}",
    )


def main() -> int:
    """Make the duets that are asked for; return 1 where all of them miss what they must reach."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--duets", metavar="N", type=int, default=40, help="of the same code")
    parser.add_argument("--slower", metavar="N", type=int, default=20, help="with +10 % at head")
    parser.add_argument("--output", metavar="FILE", type=Path, default=Path("gate-duets.json"))
    options = parser.parse_args()
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    file: Path = options.output
    found = json.loads(file.read_text()) if file.exists() else []
    factors = [1.0] * options.duets + [SLOWER] * options.slower
    for done, factor in enumerate(factors, 1):
        number = sum(one["factor"] == factor for one in found)
        one = make_duet(len(found), factor, is_loaded=bool(number % 2))
        found.append(one)
        file.write_text(json.dumps(found, indent=1))
        print(f"{done} of {len(factors)}: {one['outcome']}: {one['sentence']}", flush=True)
    table, is_reached = summary(found)
    print(table)
    return int(not is_reached)


if __name__ == "__main__":
    raise SystemExit(main())
