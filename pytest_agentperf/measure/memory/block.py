"""A metered block: the memory, the pauses and the processor time of what runs inside."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, Self, TypeVar

from pytest_agentperf.core.errors import CheckError, UsageError
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.memory.census import Census, CensusTaker
from pytest_agentperf.measure.memory.cpu import CpuBlock, CpuTime
from pytest_agentperf.measure.memory.frozen_gc import FrozenGc
from pytest_agentperf.measure.memory.lines import AllocationLine
from pytest_agentperf.measure.memory.pauses import GcPauses, PauseWatch
from pytest_agentperf.measure.memory.process import ProcessMemory, ProcessMeter
from pytest_agentperf.measure.memory.traced import Ready, TracedMemory, Tracer

__all__ = ["MeterSettings", "MeterTools", "MeteredBlock"]

_T = TypeVar("_T")
_NAMES: Final = {
    "traced": "memory trace",
    "process": "process memory",
    "pauses": "GC pauses",
    "cpu": "CPU time",
}
_MEMORY: Final = frozenset({"traced", "process", "pauses"})
"""What is metered together. Not CPU time: a trace multiplies it."""


_WORTH: Final = 0.1  # what a line must explain of a number, to be named


@dataclass(frozen=True, slots=True)
class MeterTools:
    """What a process has one of.

    Attributes:
        tracer: Traces Python's memory.
        process: Meters the memory of the process.
        frozen: Keeps the garbage collector away.
    """

    tracer: Tracer = field(default_factory=Tracer)
    process: ProcessMeter = field(default_factory=ProcessMeter)
    frozen: FrozenGc = field(default_factory=FrozenGc)


@dataclass(frozen=True, slots=True)
class MeterSettings:
    """What to meter, and how closely.

    Attributes:
        label: The user's name for the block; None for the unnamed one.
        frames: Lines noted of each allocation.
        parts: Which of traced, process, pauses and cpu.
        calls: How many calls the block makes.
        types: Whether to count what comes by type.
    """

    label: str | None = None
    frames: int = 1
    parts: frozenset[str] = _MEMORY
    calls: int = 1
    types: bool = False


class MeteredBlock:
    """Meters what runs inside `with` or `async with`; what it found is read after the block.

    What is traced is the process: what other threads and tasks allocate meanwhile counts as well.

    Args:
        settings: What to meter.
        tools: Those of the process.
    """

    __slots__ = (
        "_census",
        "_contexts",
        "_cpu",
        "_pauses",
        "_process",
        "_settings",
        "_state",
        "_taker",
        "_traced",
    )

    def __init__(self, settings: MeterSettings, tools: MeterTools) -> None:
        parts = settings.parts
        self._settings = settings
        self._state = "new"
        is_traced = "traced" in parts
        self._pauses = PauseWatch() if "pauses" in parts else None
        self._cpu = CpuBlock() if "cpu" in parts else None
        self._process = tools.process.block(is_traced=is_traced) if "process" in parts else None
        self._traced = tools.tracer.block(frames=settings.frames, lines=True) if is_traced else None
        self._contexts = ExitStack()
        self._taker: CensusTaker | None = None
        self._census: Census | None = None

    # The trace begins last and ends first, and what is done in between is little: it counts.

    def __enter__(self) -> Self:
        if self._state != "new":
            raise UsageError(
                f"this block is {self._state}; it meters once, so call perf_memory() again"
            )
        self._state = "in use"
        if self._settings.types:
            self._taker = CensusTaker()
        for context in (self._pauses, self._cpu, self._process):
            if context is not None:
                self._contexts.enter_context(context)
        if self._traced is not None:
            self._traced.__enter__()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if self._traced is not None:
            self._traced.__exit__(None, None, None)
        self._contexts.close()
        self._census = self._taker.come() if self._taker else None
        self._state = "over"

    # No coroutines: one would be counted as the block's memory.
    def __aenter__(self) -> Ready[Self]:
        ready = Ready(self)
        self.__enter__()
        return ready

    def __aexit__(self, kind: object, error: object, traceback: object) -> Ready[None]:
        self.__exit__(kind, error, traceback)
        return Ready(None)

    # What was found

    @property
    def peak(self) -> int:
        """Bytes of Python memory above the start, at the highest point.

        Raises:
            CheckError: It is not known, because the trace was stopped inside the block.
        """
        return _known(self.traced.peak, self.traced.reason)

    @property
    def growth(self) -> int:
        """Bytes of Python memory above the start that were held at the end, garbage collected.

        Raises:
            CheckError: It is not known, because the trace was stopped inside the block.
        """
        return _known(self.traced.growth, self.traced.reason)

    @property
    def rss_peak(self) -> int:
        """Bytes of memory of the process above the start, at the highest point.

        It holds what C code took, and what the trace itself takes: some 50 bytes for each object.

        Raises:
            CheckError: This system does not tell.
        """
        return _known(self.process.rss_peak, self.process.reason)

    @property
    def native(self) -> int | None:
        """Bytes that C code took, which Python did not trace; None where they may be noise."""
        return self.process.native(self.traced.peak or 0)

    def top(self, n: int = 5) -> tuple[AllocationLine, ...]:
        """Return the *n* lines that allocated most of what was held at the end."""
        return self.traced.top(n)

    @property
    def types(self) -> Census:
        """What came by type and was there at the end, of objects of all kinds.

        Raises:
            UsageError: It was not asked for, by `perf_memory(types=True)`.
        """
        if self._state == "over" and self._census is None:
            raise UsageError("types were not counted; write perf_memory(types=True)")
        return self._over(self._census)

    @property
    def gc_pauses(self) -> GcPauses:
        """The pauses of the garbage collector."""
        return self._over(self._pauses).result()

    @property
    def traced(self) -> TracedMemory:
        """The memory that Python took."""
        return self._over(self._traced).result

    @property
    def process(self) -> ProcessMemory:
        """The memory of the process."""
        return self._over(self._process).result

    @property
    def cpu(self) -> CpuTime:
        """The processor time."""
        return self._over(self._cpu).result

    def _over(self, part: _T | None) -> _T:
        if part is None or self._state != "over":
            raise UsageError(f"this block is {self._state}; read what it metered after it")
        return part

    @property
    def is_over(self) -> bool:
        """Whether the block has ended."""
        return self._state == "over"

    def measurement(self) -> Measurement:
        """Return what budgets are held against."""
        found = _Found({}, {}, {}, [])
        if self._traced is not None:
            self._add_traced(found)
        if self._process is not None:
            self._add_process(found)
        if self._pauses is not None:
            self._add_pauses(found)
        if self._cpu is not None:
            self._add_cpu(found)
        return Measurement(
            label=self._settings.label,
            subject="the metered block",
            calls=self._settings.calls,
            errors=0,
            samples={},
            values=found.values,
            unknown=found.unknown,
            notes=tuple(found.notes),
            causes=found.causes,
            monitors=tuple(name for part, name in _NAMES.items() if part in self._settings.parts),
        )

    def _add_traced(self, found: "_Found") -> None:
        traced = self.traced
        found.notes.extend(traced.notes)
        found.state("memory_peak", traced.peak, traced.reason)
        found.state("memory_growth", traced.growth, traced.reason)
        beside = f"{self.process}" if self._process is not None else ""
        for name, value in (("memory_peak", traced.peak), ("memory_growth", traced.growth)):
            worth = (line for line in traced.top(1) if line.size > _WORTH * (value or 0))
            held = (f"held at the end: {line}" for line in worth)
            found.causes[name] = "; ".join(filter(None, (beside, *held)))

    def _add_process(self, found: "_Found") -> None:
        process = self.process
        found.state("rss_peak", process.rss_peak, process.reason)
        native = process.native(self.traced.peak or 0) if self._traced is not None else None
        if native is not None:
            shown = format_quantity(native, Unit.BYTES)
            found.notes.append(f"C code took {shown} beside Python's memory, which no trace sees")

    def _add_pauses(self, found: "_Found") -> None:
        pauses = self.gc_pauses
        for name, number in (("max", "longest"), ("total", "total")):
            value = getattr(pauses.all, number) if pauses.all is not None else None
            found.state(f"gc_pause_{name}", value, pauses.reason)
            found.causes[f"gc_pause_{name}"] = str(pauses)

    def _add_cpu(self, found: "_Found") -> None:
        spent = self.cpu
        found.state("cpu_time_per_call", spent.per_call(self._settings.calls), "")
        found.state("cpu_percent", spent.share, spent.reason or "no time passed")
        found.causes["cpu_percent"] = str(spent)

    def __str__(self) -> str:
        parts = (
            part.result() if isinstance(part, PauseWatch) else part.result
            for part in (self._traced, self._process, self._pauses, self._cpu)
            if part is not None
        )
        return "; ".join(map(str, parts)) if self.is_over else repr(self)

    def __repr__(self) -> str:
        label = f" {self._settings.label!r}" if self._settings.label else ""
        return f"<MeteredBlock{label}, {self._state}>"


@dataclass(frozen=True, slots=True)
class _Found:
    """Numbers for budgets, by the quantity's name."""

    values: dict[str, float]
    unknown: dict[str, str]
    causes: dict[str, str]
    notes: list[str]

    def state(self, name: str, value: float | None, reason: str) -> None:
        """Note what is known of *name*, or why it is not."""
        if value is None:
            self.unknown[name] = reason
        else:
            self.values[name] = value


def _known(value: int | None, reason: str) -> int:
    __tracebackhide__ = True
    if value is None:
        raise CheckError(reason)
    return value
