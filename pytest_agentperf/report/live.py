"""The live line: one line on a load that runs, and how it is drawn below what a terminal shows."""

from collections.abc import Iterator
from typing import Final

from pytest_agentperf.core.glance import Glance
from pytest_agentperf.core.units import Unit, format_quantity

__all__ = ["draw", "erase", "glance_line"]

# ESC D goes a line down and scrolls where there is none, ESC 7 and 8 keep and restore the cursor,
# CSI A and B go up and down, CSI 2K empties the line (ECMA-48, and DEC's VT100).
_MAKE_ROOM: Final = "\x1bD\x1b[A"
_BELOW: Final = "\x1b7\x1b[B\r\x1b[2K"
_BACK: Final = "\x1b8"
_ELLIPSIS: Final = "…"


def glance_line(glance: Glance) -> str:
    """Return *glance* in a line."""
    return ", ".join(_parts(glance))


def _parts(glance: Glance) -> Iterator[str]:
    if glance.workers:
        yield "1 worker" if glance.workers == 1 else f"{glance.workers} workers"
    else:
        yield from _numbers(glance)
    yield from _remaining(glance)


def _numbers(glance: Glance) -> Iterator[str]:
    yield format_quantity(glance.rate, Unit.RATE, 2 if glance.rate < 100 else 3)  # noqa: PLR2004
    yield f"{glance.in_flight} in flight"
    for percentile, seconds in sorted(glance.percentiles.items()):
        yield f"p{percentile} {format_quantity(seconds, Unit.SECONDS)}"
    yield _errors(glance)


def _errors(glance: Glance) -> str:
    if not glance.errors:
        return "no errors"
    counted = "1 error" if glance.errors == 1 else f"{glance.errors} errors"
    share = format_quantity(glance.errors / max(glance.calls, 1), Unit.SHARE, 2)
    return f"{counted} ({share})"


def _remaining(glance: Glance) -> Iterator[str]:
    if glance.calls_left is not None:
        yield f"{glance.calls_left} calls left"
    if glance.seconds_left is not None:
        yield f"{format_quantity(max(round(glance.seconds_left), 0), Unit.SECONDS)} left"


def draw(line: str, width: int) -> str:
    """Return what draws *line* below the cursor, which stays where it is.

    So whoever else writes to the terminal writes where they would have without it.

    Args:
        line: Without control characters.
        width: Columns of the terminal; a longer line is cut.
    """
    shown = line if len(line) < width else line[: max(width - 2, 0)] + _ELLIPSIS
    return f"{_MAKE_ROOM}{_BELOW}{shown}{_BACK}"


def erase() -> str:
    """Return what takes the line away that `draw` drew."""
    return f"{_BELOW}{_BACK}"
