"""`perf_timer`: what the author of a test holds."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, ParamSpec, TypeVar, overload

from pytest_agentperf.core.effort import parse_effort
from pytest_agentperf.core.errors import EmptySampleError, UnknownNameError, UsageError
from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.metrics import QUANTITIES, Metric, find_metric
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.measure.call import MeasuredBlock
from pytest_agentperf.measure.settings import TimingSettings
from pytest_agentperf.measure.timings import Timings, name_of
from pytest_agentperf.measure.trial import close_coroutine
from pytest_agentperf.measure.wrapping import count_calls, record_calls

__all__ = ["PerfTimer"]

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_COUNTED: Final = ("llm_calls", "retries", "tool_calls")
_HOOKS: Final = ("setup", "teardown", "usage", "cost", "stream")


class PerfTimer:
    """Times calls of the running test: the fixture `perf_timer`.

    All durations are seconds. `perf_timer["label"]` is the same timer under a label: one test can
    hold several measurements. The statistics can be read at any time, as in
    `perf_timer.latency.p95`, `perf_timer.ttft.p50` or `perf_timer.tokens_per_call`.

    Args:
        current: Returns the timings of the running test, or raises where no test runs.
        label: The label that calls are recorded under.
    """

    __slots__ = ("_current", "_label")

    def __init__(self, current: Callable[[], Timings], label: str | None = None) -> None:
        self._current = current
        self._label = label

    def __getitem__(self, label: str) -> "PerfTimer":
        """Return this timer under *label*, a non-empty string."""
        if not (isinstance(label, str) and label):
            raise UsageError(f"perf_timer[{label!r}]: expected a label, a string that is not empty")
        return PerfTimer(self._current, label)

    @overload
    def __call__(
        self, func: Callable[P, Generator[T, Any, Any]], *args: P.args, **kwargs: P.kwargs
    ) -> list[T]: ...
    @overload
    def __call__(
        self, func: Callable[P, AsyncIterator[T]], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, list[T]]: ...
    @overload
    def __call__(
        self, func: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def __call__(
        self,
        func: Callable[P, AbstractAsyncContextManager[Any]],  # entered by `stream=`
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[Any, Any, list[Any]]: ...
    @overload
    def __call__(self, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    def __call__(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Call *func* until its budgets can be judged, and record each round.

        Args:
            func: A function, coroutine function, partial, bound method, lambda, callable object,
                generator function or async generator function.
            *args: Its arguments.
            **kwargs: Its keyword arguments.

        Returns:
            What the last call returned; for a stream the list of its items. A coroutine of that
            where the call's result is awaitable: await it in the test.

        Raises:
            UsageError: *func* cannot be called, or no test runs.
            BaseException: Whatever a call raises ends the rounds and propagates.
        """
        if not callable(func):
            close_coroutine(func)
            raise UsageError(
                f"perf_timer got a {type(func).__name__}; expected a callable and its arguments"
                " apart: perf_timer(ask, 'q'), not perf_timer(ask('q'))"
            )
        return self._current().run(self._label, func, args, kwargs)

    def measure(self, label: str | None = None) -> MeasuredBlock:
        """Return a block, for `with` or `async with`, that is one recorded call.

        Args:
            label: The label to record it under; this timer's own where it is left out.
        """
        if label is not None:
            return self[label].measure()
        timings, label = self._current(), self._label
        subject = f"the block {label!r}" if label else "the block"
        return MeasuredBlock(timings.context(label, subject), timings.recording(label, subject))

    def wrap(self, func: F) -> F:
        """Return a function of the same kind as *func* that records each of its calls.

        A call that raises is recorded as an error and still raises.
        """
        if not callable(func):
            raise UsageError(f"perf_timer.wrap got a {type(func).__name__}; expected a callable")
        timings, label, subject = self._current(), self._label, name_of(func)
        timings.recording(label, subject)
        return record_calls(func, lambda: timings.begin(label, subject))  # type: ignore[return-value]

    def patch(self, owner: object, name: str) -> None:
        """Record each call of method *name* of *owner* until the test ends.

        The calls are recorded under this timer's label, or under *name* where it has none.

        Raises:
            UsageError: *owner* has no such method, or it cannot be set.
        """
        timings, label = self._current(), self._label or name
        timings.recording(label, name)
        timings.patches.replace(
            owner, name, lambda func: record_calls(func, lambda: timings.begin(label, name))
        )

    def count(self, owner: object, name: str, *, metric: str) -> None:
        """Count the calls of method *name* of *owner* that each timed call makes.

        Args:
            owner: An object or a class.
            name: The name of its method.
            metric: `llm_calls`, `tool_calls` or `retries`.

        Raises:
            UsageError: *owner* has no such method, or it cannot be set.
            UnknownNameError: *metric* is none of these.
        """
        if metric not in _COUNTED:
            raise UnknownNameError("counted metric", metric, _COUNTED)
        timings = self._current()
        counters = timings.counters
        timings.patches.replace(
            owner, name, lambda func: count_calls(func, lambda: counters.count(metric))
        )
        counters.metrics[metric] = None

    def configure(self, **options: Any) -> None:
        """State how calls are timed, for this timer's label or for the whole test.

        Args:
            **options: `rounds` and `warmup` (whole numbers), `max_calls`, `max_time` (seconds or
                text with a unit), `max_tokens`, `max_cost` (dollars); `setup` and `teardown`,
                called around each call outside of its time; `usage` and `cost`, which read tokens
                and dollars from a response; `stream`, which turns a response into a stream, as in
                `stream=lambda run: run.stream_text(delta=True)`.

        Raises:
            AgentPerfError: An option is unknown or its value cannot be meant.
        """
        hooks = {name: options.pop(name) for name in _HOOKS if name in options}
        for name, hook in hooks.items():
            if hook is not None and not callable(hook):
                raise UsageError(f"{name}={hook!r:.60}: expected a callable")
        if unknown := set(options) - set(_EFFORT):
            raise UnknownNameError("option of configure", min(unknown), (*_EFFORT, *_HOOKS))
        effort = parse_effort(options)

        def changed(old: TimingSettings) -> TimingSettings:
            around = {name: hooks[name] for name in ("setup", "teardown") if name in hooks}
            readers = {name: hooks[name] for name in ("usage", "cost") if name in hooks}
            return old._replace(
                effort=old.effort.updated(effort),
                hooks=old.hooks._replace(**around),
                reading=old.reading._replace(**readers),
                stream=hooks.get("stream", old.stream),
            )

        self._current().configure(self._label, changed)

    def __getattr__(self, name: str) -> Any:
        """Return a sample (`latency`, `ttft`, `itl`) or a number (`tokens_per_call`, `p95`, …)."""
        if name.startswith("_"):
            raise AttributeError(name)
        quantity = QUANTITIES.get(name)
        try:
            metric = find_metric(name)
        except ValueError as error:
            raise AttributeError(f"perf_timer has no {name!r}: {error}") from error
        measurement = self._measurement(metric)
        if quantity is not None and quantity.has_statistics:
            return measurement.samples.get(name, Sample())
        if name in measurement.unknown:
            raise EmptySampleError(f"{name} is unknown: {measurement.unknown[name]}")
        return measurement.value(metric)

    def _measurement(self, metric: Metric) -> Measurement:
        """Return the measurement that this timer reads: its label's, or the only one there is."""
        found = self._current().measurements()
        mine = [one for one in found if one.label == self._label]
        if mine and (self._label is not None or mine[0].has(metric)):
            return mine[0]
        if self._label is None and len(found) == 1:
            return found[0]
        names = ", ".join(repr(one.label) for one in found if one.label) or "none"
        wanted = f"perf_timer[{self._label!r}]" if self._label else "perf_timer without a label"
        raise EmptySampleError(
            f"{wanted} recorded no {metric.name}; labels with a measurement: {names}"
        )

    def __repr__(self) -> str:
        return f"<perf_timer[{self._label!r}]>" if self._label else "<perf_timer>"


_EFFORT: Final = ("rounds", "warmup", "max_calls", "max_time", "max_tokens", "max_cost")
