"""Waits: what was waited for, how long, by which line, and behind whom."""

import heapq
import sys
import threading
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, Final

from pytest_agentperf.core.clock import REAL_TIME, Clock
from pytest_agentperf.core.finding import Finding
from pytest_agentperf.measure.concurrency.origins import caller
from pytest_agentperf.measure.concurrency.waits.poolwaits import POOL_MODULES, place_pools
from pytest_agentperf.measure.concurrency.waits.primitives import ANYIO, place_primitives
from pytest_agentperf.measure.concurrency.waits.waiting import Kind, Record, Stopwatch
from pytest_agentperf.measure.frames import Site

if TYPE_CHECKING:
    from pytest_agentperf.measure.concurrency.waits.totals import Wait, WaitTotal

__all__ = ["WaitLedger"]

KEPT_WAITS: Final = 1000
"""The longest waits that are kept one by one."""

KEPT_SPANS: Final = 10_000
"""The spans whose waits are added up each."""

_KEPT_TOTALS: Final = 1000
# A worker that waits for work, or a task that waits to be told, is not kept from anything.
_CONTENTION: Final = frozenset({"lock", "semaphore", "limiter", "executor", "pool", "queue put"})


class WaitLedger:
    """Records what is waited for between `start` and `stop`, which may be called again.

    Args:
        clock: Returns seconds.
        current_span: Returns what identifies the span of the running code, or None.
        origin: Returns the line of the user's that is behind the current call, as that of a
            `Snapshot` does.
    """

    def __init__(
        self,
        clock: Clock = REAL_TIME.clock,
        current_span: Callable[[], Any] = lambda: None,
        origin: Callable[[], Site | None] = caller,
    ) -> None:
        self._book = _Book()
        self._stopwatch = Stopwatch(clock, current_span, origin, self._book.add)
        self._watched: frozenset[str] = frozenset()
        self._unseen: tuple[str, ...] = ()

    def start(self) -> None:
        """Begin to record."""
        if not self._stopwatch.hooks.active:
            self._stopwatch.start()
            self._watched = _imported()
            self._unseen = place_primitives(self._stopwatch) + place_pools(self._stopwatch)

    def stop(self) -> None:
        """Stop recording; a wait that goes on is recorded when it ends."""
        if self._stopwatch.hooks.active:
            self._stopwatch.stop()
            self._unseen += tuple(
                f"{library} was imported during the watch, so waits in it are not seen"
                for library in sorted(_imported() - self._watched)
            )

    @property
    def waits(self) -> "tuple[Wait, ...]":
        """The longest waits, longest first, `KEPT_WAITS` at most."""
        if not self._book.longest:
            return ()
        from pytest_agentperf.measure.concurrency.waits.totals import waits_of

        return waits_of(self._book.longest)

    @property
    def totals(self) -> "tuple[WaitTotal, ...]":
        """All that was waited for, the longest altogether first."""
        if not self._book.totals:
            return ()
        from pytest_agentperf.measure.concurrency.waits.totals import totals_of

        return totals_of(self._book.totals.items())

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what could not be seen."""
        more = f"waits are told apart by span for the first {KEPT_SPANS} spans alone"
        return (*self._unseen, more) if self._book.has_more_spans else self._unseen

    def of_span(self, span: Hashable) -> Mapping[Kind, float]:
        """Return the seconds waited in *span*, by what was waited for."""
        return dict(self._book.spans.get(span, {}))

    def findings(self, least: float = 0.01) -> tuple[Finding, ...]:
        """Return what was contended for, the longest altogether first.

        Args:
            least: Seconds of waiting altogether from which on it is worth a finding.
        """
        contended = (total for total in self.totals if total.kind in _CONTENTION)
        return tuple(total.finding for total in contended if total.seconds >= least)


class _Book:
    """The waits that have ended, in bounded memory."""

    __slots__ = ("_lock", "has_more_spans", "longest", "spans", "totals")

    def __init__(self) -> None:
        self._lock = threading.Lock()  # threads of executors record, too
        self.longest: list[Record] = []
        self.totals: dict[tuple[Kind, Site | str], tuple[int, float, Record]] = {}
        self.spans: dict[Hashable, dict[Kind, float]] = {}
        self.has_more_spans = False

    def add(self, record: Record) -> None:
        with self._lock:
            if len(self.longest) < KEPT_WAITS:
                heapq.heappush(self.longest, record)
            else:
                heapq.heappushpop(self.longest, record)
            self._add_to_total(record)
            if record.span is not None:
                self._add_to_span(record)

    def _add_to_total(self, record: Record) -> None:
        key = record.kind, record.key
        if key not in self.totals and len(self.totals) >= _KEPT_TOTALS:
            key = record.kind, f"any other {record.kind}"
        count, seconds, longest = self.totals.get(key, (0, 0.0, record))
        self.totals[key] = count + 1, seconds + record.seconds, max(longest, record)

    def _add_to_span(self, record: Record) -> None:
        if record.span not in self.spans and len(self.spans) >= KEPT_SPANS:
            self.has_more_spans = True
            return
        waited = self.spans.setdefault(record.span, {})
        waited[record.kind] = waited.get(record.kind, 0.0) + record.seconds


def _imported() -> frozenset[str]:
    """Return the libraries whose waits are timed, of those that are imported."""
    return frozenset(
        module.partition(".")[0] for module in (*POOL_MODULES, ANYIO) if module in sys.modules
    )
