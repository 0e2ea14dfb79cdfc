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
    """Return the objects that the garbage collector knows, and those that they refer to.

    As `pympler.muppy.get_objects` does, which asks modules as well.
    """
    known = gc.get_objects()
    found = {id(obj): obj for obj in known}
    for obj in known:
        if not is_module(obj):
            found.update((id(each), each) for each in gc.get_referents(obj))
    for ours in (known, found):
        found.pop(id(ours), None)
    return list(found.values())
