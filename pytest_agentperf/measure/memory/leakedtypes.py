"""Types of what leaked: those of the objects left by calls that explain the rest of them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from pytest_agentperf.core.clock import REAL_TIME, Clock
from pytest_agentperf.measure.memory.leftovers import LeftoverSearch, Node, type_name
from pytest_agentperf.measure.memory.naming import LeakLine, Sizes, described, line_of

if TYPE_CHECKING or find_spec("_tracemalloc"):  # not so in PyPy
    import tracemalloc

__all__ = ["LeakType", "Leftovers", "find_leftovers"]

_SHOWN: Final = 5
_DEEPEST: Final = 10
_OFTEN: Final = 0.1  # a type that every tenth call leaves explains a leak
# Parts of containers, which explain nothing by themselves.
_PARTS: Final = frozenset({"Context", "closure"})
# What explains the rest of a tree wherever it stands in it.
_LIVING: Final = frozenset({"Task", "Thread"})


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

    search = LeftoverSearch(is_left, born, clock, clock() + max_time)
    groups = sorted(_groups(search.roots(), calls), key=_weight, reverse=True)
    types = tuple(_leak_type(nodes, calls) for nodes in groups[:_SHOWN])
    first = groups[0][0] if groups else Node(None)
    return Leftovers(types, first.obj, first.holder, search.is_partial)


def _groups(roots: Iterable[Node], calls: int) -> Iterator[list[Node]]:
    """Return the nodes that each explain a part of the leak, by type and holder.

    Where there are too few for the calls, as with the one list that is made anew in each call, or
    the end of a chain, their kind below them counts, or else what they hold.
    """
    often = max(2, _OFTEN * calls)
    level = list(roots)
    for _ in range(_DEEPEST):
        further: list[Node] = []
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


def _by_type(nodes: Iterable[Node]) -> Iterable[list[Node]]:
    groups: dict[tuple[str, str], list[Node]] = defaultdict(list)
    for node in nodes:
        groups[node.name, _holder_name(node)].append(node)
    return groups.values()


def _weight(nodes: Sequence[Node]) -> tuple[bool, int]:
    return nodes[0].name in _LIVING, _total(nodes)


def _total(nodes: Sequence[Node]) -> int:
    """Return the bytes of *nodes*; those below others come after them, and count but once."""
    total, seen = 0, set[int]()
    for node in nodes:
        if id(node) not in seen:
            seen.update(map(id, node.all()))
            total += node.size
    return total


def _leak_type(nodes: Sequence[Node], calls: int) -> LeakType:
    first = nodes[0]
    found = (tracemalloc.get_object_traceback(each.obj) for each in first.all())
    traceback = next(filter(None, found), None)
    line = described(line_of(traceback)) if traceback else LeakLine("an unknown line", 0)
    count = len(nodes)
    return LeakType(first.name, _holder_name(first), count, count / calls, _total(nodes), line)


def _holder_name(node: Node) -> str:
    return "" if node.holder is None else type_name(node.holder)
