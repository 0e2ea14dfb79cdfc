"""A cost-aware cache for slow calls: GDSF eviction, single-flight, measured savings.

Copy this file into your project: it needs Python 3.11 and the standard library.

How it works. A hit takes no lock and moves nothing: it raises a count in its entry and notes the
policy's time. An eviction corrects the heap for the hits since the last one. Callers who ask for
a key at the same time share one computation, a *flight*, which goes on while one of them waits.

Values are returned as stored: who changes a cached list changes it for everybody. Under threads a
few hits may go uncounted; no value is ever lost or mixed up. Where all costs are equal and keys
come in a loop slightly larger than the cache, W-TinyLFU keeps more than this policy.
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
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from types import CoroutineType, MappingProxyType, TracebackType
from typing import (
    Any,
    Final,
    Literal,
    NamedTuple,
    ParamSpec,
    Protocol,
    Self,
    TypeAlias,
    TypeVar,
    cast,
)

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
PolicyName: TypeAlias = Literal["gdsf", "lru", "value"]
TTL: TypeAlias = float | timedelta | str | Callable[[Any], Any] | None
Tags: TypeAlias = Iterable[str] | Callable[..., Iterable[str]]

KIND_TTL: Final[Mapping[str, float]] = {"factual": 86_400.0, "creative": 300.0, "default": 3_600.0}
"""Seconds that an answer of each kind is kept; a kind that is not listed takes `default`."""

MISSING: Final[Any] = object()
PLAIN: Final = frozenset({str, int, bytes, type(None)})  # these equal their own kind alone
COUNTS: Final = (
    "hits", "misses", "evictions", "expirations", "invalidations",
    "coalesced", "computations", "errors", "refreshes", "stale",
)  # fmt: skip


class CacheError(Exception):
    """Any error that a cache raises on purpose."""


class CacheValueError(CacheError, ValueError):
    """An argument out of range."""


class CacheTypeError(CacheError, TypeError):
    """An argument of the wrong type, or one that no key can be made of."""


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
        return self.hits / max(self.lookups, 1)

    @property
    def saved_rate(self) -> float:
        """Share of the time that all lookups would have cost and did not, 0 to 1."""
        total = self.time_saved + self.time_spent
        return self.time_saved / total if total else 0.0

    @property
    def average_computation_time(self) -> float:
        """Seconds a computation took on average; 0 without computations."""
        return self.time_spent / max(self.computations, 1)


# What is accepted is returned. The first three serve tiers.py too.


def count_of(name: str, value: Any) -> int:
    """Return *value*, an int of at least 1, of the argument *name*."""
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if is_int and value >= 1:
        return cast("int", value)
    raise _refusal(name, value, "an int of at least 1", is_range=is_int)


def seconds_of(name: str, value: Any, *, most: float = math.inf, also: str = "") -> float:
    """Return *value*, a number or a timedelta, in seconds."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if is_number and 0 <= seconds <= most:
        return float(seconds)
    raise _refusal(name, value, f"seconds, at least 0, or a timedelta{also}", is_range=is_number)


def function_of(name: str, value: Any) -> Any:
    """Return *value* if it can be called."""
    if callable(value):
        return value
    raise _refusal(name, value, "a function")


def _names_of(name: str, value: Any) -> frozenset[str]:
    names = frozenset(value if hasattr(value, "__iter__") else (value,))
    if not isinstance(value, str) and all(isinstance(each, str) for each in names):
        return names
    raise _refusal(name, value, "several strings, such as ('users',)")


def _errors_of(name: str, value: Any) -> dict[type[Exception], float]:
    kinds = list(value) if isinstance(value, Mapping) else [value]
    if all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
        return {kind: seconds_of(f"{name}[{kind.__name__}]", value[kind]) for kind in kinds}
    raise _refusal(name, value, "seconds by subclass of Exception, such as {TimeoutError: 5}")


def _glob_of(name: str, value: Any) -> Callable[[str], re.Match[str] | None]:
    is_text = isinstance(value, str)
    if is_text and value and "[" not in re.sub(r"\[!?+(\][^\]]*|[^\]]+)\]", "", value):
        return re.compile(fnmatch.translate(value)).match
    wanted = "a glob such as 'user:*', every bracket closed; '[[]' matches a bracket"
    raise _refusal(name, value, wanted, is_range=is_text)


def _refusal(name: str, value: Any, wanted: str, *, is_range: bool = False) -> CacheError:
    kind = CacheValueError if is_range else CacheTypeError
    return kind(f"{name}={value!r}: expected {wanted}")


def key_of(key: Any) -> Any:
    """Return what stands for a hashable *key*: those of 1, 1.0, True and "1" differ."""
    try:
        hash(key)
        return _typed(key)
    except (TypeError, RecursionError) as error:
        wanted = "expected a hashable object"
        raise CacheTypeError(f"key {reprlib.repr(key)}: {error}; {wanted}") from error


