"""A cost-aware cache for slow calls: exact GDSF eviction, single-flight, measured savings.

Standard library only; copy this file into a project as it is. A hit takes no lock and moves
nothing: it raises a count in its entry and notes the cache's level. Eviction corrects the heap for
all hits since the last one.

Values are returned as stored: who changes a cached list changes it for everybody. Under threads a
few hits may go uncounted, no value is ever lost or mixed up. Costs that are all equal and a loop
slightly larger than the cache are what this policy is weak at; there W-TinyLFU keeps more.
"""

import asyncio
import fnmatch
import functools
import hashlib
import heapq
import inspect
import itertools
import math
import random
import re
import reprlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from types import CoroutineType, MappingProxyType
from typing import Any, Final, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, cast

__all__ = [
    "KIND_TTL",
    "Cache",
    "CacheError",
    "CacheStats",
    "CacheTypeError",
    "CacheValueError",
    "CachedFunction",
    "cached",
]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
Clock: TypeAlias = Callable[[], float]
TTL: TypeAlias = float | timedelta | str | Callable[[Any], Any] | None
Tags: TypeAlias = Iterable[str] | Callable[..., Iterable[str]]

KIND_TTL: Final[Mapping[str, float]] = {"factual": 86_400.0, "creative": 300.0, "default": 3_600.0}
"""Seconds that an answer of each kind is kept; a kind that is not listed takes `default`."""

# An entry is a list because it is the dict's value and the heap's item at once: no second object,
# and a hit writes into it in place. Removal writes SOFT before VALUE and a hit reads VALUE before
# SOFT, so a reader without a lock never takes an emptied entry for a cached None.
Entry: TypeAlias = list[Any]
PRIORITY, SEQ, KEY, VALUE, SOFT, COUNT, MARK = range(7)
COST, COUNTED, SECONDS, HARD, BORN, TAGS, TABLE = range(7, 14)
MISSING: Final[Any] = object()
# Equal only to their own kind, once bool is wrapped.
PLAIN: Final = frozenset({str, int, bytes, type(None)})
COUNTS: Final = (
    "hits", "misses", "evictions", "expirations", "invalidations",
    "coalesced", "computations", "errors", "refreshes", "stale",
)  # fmt: skip
CORRECTIONS = 16  # bounds one eviction at about 20 µs; costs no measurable hit
# Counts saturate where TinyLFU's four bits do, so that popularity of long ago ages out.
MAX_COUNT = 15


class CacheError(Exception):
    """The base of the cache's errors."""


class CacheValueError(CacheError, ValueError):
    """An argument is outside its range."""


class CacheTypeError(CacheError, TypeError):
    """An argument has a type that is not accepted, or a key cannot be made of it."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a cache did so far; times in seconds.

    Attributes:
        size: Entries held now.
        max_size: Entries held at most.
        hits: Lookups answered from the cache.
        misses: Lookups that were not, those that joined another's computation included.
        evictions: Entries removed for lack of room.
        expirations: Entries removed because their time was over.
        invalidations: Entries removed by `delete`, a glob, a tag or `clear`.
        coalesced: Misses that shared another caller's computation.
        computations: Values computed, or given with a cost.
        errors: Computations that raised an `Exception`.
        refreshes: Computations begun early, before the entry expired.
        stale: Misses answered with an expired value because the computation failed.
        time_saved: Sum over all hits of what computing the value had taken.
        time_spent: Sum over all computations.
    """

    size: int
    max_size: int
    hits: int
    misses: int
    evictions: int
    expirations: int
    invalidations: int
    coalesced: int
    computations: int
    errors: int
    refreshes: int
    stale: int
    time_saved: float
    time_spent: float

    @property
    def lookups(self) -> int:
        """Hits and misses together."""
        return self.hits + self.misses

    @property
    def hit_rate(self) -> float:
        """Share of lookups answered from the cache, 0 to 1; 0 without lookups."""
        return self.hits / self.lookups if self.lookups else 0.0

    @property
    def saved_rate(self) -> float:
        """Share of the time that all lookups would have cost and did not, 0 to 1."""
        total = self.time_saved + self.time_spent
        return self.time_saved / total if total else 0.0

    @property
    def average_computation_time(self) -> float:
        """Seconds a computation took on average; 0 without computations."""
        return self.time_spent / self.computations if self.computations else 0.0


class _Gdsf:
    """Greedy-Dual-Size-Frequency (Cherkasova, HPL-98-69) that remembers evicted counts.

    An entry's priority is level + count × cost, half of it until the second access; the level is
    the priority of the last victim. A hit only ever raises a priority, so the one in the heap is a
    lower bound, and correcting the top until it is fresh finds the true minimum.
    """

    limit: float = CORRECTIONS
    touch: Callable[[Entry], None] | None = None

    def __init__(self, size: int) -> None:
        self.level = [0.0]  # a cell, so that hits in a closure read it without an attribute
        self.heap: list[Entry] = []
        self._size = size
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}

    def priority(self, entry: Entry) -> float:
        count = entry[COUNT]
        return cast(
            "float", entry[MARK] + (min(count, MAX_COUNT) if count > 1 else 0.5) * entry[COST]
        )

    def enter(self, entry: Entry) -> None:
        entry[MARK] = self.level[0]

    def add(self, entry: Entry) -> None:
        self.enter(entry)
        entry[PRIORITY] = self.priority(entry)
        heap = self.heap
        if heap and heap[0][TABLE] is None:
            heapq.heapreplace(heap, entry)
        else:
            heapq.heappush(heap, entry)

    def victim(self) -> Entry:
        """Return the entry to evict, which stays on top of the heap until the next `add`."""
        heap, corrections = self.heap, 0
        while True:
            top = heap[0]
            if top[TABLE] is None:
                heapq.heappop(heap)
                continue
            priority = self.priority(top)
            if priority <= top[PRIORITY] or corrections >= self.limit:
                return top
            top[PRIORITY] = priority
            heapq.heapreplace(heap, top)
            corrections += 1

    def evicted(self, entry: Entry) -> None:
        self.level[0] = entry[PRIORITY]
        self.remember(entry)

    def remember(self, entry: Entry) -> None:
        # Hashes, not keys: nothing of the user's is kept alive, and a collision only mixes two
        # counts. Two generations, since deleting a dict's oldest keys one by one makes finding the
        # next one slow.
        self._young[hash((id(entry[TABLE]), entry[KEY]))] = entry[COUNT]
        if len(self._young) >= self._size:
            self._young, self._old = {}, self._young

    def recall(self, table: "_Table", key: Any) -> int:
        name = hash((id(table), key))
        return self._young.pop(name, 0) or self._old.pop(name, 0)

    def forget(self) -> None:
        self._young, self._old = {}, {}
        self.level[0] = 0.0

    def compact(self) -> None:
        self.heap[:] = [entry for entry in self.heap if entry[TABLE] is not None]
        heapq.heapify(self.heap)


