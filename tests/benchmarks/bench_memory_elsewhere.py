"""What tests that do not ask for memory pay where other tests of the session do."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

REPEATS: Final = 9
BUSY: Final = """
import json, time, pytest

MESSAGES = json.dumps([{"role": "user", "content": "x" * 200, "n": n} for n in range(50)])

def answer():
    return [dict(message) for message in json.loads(MESSAGES)]

def test_first%s

def test_busy(perf_timer):
    perf_timer(answer)
    began = time.process_time()
    for _ in range(3000):
        answer()
    print("spent", time.process_time() - began)
"""
PLAIN: Final = "(): [answer() for _ in range(50)]"
METERED: Final = """(perf_memory):
    with perf_memory(types=True) as memory:
        [answer() for _ in range(50)]
    perf_memory.leak(answer).assert_clean()
    perf_memory.collected(lambda: None)
"""


def spent(folder: Path, first: str, *options: str) -> float:
    """Return the processor time of a test that asks for no memory, after a *first* test."""
    (folder / "test_it.py").write_text(BUSY % first)
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", *options]
    shown = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    return float(next(line for line in shown.splitlines() if "spent" in line).split()[-1])


def bench_tests_that_do_not_ask_for_memory(
    tmp_path: Path, record_ratio: Callable[[str, str, float], None]
) -> None:
    has_memray = importlib.util.find_spec("pytest_memray") is not None
    off = ("-p", "no:memray") if has_memray else ()
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for _ in range(REPEATS):
        base, after, again = (spent(tmp_path, first, *off) for first in (PLAIN, METERED, PLAIN))
        record_ratio(
            "a test after one that meters memory ÷ after a plain one", "1.00", after / base
        )
        record_ratio("the same after a plain one, again (A/A)", "noise", again / base)
        if has_memray:
            peer = spent(tmp_path, PLAIN, "--memray")
            record_ratio("the same with pytest-memray ÷ without", "shown", peer / base)
