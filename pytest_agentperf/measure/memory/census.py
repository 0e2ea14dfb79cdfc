"""A census: how many objects of each type there are, and what they take, by pympler."""

import gc
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.memory.objects import all_objects

__all__ = ["Census", "CensusTaker", "TypeCount"]

_Counts: TypeAlias = Mapping[str, tuple[int, int]]

_MOST_OBJECTS: Final = 500_000
_TOO_MANY: Final = (
    "types are not counted: there are {:,} objects, and above {:,} it takes more than five seconds"
)
_FAILED: Final = "pympler could not count the objects, one of which raised {}"


@dataclass(frozen=True, slots=True)
class TypeCount:
    """The objects of one type that have come.

    Attributes:
        name: The type, as in ``"dict"`` or ``"agent.Message"``.
        count: How many more there are.
        size: Bytes that they take more, each without what it holds.
    """

    name: str
    count: int
    size: int

    def __str__(self) -> str:
        return f"{self.count:+,} {self.name} ({format_quantity(self.size, Unit.BYTES)})"


@dataclass(frozen=True, slots=True)
class Census:
    """The objects that have come between two censuses, those with the most bytes first.

    Attributes:
        types: One for each type of which there are more, or which take more.
        reason: Why they are unknown; empty where they are known.
    """

    types: tuple[TypeCount, ...] = ()
    reason: str = ""

    def top(self, n: int = 5) -> tuple[TypeCount, ...]:
        """Return the *n* types that take most."""
        return self.types[:n]

    def __str__(self) -> str:
        if self.reason:
            return f"n/a: {self.reason}"
        return ", ".join(str(each) for each in self.top()) or "no more objects than before"


class CensusTaker:
    """Counts the objects when it is made, and later what has come.

    What it holds itself is found by two counts with nothing between them, and subtracted. Three
    counts are made in all, of 0.4 s each for 100,000 objects, each after a collection; beside a
    trace, before it begins and after it ends.

    Args:
        most: The most objects that the garbage collector may know for a count to be made.
    """

    __slots__ = ("_before", "_dry", "_most", "_reason")

    def __init__(self, most: int = _MOST_OBJECTS) -> None:
        self._most = most
        self._reason = ""
        if "pympler.summary" not in sys.modules:
            self._try_count()  # which makes caches,
            gc.collect()  # and brings nested tuples: one collection forgets the inner ones alone
        self._dry = self._try_count()
        self._before = self._try_count()

    def come(self) -> Census:
        """Return the objects that have come since this was made and are still there."""
        now = self._try_count()
        if self._reason:
            return Census(reason=self._reason)
        # Between the first two there came one count, as there did between the second and this.
        noise = _difference(self._before, self._dry)
        come = _difference(_difference(now, self._before), noise)
        found = [TypeCount(name, *counts) for name, counts in come.items()]
        more = [each for each in found if each.size > 0]
        return Census(tuple(sorted(more, key=lambda each: each.size, reverse=True)))

    def _try_count(self) -> _Counts:
        if self._reason:
            return {}
        gc.collect()  # first, as what a module brings is known until then
        objects = all_objects()
        if len(objects) > self._most:
            self._reason = _TOO_MANY.format(len(objects), self._most)
            return {}
        try:
            return _count(objects)
        except Exception as error:  # noqa: BLE001 -- pympler asks each object for class and size
            self._reason = _FAILED.format(f"{type(error).__name__}: {error}")
            return {}


def _count(objects: list[object]) -> _Counts:
    """Return how many *objects* there are, and their bytes, by the name of their type."""
    from pympler import summary

    counts: dict[str, tuple[int, int]] = {}
    for text, count, size in summary.summarize(objects):  # type: ignore[no-untyped-call]
        # Functions and modules have rows of their own, as in `function (ask)`.
        name = text.removeprefix("<class '").removesuffix("'>").partition("(")[0].strip()
        known = counts.get(name, (0, 0))
        counts[name] = known[0] + count, known[1] + size
    return counts


def _difference(after: _Counts, before: _Counts) -> _Counts:
    none = 0, 0
    return {
        name: (count - before.get(name, none)[0], size - before.get(name, none)[1])
        for name, (count, size) in after.items()
    }
