"""Hooks: functions that stand in for others for the time of a watch."""

from collections.abc import Callable
from types import FunctionType
from typing import Any, Final, NamedTuple, TypeAlias

__all__ = ["Hooks"]

_ABSENT: Final = object()
_Function: TypeAlias = Callable[..., Any]


class Hooks:
    """Functions that were replaced, to be put back at the end of a watch.

    Another tool may replace the same functions and stop in any order. What it put on top of a hook
    stays; the hook below it then only passes calls on, since it looks at `active` first.

    Attributes:
        active: Whether the hooks shall do their work.
    """

    def __init__(self) -> None:
        self.active = False
        self._placed: list[tuple[object, str, _Function]] = []

    def place(self, owner: object, name: str, make: Callable[[Any], _Function | None]) -> bool:
        """Replace function *name* of *owner* by what *make* returns for it, if anything.

        Returns:
            Whether there is such a function and it could be replaced.
        """
        original = _function_of(owner, name)
        while mark := _ended(original):
            original = mark.original
        hook = None if original is None else make(original)
        if hook is None:
            return False
        try:
            own = vars(owner).get(name, _ABSENT)
            setattr(owner, name, hook)
        except (AttributeError, TypeError):
            return False
        hook.__dict__["agentperf"] = _Mark(id(hook), original, own, self)
        hook.__dict__["__wrapped__"] = original  # whose signature it has
        self._placed.append((owner, name, hook))
        return True

    def undo(self) -> None:
        """Put back every function whose hook is still in its place."""
        self.active = False
        while self._placed:
            owner, name, hook = self._placed.pop()
            if vars(owner).get(name) is not hook:
                continue
            own: object = hook
            while mark := _ended(own):
                own = mark.own
            if own is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, own)


def _function_of(owner: object, name: str) -> Any:
    """Return function *name* of *owner*; None where there is none."""
    # A class that is asked after a change takes another of the 1000 versions that CPython 3.13 has
    # for each; without one, its objects take half as long again.
    classes = owner.__mro__ if isinstance(owner, type) else ()
    found = next((vars(cls)[name] for cls in classes if name in vars(cls)), None)
    return found if isinstance(found, FunctionType) else getattr(owner, name, None)


class _Mark(NamedTuple):
    """What stands on a hook, to know it again and what it replaced."""

    hook_id: int  # not the hook: a cycle would wait for the garbage collector
    original: _Function
    own: object
    hooks: Hooks


def _ended(function: Any) -> _Mark | None:
    """Return the mark of *function*, if it is a hook of a watch that has ended.

    Another tool can have put it back after that, and a watch that began within it, too.
    """
    mark = getattr(function, "agentperf", None)
    # A copy of the attribute, as by `functools.wraps`, names another function than its bearer.
    if isinstance(mark, _Mark) and mark.hook_id == id(function) and not mark.hooks.active:
        return mark
    return None