def _typed(value: Any) -> Any:
    """Return a hashable that equals another value's only if their types and contents agree.

    An object that neither is hashable nor a list, dict or set is a TypeError.
    """
    cls, content = value.__class__, value
    if cls in PLAIN:
        return value
    if cls is tuple or (isinstance(value, tuple) and hasattr(cls, "_fields")):
        for each in value:  # mostly nothing but plain ones, which a loop finds out fastest
            if each.__class__ not in PLAIN:
                content = [_typed(each) for each in value]
                break
        content = tuple(content)
    elif cls is float:  # NaN does not equal itself, -0.0 and 0.0 do equal
        content = value if value and not math.isnan(value) else repr(value)
    elif cls in (list, dict, set, frozenset):
        content = _content(value)
    else:
        hash(value)
    return (cls, content)


def _content(value: Any) -> Any:
    """Return a sha256 of a collection, or, where it holds objects without a text, what it holds."""
    try:
        return hashlib.sha256(_canonical(value).encode()).digest()
    except KeyError:
        parts = [_typed(each) for each in (value.items() if isinstance(value, dict) else value)]
        return tuple(parts) if isinstance(value, list) else frozenset(parts)


# The texts of just these types tell all values of all of them apart.
_SCALARS: Final[Mapping[type, Callable[[Any], str]]] = {
    **dict.fromkeys((str, bytes, float, bool, type(None)), repr),
    int: hex,  # repr refuses more than 4300 digits
}


def _canonical(value: Any) -> str:
    """Return a text that equal contents of equal types have, and no others.

    A KeyError means: there is more than scalars and plain collections of them.
    """
    cls = value.__class__
    if cls is list or cls is tuple:
        parts = [_canonical(each) for each in value]
    elif cls is set or cls is frozenset:
        parts = sorted([_canonical(each) for each in value])
    elif cls is dict:
        parts = sorted([f"{_canonical(key)}:{_canonical(value[key])}" for key in value])
    else:
        return _SCALARS[cls](value)
    return f"{cls.__name__}[{','.join(parts)}]"


def _text(key: Any) -> str:
    """Return what a glob is matched against."""
    if key.__class__ is not tuple:
        return key.hex() if isinstance(key, bytes) else str(key)
    _, content = key
    return ":".join(map(_text, content)) if content.__class__ is tuple else _text(content)


@dataclass(slots=True, eq=False)
class _Entry:
    """One cached value; times by the cache's clock."""

    table: "_Table | None"  # none once the entry was removed
    key: Any
    value: Any
    tags: frozenset[str]
    number: int  # the later stored the higher
    count: int  # uses, also those before it was evicted and stored again
    counted: int  # those up to and with the storing
    cost: float
    seconds: float  # that a hit saves
    born: float
    expires: float  # when it expires
    fresh_until: float | None = None  # from when on a lookup takes the lock; None: never
    mark: float = 0.0  # the policy's time at the last use

    def worth(self, now: float) -> float:
        """Return count × cost / age, the age at least 1 for a new entry."""
        return self.count * self.cost / max(now - self.born, 1.0)


class _Heap(list[tuple[float, int, _Entry]]):
    """Entries by rank, the least on top; removed ones stay until they come up or are too many."""

    __slots__ = ()

    def push(self, rank: float, entry: _Entry, alive: int) -> None:
        heapq.heappush(self, (rank, entry.number, entry))
        if len(self) > 2 * alive + 64:
            self[:] = [item for item in self if item[2].table is not None]
            heapq.heapify(self)

    def pruned(self) -> "_Heap":
        """Return itself without removed entries on top."""
        while self and self[0][2].table is None:
            heapq.heappop(self)
        return self

    def alive(self) -> Iterator[_Entry]:
        return (entry for _, _, entry in self if entry.table is not None)


class _Lru:
    """Evicts what was not used for longest; the base of the policies.

    The entry of least priority goes. A use only ever raises a priority, so the rank in the heap is
    a lower bound, and correcting the top until its rank is right finds the true minimum.
    """

    step = 1.0  # by which a use advances the policy's time
    max_corrections = sys.maxsize

    def __init__(self, size: int, clock: Clock) -> None:
        self.size, self.clock = size, clock
        self.time = [0.0]  # a cell, for the hits in a closure
        self.heap = _Heap()

    def use(self, entry: _Entry) -> None:
        entry.count += 1
        entry.mark = self.time[0] = self.time[0] + self.step

    def priority(self, entry: _Entry) -> float:
        return entry.mark

    def evict(self) -> _Entry:
        """Return the entry to remove."""
        for corrections in itertools.count():
            rank, number, entry = self.heap.pruned()[0]
            priority = self.priority(entry)
            if priority <= rank or corrections == self.max_corrections:
                break
            heapq.heapreplace(self.heap, (priority, number, entry))
        return entry

    def remember(self, entry: _Entry) -> None:
        """Note the count of an entry that goes without being asked to."""

    def recall(self, table: "_Table", key: Any) -> int:  # noqa: ARG002 - for those who remember
        return 0


