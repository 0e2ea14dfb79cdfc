"""What must be the same for two runs to be compared: where they ran, and what they ran."""

import ast
import asyncio
import functools
import hashlib
import inspect
import os
import platform
import sys
import textwrap
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["body_hash", "environment_key"]

_BUDGETS: Final = frozenset({"perf", "perf_budget"})
_PLAIN: Final = (str, bytes, int, float, complex, type(None))


def environment_key(workers: int, options: Iterable[str] = ()) -> str:
    """Return where a run happens, in words; runs with another key are not compared with it.

    Args:
        workers: Processes of xdist that run tests side by side; 1 without it.
        options: What else changes how calls are measured.
    """
    beside = f"{workers} worker{'s' * (workers != 1)}"
    return ", ".join(filter(None, (*_machine(), _event_loop(), _tracer(), beside, *options)))


@functools.cache
def _machine() -> tuple[str, ...]:
    return (
        _cpu_model(),
        f"{_cores()} cores",
        f"{platform.system()} {platform.machine()}",
        f"{platform.python_implementation()} {'.'.join(platform.python_version_tuple()[:2])}",
    )


def _cpu_model() -> str:
    """Return the name of the CPU, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2] for line in lines if line.startswith("model name"))
    name = next(models, "") or platform.processor() or platform.machine() or "unknown CPU"
    return " ".join(name.split())


def _cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not everywhere
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _event_loop() -> str:
    """Return the package that event loops come from."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # policies end with Python 3.16
        return type(asyncio.get_event_loop_policy()).__module__.partition(".")[0]


def _tracer() -> str:
    """Return what slows every line of Python down; empty where nothing does."""
    monitoring = getattr(sys, "monitoring", None)
    is_watched = monitoring and monitoring.get_tool(monitoring.COVERAGE_ID)
    return "traced" if sys.gettrace() or is_watched else ""


def body_hash(item: Any) -> str:
    """Return a hash of the source of test *item* and of its plain parameters.

    Layout, comments, and the markers of this plugin do not count: a new budget is no new test. A
    test without source in Python has the hash of its parameters alone.
    """
    function = getattr(item, "obj", None)
    function = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    params: Mapping[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    plain = sorted((name, repr(value)) for name, value in params.items() if _is_plain(value))
    content = f"{_normalised(function)}\n{plain}"
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _is_plain(value: object) -> bool:
    """Return whether the repr of *value* is its content, and no address."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(inner) for key, inner in value.items())
    return type(value) in {*_PLAIN, bool}


def _normalised(function: object) -> str:
    """Return the source of *function* as its syntax tree; empty where there is none."""
    try:
        source = textwrap.dedent(inspect.getsource(function))  # type: ignore[arg-type]
        tree = ast.parse(source)
    except (OSError, TypeError, ValueError, SyntaxError):  # a builtin, no code, half an expression
        return ""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.decorator_list = [one for one in node.decorator_list if not _is_budget(one)]
    return ast.dump(tree)


def _is_budget(decorator: ast.expr) -> bool:
    """Return whether *decorator* is a marker of this plugin, which measures and is not measured."""
    named = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(named, ast.Attribute) and named.attr in _BUDGETS
