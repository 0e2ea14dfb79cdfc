"""Units: where text becomes a number and a number becomes text.

    quantity ::= ["$"] number [unit]        blanks around the parts are ignored
    number   ::= digits ["." digits] ["e" ["-"] digits]

Inside the program durations are seconds, sizes bytes, shares fractions of one.
"""

import enum
import functools
import math
import re
from collections.abc import Mapping
from typing import Final

from pytest_agentperf.core.errors import UnitError

__all__ = ["Unit", "format_beside", "format_exact", "format_quantity", "parse_quantity"]


class Unit(enum.Enum):
    """What a number counts; the value is what an error message calls it."""

    SECONDS = "time"
    BYTES = "size"
    COUNT = "count"
    SHARE = "share"
    RATE = "rate"
    DOLLARS = "amount of money"
    FACTOR = "factor"

    @property
    def symbol(self) -> str:
        """The symbol of the base unit, as in `s`; empty for plain numbers."""
        return _SYMBOLS.get(self, "")


_SYMBOLS: Final = {Unit.SECONDS: "s", Unit.BYTES: "B", Unit.RATE: "/s", Unit.DOLLARS: "$"}

_TIMES: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_THOUSANDS: Final = {"": 1.0, "k": 1e3, "M": 1e6}

_FACTORS: Final[Mapping[Unit, Mapping[str, float]]] = {
    # A bare number is seconds, as in `asyncio.timeout`.
    Unit.SECONDS: {"": 1.0, **_TIMES},
    Unit.BYTES: {
        "B": 1.0,
        "kB": 1e3,
        "MB": 1e6,
        "GB": 1e9,
        "KiB": 2.0**10,
        "MiB": 2.0**20,
        "GiB": 2.0**30,
    },
    Unit.COUNT: _THOUSANDS,
    Unit.SHARE: {"": 1.0, "%": 0.01},
    Unit.RATE: {"": 1.0, "/s": 1.0, "k/s": 1e3, "M/s": 1e6},
    Unit.DOLLARS: {"": 1.0},
    Unit.FACTOR: {"": 1.0, "x": 1.0},
}

_QUANTITY: Final = re.compile(r"\s*(\$?)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S*)\s*")


def parse_quantity(value: object, unit: Unit) -> float:
    """Return *value* as a number in the base unit of *unit*.

    Args:
        value: A number, or text such as ``"200ms"``, ``"1.5k"``, ``"20MB"``, ``"90 %"``,
            ``"50/s"`` or ``"$0.02"``. A bare number is seconds for a time and plain for a count;
            a size needs its unit.
        unit: What the number shall count.

    Returns:
        Seconds, bytes, a plain count, a fraction of one, calls per second or dollars; zero or more.

    Raises:
        UnitError: *value* is no such quantity, or is negative, infinite or not a number.
    """
    number, symbol = _split(value, unit)
    if symbol not in _FACTORS[unit]:
        raise UnitError(f"{value!r}: {_wrong_unit(symbol, unit)}")
    # Division keeps 5 % at 0.05 and 200 ms at 0.2; a product with 0.01 or 1e-3 would not.
    factor = _FACTORS[unit][symbol]
    result = number * factor if factor >= 1 else number / round(1 / factor)
    if not math.isfinite(result) or result < 0:
        raise UnitError(f"{value!r}: expected a finite {unit.value} of zero or more")
    return result


