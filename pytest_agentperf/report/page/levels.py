"""Figures of levels over time or over calls: memory, load, and what a system does meanwhile."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pytest_agentperf.core.units import Unit
from pytest_agentperf.report.page.markup import figure, quantity
from pytest_agentperf.report.record import CurveRecord
from pytest_agentperf.report.svg import Lane, Shape, lanes

__all__ = ["level_figures", "slope"]

_UNITS: Final[Mapping[str, Unit]] = {
    "B": Unit.BYTES,
    "s": Unit.SECONDS,
    "/s": Unit.RATE,
    "%": Unit.SHARE,
    "$": Unit.DOLLARS,
}
_BAND: Final = ("p50 latency", "p95 latency", "p99 latency")
_KINDS: Final = ("line", "now", "base")
_LEAST: Final = 2


def level_figures(curves: Mapping[str, CurveRecord]) -> Iterator[str]:
    """Yield a figure for each axis that *curves* have, with a lane for each curve."""
    drawn = {name: curve for name, curve in curves.items() if len(curve.points) >= _LEAST}
    for axis in dict.fromkeys(curve.axis for curve in drawn.values()):
        group = {name: curve for name, curve in drawn.items() if curve.axis == axis}
        unit = Unit.SECONDS if axis == "seconds" else None
        label = f"{', '.join(group)} over {axis}"[:300]
        drawing = lanes(label, unit, [*_lanes(group)])
        yield figure(_title(group), f"over {axis}", drawing)


def _title(curves: Mapping[str, CurveRecord]) -> str:
    if "throughput" in curves:
        return "Load"
    return "Memory" if all(curve.unit == "B" for curve in curves.values()) else "Levels"


def _lanes(curves: Mapping[str, CurveRecord]) -> Iterator[Lane]:
    band = {name: curves[name] for name in _BAND if name in curves}
    if len(band) > 1:
        yield _band(band)
    for name, curve in curves.items():
        if len(band) <= 1 or name not in band:
            shape = Shape("line", name[:60], *_columns(curve))
            yield Lane(name[:60], _UNITS.get(curve.unit), [shape], _note(curve))


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
    return [point[0] for point in curve.points], [point[1] for point in curve.points]


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
