"""Holders: the shortest chain of objects that keeps another one alive.

The search goes outwards from the object, all holders of one step in one walk over what the garbage
collector knows, until it meets something that lives by itself: a module, a running function, a task
that has not ended, a callback that is still due, a class, a cache.
"""

import gc
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from pytest_agentperf.core.clock import REAL_TIME, Clock
from pytest_agentperf.measure.memory.leakedtypes import type_name
from pytest_agentperf.measure.memory.links import is_root, path_text

__all__ = ["Chain", "bound_of", "find_chain"]

_DEEPEST: Final = 12
_WIDEST: Final = 100  # holders that a step starts from
_OURS: Final = str(Path(__file__).parents[2]) + os.sep
_BOUNDS: Final = ("maxsize", "max_size", "maxlen", "capacity")


@dataclass(frozen=True, slots=True)
class Chain:
    """Who holds an object.

    Attributes:
        links: The holders, the outermost first; empty where none was found.
        is_whole: Whether the outermost lives by itself; otherwise the search ended there.
        bound: What is known of a container among them that is bounded and not full, in words.
    """

    links: tuple[str, ...] = ()
    is_whole: bool = False
    bound: str = ""

    def __str__(self) -> str:
        return " → ".join(self.links) or "something that Python cannot see, such as C code"


@dataclass(slots=True, eq=False)
class _Step:
    obj: Any
    inner: "_Step | None" = None

    def path(self) -> list[Any]:
        """Return the objects from here to the one that is held."""
        path, step = [], self
        while True:
            path.append(step.obj)
            if step.inner is None:
                return path
            step = step.inner


def find_chain(
    obj: object,
    *,
    ignored: Collection[int] = (),
    max_time: float = 2.0,
    clock: Clock = REAL_TIME.clock,
) -> Chain:
    """Return the shortest chain from something that lives by itself to *obj*.

    Args:
        obj: What is held.
        ignored: Identities of holders that do not count.
        max_time: Seconds after which no further step is made.
        clock: Returns seconds.
    """
    until = clock() + max_time
    steps = [_Step(obj)]
    seen = {id(obj), id(steps), *ignored}
    best = steps[0]
    for _ in range(_DEEPEST):
        if clock() > until:
            break
        found = list(_outwards(steps, seen))
        root = next((step for step in found if is_root(step.obj)), None)
        if root is not None or not found:
            return _chain(root or best, is_whole=root is not None)
        steps, best = found[:_WIDEST], found[0]
    return _chain(best, is_whole=False)


def _outwards(steps: Sequence[_Step], seen: set[int]) -> Iterator[_Step]:
    """Return the holders of *steps*; what is in *seen* is none."""
    objects = [step.obj for step in steps]
    inner = {id(step.obj): step for step in steps}
    ours = {id(objects), id(steps), id(seen), id(inner)}
    for holder in gc.get_referrers(*objects):
        if id(holder) in seen or id(holder) in ours or _is_ours(holder):
            continue
        held = next((id(each) for each in gc.get_referents(holder) if id(each) in inner), None)
        if held is not None:
            seen.add(id(holder))
            yield _Step(holder, inner[held])


def _is_ours(holder: object) -> bool:
    if isinstance(holder, FrameType):
        return holder.f_code.co_filename.startswith(_OURS)
    code = getattr(holder, "gi_code", None)
    return isinstance(holder, _Step) or bool(code and code.co_filename.startswith(_OURS))


def _chain(step: _Step, *, is_whole: bool) -> Chain:
    path = step.path()
    bounds = filter(None, map(bound_of, path[:-1]))
    return Chain(path_text(path), is_whole, next(bounds, ""))


def bound_of(holder: object) -> str:
    """Return in words how full *holder* is, if it says that it is bounded and it is not full."""
    try:
        if type_name(holder) == "lru_cache":
            info = holder.cache_info()  # type: ignore[attr-defined]
            most, now = info.maxsize, info.currsize
        else:
            most, now = _stated_bound(holder), len(holder)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 -- a `__len__` of the user's, or none
        return ""
    if type(most) is not int or not now < most:
        return ""
    return f"{type_name(holder)} holds {now:,} of at most {most:,}"


def _stated_bound(holder: Any) -> object:
    if type_name(holder) == "deque":
        return holder.maxlen
    values = {**getattr(holder, "__dict__", {})}
    stated = (values.get(name, values.get(f"_{name}")) for name in _BOUNDS)
    # cachetools keeps its bound under a mangled name
    mangled = (value for name, value in values.items() if name.endswith("__maxsize"))
    return next((each for each in (*stated, *mangled) if each is not None), None)
