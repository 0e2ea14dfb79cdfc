"""`perf_memory`: what the author of a test holds, and what it has metered in one test."""

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar, overload

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.measurement import Measurement, check_label
from pytest_agentperf.core.units import Unit, parse_quantity
from pytest_agentperf.measure.memory.advice import Advice, advise
from pytest_agentperf.measure.memory.block import MeteredBlock, MeterSettings, MeterTools
from pytest_agentperf.measure.memory.collected import Collected, Registered
from pytest_agentperf.measure.memory.leak import Leak
from pytest_agentperf.measure.memory.leakplan import LeakPlan
from pytest_agentperf.measure.memory.leakrun import LeakRun
from pytest_agentperf.measure.memory.sizes import size
from pytest_agentperf.measure.monitors import Monitors, Room
from pytest_agentperf.measure.timings import name_of

__all__ = ["ExtraCalls", "LeakCalls", "Metering", "PerfMemory"]

_T = TypeVar("_T")
_GROWTH: Final = "memory_growth_per_call"


class Metering:
    """What was metered in one test.

    Args:
        tools: Those of the process.
        monitors: Those at work in the test.
        is_provided: Returns the name of the fixture that provides an object; None for others.

    Attributes:
        collected: The objects that shall be gone when the test has ended.
        leaking: Sentences on timed calls that leak.
    """

    def __init__(
        self,
        tools: MeterTools,
        monitors: Monitors,
        is_provided: Callable[[object], str | None],
    ) -> None:
        self.tools = tools
        self.monitors = monitors
        self.collected = Collected(is_provided, size_of=size)
        self.leaking: list[str] = []
        self._blocks: list[MeteredBlock] = []
        self._others: list[Measurement] = []

    def block(self, settings: MeterSettings) -> MeteredBlock:
        """Return a new block, whose numbers count for the test."""
        block = MeteredBlock(settings, self.tools)
        self._blocks.append(block)
        return block

    def add(self, measurement: Measurement) -> None:
        """Count *measurement* for the test."""
        self._others.append(measurement)

    def measurements(self) -> list[Measurement]:
        """Return what was metered by each block that has ended, and what else was found."""
        return [*(b.measurement() for b in self._blocks if b.is_over), *self._others]

    def failures(self) -> list[str]:
        """Return a sentence for each leak of timed calls and each object that is still held."""
        return [*self.leaking, *(str(finding) for finding in self.collected.check())]


class ExtraCalls:
    """Calls of a timed function that are made to be metered, when its rounds are over.

    Args:
        metering: Gets what is found.
        settings: What to meter; its `calls` are made.
        metrics: The quantities that are found so.
    """

    def __init__(
        self, metering: Metering, settings: MeterSettings, metrics: tuple[str, ...]
    ) -> None:
        self._metering, self._settings, self._metrics = metering, settings, metrics

    def run(self, call: Callable[[], object], room: Room) -> None:
        """Make calls of a sync function."""
        settings = self._within(room)
        with self._metering.block(settings):
            for _ in range(settings.calls):
                call()

    async def run_async(self, call: Callable[[], Awaitable[object]], room: Room) -> None:
        """Make calls of an async function."""
        settings = self._within(room)
        with self._metering.block(settings):
            for _ in range(settings.calls):
                await call()

    def _within(self, room: Room) -> MeterSettings:
        calls = self._settings.calls
        return replace(
            self._settings, calls=calls if room.calls is None else min(calls, room.calls)
        )

    def miss(self, reason: str) -> None:
        """Take note that the calls were not made."""
        unknown = dict.fromkeys(self._metrics, reason)
        label = self._settings.label
        self._metering.add(Measurement(label, "the metered calls", 0, 0, {}, {}, unknown))


class LeakCalls:
    """Calls of a timed function that are made to find out whether it leaks.

    Args:
        metering: Gets the verdict, and fails the test on a leak.
        label: Of the timed calls.
        subject: What messages call them.
        fails: Whether a leak fails the test, even where no budget does.
    """

    def __init__(self, metering: Metering, label: str | None, subject: str, *, fails: bool) -> None:
        self._metering, self._label, self._subject, self._fails = metering, label, subject, fails

    def run(self, call: Callable[[], object], room: Room) -> None:
        """Call a sync function until it can be told."""
        self._note(LeakRun(call, self._subject, _plan_within(room)).run())

    async def run_async(self, call: Callable[[], Awaitable[object]], room: Room) -> None:
        """Call an async function until it can be told."""
        self._note(await LeakRun(call, self._subject, _plan_within(room)).run_async())

    def miss(self, reason: str) -> None:
        """Take note that the calls were not made."""
        unknown = {_GROWTH: reason}
        self._metering.add(Measurement(self._label, self._subject, 0, 0, {}, {}, unknown))

    def _note(self, leak: Leak) -> None:
        self._metering.add(measured_leak(leak, self._label))
        if self._fails and leak.verdict in {"leak", "native growth"}:
            self._metering.leaking.append(str(leak))


