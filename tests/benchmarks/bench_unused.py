"""What the plugin costs where it is installed and not used: whole runs of pytest, interleaved.

Each pair runs with and without a plugin in the same environment; CPU time of the child processes
counts. The clean environment has the same packages but for the plugins.
"""

import os
import resource
import subprocess
import venv
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

REPEATS = 15
PACKAGES = ("pytest", "pytest-asyncio", "hypothesis", "psutil", "pympler", "tabulate")
ROOT = Path(__file__).parents[2]


def cpu_seconds(python: str, folder: Path, *options: str) -> float:
    """Return the CPU time of one run of pytest in *folder*."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
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


def environment(folder: Path, *packages: str) -> str:
    """Return the interpreter of a new environment with the packages that the plugin needs."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    pinned = [f"{package}=={version(package)}" for package in PACKAGES]
    subprocess.run([python, "-m", "pip", "install", "-q", *pinned, *packages], check=True)
    return python


@pytest.fixture(scope="session")
def pythons(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Return the interpreters of two environments: without this plugin, and with it and a peer."""
    return (
        environment(tmp_path_factory.mktemp("clean")),
        environment(tmp_path_factory.mktemp("ours"), str(ROOT), "pytest-benchmark"),
    )


@pytest.mark.parametrize(("tests", "must_be"), [(1, "<= 1.05"), (1000, "<= 1.02")])
def bench_unused(
    tmp_path: Path,
    pythons: tuple[str, str],
    record_ratio: Callable[[str, str, float], None],
    tests: int,
    must_be: str,
) -> None:
    folder, (clean_python, python) = project(tmp_path, tests), pythons
    neither = ("-p", "no:benchmark", "-p", "no:agentperf")
    name = f"{tests} test{'s' * (tests > 1)}"
    for repeat in range(-1, REPEATS):
        without = cpu_seconds(python, folder, *neither)
        with_it = cpu_seconds(python, folder, "-p", "no:benchmark")
        again = cpu_seconds(python, folder, *neither)
        peer = cpu_seconds(python, folder, "-p", "no:agentperf")
        clean = cpu_seconds(clean_python, folder)
        if repeat < 0:  # a first turn writes byte code and warms the disk
            continue
        base = (without + again) / 2
        record_ratio(f"{name}: unused ÷ -p no:agentperf", must_be, with_it / base)
        record_ratio(f"{name}: -p no:agentperf ÷ itself (A/A)", "noise", again / without)
        record_ratio(f"{name}: unused ÷ clean environment", "shown", with_it / clean)
        record_ratio(f"{name}: pytest-benchmark unused ÷ without it", "shown", peer / base)
