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
        workers: Workers of xdist that share the machine; 0 without xdist.
        options: What else changes what is measured, such as the name of a profiler.
    """
    parts = [*_machine(), _event_loop(), f"{workers} xdist workers", *sorted(options)]
    return "; ".join(parts)


@functools.cache
def _machine() -> tuple[str, ...]:
    return (
        f"{_cpu_model()} × {os.cpu_count() or 1}",
        f"{platform.system()} {platform.machine()}",
        sys.implementation.cache_tag or platform.python_version(),
    )


def _cpu_model() -> str:
    """Return the name of the CPU, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _event_loop() -> str:
    """Return the package that event loops come from."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # policies end with Python 3.16
        return type(asyncio.get_event_loop_policy()).__module__.partition(".")[0]


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
    except (OSError, TypeError, SyntaxError):  # a builtin, no code at all, half an expression
        return ""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.decorator_list = [one for one in node.decorator_list if not _is_budget(one)]
    return ast.dump(tree)


def _is_budget(decorator: ast.expr) -> bool:
    """Return whether *decorator* is a marker of this plugin, which measures and is not measured."""
    named = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(named, ast.Attribute) and named.attr in _BUDGETS