class _Gdsf(_Lru):
    """Greedy-Dual-Size-Frequency (Cherkasova, HPL-98-69) that remembers evicted counts.

    The priority is time + count × cost, half of it until the second use; the time is the priority
    of the last victim. Counts saturate where TinyLFU's four bits do, so that old fame ages out.
    """

    step = 0.0
    max_count = 15
    max_corrections = 16  # bounds one eviction at about 20 µs; costs no measurable hit

    def __init__(self, size: int, clock: Clock) -> None:
        super().__init__(size, clock)
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}

    def priority(self, entry: _Entry) -> float:
        weight = 0.5 if entry.count == 1 else min(entry.count, self.max_count)
        return entry.mark + weight * entry.cost

    def evict(self) -> _Entry:
        entry = super().evict()
        self.time[0] = self.heap[0][0]
        return entry

    def remember(self, entry: _Entry) -> None:
        # Hashes, not keys: nothing of the user's is kept alive, and a collision only mixes two
        # counts. Two generations, since deleting a dict's oldest keys one by one makes finding the
        # next one slow.
        self._young[hash((id(entry.table), entry.key))] = entry.count
        if len(self._young) >= self.size:
            self._young, self._old = {}, self._young

    def recall(self, table: "_Table", key: Any) -> int:
        name = hash((id(table), key))
        return self._young.pop(name, 0) or self._old.pop(name, 0)


class _Value(_Lru):
    """Evicts the least count × cost / age by a scan of all entries; kept for comparison."""

    def evict(self) -> _Entry:
        now = self.clock()
        return min(self.heap.alive(), key=lambda entry: entry.worth(now))


POLICIES: Final[Mapping[str, type[_Lru]]] = {"gdsf": _Gdsf, "lru": _Lru, "value": _Value}


@dataclass(slots=True, eq=False)
class _Table:
    """The entries of one function, or of `get` and `set`, and the rules they are kept by."""

    name: str = ""
    ttl: TTL = None
    kind: Callable[..., str] | None = None
    cost: Callable[[Any], float] | None = None
    tags: Tags = ()
    early: float = 0.0
    stale: float = 0.0
    errors: Mapping[type[Exception], float] = field(default_factory=dict)
    entries: dict[Any, _Entry] = field(default_factory=dict)

    def flight(self, key: Any, args: Any, kwargs: Any) -> "_Flight":
        ttl = self.kind(*args, **kwargs) if self.kind else self.ttl
        tags = self.tags(*args, **kwargs) if callable(self.tags) else self.tags
        return _Flight(self, key, ttl, _names_of("tags", tags))

    def text(self, key: Any) -> str:
        return f"{self.name}:{_text(key)}" if self.name else _text(key)


class _Failure(NamedTuple):
    """An exception, and its traceback, to which each `raise` would add."""

    error: BaseException
    traceback: TracebackType | None


@dataclass(slots=True, eq=False)
class _Flight:
    """A caller's wish for a value, and its computation, if it is the one that others join."""

    table: _Table
    key: Any
    ttl: TTL = None
    tags: frozenset[str] = frozenset()
    loop: asyncio.AbstractEventLoop | None = None
    event: Any = None  # set when done; of threading or of asyncio
    task: asyncio.Task[None] | None = None
    waiting: int = 0  # tasks
    waits_for: "list[_Flight]" = field(default_factory=list)  # joined by what runs in this one
    keep: bool = True  # no longer once the key was invalidated
    done: bool = False
    is_counted: bool = False
    is_refresh: bool = False
    value: Any = MISSING
    failure: _Failure | None = None
    fallback: Any = MISSING  # an older value, for the caller if the computation fails

    @property
    def place(self) -> tuple[_Table, Any, asyncio.AbstractEventLoop | None]:
        return self.table, self.key, self.loop

    @property
    def was_interrupted(self) -> bool:
        return self.failure is not None and not isinstance(self.failure.error, Exception)

    def needs(self, other: "_Flight") -> bool:
        """Tell whether it waits for *other*, directly or through further flights."""
        todo, seen = [self], set[_Flight]()
        while todo and other not in seen:
            flight = todo.pop()
            if flight not in seen and not flight.done:
                seen.add(flight)
                todo += flight.waits_for
        return other in seen


_current: ContextVar[_Flight | None] = ContextVar("_current", default=None)


