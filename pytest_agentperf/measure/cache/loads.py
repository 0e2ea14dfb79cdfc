"""Counted loads: how often the function behind a cache was computed, whatever the cache."""

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.wrapping import is_coroutine_function

__all__ = ["Computations", "CountedLoad", "Gate", "count_load"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class Gate:
    """Holds computations until all callers are in one, or as long as it may.

    Args:
        callers: How many arrivals open it.
        seconds: How long each of them waits at most.
    """

    def __init__(self, callers: int, seconds: float) -> None:
        self.seconds = seconds
        self._missing = callers
        self._lock = threading.Lock()
        self._opened = threading.Event()
        self._opened_async = asyncio.Event()

    def _arrive(self) -> None:
        with self._lock:
            self._missing -= 1
            if self._missing == 0:
                self._opened.set()
                self._opened_async.set()

    def wait(self) -> None:
        """Wait in a thread."""
        self._arrive()
        self._opened.wait(self.seconds)

    async def wait_async(self) -> None:
        """Wait in a task."""
        self._arrive()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.seconds):
                await self._opened_async.wait()


class Computations:
    """What was computed by one load.

    Args:
        name: Of the load, for messages.
        clock: Times the computations.

    Attributes:
        calls: Computations that began.
        errors: Those that raised.
        seconds: What those that did not took, altogether.
        most_at_once: The most that ran at the same time.
        gate: Holds each of them, while the callers of a stampede meet.
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.calls = self.errors = self.most_at_once = 0
        self.seconds = 0.0
        self.gate: Gate | None = None
        self._done = self._running = 0
        self._clock = clock
        self._lock = threading.Lock()

    @property
    def mean(self) -> float | None:
        """Seconds that a computation took on average; None before the first has ended."""
        return self.seconds / self._done if self._done else None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what runs in this context as one computation."""
        with self._lock:
            self.calls += 1
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
        began = self._clock()
        try:
            yield
        except BaseException:
            with self._lock:
                self._running -= 1
                self.errors += 1
            raise
        with self._lock:
            self._running -= 1
            self._done += 1
            self.seconds += self._clock() - began

    def __repr__(self) -> str:
        return f"<Computations of {self.name}: {self.calls}>"


class CountedLoad(Protocol[P, R_co]):
    """A function whose computations are counted.

    Attributes:
        computed: What was computed so far.
    """

    computed: Computations

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Compute."""
        ...


def count_load(load: Callable[P, R_co], name: str, clock: Clock) -> CountedLoad[P, R_co]:
    """Return a function of the kind of *load*, sync or async, that counts its calls.

    Raises:
        UsageError: *load* is no function that returns a value or can be awaited.
    """
    if not callable(load) or inspect.isgeneratorfunction(load) or inspect.isasyncgenfunction(load):
        raise UsageError(
            f"perf_cache.count got {load!r:.80}; expected a function, sync or async, that returns"
            " what the cache keeps"
        )
    computed = Computations(name, clock)
    is_async = is_coroutine_function(load)
    counted = _counted_async(load, computed) if is_async else _counted(load, computed)
    counted.computed = computed  # type: ignore[attr-defined]
    return cast("CountedLoad[P, R_co]", counted)


def _counted(load: Callable[..., Any], computed: Computations) -> Callable[..., Any]:
    @functools.wraps(load, updated=())
    def counted(*args: Any, **kwargs: Any) -> Any:
        if computed.gate is not None:
            computed.gate.wait()
        with computed.running():
            return load(*args, **kwargs)

    return counted


def _counted_async(load: Callable[..., Any], computed: Computations) -> Callable[..., Any]:
    @functools.wraps(load, updated=())
    async def counted(*args: Any, **kwargs: Any) -> Any:
        if computed.gate is not None:
            await computed.gate.wait_async()
        with computed.running():
            return await load(*args, **kwargs)

    return counted
