"""Markers: what `@pytest.mark.perf_budget` and `@pytest.mark.perf` state about a test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pytest_agentperf.core.effort import Effort, parse_effort
from pytest_agentperf.core.errors import BudgetError
from pytest_agentperf.judge.limits import Layer, Limit, parse_limit

__all__ = ["marker_layers"]


def marker_layers(item: pytest.Item, fail: Callable[[str], None]) -> Iterator[Layer]:
    """Return what the markers of *item* state, the closest last.

    Args:
        item: The test.
        fail: Gets a sentence for each marker that cannot be meant.
    """
    marked = [*item.iter_markers_with_node("perf_budget"), *item.iter_markers_with_node("perf")]
    for node, mark in reversed(marked):
        place = f"marker on {node.nodeid}"
        try:
            if mark.name == "perf":
                yield Layer(effort=_read_effort(mark))
            else:
                yield _read_budget(mark, place)
        except ValueError as error:
            fail(f"{place}: @pytest.mark.{mark.name}: {error}")


def _read_effort(mark: pytest.Mark) -> Effort:
    if mark.args:
        raise BudgetError(f"got {mark.args[0]!r}; expected keywords, as in perf(rounds=20)")
    return parse_effort(mark.kwargs)


def _read_budget(mark: pytest.Mark, place: str) -> Layer:
    """Return what one `perf_budget` marker states."""
    label = _read_label(mark.args)
    if not mark.kwargs:
        raise BudgetError('no limit given; expected some, as in perf_budget(p95="200ms")')
    limits: dict[str, Limit | None] = {}
    for key, value in mark.kwargs.items():
        try:
            name, limit = parse_limit(key, value, place, is_stated=True)
        except ValueError as error:
            raise BudgetError(f"{key}: {error}") from error
        if name in limits:
            raise BudgetError(f"{key}: {name} has a limit in this marker already")
        limits[name] = limit
    return Layer(limits, label)


def _read_label(args: tuple[Any, ...]) -> str | None:
    """Return the label that the positional arguments of a marker name, if they do."""
    match args:
        case ():
            return None
        case (str(label),) if label:
            return label
    shown = ", ".join(map(repr, args))
    raise BudgetError(
        f'got {shown}; expected a label or keywords, as in perf_budget("retrieve", p95="30ms")'
    )
