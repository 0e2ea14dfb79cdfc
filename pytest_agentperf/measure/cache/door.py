"""`perf_cache`: what the author of a test holds, and what it has counted in one test."""

import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, ParamSpec, TypeVar, overload

from pytest_agentperf.core.clock import REAL_TIME
from pytest_agentperf.core.detail import Detail
from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.core.measurement import Measurement, check_label
from pytest_agentperf.core.units import Unit, parse_quantity
from pytest_agentperf.measure.cache.expectations import (
    Stampede,
    Steps,
    eviction_steps,
    expiry_steps,
    follow,
    follow_async,
)
from pytest_agentperf.measure.cache.hits import CacheHits, HitSettings
from pytest_agentperf.measure.cache.loads import Computations, CountedLoad, count_load
from pytest_agentperf.measure.cache.prefix import PrefixReuse, prefix_reuse
from pytest_agentperf.measure.cache.probe import Probe, Probes
from pytest_agentperf.measure.cache.readers import probe_of
from pytest_agentperf.measure.timings import name_of
from pytest_agentperf.measure.wrapping import is_coroutine_function

__all__ = ["CacheUse", "PerfCache"]

P = ParamSpec("P")
R = TypeVar("R")


class CacheUse:
    """What was counted in one test."""

    def __init__(self) -> None:
        self._probes = Probes()
        self._blocks: list[CacheHits] = []
        self._others: list[Measurement] = []

    def block(self, probe: Probe, settings: HitSettings) -> CacheHits:
        """Return a new block, whose numbers count for the test."""
        block = CacheHits(probe, settings, self._probes)
        self._blocks.append(block)
        return block

    def add(self, measurement: Measurement) -> None:
        """Count *measurement* for the test."""
        self._others.append(measurement)

    def measurements(self) -> list[Measurement]:
        """Return what was counted by each block that has ended, and what else was found."""
        return [*(b.measurement() for b in self._blocks if b.is_over), *self._others]

    def details(self) -> Iterator[tuple[str | None, Detail]]:
        """Yield what a report draws of the blocks that have ended, by label."""
        for block in self._blocks:
            if block.is_over and block.results.strip:
                yield block.label, Detail(lookups=block.results.strip)


