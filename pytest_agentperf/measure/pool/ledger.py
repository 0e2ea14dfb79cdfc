"""The ledger: each lease of one pool from asking to returning, told by what observes the pool."""

from collections import deque
from math import inf
from threading import Lock
from typing import Any, Final, TypeAlias

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.measure.concurrency.origins import place_or_none
from pytest_agentperf.measure.frames import Site
from pytest_agentperf.measure.pool.tally import HeldLease, Load, Tally

__all__ = ["ASK", "GIVE", "LEAVE", "TAKE", "Ask", "Ledger"]

Ask: TypeAlias = tuple[float, int, Any, None]
"""The event that somebody asked for a lease."""

ASK, TAKE, LEAVE, GIVE = range(4)
"""The kinds of events."""

_UNSETTLED: Final = 4096


class Ledger:
    """Counts leases; may be told from any thread.

    What it is told it only notes, with the time, and makes sense of later: calls are being timed.

    Args:
        clock: Returns seconds.
        capacity: Leases possible at once; None for no limit.
        before: Leases held by now, of which nothing else is known.

    Attributes:
        clock: Returns seconds.
        note: Takes an event: its time, its kind, the line of an `ASK` or the key of a lease, and
            the `ASK` that it answers or None. For those who note so often that each call counts;
            no other thread can interrupt it.
        created: How many connections were opened.
    """

    def __init__(self, clock: Clock, capacity: int | None, before: int = 0) -> None:
        self.created = 0
        self.clock = clock
        self._capacity = capacity
        self._limit = inf if capacity is None else capacity
        self._lock = Lock()
        self._events: deque[tuple[float, int, Any, Ask | None]] = deque()
        self.note = self._events.append
        self._held: dict[object, tuple[float, Site | None]] = {}
        self._lost: list[tuple[float, Site | None]] = []
        self._waiting: set[int] = set()
        self._before = before
        self._pending = self._acquired = self._failed = self._waits = 0
        self._wait = Sample()
        self._level = self._most_level = self._most = before
        self._since = self._at = self._last = clock()
        self._first: float | None = None
        self._lease_seconds = self._area = self._full = 0.0

    def ask(self, site: Site | None) -> Ask:
        """Note that a lease is asked for at *site*."""
        ask = (self.clock(), ASK, site, None)
        self.note(ask)
        self.settle_many()
        return ask

    def take(self, ask: Ask, key: object) -> None:
        """Note that *ask* was answered by the lease *key*."""
        self.note((self.clock(), TAKE, key, ask))

    def leave(self, ask: Ask) -> None:
        """Note that *ask* got no lease."""
        self.note((self.clock(), LEAVE, None, ask))

    def give(self, key: object) -> None:
        """Note that the lease *key* is returned; one from before the block need not be known."""
        self.note((self.clock(), GIVE, key, None))

    def create(self) -> None:
        """Note that a connection is opened."""
        with self._lock:
            self.created += 1

    def settle_many(self) -> None:
        """Make sense of what was noted, where that is much by now."""
        if len(self._events) > _UNSETTLED:
            self._settle()

    def _settle(self) -> None:
        """Make sense of what was noted."""
        with self._lock:
            while self._events:
                event = self._events.popleft()
                now, kind, key, ask = event
                self._pass_time(now)
                if ask is not None:
                    self._answer(now, ask)
                if kind == ASK:
                    self._enter(event)
                elif kind == TAKE:
                    self._hold(now, key, ask)
                elif kind == LEAVE:
                    self._failed += 1
                else:
                    self._return(now, key)

    def _pass_time(self, now: float) -> None:
        passed = max(now - self._at, 0.0)  # threads may note in another order than they looked
        self._at += passed
        self._area += passed * self._level
        if self._level >= self._limit:
            self._full += passed

    def _enter(self, ask: Any) -> None:
        if self._first is None:
            self._first = ask[0]
        wanted = self._level + self._pending
        self._pending += 1
        self._most = max(self._most, wanted + 1)
        if wanted >= self._limit:  # all are taken, or promised to those before
            self._waiting.add(id(ask))

    def _answer(self, now: float, ask: Ask) -> None:
        self._last = now
        self._pending -= 1
        self._wait.add(max(now - ask[0], 0.0))
        if id(ask) in self._waiting:
            self._waiting.remove(id(ask))
            self._waits += 1

    def _hold(self, now: float, key: object, ask: Any) -> None:
        if key in self._held:  # its object is gone without having been returned
            self._lost.append(self._held[key])
        self._held[key] = (now, ask[2])
        self._acquired += 1
        self._level += 1
        self._most_level = max(self._most_level, self._level)

    def _return(self, now: float, key: object) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            self._lease_seconds += now - held[0]
        elif self._before:
            self._before -= 1
        else:
            return
        self._last = now
        self._level -= 1

    def tally(self, name: str, unit: str = "connection", share: int = 1) -> Tally:
        """Return what was noted until now; each connection serves *share* leases at once."""
        self._settle()
        with self._lock:
            now = self.clock()
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
