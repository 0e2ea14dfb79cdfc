"""`perf_concurrency`: what the author of a test holds, and what it has watched in one test."""

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, overload

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.measurement import Measurement, check_label
from pytest_agentperf.core.units import Unit, parse_quantity
from pytest_agentperf.measure.concurrency.settings import WatchContext, WatchSettings
from pytest_agentperf.measure.concurrency.watch import Watch
from pytest_agentperf.measure.timings import name_of

if TYPE_CHECKING:
    from pytest_agentperf.core.detail import Detail
    from pytest_agentperf.measure.concurrency.scaling import Scaling, ScalingRun

__all__ = ["PerfConcurrency", "Watching"]

_LEVELS: Final = (1, 2, 4, 8)


class Watching:
    """The watches of one test.

    Args:
        context: The test.
    """

    def __init__(self, context: WatchContext) -> None:
        self.context = context
        self._watches: list[Watch] = []

    def watch(self, settings: WatchSettings) -> Watch:
        """Return a new watch, whose sightings count for the test."""
        watch = Watch(settings, self.context)
        self._watches.append(watch)
        return watch

    def look_for(self, parts: frozenset[str], label: str | None = None) -> Watch:
        """Return a new watch that looks for *parts* alone."""
        return self.watch(WatchSettings(label, parts=parts))

    def measurements(self) -> list[Measurement]:
        """Return what was seen by each watch that was used."""
        return [watch.measurement() for watch in self._watches if watch.is_used]

    def details(
        self, calls: Mapping[str | None, Sequence[tuple[float, float]]]
    ) -> "Iterator[tuple[str | None, Detail]]":
        """Yield what a report draws of them, by label.

        Args:
            calls: When timed calls began and ended, by their label.
        """
        from pytest_agentperf.measure.concurrency.details import watch_details

        return watch_details([watch for watch in self._watches if watch.is_used], calls)


class PerfConcurrency:
    """Watches what blocks the event loop, what overlaps, what waits and what leaks.

    Args:
        current: Returns the watches of the running test.
    """

    def __init__(self, current: Callable[[], Watching]) -> None:
        self._current = current

    def __call__(
        self,
        label: str | None = None,
        *,
        threshold: str | float = "25ms",
        exact: bool = False,
        independent: Iterable[str] = (),
    ) -> Watch:
        """Return a watch for one block: `async with perf_concurrency() as watch`.

        Args:
            label: A name for it, where a test has several.
            threshold: Time from which the event loop counts as blocked: seconds, or text with a
                unit.
            exact: Time every callback of the loop, for assertions close to the threshold; costs up
                to a fifth of a loop that does nothing but switch tasks.
            independent: Names of spans that need nothing of each other: where they run one after
                the other, `watch.assert_parallel()` fails.

        Raises:
            UsageError: An argument cannot be meant, or no measured test is in its call phase.
        """
        seconds = parse_quantity(threshold, Unit.SECONDS)
        if not seconds > 0:
            raise UsageError(f"threshold={threshold!r}: expected a time above 0, as in '25ms'")
        check_label(label)
        if isinstance(independent, str):
            raise UsageError(f"independent={independent!r}: expected several names of spans")
        names = tuple(independent)
        return self._current().watch(WatchSettings(label, seconds, exact, names))

    @overload
    def scaling(
        self,
        func: Callable[..., Awaitable[Any]],
        *args: Any,
        levels: Sequence[int] = ...,
        calls: int = ...,
        max_time: str | float = ...,
    ) -> "Coroutine[Any, Any, Scaling]": ...
    @overload
    def scaling(
        self,
        func: Callable[..., Any],
        *args: Any,
        levels: Sequence[int] = ...,
        calls: int = ...,
        max_time: str | float = ...,
    ) -> "Scaling": ...
    def scaling(
        self,
        func: Callable[..., Any],
        *args: Any,
        levels: Sequence[int] = _LEVELS,
        calls: int = 5,
        max_time: str | float = "60s",
    ) -> Any:
        """Return how the throughput of *func* grows with the callers, to be awaited if it is async.

        Args:
            func: An async function, called by so many tasks, or a sync one, called by so many
                threads.
            *args: Its arguments; bind keywords with `functools.partial`.
            levels: Numbers of callers at once, from 1.
            calls: Calls for each caller, at each level.
            max_time: Time after which no further level begins.

        Returns:
            A `Scaling`, or an awaitable of one.
        """
        from pytest_agentperf.measure.concurrency.scaling import ScalingRun

        patience = parse_quantity(max_time, Unit.SECONDS)
        call = functools.partial(func, *args)
        clock = self._current().context.clock
        run = ScalingRun(call, name_of(func), levels, calls, patience, clock)
        first = call()  # one-off costs belong to no level
        if inspect.isawaitable(first):
            return self._scaling_async(run, first)
        run.measure()
        return run.result()

    async def _scaling_async(self, run: "ScalingRun", first: Awaitable[Any]) -> "Scaling":
        await first
        watching = self._current()
        with watching.context.monitors.paused():
            await run.measure_async()
        # Once more, watched and not timed: what makes the calls wait for each other?
        watch = Watch(WatchSettings(parts=frozenset({"blocking", "waits"})), watching.context)
        async with watch:
            await run.call_at_once(run.most_callers)
        return run.result(watch.worst_delay())

    def __repr__(self) -> str:
        return "<perf_concurrency>"
