"""Sparklines: how numbers go, in a few characters."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

__all__ = ["can_show", "sparkline"]

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_ASCII: Final = "_.:-=+*#"


def can_show(encoding: str | None) -> bool:
    """Return whether *encoding* has the characters of sparklines; if not, they are of ASCII."""
    try:
        _BLOCKS.encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def sparkline(
    values: Sequence[float],
    width: int = 8,
    low: float | None = None,
    high: float | None = None,
    *,
    is_unicode: bool = True,
) -> str:
    """Return *values*, in their order, as characters of rising height.

    Args:
        values: Numbers of zero or more.
        width: The most characters; of more values each character shows the highest of a stretch.
        low: What has no height at all; the lowest value where it is left out.
        high: What has the full height, as all above it has; the highest value where it is left out.
        is_unicode: Whether to use block characters.
    """
    if not values:
        return ""
    count = min(width, len(values))
    edges = [place * len(values) // count for place in range(count + 1)]
    peaks = [max(values[start:end]) for start, end in pairwise(edges)]
    ramp = _BLOCKS if is_unicode else _ASCII
    least = min(peaks) if low is None else low
    most = max(peaks) if high is None else high
    if most <= least:
        return ramp[0] * count
    heights = ((min(max(peak, least), most) - least) / (most - least) for peak in peaks)
    return "".join(ramp[min(int(height * len(ramp)), len(ramp) - 1)] for height in heights)