class _Lru(_Gdsf):
    """Least recently used: the same heap ordered by the number of the last access."""

    limit = math.inf

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._ticks = itertools.count(1)
        self.touch = self.enter

    def priority(self, entry: Entry) -> float:
        return cast("float", entry[MARK])

    def enter(self, entry: Entry) -> None:
        entry[MARK] = next(self._ticks)

    def remember(self, entry: Entry) -> None:
        """Recency has no use for counts."""


class _Value(_Lru):
    """Least count × cost / age by a scan of all entries, kept for comparison; O(n)."""

    def __init__(self, size: int, worth: Callable[[Entry], float]) -> None:
        super().__init__(size)
        self._worth = worth

    def victim(self) -> Entry:
        return min((entry for entry in self.heap if entry[TABLE] is not None), key=self._worth)


class _Table:
    """The entries of one function, or of `get` and `set`."""

    __slots__ = ("entries", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries: dict[Any, Entry] = {}

    def text(self, key: Any) -> str:
        """Return what a glob is matched against."""
        return f"{self.name}:{_text(key)}" if self.name else _text(key)


@dataclass(frozen=True, slots=True)
class _Failure:
    """A cached exception."""

    error: Exception


@dataclass(frozen=True, slots=True)
class _Rules:
    """How the values of one function are kept."""

    ttl: TTL = None
    cost: Callable[[Any], float] | None = None
    tags: Tags = ()
    kind: str | Callable[..., str] | None = None
    early: float = 0.0
    stale: float = 0.0
    errors: Mapping[type[Exception], float] = field(default_factory=dict)


class _Flight:
    """One computation and those who wait for it."""

    def __init__(
        self,
        place: tuple["_Table", Any, asyncio.AbstractEventLoop | None],
        rules: _Rules,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.place, self.rules = place, rules
        kind, tags = rules.kind, rules.tags
        self.ttl = rules.ttl if kind is None else kind(*args, **kwargs) if callable(kind) else kind
        self.tags = _labels(tags(*args, **kwargs) if callable(tags) else tags)
        self.keep = True  # no longer once its key was invalidated
        self.done = self.background = False
        self.value: Any = MISSING
        self.error: BaseException | None = None
        self.fallback: Any = MISSING
        self.fallback_until = 0.0
        self.event: threading.Event | None = None
        self.waiters: set[asyncio.Future[Any]] = set()
        self.task: asyncio.Task[None] | None = None
        self.waits_for: list[_Flight] = []
        parent = _current.get()
        while parent is not None and parent.done:
            parent = parent.parent
        self.parent: _Flight | None = parent

    def would_deadlock(self, caller: "_Flight | None") -> bool:
        """Tell whether this flight waits, directly or not, for one that *caller* runs in."""
        own = set()
        while caller is not None:
            own.add(caller)
            caller = caller.parent
        todo, seen = [self], {self}
        while own and todo:
            flight = todo.pop()
            if flight in own:
                return True
            todo += [other for other in flight.waits_for if other not in seen]
            seen.update(flight.waits_for)
        return False

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


_current: ContextVar[_Flight | None] = ContextVar("_current", default=None)


class Cache:
    """A bounded map that evicts what is cheapest to lose and counts what it saved.

    Args:
        max_size: Entries held at most, at least 1.
        ttl: Time an entry lives: seconds, a `timedelta`, a kind (`"factual"`), a function of the
            value that returns one of these, or None for ever. 0 means: do not store.
        policy: `"gdsf"` (cost-aware, the default), `"lru"`, or `"value"` (count × cost / age by an
            exact scan, slow).
        clock: Seconds that only grow, for expiry and for timing computations.
        kinds: Seconds by kind; a kind that is not listed takes `"default"`.
        uniform: Random numbers in [0, 1) for early refresh.

    Raises:
        CacheValueError: A size, time or policy is outside its range.
        CacheTypeError: *clock* is not callable, a size or time is no number.
    """

    def __init__(
        self,
        max_size: int = 1000,
        ttl: TTL = None,
        policy: Literal["gdsf", "lru", "value"] = "gdsf",
        clock: Clock = time.monotonic,
        *,
        kinds: Mapping[str, float] = KIND_TTL,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        if isinstance(max_size, bool) or not isinstance(max_size, int):
            raise CacheTypeError(f"max_size={max_size!r}: expected an int of at least 1")
        if max_size < 1:
            raise CacheValueError(f"max_size={max_size!r}: expected an int of at least 1")
        if not callable(clock):
            raise CacheTypeError(f"clock={clock!r}: expected a function that returns seconds")
        self.kinds = {kind: _seconds(f"kinds[{kind!r}]", each) for kind, each in kinds.items()}
        self.max_size, self.ttl, self.policy, self.clock = max_size, ttl, policy, clock
        self._check_ttl(ttl)
        # On Windows time.monotonic ticks every 16 ms, too coarse for a cost.
        self._timer = time.perf_counter if clock is time.monotonic else clock
        self._uniform = uniform
        self._policy = self._new_policy(policy)
        self._lock = threading.RLock()  # re-entrant, since a finalizer may call the cache
        self._table = _Table("")
        self._size = 0
        self._seq = itertools.count()
        self._deadlines: list[tuple[float, int, Entry]] = []
        self._tagged: dict[str, dict[int, Entry]] = {}
        self._trash: list[Any] = []
        self._flights: dict[tuple[_Table, Any, Any], _Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = 0
        self._counts = dict.fromkeys(COUNTS, 0)
        self._saved = self._spent = self._cost_sum = 0.0

    def _new_policy(self, name: str) -> _Gdsf:
        if name == "gdsf":
            return _Gdsf(self.max_size)
        if name == "lru":
            return _Lru(self.max_size)
        if name == "value":
            return _Value(self.max_size, self._worth)
        raise CacheValueError(f"policy={name!r}: expected one of 'gdsf', 'lru', 'value'")

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of *key*, or *default*.

        Raises:
            CacheTypeError: *key* is not hashable.
        """
        if key.__class__ not in PLAIN:
            key = _typed(key, content=False)
        entry = self._table.entries.get(key)
        if entry is not None:
            value, soft = entry[VALUE], entry[SOFT]
            if soft is None or self.clock() < soft:
                self._hit(entry)
                return value
        with self._lock:
            entry = self._live(self._table, key)
            if entry is None:
                self._counts["misses"] += 1
                return default
            self._hit(entry)
            return entry[VALUE]

    def peek(self, key: Any, default: Any = None) -> Any:
        """Return the value of *key*, or *default*, without counting a lookup."""
        with self._lock:
            entry = self._live(self._table, _typed(key, content=False))
            return default if entry is None else entry[VALUE]

    def __contains__(self, key: Any) -> bool:
        return self.peek(key, MISSING) is not MISSING

    def __len__(self) -> int:
        with self._lock:
            self._sweep(self.clock())
            self._trash.clear()
            return self._size

    def set(
        self,
        key: Any,
        value: Any,
        *,
        cost: float | None = None,
        ttl: TTL = None,
        tags: Iterable[str] = (),
    ) -> None:
        """Store *value*.

        Args:
            key: Any hashable; 1, 1.0, True and "1" are four keys.
            value: Anything, None included.
            cost: Seconds (or another unit, the same for all) to compute it again; without one the
                mean of those known decides on eviction, and hits save nothing.
            ttl: As for the cache, which also gives the default; `math.inf` for ever, 0 removes
                the key.
            tags: Names for `invalidate_tag`.

        Raises:
            CacheTypeError: *key* is not hashable, or an argument has a wrong type.
            CacheValueError: *cost* or *ttl* is negative or no number.
        """
        key = _typed(key, content=False)
        labels = _labels(tags) if tags else frozenset[str]()
        given = 0.0 if cost is None else _seconds("cost", cost, finite=True)
        lifetime = self._lifetime(ttl, value)
        with self._lock:
            if self._flights:
                self._disown(lambda flight: flight.place[:2] == (self._table, key))
            if cost is not None:
                self._count_cost(given, given)
            self._insert(self._table, key, value, lifetime, labels, cost=cost, seconds=given)

    def get_or_compute(self, key: Any, function: Callable[[], R], *, ttl: TTL = None) -> R:
        """Return the value of *key*, or that of *function*, called once for all threads."""
        key = _typed(key, content=False)
        return cast("R", self._call(self._table, key, _Rules(ttl=ttl), function, (), {}))

    async def aget_or_compute(
        self, key: Any, function: Callable[[], Awaitable[R]], *, ttl: TTL = None
    ) -> R:
        """Return the value of *key*, or that of *function*, awaited once for all tasks."""
        key = _typed(key, content=False)
        return cast("R", await self._acall(self._table, key, _Rules(ttl=ttl), function, (), {}))

    def delete(self, key: Any) -> bool:
        """Remove *key*; return whether it was there. A computation under way will not be stored."""
        return self._delete(self._table, _typed(key, content=False))

    def invalidate(self, pattern: str) -> int:
        """Remove the entries whose key matches the glob *pattern*; return their number.

        A string is matched as it is, a tuple joined by ":", an entry of a cached function as
        `qualname:argument:…`. Case counts; `*` matches everything, `[[]` a bracket.

        Raises:
            CacheTypeError: *pattern* is no string.
            CacheValueError: *pattern* is empty or has an unclosed bracket.
        """
        match = _glob(pattern)
        return self._remove_where(lambda table, key, _: match(table.text(key)) is not None)

    def invalidate_tag(self, tag: str) -> int:
        """Remove the entries tagged *tag*; return their number."""
        with self._lock:
            self._disown(lambda flight: tag in flight.tags)
            tagged = list(self._tagged.get(tag, {}).values())
            for entry in tagged:
                self._drop(entry, "invalidations")
            self._trash.clear()
        return len(tagged)

    def clear(self) -> int:
        """Remove all entries, return their number; the counts of `stats` go on."""
        with self._lock:
            removed = self._remove_where(lambda *_: True)
            self._policy.forget()
            self._policy.compact()
            self._deadlines.clear()
        return removed

    def _delete(self, table: _Table, key: Any) -> bool:
        with self._lock:
            self._disown(lambda flight: flight.place[:2] == (table, key))
            entry = self._live(table, key)
            if entry is not None:
                self._drop(entry, "invalidations")
                self._trash.clear()
        return entry is not None

    def _remove_where(self, condition: Callable[[_Table, Any, frozenset[str]], bool]) -> int:
        with self._lock:
            self._sweep(self.clock())
            self._disown(lambda flight: condition(*flight.place[:2], flight.tags))
            found = [e for e in self._entries() if condition(e[TABLE], e[KEY], e[TAGS])]
            for entry in found:
                self._drop(entry, "invalidations")
            self._trash.clear()
        return len(found)

    def _disown(self, condition: Callable[[_Flight], bool]) -> None:
        """Let the flights in question end for their waiters alone: later callers start anew."""
        for place, flight in list(self._flights.items()):
            if condition(flight):
                flight.keep = False
                del self._flights[place]

    def stats(self) -> CacheStats:
        """Return what the cache did so far; O(n), since hits are counted in the entries."""
        with self._lock:
            self._sweep(self.clock())
            self._trash.clear()
            hits, saved = self._counts["hits"], self._saved
            for entry in self._entries():
                hits += entry[COUNT] - entry[COUNTED]
                saved += (entry[COUNT] - entry[COUNTED]) * entry[SECONDS]
            return CacheStats(
                size=self._size,
                max_size=self.max_size,
                time_saved=saved,
                time_spent=self._spent,
                **{**self._counts, "hits": hits},
            )

    def value(self, key: Any) -> float:
        """Return count × cost / age of *key*, by which policy `"value"` goes; 0 if absent."""
        with self._lock:
            entry = self._live(self._table, _typed(key, content=False))
            return 0.0 if entry is None else self._worth(entry)

    def __repr__(self) -> str:
        stats = self.stats()
        return (
            f"<Cache policy={self.policy!r} size={stats.size}/{self.max_size} ttl={self.ttl!r} "
            f"hits={stats.hits} misses={stats.misses} hit_rate={stats.hit_rate:.2f} "
            f"time_saved={stats.time_saved:.3g} s>"
        )

    def _entries(self) -> Iterator[Entry]:
        return (entry for entry in self._policy.heap if entry[TABLE] is not None)

    def _hit(self, entry: Entry) -> None:
        entry[COUNT] += 1
        if self._policy.touch is None:
            entry[MARK] = self._policy.level[0]
        else:
            self._policy.touch(entry)

    def _worth(self, entry: Entry) -> float:
        age = max(self.clock() - entry[BORN], 1.0)  # a new entry must not divide by zero
        return cast("float", entry[COUNT] * entry[COST] / age)

    def _live(self, table: _Table, key: Any) -> Entry | None:
        """Return the entry of *key* unless it has expired."""
        entry = table.entries.get(key)
        if entry is None or (now := self.clock()) < entry[HARD]:
            return entry
        self._sweep(now)
        self._trash.clear()
        return None

    def _sweep(self, now: float) -> None:
        deadlines = self._deadlines
        while deadlines and (deadlines[0][0] <= now or deadlines[0][2][TABLE] is None):
            entry = heapq.heappop(deadlines)[2]
            if entry[TABLE] is not None:
                self._expire(entry)

    def _expire(self, entry: Entry) -> None:
        self._policy.remember(entry)
        self._drop(entry, "expirations")

    def _drop(self, entry: Entry, reason: str | None) -> None:
        if reason is not None:
            self._counts[reason] += 1
        hits = entry[COUNT] - entry[COUNTED]
        self._counts["hits"] += hits
        self._saved += hits * entry[SECONDS]
        del entry[TABLE].entries[entry[KEY]]
        self._size -= 1
        for tag in entry[TAGS]:
            tagged = self._tagged[tag]
            del tagged[entry[SEQ]]
            if not tagged:
                del self._tagged[tag]
        # Dropping the last reference may run a finalizer that calls the cache: not here, halfway.
        self._trash += (entry[KEY], entry[VALUE])
        entry[TABLE] = None
        entry[SOFT] = -math.inf
        entry[KEY] = entry[VALUE] = None

    def _count_cost(self, seconds: float, cost: float) -> None:
        self._counts["computations"] += 1
        self._spent += seconds
        self._cost_sum += cost

    def _insert(  # noqa: PLR0913 - the fields of an entry
        self,
        table: _Table,
        key: Any,
        value: Any,
        lifetime: float,
        tags: frozenset[str],
        *,
        cost: float | None,
        seconds: float,
        grace: float = 0.0,
        lead: float = 0.0,
    ) -> None:
        """Store an entry; seconds to live, and how much longer to keep, earlier to refresh it."""
        now = self.clock()
        policy = self._policy
        old = table.entries.get(key)
        if old is not None:
            count = old[COUNT] + 1
            self._drop(old, "expirations" if old[HARD] <= now else None)
        else:
            count = policy.recall(table, key) + 1
        if lifetime <= 0:
            self._trash.clear()
            return
        self._sweep(now)
        if self._size >= self.max_size:
            victim = policy.victim()
            policy.evicted(victim)
            self._drop(victim, "evictions")
        if cost is None:
            cost = self._cost_sum / computed if (computed := self._counts["computations"]) else 1.0
        hard = now + lifetime
        soft = None if hard == math.inf else hard - lead
        if value.__class__ is _Failure:
            soft = -math.inf  # never returned by the path without a lock
        seq = next(self._seq)
        entry: Entry = [0.0, seq, key, value, soft, count, 0.0]
        entry += [max(cost, 1e-9), count, seconds, hard, now, tags, table]
        table.entries[key] = entry
        self._size += 1
        policy.add(entry)
        for tag in tags:
            self._tagged.setdefault(tag, {})[seq] = entry
        if soft is not None:
            heapq.heappush(self._deadlines, (hard + grace, seq, entry))
        self._compact()
        self._trash.clear()

    def _compact(self) -> None:
        """Drop the removed entries that heaps still hold, before they outnumber the others."""
        if len(self._policy.heap) > 2 * self._size + 64:
            self._policy.compact()
        if len(self._deadlines) > 2 * self._size + 64:
            self._deadlines = [each for each in self._deadlines if each[2][TABLE] is not None]
            heapq.heapify(self._deadlines)

    def _check_ttl(self, ttl: Any) -> None:
        if ttl is not None and not callable(ttl):
            self._lifetime(ttl, None)

    def _lifetime(self, ttl: TTL, value: Any) -> float:
        """Return the seconds that *ttl* means for *value*; `inf` is for ever."""
        if ttl is None:
            ttl = self.ttl
        if callable(ttl):
            ttl = ttl(value)
        if ttl is None:
            return math.inf
        if isinstance(ttl, str):
            found = self.kinds.get(ttl, self.kinds.get("default"))
            if found is None:
                raise CacheValueError(
                    f"ttl={ttl!r}: expected one of the kinds {sorted(self.kinds)}"
                )
            return found
        return _seconds("ttl", ttl)

    def _begin(self, flight: _Flight, *, again: bool = False) -> tuple[str, Any]:
        """Decide what a caller with a *flight* ready to start does.

        Returns:
            "return" and a value, "raise" and an error, "join" and another's flight, or "lead" or
            "refresh" and the caller's own.
        """
        with self._lock:
            todo, found = self._look(flight)
            if todo in ("return", "raise"):
                return todo, found
            self._trash.clear()
            self._forget_closed_loops(flight.place[2])
            other = self._flights.get(flight.place)
            if todo == "lead" and not again:
                self._counts["misses"] += 1
            if other is None:
                self._flights[flight.place] = flight
            elif todo == "refresh":
                return "return", flight.fallback
            elif not other.would_deadlock(_current.get()):
                self._counts["coalesced"] += not again
                if flight.place[2] is None:
                    other.event = other.event or threading.Event()
                self._link(other)
                return "join", other
            # Otherwise the other one waits for this caller, who therefore computes aside.
            self._counts["refreshes"] += todo == "refresh"
            self._link(flight)
            return todo, flight

    def _look(self, flight: _Flight) -> tuple[str, Any]:
        """Tell what the entry alone says; note in *flight* the value to fall back on."""
        table, key, _ = flight.place
        entry = table.entries.get(key)
        if entry is None:
            return "lead", None
        now, value = self.clock(), entry[VALUE]
        is_failure = isinstance(value, _Failure)
        flight.fallback_until = entry[HARD] + flight.rules.stale
        if now < entry[HARD]:
            self._hit(entry)
            if is_failure:
                return "raise", value.error
            if entry[SOFT] is None or now < entry[SOFT]:
                return "return", value
            entry[SOFT] = entry[HARD]  # nobody else refreshes this entry
            flight.fallback, flight.background = value, True
            return "refresh", None
        if now < flight.fallback_until and not is_failure:
            flight.fallback = value
        else:
            self._expire(entry)
        return "lead", None

    def _link(self, flight: _Flight) -> None:
        caller = _current.get()
        if caller is not None:
            caller.waits_for.append(flight)

    def _unlink(self, flight: _Flight) -> None:
        caller = _current.get()
        if caller is not None:
            with self._lock:
                caller.waits_for.remove(flight)

    def _forget_closed_loops(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """A loop closed during a flight never ends it; look when another loop shows up."""
        if loop is not None and id(loop) != self._loop:
            self._loop = id(loop)
            self._disown(lambda flight: flight.place[2] is not None and flight.place[2].is_closed())

    # The user's arguments go as two values: as keywords they could collide with names of ours.
    def _call(
        self, table: _Table, key: Any, rules: _Rules, call: Any, args: Any, kwargs: Any
    ) -> Any:
        flight = _Flight((table, key, None), rules, args, kwargs)
        again = False
        while True:
            todo, found = self._begin(flight, again=again)
            if todo == "return":
                return found
            if todo == "raise":
                raise found
            if todo != "join":
                return self._lead(flight, call, args, kwargs)
            try:
                found.event.wait()
            finally:
                self._unlink(found)
            if found.error is None or isinstance(found.error, Exception):
                return found.result()
            again = True  # the leader was interrupted, which is nothing to hand on

    def _lead(self, flight: _Flight, call: Any, args: Any, kwargs: Any) -> Any:
        token = _current.set(flight)
        try:
            began = self._timer()
            value = call(*args, **kwargs)
            self._keep(flight, value, self._timer() - began)
        except BaseException as error:  # noqa: BLE001 - the waiters must learn of any
            self._failed(flight, error)
        finally:
            _current.reset(token)
            self._end(flight)
            self._unlink(flight)
            if flight.event is not None:
                flight.event.set()
        if flight.background and isinstance(flight.error, Exception):
            return flight.fallback  # valid when its caller asked for it
        return flight.result()

    async def _acall(
        self, table: _Table, key: Any, rules: _Rules, call: Any, args: Any, kwargs: Any
    ) -> Any:
        loop = asyncio.get_running_loop()
        todo, found = self._begin(_Flight((table, key, loop), rules, args, kwargs))
        if todo == "return":
            return found
        if todo == "raise":
            raise found
        flight: _Flight = found
        if todo != "join":
            task = flight.task = loop.create_task(self._fly(flight, call, args, kwargs))
            self._tasks.add(task)  # the loop itself holds tasks weakly
            task.add_done_callback(functools.partial(self._settle, flight))
            if flight.background:
                self._unlink(flight)
                return flight.fallback
        waiter = loop.create_future()
        flight.waiters.add(waiter)
        try:
            return await waiter
        finally:
            self._unlink(flight)
            flight.waiters.discard(waiter)
            if not (flight.waiters or flight.done or flight.background):
                self._end(flight)  # nobody shall join what is being cancelled
                if flight.task is not None and not loop.is_closed():
                    flight.task.cancel()

    async def _fly(self, flight: _Flight, call: Any, args: Any, kwargs: Any) -> None:
        _current.set(flight)
        began = self._timer()
        value = await call(*args, **kwargs)
        self._keep(flight, value, self._timer() - began)

    def _settle(self, flight: _Flight, task: asyncio.Task[None]) -> None:
        """End an async flight, also that of a task cancelled before its first step."""
        self._tasks.discard(task)
        self._end(flight)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failed(flight, error)
        for waiter in flight.waiters:
            if waiter.done():
                continue
            if task.cancelled():
                waiter.cancel()
            elif flight.error is not None:
                waiter.set_exception(flight.error)
            else:
                waiter.set_result(flight.value)

    def _end(self, flight: _Flight) -> None:
        with self._lock:
            flight.done = True
            if self._flights.get(flight.place) is flight:
                del self._flights[flight.place]

    def _keep(self, flight: _Flight, value: Any, seconds: float) -> None:
        """Store what a flight computed, unless its key was invalidated meanwhile."""
        if isinstance(value, Awaitable):
            if inspect.iscoroutine(value):
                value.close()
            raise CacheTypeError(
                f"{flight.place[0].name}() returned {value!r}, which serves one caller only; "
                "expected a value: decorate the async function itself"
            )
        flight.value, rules = value, flight.rules
        lifetime = self._lifetime(flight.ttl, value)
        cost = seconds if rules.cost is None else rules.cost(value)
        cost = _seconds("cost", cost, finite=True)
        table, key, _ = flight.place
        with self._lock:
            self._count_cost(seconds, cost)
            if not flight.keep:
                return
            old = table.entries.get(key)
            average = seconds
            if old is not None and not isinstance(old[VALUE], _Failure):
                cost, average = (cost + old[COST]) / 2, (seconds + old[SECONDS]) / 2
            # XFetch (Vattani et al., VLDB 2015): refresh once now - cost · early · ln(rand) ≥
            # expiry. Drawn once an entry instead of once a lookup: in one process single-flight
            # holds the herd back, and a hit stays a comparison of two numbers.
            lead = -average * rules.early * math.log(1.0 - self._uniform()) if rules.early else 0.0
            self._insert(
                table, key, value, lifetime, flight.tags,
                cost=cost, seconds=average, grace=rules.stale, lead=lead,
            )  # fmt: skip

    def _failed(self, flight: _Flight, error: BaseException) -> None:
        """Decide what waiters get instead of a value, and whether later callers get it too."""
        flight.error = error
        if not isinstance(error, Exception):
            return
        table, key, _ = flight.place
        with self._lock:
            self._counts["errors"] += 1
            if flight.fallback is not MISSING and self.clock() < flight.fallback_until:
                flight.value, flight.error = flight.fallback, None
                self._counts["stale"] += 1
                return
            seconds = next(
                (s for kind, s in flight.rules.errors.items() if isinstance(error, kind)), 0.0
            )
            if seconds and flight.keep:
                self._insert(
                    table, key, _Failure(error), seconds, flight.tags, cost=0.0, seconds=0.0
                )


class CachedFunction(Protocol[P, R_co]):
    """A function with a cache in front."""

    cache: Cache

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Return the cached value, or compute it."""
        ...

    def __get__(self, instance: object, owner: type | None = None) -> Callable[..., R_co]:
        """Bind to an instance, as every function does."""
        ...

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the entry of these arguments; return whether it was there."""
        ...

    def stats(self) -> CacheStats:
        """Return the figures of the whole cache."""
        ...


def cached(  # noqa: PLR0913 - options, each by keyword
    cache: Cache | None = None,
    *,
    max_size: int = 1000,
    ttl: TTL = None,
    policy: Literal["gdsf", "lru", "value"] = "gdsf",
    clock: Clock = time.monotonic,
    key: Callable[..., Any] | None = None,
    ignore: Iterable[str] = (),
    kind: str | Callable[..., str] | None = None,
    cost: Callable[[Any], float] | None = None,
    tags: Tags = (),
    early: float = 0.0,
    stale_if_error: float = 0.0,
    errors: Mapping[type[Exception], float] | None = None,
) -> Callable[[Callable[P, R]], CachedFunction[P, R]]:
    """Return a decorator that answers repeated calls from a cache.

    Works on functions and async functions. Concurrent callers of a key share one computation: its
    value, or its exception, which is not cached. Cancelling one async caller leaves the others
    theirs; cancelling the last cancels the computation. `f(1)`, `f(x=1)` and a default of 1 are one
    key; lists, dicts and sets count by content, through a canonical sha256.

    Args:
        cache: A cache to share with other functions; without one a new one is made.
        max_size: As for `Cache`, and only without *cache*.
        ttl: Lifetime of this function's values; see `Cache`. To store successes only:
            `lambda answer: 3600 if answer.ok else 0`.
        policy: As for `Cache`, and only without *cache*.
        clock: As for `Cache`, and only without *cache*.
        key: Function of the arguments that returns the key.
        ignore: Names of parameters that are no part of the key, such as `self` or a client.
        kind: A ttl kind, or a function of the arguments that returns one (`"factual"`,
            `"creative"`), instead of *ttl*.
        cost: Function of the value: what losing it would cost (tokens, money). Without one: the
            seconds measured.
        tags: Names for `Cache.invalidate_tag`, or a function of the arguments that returns them.
        early: Above 0, refresh at random up to a few × computing time before expiry (XFetch; 1 is
            the paper's choice). An async caller gets the present value at once, a sync caller
            computes the new one.
        stale_if_error: Seconds after expiry in which the old value answers for a computation that
            fails.
        errors: Seconds to cache an exception, by type: `{TimeoutError: 5}`.

    Raises:
        CacheTypeError: An argument has a wrong type, or what is decorated is no function, or a
            generator function.
        CacheValueError: A size or time is outside its range, or an option contradicts another.
    """
    if cache is None:
        cache = Cache(max_size, ttl, policy, clock)
    elif not isinstance(cache, Cache):
        raise CacheTypeError(
            f"cache={cache!r}: expected a Cache, as in @cached(Cache()) or @cached(max_size=100)"
        )
    elif (max_size, policy, clock) != (1000, "gdsf", time.monotonic):
        raise CacheValueError(
            "max_size, policy and clock belong to the cache that was given; set them there"
        )
    if kind is not None and ttl is not None:
        raise CacheValueError(f"kind={kind!r} and ttl={ttl!r}: expected one of the two")
    for name, function in (("key", key), ("cost", cost)):
        if function is not None and not callable(function):
            raise CacheTypeError(f"{name}={function!r}: expected a function")
    for each in (ttl, kind):
        cache._check_ttl(each)  # noqa: SLF001 - the decorator is part of the cache
    rules = _Rules(
        ttl=ttl,
        cost=cost,
        tags=tags if callable(tags) else _labels(tags),
        kind=kind,
        early=_seconds("early", early, finite=True),
        stale=_seconds("stale_if_error", stale_if_error, finite=True),
        errors=_checked_errors(errors or {}),
    )
    ignored = _labels(ignore, "ignore")
    return lambda function: _wrap(cache, rules, function, key, ignored)


def _wrap(
    cache: Cache,
    rules: _Rules,
    function: Callable[P, R],
    key_of: Callable[..., Any] | None,
    ignore: frozenset[str],
) -> CachedFunction[P, R]:
    is_async = _check_function(function)
    table = _Table(getattr(function, "__qualname__", type(function).__name__))
    keys = _Keys(function, ignore)
    make_key: Callable[[Any, Any], Any] = keys
    if key_of is not None:
        make_key = lambda args, kwargs: _typed(key_of(*args, **kwargs), name=keys.name)  # noqa: E731
    has_one = keys.is_single and key_of is None
    find, clock = table.entries.get, cache.clock
    policy = cache._policy  # noqa: SLF001 - the decorator is part of the cache
    level, touch, plain = policy.level, policy.touch, PLAIN
    call = cache._acall if is_async else cache._call  # noqa: SLF001 - the same

    # The hit stands here and not in a method: a call would cost as much as all of it.
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if has_one and not kwargs and len(args) == 1 and args[0].__class__ in plain:
            key = args[0]
        else:
            key = make_key(args, kwargs)
        entry = find(key)
        if entry is not None:
            value = entry[VALUE]
            soft = entry[SOFT]
            if soft is None or clock() < soft:
                entry[COUNT] += 1
                if touch is None:
                    entry[MARK] = level[0]
                else:
                    touch(entry)
                return value
        return call(table, key, rules, function, args, kwargs)

    async def async_wrapper(*args: Any, **kwargs: Any) -> Any:
        found = wrapper(*args, **kwargs)
        # On a miss, and only then, a coroutine: none is ever stored.
        return await found if found.__class__ is CoroutineType else found

    def invalidate(*args: Any, **kwargs: Any) -> bool:
        return cache._delete(table, make_key(args, kwargs))  # noqa: SLF001 - the same

    outer: Any = functools.wraps(function)(async_wrapper if is_async else wrapper)
    outer.cache, outer.invalidate, outer.stats = cache, invalidate, cache.stats
    return cast("CachedFunction[P, R]", outer)


def _check_function(function: Any) -> bool:
    """Return whether *function* is async, once it is clear that its results can be cached."""
    if inspect.iscoroutine(function):
        function.close()
        raise CacheTypeError(f"cached() got the coroutine {function!r}; decorate its function")
    if not callable(function) or isinstance(function, type | Cache):
        raise CacheTypeError(f"cached() got {function!r}; expected a function or an async function")
    call = getattr(function, "__call__", None)  # noqa: B004 - an object's own may be async
    for each in (function, call):
        if inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each):
            raise CacheTypeError(
                f"cached() got the generator function {function!r}, good for one use only"
            )
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


class _Keys:
    """Makes keys of a function's arguments: `f(1)` and `f(x=1)` are one."""

    def __init__(self, function: Callable[..., Any], ignore: frozenset[str]) -> None:
        self.name = getattr(function, "__qualname__", repr(function))
        try:
            signature = inspect.signature(function)
        except ValueError:  # some builtins have none
            signature = inspect.Signature()
        parameters = list(signature.parameters.values())
        names = [p.name for p in parameters]
        if not ignore <= set(names):
            raise CacheValueError(f"ignore={sorted(ignore)}: expected some of {names}")
        self._signature, self._size = signature, len(names)
        self._used = [at for at, name in enumerate(names) if name not in ignore]
        self._is_partial = bool(ignore)
        self._is_simple = not any(
            p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.KEYWORD_ONLY) for p in parameters
        )
        # A positional-only name is not looked up among the keywords.
        self._defaults = [
            (None if p.kind is p.POSITIONAL_ONLY else p.name, p.default) for p in parameters
        ]
        self.is_single = self._is_simple and self._size == 1 and not ignore

    def __call__(self, args: tuple[Any, ...], kwargs: dict[Any, Any]) -> Any:
        values = args
        if kwargs or len(args) != self._size or not self._is_simple:
            values = self._bound(args, kwargs)
        if self._is_partial and not (values and values[0] is _Keys):
            values = tuple([values[at] for at in self._used])
        for value in values:
            if value.__class__ not in PLAIN:
                values = tuple([_typed(value, name=self.name) for value in values])
                break
        return values[0] if len(values) == 1 else values

    def _bound(self, args: tuple[Any, ...], kwargs: dict[Any, Any]) -> tuple[Any, ...]:
        if self._is_simple and len(args) <= self._size:  # 5 × faster than Signature.bind
            rest = self._defaults[len(args) :]
            values = args + tuple([kwargs.get(name, default) for name, default in rest])
            named = sum([name in kwargs for name, _ in rest])
            if named == len(kwargs) and not any(v is inspect.Parameter.empty for v in values):
                return values
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError:
            # The function itself knows best whether to refuse, and what to say.
            return (_Keys, args, tuple(sorted(kwargs.items())))
        bound.apply_defaults()
        return tuple(
            tuple(sorted(value.items())) if parameter.kind is parameter.VAR_KEYWORD else value
            for parameter, value in zip(
                self._signature.parameters.values(), bound.arguments.values(), strict=True
            )
        )


def _typed(value: Any, *, name: str = "", content: bool = True) -> Any:
    """Return a hashable that equals another value's only if their types and contents agree.

    Raises:
        CacheTypeError: *value* holds an unhashable object, or without *content* a list, dict or
            set.
    """
    cls = value.__class__
    if cls in PLAIN:
        return value
    if cls is float:  # NaN does not equal itself, -0.0 and 0.0 do equal
        return (float, value if value and not math.isnan(value) else repr(value))
    if cls is tuple or (isinstance(value, tuple) and hasattr(cls, "_fields")):
        return (cls, *[_typed(each, name=name, content=content) for each in value])
    if cls is frozenset:
        return (cls, frozenset([_typed(each, name=name, content=content) for each in value]))
    try:
        if content and cls in (list, dict, set):
            leaves: list[Any] = []
            digest = hashlib.sha256(_encoded(value, leaves, name)).digest()
            return (cls, digest, *leaves)
        hash(value)
    except RecursionError:
        raise CacheTypeError(
            f"argument {reprlib.repr(value)} of {name}: it is nested too deeply; pass key="
        ) from None
    except CacheTypeError:
        raise
    except TypeError as error:
        if not content:
            raise CacheTypeError(
                f"key {reprlib.repr(value)}: {error}; expected a hashable object"
            ) from None
        raise CacheTypeError(
            f"argument {reprlib.repr(value)} of {name}: {error}; expected hashable objects, lists, "
            "dicts or sets; for others pass key=, or leave the parameter out by ignore="
        ) from None
    return (cls, value)


def _encoded(value: Any, leaves: list[Any], name: str) -> bytes:
    """Return tag, length and content of *value*, whatever the order of its dicts and sets.

    A hashable object that has no canonical bytes is appended to *leaves*, which belong into the
    key, and its number stands in its place.
    """
    cls = value.__class__
    if cls in _SCALARS:
        code = _SCALARS[cls](value)
        return b"%c%d:%b" % (_TAGS[cls], len(code), code)
    if cls is list or cls is tuple:
        code = b"".join([_encoded(each, leaves, name) for each in value])
        return b"%c%d:%b" % (_TAGS[cls], len(code), code)
    leaf = value
    if cls in _TAGS:
        own: list[Any] = []
        members = sorted([(_encoded(each, own, name), at) for at, each in enumerate(value)])
        if not own:
            values = list(value.values()) if cls is dict else None
            codes = [
                c + (_encoded(values[at], leaves, name) if values else b"") for c, at in members
            ]
            code = b"".join(codes)
            return b"%c%d:%b" % (_TAGS[cls], len(code), code)
        # The numbers of leaves would depend on the order, which opaque members do not have.
        items = value.items() if cls is dict else value
        leaf = (cls, frozenset([_typed(each, name=name) for each in items]))
    leaves.append(_typed(leaf, name=name))
    return b"o%d:" % len(leaves)


_SCALARS: Final[Mapping[type, Callable[[Any], bytes]]] = {
    str: lambda value: value.encode("utf-8", "surrogatepass"),
    bytes: lambda value: value,
    int: lambda value: b"%x" % value,  # not str(), which refuses more than 4300 digits
    float: lambda value: value.hex().encode(),
    bool: lambda value: b"%d" % value,
    type(None): lambda _: b"",
}
_TAGS: Final = dict(
    zip((*_SCALARS, list, tuple, dict, set, frozenset), b"sbifBNltdSF", strict=True)
)


def _text(key: Any) -> str:
    if key.__class__ is tuple:
        parts = key[1:] if key and isinstance(key[0], type) else key
        return ":".join([_text(part) for part in parts])
    return key.hex() if isinstance(key, bytes) else str(key)


def key_of(key: Any) -> Any:
    """Return what stands for the hashable *key*: 1, 1.0, True and "1" differ."""
    return _typed(key, content=False)


def seconds_of(name: str, value: Any) -> float:
    """Return *value*, a number or a timedelta, in seconds.

    Raises:
        CacheTypeError: It is neither; *name* says which argument it was.
        CacheValueError: It is negative or NaN.
    """
    return _seconds(name, value)


def _seconds(name: str, value: Any, *, finite: bool = False) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        expected = "seconds or a timedelta" if finite else "seconds, a timedelta, a kind or None"
        raise CacheTypeError(f"{name}={value!r}: expected {expected}")
    if not value >= 0 or (finite and value == math.inf):
        expected = "a finite number" if finite else "seconds"
        raise CacheValueError(f"{name}={value!r}: expected {expected}, at least 0")
    return float(value)


def _labels(names: Any, argument: str = "tags") -> frozenset[str]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise CacheTypeError(f"{argument}={names!r}: expected several strings, such as ('users',)")
    found = frozenset(names)
    if not all(isinstance(name, str) for name in found):
        raise CacheTypeError(f"{argument}={names!r}: expected strings")
    return found


def _checked_errors(errors: Any) -> dict[type[Exception], float]:
    if not isinstance(errors, Mapping):
        raise CacheTypeError(
            f"errors={errors!r}: expected seconds by exception type, such as {{TimeoutError: 5}}"
        )
    for kind in errors:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise CacheTypeError(
                f"errors={errors!r}: expected subclasses of Exception, got {kind!r}"
            )
    return {kind: _seconds(f"errors[{kind.__name__}]", each) for kind, each in errors.items()}


def _glob(pattern: Any) -> Callable[[str], re.Match[str] | None]:
    if not isinstance(pattern, str):
        raise CacheTypeError(
            f"pattern={pattern!r}: expected a string with a glob, such as 'user:*'"
        )
    rest = re.sub(r"\[!?+(\][^\]]*|[^\]]+)\]", "", pattern)
    if not pattern or "[" in rest:
        raise CacheValueError(
            f"pattern={pattern!r}: expected a glob such as 'user:*', every bracket closed; "
            "'[[]' matches a bracket"
        )
    return re.compile(fnmatch.translate(pattern)).match
