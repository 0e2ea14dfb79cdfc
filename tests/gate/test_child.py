"""Tests of one side of a pair: what is run, and what comes of a process that cannot measure."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_agentperf.gate import SIDE_VARIABLE
from pytest_agentperf.gate.child import Command, move_text, paths_on_base, run_side
from pytest_agentperf.gate.errors import BrokenGateError
from pytest_agentperf.gate.job import SideReport

TOP, PLACE = Path("/repo"), Path("/place/base")

REPORT = """
import json, os
job = json.load(open(os.environ[{variable!r}]))
seen = {{os.environ["PYTHONHASHSEED"]: os.getcwd()}}
report = {{"runs": {{}}, "planned": {{}}, "unmeasured": seen, "unpriced": [], "foreign": {foreign}}}
json.dump(report, open(job["report"], "w"))
"""


def run(tmp_path: Path, program: str, **options: Any) -> SideReport:
    command = Command("base main", (sys.executable, "-c", program), tmp_path, dict(os.environ))
    known: dict[str, Any] = {"is_probe": False, "only": None, "wants_cost": False}
    return run_side(command, tmp_path, 7, **(known | options))


def report(foreign: tuple[str, ...] = ()) -> str:
    return REPORT.format(variable=SIDE_VARIABLE, foreign=list(foreign))


def test_side_runs_in_its_folder_with_the_seed_of_its_pair(tmp_path: Path) -> None:
    assert run(tmp_path, report()).unmeasured == {"7": str(tmp_path)}


def test_side_is_told_its_job(tmp_path: Path) -> None:
    run(tmp_path, report(), is_probe=True, only=("a", "b"), wants_cost=True)
    job = json.loads((tmp_path / "job.json").read_text())
    assert (job["is_probe"], job["only"], job["wants_cost"]) == (True, ["a", "b"], True)


@pytest.mark.parametrize("status", [0, 1, 5])
def test_failed_tests_and_no_tests_are_a_measurement(tmp_path: Path, status: int) -> None:
    assert run(tmp_path, f"{report()}\nraise SystemExit({status})").runs == {}


@pytest.mark.parametrize("status", [2, 3, 4])
def test_side_that_ends_otherwise_breaks_the_gate_with_what_it_printed(
    tmp_path: Path, status: int
) -> None:
    program = f"{report()}\nprint('\\x1b[31mred')\nimport sys\nsys.exit({status})"
    with pytest.raises(BrokenGateError) as caught:
        run(tmp_path, program)
    first, *printed = str(caught.value).splitlines()
    assert first.endswith(f"base main ended with status {status} instead of measuring; it printed:")
    assert printed == ["  | \\x1b[31mred"]


def test_only_the_end_of_a_long_output_is_shown(tmp_path: Path) -> None:
    with pytest.raises(BrokenGateError) as caught:
        run(tmp_path, "for n in range(100): print(n)\nraise SystemExit(2)")
    assert str(caught.value).splitlines()[1:] == [f"  | {n}" for n in range(60, 100)]


@pytest.mark.parametrize("left", ["", "{", "[]", '{"runs": {"t": {"median": "x"}}}'], ids=repr)
def test_side_without_a_readable_report_breaks_the_gate(tmp_path: Path, left: str) -> None:
    (tmp_path / "report.json").write_text("of an earlier run")
    program = f"if {left!r}: open('report.json', 'w').write({left!r})"
    with pytest.raises(BrokenGateError, match="the base main left no report"):
        run(tmp_path, program)


def test_side_that_imported_the_other_one_breaks_the_gate(tmp_path: Path) -> None:
    with pytest.raises(BrokenGateError) as caught:
        run(tmp_path, report(("/repo/code.py",)))
    assert "imported code of the head (/repo/code.py)" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("/repo", "/place/base"),
        ("/repo/a b.py::t", "/place/base/a b.py::t"),
        ("--conf=/repo/c", "--conf=/place/base/c"),
        ("/repo:/repo/x", "/place/base:/place/base/x"),
        ("/repository", "/repository"),
        ("repo", "repo"),
    ],
)
def test_paths_in_the_tree_are_moved_and_others_are_not(text: str, moved: str) -> None:
    assert move_text(text, TOP, PLACE) == moved


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The folder of a base, which has one of the head's files."""
    (tmp_path / "base" / "sub").mkdir(parents=True)
    (tmp_path / "base" / "sub" / "test_a.py").touch()
    return tmp_path / "base"


def on_base(base: Path, *arguments: str, paths: tuple[str, ...] = ()) -> list[str] | None:
    return paths_on_base(arguments, paths, TOP / "sub", TOP, base)


def test_tests_are_named_by_files_that_the_base_has(base: Path) -> None:
    arguments = ("-x", "test_a.py::test_x[a]", "../sub/test_b.py", "-k", "x or y")
    found = on_base(base, *arguments, paths=(arguments[1], arguments[2]))
    assert found == ["-x", str(base / "sub" / "test_a.py"), "-k", "x or y"]


def test_base_without_any_of_the_files_has_nothing_to_run(base: Path) -> None:
    assert on_base(base, "test_b.py", "-q", paths=("test_b.py",)) is None
    assert on_base(base, "-q") == ["-q"]


def test_expression_that_is_spelled_like_a_path_stays(base: Path) -> None:
    found = on_base(base, ".", "-k", ".", "-m", ".", paths=(".",))
    assert found == [str(base / "sub"), "-k", ".", "-m", "."]