def _split(value: object, unit: Unit) -> tuple[float, str]:
    """Return the number of *value* and the symbol behind it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value), ""
        except OverflowError:
            return math.inf, ""
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or (match[1] and unit is not Unit.DOLLARS):
        article = "an" if unit is Unit.DOLLARS else "a"
        raise UnitError(f"{value!r}: expected {article} {unit.value} such as {_EXAMPLES[unit]}")
    return float(match[2]), match[3]


_EXAMPLES: Final[Mapping[Unit, str]] = {
    Unit.SECONDS: "'200ms' or '1.5 s'",
    Unit.BYTES: "'20MB' or '512 KiB'",
    Unit.COUNT: "1500 or '1.5k'",
    Unit.SHARE: "'1 %' or 0.01",
    Unit.RATE: "'50/s' or 50",
    Unit.DOLLARS: "'$0.02' or 0.02",
    Unit.FACTOR: "1.5",
}


def _wrong_unit(symbol: str, unit: Unit) -> str:
    """Return what is wrong with *symbol* as a unit of *unit*."""
    units = [known for known in _FACTORS[unit] if known]
    if unit is Unit.BYTES and not symbol:
        return "a size needs a unit; expected one of " + ", ".join(units)
    if unit is Unit.SECONDS and symbol == "m":
        return "unknown unit 'm' (minutes or milliseconds?); expected min or ms"
    if not units:
        return f"unknown unit {symbol!r}; expected a bare {unit.value}"
    shown = [known for known in units if known != "µs"]
    return f"unknown unit {symbol!r}; expected one of " + ", ".join(shown)


_SCALES: Final[Mapping[Unit, tuple[tuple[str, float, int], ...]]] = {
    # Symbol, factor, and the least number shown in it: 100 s reads better than 1.67 min.
    Unit.SECONDS: (
        (" h", 3600.0, 2),
        (" min", 60.0, 2),
        (" s", 1.0, 1),
        (" ms", 1e-3, 1),
        (" us", 1e-6, 1),
        (" ns", 1e-9, 0),
    ),
    Unit.BYTES: ((" GB", 1e9, 1), (" MB", 1e6, 1), (" kB", 1e3, 1), (" B", 1.0, 0)),
    Unit.SHARE: ((" %", 0.01, 0),),
    Unit.RATE: (("/s", 1.0, 0),),
}


def format_quantity(value: float, unit: Unit, digits: int = 3) -> str:
    """Return *value* as text that `parse_quantity` reads back.

    Args:
        value: In the base unit of *unit*.
        unit: What *value* counts.
        digits: Significant digits, 1 to 17; digits before the decimal point are never lost.

    Returns:
        For example ``"912 ms"``, ``"1.5 MB"``, ``"1500"``, ``"95 %"``, ``"50/s"`` or ``"$0.02"``.
    """
    if value < 0:  # only a change can be negative, never a limit
        return "-" + format_quantity(-value, unit, digits)
    if unit is Unit.DOLLARS:
        return f"${_number(value, digits)}"
    if unit is Unit.SECONDS and value == 0:
        return "0 s"
    for symbol, factor, least in _SCALES.get(unit, (("", 1.0, 0),)):
        # One operation with a whole number: `0.2 / 1e-3` is not 200.
        scaled = value * round(1 / factor) if factor < 1 else value / factor
        if float(f"{scaled:.{digits}g}") >= least:
            return f"{_number(scaled, digits)}{symbol}"
    return _number(value, digits)


def format_exact(value: float, unit: Unit) -> str:
    """Return *value* with the fewest digits that read back as the same number, 17 at most."""
    texts = (format_quantity(value, unit, digits) for digits in range(1, 17))
    exact = (text for text in texts if parse_quantity(text, unit) == value)
    return next(exact, format_quantity(value, unit, 17))


@functools.lru_cache(maxsize=256)  # most tests of one budget find the same: nothing
def format_beside(value: float, bound: float, unit: Unit) -> tuple[str, str]:
    """Return *value* and *bound* as text, with digits enough to see which is the greater."""
    for digits in (3, 4, 6, 9, 17):
        texts = format_quantity(value, unit, digits), format_quantity(bound, unit, max(digits, 6))
        first, second = (parse_quantity(text, unit) for text in texts)
        if (first > second, first < second) == (value > bound, value < bound):
            break
    return texts


def _number(value: float, digits: int) -> str:
    """Return *value* with *digits* significant digits, without an exponent or trailing zeros."""
    if value == 0:
        return "0"
    places = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
