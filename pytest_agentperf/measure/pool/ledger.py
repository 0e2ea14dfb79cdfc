"""The ledger: each lease of one pool from asking to returning, told by what observes the pool."""

from math import inf
from threading import Lock
from typing import TypeAlias

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.measure.concurrency.origins import place_or_none
from pytest_agentperf.measure.frames import Site
from pytest_agentperf.measure.pool.tally import HeldLease, Load, Tally

__all__ = ["Ask", "Ledger"]


Ask: TypeAlias = tuple[float, Site | None, bool]
"""When a lease is asked for, the line that asks, and whether all are taken or promised."""


class Ledger:
    """Counts leases; may be told from any thread.

    Args:
        clock: Returns seconds.
        capacity: Leases possible at once; None for no limit.
        before: Leases held by now, of which nothing else is known.
    """

    __slots__ = (
        "_acquired", "_area", "_at", "_before", "_capacity", "_clock", "_failed", "_first", "_full",
        "_held", "_last", "_lease_seconds", "_level", "_limit", "_lock", "_lost", "_most",
        "_most_level", "_pending", "_since", "_wait", "_waits", "created",
    )  # fmt: skip

    def __init__(self, clock: Clock, capacity: int | None, before: int = 0) -> None:
        self._clock = clock
        self._capacity = capacity
        self._limit = inf if capacity is None else capacity
        self._lock = Lock()
        self._held: dict[object, tuple[float, Site | None]] = {}
        self._lost: list[tuple[float, Site | None]] = []
        self._before = before
        self._pending = 0
        self._acquired = self._failed = self._waits = 0
        self._wait = Sample()
        self._level = self._most_level = before
        self._most = before
        self._since = self._at = self._last = clock()
        self._first: float | None = None
        self._lease_seconds = self._area = self._full = 0.0
        self.created = 0

    # A pool may be used millions of times: this is written for speed.

    def ask(self, site: Site | None) -> Ask:
        """Note that a lease is asked for at *site*."""
        with self._lock:
            now = self._clock()
            if self._first is None:
                self._first = now
            wanted = self._level + self._pending
            self._pending += 1
            if wanted >= self._most:
                self._most = wanted + 1
            return now, site, wanted >= self._limit

    def take(self, ask: Ask, key: object) -> None:
        """Note that *ask* was answered by the lease *key*."""
        with self._lock:
            began, site, waits = ask
            now = self._last = self._clock()
            self._pending -= 1
            self._waits += waits
            self._wait.add(now - began)
            self._acquired += 1
            if key in self._held:  # its object is gone without having been returned
                self._lost.append(self._held[key])
            self._held[key] = (now, site)
            self._pass_time(now)
            self._level += 1
            if self._level > self._most_level:  # noqa: PLR1730 -- `max` is a call
                self._most_level = self._level

    def give(self, key: object) -> None:
        """Note that the lease *key* is returned; one from before the block need not be known."""
        with self._lock:
            held = self._held.pop(key, None)
            now = self._clock()
            if held is not None:
                self._lease_seconds += now - held[0]
            elif self._before:
                self._before -= 1
            else:
                return
            self._last = now
            self._pass_time(now)
            self._level -= 1

    def leave(self, ask: Ask) -> None:
        """Note that *ask* got no lease."""
        with self._lock:
            began, _, waits = ask
            now = self._last = self._clock()
            self._pending -= 1
            self._waits += waits
            self._wait.add(now - began)
            self._failed += 1

    def create(self) -> None:
        """Note that a connection is opened."""
        with self._lock:
            self.created += 1

    def _pass_time(self, now: float) -> None:
        passed, self._at = now - self._at, now
        self._area += passed * self._level
        if self._level >= self._limit:
            self._full += passed

    def tally(self, name: str, unit: str = "connection", share: int = 1) -> Tally:
        """Return what was noted until now; each connection serves *share* leases at once."""
        with self._lock:
            now = self._clock()
            self._pass_time(now)
            seconds = now - self._since
            held = sorted((*self._lost, *self._held.values()), key=lambda lease: lease[0])
            return Tally(
                name=name,
                seconds=seconds,
                unit=unit,
                capacity=self._capacity,
                acquired=self._acquired,
                failed=self._failed,
                waits=self._waits,
                wait=self._wait,
                in_use_max=self._most_level,
                in_use_mean=self._area / seconds if seconds > 0 else float(self._level),
                full=self._full,
                held=tuple(HeldLease(place_or_none(site), now - at) for at, site in held),
                load=self._load(now, share),
            )

    def _load(self, now: float, share: int) -> Load | None:
        last = now if self._held or self._pending else self._last
        span = last - self._first if self._first is not None else 0.0
        held = sum(now - at for at, _ in self._held.values())
        if not self._acquired or span <= 0:
            return None
        asked = self._acquired + self._failed + self._pending
        lease_time = (self._lease_seconds + held) / self._acquired
        return Load(asked / span, lease_time, self._most, share)
