"""Leftovers: the objects that calls left, as trees below what holds them.

Objects of every type are found, also those that the garbage collector does not know, such as `str`
and `bytes`: as what the objects that it knows refer to. A million objects take about a second.
"""

import gc
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.measure.memory.objects import is_module

if TYPE_CHECKING or find_spec("_tracemalloc"):  # not so in PyPy
    import tracemalloc

__all__ = ["LeftoverSearch", "Node", "newborns", "type_name"]

_CHUNK: Final = 256
# Until Python 3.14 the garbage collector leaves out those that hold but numbers and texts.
_LEFT_OUT: Final = frozenset({dict, tuple})
_MOST: Final = 50_000  # leftovers that are looked at
_MOST_HOLDING: Final = 2000
# What containers of the interpreter are made of, and the names under which users know them.
_KNOWN_AS: Final = {
    "_lru_cache_wrapper": "lru_cache",
    "hamt": "Context",
    "hamt_array_node": "Context",
    "hamt_bitmap_node": "Context",
    "hamt_collision_node": "Context",
    "cell": "closure",
}


def newborns() -> list[Any]:
    """Return what came since the last collection and is held, where there was none since."""
    gc.collect(0)
    return gc.get_objects(generation=1)


@dataclass(slots=True, eq=False)
class Node:
    """A leftover.

    Attributes:
        obj: The object.
        holder: What holds it; None where nothing was seen to.
        size: Its bytes, with those of all below it.
        below: The leftovers that it holds and no other does.
    """

    obj: Any
    holder: Any = None
    size: int = 0
    below: list["Node"] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The type of the object."""
        return type_name(self.obj)

    def all(self) -> list["Node"]:
        """Return this node and all below it, this one first."""
        nodes = [self]
        for node in nodes:
            nodes.extend(node.below)
        return nodes


class LeftoverSearch:
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
        self._objects = [obj for obj in gc.get_objects() if not is_module(obj)]
        self._born = born
        self._holding = self._find_holding([obj for obj in born if not is_module(obj)])
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

    def roots(self) -> list[Node]:
        """Return the leftovers that something else holds, each with those below it."""
        held: dict[int, Node] = {}
        inner: dict[int, Node] = {}  # not the objects: a `dict` of ours would seem to hold them
        ours = {id(self._objects), id(self._born), id(self._holding)}
        for holder, obj in self._edges():
            if id(holder) in ours or isinstance(holder, Node):
                continue
            if self._is_left(holder):
                inner.setdefault(id(obj), Node(obj))
            else:
                held.setdefault(id(obj), Node(obj, holder))
        self._objects.clear()  # this search is one of them
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

    def _grow(self, roots: Sequence[Node], seen: set[int]) -> None:
        """Put below each of *roots* what it holds and no other does."""
        nodes = list(roots)
        for node in nodes:
            node.size = _size(node.obj)
            for obj in filter(self._is_left, gc.get_referents(node.obj)):
                if id(obj) not in seen:
                    seen.add(id(obj))
                    node.below.append(Node(obj, node.obj))
            nodes.extend(node.below)
        for node in reversed(nodes):
            node.size += sum(below.size for below in node.below)


def type_name(obj: object) -> str:
    """Return the type of *obj* as a reader knows it, without its module."""
    name = type(obj).__qualname__.rpartition("<locals>.")[2]
    return _KNOWN_AS.get(name, name)


def _size(obj: object) -> int:
    try:
        return sys.getsizeof(obj)
    except Exception:  # noqa: BLE001 -- a `__sizeof__` of the user's
        return 0
