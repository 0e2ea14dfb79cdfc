"""Values: what a call was given or returned, noted in bounded space and without running its code.

Only builtin scalars are kept, and the numbers by which objects can be told apart while they live.
"""

import enum
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice
from types import ModuleType
from typing import Any, Final, NamedTuple, TypeAlias

__all__ = ["NO_VALUES", "UNKNOWN", "Atom", "Values", "values_of"]

Atom: TypeAlias = str | bytes | int | float

_MAX_NODES: Final = 400
_MAX_DEPTH: Final = 6
_MAX_CHARACTERS: Final = 50_000
_MAX_HASHED: Final = 1_000_000  # to hash a longer text would hold up the event loop
_MAX_BITS: Final = 64
# In this order; enumerations stand first, for they may be texts and numbers as well.
_BASES: Final = (
    *(enum.Enum, str, bool, int, float, type(None), dict, list, tuple),
    *(set, frozenset, deque, bytes, bytearray, type, ModuleType),
)
# Packages of the standard library with scalars that their text describes.
_SCALARS: Final = frozenset({"datetime", "decimal", "fractions", "ipaddress", "pathlib", "uuid"})


class Values(NamedTuple):
    """The values in an argument list or a result; a tuple, for most calls make two of them.

    Attributes:
        atoms: Texts and numbers, the outermost first; a long text is cut.
        shape: Equal for values of the same structure, keys and types.
        objects: Identities of the objects that are no builtin containers.
        is_whole: Whether all of it was seen, so that what is absent is known to be.
        is_comparable: Whether equal atoms and shape mean equal values.
        characters: How much text is kept.
    """

    atoms: tuple[Atom, ...] = ()
    shape: int = 0
    objects: frozenset[int] = frozenset()
    is_whole: bool = True
    is_comparable: bool = True
    characters: int = 0


NO_VALUES: Final = Values()
UNKNOWN: Final = Values(is_whole=False, is_comparable=False)
"""Nobody saw the values: anything may be among them."""


def values_of(roots: Iterable[object], *, is_result: bool = False) -> Values:
    """Return what is known of *roots* and of what they contain; never raises.

    Args:
        roots: Arguments, or the one result.
        is_result: Whether they were returned: then the keys of a mapping are values too, and an
            object that cannot be looked into may hold anything.
    """
    walk = _Walk(is_result=is_result)
    try:
        walk.add(roots, 0)
        walk.visit_all()
        return walk.values()
    except Exception:  # noqa: BLE001 -- an object of the user that refuses to be looked at
        return UNKNOWN


class _Walk:
    """One look at values, breadth first, so that the bounds cut off what lies deepest."""

    __slots__ = (
        "_atoms",
        "_is_comparable",
        "_is_result",
        "_is_whole",
        "_nodes",
        "_objects",
        "_queue",
        "_room",
        "_shape",
    )

    def __init__(self, *, is_result: bool) -> None:
        self._is_result = is_result
        self._atoms: list[Atom] = []
        self._shape: list[object] = []
        self._objects: list[int] = []
        self._queue: deque[tuple[object, int]] = deque()
        self._nodes = 0
        self._room = _MAX_CHARACTERS
        self._is_whole = True
        self._is_comparable = True

    def visit_all(self) -> None:
        """Visit what was added, and what that leads to."""
        queue = self._queue
        while queue:
            value, depth = queue.popleft()
            kind = type(value)
            self._shape.append(kind)
            self._visit(value, kind if kind in _BUILTINS else _builtin_of(kind), depth)

    def values(self) -> Values:
        return Values(
            tuple(self._atoms),
            hash(tuple(self._shape)),
            frozenset(self._objects),
            self._is_whole,
            self._is_comparable,
            _MAX_CHARACTERS - self._room,
        )

    def add(self, parts: Iterable[object], depth: int) -> None:
        """Note that *parts* are to be visited."""
        for part in parts:
            if self._nodes >= _MAX_NODES or depth > _MAX_DEPTH:
                self._is_whole = self._is_comparable = False
                return
            self._nodes += 1
            self._queue.append((part, depth))
        self._shape.append(self._nodes)  # how many parts: [[1], 2] is not [[1, 2]]

    def _visit(self, value: Any, kind: type, depth: int) -> None:
        """Note *value* of the builtin *kind*, the methods of which are called, not overridden ones.

        What is of no such kind is `object`.
        """
        if kind is str:
            self._add_text(str.__str__(value))
        elif kind is int:
            self._add_int(int.__int__(value))
        elif kind is dict:
            self._add_mapping(dict.items(value), depth)
        elif kind is list or kind is tuple:
            self.add(kind.__iter__(value), depth + 1)
        elif kind is bool or kind is type(None):
            self._shape.append(value)
        elif kind is float:
            self._atoms.append(float.__float__(value))
        else:
            self._visit_rarer(value, kind, depth)

    def _visit_rarer(self, value: Any, kind: type, depth: int) -> None:
        if kind is enum.Enum:
            self.add((object.__getattribute__(value, "_value_"),), depth + 1)
        elif kind in {set, frozenset, deque}:
            self.add(kind.__iter__(value), depth + 1)
        elif kind is bytes or kind is bytearray:
            self._add_text(bytes(memoryview(value)[: _MAX_CHARACTERS + 1]))
        elif type(value).__module__.partition(".")[0] in _SCALARS:
            self._add_text(str(value))
        elif kind is type or kind is ModuleType:  # lives on, so that its identity stays its own
            self._shape.append(id(value))
        else:
            self._visit_object(value, depth)

    def _visit_object(self, value: object, depth: int) -> None:
        """Note an instance: who it is, and what stands in its attributes."""
        self._objects.append(id(value))
        state = _state_of(value, type(value))
        if state:
            self._add_mapping(state.items(), depth)
        else:
            self._is_comparable = False
            self._is_whole = self._is_whole and not self._is_result

    def _add_mapping(self, items: Iterable[tuple[object, object]], depth: int) -> None:
        pairs = list(islice(items, _MAX_NODES + 1))  # one more than `add` takes, so that it says so
        self._shape.extend(key for key, _ in pairs if type(key) is str)
        self.add((part for _, part in pairs), depth + 1)
        if self._is_result:
            self.add((key for key, _ in pairs), depth + 1)

    def _add_int(self, number: int) -> None:
        if number.bit_length() > _MAX_BITS:  # its text would be costly, or be refused
            self._shape.append(hash(number))
            self._is_whole = False
        else:
            self._atoms.append(number)

    def _add_text(self, text: str | bytes) -> None:
        if len(text) > self._room:
            self._is_whole = False
            self._is_comparable &= isinstance(text, str) and len(text) <= _MAX_HASHED
            if self._is_comparable:
                self._shape.append(hash(text))
            text = text[: self._room]
        self._room -= len(text)
        self._atoms.append(text)


_BUILTINS: Final = frozenset(_BASES)


def _builtin_of(kind: type) -> type:
    """Return which of the builtin types *kind* is of; `object` for none."""
    return next((builtin for builtin in _BASES if issubclass(kind, builtin)), object)


def _state_of(value: object, kind: type) -> Mapping[str, object]:
    """Return the attributes of *value* without running the code of its class."""
    try:
        state = dict(object.__getattribute__(value, "__dict__"))
    except AttributeError:
        state = {}
    for name in (name for base in kind.__mro__ for name in _slots_of(base)):
        try:
            state[name] = object.__getattribute__(value, name)
        except AttributeError:  # not set
            continue
    return state


def _slots_of(base: type) -> Iterable[str]:
    slots = base.__dict__.get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return (name for name in names if not name.startswith("__"))
