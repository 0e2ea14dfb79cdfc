"""Patches: an attribute replaced until the test ends."""

import inspect
from collections.abc import Callable
from types import MemberDescriptorType
from typing import Any, Final

from pytest_agentperf.core.errors import UsageError

__all__ = ["Patches"]

_ABSENT: Final = object()


class Patches:
    """Attributes that were replaced, to be put back in reverse order."""

    __slots__ = ("_undo",)

    def __init__(self) -> None:
        self._undo: list[tuple[object, str, object, object]] = []

    def replace(self, owner: object, name: str, make: Callable[[Any], Any]) -> None:
        """Replace attribute *name* of *owner* by what *make* returns for it.

        Raises:
            UsageError: There is no such attribute, or it cannot be set.
        """
        original = getattr(owner, name, _ABSENT)
        if original is _ABSENT:
            raise UsageError(f"{owner!r:.80} has no attribute {name!r}; expected a method of it")
        if not callable(original):
            raise UsageError(f"{name!r} of {owner!r:.80} is {original!r:.40}; expected a method")
        # A static or class method must be put back as such, so the raw entry is kept.
        own = _own(owner, name, original)
        raw = inspect.getattr_static(owner, name, None)
        if isinstance(owner, type) and isinstance(raw, classmethod):
            replaced: object = classmethod(make(raw.__func__))  # of the subclass it is called on
        elif isinstance(owner, type) and isinstance(raw, staticmethod):
            replaced = staticmethod(make(original))
        else:
            replaced = make(original)
        try:
            setattr(owner, name, replaced)
        except (AttributeError, TypeError, ValueError):
            _force(owner, name, replaced)
        self._undo.append((owner, name, own, original))

    def undo(self) -> None:
        """Put every attribute back."""
        while self._undo:
            owner, name, own, original = self._undo.pop()
            if own is not _ABSENT:
                _force(owner, name, own)
                continue
            try:
                _force_delete(owner, name)
            except (AttributeError, TypeError):
                # Kept elsewhere than in the `__dict__` (a property), or removed by the test.
                if getattr(owner, name, original) != original:
                    setattr(owner, name, original)


def _own(owner: object, name: str, original: object) -> object:
    """Return what stands on *owner* itself, or `_ABSENT` where it is the class's."""
    slot = inspect.getattr_static(type(owner), name, None)
    if not hasattr(owner, "__dict__") or isinstance(slot, MemberDescriptorType):
        return original
    return vars(owner).get(name, _ABSENT)


def _force(owner: object, name: str, value: object) -> None:
    """Set an attribute also where the class forbids it, as a frozen model does."""
    try:
        if isinstance(owner, type):
            type.__setattr__(owner, name, value)
        else:
            object.__setattr__(owner, name, value)
    except (AttributeError, TypeError) as error:
        raise UsageError(
            f"attribute {name!r} of {owner!r:.80} cannot be set ({error}); wrap the method with"
            " perf_timer.wrap and pass the wrapper on instead"
        ) from error


def _force_delete(owner: object, name: str) -> None:
    if isinstance(owner, type):
        type.__delattr__(owner, name)
    else:
        object.__delattr__(owner, name)
