"""Drawings as SVG text: pure functions of numbers, in few bytes.

Lines are drawn in whole quarters of a pixel. Colours are classes, to which the style sheet of the
page gives values for light and dark.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Final

from pytest_agentperf.core.units import Unit
from pytest_agentperf.report.axes import Axis, fit_axis, tight_axis
from pytest_agentperf.report.page.markup import quantity, text

__all__ = ["Lane", "Mark", "Shape", "bar", "ecdf", "lanes", "path", "sparkline", "strip", "svg"]

_WIDTH: Final = 520
_LEFT: Final = 40
_RIGHT: Final = 510
_LABEL: Final = 14  # the height of a limit's label
_FINE: Final = 4
_WIDE: Final = 0.4  # the smallest of the largest value, below which 0 is drawn
_DOTS: Final = 40  # values up to this number are drawn one by one


@dataclass(frozen=True, slots=True)
class Shape:
    """A line of a drawing, or an area.

    Attributes:
        kind: Its class: ``"now"``, ``"base"``, ``"line"`` or ``"band"``.
        title: What it is called.
        xs: Where its points are, ascending.
        ys: Their heights.
        lows: The lower edge of an area; empty for a line.
    """

    kind: str
    title: str
    xs: Sequence[float]
    ys: Sequence[float]
    lows: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """A limit in a drawing of a distribution.

    Attributes:
        label: What it says.
        limit: Where it is.
        status: What the verdict was.
        value: What was measured; None where that is not known.
        share: The share of the values below it that the limit is about, in [0, 1].
    """

    label: str
    limit: float
    status: str
    value: float | None
    share: float


def svg(width: float, height: float, label: str, body: Iterable[str], kind: str = "") -> str:
    """Return a drawing that fills its container up to its own size.

    Args:
        width: In pixels.
        height: In pixels.
        label: What it shows, for those who do not see it.
        body: Its elements.
        kind: Its class.
    """
    classes = f' class="{kind}"' if kind else ""
    return (
        f'<svg{classes} viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
        f' role="img" aria-label="{text(label)}">{"".join(body)}</svg>'
    )


def path(xs: Sequence[int], ys: Sequence[int]) -> str:
    """Return the data of a path through points in whole numbers; equal neighbours are one."""
    moves: list[str] = []
    last_x, last_y = xs[0], ys[0]
    for x, y in zip(xs, ys, strict=True):
        if x != last_x or y != last_y:
            moves.append(f"{x - last_x} {y - last_y}")
            last_x, last_y = x, y
    return f"M{xs[0]} {ys[0]}" + ("l" + " ".join(moves).replace(" -", "-") if moves else "h0")


def _drawn(shape: Shape, across: Axis, up: Axis) -> str:
    xs = across.places(shape.xs, _FINE)
    data = path(xs, up.places(shape.ys, _FINE))
    if shape.lows:
        data += f"L{path(xs[::-1], up.places(shape.lows, _FINE)[::-1])[1:]}Z"
    elif len(xs) <= _DOTS and shape.kind != "base":
        data += "".join(f"M{x} {y}h0" for x, y in zip(xs, up.places(shape.ys, _FINE), strict=True))
    return f'<path class="{shape.kind}" d="{data}"><title>{text(shape.title)}</title></path>'


def _scaled(elements: Iterable[str]) -> str:
    return f'<g transform="scale(.25)">{"".join(elements)}</g>'


def _across(axis: Axis, unit: Unit | None, top: float, bottom: float, most: int = 6) -> str:
    """Return the grid and the labels of a horizontal axis."""
    ticks = [(axis.place(tick), tick) for tick in axis.ticks(most)]
    lines = "".join(f"M{x:.0f} {top:g}V{bottom:g}" for x, _ in ticks)
    labels = "".join(
        f'<text x="{x:.0f}" y="{bottom + 15:g}" text-anchor="middle">{_tick(tick, unit)}</text>'
        for x, tick in ticks
    )
    return f'<path class="grid" d="{lines}"/>{labels}'


def _tick(value: float, unit: Unit | None) -> str:
    return f"{value:g}" if unit is None else quantity(value, unit)


# Distributions


def ecdf(label: str, unit: Unit, shapes: Sequence[Shape], marks: Sequence[Mark] = ()) -> str:
    """Return distributions: for each value the share of the values that are not above it.

    Args:
        label: What it shows.
        unit: Of the values.
        shapes: One at least; `xs` are values and `ys` shares in [0, 1].
        marks: Limits.
    """
    top = 8.0 + _LABEL * len(marks)
    bottom = top + 140.0
    values = [*chain.from_iterable((shape.xs[0], shape.xs[-1]) for shape in shapes)]
    wanted = [*values, *(mark.limit for mark in marks if _is_near(mark.limit, values))]
    is_wide = min(wanted) < _WIDE * max(wanted)
    across = fit_axis(wanted, _LEFT, _RIGHT, from_zero=is_wide, logs=True)
    up = Axis(0.0, 1.0, bottom, top)
    shares = ((up.place(share), share) for share in (0.0, 0.5, 0.95, 1.0))
    grid = "".join(
        f'<path class="grid" d="M{_LEFT} {y:.0f}H{_RIGHT}"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{round(100 * share)} %</text>'
        for y, share in shares
        if share != 1.0
    )
    drawn = _scaled(_drawn(shape, across, up) for shape in shapes)
    limits = "".join(_mark(mark, across, up, _LABEL * nth) for nth, mark in enumerate(marks, 1))
    return svg(
        _WIDTH, bottom + 22, label, (grid, _across(across, unit, top, bottom), limits, drawn)
    )


def _is_near(limit: float, values: Sequence[float]) -> bool:
    """Return whether a drawing that shows *limit* still shows how *values* differ."""
    return limit <= 2 * max(values)


def _mark(mark: Mark, across: Axis, up: Axis, y: float) -> str:
    dot = ""
    if mark.value is not None:
        place, height = across.place(mark.value), up.place(mark.share)
        dot = f'<circle class="{mark.status}" cx="{place:.1f}" cy="{height:.1f}" r="4"/>'
    if mark.limit > across.high:
        return f"{dot}{_limit(_RIGHT, y, f'{mark.label} →', 'end')}"
    x = across.place(mark.limit)
    line = f'<path class="lim {mark.status}" d="M{x:.1f} {y - 9:g}V{up.start:g}"/>'
    is_right = x > (_LEFT + _RIGHT) / 2
    label = _limit(x - 5 if is_right else x + 5, y, mark.label, "end" if is_right else "start")
    return f"{line}{dot}{label}"


def _limit(x: float, y: float, label: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:g}" text-anchor="{anchor}">{text(label)}</text>'


# Levels


@dataclass(frozen=True, slots=True)
class Lane:
    """Levels on one scale, drawn above or below others over the same axis.

    Attributes:
        title: What it is called.
        unit: Of its values; None for plain numbers.
        shapes: One at least.
        note: What else is said of it.
    """

    title: str
    unit: Unit | None
    shapes: Sequence[Shape]
    note: str = ""


def lanes(label: str, unit: Unit | None, found: Sequence[Lane], height: float = 58) -> str:
    """Return levels over one axis, each lane with a scale of its own.

    Args:
        label: What it shows.
        unit: Of the axis; None for plain numbers.
        found: One at least.
        height: Of each lane, in pixels.
    """
    ends = [x for lane in found for shape in lane.shapes for x in (shape.xs[0], shape.xs[-1])]
    across = tight_axis(ends, _LEFT + 14, _RIGHT)
    body, top = [], 16.0
    for lane in found:
        body.append(_lane(lane, across, top, top + height))
        top += height + 22
    bottom = top - 22
    return svg(_WIDTH, bottom + 20, label, (_across(across, unit, 16, bottom), *body))


def _lane(lane: Lane, across: Axis, top: float, bottom: float) -> str:
    values = [y for shape in lane.shapes for y in (*shape.ys, *shape.lows)]
    up = fit_axis(values, bottom, top)
    left = across.start
    ticks = [(up.place(tick), tick) for tick in up.ticks(3)]
    grid = "".join(f"M{left:g} {y:.0f}H{_RIGHT}" for y, _ in ticks)
    labels = "".join(
        f'<text x="{left - 5:g}" y="{y + 4:.0f}" text-anchor="end">{_tick(tick, lane.unit)}</text>'
        for y, tick in ticks
    )
    note = f'<tspan class="lim"> {text(lane.note)}</tspan>' if lane.note else ""
    return (
        f'<path class="grid" d="{grid}"/>{labels}'
        f'<text class="name" x="{left:g}" y="{top - 5:g}">{text(lane.title)}{note}</text>'
        + _scaled(_drawn(shape, across, up) for shape in lane.shapes)
    )


# Small ones


def sparkline(values: Sequence[float], label: str) -> str:
    """Return *values* as a line without axes, from 0."""
    values = values[:: max(len(values) // 40, 1)]
    across = Axis(0, max(len(values) - 1, 1), 1, 79)
    up = fit_axis(values, 17, 2)
    data = path(across.places(range(len(values)), _FINE), up.places(values, _FINE))
    return svg(80, 18, label, (_scaled((f'<path class="now" d="{data}"/>',)),), "spark")


_TICK: Final = 75.0


def bar(
    value: float, limit: float, status: str, interval: tuple[float | None, float | None]
) -> str:
    """Return how *value* stands to *limit*, which is three quarters along the bar.

    Args:
        value: Zero or more.
        limit: Above zero.
        status: The verdict, which is its class.
        interval: Between which the true value lies; None for an end that is not known.
    """

    def place(number: float) -> str:
        return f"{min(_TICK * number / limit, 100):.1f}".removesuffix(".0")

    low, high = interval
    ends = (place(value if low is None else low), "100" if high is None else place(high))
    whisker = f'<path class="ci" d="M{ends[0]} 5H{ends[1]}"/>' if low is not None else ""
    return (
        '<svg class="bar" viewBox="0 0 100 10" aria-hidden="true">'
        f'<rect class="{status}" y="2" width="{place(value)}" height="6"/>{whisker}'
        f'<path class="tick" d="M{_TICK:g} 0V10"/></svg>'
    )


def strip(lookups: str, label: str) -> str:
    """Return the hits and misses of a cache in their order: a hit is tall, a miss is short.

    Args:
        lookups: `H` for each hit, `M` for each miss; one at least.
        label: What it shows.
    """
    runs = [len(list(group)) for _, group in groupby(lookups)]
    first = 0 if lookups.startswith("M") else runs.pop(0)
    dashes = " ".join(map(str, (first, *runs)))
    width = max(len(lookups), 1)
    return (
        f'<svg class="strip" viewBox="0 0 {width} 20" preserveAspectRatio="none" role="img"'
        f' aria-label="{text(label)}"><path class="miss" d="M0 17H{width}"/>'
        f'<path class="hit" d="M0 10H{width}" stroke-dasharray="{dashes}"/></svg>'
    )
