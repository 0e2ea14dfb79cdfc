"""The objects that there are, as far as the garbage collector leads to them."""

import gc
from types import ModuleType

__all__ = ["all_objects", "is_module"]


def is_module(obj: object) -> bool:
    """Return whether *obj* is a module, which must not be asked what it refers to.

    `_asyncio` of Python 3.12 and 3.13 names iterators that it has freed and keeps for reuse: a
    reference to one frees it again, and the next walk over all objects does not end. What users
    put into a module is in its `dict`, which is an object of its own.
    """
    return issubclass(type(obj), ModuleType)


def all_objects() -> list[object]:
    """Return the objects that the garbage collector knows, and all that they hold.

    A collection stops to know tuples and dicts that hold nothing but strings and numbers (dicts
    until Python 3.13): therefore those are asked what they hold as well. What
    `pympler.muppy.get_objects` finds does not have it, after the first collection.
    """
    asked = gc.get_objects()
    found = {id(obj): obj for obj in asked}
    ours = [id(asked), id(found)]
    while asked:
        unknown: list[object] = []
        ours.append(id(unknown))
        for obj in asked:
            if is_module(obj):
                continue
            for each in gc.get_referents(obj):
                if id(each) not in found:
                    found[id(each)] = each
                    if type(each) in {tuple, dict} and not gc.is_tracked(each):
                        unknown.append(each)
        asked = unknown
    for name in ours:
        found.pop(name, None)
    return list(found.values())
