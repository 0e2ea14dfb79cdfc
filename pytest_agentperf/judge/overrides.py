"""Overrides: what a command line says of budgets, over what a file says."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_agentperf.core.errors import BudgetError, UnknownNameError
from pytest_agentperf.judge.limits import Layer, Limit, parse_limit

if TYPE_CHECKING:
    from pytest_agentperf.judge.budgetfile import BudgetFile

__all__ = ["choose_environment", "parse_overrides"]


def choose_environment(file: "BudgetFile | None", name: str | None) -> tuple[str | None, bool]:
    """Return the environment in force, and whether `$CI` chose it.

    Args:
        file: The budget file.
        name: What `--perf-env` says.

    Raises:
        BudgetError: There is a name and no file.
        UnknownNameError: The file has no such environment.
    """
    known = file.environments if file else {}
    if name is not None:
        if name not in known:
            if file is None:
                raise BudgetError(f"environment {name!r} without a file; give --perf-budget too")
            raise UnknownNameError(f"environment of {file.name}", name, known)
        return name, False
    if "ci" in known and os.environ.get("CI"):
        return "ci", True
    return None, False


def parse_overrides(limits: Sequence[str], *, is_stated: bool) -> Layer:
    """Return the layer that `--perf-set` states, of *limits* such as ``"p95=1s"``.

    Args:
        limits: As they are written.
        is_stated: See `Limit`.

    Raises:
        BudgetError: One of them cannot be meant.
    """
    parsed: dict[str, Limit | None] = {}
    for text in limits:
        name, equals, value = text.partition("=")
        source = f"--perf-set {text}"
        if not equals:
            raise BudgetError(f"{source}: expected METRIC=LIMIT, as in --perf-set p95=1s")
        try:
            metric, limit = parse_limit(name.strip(), _number(value), source, is_stated=is_stated)
        except ValueError as error:
            raise BudgetError(f"{source}: {error}") from error
        parsed[metric] = limit
    return Layer(parsed, is_over_all=True)


def _number(text: str) -> str | float:
    """Return *text* as a bare number where it is one."""
    try:
        return float(text)
    except ValueError:
        return text.strip()
