"""What the plugin costs where it is installed and not used: whole runs of pytest, interleaved.

Each pair runs with and without a plugin in the same environment; CPU time of the child processes
counts. The clean environment, made once for this run, has the same packages but for this plugin.
"""

import os
import resource
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

REPEATS = 15
PACKAGES = ("pytest", "pytest-asyncio", "hypothesis", "psutil", "pympler", "tabulate")
# The peers of these benchmarks would only add their own noise to every run.
QUIET = ("-p", "no:cacheprovider", "-p", "no:codspeed", "-p", "no:async_benchmark")


def cpu_seconds(python: str, folder: Path, *options: str) -> float:
    """Return the CPU time of one run of pytest in *folder*."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [python, "-m", "pytest", "-q", *options],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def project(folder: Path, tests: int) -> Path:
    """Write a project of trivial *tests*."""
    (folder / "test_trivial.py").write_text(
        "\n".join(f"def test_{number}():\n    assert True\n" for number in range(tests))
    )
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    return folder


@pytest.fixture(scope="session")
def clean_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the interpreter of an environment without this plugin."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    pinned = [f"{package}=={version(package)}" for package in PACKAGES]
    subprocess.run([python, "-m", "pip", "install", "-q", *pinned], check=True)
    return python


@pytest.mark.parametrize(("tests", "must_be"), [(1, "<= 1.05"), (1000, "<= 1.02")])
def bench_unused(
    tmp_path: Path,
    clean_python: str,
    record_ratio: Callable[[str, str, float], None],
    tests: int,
    must_be: str,
) -> None:
    folder = project(tmp_path, tests)
    ours: Sequence[str] = (*QUIET, "-p", "no:benchmark")
    cpu_seconds(sys.executable, folder, *ours)
    cpu_seconds(clean_python, folder, "-p", "no:cacheprovider")
    for _ in range(REPEATS if tests == 1 else REPEATS // 2 + 1):
        without = cpu_seconds(sys.executable, folder, *ours, "-p", "no:agentperf")
        with_it = cpu_seconds(sys.executable, folder, *ours)
        again = cpu_seconds(sys.executable, folder, *ours, "-p", "no:agentperf")
        clean = cpu_seconds(clean_python, folder, "-p", "no:cacheprovider")
        peer = cpu_seconds(sys.executable, folder, *QUIET, "-p", "no:agentperf")
        name = f"{tests} test{'s' * (tests > 1)}"
        base = (without + again) / 2
        record_ratio(f"{name}: unused ÷ -p no:agentperf", must_be, with_it / base)
        record_ratio(f"{name}: -p no:agentperf ÷ itself (A/A)", "noise", again / without)
        record_ratio(f"{name}: unused ÷ clean environment", "shown", with_it / clean)
        record_ratio(f"{name}: pytest-benchmark unused ÷ without it", "shown", peer / base)
