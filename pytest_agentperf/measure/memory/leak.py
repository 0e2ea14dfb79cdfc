"""A leak: what calling a function again and again says about the memory that it keeps."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from pytest_agentperf.core.errors import CheckError
from pytest_agentperf.core.series import Curve
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.memory.holders import Chain
from pytest_agentperf.measure.memory.leakedtypes import LeakType
from pytest_agentperf.measure.memory.naming import LeakLine
from pytest_agentperf.measure.memory.staged import NATIVE, Ruling, Verdict

__all__ = ["Leak"]

_LEAVES: Final = {
    "tasks": "tasks that do not end",
    "threads": "threads that do not end",
    "file descriptors": "open file descriptors",
}


@dataclass(frozen=True, slots=True)
class Leak:
    """Whether a function leaks.

    Attributes:
        subject: What was called.
        ruling: What follows from the readings.
        bytes_per_call: Bytes of Python memory that a call left in the last stage.
        calls: Calls made before the verdict.
        limit: Bytes that a call may leave.
        lines: The lines that allocate what leaks, those with most bytes first.
        types: The types of what leaks, those that explain most bytes first.
        growing: How many tasks, threads and file descriptors a call leaves; none that do not grow.
        chain: Who holds one of the objects that leak.
        reason: Why nothing is decided, and what would decide; empty where it is.
        notes: Sentences that weaken the rest.
        curves: How memory went over the calls, above where it began: ``"traced memory"`` and
            ``"process memory"``, that without the trace's own, where the system tells it.
    """

    subject: str
    ruling: Ruling
    bytes_per_call: float
    calls: int
    limit: float
    lines: tuple[LeakLine, ...] = ()
    types: tuple[LeakType, ...] = ()
    growing: Mapping[str, float] | None = None
    chain: Chain | None = None
    reason: str = ""
    notes: tuple[str, ...] = ()
    curves: Mapping[str, Curve] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """Clean, warming up, leak, native growth or undecided."""
        return self.ruling.verdict

    def assert_clean(self) -> None:
        """Fail on a leak and on native growth, and where nothing could be decided."""
        __tracebackhide__ = True
        if self.verdict not in {"clean", "warming up"}:
            raise CheckError(str(self))

    def __str__(self) -> str:
        return "; ".join((f"{self.subject} {self._said()}", *self._growing(), *self.notes))

    def _said(self) -> str:
        match self.verdict:
            case "clean":
                limit = _bytes(self.limit)
                kept = f"keeps {_bytes(self.bytes_per_call)} a call over {self.calls} calls"
                return f"is clean: it {kept} (limit {limit})"
            case "warming up":
                return self._warming_up()
            case "native growth":
                return (
                    f"takes {_bytes(self.ruling.rate)} of native memory a call, over {self.calls}"
                    " calls, and gives none back; no Python object explains it: C code keeps it"
                )
            case "undecided":
                return f"may leak or not: {self.reason}"
        return self._leaking()

    def _warming_up(self) -> str:
        first, now = _amount(self.ruling, self.ruling.first_rate), _amount(self.ruling)
        if self.chain and self.chain.bound:
            return f"keeps {now} a call and is no leak, if it ends there: {self.chain.bound}"
        if self.ruling.is_over:
            return (
                f"warmed up: it kept {first} a call at first and {now} a call at the end of"
                f" {self.calls} calls, as a cache does that is full"
            )
        return (
            f"is warming up: it kept {first} a call at first and {now} a call, ever less, after"
            f" {self.calls} calls; calls={2 * self.calls} would tell whether it ends"
        )

    def _leaking(self) -> str:
        what = ", ".join(_with_rate(each) for each in self.types[:1])
        what = what or ", ".join(str(line) for line in self.lines[:1])
        kept = f", kept by {self.chain}" if self.chain and self.chain.links else ""
        told = f": {what}{kept}" if what else ""
        if self.ruling.what != "traced":
            return f"leaks {_amount(self.ruling)} a call over {self.calls} calls{told}"
        return (
            f"leaks {_amount(self.ruling)} a call{told}; it keeps as much after {self.calls} calls"
            f" as at first, so if this is a bounded cache, fill it first (warmup={2 * self.calls})"
            f" or raise max_leak_per_call"
        )

    def _growing(self) -> Iterator[str]:
        for what, rate in (self.growing or {}).items():
            if what != self.ruling.what:
                yield f"a call leaves {rate:.2f} {_LEAVES[what]}"


def _with_rate(leaked: LeakType) -> str:
    return f"{leaked} ({leaked.count_per_call:.2f} a call)"


def _amount(ruling: Ruling, rate: float | None = None) -> str:
    rate = ruling.rate if rate is None else rate
    if ruling.what in _LEAVES:
        return f"{max(rate, 0):.2f} {_LEAVES[ruling.what]}"
    native = " of native memory" if ruling.what in NATIVE else ""
    return f"{_bytes(rate)}{native}"


def _bytes(rate: float) -> str:
    return format_quantity(max(rate, 0), Unit.BYTES)
