"""Types of what leaked: the objects that calls left, as trees below what holds them.

Objects of every type are found, also those that the garbage collector does not know, such as `str`
and `bytes`: as what the objects that it knows refer to. A million objects take about a second.
"""

import gc
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from pytest_agentperf.core.clock import REAL_TIME, Clock
from pytest_agentperf.measure.memory.naming import LeakLine, Sizes, described, line_of

if TYPE_CHECKING or find_spec("_tracemalloc"):  # not so in PyPy
    import tracemalloc

__all__ = ["LeakType", "Leftovers", "find_leftovers", "type_name"]

_SHOWN: Final = 5
_CHUNK: Final = 256
_MOST: Final = 50_000  # leftovers that are looked at
_DEEPEST: Final = 10
_OFTEN: Final = 0.1  # a type that every tenth call leaves explains a leak
# Parts of containers, which explain nothing by themselves.
_PARTS: Final = frozenset({"Context", "closure"})
# What explains the rest of a tree wherever it stands in it.
_LIVING: Final = frozenset({"Task", "Thread"})
# What containers of the interpreter are made of, and the names under which users know them.
_KNOWN_AS: Final = {
    "_lru_cache_wrapper": "lru_cache",
    "hamt": "Context",
    "hamt_array_node": "Context",
    "hamt_bitmap_node": "Context",
    "hamt_collision_node": "Context",
    "cell": "closure",
}


@dataclass(frozen=True, slots=True)
class LeakType:
    """Objects of a type that calls leave.

    Attributes:
        name: The type, as in ``"bytes"`` or ``"Message"``.
        holder: The type of what holds them; empty where nothing was seen to.
        count: How many were left by the calls that were looked at.
        count_per_call: How many a call leaves.
        size: Bytes of all of them, with what they alone hold.
        line: Where they were made.
    """

    name: str
    holder: str
    count: int
    count_per_call: float
    size: int
    line: LeakLine

    def __str__(self) -> str:
        holder = f" held by {self.holder}" if self.holder else ""
        return f"{self.count:,} × {self.name}{holder} at {self.line}"


