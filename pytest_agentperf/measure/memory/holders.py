"""Holders: the shortest chain of objects that keeps another one alive.

The search goes outwards from the object, all holders of one step in one walk over what the garbage
collector knows, until it meets something that lives by itself: a module, a running function, a task
that has not ended, a callback that is still due, a class, a cache.
"""

import gc
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from inspect import CO_NEWLOCALS
from types import CodeType, FrameType
from typing import Any, Final

from pytest_agentperf.core.clock import REAL_TIME, Clock
from pytest_agentperf.measure.frames import is_plumbing
from pytest_agentperf.measure.memory.leftovers import type_name
from pytest_agentperf.measure.memory.links import is_root, path_text
from pytest_agentperf.measure.memory.objects import is_module

__all__ = ["Chain", "find_chain"]

_DEEPEST: Final = 12
_WIDEST: Final = 100  # holders that a step starts from
_REFERENCE: Final = "pytest_agentperf.reference."
_BOUNDS: Final = frozenset({"maxsize", "max_size", "maxlen", "capacity"})
_AROUND: Final = 5


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
    search = _Search(ignored)
    steps = [_Step(obj)]
    best = steps[0]
    for _ in range(_DEEPEST):
        found = search.outwards(steps)
        root = next((step for step in found if is_root(step.obj)), None)
        best = root or next(iter(found), best)
        if root is not None or not found or clock() > until:
            return _chain(best, is_whole=root is not None)
        steps = found[:_WIDEST]
    return _chain(best, is_whole=False)


class _Search:
    """Goes from objects to their holders, and to no holder twice."""

    def __init__(self, ignored: Collection[int]) -> None:
        self._seen, self._mark = {*ignored}, object()
        # The garbage collector does not look into functions while they run.
        self._running: dict[int, FrameType] = {}
        for frame in _running_frames():
            values = frame.f_locals
            self._running.update((id(value), frame) for value in values.values())
            self._seen.add(id(values))

    def outwards(self, steps: Sequence[_Step]) -> list[_Step]:
        """Return the holders of *steps*."""
        running = [step for step in steps if id(step.obj) in self._running]
        if running:
            return [_Step(self._running[id(step.obj)], step) for step in running]
        # What holds the mark is what passes the objects on.
        objects = [self._mark, *(step.obj for step in steps)]
        inner = {id(step.obj): step for step in steps}
        self._seen.update(inner)
        found = []
        for holder in gc.get_referrers(*objects):
            if id(holder) in self._seen or is_module(holder) or _is_ours(holder):
                continue
            held = list(map(id, gc.get_referents(holder)))
            step = next((inner[each] for each in held if each in inner), None)
            if step is not None and id(self._mark) not in held:
                self._seen.add(id(holder))
                found.append(_Step(holder, step))
        return found


def _running_frames() -> Iterator[FrameType]:
    """Return the frames of all threads that are neither ours nor those of what runs tests."""
    for innermost in sys._current_frames().values():  # noqa: SLF001 -- documented, for this
        frame: FrameType | None = innermost
        while frame is not None:
            code = frame.f_code
            if not is_plumbing(code.co_filename) and code.co_flags & CO_NEWLOCALS:
                yield frame
            frame = frame.f_back


def _is_ours(holder: object) -> bool:
    """Return whether this package or a view of variables is the holder."""
    if isinstance(holder, FrameType):
        return is_plumbing(holder.f_code.co_filename)
    code = getattr(holder, "gi_code", None)
    if isinstance(code, CodeType):
        return is_plumbing(code.co_filename)
    module = type(holder).__module__
    return module.startswith("pytest_agentperf.") and not module.startswith(_REFERENCE)


def _chain(step: _Step, *, is_whole: bool) -> Chain:
    path = step.path()
    return Chain(path_text(path), is_whole, _bound(path[:-1]))


def _bound(holders: Sequence[Any]) -> str:
    """Return in words how full the last of *holders* is, where it is bounded and not full.

    A container that says how much it may hold often keeps it in another one, of the same length.
    """
    around = holders[-1:-_AROUND:-1]
    lengths = [_length(holder) for holder in around]
    for holder, now in zip(around, lengths, strict=True):
        most = _stated_bound(holder)
        if type(most) is int and now is not None and now < most and now == lengths[0]:
            return f"{type_name(holder)} holds {now:,} of at most {most:,}"
    return ""


def _length(holder: Any) -> int | None:
    try:
        is_cache = type_name(holder) == "lru_cache"
        return holder.cache_info().currsize if is_cache else len(holder)
    except Exception:  # noqa: BLE001 -- it has none, or one of the user's that fails
        return None


def _stated_bound(holder: Any) -> object:
    if type_name(holder) == "deque":
        return holder.maxlen
    if type_name(holder) == "lru_cache":
        return holder.cache_info().maxsize
    values = getattr(holder, "__dict__", {})
    stated = (
        value for name, value in values.items() if name.rpartition("__")[2].lstrip("_") in _BOUNDS
    )
    return next(stated, None)
