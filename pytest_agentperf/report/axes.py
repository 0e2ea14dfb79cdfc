"""Axes: from values to places on a drawing, with ticks at round numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Axis", "fit_axis", "tight_axis"]

_LOG_FROM: Final = 12.0
_LARGEST: Final = 1e100  # beyond, and beyond its inverse, differences and ratios overflow
_FLAT: Final = 1e-9
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale from values to places.

    Attributes:
        low: The value at `start`.
        high: The value at `end`, above `low`.
        start: A place, in pixels.
        end: Another.
        is_log: Whether equal ratios are equally far apart; then `low` is above 0.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def place(self, value: float) -> float:
        """Return where *value* is; what lies beyond an end is at that end."""
        inside = min(max(value, self.low), self.high)
        if self.is_log:
            share = math.log(inside / self.low) / math.log(self.high / self.low)
        else:
            share = (inside - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def places(self, values: Sequence[float], scale: int) -> list[int]:
        """Return where *values* are, in whole parts of a pixel, *scale* of them in each."""
        low, high, start = self.low, self.high, scale * self.start
        if min(values) < low or max(values) > high:
            values = [min(max(value, low), high) for value in values]
        length = scale * (self.end - self.start)
        if self.is_log:
            factor, log = length / math.log(high / low), math.log
            return [round(start + factor * log(value / low)) for value in values]
        factor = length / (high - low)
        return [round(start + factor * (value - low)) for value in values]

    def ticks(self, most: int = 5) -> list[float]:
        """Return round values between the ends, ascending."""
        if self.is_log:
            return _log_ticks(self.low, self.high, most)
        step = _step((self.high - self.low) / most)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def tight_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """Return an axis from the lowest to the highest of *values*, of which there must be one."""
    low, high = (min(max(end, -_LARGEST), _LARGEST) for end in (min(values), max(values)))
    size = max(abs(low), abs(high))
    if size < 1 / _LARGEST:
        return Axis(0.0, 1.0, start, end)
    if high - low < _FLAT * size:
        low, high = low - size / 2, high + size / 2
    return Axis(low, high, start, end)


def fit_axis(
    values: Sequence[float], start: float, end: float, *, from_zero: bool = True, logs: bool = False
) -> Axis:
    """Return an axis with room around all *values*.

    Args:
        values: One at least.
        start: Where it begins, in pixels.
        end: Where it ends.
        from_zero: Whether 0 is on it.
        logs: Whether it may be logarithmic, as it is where the values span more than a decade.
    """
    axis = tight_axis([0.0, *values] if from_zero else values, start, end)
    low, high = tight_axis(values, start, end).low, axis.high
    if logs and low > 1 / _LARGEST and high / low > _LOG_FROM:
        return Axis(low / 1.1, high * 1.1, start, end, is_log=True)
    pad = 0.04 * (axis.high - axis.low)
    return Axis(axis.low and axis.low - pad, axis.high + pad, start, end)


def _step(least: float) -> float:
    """Return the smallest round number that is not below *least*."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in _STEPS if step * power >= least * (1 - 1e-9))


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        found = [digit * 10.0**decade for decade in decades for digit in digits]
        inside = [tick for tick in found if low <= tick <= high]
        if len(inside) <= most + 1:
            return inside
    return inside[:: math.ceil(len(inside) / most)]
