"""Readers: the counts that a pool, or a function of the user's, tells by itself."""

import inspect
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.pool.tally import HeldLease, Load, Tally

__all__ = ["NAMES", "ReadPool", "reader_of", "stats_of"]

Counts: TypeAlias = dict[str, float]

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "capacity": ("capacity", "max_size", "maxsize", "pool_max", "max_connections", "limit", "size"),
    "in_use": ("in_use", "active", "used", "checked_out", "checkedout", "busy", "leased"),
    "idle": ("idle", "free", "available", "pool_available"),
    "open": ("open", "total", "pool_size"),
    "acquired": ("acquired", "leases", "acquires", "requests", "requests_num", "checkouts"),
    "created": ("created", "opened", "connections_num"),
    "reused": ("reused",),
    "waits": ("waits", "waited", "wait_count", "requests_queued"),
    "wait_total": ("wait_total", "wait_seconds", "wait_time"),
}
"""What a count is called by those who tell it, the first that is there counting."""

_COUNTERS: Final[tuple[str, ...]] = ("acquired", "created", "reused", "waits", "wait_total")


def reader_of(thing: Any) -> Callable[[], Any] | None:
    """Return the function by which *thing* tells its counts; None where it has none.

    Raises:
        UsageError: It tells them to who awaits it.
    """
    read: Callable[[], Any] | None = stats_of(thing)
    if read is not None:
        return read
    if not callable(thing) or isinstance(thing, type):
        return None
    if inspect.iscoroutinefunction(thing):
        raise UsageError(f"{thing!r:.80} is async; expected a function that returns the counts")
    found: Callable[[], Any] = thing
    return found


def stats_of(thing: Any) -> Callable[[], Any] | None:
    """Return the method of *thing* that tells its counts; None where it has none."""
    for name in () if isinstance(thing, type) else ("stats", "get_stats"):
        method = getattr(thing, name, None)
        if callable(method) and not inspect.iscoroutinefunction(method):
            found: Callable[[], Any] = method
            return found
    return None


def read_counts(read: Callable[[], Any]) -> Counts:
    """Return what *read* tells, by our names.

    Raises:
        UsageError: It tells nothing that could be understood.
    """
    told = read()
    found = {
        name: number
        for name, aliases in NAMES.items()
        if (number := _number(told, aliases)) is not None
    }
    if (ms := _number(told, ("requests_wait_ms",))) is not None:
        found.setdefault("wait_total", ms / 1000)
    if "in_use" not in found and {"idle", "open"} <= found.keys():
        found["in_use"] = found["open"] - found["idle"]
    elif "in_use" not in found and {"idle", "capacity"} <= found.keys():
        found["in_use"] = found["capacity"] - found["idle"]
    if not {"in_use", "acquired"} & found.keys():
        wanted = " or ".join(repr(NAMES[name][0]) for name in ("in_use", "acquired"))
        raise UsageError(
            f"the counts of a pool, {told!r:.80}: expected a mapping or an object with at least"
            f" {wanted}, and best with all of {', '.join(NAMES)} as numbers"
        )
    return found


def _number(told: Any, names: tuple[str, ...]) -> float | None:
    for name in names:
        value = told.get(name) if isinstance(told, Mapping) else getattr(told, name, None)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
    return None