class PerfCache:
    """Counts what caches answer and compute, and what of prompts repeats.

    Args:
        current: Returns what is counted in the running test.
    """

    def __init__(self, current: Callable[[], CacheUse]) -> None:
        self._current = current

    def __call__(
        self,
        cache: Any,
        label: str | None = None,
        *,
        warm: bool = False,
        load: CountedLoad[..., Any] | None = None,
    ) -> CacheHits:
        """Return a context for one block: `with perf_cache(cache) as hits`; `async with` too.

        Args:
            cache: Any known cache, a function behind one, or two functions that return its hits
                and its misses so far, as `(get_hits, get_misses)`.
            label: A name for the block, where a test has several.
            warm: Whether the cache must hold entries when the block begins.
            load: What `count` returned, to know its computations and the time that hits save.

        Raises:
            UsageError: *cache* cannot be read, another argument cannot be meant, or no measured
                test is in its call phase.
        """
        check_label(label)
        settings = HitSettings(label, warm, None if load is None else _computed_of(load))
        return self._current().block(probe_of(cache), settings)

    def count(self, load: Callable[P, R]) -> CountedLoad[P, R]:
        """Return *load*, sync or async, with its computations counted in `.computed`.

        Give it to a cache as the function that computes: so any cache can be tested.

        Raises:
            UsageError: *load* is no function that returns a value or can be awaited.
        """
        return count_load(load, name_of(load), REAL_TIME.clock)

    def prefix(self, requests: Iterable[Any], label: str | None = None) -> PrefixReuse:
        """Return how much of each of *requests* repeats the one before, byte by byte.

        Args:
            requests: Those of one session in order: bodies as mappings or JSON text, lists of
                messages, or objects with a `body`, such as `server.requests`.
            label: A name for them, where a test has several.

        Raises:
            UsageError: One is none of these, or no measured test is in its call phase.
        """
        check_label(label)
        use, reuse = self._current(), prefix_reuse(requests)
        use.add(reuse.measurement(label))
        return reuse

    @overload
    def assert_computed_once(
        self,
        func: Callable[..., Awaitable[Any]],
        *args: Any,
        load: CountedLoad[..., Any],
        concurrency: int = ...,
        hold: str | float = ...,
        max_time: str | float = ...,
    ) -> Coroutine[Any, Any, None]: ...
    @overload
    def assert_computed_once(
        self,
        func: Callable[..., Any],
        *args: Any,
        load: CountedLoad[..., Any],
        concurrency: int = ...,
        hold: str | float = ...,
        max_time: str | float = ...,
    ) -> None: ...
    def assert_computed_once(
        self,
        func: Callable[..., Any],
        *args: Any,
        load: CountedLoad[..., Any],
        concurrency: int = 50,
        hold: str | float = "50ms",
        max_time: str | float = "60s",
    ) -> Any:
        """Fail unless concurrent callers of one key share one computation: the stampede test.

        Args:
            func: Asks the cache: called by tasks where it or *load* is async, and then to be
                awaited; else by threads.
            *args: Its arguments, of a key that is not cached yet.
            load: What `count` returned, behind the cache.
            concurrency: How many call at once.
            hold: Time for which a computation is held, so that all callers meet: longer than it
                takes them to get there.
            max_time: Time after which callers that have not returned fail the assertion.

        Raises:
            CheckError: There was more than one computation, or none, or a caller failed.
        """
        if type(concurrency) is not int or concurrency <= 1:
            raise UsageError(f"concurrency={concurrency!r}: expected 2 callers or more")
        stampede = Stampede(
            functools.partial(func, *args),
            name_of(func),
            _computed_of(load),
            concurrency,
            parse_quantity(hold, Unit.SECONDS),
            parse_quantity(max_time, Unit.SECONDS),
        )
        return stampede.run_async() if _is_async(func, load) else stampede.run()

    @overload
    def assert_expires(
        self,
        func: Callable[..., Awaitable[Any]],
        *args: Any,
        load: CountedLoad[..., Any],
        after: str | float,
        advance: Callable[[float], object],
    ) -> Coroutine[Any, Any, None]: ...
    @overload
    def assert_expires(
        self,
        func: Callable[..., Any],
        *args: Any,
        load: CountedLoad[..., Any],
        after: str | float,
        advance: Callable[[float], object],
    ) -> None: ...
    def assert_expires(
        self,
        func: Callable[..., Any],
        *args: Any,
        load: CountedLoad[..., Any],
        after: str | float,
        advance: Callable[[float], object],
    ) -> Any:
        """Fail unless an entry is there 1 % before *after* and gone 1 % past it.

        Args:
            func: Asks the cache; to be awaited where it or *load* is async.
            *args: Its arguments, of a key that is not cached yet.
            load: What `count` returned, behind the cache.
            after: The lifetime: seconds, or text with a unit.
            advance: Moves the clock that the cache was given by so many seconds.

        Raises:
            CheckError: The entry is gone too early, or too late.
        """
        seconds = parse_quantity(after, Unit.SECONDS)
        if not seconds:
            raise UsageError(f"after={after!r}: expected a time above 0, as in '60s'")
        steps = expiry_steps(args, _computed_of(load), seconds, advance)
        return _followed(steps, func, load)

    @overload
    def assert_evicts(
        self,
        func: Callable[[Any], Awaitable[Any]],
        keys: Iterable[Any],
        *,
        load: CountedLoad[..., Any],
        evicted: Iterable[Any] = ...,
        kept: Iterable[Any] = ...,
        between: Callable[[], object] = ...,
    ) -> Coroutine[Any, Any, None]: ...
    @overload
    def assert_evicts(
        self,
        func: Callable[[Any], Any],
        keys: Iterable[Any],
        *,
        load: CountedLoad[..., Any],
        evicted: Iterable[Any] = ...,
        kept: Iterable[Any] = ...,
        between: Callable[[], object] = ...,
    ) -> None: ...
    def assert_evicts(
        self,
        func: Callable[[Any], Any],
        keys: Iterable[Any],
        *,
        load: CountedLoad[..., Any],
        evicted: Iterable[Any] = (),
        kept: Iterable[Any] = (),
        between: Callable[[], object] = lambda: None,
    ) -> Any:
        """Fail unless a cache that was asked for *keys* in turn has *evicted* some and *kept* some.

        Args:
            func: Asks the cache for a key; to be awaited where it or *load* is async.
            keys: What to ask for, in order.
            load: What `count` returned, behind the cache.
            evicted: Keys of them that must be computed again.
            kept: Keys of them that must not; they are asked for first.
            between: Called after each call, to move the clock that the cache was given.

        Raises:
            CheckError: One was evicted that should be kept, or the other way round.
        """
        gone, there = tuple(evicted), tuple(kept)
        if not gone and not there:
            raise UsageError("assert_evicts: expected keys in evicted= or kept=")
        steps = eviction_steps(keys, gone, there, _computed_of(load), between)
        return _followed(steps, func, load)

    def __repr__(self) -> str:
        return "<perf_cache>"


def _computed_of(load: object) -> Computations:
    computed = getattr(load, "computed", None)
    if not isinstance(computed, Computations):
        raise UsageError(f"load={load!r:.80}: expected what perf_cache.count(load) returned")
    return computed


def _is_async(*functions: object) -> bool:
    return any(map(is_coroutine_function, functions))


def _followed(steps: Steps, func: Callable[..., Any], load: object) -> Any:
    return follow_async(steps, func) if _is_async(func, load) else follow(steps, func)
