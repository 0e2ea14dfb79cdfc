"""The ledger: each lease of one pool from asking to returning, told by what observes the pool."""

from itertools import count
from math import inf
from threading import Lock
from types import CodeType
from typing import Any, Final, TypeAlias

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.core.finding import Place
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.measure.concurrency.origins import place_or_none
from pytest_agentperf.measure.pool.tally import HeldLease, Load, Tally

__all__ = ["ASK", "FIELDS", "GIVE", "LEAVE", "MANY", "TAKE", "Ask", "Ledger", "Spot"]

Spot: TypeAlias = tuple[CodeType, int]
"""An instruction that ran, by its offset: to look up its line takes long, and is rarely needed."""

Ask: TypeAlias = int
"""The number of an event in which somebody asked for a lease."""

ASK, TAKE, LEAVE, GIVE = range(4)
"""The kinds of events."""

FIELDS: Final = 4
"""What is noted of an event: see `Ledger.note`."""

MANY: Final = 4096 * FIELDS
"""How long the events may be before they must be settled."""


class Ledger:
    """Counts leases; may be told from any thread.

    What it is told it only notes, with the time, and makes sense of later: calls are being timed.

    Args:
        clock: Returns seconds.
        capacity: Leases possible at once; None for no limit.
        before: Leases held by now, of which nothing else is known.

    Attributes:
        clock: Returns seconds.
        note: Takes the `FIELDS` of an event: its time, its kind, the spot of an `ASK` or the key of
            a lease, and the number of the `ASK` that it is or answers, or None. For those who note
            so often that each call counts; no other thread can interrupt it. They must `settle`
            where the events get longer than `MANY`.
        numbers: Returns the number of the next `ASK`.
        events: What was noted and is not settled, one field after the other: objects that are kept
            for each would make the garbage collector run, which costs more than all else here.
        created: How many connections were opened.
    """

    def __init__(self, clock: Clock, capacity: int | None, before: int = 0) -> None:
        self.created = 0
        self.clock = clock
        self._capacity = capacity
        self._limit = inf if capacity is None else capacity
        self._lock = Lock()
        self.events: list[Any] = []
        self.note = self.events.extend
        self.numbers = count().__next__
        self._asked: dict[Ask, tuple[float, Spot | None]] = {}
        self._held: dict[object, tuple[float, Spot | None]] = {}
        self._lost: list[tuple[float, Spot | None]] = []
        self._waiting: set[Ask] = set()
        self._before = before
        self._acquired = self._failed = self._waits = 0
        self._wait = Sample()
        self._add_wait = self._wait.append
        self._level = self._most_level = self._most = before
        self._since = self._at = self._last = clock()
        self._first: float | None = None
        self._lease_seconds = self._area = self._full = 0.0

    def ask(self, spot: Spot | None) -> Ask:
        """Note that a lease is asked for at *spot*."""
        ask = self.numbers()
        self.note((self.clock(), ASK, spot, ask))
        if len(self.events) > MANY:
            self.settle()
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

    def settle(self) -> None:
        """Make sense of what was noted."""
        with self._lock:
            noted = self.events[:]
            del self.events[: len(noted)]  # other threads note more meanwhile
            fields = iter(noted)
            for now, kind, what, ask in zip(fields, fields, fields, fields, strict=True):
                self._pass_time(now)
                if kind == ASK:
                    self._enter(now, what, ask)
                elif kind == TAKE:
                    self._hold(now, what, self._answer(now, ask))
                elif kind == LEAVE:
                    self._answer(now, ask)
                    self._failed += 1
                else:
                    self._return(now, what)
            self._wait.settle()

    # Each of these is for one event, in a block that may note millions: `max` would cost them a
    # third of their time.

    def _pass_time(self, now: float) -> None:
        passed = now - self._at
        if passed <= 0:  # threads may note in another order than they looked
            return
        self._at = now
        self._area += passed * self._level
        if self._level >= self._limit:
            self._full += passed

    def _enter(self, now: float, spot: Spot | None, ask: Ask) -> None:
        if self._first is None:
            self._first = now
        self._asked[ask] = now, spot
        wanted = self._level + len(self._asked)
        if wanted > self._most:  # noqa: PLR1730
            self._most = wanted
        if wanted > self._limit:  # all are taken, or promised to those before
            self._waiting.add(ask)

    def _answer(self, now: float, ask: Ask) -> Spot | None:
        """Take note that *ask* was answered; return where it was."""
        self._last = now
        asked, spot = self._asked.pop(ask)
        waited = now - asked
        self._add_wait(waited if waited > 0 else 0.0)
        if ask in self._waiting:
            self._waiting.remove(ask)
            self._waits += 1
        return spot

    def _hold(self, now: float, key: object, spot: Spot | None) -> None:
        if key in self._held:  # its object is gone without having been returned
            self._lost.append(self._held[key])
        self._held[key] = now, spot
        self._acquired += 1
        self._level += 1
        if self._level > self._most_level:  # noqa: PLR1730
            self._most_level = self._level

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
        self.settle()
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
                held=tuple(HeldLease(_place(spot), now - at) for at, spot in held),
                load=self._load(now, share),
            )

    def _load(self, now: float, share: int) -> Load | None:
        last = now if self._held or self._asked else self._last
        span = last - self._first if self._first is not None else 0.0
        held = sum(now - at for at, _ in self._held.values())
        if not self._acquired or span <= 0:
            return None
        asked = self._acquired + self._failed + len(self._asked)
        lease_time = (self._lease_seconds + held) / self._acquired
        return Load(asked / span, lease_time, self._most, share)


def _place(spot: Spot | None) -> Place | None:
    """Return the line of *spot* as a reader knows it, where there is one."""
    if spot is None:
        return None
    code, at = spot
    lines = (line for start, end, line in code.co_lines() if start <= at < end)
    return place_or_none((code, next(lines, None) or code.co_firstlineno))