class _Store:
    """Entries and flights. Everything but hits happens within `with store:`, which locks."""

    def __init__(self, max_size: int, policy: _Lru, uniform: Callable[[], float]) -> None:
        self.max_size, self.policy, self.clock = max_size, policy, policy.clock
        self.size = 0
        self.flights: dict[tuple[_Table, Any, Any], _Flight] = {}
        self.tagged: dict[str, set[_Entry]] = {}
        self.deadlines = _Heap()
        self.counts = dict.fromkeys(COUNTS, 0)
        self.saved = self.spent = self.costs = 0.0
        self._uniform = uniform
        self._numbers = itertools.count()
        self._lock = threading.RLock()  # the garbage collector may run a finalizer at any time
        self._removed: list[Any] = []

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        # Letting go of values may run finalizers, which may call the cache: not in the middle of a
        # change, and not under the lock, but when this function ends.
        _removed, self._removed = self._removed, []
        self._lock.release()

    def find(self, table: _Table, key: Any) -> _Entry | None:
        """Return the entry of *key* unless it has expired."""
        entry = table.entries.get(key)
        if entry is None or (now := self.clock()) < entry.expires:
            return entry
        self.sweep(now)
        return None

    def insert(
        self,
        table: _Table,
        key: Any,
        value: Any,
        lifetime: float,
        tags: frozenset[str],
        cost: float | None,
        seconds: float,
    ) -> None:
        """Store *value* for *lifetime* seconds; a cost that is not known is the mean of others."""
        now, old = self.clock(), table.entries.get(key)
        if old is None:
            count = self.policy.recall(table, key)
        else:
            count = old.count
            self.drop(old, "expirations" if old.expires <= now else None)
        if lifetime <= 0:
            return
        self.sweep(now)
        while self.size >= self.max_size:
            self.drop(self.policy.evict(), "evictions")
        if cost is None:
            cost = self.costs / max(self.counts["computations"], 1) or 1.0
        number, cost, expires = next(self._numbers), max(cost, 1e-9), now + lifetime
        entry = table.entries[key] = _Entry(
            table, key, value, tags, number, count, count + 1, cost, seconds, now, expires
        )
        entry.fresh_until = self._fresh_until(entry, table.early)
        self.size += 1
        self.policy.use(entry)
        self.policy.heap.push(self.policy.priority(entry), entry, self.size)
        for tag in tags:
            self.tagged.setdefault(tag, set()).add(entry)
        if expires < math.inf:
            self.deadlines.push(expires + table.stale, entry, self.size)

    def _fresh_until(self, entry: _Entry, early: float) -> float | None:
        if isinstance(entry.value, _Failure):
            return -math.inf  # hits do not raise
        if entry.expires == math.inf or not early:
            return None if entry.expires == math.inf else entry.expires
        # XFetch (Vattani et al., VLDB 2015): refresh once now - seconds · early · ln(rand) ≥
        # expiry. Drawn once an entry instead of once a lookup: in one process single-flight holds
        # the herd back, and a hit stays a comparison of two numbers.
        return entry.expires + entry.seconds * early * math.log(1.0 - self._uniform())

    def drop(self, entry: _Entry, reason: str | None) -> None:
        """Remove *entry*; in the heaps it stays until it comes up."""
        if reason is not None:
            self.counts[reason] += 1
            if reason != "invalidations":
                self.policy.remember(entry)
        hits = entry.count - entry.counted
        self.counts["hits"] += hits
        self.saved += hits * entry.seconds
        del cast("_Table", entry.table).entries[entry.key]
        self.size -= 1
        for tag in entry.tags:
            self.tagged[tag].remove(entry)
            if not self.tagged[tag]:
                del self.tagged[tag]
        self._removed += (entry.key, entry.value)
        # In this order: a hit reads the value first, and so never takes this None for a value.
        entry.fresh_until = -math.inf
        entry.table = entry.key = entry.value = None

    def sweep(self, now: float) -> None:
        while self.deadlines.pruned() and self.deadlines[0][0] <= now:
            self.drop(self.deadlines[0][2], "expirations")

    def remove(self, entries: Iterable[_Entry], condition: Callable[[Any], bool]) -> int:
        """Remove those of *entries* in question, and disown the flights in question."""
        self.sweep(self.clock())
        self.disown(condition)
        found = [entry for entry in entries if condition(entry)]
        for entry in found:
            self.drop(entry, "invalidations")
        return len(found)

    def delete(self, table: _Table, key: Any) -> bool:
        with self:
            self.disown(lambda flight: flight.table is table and flight.key == key)
            found = self.find(table, key)
            entry = found or table.entries.get(key)  # also what is kept for `stale_if_error`
            if entry is not None:
                self.drop(entry, "invalidations")
        return found is not None

    def disown(self, condition: Callable[[Any], bool]) -> None:
        """Let the flights in question end for their callers alone: later ones start anew."""
        for place, flight in list(self.flights.items()):
            if condition(flight):
                flight.keep = False
                del self.flights[place]

    def spend(self, seconds: float, cost: float) -> None:
        """Count a computation."""
        self.counts["computations"] += 1
        self.spent += seconds
        self.costs += cost

    def stats(self) -> CacheStats:
        self.sweep(self.clock())
        hits, saved = self.counts["hits"], self.saved
        for entry in self.policy.heap.alive():
            hits += entry.count - entry.counted
            saved += (entry.count - entry.counted) * entry.seconds
        return CacheStats(
            self.size, self.max_size, time_saved=saved, time_spent=self.spent,
            **{**self.counts, "hits": hits},
        )  # fmt: skip

    def begin(self, flight: _Flight, caller: _Flight | None) -> _Flight:
        """Return the flight that gives *flight* its value.

        This is *flight* itself, done if an entry answers it, otherwise for its caller to compute;
        or that of another caller, to wait for. *caller* is the flight that asks, if one does.
        """
        self.look(flight)
        if flight.done:
            return flight
        found = self.flights.setdefault(flight.place, flight)
        if found is not flight and caller is not None and found.needs(caller):
            found = flight  # waiting would be for ever, so this one is computed aside
        if found is not flight and found.event is None:
            found.event = threading.Event()
        if not flight.is_counted:
            self.counts["refreshes" if flight.is_refresh else "misses"] += 1
            self.counts["coalesced"] += found is not flight
            flight.is_counted = True
        if caller is not None:
            caller.waits_for = [*(each for each in caller.waits_for if not each.done), found]
        return found

    def look(self, flight: _Flight) -> None:
        """Let an entry answer *flight*, or be what it falls back on."""
        entry = flight.table.entries.get(flight.key)
        if entry is None:
            return
        now, value = self.clock(), entry.value
        is_failure = isinstance(value, _Failure)
        fresh_until = entry.expires if entry.fresh_until is None else entry.fresh_until
        if now < entry.expires:
            if not flight.is_counted:
                self.policy.use(entry)
            if is_failure:
                flight.failure, flight.done = value, True
            elif now >= fresh_until and flight.place not in self.flights:
                entry.fresh_until = entry.expires  # nobody else refreshes this entry
                flight.fallback, flight.is_refresh = value, True
            else:
                flight.value, flight.done = value, True
        elif now < entry.expires + flight.table.stale and not is_failure:
            flight.fallback = value
        else:
            self.drop(entry, "expirations")

    def end(self, flight: _Flight, error: BaseException | None) -> None:
        """Note how a flight ended and wake who waits; keep an error whose type is to be cached."""
        if self.flights.get(flight.place) is flight:
            del self.flights[flight.place]
        if error is not None:
            flight.failure = _Failure(error, error.__traceback__)
        flight.done = True
        if flight.event is not None:
            flight.event.set()
        if isinstance(error, Exception):
            self.counts["errors"] += 1
            errors = flight.table.errors.items()
            seconds = next((s for kind, s in errors if isinstance(error, kind)), 0.0)
            if seconds and flight.keep and flight.fallback is MISSING:
                self.insert(
                    flight.table, flight.key, flight.failure, seconds, flight.tags, 0.0, 0.0
                )


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
        CacheValueError: A size, time or policy is out of range.
        CacheTypeError: An argument has a wrong type.
    """

    def __init__(
        self,
        max_size: int = 1000,
        ttl: TTL = None,
        policy: PolicyName = "gdsf",
        clock: Clock = time.monotonic,
        *,
        kinds: Mapping[str, float] = KIND_TTL,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        if not isinstance(policy, str) or policy not in POLICIES:
            raise _refusal("policy", policy, f"one of {', '.join(POLICIES)}", is_range=True)
        if not isinstance(kinds, Mapping):
            raise _refusal("kinds", kinds, "seconds by kind, as in KIND_TTL")
        self.max_size = count_of("max_size", max_size)
        self.ttl, self.policy, self.clock = ttl, policy, function_of("clock", clock)
        self.kinds = {kind: seconds_of(f"kinds[{kind!r}]", kinds[kind]) for kind in kinds}
        self._checked_ttl(ttl)
        # On Windows time.monotonic ticks every 16 ms, too coarse for a cost.
        self._timer = time.perf_counter if clock is time.monotonic else clock
        self._store = _Store(
            max_size, POLICIES[policy](max_size, clock), function_of("uniform", uniform)
        )
        self._table = _Table()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of *key*, or *default*.

        Raises:
            CacheTypeError: *key* is not hashable.
        """
        if key.__class__ not in PLAIN:
            key = key_of(key)
        entry = self._table.entries.get(key)
        if entry is not None:
            value, fresh_until = entry.value, entry.fresh_until
            if fresh_until is None or self.clock() < fresh_until:
                self._store.policy.use(entry)
                return value
        with self._store as store:
            entry = store.find(self._table, key)
            if entry is None:
                store.counts["misses"] += 1
                return default
            store.policy.use(entry)
            return entry.value

    def peek(self, key: Any, default: Any = None) -> Any:
        """Return the value of *key*, or *default*, without counting a lookup."""
        with self._store as store:
            entry = store.find(self._table, key_of(key))
            return default if entry is None else entry.value

    def __contains__(self, key: Any) -> bool:
        return self.peek(key, MISSING) is not MISSING

    def __len__(self) -> int:
        with self._store as store:
            store.sweep(self.clock())
            return store.size

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
        key, names, lifetime = key_of(key), _names_of("tags", tags), self._lifetime(ttl, value)
        seconds = 0.0 if cost is None else seconds_of("cost", cost, most=sys.float_info.max)
        with self._store as store:
            store.disown(lambda flight: flight.table is self._table and flight.key == key)
            if cost is not None:
                store.spend(seconds, seconds)
            store.insert(self._table, key, value, lifetime, names, cost, seconds)

    def get_or_compute(self, key: Any, function: Callable[[], R], *, ttl: TTL = None) -> R:
        """Return the value of *key*, or that of *function*, called once for all threads."""
        return cast("R", self._call(_Flight(self._table, key_of(key), ttl), function))

    async def aget_or_compute(
        self, key: Any, function: Callable[[], Awaitable[R]], *, ttl: TTL = None
    ) -> R:
        """Return the value of *key*, or that of *function*, awaited once for all tasks."""
        return cast("R", await self._acall(_Flight(self._table, key_of(key), ttl), function))

    def delete(self, key: Any) -> bool:
        """Remove *key*; return whether it was there. A computation under way will not be stored."""
        return self._store.delete(self._table, key_of(key))

    def invalidate(self, pattern: str) -> int:
        """Remove the entries whose key matches the glob *pattern*; return their number.

        A string is matched as it is, a tuple joined by ":", an entry of a cached function as
        `qualname:argument:…`. Case counts; `*` matches everything, `[[]` a bracket.

        Raises:
            CacheTypeError: *pattern* is no string.
            CacheValueError: *pattern* is empty or has an unclosed bracket.
        """
        match = _glob_of("pattern", pattern)
        with self._store as store:
            return store.remove(
                store.policy.heap.alive(), lambda held: match(held.table.text(held.key)) is not None
            )

    def invalidate_tag(self, tag: str) -> int:
        """Remove the entries tagged *tag*; return their number."""
        with self._store as store:
            return store.remove(store.tagged.get(tag, ()), lambda held: tag in held.tags)

    def clear(self) -> int:
        """Remove all entries, return their number; the counts of `stats` go on."""
        with self._store as store:
            return store.remove(store.policy.heap.alive(), lambda _: True)

    def stats(self) -> CacheStats:
        """Return what the cache did so far; O(n), since hits are counted in the entries."""
        with self._store as store:
            return store.stats()

    def value(self, key: Any) -> float:
        """Return count × cost / age of *key*, by which policy `"value"` goes; 0 if absent."""
        with self._store as store:
            entry = store.find(self._table, key_of(key))
            return 0.0 if entry is None else entry.worth(self.clock())

    def __repr__(self) -> str:
        stats = self.stats()
        return (
            f"<{type(self).__name__} policy={self.policy!r} ttl={self.ttl!r} "
            f"size={stats.size}/{self.max_size} hits={stats.hits} misses={stats.misses} "
            f"hit_rate={stats.hit_rate:.2f} time_saved={stats.time_saved:.3g} s>"
        )

    def _checked_ttl(self, ttl: TTL) -> TTL:
        if not callable(ttl):
            self._lifetime(ttl, None)
        return ttl

    def _lifetime(self, ttl: TTL, value: Any) -> float:
        """Return the seconds that *ttl*, or else that of the cache, means for *value*."""
        if ttl is None:
            ttl = self.ttl
        if callable(ttl):
            ttl = ttl(value)
        if ttl is None:
            return math.inf
        if not isinstance(ttl, str):
            return seconds_of("ttl", ttl, also=", a kind or None")
        if not self.kinds.keys() & {ttl, "default"}:
            raise _refusal("ttl", ttl, f"one of the kinds {sorted(self.kinds)}", is_range=True)
        return self.kinds[ttl if ttl in self.kinds else "default"]

    def _call(self, flight: _Flight, compute: Callable[[], Any]) -> Any:
        while True:
            with self._store as store:
                found = store.begin(flight, _current.get())
            if found is not flight:
                found.event.wait()
            elif not flight.done:
                self._lead(flight, compute)
            if found is flight or not found.was_interrupted:
                return self._result(flight, found)

    def _lead(self, flight: _Flight, compute: Callable[[], Any]) -> None:
        token = _current.set(flight)
        error: BaseException | None = None
        try:
            began = self._timer()
            value = compute()
            self._keep(flight, value, self._timer() - began)
        except BaseException as caught:  # noqa: BLE001 - whoever waits must learn of any
            error = caught
        finally:
            _current.reset(token)
            with self._store as store:
                store.end(flight, error)

    async def _acall(self, flight: _Flight, compute: Callable[[], Awaitable[Any]]) -> Any:
        flight.loop, flight.event = asyncio.get_running_loop(), asyncio.Event()
        while True:
            with self._store as store:
                if flight.loop is not self._loop:  # one closed during a flight never ends it
                    self._loop = flight.loop
                    store.disown(lambda other: other.loop is not None and other.loop.is_closed())
                found = store.begin(flight, _current.get())
            if found is flight and not flight.done:
                self._launch(flight, compute)
                if flight.is_refresh:
                    return flight.fallback
            if not found.done:
                await self._wait(found)
            if found is flight or not found.was_interrupted:
                return self._result(flight, found)

    def _launch(self, flight: _Flight, compute: Callable[[], Awaitable[Any]]) -> None:
        async def fly() -> None:
            _current.set(flight)
            began = self._timer()
            value = await compute()
            self._keep(flight, value, self._timer() - began)

        def land(task: asyncio.Task[None]) -> None:  # also called if it never took a step
            self._tasks.discard(task)
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            with self._store as store:
                store.end(flight, error)

        flight.task = asyncio.create_task(fly())
        self._tasks.add(flight.task)  # the loop itself holds tasks weakly
        flight.task.add_done_callback(land)

    async def _wait(self, flight: _Flight) -> None:
        """Wait for a flight; the last to be cancelled cancels it."""
        flight.waiting += 1
        try:
            await flight.event.wait()
        finally:
            flight.waiting -= 1
            if not (flight.waiting or flight.done or flight.is_refresh):
                with self._store as store:  # for nobody to join it any more
                    store.disown(lambda other: other is flight)
                if flight.task is not None and not flight.task.get_loop().is_closed():
                    flight.task.cancel()

    def _result(self, flight: _Flight, found: _Flight) -> Any:
        """Return what the caller with *flight* gets from the one it waited for."""
        failure = found.failure
        if failure is None:
            return found.value
        if flight.fallback is MISSING or found.was_interrupted:
            raise failure.error.with_traceback(failure.traceback)
        if not flight.is_refresh:
            with self._store as store:
                store.counts["stale"] += 1
        return flight.fallback

    def _keep(self, flight: _Flight, value: Any, seconds: float) -> None:
        """Store what a flight computed, unless its key was invalidated meanwhile."""
        table = flight.table
        if isinstance(value, Awaitable):
            if inspect.iscoroutine(value):
                value.close()
            wanted = "a value, since it serves one caller only; decorate the async function itself"
            raise _refusal(f"the result of {table.name}", value, wanted)
        flight.value = value
        lifetime = self._lifetime(flight.ttl, value)
        cost = seconds
        if table.cost is not None:
            cost = seconds_of("cost", table.cost(value), most=sys.float_info.max)
        with self._store as store:
            store.spend(seconds, cost)
            if not flight.keep:
                return
            old = table.entries.get(flight.key)
            if old is not None and not isinstance(old.value, _Failure):
                cost, seconds = (cost + old.cost) / 2, (seconds + old.seconds) / 2
            store.insert(table, flight.key, value, lifetime, flight.tags, cost, seconds)


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
    policy: PolicyName = "gdsf",
    clock: Clock = time.monotonic,
    key: Callable[..., Any] | None = None,
    ignore: Iterable[str] = (),
    kind: str | Callable[..., str] | None = None,
    cost: Callable[[Any], float] | None = None,
    tags: Tags = (),
    early: float = 0.0,
    stale_if_error: float = 0.0,
    errors: Mapping[type[Exception], float] = MappingProxyType({}),
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
        kind: Instead of *ttl*: `"factual"`, `"creative"`, or a function of the arguments.
        cost: Function of the value: what losing it would cost, instead of the seconds measured.
        tags: Names for `Cache.invalidate_tag`, or a function of the arguments that returns them.
        early: Above 0, refresh at random up to a few × computing time before expiry (XFetch; 1 is
            the paper's choice). An async caller gets the present value at once, a sync caller
            computes the new one.
        stale_if_error: Seconds after expiry in which the old value is used if computing fails.
        errors: Seconds to cache an exception, by type: `{TimeoutError: 5}`.

    Raises:
        CacheTypeError: An argument has a wrong type, or what is decorated is no plain function.
        CacheValueError: A size or time is out of range, or an option contradicts another.
    """
    if cache is None:
        cache = Cache(max_size, ttl, policy, clock)
    elif not isinstance(cache, Cache):
        raise _refusal("cache", cache, "a Cache, as in @cached(Cache()) or @cached(max_size=100)")
    elif (max_size, policy, clock) != (1000, "gdsf", time.monotonic):
        raise CacheValueError(
            "max_size, policy and clock belong to the cache given; set them there"
        )
    if kind is not None and ttl is not None:
        raise CacheValueError(f"kind={kind!r} and ttl={ttl!r}: expected one of the two")
    ignored = _names_of("ignore", ignore)
    if key is not None and ignored:
        raise CacheValueError(f"key={key!r} and ignore={ignore!r}: expected one of the two")
    new_table = functools.partial(
        _Table,
        ttl=cache._checked_ttl(kind if isinstance(kind, str) else ttl),  # noqa: SLF001
        kind=None if kind is None or isinstance(kind, str) else function_of("kind", kind),
        cost=None if cost is None else function_of("cost", cost),
        tags=tags if callable(tags) else _names_of("tags", tags),
        early=seconds_of("early", early, most=sys.float_info.max),
        stale=seconds_of("stale_if_error", stale_if_error),
        errors=_errors_of("errors", errors),
    )
    bind = None if key is None else function_of("key", key)
    return lambda function: _wrap(cache, new_table, function, bind, ignored)


def _wrap(
    cache: Cache,
    new_table: Callable[[str], _Table],
    function: Callable[P, R],
    bind: Callable[..., Any] | None,
    ignore: frozenset[str],
) -> CachedFunction[P, R]:
    is_async = _is_async(function)
    table = new_table(getattr(function, "__qualname__", type(function).__name__))
    is_single = False
    if bind is None:
        bind, is_single = _binder(function, ignore, table.name)
    find, clock, plain = table.entries.get, cache.clock, PLAIN
    policy = cache._store.policy  # noqa: SLF001 - the decorator is part of the cache
    time, step = policy.time, policy.step
    call = cache._acall if is_async else cache._call  # noqa: SLF001 - the same

    def key_of_call(args: Any, kwargs: Any) -> Any:
        bound = bind(*args, **kwargs)
        try:
            return _typed(bound)
        except (TypeError, RecursionError) as error:
            raise CacheTypeError(
                f"an argument of {table.name}: {error}; expected hashable objects, lists, dicts or "
                "sets; for others pass key=, or leave the parameter out by ignore="
            ) from error

    # The hit stands here and not in a method: a call would cost as much as all of it.
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if is_single and not kwargs and len(args) == 1 and args[0].__class__ in plain:
            key = args[0]
        else:
            key = key_of_call(args, kwargs)
        entry = find(key)
        if entry is not None:
            value = entry.value
            fresh_until = entry.fresh_until
            if fresh_until is None or clock() < fresh_until:
                entry.count += 1
                entry.mark = time[0] = time[0] + step
                return value
        compute: Any = functools.partial(function, *args, **kwargs)
        return call(table.flight(key, args, kwargs), compute)

    async def async_wrapper(*args: Any, **kwargs: Any) -> Any:
        found = wrapper(*args, **kwargs)
        # On a miss, and only then, a coroutine: none is ever stored.
        return await found if found.__class__ is CoroutineType else found

    def invalidate(*args: Any, **kwargs: Any) -> bool:
        return cache._store.delete(table, key_of_call(args, kwargs))  # noqa: SLF001 - the same

    outer: Any = functools.wraps(function)(async_wrapper if is_async else wrapper)
    outer.cache, outer.invalidate, outer.stats = cache, invalidate, cache.stats
    return cast("CachedFunction[P, R]", outer)


def _is_async(function: Any) -> bool:
    """Return whether *function* is async, once it is clear that its results can be cached."""
    if inspect.iscoroutine(function):
        function.close()  # or it would warn that nobody awaited it
    each_use = (function, getattr(function, "__call__", None))  # noqa: B004 - it may be async
    is_generator = any(map(inspect.isgeneratorfunction, each_use))
    is_generator = is_generator or any(map(inspect.isasyncgenfunction, each_use))
    if not callable(function) or isinstance(function, type | Cache) or is_generator:
        wanted = "a function or an async function; no coroutine, generator function or class"
        raise _refusal("function", function, wanted)
    return any(map(inspect.iscoroutinefunction, each_use))


class _Code(str):
    """Text that stands in a signature as it is."""

    __slots__ = ()
    __repr__ = str.__str__


def _binder(
    function: Callable[..., Any], ignore: frozenset[str], function_name: str
) -> tuple[Callable[..., Any], bool]:
    """Return a function that takes what *function* takes and returns it, as one value or a tuple.

    It is compiled, as those of `dataclasses` are, so that the interpreter binds keywords and
    defaults: f(1) and f(x=1) are one key, and wrong arguments give the usual error. The second
    value tells whether it returns a single argument as it is.
    """
    try:
        signature = inspect.signature(function)
    except ValueError:  # some builtins have none
        signature = inspect.signature(lambda *args, **kwargs: (args, kwargs))
    parameters = signature.parameters
    if not ignore <= set(parameters):
        raise CacheValueError(f"ignore={sorted(ignore)}: expected some of {list(parameters)}")
    heads, values = [], []
    for name, each in parameters.items():
        has_default = each.default is not each.empty
        default = _Code(f"__parameters__[{name!r}].default") if has_default else each.empty
        heads.append(each.replace(annotation=each.empty, default=default))
        if name not in ignore:
            values.append(f"__sorted__({name})" if each.kind is each.VAR_KEYWORD else name)
    head = str(inspect.Signature(heads))[1:-1]
    bind: Any = eval(  # noqa: S307 - of names that the interpreter accepted as such
        f"lambda {head}: ({', '.join(values)})",
        {"__parameters__": parameters, "__sorted__": lambda named: tuple(sorted(named.items()))},
    )
    bind.__name__ = bind.__qualname__ = function_name
    kinds = [each.kind.name for each in heads]
    return bind, not ignore and kinds in (["POSITIONAL_ONLY"], ["POSITIONAL_OR_KEYWORD"])
