"""Figures of levels over time or over calls: memory, load, and what a system does meanwhile."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pytest_agentperf.core.series import Series
from pytest_agentperf.core.units import Unit
from pytest_agentperf.report.page.markup import figure, quantity
from pytest_agentperf.report.record import CurveRecord
from pytest_agentperf.report.svg import Lane, Shape, lanes

__all__ = ["level_figures", "slope"]

_UNITS: Final[Mapping[str, Unit]] = {
    "B": Unit.BYTES,
    "B/s": Unit.BYTES,
    "s": Unit.SECONDS,
    "/s": Unit.RATE,
    "share": Unit.SHARE,
    "%": Unit.SHARE,
    "$": Unit.DOLLARS,
}
_BAND: Final = ("p50 latency", "p95 latency", "p99 latency")
_LOAD: Final = frozenset({*_BAND, "throughput", "in flight", "error rate"})
_KINDS: Final = ("line", "now", "base")
_LEAST: Final = 2
_MOST: Final = 200
_FEW: Final = 4
_LOW: Final = 40.0  # pixels of a lane where there are more


def level_figures(curves: Mapping[str, CurveRecord]) -> Iterator[str]:
    """Yield the figures of *curves*, those of one axis as lanes of one figure, a load apart."""
    groups: dict[tuple[str, bool], dict[str, CurveRecord]] = {}
    for name, curve in curves.items():
        if len(curve.points) >= _LEAST:
            groups.setdefault((curve.axis, name in _LOAD), {})[name] = curve
    for (axis, is_load), group in groups.items():
        unit = Unit.SECONDS if axis == "seconds" else None
        found = [*_lanes(group)]
        if not found:
            continue
        height = {"height": _LOW} if len(found) > _FEW else {}
        drawing = lanes(f"{', '.join(group)} over {axis}"[:300], unit, found, **height)
        yield figure("Load" if is_load else _title(group), f"over {axis}", drawing)


def _title(curves: Mapping[str, CurveRecord]) -> str:
    return "Memory" if all(curve.unit == "B" for curve in curves.values()) else "Process"


def _lanes(curves: Mapping[str, CurveRecord]) -> Iterator[Lane]:
    band = {name: curves[name] for name in _BAND if name in curves}
    if len(band) > 1:
        yield _band(band)
    lines: dict[str, list[CurveRecord]] = {}
    for name, curve in curves.items():
        is_told = name in _LOAD or any(value for _, value in curve.points)
        if is_told and (len(band) <= 1 or name not in band):
            lines.setdefault(name.partition(" (worker ")[0], []).append(curve)
    for name, found in lines.items():
        first = found[0]
        title = f"{name[:60]} a second" if first.unit == "B/s" else name[:60]
        shapes = [Shape("line", title, *_columns(curve)) for curve in found]
        note = _note(first) if len(found) == 1 else f"{len(found)} workers"
        yield Lane(title, _UNITS.get(first.unit), shapes, note)


def _band(curves: Mapping[str, CurveRecord]) -> Lane:
    """Return percentiles over time as one lane: an area between the lowest and the highest."""
    columns = [_columns(curve) for curve in curves.values()]
    (xs, lows), (last, highs) = columns[0], columns[-1]
    area = [Shape("band", "between them", xs, highs, lows)] if xs == last else []
    lines = [
        Shape(kind, name, *column)
        for kind, name, column in zip(_KINDS, curves, columns, strict=False)
    ]
    names = ", ".join(name.removesuffix(" latency") for name in curves)
    return Lane("latency", Unit.SECONDS, [*area, *lines], names)


def _columns(curve: CurveRecord) -> tuple[list[float], list[float]]:
    """Return the points of *curve* as places and heights: few, with the extremes."""
    points = curve.points
    if len(points) > _MOST:
        series = Series(_MOST)
        for at, value in points:
            series.add(at, value)
        points = series.points
    return [point[0] for point in points], [point[1] for point in points]


def _note(curve: CurveRecord) -> str:
    """Return how much a size changes for each step of its axis."""
    if curve.unit != "B":
        return ""
    change = slope(curve.points)
    if not math.isfinite(change):
        return ""
    per = curve.axis.removesuffix("s")
    sign = "+" if change > 0 else "" if change else "±"
    return f"{sign}{quantity(change, Unit.BYTES)} per {per}"


def slope(points: Sequence[Sequence[float]]) -> float:
    """Return the slope of *points* by least squares; 0 where they are all at one place."""
    count = len(points)
    middle_x = sum(x for x, _ in points) / count
    middle_y = sum(y for _, y in points) / count
    spread = sum((x - middle_x) * (x - middle_x) for x, _ in points)
    if not spread:
        return 0.0
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread
