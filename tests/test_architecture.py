"""Tests of who imports whom: a folder says what a module may know."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_agentperf

ROOT = Path(pytest_agentperf.__file__).parent
PACKAGE = ROOT.name
STANDARD = sys.stdlib_module_names
# What each folder may import besides the standard library.
ALLOWED = {
    "core": {"core"},
    "measure": {
        "core",
        "measure",
        "psutil",
        "pympler",
        "cloudpickle",
        "genai_prices",
        "memray",
        "pyinstrument",
    },
    "judge": {"core", "judge"},
    "report": {"core", "judge", "report", "tabulate"},
    "gate": {
        *("core", "judge", "report", "gate", "pytest", "psutil"),
        *("announce", "body", "budgets", "options", "session"),
    },
    "integrations": {"core", "integrations"},
    "reference": {"reference"},
    "conformance": {"conformance", "core", "pytest", "hypothesis"},
}
HEAVY = {
    "psutil", "pympler", "hypothesis", "tabulate", "tomllib", "fractions", "difflib", "asyncio",
}  # fmt: skip


def imported(tree: ast.AST, *, everywhere: bool = True) -> set[str]:
    """Return the modules that *tree* imports; those of this package by their folder or name."""
    nodes = list(ast.walk(tree)) if everywhere else list(ast.iter_child_nodes(tree))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide the folder"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    tops = [name.removeprefix(f"{PACKAGE}.").split(".")[0] for name in names]
    return {top for top in tops if top not in STANDARD}


def folder_imports(folder: str) -> set[str]:
    """Return what the modules of *folder* import, also in functions and for type checkers."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    return set().union(*(imported(ast.parse(path.read_text("utf-8"))) for path in paths))


@pytest.mark.parametrize("folder", ALLOWED)
def test_folder_imports_what_it_may_know_alone(folder: str) -> None:
    found = folder_imports(folder)
    assert found <= ALLOWED[folder]


def test_reference_components_can_each_be_copied_alone() -> None:
    for path in (ROOT / "reference").glob("*.py"):
        found = imported(ast.parse(path.read_text("utf-8")))
        assert found <= ({"reference"} if path.name == "tiers.py" else set()), path.name


def test_folders_are_all_known() -> None:
    found = {path.parent.name for path in ROOT.glob("*/*.py")}
    assert found == set(ALLOWED)


def test_folders_import_each_other_in_one_direction() -> None:
    order = ("core", "measure", "judge", "report")
    for place, folder in enumerate(order):
        assert not folder_imports(folder) & {*order[place + 1 :]}
    assert all("integrations" not in folder_imports(folder) for folder in order)


def test_root_of_the_package_imports_no_pytest() -> None:
    assert imported(ast.parse((ROOT / "__init__.py").read_text("utf-8")), everywhere=False) == set()


def test_import_scan_sees_what_it_must_refuse() -> None:
    tree = ast.parse(
        "import os, psutil\nfrom pytest_agentperf.judge.x import y\n"
        "def f():\n    import pytest\nfrom pytest_agentperf import report"
    )
    assert imported(tree) == {"psutil", "judge", "pytest", "report"}
    assert imported(tree, everywhere=False) == {"psutil", "judge", "report"}


def test_entry_point_loads_nothing_heavy() -> None:
    program = (
        "import sys, pytest\nbefore = set(sys.modules)\nimport pytest_agentperf.plugin\n"
        "print(*set(sys.modules) - before)"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(out.stdout.split())
    assert f"{PACKAGE}.plugin" in loaded
    assert not {name.split(".")[0] for name in loaded} & HEAVY
    assert all("_agentperf" in name or name.split(".")[0] in STANDARD for name in loaded)
