"""An observed pool: one that is known by its library, from the start of a block to its end."""

from dataclasses import replace

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.measure.pool.ledger import Ledger
from pytest_agentperf.measure.pool.observing import Observer, Target
from pytest_agentperf.measure.pool.tally import Tally

__all__ = ["ObservedPool"]


class ObservedPool:
    """Sees each lease of a pool.

    Args:
        target: The pool, and how to observe it.
        clock: Returns seconds.
    """

    def __init__(self, target: Target, clock: Clock) -> None:
        self.name = target.name
        self._target = target
        self._clock = clock
        self._capacity: int | None = None
        self._created = self._reused = 0

    @property
    def is_paid(self) -> bool:
        """Whether the calls take longer for it."""
        return True

    def start(self) -> None:
        """Begin to observe."""
        target = self._target
        self._capacity = target.capacity()
        self._created = target.created() if target.created else 0
        self._reused = target.reused() if target.reused else 0
        self._ledger = Ledger(self._clock, self._capacity, target.in_use())
        self._observer = Observer(target.pool, self._ledger, target.home)
        target.place(self._observer)
        self._observer.start()

    def stop(self) -> Tally:
        """Put back what was replaced, and return what was seen."""
        self._observer.stop()
        target = self._target
        tally = self._ledger.tally(target.name, target.unit, target.share)
        notes = [target.note] if target.note else []
        if (capacity := target.capacity()) != self._capacity:
            notes.append(
                f"the pool was resized from {self._capacity} to {capacity} inside the block, and"
                f" numbers are those of {self._capacity}"
            )
        created, reused = self._connections(tally.acquired or 0)
        return replace(tally, notes=tuple(notes), created=created, reused=reused)

    def _connections(self, acquired: int) -> tuple[int | None, int | None]:
        """Return how many connections were opened, and how many leases needed none."""
        target = self._target
        if not target.has_connections:
            return None, None
        created = self._ledger.created
        if target.created is not None:
            created = target.created() - self._created
        reused = max(acquired - created, 0)
        if target.reused is not None:
            reused = target.reused() - self._reused
        return created, reused
