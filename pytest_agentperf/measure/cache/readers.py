"""Readers: what each known cache counts itself, told by its shape; no library is imported."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.cache.counts import Counts
from pytest_agentperf.measure.cache.probe import Probe, Reading
from pytest_agentperf.measure.cache.wrapped import is_made_by, wrapping_probe
from pytest_agentperf.measure.timings import name_of
from pytest_agentperf.measure.wrapping import is_coroutine_function

__all__ = ["counts_of", "probe_of"]

_LOOKED_FOR: Final = (
    "cache_info(), stats(), a cache of functools, cachetools, async-lru, theine, moka-py, cachebox,"
    " cashews, aiocache, diskcache, Redis, Django or pytest_agentperf.reference, and two functions"
    " (get_hits, get_misses)"
)
_HITS: Final = ("hits", "hit_count", "cache_hits")
_MISSES: Final = ("misses", "miss_count", "cache_misses")
_LOOKUPS: Final = ("request_count", "requests", "lookups", "total")
_SIZE: Final = ("currsize", "length", "size", "current_size")
_EVICTIONS: Final = ("evictions", "eviction_count", "evicted")
_DEPTH: Final = 3  # a function, its cache, and the cache behind that


def probe_of(cache: Any) -> Probe:
    """Return how *cache* is read.

    Args:
        cache: A cache, a function behind one, or two functions that return its hits and misses.

    Raises:
        UsageError: It is none that can be read; the message says what was looked for.
    """
    for inner in _behind(cache):
        for read in (_read_pair, _read_by_library, _read_info, _read_stats, wrapping_probe):
            probe = read(inner)
            if probe is not None:
                return probe
    raise UsageError(
        f"perf_cache cannot read {cache!r:.80} ({type(cache).__module__}.{type(cache).__name__});"
        f" it looked for {_LOOKED_FOR}; give those two, or count what is computed with"
        " perf_cache.count(load)"
    )


def _behind(cache: Any) -> Iterator[Any]:
    """Yield *cache*, then what a decorated function says its cache is."""
    for _ in range(_DEPTH):
        if is_made_by(cache, "django.utils.connection", "ConnectionProxy"):
            cache = cache._connections[cache._alias]  # noqa: SLF001 -- Django has no other way
        yield cache
        clear = getattr(cache, "cache_clear", None)
        known = (getattr(cache, "cache", None), getattr(cache, "_cache", None))
        owner = getattr(clear, "__self__", None)  # moka-py's functions lead to it by this alone
        inner = next((found for found in (*known, owner) if found is not None), cache)
        if inner is cache:
            return
        cache = inner


def _read_pair(cache: Any) -> Probe | None:
    if not isinstance(cache, tuple) or len(cache) != 2 or not all(map(callable, cache)):  # noqa: PLR2004 -- a pair
        return None
    get_hits, get_misses = cache
    subject = f"{name_of(get_hits)} and {name_of(get_misses)}"
    return Probe(cache, subject, lambda: counts_of((get_hits(), get_misses()), subject))


def _read_info(cache: Any) -> Probe | None:
    info = getattr(cache, "cache_info", None)
    if not callable(info):
        return None
    subject = f"the cache of {name_of(cache)}"
    return Probe(cache, subject, lambda: counts_of(info(), subject))


def _read_by_library(cache: Any) -> Probe | None:
    if is_made_by(cache, "theine", "Cache"):
        return Probe(cache, "the theine cache", lambda: _theine_counts(cache))
    if is_made_by(cache, "async_lru") and callable(getattr(cache, "cache_info", None)):
        return Probe(cache, f"the cache of {name_of(cache)}", _AsyncLru(cache).read)
    if is_made_by(cache, "diskcache") and hasattr(cache, "statistics"):
        return _diskcache_probe(cache)
    if is_made_by(cache, "redis") and callable(getattr(cache, "dbsize", None)):
        return Probe(cache, "Redis (the whole server)", lambda: _redis_counts(cache))
    return None


def _read_stats(cache: Any) -> Probe | None:
    stats = getattr(cache, "stats", None)
    if not callable(stats):
        return None
    is_function = hasattr(cache, "__name__")
    subject = f"the cache of {name_of(cache)}" if is_function else f"the {type(cache).__name__}"

    async def read() -> Counts:
        return counts_of(await stats(), subject)

    is_async = is_coroutine_function(stats)
    return Probe(cache, subject, read if is_async else lambda: counts_of(stats(), subject))


def counts_of(found: Any, subject: str) -> Counts:
    """Return the counts that *found* states: an object, a mapping or a pair of numbers.

    Raises:
        UsageError: It states no hits or misses, or they are no counts.
    """
    if type(found) is tuple and len(found) == 2:  # noqa: PLR2004 -- a pair
        found = {"hits": found[0], "misses": found[1]}
    hits, misses = _number(found, _HITS), _number(found, _MISSES)
    if misses is None and hits is not None and (lookups := _number(found, _LOOKUPS)) is not None:
        misses = lookups - hits
    if hits is None or misses is None:
        raise UsageError(
            f"the counts of {subject} are {found!r:.100}; expected numbers of 0 or more called"
            " hits and misses; give perf_cache two functions that return them"
        )
    saved = _get(found, "time_saved")
    return Counts(
        hits,
        misses,
        _number(found, _EVICTIONS),
        _number(found, _SIZE),
        saved if isinstance(saved, float) else None,
    )


def _number(found: Any, names: tuple[str, ...]) -> int | None:
    """Return the first count of *found* that has one of *names*."""
    values = (_get(found, name) for name in names)
    return next((value for value in values if type(value) is int and value >= 0), None)


def _get(found: Any, name: str) -> Any:
    return found.get(name) if isinstance(found, Mapping) else getattr(found, name, None)


def _theine_counts(cache: Any) -> Counts:
    # Its own stats() counts a hit and a miss for each shard, and divides by zero at first. Each
    # shard keeps two of `itertools.count`, whose representation alone leaves them as they are.
    def total(name: str) -> int:
        return sum(int(repr(getattr(shard, name))[6:-1]) for shard in cache._shards)  # noqa: SLF001

    return Counts(total("_hits"), total("_misses"), size=len(cache))


class _AsyncLru:
    """Reads a function of async-lru, which clears its counters at its first call in a new loop."""

    def __init__(self, cached: Any) -> None:
        self._cached = cached
        self._loop: object = None
        self._last = self._cleared = Counts(0, 0)

    def read(self) -> Counts:
        loop = getattr(self._cached, "_LRUCacheWrapper__first_loop", None)
        if loop is not self._loop:
            self._cleared = self._last
        self._loop = loop
        found, cleared = counts_of(self._cached.cache_info(), name_of(self._cached)), self._cleared
        self._last = replace(
            found, hits=found.hits + cleared.hits, misses=found.misses + cleared.misses
        )
        return self._last


def _diskcache_probe(cache: Any) -> Probe:
    @contextmanager
    def counting() -> Iterator[None]:
        was_counting = bool(cache.statistics)
        cache.stats(enable=True)
        try:
            yield
        finally:
            cache.stats(enable=was_counting)

    def read() -> Counts:
        hits, misses = cache.stats(enable=True)
        return Counts(hits, misses, size=len(cache))

    return Probe(cache, f"the diskcache {cache.directory}", read, counting)


def _redis_counts(client: Any) -> Reading:
    if not is_made_by(client, "redis.asyncio"):
        return _keyspace(client.info("stats"), client.dbsize())

    async def read() -> Counts:
        return _keyspace(await client.info("stats"), await client.dbsize())

    return read()


def _keyspace(info: Any, size: int) -> Counts:
    names = ("keyspace_hits", "keyspace_misses", "evicted_keys")
    hits, misses, evictions = (int(info[name]) for name in names)
    return Counts(hits, misses, evictions, size)
