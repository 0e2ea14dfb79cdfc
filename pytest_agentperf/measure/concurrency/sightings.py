"""Sightings: what a watch saw, as findings, as numbers for budgets, and as assertions for tests."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_agentperf.core.errors import CheckError, UsageError
from pytest_agentperf.core.finding import Finding
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.core.units import Unit, format_quantity, parse_quantity
from pytest_agentperf.measure.concurrency.leaks.snapshot import METRICS, Leak
from pytest_agentperf.measure.concurrency.loop.blocking import Blocking

if TYPE_CHECKING:
    from pytest_agentperf.measure.concurrency.spans.findings import Obstacle
    from pytest_agentperf.measure.concurrency.spans.recorder import SpanRecorder
    from pytest_agentperf.measure.concurrency.waits.ledger import WaitLedger

__all__ = ["BlockTotals", "Sightings"]

_LOOP_METRICS: Final = ("loop_block_max", "loop_block_total", "loop_lag_p99")
_SHOWN: Final = 5


class BlockTotals(NamedTuple):
    """What held the event loop, over all times in which it was watched.

    Attributes:
        blocks: The worst ones, in order.
        total: Seconds of all that code is to blame for.
        lost: Seconds that tasks which were ready waited meanwhile, altogether.
        lag: Seconds from when a callback was ready until it ran.
    """

    blocks: tuple[Blocking, ...]
    total: float
    lost: float
    lag: Sample


@dataclass(eq=False, repr=False)
class Sightings:
    """Everything that one watch saw.

    Attributes:
        label: The name of the watch, or None.
        threshold: Seconds from which the event loop counted as blocked.
        independent: Names of spans that the user declared to need nothing of each other.
        totals: What held the loop; None where that was not looked for.
        leaks: What was left behind; None where that was not looked for.
        recorder: The spans; None where there was none.
        ledger: The waits; None where they were not looked for.
        missed: Why calls went unwatched, a sentence each.
        notes: What a reader must know of it, a sentence each.
        is_accepted: Whether the user knows and accepts a finding.
        monitors: What watched.
    """

    label: str | None
    threshold: float
    independent: tuple[str, ...]
    totals: BlockTotals | None
    leaks: tuple[Leak, ...] | None
    recorder: "SpanRecorder | None"
    ledger: "WaitLedger | None"
    missed: tuple[str, ...]
    notes: tuple[str, ...]
    is_accepted: Callable[[Finding], bool]
    monitors: tuple[str, ...]

    @cached_property
    def blocking(self) -> list[Blocking]:
        """What code of the user or of a library held the event loop, without what is accepted."""
        blocks = self.totals.blocks if self.totals else ()
        return [b for b in blocks if b.is_by_user and not self.is_accepted(_finding_of([b]))]

    @property
    def stalls(self) -> list[Blocking]:
        """What befell the loop: other threads, other processes, garbage collection."""
        blocks = self.totals.blocks if self.totals else ()
        return [block for block in blocks if not block.is_by_user]

    @cached_property
    def left(self) -> list[Leak]:
        """What was left behind, without what is accepted."""
        return [leak for leak in self.leaks or () if not self.is_accepted(leak.finding)]

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What the author would want to know, the most expensive first, leaks last."""
        found = [*self._span_findings, *self._blocking_findings(), *self._waits()]
        found.sort(key=lambda finding: -(finding.seconds or 0.0))
        return (*found, *(leak.finding for leak in self.left))

    @cached_property
    def spans(self) -> "SpanRecorder":
        """The spans, also where there was none."""
        from pytest_agentperf.measure.concurrency.spans.recorder import SpanRecorder

        return self.recorder or SpanRecorder()

    @cached_property
    def _span_findings(self) -> list[Finding]:
        if self.recorder is None:
            return []
        from pytest_agentperf.measure.concurrency.spans.findings import find

        found = find(
            self.recorder.spans, independent=self.independent, obstacles=list(self._obstacles())
        )
        return [finding for finding in found if not self.is_accepted(finding)]

    def _blocking_findings(self) -> Iterator[Finding]:
        """Return a finding for each line that blocked."""
        by_line: defaultdict[str, list[Blocking]] = defaultdict(list)
        for block in self.blocking:
            by_line[block.where].append(block)
        return map(_finding_of, by_line.values())

    def _waits(self) -> list[Finding]:
        found = self.ledger.findings() if self.ledger else ()
        return [each for each in found if not self.is_accepted(each)]

    def _obstacles(self) -> "Iterator[Obstacle]":
        """Return what kept tasks from going on, to find out what serialised them."""
        from pytest_agentperf.measure.concurrency.spans.findings import Obstacle

        for block in self.totals.blocks if self.totals else ():
            yield Obstacle(
                "blocking call",
                block.start,
                block.wall,
                task=block.task,
                place=block.place,
                stops_others=True,
            )
        for wait in self.ledger.waits if self.ledger else ():
            yield Obstacle(
                wait.kind, wait.start, wait.seconds, wait.task, name=wait.name, place=wait.holder
            )

    def worst_delay(self) -> str:
        """Return what held calls up for the longest time altogether; empty where nothing did."""
        found = sorted((*self._blocking_findings(), *self._waits()), key=lambda f: f.seconds or 0.0)
        return str(found[-1]) if found else ""

    # Numbers for budgets

    def measurement(self) -> Measurement:
        """Return what budgets are held against."""
        values: dict[str, float] = {}
        causes: dict[str, str] = {}
        unknown: dict[str, str] = {}
        self._add_blocking(values, causes, unknown)
        self._add_leaks(values, causes)
        self._add_spans(values, causes)
        of_spans = self.recorder.notes if self.recorder else ()
        notes = (*self.notes, *of_spans, *self.missed)
        return Measurement(
            label=self.label,
            subject="the watched block",
            calls=1,
            errors=0,
            samples={},
            values=values,
            unknown=unknown,
            notes=notes,
            causes=causes,
            findings=self.findings,
            monitors=self.monitors,
        )

    def _add_blocking(
        self, values: dict[str, float], causes: dict[str, str], unknown: dict[str, str]
    ) -> None:
        if self.totals is None:
            return
        if self.missed:
            unknown.update(dict.fromkeys(_LOOP_METRICS, self.missed[0]))
        worst = max(self.blocking, key=lambda block: block.seconds, default=None)
        accepted = sum(b.seconds for b in self.totals.blocks if b.is_by_user) - sum(
            b.seconds for b in self.blocking
        )
        values["loop_block_max"] = worst.seconds if worst else 0.0
        values["loop_block_total"] = max(self.totals.total - accepted, 0.0)
        if self.totals.lag.count:
            values["loop_lag_p99"] = self.totals.lag.percentile(99)
        if worst:
            causes.update(dict.fromkeys(_LOOP_METRICS, str(worst)))

    def _add_leaks(self, values: dict[str, float], causes: dict[str, str]) -> None:
        if self.leaks is None:
            return
        for metric, kinds in METRICS.items():
            found = [leak for leak in self.left if leak.kind in kinds]
            values[metric] = sum(leak.count for leak in found)
            if found:
                causes[metric] = _several(leak.sentence for leak in found)

    def _add_spans(self, values: dict[str, float], causes: dict[str, str]) -> None:
        if self.recorder is None or not self.recorder.totals.count:
            return
        from pytest_agentperf.measure.concurrency.spans import expectations
        from pytest_agentperf.measure.concurrency.spans.findings import count_calls

        most = self.recorder.in_flight_max
        values["parallelism"] = self.recorder.totals.parallelism
        values["in_flight_max"] = max(most.values())
        values.update(count_calls(self._span_findings))
        causes["parallelism"] = expectations.time_spent(self.recorder)
        causes["in_flight_max"] = expectations.fullest(self.recorder)
        for metric, kinds in _ADVICE.items():
            if values.get(metric):
                found = (str(f) for f in self._span_findings if f.cause in kinds)
                causes[metric] = _several(found)

    # Assertions

    def assert_not_blocked(self, limit: str | float | None = None) -> None:
        """Fail where code held the event loop for longer than *limit*."""
        __tracebackhide__ = True
        seconds = self.threshold if limit is None else parse_quantity(limit, Unit.SECONDS)
        if seconds < self.threshold:
            raise UsageError(
                f"assert_not_blocked({limit!r}): the watch sees blocks from"
                f" {_shown(self.threshold)} on; write perf_concurrency(threshold={limit!r})"
            )
        self._fail_unwatched("the event loop was not watched")
        worse = sorted((b for b in self.blocking if b.seconds > seconds), key=lambda b: -b.seconds)
        if worse:
            raise CheckError(
                f"the event loop was blocked for {_shown(worse[0].seconds)}, at most"
                f" {_shown(seconds)} is expected: {_several(map(str, worse))}"
            )

    def assert_no_leaks(self) -> None:
        """Fail where tasks, coroutines, generators, threads, sockets or files were left behind."""
        __tracebackhide__ = True
        if self.left:
            count = sum(leak.count for leak in self.left)
            noun = "1 leak" if count == 1 else f"{count} leaks"
            raise CheckError(f"{noun}: {_several(leak.sentence for leak in self.left)}")

    def assert_max_in_flight(self, limit: int, name: str | None = None) -> None:
        """Fail where more than *limit* spans of one name were in flight at once."""
        __tracebackhide__ = True
        self._fail(_expectations().max_in_flight(self.spans, limit, name))

    def assert_full(self, name: str, limit: int) -> None:
        """Fail where *limit* spans of *name* were at no moment in flight: the room was not used."""
        __tracebackhide__ = True
        self._fail(_expectations().never_full(self.spans, name, limit))

    def assert_parallel(self, *names: str, minimum: float | None) -> None:
        """Fail where spans of *names* did not overlap, or all of them by less than *minimum*."""
        __tracebackhide__ = True
        if not names and minimum is None and not self.independent:
            raise UsageError(
                "assert_parallel() of what? Write assert_parallel(min=2.0), name the spans that"
                " must overlap, or declare them by perf_concurrency(independent=(…))"
            )
        if names:
            self._fail(_expectations().overlap(self.spans, *names))
        if minimum is not None:
            self._fail(_expectations().parallel(self.spans, minimum))
        if self.independent:
            self.spans.demand(*self.independent)
            declared = [f for f in self._span_findings if f.cause == "not_overlapped"]
            self._fail(_several(map(str, declared)))

    def _fail_unwatched(self, sentence: str) -> None:
        """Fail where there is nothing to judge."""
        __tracebackhide__ = True
        if self.totals is None or self.missed:
            self._fail(f"{sentence}: {self.missed[0]}" if self.missed else sentence)

    def _fail(self, sentence: str) -> None:
        __tracebackhide__ = True
        if sentence:
            raise CheckError(sentence)


def _expectations() -> ModuleType:
    """Return what tests expect of spans; a watch mostly has none."""
    from pytest_agentperf.measure.concurrency.spans import expectations

    return expectations


_ADVICE: Final = {
    "sequential_calls": ("sequential", "not_overlapped", "n_plus_one"),
    "repeated_calls": ("repeated",),
}
"""The findings that a metric counts."""


def _finding_of(blocks: list[Blocking]) -> Finding:
    """Return the finding about *blocks* of one line."""
    worst = max(blocks, key=lambda block: block.seconds)
    total = sum(block.seconds for block in blocks)
    sentence = str(worst)
    if len(blocks) > 1:
        sentence = f"{len(blocks)} blocks, {_shown(total)} altogether; the longest {sentence}"
    return Finding("blocking", sentence, worst.place, worst.task, len(blocks), total)


def _several(sentences: Iterable[str]) -> str:
    """Return the first few of *sentences* as one."""
    found = list(sentences)
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return "; ".join([*found[:_SHOWN], *more])


def _shown(seconds: float) -> str:
    return format_quantity(seconds, Unit.SECONDS)
