"""Collected objects: those that a test expects to be gone when its body has ended."""

import gc
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pytest_agentperf.core.clock import REAL_TIME, Clock
from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.finding import Finding
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.memory.holders import find_chain
from pytest_agentperf.measure.memory.leftovers import type_name

__all__ = ["CAUSE", "Collected", "Registered"]

_T = TypeVar("_T")
CAUSE: Final = "held_object"
_EXPLAINED: Final = 5  # objects whose holders are looked for; the rest is counted
_TIME: Final = 5.0


@dataclass(frozen=True, slots=True)
class Registered:
    """An object that was registered.

    Attributes:
        name: The name that it was given, else its type.
        type: Its type.
        size: Its bytes when it was registered.
        is_held: Whether it is still there.
    """

    name: str
    type: str
    size: int
    is_held: bool

    def __str__(self) -> str:
        held = "held" if self.is_held else "gone"
        return f"{self.name}: {format_quantity(self.size, Unit.BYTES)} ({held})"


@dataclass(frozen=True, slots=True)
class _Entry:
    reference: "weakref.ref[Any]"
    name: str
    type: str
    size: int


def _not_provided(_: object) -> None:
    """Return the fixture that provides an object: none."""


class Collected:
    """Objects that shall be gone when `check` is called.

    Args:
        is_provided: Returns the name of the fixture that provides an object; None for others.
        size_of: Returns the bytes of an object.
        collect: Collects garbage.
        clock: Returns seconds.
    """

    def __init__(
        self,
        is_provided: Callable[[object], str | None] = _not_provided,
        *,
        size_of: Callable[[object], int] = sys.getsizeof,
        collect: Callable[[], object] = gc.collect,
        clock: Clock = REAL_TIME.clock,
    ) -> None:
        self._is_provided, self._size_of = is_provided, size_of
        self._collect, self._clock = collect, clock
        self._entries: dict[int, _Entry] = {}

    def register(self, obj: _T, name: str | None = None) -> _T:
        """Expect *obj* to be gone at the next `check`, and return it.

        Args:
            obj: What shall be gone.
            name: What messages call it; its type where none is given.

        Raises:
            UsageError: It cannot be told when *obj* is gone, or a fixture provides it.
        """
        fixture = self._is_provided(obj)
        if fixture is not None:
            raise UsageError(
                f"collected({type_name(obj)}): the fixture {fixture!r} provides it, and pytest"
                " holds it until that ends; register an object that the test itself makes"
            )
        try:
            reference = weakref.ref(obj)
        except TypeError as error:
            raise UsageError(f"collected({type_name(obj)}): {_cure(obj)}") from error
        kind = type_name(obj)
        self._entries[id(obj)] = _Entry(reference, name or kind, kind, self._size_of(obj))
        return obj

    @property
    def registered(self) -> tuple[Registered, ...]:
        """What was registered, the largest first."""
        found = (
            Registered(each.name, each.type, each.size, each.reference() is not None)
            for each in self._entries.values()
        )
        return tuple(sorted(found, key=lambda each: -each.size))

    def check(self) -> tuple[Finding, ...]:
        """Return a finding for each object that is still held, and forget all of them.

        Garbage is collected once, so that a cycle that nobody holds is gone; not where nothing was
        registered. The holders of the first few objects are looked for, for 5 s at most.
        """
        if not self._entries:
            return ()
        self._collect()
        held = [each for each in self._entries.values() if each.reference() is not None]
        self._entries.clear()
        until = self._clock() + _TIME
        found = [self._explain(each, until) for each in held[:_EXPLAINED]]
        if more := len(held) - len(found):
            sentence = f"{more} more objects that were to be collected are still held"
            found.append(Finding(CAUSE, sentence, count=more))
        return tuple(found)

    def _explain(self, entry: _Entry, until: float) -> Finding:
        left = max(until - self._clock(), 0.0)
        chain = find_chain(entry.reference(), max_time=left, clock=self._clock)
        of_type = f" ({entry.type})" if entry.name != entry.type else ""
        kept = f"{entry.name}{of_type} was to be collected and is still held by {chain}"
        return Finding(CAUSE, kept, name=entry.name)


def _cure(obj: object) -> str:
    """Return why it cannot be told when *obj* is gone, and what to do."""
    kind = type_name(obj)
    if type(obj).__module__ != "builtins" and "__slots__" in vars(type(obj)):
        return (
            f"{kind} has __slots__ without '__weakref__', so it cannot be told when one is gone;"
            " add it to them, or register the object that holds this one"
        )
    return (
        f"objects of type {kind} cannot be weakly referenced, so it cannot be told when one is"
        " gone; register the object of a class of yours that holds this one"
    )
