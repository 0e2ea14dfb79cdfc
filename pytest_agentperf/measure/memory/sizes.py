"""Deep sizes: the memory of an object with all that it holds, each part counted once.

References are read as the garbage collector reads them, which runs no code of the user and, unlike
`vars`, makes no dictionary for an instance that has none yet: that would take memory for good.
"""

import gc
import logging
import sys
import types
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias

__all__ = ["fields_of", "has_fields", "reachable", "size", "size_of_kind"]

_Sizer: TypeAlias = Callable[[Any], int]

# What the whole process shares: an object refers to it and does not hold it.
_SHARED: Final = (
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.CodeType,
    types.FrameType,
    logging.Logger,
)
# Made with the interpreter, and held by nobody.
_STATIC: Final = (None, True, False, ..., NotImplemented, (), "", b"", *range(-5, 257))
_STATIC_IDS: Final = frozenset(map(id, _STATIC))
_POINTER: Final = 8
_LEAST_INT: Final = 32  # `sizeof(PyLongObject)`, where `getsizeof` says 28
_MOST_FIELDS: Final = 30  # SHARED_KEYS_MAX_SIZE: more are kept in a dict
_COLLECTED: Final = 1 << 14  # Py_TPFLAGS_HAVE_GC
_HEAP_TYPE: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement
_MANAGED_DICT: Final = 1 << 4  # Py_TPFLAGS_MANAGED_DICT: the dict is made when it is asked for
_GC_HEADER: Final = sys.getsizeof([]) - [].__sizeof__()
_INLINE_VALUES: Final = 1 << 2  # Py_TPFLAGS_INLINE_VALUES: attributes are part of the object
_HAS_INLINE: Final = sys.version_info >= (3, 13)


def size(obj: object) -> int:
    """Return the bytes that *obj* takes with all that it holds.

    What is held twice counts once, and cycles end. Modules, classes, functions, loggers and event
    loops are not followed: they belong to the process. Memory that C code took for itself is seen
    where its type tells it in `__sizeof__`, as numpy's does. Two seconds for a million objects.
    """
    total = 0
    by_kind: dict[type, list[object]] = defaultdict(list)
    for level in reachable(obj):
        by_kind.clear()
        for each in level:
            by_kind[type(each)].append(each)
        total += sum(size_of_kind(kind, objects) for kind, objects in by_kind.items())
    return total


def reachable(obj: object, limit: float = float("inf")) -> Iterator[list[object]]:
    """Yield what *obj* holds: itself, then what that holds, and so on; each object once.

    Args:
        obj: Where to begin.
        limit: How many objects to visit.
    """
    seen = set(_STATIC_IDS)
    is_held = _Holding()
    level: Iterable[object] = [obj]
    while limit > 0:
        fresh = {id(each): each for each in level if id(each) not in seen and is_held[type(each)]}
        found = list(fresh.values())
        if not found:
            return
        if len(found) > limit:
            del found[int(limit) :]
        limit -= len(found)
        seen.update(fresh)
        yield found
        level = [*gc.get_referents(*found), *_hidden_from_gc(found)]


def has_fields(kind: type) -> bool:
    """Return whether instances of *kind* are plain ones with attributes that no slot holds."""
    return bool(kind.__flags__ & _MANAGED_DICT) and all(
        base is object or base.__flags__ & _HEAP_TYPE for base in kind.__mro__
    )


def fields_of(obj: object) -> tuple[list[object], dict[str, Any] | None]:
    """Return the values of the attributes and slots of *obj*, and the `__dict__` that holds them.

    None for an instance that has no dict yet. Python 3.13 does not tell of one that it made for
    `vars`.
    """
    held = [each for each in gc.get_referents(obj) if each is not type(obj)]
    for each in held:
        if type(each) is dict and _is_dict_of(each, obj):
            return [*each.values(), *(other for other in held if other is not each)], each
    return held, None


def size_of_kind(kind: type, objects: list[object]) -> int:
    """Return the bytes of *objects*, all of *kind*, without what they hold."""
    if kind is int:
        return sum(max(sys.getsizeof(each), _LEAST_INT) for each in objects)
    total = sum(map(_sizer(kind), objects))
    if has_fields(kind):
        found = [fields_of(each) for each in objects]
        # The class decides the room that each of its instances has, by the most it has seen.
        most = max(len(fields) for fields, _ in found) - _slot_count(kind)
        is_inline = bool(kind.__flags__ & _INLINE_VALUES)
        rooms = sum(is_inline if _HAS_INLINE else own is None for _, own in found)
        total += rooms * _room_for(most)
    return total


def _room_for(fields: int) -> int:
    """Return the bytes that a plain instance takes besides its object, for its attributes."""
    # `_PyInlineValuesSize` and `new_values` of CPython, for a class whose first instances are made:
    # room for one attribute more, and a byte for the order of each.
    room = min(fields + 1, _MOST_FIELDS)
    extra = _rounded(room) + _POINTER if _HAS_INLINE else _rounded(room + 2)
    return extra + room * _POINTER


class _Holding(dict[type, bool]):
    """Whether objects of a type are held by what refers to them, by the type."""

    def __init__(self) -> None:
        # Of what is not imported there are no objects.
        events = sys.modules.get("asyncio.events")
        self._shared = (*_SHARED, *([events.AbstractEventLoop] if events else ()))

    def __missing__(self, kind: type) -> bool:
        self[kind] = not issubclass(kind, self._shared)
        return self[kind]


def _sizer(kind: type) -> _Sizer:
    """Return what sizes objects of *kind*; not their own, which may count what they hold."""
    own = next(vars(base)["__sizeof__"] for base in kind.__mro__ if "__sizeof__" in vars(base))
    if not isinstance(own, types.FunctionType):
        return sys.getsizeof
    native = next(
        vars(base)["__sizeof__"]
        for base in kind.__mro__
        if isinstance(vars(base).get("__sizeof__"), types.MethodDescriptorType)
    )
    return lambda each: native(each) + _header(kind)


def _header(kind: type) -> int:
    """Return the bytes before each object of *kind*."""
    header = _GC_HEADER if kind.__flags__ & _COLLECTED else 0
    return header + (2 * _POINTER if kind.__flags__ & _MANAGED_DICT else 0)


def _rounded(count: int) -> int:
    return -(-count // _POINTER) * _POINTER


def _slot_count(kind: type) -> int:
    members = (each for base in kind.__mro__ for each in vars(base).values())
    return sum(isinstance(each, types.MemberDescriptorType) for each in members)


def _is_dict_of(held: dict[Any, Any], obj: object) -> bool:
    """Return whether *held* is the `__dict__` of *obj*: its entries are the attributes."""
    name, value = next(iter(held.items()), (None, None))
    # What the class defines would be run; it wins over the entry only where it is a descriptor.
    if type(name) is not str or any(name in vars(base) for base in type(obj).__mro__):
        return False
    try:
        return object.__getattribute__(obj, name) is value
    except AttributeError:
        return False


def _hidden_from_gc(objects: list[object]) -> Iterator[object]:
    """Yield what *objects* hold and do not tell the garbage collector, which looks for cycles."""
    numpy = sys.modules.get("numpy")
    each: Any
    for each in objects:
        if issubclass(type(each), dict):
            yield from dict.keys(each)  # it is not told of keys that are text
        elif numpy and issubclass(type(each), numpy.ndarray):
            yield each.base
            if each.dtype.hasobject and each.dtype.fields is None:
                yield from each.ravel().tolist()