@dataclass(slots=True, eq=False)
class _Node:
    """A leftover, what holds it, and the leftovers below it."""

    obj: Any
    holder: str
    size: int = 0
    below: list["_Node"] = field(default_factory=list)

    def all(self) -> list["_Node"]:
        nodes = [self]
        for node in nodes:
            nodes.extend(node.below)
        return nodes


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What calls left.

    Attributes:
        types: Those that explain most bytes first.
        sample: One of the objects of the first type; None where there is none.
        is_partial: Whether there was too much to look at all of it.
    """

    types: tuple[LeakType, ...] = ()
    sample: Any = None
    is_partial: bool = False


def find_leftovers(
    grown: Sizes, calls: int, *, max_time: float = 5.0, clock: Clock = REAL_TIME.clock
) -> Leftovers:
    """Return the types of the objects that were allocated at *grown* and are held.

    Args:
        grown: Lines that allocate what leaks.
        calls: The calls that have left them, as far as they are traced.
        max_time: Seconds after which the search ends with what it has.
        clock: Returns seconds.
    """

    def is_left(obj: object) -> bool:
        traceback = tracemalloc.get_object_traceback(obj)
        return traceback is not None and (traceback[-1].filename, traceback[-1].lineno) in grown

    search = _Search(is_left, clock, clock() + max_time)
    roots = search.roots()
    groups = sorted(_groups(roots, calls), key=_weight, reverse=True)
    types = tuple(_leak_type(nodes, calls) for nodes in groups[:_SHOWN])
    return Leftovers(types, groups[0][0].obj if groups else None, search.is_partial)


class _Search:
    """Finds the objects that are left, and the trees that they form."""

    def __init__(self, is_left: Callable[[object], bool], clock: Clock, until: float) -> None:
        self._is_left, self._clock, self._until = is_left, clock, until
        self.is_partial = False

    def roots(self) -> list[_Node]:
        """Return the leftovers that something else holds, each with those below it."""
        held: dict[int, tuple[Any, str]] = {}
        inner: dict[int, Any] = {}
        for holder, obj in self._edges():
            if self._is_left(holder):
                inner.setdefault(id(obj), obj)
            else:
                held.setdefault(id(obj), (obj, type_name(holder)))
        nodes = [_Node(obj, holder) for obj, holder in held.values()]
        seen = set(held)
        self._grow(nodes, seen)
        alone = [_Node(obj, "") for obj in inner.values() if id(obj) not in seen]
        return nodes + alone

    def _edges(self) -> Iterator[tuple[Any, Any]]:
        """Return what holds leftovers, and what it holds."""
        objects, found = gc.get_objects(), 0
        for at in range(0, len(objects), _CHUNK):
            chunk = objects[at : at + _CHUNK]
            if self._clock() > self._until or found > _MOST:
                self.is_partial = True
                return
            if not any(map(self._is_left, gc.get_referents(*chunk))):
                continue
            for holder in chunk:
                for obj in filter(self._is_left, gc.get_referents(holder)):
                    found += 1
                    yield holder, obj

    def _grow(self, roots: Sequence[_Node], seen: set[int]) -> None:
        """Put below each of *roots* what it holds and no other does."""
        nodes = list(roots)
        for node in nodes:
            node.size = _size(node.obj)
            for obj in filter(self._is_left, gc.get_referents(node.obj)):
                if id(obj) not in seen:
                    seen.add(id(obj))
                    node.below.append(_Node(obj, type_name(node.obj)))
            nodes.extend(node.below)
        for node in reversed(nodes):
            node.size += sum(below.size for below in node.below)


def _groups(roots: Iterable[_Node], calls: int) -> Iterator[list[_Node]]:
    """Return the nodes that each explain a part of the leak, by type and holder.

    Where there are too few for the calls, as with the one list that is made anew in each call, or
    the end of a chain, their kind below them counts, or else what they hold.
    """
    often = max(2, _OFTEN * calls)
    level = list(roots)
    for _ in range(_DEEPEST):
        further: list[_Node] = []
        for nodes in _by_type(level):
            name = type_name(nodes[0].obj)
            below = [each for node in nodes for each in node.all()]
            same = [each for each in below if type_name(each.obj) == name]
            living = [each for each in below if type_name(each.obj) in _LIVING]
            if len(living) >= often and name not in _LIVING:
                yield living
            if len(nodes) >= often and name not in _PARTS:
                yield nodes
            elif len(same) >= often and name not in _PARTS:
                yield same
            else:
                further += [each for node in nodes for each in node.below]
        level = further


def _by_type(nodes: Iterable[_Node]) -> Iterable[list[_Node]]:
    groups: dict[tuple[str, str], list[_Node]] = defaultdict(list)
    for node in nodes:
        groups[type_name(node.obj), node.holder].append(node)
    return groups.values()


def _weight(nodes: Sequence[_Node]) -> tuple[bool, int]:
    return type_name(nodes[0].obj) in _LIVING, max(_total(nodes), 0)


def _total(nodes: Sequence[_Node]) -> int:
    """Return the bytes of *nodes*, of which some may be below others."""
    below = {id(each) for node in nodes for each in node.all()[1:]} if len(nodes) > 1 else set()
    return sum(node.size for node in nodes if id(node) not in below)


def _leak_type(nodes: Sequence[_Node], calls: int) -> LeakType:
    first = nodes[0]
    traceback = tracemalloc.get_object_traceback(first.obj)
    line = described(line_of(traceback)) if traceback else LeakLine("an unknown line", 0)
    count = len(nodes)
    name = type_name(first.obj)
    return LeakType(name, first.holder, count, count / calls, _total(nodes), line)


def type_name(obj: object) -> str:
    """Return the type of *obj* as a reader knows it, without its module."""
    name = type(obj).__qualname__.rpartition("<locals>.")[2]
    return _KNOWN_AS.get(name, name)


def _size(obj: object) -> int:
    try:
        return sys.getsizeof(obj)
    except Exception:  # noqa: BLE001 -- a `__sizeof__` of the user's
        return 0
