"""Series: how a level went over the calls of a test, in few points that keep its extremes."""

from typing import Final, NamedTuple

__all__ = ["Curve", "Point", "Series"]

_MOST: Final = 500
_LEAST: Final = 8  # a first and a last point, and what lies between


class Point(NamedTuple):
    """A value at a moment."""

    at: float
    """Which call, or how many seconds from the beginning."""
    value: float


class Curve(NamedTuple):
    """How a level went.

    Attributes:
        axis: What it went over, ``"calls"`` or ``"seconds"``.
        unit: Of its values, as in ``"B"``.
        points: In their order.
    """

    axis: str
    unit: str
    points: tuple[Point, ...]


class Series:
    """Points in their order, of which few are kept however many are added.

    Equal stretches of added points are kept as their lowest and their highest; when there are too
    many stretches, each two become one. So a spike of one call is seen after a million.

    Args:
        most: How many points to keep, 8 at least.

    Attributes:
        count: How many points were added.
    """

    __slots__ = ("_first", "_last", "_open", "_per_stretch", "_room", "_stretches", "count")

    def __init__(self, most: int = _MOST) -> None:
        if most < _LEAST:
            raise ValueError(f"most={most}: expected {_LEAST} points or more")
        # Two points for each stretch, besides the first and the last of all; even, to be halved.
        self._room = (most - 2) // 4 * 2
        self._stretches: list[tuple[Point, ...]] = []
        self._per_stretch = 1
        self._open: tuple[Point, ...] = ()
        self._first: Point | None = None
        self._last: Point | None = None
        self.count = 0

    @property
    def points(self) -> tuple[Point, ...]:
        """The points that are kept, in their order; the first and the last are among them."""
        kept = [point for stretch in (*self._stretches, self._open) for point in stretch]
        return tuple(dict.fromkeys(filter(None, (self._first, *kept, self._last))))

    def add(self, at: float, value: float) -> None:
        """Add a point, later than all before."""
        self._last = Point(at, value)
        self._first = self._first or self._last
        self._open = _extremes((*self._open, self._last))
        self.count += 1
        if self.count % self._per_stretch == 0:
            self._stretches.append(self._open)
            self._open = ()
        if len(self._stretches) == self._room:
            self._halve()

    def _halve(self) -> None:
        """Make two stretches one."""
        pairs = zip(self._stretches[::2], self._stretches[1::2], strict=True)
        self._stretches = [_extremes(first + second) for first, second in pairs]
        self._per_stretch *= 2


def _extremes(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """Return the lowest and the highest of *points*, in their order."""
    low = min(points, key=_value)
    high = max(points, key=_value)
    return (low,) if low is high else (min(low, high), max(low, high))


def _value(point: Point) -> float:
    return point.value
