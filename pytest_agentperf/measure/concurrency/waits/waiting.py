"""Waiting: the time from asking for something until having it, and who had it meanwhile."""

import itertools
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.measure.concurrency.origins import caller, current_task
from pytest_agentperf.measure.frames import Site
from pytest_agentperf.measure.hooks import Hooks

__all__ = ["Kind", "Record", "Stopwatch"]

Kind: TypeAlias = Literal[
    "lock",
    "semaphore",
    "limiter",
    "executor",
    "pool",
    "queue put",
    "queue get",
    "condition",
    "event",
]

T = TypeVar("T")
_RELEASE: Final = {"lock": "release", "semaphore": "release", "limiter": "release_on_behalf_of"}
_RELEASES: Final = 64


class Record(NamedTuple):
    """One wait; ordered by how long it took.

    Attributes:
        seconds: How long it took.
        number: Which of all waits it is; no two have the same.
        kind: What was waited for.
        key: Which one: the line that waited for it first, or its name.
        site: The line that waited.
        start: When it began.
        waiter: The name of the task that waited; empty where none did.
        holder: The line that had it for most of the time; None where it is not known.
        task: The name of the task that had it; empty where it is not known.
        span: The span in which it was waited, or None.
    """

    seconds: float
    number: int
    kind: Kind
    key: Site | str
    site: Site | None
    start: float
    waiter: str
    holder: Site | None
    task: str
    span: Any


class Stopwatch:
    """Times waits.

    Args:
        clock: Returns seconds.
        current_span: Returns the span of the code that runs, or None.
        origin: Returns the line of the user's that is behind the current call.
        record: Takes each wait when it ends, in any thread.

    Attributes:
        hooks: Those through which waits come here.
    """

    def __init__(
        self,
        clock: Clock,
        current_span: Callable[[], Any],
        origin: Callable[[], Site | None],
        record: Callable[[Record], None],
    ) -> None:
        self.hooks = Hooks()
        self._clock = clock
        self._current_span = current_span
        self._origin = origin
        self._record = record
        self._numbers = itertools.count()
        self._waiting: set[object] = set()  # of tasks
        self._queues: dict[int, _Queue] = {}
        self._hooked: set[type] = set()
        self._keys: WeakKeyDictionary[Any, Site | str] = WeakKeyDictionary()

    def start(self) -> None:
        """Let hooks do their work."""
        self.hooks.active = True

    def stop(self) -> None:
        """Put back what they replaced."""
        self.hooks.undo()
        self._hooked.clear()

    async def wait(
        self, kind: Kind, thing: Any, acquire: Callable[[], Awaitable[T]], name: str = ""
    ) -> T:
        """Return what awaiting ``acquire()`` returns, and record how long it took."""
        task = current_task()
        if task in self._waiting:
            return await acquire()  # a part of a wait that is timed already
        queue = self._join(kind, thing)
        end = self.begin(kind, thing, name, queue)
        if task is not None:
            self._waiting.add(task)
        try:
            return await acquire()
        finally:
            self._waiting.discard(task)
            end()
            self._leave(thing, queue)

    def begin(
        self, kind: Kind, thing: Any, name: str = "", queue: "_Queue | None" = None
    ) -> Callable[[], None]:
        """Note that a wait for *thing* begins; return what ends and records it."""
        site, span, since = self._origin(), self._current_span(), self._clock()
        task = current_task()
        key = name or self._key(thing, site)

        def end() -> None:
            seconds, number = self._clock() - since, next(self._numbers)
            holder, of = queue.holder(since) if queue else (None, "")
            waiter = task.get_name() if task else ""
            self._record(Record(seconds, number, kind, key, site, since, waiter, holder, of, span))

        return end

    def _key(self, thing: Any, site: Site | None) -> Site | str:
        unknown = type(thing).__qualname__
        try:
            return self._keys.setdefault(thing, site or unknown)
        except TypeError:  # of a kind without weak references
            return site or unknown

    def _join(self, kind: Kind, thing: Any) -> "_Queue | None":
        if kind not in _RELEASE:
            return None
        if type(thing) not in self._hooked:
            # Not before anybody waits, so that a lock without contention is released as ever.
            self._hooked.add(type(thing))
            self.hooks.place(type(thing), _RELEASE[kind], self._noting_release)
        queue = self._queues.setdefault(id(thing), _Queue())
        queue.waiting += 1
        return queue

    def _leave(self, thing: Any, queue: "_Queue | None") -> None:
        if queue is not None:
            queue.waiting -= 1
            if not queue.waiting:
                del self._queues[id(thing)]

    def _noting_release(self, release: Callable[..., Any]) -> Callable[..., Any]:
        queues = self._queues

        def noted(thing: Any, *args: Any, **kwargs: Any) -> Any:
            if id(thing) in queues:
                task = current_task()
                name = task.get_name() if task else ""
                # Where an `async with` lets go, its line is the one that had entered it, too.
                queues[id(thing)].releases.append((self._clock(), caller(2), name))
            return release(thing, *args, **kwargs)

        return noted


class _Queue:
    """How many wait for one thing, and who has let go of it since the first of them came."""

    __slots__ = ("releases", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self.releases: deque[tuple[float, Site | None, str]] = deque(maxlen=_RELEASES)

    def holder(self, since: float) -> tuple[Site | None, str]:
        """Return who let go at the end of the longest time without a release."""
        longest = -1.0
        holder: tuple[Site | None, str] = (None, "")
        for at, site, task in self.releases:
            if at >= since:
                if at - since > longest:
                    longest, holder = at - since, (site, task)
                since = at
        return holder