class PerfMemory:
    """Meters memory: peaks, growth and leaks, sizes, and the pauses of the garbage collector.

    Args:
        current: Returns what is metered in the running test.
    """

    def __init__(self, current: Callable[[], Metering]) -> None:
        self._current = current

    def __call__(
        self, label: str | None = None, *, frames: int = 1, types: bool = False
    ) -> MeteredBlock:
        """Return a context for one block: `with perf_memory() as memory`; `async with` too.

        Args:
            label: A name for it, where a test has several.
            frames: Lines noted of each allocation: 1 is the line that allocated; 10 find your line
                behind those of a library, at up to five times the cost.
            types: Count what comes by type, in `memory.types`: 1.2 s for each 100,000 objects.

        Raises:
            UsageError: An argument cannot be meant, or no measured test is in its call phase.
        """
        check_label(label)
        if type(frames) is not int or not 1 <= frames <= _MOST_FRAMES:
            raise UsageError(
                f"frames={frames!r}: expected a number of lines from 1 to {_MOST_FRAMES}"
            )
        return self._current().block(MeterSettings(label, frames, types=types))

    @overload
    def leak(
        self,
        func: Callable[..., Awaitable[Any]],
        *args: Any,
        calls: int | None = ...,
        max_leak_per_call: str | float = ...,
        max_time: str | float = ...,
        warmup: int | None = ...,
        reset: Callable[[], Any] | None = ...,
    ) -> Coroutine[Any, Any, Leak]: ...
    @overload
    def leak(
        self,
        func: Callable[..., Any],
        *args: Any,
        calls: int | None = ...,
        max_leak_per_call: str | float = ...,
        max_time: str | float = ...,
        warmup: int | None = ...,
        reset: Callable[[], Any] | None = ...,
    ) -> Leak: ...
    def leak(
        self,
        func: Callable[..., Any],
        *args: Any,
        calls: int | None = None,
        max_leak_per_call: str | float = "256B",
        max_time: str | float = "60s",
        warmup: int | None = None,
        reset: Callable[[], Any] | None = None,
    ) -> Any:
        """Return whether *func* leaks, to be awaited if it is async; never fails by itself.

        Args:
            func: What to call: some 80 times where it is clean, up to 950 times where it leaks.
            *args: Its arguments; bind keywords with `functools.partial`.
            calls: How often it may be called at most; as often as it takes by default.
            max_leak_per_call: Bytes, with a unit as text, that a call may leave.
            max_time: Time after which no further call begins.
            warmup: Calls made first, to fill caches.
            reset: Called after each call, to put back what calls change; may be async.

        Returns:
            A `Leak`, or an awaitable of one: `leak.verdict`, `.assert_clean()`.

        Raises:
            UsageError: An argument cannot be meant, or no measured test is in its call phase.
        """
        stated = {"calls": calls, "warmup": warmup}
        plan = LeakPlan(
            max_leak_per_call=parse_quantity(max_leak_per_call, Unit.BYTES),
            max_time=parse_quantity(max_time, Unit.SECONDS),
            **{name: value for name, value in stated.items() if value is not None},
        )
        metering, subject = self._current(), name_of(func)
        run = LeakRun(functools.partial(func, *args), subject, plan, reset=reset)
        if _is_async(func):
            return self._leak_async(metering, run)
        with metering.monitors.paused():
            return _noted(metering, run.run())

    async def _leak_async(self, metering: Metering, run: LeakRun) -> Leak:
        with metering.monitors.paused():
            return _noted(metering, await run.run_async())

    def collected(self, obj: _T, name: str | None = None) -> _T:
        """Expect *obj* to be gone when the body of the test has ended, and return it.

        Where it is still held then, the test fails with the chain of those who hold it.

        Args:
            obj: An object that the test makes, of a class that can be weakly referenced.
            name: What messages call it; its type by default.

        Raises:
            UsageError: It cannot be told when *obj* is gone, or a fixture provides it.
        """
        return self._current().collected.register(obj, name)

    @property
    def registered(self) -> tuple[Registered, ...]:
        """What `collected` was given, with sizes, the largest first."""
        return self._current().collected.registered

    def size(self, obj: object) -> int:
        """Return the bytes of *obj* and of all that it alone leads to."""
        return size(obj)

    def advise(self, obj: object) -> tuple[Advice, ...]:
        """Return how *obj* could take less, as sentences with numbers; it is never changed."""
        return advise(obj)

    @contextmanager
    def freeze_gc(self) -> Iterator[None]:
        """Keep the garbage collector away inside `with`, for timing without its pauses."""
        with self._current().tools.frozen:
            yield

    def __repr__(self) -> str:
        return "<perf_memory>"


_MOST_FRAMES: Final = 100


def _plan_within(room: Room) -> LeakPlan:
    plan = LeakPlan()
    if room.calls is not None and room.calls < plan.needed:
        plan = LeakPlan(calls=max(room.calls, 1))
    return plan if room.seconds is None else replace(plan, max_time=room.seconds)


def _is_async(func: Callable[..., Any]) -> bool:
    while isinstance(func, functools.partial):
        func = func.func
    call = getattr(func, "__call__", None)  # noqa: B004 -- an object's own
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(call)


def _noted(metering: Metering, leak: Leak) -> Leak:
    """Return *leak*, counted for the test."""
    metering.add(measured_leak(leak))
    return leak


def measured_leak(leak: Leak, label: str | None = None) -> Measurement:
    """Return what budgets are held against."""
    is_known = leak.verdict != "undecided"
    return Measurement(
        label,
        leak.subject,
        leak.calls,
        0,
        samples={},
        values={_GROWTH: max(leak.bytes_per_call, 0.0)} if is_known else {},
        unknown={} if is_known else {_GROWTH: leak.reason},
        causes={_GROWTH: str(leak)},
        monitors=("memory trace",),
        curves=leak.curves,
    )
