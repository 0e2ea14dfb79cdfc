"""`perf_load`: what the author of a test holds, and the loads of one test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Executor
from typing import Any, overload

from pytest_agentperf.core.errors import LoadError, LoadTypeError, UnknownNameError, UsageError
from pytest_agentperf.core.measurement import Measurement, check_label
from pytest_agentperf.measure.load.callee import is_async_function
from pytest_agentperf.measure.load.engine import Job
from pytest_agentperf.measure.load.keywords import read_plan
from pytest_agentperf.measure.load.made import LoadContext, MadeLoad
from pytest_agentperf.measure.load.result import LoadResult
from pytest_agentperf.measure.load.scenario import Scenario
from pytest_agentperf.measure.load.together import most_shares
from pytest_agentperf.measure.load.workers import find_workers
from pytest_agentperf.measure.timings import name_of
from pytest_agentperf.measure.trial import close_coroutine

__all__ = ["Loading", "PerfLoad"]

_PARTS = ("stage", "window")


class Loading:
    """The loads of one test.

    Args:
        context: The test.
    """

    def __init__(self, context: LoadContext) -> None:
        self.context = context
        self._loads: list[MadeLoad] = []

    def add(self, load: MadeLoad) -> None:
        """Count *load* for the test."""
        self._loads.append(load)

    def measurements(self) -> list[Measurement]:
        """Return what each load came to that has begun."""
        return [found for load in self._loads for found in load.measurements()]

    def failures(self) -> list[str]:
        """Return the sentences of what fails the test without a budget."""
        return [failure for load in self._loads if (failure := load.failure())]

    def close(self) -> list[str]:
        """End what still runs; return a sentence for each load that was not awaited to its end."""
        return [sentence for load in self._loads if (sentence := load.close())]


class PerfLoad:
    """Makes the calls of many users, or at a rate: the fixture `perf_load`.

    `perf_load["label"]` is the same under a label: one test can hold several loads.

    Args:
        current: Returns the loads of the running test, or raises where no test runs.
        label: The label that loads are recorded under.
    """

    __slots__ = ("_current", "_label")

    def __init__(self, current: Callable[[], Loading], label: str | None = None) -> None:
        self._current = current
        self._label = label

    def __getitem__(self, label: str) -> "PerfLoad":
        """Return this fixture under *label*, a non-empty string."""
        if label is None:
            raise UsageError("perf_load[None]: expected a label, a text that is not empty")
        check_label(label)
        return PerfLoad(self._current, label)

    @overload
    def __call__(
        self, func: Callable[..., AsyncIterator[Any] | Awaitable[Any]], /, *args: Any, **load: Any
    ) -> Coroutine[Any, Any, LoadResult]: ...
    @overload
    def __call__(self, func: Sequence[Scenario] | Scenario, /, **load: Any) -> Any: ...
    @overload
    def __call__(self, func: Callable[..., Any], /, *args: Any, **load: Any) -> Any: ...
    def __call__(
        self,
        func: Any,
        /,
        *args: Any,
        on_start: Callable[..., Any] | None = None,
        on_stop: Callable[..., Any] | None = None,
        data: Iterable[Any] | None = None,
        each: str | None = None,
        executor: Executor | None = None,
        workers: int | None = None,
        **load: Any,
    ) -> Any:
        """Call *func* as the keywords say, and record every call.

        The keywords are those of the load; bind those of *func* with `functools.partial`.

        Args:
            func: What to call, or a `Scenario`, or several. Async functions are called in the
                loop of the test, others in threads. What they return is dropped; a stream is gone
                through to its end.
            *args: Its arguments.
            on_start: Called for each user before its first call; what it returns, unless None, is
                the first argument of the user's calls and of *on_stop*.
            on_stop: Called for each user after its last call.
            data: One more argument for each call; a collection is gone through again and again, an
                iterator that ends ends the load.
            each: ``"stage"`` or ``"window"``: the budgets hold for each apart, as well.
            executor: Makes the calls in other processes, which share the load: one of
                `concurrent.futures` or of a cluster, as `client.get_executor()` of Dask. Without
                one, *workers* are processes of this machine.
            workers: How many processes; those of the executor by default.
            **load: One of `users`, `rate` (``"50/s"``) and `stages` (``"5m:100,10m:500"`` users,
                ``"30s:50/s"``); `duration` and `ramp_up` (seconds or text with a unit), `requests`
                (all calls together); `think_time` (a time, or the least and the most) of users;
                `arrivals` (``"constant"`` or ``"poisson"``) and `max_in_flight` of a rate;
                `deadline` (of a call), `grace` (for the last calls to end), `warmup` (left out of
                every number), `goodput` (limits of a good call, as in ``{"ttft": "200ms"}``),
                `arm_after` and `abort_on_fail` (from when on budgets are watched, and whether a
                missed one ends the load), `seed`.

        Returns:
            The `LoadResult`; in an async test a coroutine of it, to be awaited.

        Raises:
            LoadError: A keyword's value cannot be meant, or keywords exclude each other.
            LoadTypeError: A value is of the wrong kind.
            UsageError: *func* needs an event loop and the test has none, or no test runs.
        """
        scenarios = _scenarios(func, args, data)
        plan = read_plan(load)
        if each is not None and each not in _PARTS:
            raise UnknownNameError("each", each, _PARTS)
        for name, hook in (("on_start", on_start), ("on_stop", on_stop)):
            _check_hook(name, hook, is_open=plan.is_open)
        loading = self._current()
        has_loop, makers = _has_loop(), find_workers(executor, workers, most_shares(plan))
        hooks = [hook for hook in (on_start, on_stop) if hook is not None]
        for called in (*(scenario.func for scenario in scenarios), *hooks):
            if not has_loop and makers is None and is_async_function(called):
                raise UsageError(
                    f"perf_load({name_of(called)}) needs an event loop of asyncio, and this test"
                    " has none; write it as `async def` and await perf_load(…) there"
                )
        job = Job(scenarios, on_start, on_stop)
        made = MadeLoad(plan, job, loading.context, self._label, each, makers)
        loading.add(made)
        return made.run_later() if has_loop else made.run_now()

    def __repr__(self) -> str:
        return f"<perf_load[{self._label!r}]>" if self._label else "<perf_load>"


def _scenarios(func: Any, args: tuple[Any, ...], data: Iterable[Any] | None) -> list[Scenario]:
    """Return what to call."""
    many = list(func) if isinstance(func, list | tuple) else [func]
    if not many:
        raise LoadError("perf_load got no scenario; expected one at least")
    if not any(isinstance(one, Scenario) for one in many):
        if len(many) > 1:
            raise LoadTypeError("perf_load got several functions; expected a Scenario for each")
        close_coroutine(many[0])
        return [Scenario(many[0], *args, data=data)]
    if args or data is not None:
        raise LoadTypeError("perf_load got arguments beside a Scenario; give them to the Scenario")
    if wrong := [one for one in many if not isinstance(one, Scenario)]:
        raise LoadTypeError(f"perf_load got {wrong[0]!r:.60} among scenarios; expected a Scenario")
    names = [one.name for one in many]
    if twice := {name for name in names if names.count(name) > 1}:
        raise LoadError(f"several scenarios are called {min(twice)!r}; tell them apart by name=")
    return many


def _check_hook(name: str, hook: object, *, is_open: bool) -> None:
    if hook is None:
        return
    if not callable(hook):
        close_coroutine(hook)
        raise LoadTypeError(f"{name}={hook!r:.60}: expected a callable")
    if is_open:
        raise LoadError(f"{name}= is for users, and a rate has none; state users= or drop it")


def _has_loop() -> bool:
    """Return whether an event loop of asyncio runs here."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
