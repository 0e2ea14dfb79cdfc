"""Print who passes what, as a table of markdown: `python tests/conformance/table.py [README.md]`.

Each suite runs in a process of its own, which may crash. With the path of a file its part between
the markers is replaced. The exit code is 1 if anything failed that is not known to.
"""

import importlib
import inspect
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[2]
MODULES = ("reference", "peer_pools", "peer_caches", "peer_flights", "peer_batchers")
OURS = ("TestPool", "TestCache", "TestBatcher", "TestBreaker", "TestBalancer")
BEGIN, END = "<!-- who passes what -->", "<!-- end of who passes what -->"
HEAD = ("component", "suite", "passed", "failed", "skipped", "what fails")


@dataclass(slots=True)
class Row:
    """What a suite found in a component.

    Attributes:
        known: Names of the tests that failed as expected, by reason.
        unknown: Names of those that were not expected to.
    """

    component: str
    suite: str
    passed: int = 0
    known: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    unknown: list[str] = field(default_factory=list)
    skipped: int = 0
    not_tested: str | None = None

    def add(self, case: ET.Element) -> None:
        """Count one test of a report."""
        name = case.get("name", "").removeprefix("test_").replace("_", " ")
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            self.unknown.append(name)
        elif skipped is None:
            self.passed += 1
        elif skipped.get("type") == "pytest.xfail":
            self.known[skipped.get("message", "")].append(name)
        elif name == "suite":
            self.not_tested = skipped.get("message")
        else:
            self.skipped += 1

    def cells(self) -> tuple[str, ...]:
        """Return its cells as text."""
        if self.not_tested:
            return (self.component, self.suite, "", "", "", f"not tested: {self.not_tested}")
        failed = sum(map(len, self.known.values())) + len(self.unknown)
        reasons = [f"{_linked(why)}: *{'; '.join(tests)}*" for why, tests in self.known.items()]
        if self.unknown:
            reasons.append(f"**not known:** *{'; '.join(self.unknown)}*")
        numbers = map(str, (self.passed, failed, self.skipped))
        return (self.component, self.suite, *numbers, "<br>".join(reasons))


def _linked(text: str) -> str:
    link = r"[\g<0>](https://github.com/\1/issues/\2)"
    return re.sub(r"([\w.-]+/[\w.-]+)#(\d+)", link, text)


def _release(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return package


def suites() -> list[tuple[str, Row]]:
    """Return the node id of each suite, and its empty row."""
    found = []
    for module in MODULES:
        name = f"tests.conformance.test_{module}"
        classes = vars(importlib.import_module(name))
        for title, suite in classes.items():
            package = getattr(suite, "package", None)
            if module == "reference" and title in OURS:
                package = f"**ours**: {title.removeprefix('Test')}"
            if inspect.isclass(suite) and title.startswith("Test") and package:
                node = f"tests/conformance/test_{module}.py::{title}"
                found.append((node, Row(_release(package), _kind(suite))))
    return found


def _kind(suite: type) -> str:
    bases = [base.__name__ for base in suite.__mro__]
    kinds = [base.removesuffix("Conformance").lower() for base in bases if "Conformance" in base]
    return kinds[0] if kinds else "single-flight" if "AsyncFlightTests" in bases else "threads"


def run(node: str, row: Row) -> None:
    """Run one suite and fill its row."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", node]
        ended = subprocess.run(
            [*command, f"--junitxml={report}"],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        if report.exists():
            for case in ET.parse(report).iter("testcase"):  # noqa: S314 - our own
                row.add(case)
        else:
            row.unknown.append(f"the process ended with {ended.returncode}")
    if row.unknown:
        sys.stderr.write(ended.stdout)
    sys.stderr.write(f"{time.monotonic() - began:5.1f} s  {node}\n")


def table(rows: list[Row]) -> str:
    """Return *rows* as markdown."""
    lines = [HEAD, ("---",) * len(HEAD), *(row.cells() for row in rows)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    written = "written by `python tests/conformance/table.py README.md`"
    return f"Python {python_version()}; {written}.\n\n{text}"


def main() -> int:
    """Run all suites."""
    os.environ["AGENTPERF_PEERS"] = "1"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    sys.path.insert(0, str(ROOT))
    found = suites()
    for node, row in found:
        run(node, row)
    text = table([row for _, row in found])
    for path in map(Path, sys.argv[1:]):
        before, rest = path.read_text("utf-8").split(BEGIN)
        path.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", "utf-8")
    sys.stdout.write(text + "\n")
    return int(any(row.unknown for _, row in found))


if __name__ == "__main__":
    sys.exit(main())
