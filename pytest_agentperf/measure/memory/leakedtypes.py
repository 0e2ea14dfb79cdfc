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
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from pytest_agentperf.core.clock import REAL_TIME, Clock
from pytest_agentperf.measure.memory.naming import LeakLine, Sizes, described, line_of

if TYPE_CHECKING or find_spec("_tracemalloc"):  # not so in PyPy
    import tracemalloc

__all__ = ["LeakType", "Leftovers", "find_leftovers", "newborns", "type_name"]

_SHOWN: Final = 5
_CHUNK: Final = 256
# Until Python 3.14 the garbage collector leaves out those that hold but numbers and texts.
_LEFT_OUT: Final = frozenset({dict, tuple})
_MOST: Final = 50_000  # leftovers that are looked at
_MOST_HOLDING: Final = 2000
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
    holder: Any = None
    size: int = 0
    below: list["_Node"] = field(default_factory=list)

    @property
    def name(self) -> str:
        return type_name(self.obj)

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
        holder: What holds it; None where nothing was seen to.
        is_partial: Whether there was too much to look at all of it.
    """

    types: tuple[LeakType, ...] = ()
    sample: Any = None
    holder: Any = None
    is_partial: bool = False


def newborns() -> list[Any]:
    """Return what came since the last collection and is held, where there was none since."""
    gc.collect(0)
    return gc.get_objects(generation=1)


def find_leftovers(
    grown: Sizes,
    calls: int,
    born: Sequence[Any] = (),
    *,
    max_time: float = 5.0,
    clock: Clock = REAL_TIME.clock,
) -> Leftovers:
    """Return the types of the objects that were allocated at *grown* and are held.

    Args:
        grown: Lines that allocate what leaks.
        calls: The calls that have left them, as far as they are traced.
        born: The `newborns` of those calls.
        max_time: Seconds after which the search ends with what it has.
        clock: Returns seconds.
    """

    def is_left(obj: object) -> bool:
        traceback = tracemalloc.get_object_traceback(obj)
        return traceback is not None and (traceback[-1].filename, traceback[-1].lineno) in grown

    search = _Search(is_left, born, clock, clock() + max_time)
    groups = sorted(_groups(search.roots(), calls), key=_weight, reverse=True)
    types = tuple(_leak_type(nodes, calls) for nodes in groups[:_SHOWN])
    first = groups[0][0] if groups else _Node(None)
    return Leftovers(types, first.obj, first.holder, search.is_partial)


class _Search:
    """Finds the objects that are left, and the trees that they form.

    Left is what was allocated at a line that leaks, and what was made in the same calls to hold it:
    objects that Python had kept for reuse have no line or another's, and in Python 3.11 instances
    of classes have none.
    """

    def __init__(
        self,
        is_traced: Callable[[object], bool],
        born: Sequence[Any],
        clock: Clock,
        until: float,
    ) -> None:
        self._is_traced, self._clock, self._until = is_traced, clock, until
        self._objects, self._born = gc.get_objects(), born
        self._holding = self._find_holding(born)
        self._left_out: set[int] = set()
        self.is_partial = False

    def _is_left(self, obj: object) -> bool:
        return id(obj) in self._holding or self._is_traced(obj)

    def _find_holding(self, objects: Sequence[Any]) -> dict[int, Any]:
        """Return those of *objects*, by identity, that hold, directly or not, what is left."""
        below = {id(obj): gc.get_referents(obj) for obj in objects}
        above: dict[int, list[int]] = defaultdict(list)
        for holder, held in below.items():
            for each in held:
                above[id(each)].append(holder)
        found = [holder for holder, held in below.items() if any(map(self._is_traced, held))]
        seen = set(found)
        for holder in found:
            further = [each for each in above[holder] if each not in seen]
            seen.update(further)
            found.extend(further)
        return {id(obj): obj for obj in objects if id(obj) in seen}

    def roots(self) -> list[_Node]:
        """Return the leftovers that something else holds, each with those below it."""
        held: dict[int, _Node] = {}
        inner: dict[int, _Node] = {}  # not the objects: a `dict` of ours would seem to hold them
        ours = {id(self._objects), id(self._born), id(self._holding)}
        for holder, obj in self._edges():
            if id(holder) in ours or isinstance(holder, _Node):
                continue
            if self._is_left(holder):
                inner.setdefault(id(obj), _Node(obj))
            else:
                held.setdefault(id(obj), _Node(obj, holder))
        seen = set(held)
        self._grow(list(held.values()), seen)
        alone = [node for key, node in inner.items() if key not in seen]
        return [*held.values(), *alone]

    def _edges(self) -> Iterator[tuple[Any, Any]]:
        """Return what holds leftovers, and what it holds."""
        found = 0
        for at in range(0, len(self._objects), _CHUNK):
            chunk = self._objects[at : at + _CHUNK]
            if self._clock() > self._until or found > _MOST:
                self.is_partial = True
                return
            # In C and without allocations, which would be traced. Most chunks end here.
            if not any(map(tracemalloc.get_object_traceback, self._held_by(chunk))):
                continue
            for holder in chunk:
                for obj in filter(self._is_traced, gc.get_referents(holder)):
                    found += 1
                    yield holder, obj
        chunk = []  # which holds some of them too
        yield from self._edges_to_holding()

    def _edges_to_holding(self) -> Iterator[tuple[Any, Any]]:
        mark = object()  # what holds it is what passes the objects on
        objects = [mark, *islice(self._holding.values(), _MOST_HOLDING)]
        for holder in gc.get_referrers(*objects):
            held = gc.get_referents(holder)
            if not any(each is mark for each in held):
                yield from ((holder, obj) for obj in held if id(obj) in self._holding)

    def _held_by(self, chunk: list[Any]) -> list[Any]:
        """Return what *chunk* holds; what the garbage collector has left out is put into it."""
        held = every = gc.get_referents(*chunk)
        while left_out := [
            each
            for each in held
            if type(each) in _LEFT_OUT and each and not gc.is_tracked(each)
            if id(each) not in self._left_out
        ]:
            self._left_out.update(map(id, left_out))
            chunk += left_out
            held = gc.get_referents(*left_out)
            every += held
        return every

    def _grow(self, roots: Sequence[_Node], seen: set[int]) -> None:
        """Put below each of *roots* what it holds and no other does."""
        nodes = list(roots)
        for node in nodes:
            node.size = _size(node.obj)
            for obj in filter(self._is_left, gc.get_referents(node.obj)):
                if id(obj) not in seen:
                    seen.add(id(obj))
                    node.below.append(_Node(obj, node.obj))
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
            name = nodes[0].name
            below = [each for node in nodes for each in node.all()]
            same = [each for each in below if each.name == name]
            living = [each for each in below if each.name in _LIVING]
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
        groups[node.name, _holder_name(node)].append(node)
    return groups.values()


def _weight(nodes: Sequence[_Node]) -> tuple[bool, int]:
    return nodes[0].name in _LIVING, _total(nodes)


def _total(nodes: Sequence[_Node]) -> int:
    """Return the bytes of *nodes*, of which some may be below others."""
    below = {id(each) for node in nodes for each in node.all()[1:]} if len(nodes) > 1 else set()
    return sum(node.size for node in nodes if id(node) not in below)


def _leak_type(nodes: Sequence[_Node], calls: int) -> LeakType:
    first = nodes[0]
    found = (tracemalloc.get_object_traceback(each.obj) for each in first.all())
    traceback = next(filter(None, found), None)
    line = described(line_of(traceback)) if traceback else LeakLine("an unknown line", 0)
    count = len(nodes)
    return LeakType(first.name, _holder_name(first), count, count / calls, _total(nodes), line)


def _holder_name(node: _Node) -> str:
    return "" if node.holder is None else type_name(node.holder)


def type_name(obj: object) -> str:
    """Return the type of *obj* as a reader knows it, without its module."""
    name = type(obj).__qualname__.rpartition("<locals>.")[2]
    return _KNOWN_AS.get(name, name)


def _size(obj: object) -> int:
    try:
        return sys.getsizeof(obj)
    except Exception:  # noqa: BLE001 -- a `__sizeof__` of the user's
        return 0
