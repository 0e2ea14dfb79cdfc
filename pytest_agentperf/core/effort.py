"""Effort: how often a call is made to measure it, and what bounds that."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pytest_agentperf.core.errors import BudgetError, UnknownNameError
from pytest_agentperf.core.units import Unit, parse_quantity

__all__ = ["Effort", "parse_effort"]


class Effort(NamedTuple):
    """What the user states; None is left to the budgets.

    Attributes:
        rounds: Recorded calls, exactly.
        warmup: Calls made first and not recorded.
        max_calls: All calls, those of the warmup included.
        max_time: Seconds after which no further call begins.
        max_tokens: Tokens of all calls together, those of the warmup included.
        max_cost: Dollars of all calls together, likewise.
        rerun: Whether the body of a test may run once more, to be metered and not timed.
    """

    rounds: int | None = None
    warmup: int | None = None
    max_calls: int | None = None
    max_time: float | None = None
    max_tokens: int | None = None
    max_cost: float | None = None
    rerun: bool | None = None

    def updated(self, later: "Effort") -> "Effort":
        """Return this effort with whatever *later* states in its place."""
        both = zip(self, later, strict=True)
        return Effort._make(ours if theirs is None else theirs for ours, theirs in both)


_NAMES: Final = Effort._fields
_UNITS: Final = {"max_time": Unit.SECONDS, "max_tokens": Unit.COUNT, "max_cost": Unit.DOLLARS}


def parse_effort(stated: Mapping[str, object]) -> Effort:
    """Return the effort that *stated* describes: numbers, or text with a unit.

    Raises:
        UnknownNameError: A key is none of `Effort`'s.
        BudgetError: A value cannot be meant.
        UnitError: A text is no such quantity.
    """
    parsed: dict[str, Any] = {}
    for name, value in stated.items():
        if name not in _NAMES:
            raise UnknownNameError("measuring option", name, _NAMES)
        if value is not None:
            parsed[name] = _parse(name, value)
    return Effort(**parsed)


def _parse(name: str, value: object) -> float:
    """Return the number that option *name* is given."""
    if name == "rerun":
        if not isinstance(value, bool):
            raise BudgetError(f"rerun={value!r}: expected true or false")
        return value
    if name in _UNITS:
        number = parse_quantity(value, _UNITS[name])
        return round(number) if name == "max_tokens" else number
    lowest = 0 if name == "warmup" else 1
    if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
        raise BudgetError(f"{name}={value!r}: expected a whole number of {lowest} or more")
    return value
