"""A small project of a user, on which pytest is run: the fixture `project`."""

import json
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, Final

# An inner run forgets what it imported; what is imported here it need not import again.
import anyio._backends._asyncio
import anyio._backends._trio  # noqa: F401
import hypothesis  # noqa: F401
import pytest
import tabulate  # noqa: F401

import pytest_agentperf.integrations.llm_server
import pytest_agentperf.measure.timer
import pytest_agentperf.reporter  # noqa: F401

_GITHUB: Final = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE")
_INI: Final = """\
[pytest]
asyncio_mode = strict
asyncio_default_fixture_loop_scope = function
"""
_HEAD: Final = """\
import asyncio, os, pathlib, time, unittest
import pytest

def nap():
    time.sleep(0.005)

def answer():
    return 42

async def ask(question="q"):
    await asyncio.sleep(0)
    return f"answer to {question}"

"""


class Project:
    """A folder with a `pytest.ini`, a test file `test_it.py` and perhaps a `budgets.toml`.

    The test file begins with a few imports and functions to call: `nap` takes 5 ms or more,
    `answer` and the coroutine function `ask` return at once.

    Attributes:
        path: The folder, which is the current one.
    """

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pytester = pytester
        self.path = pytester.path
        for name in ("CI", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", *_GITHUB):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("COLUMNS", "200")  # nothing is cut
        self.ini("")

    def write(self, name: str, text: str) -> Path:
        """Write *text*, without its indentation, to the file *name*."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def ini(self, lines: str) -> None:
        """Write *lines* into the ini file, below those for pytest-asyncio."""
        self.write("pytest.ini", _INI + textwrap.dedent(lines))

    def tests(self, source: str, name: str = "test_it.py") -> None:
        """Write *source* to a test file."""
        self.write(name, _HEAD + textwrap.dedent(source))

    def line_of(self, text: str, name: str = "test_it.py") -> int:
        """Return the number of the first line of a test file that holds *text*."""
        lines = (self.path / name).read_text(encoding="utf-8").splitlines()
        return next(number for number, line in enumerate(lines, 1) if text in line)

    def budgets(self, text: str) -> str:
        """Write the budget file; return the option that names it."""
        self.write("budgets.toml", "version = 1\n" + textwrap.dedent(text))
        return "--perf-budget=budgets.toml"

    def run(self, *args: str) -> pytest.RunResult:
        """Run pytest in this process."""
        return self._pytester.runpytest_inprocess("-pno:langsmith_plugin", *args)

    def interrupted(self) -> pytest.RunResult:
        """Run pytest in this process, which a KeyboardInterrupt in there must not end."""
        return self._pytester.runpytest_inprocess(
            "-pno:langsmith_plugin", no_reraise_ctrlc=True, syspathinsert=False
        )

    def run_apart(self, *args: str) -> pytest.RunResult:
        """Run pytest in a process of its own."""
        # The plugin of langsmith takes longer to import than all the others.
        return self._pytester.runpytest_subprocess("-pno:langsmith_plugin", *args, timeout=100)

    def run_with_workers(self, *args: str) -> pytest.RunResult:
        """Run pytest with two workers of xdist."""
        return self.run("-n2", *args)

    def junit(self) -> ET.Element:
        """Return the JUnit report `junit.xml`."""
        return ET.parse(self.path / "junit.xml").getroot()  # noqa: S314 -- pytest wrote it

    @property
    def last_run(self) -> Path:
        """The file of the last run."""
        return self.path / ".pytest_cache/d/agentperf/last-run.json"

    def records(self) -> dict[str, dict[str, Any]]:
        """Return the records of the last run, by what stands behind `::` in the node id."""
        tests = json.loads(self.last_run.read_text(encoding="utf-8"))["tests"]
        return {test["nodeid"].partition("::")[2]: test for test in tests}

    def record(self) -> dict[str, Any]:
        """Return the only record of the last run."""
        (record,) = self.records().values()
        return record

    def measurement(self, test: str = "", label: str | None = None) -> dict[str, Any]:
        """Return a measurement of the last run: of its only test where none is named."""
        record = self.records()[test] if test else self.record()
        (found,) = [one for one in record["measurements"] if one["label"] == label]
        return dict(found)

    def calls(self) -> dict[str, list[int]]:
        """Return how many calls the last run recorded, by test, in order of the labels."""
        return {
            name: [one["calls"] for one in record["measurements"]]
            for name, record in self.records().items()
        }

    def statuses(self) -> dict[str, dict[str, str]]:
        """Return the verdicts of the last run: by test, then by metric."""
        return {
            name: {verdict["metric"]: verdict["status"] for verdict in record["verdicts"]}
            for name, record in self.records().items()
        }

    def verdicts(self) -> dict[str, str]:
        """Return the verdicts on the only test of the last run, by metric."""
        (found,) = self.statuses().values()
        return found

    def sentence(self, metric: str, test: str = "") -> str:
        """Return the sentence of the verdict on *metric* in the last run."""
        record = self.records()[test] if test else self.record()
        (found,) = [one["sentence"] for one in record["verdicts"] if one["metric"] == metric]
        return str(found)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(pytester, monkeypatch)


def shown(result: pytest.RunResult) -> str:
    """Return all that *result* printed."""
    return f"{result.stdout.str()}\n{result.stderr.str()}"