class ReadPool:
    """Reads the counts of a pool before and after a block, and how many are in use in between.

    What a pool does not count itself can be seen in no other way than by looking again and again,
    and a thread does that; pools which are known by their library are observed without one.

    Args:
        name: What messages call the pool.
        read: Returns its counts.
        clock: Returns seconds.
        every: Seconds between two looks; None to look only before and after.
    """

    def __init__(
        self, name: str, read: Callable[[], Any], clock: Clock, every: float | None
    ) -> None:
        self.name = name
        self._read = read
        self._clock = clock
        self._every = every
        self._levels: list[_Level] = []
        self._failed = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._first: Counts = {}
        self._began = 0.0
        self._lock = threading.Lock()
        self._level = _Level(0.0)

    @property
    def is_paid(self) -> bool:
        """Whether the calls take longer for it."""
        return False

    def start(self) -> None:
        """Read for the first time."""
        self._first = read_counts(self._read)
        self._began = self._clock()
        self._level = _Level(self._began)
        self._look(self._first)
        if self._every is not None and "in_use" in self._first:
            self._thread = threading.Thread(target=self._watch, name="perf_pool", daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(self._every):
            try:
                counts = read_counts(self._read)
            except Exception:  # noqa: BLE001 -- the user's; in the middle of a change, or closed
                self._failed += 1
            else:
                self._look(counts)

    def _look(self, counts: Counts) -> None:
        self._level.look(self._clock(), counts.get("in_use", 0), counts.get("capacity"))

    def stop(self) -> Tally:
        """Read for the last time."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
        try:
            last = read_counts(self._read)
        except Exception as error:  # noqa: BLE001 -- the user's
            reason = f"its counts could not be read at the end ({error!r:.120})"
            return self._tally({}, dict.fromkeys(_COUNTERS, reason))
        self._look(last)
        deltas, unknown = _differences(self._first, last)
        return self._tally(deltas, unknown)

    def _tally(self, deltas: Counts, unknown: dict[str, str]) -> Tally:
        seconds = self._clock() - self._began
        acquired, waits, created = (deltas.get(n) for n in ("acquired", "waits", "created"))
        reused = deltas.get("reused")
        if reused is None and acquired is not None and created is not None:
            reused = max(acquired - created, 0)
        capacity, level = self._first.get("capacity"), self._level
        is_known = "in_use" in self._first
        mean = level.area / seconds if seconds > 0 else float(level.most)
        total = deltas.get("wait_total")
        return Tally(
            name=self.name,
            seconds=seconds,
            capacity=_whole(capacity),
            acquired=_whole(acquired),
            waits=_whole(waits),
            wait_mean=total / waits if waits and total is not None else None,
            created=_whole(created),
            reused=_whole(reused),
            in_use_max=_whole(level.most) if is_known else None,
            in_use_mean=mean if is_known else None,
            full=level.full if is_known and capacity is not None else None,
            held=self._held(seconds) if is_known else (),
            load=self._load(acquired, mean, seconds) if is_known else None,
            notes=(*self._notes(is_known=is_known), *dict.fromkeys(unknown.values())),
            unknown=unknown,
        )

    def _held(self, seconds: float) -> tuple[HeldLease, ...]:
        """Return what more is in use at the end than was at the start."""
        more = int(self._level.level - self._first["in_use"])
        return (HeldLease(None, seconds),) * more

    def _load(self, acquired: float | None, mean: float, seconds: float) -> Load | None:
        if not acquired or seconds <= 0:
            return None
        rate = acquired / seconds
        return Load(rate, mean / rate, max(int(self._level.most), 1))

    def _notes(self, *, is_known: bool) -> list[str]:
        if not is_known:
            return []
        if self._every is None:
            return ["what was in use was read before and after the block alone"]
        every = format_quantity(self._every, Unit.SECONDS)
        missed = f", in vain {self._failed} times" if self._failed else ""
        return [f"a thread read what was in use every {every}{missed}; shorter peaks are not seen"]


@dataclass(slots=True)
class _Level:
    """How many were in use, as far as one has looked."""

    at: float
    level: float = 0
    most: float = 0
    area: float = 0.0
    full: float = 0.0
    is_full: bool = False

    def look(self, now: float, level: float, capacity: float | None) -> None:
        passed, self.at = now - self.at, now
        self.area += passed * self.level
        self.full += passed * self.is_full
        self.level, self.most = level, max(self.most, level)
        self.is_full = capacity is not None and level >= capacity


def _differences(first: Counts, last: Counts) -> tuple[Counts, dict[str, str]]:
    """Return how far each counter went, and a sentence for each that cannot be meant."""
    deltas: Counts = {}
    unknown: dict[str, str] = {}
    for name in _COUNTERS:
        if name in first and name in last:
            deltas[name] = last[name] - first[name]
            if deltas[name] < 0:
                del deltas[name]
                unknown[name] = (
                    f"its counter {name!r} ran backwards, from {first[name]:g} to {last[name]:g}:"
                    " the pool was reset or replaced inside the block"
                )
    if "reused" not in last and (reason := unknown.get("acquired") or unknown.get("created")):
        unknown["reused"] = reason
    return deltas, unknown


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
