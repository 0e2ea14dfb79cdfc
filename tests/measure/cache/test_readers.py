"""What is read of each known cache, of those that are installed, and what is said of others."""

import asyncio
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.cache.counts import Counts
from pytest_agentperf.measure.cache.door import PerfCache
from pytest_agentperf.measure.cache.readers import counts_of, probe_of
from pytest_agentperf.reference.cache import Cache, cached
from pytest_agentperf.reference.tiers import DecisionCache, TieredCache

KEYS = (1, 2, 1, 1, 3)  # two hits, three misses
Call = Callable[[int], object]


def echo(key: int) -> int:
    return key


async def echo_later(key: int) -> int:
    return key


def look_up(call: Call) -> None:
    for key in KEYS:
        call(key)


def looking_up(cache: Any) -> Call:
    """Return what asks *cache*, a mapping with `get`, and fills it."""

    def call(key: int) -> None:
        if cache.get(key) is None:
            cache.set(key, key)

    return call


# Each returns the cache, and what asks it.


def of_functools() -> tuple[Any, Call]:
    function = functools.lru_cache(maxsize=2)(echo)
    return function, function


def of_ours() -> tuple[Any, Call]:
    cache = Cache(max_size=2)
    return cache, cached(cache)(echo)


def of_our_function() -> tuple[Any, Call]:
    function = cached(max_size=2)(echo)
    return function, function


def of_our_tiers() -> tuple[Any, Call]:
    cache = TieredCache()
    return cache, looking_up(cache)


def of_our_decisions() -> tuple[Any, Call]:
    cache = DecisionCache(max_size=10)
    return cache, looking_up(cache)


def of_cachetools_with_info() -> tuple[Any, Call]:
    library: Any = pytest.importorskip("cachetools")
    function = library.cached(library.LRUCache(2), info=True)(echo)
    return function, function


@pytest.fixture(autouse=True, scope="module")
def theine_at_rest() -> Iterator[None]:
    """End the thread that theine starts when it is imported: it would allocate beside all tests."""
    yield
    theine: Any = sys.modules.get("theine.theine")
    if theine is not None:
        theine._maintainer_loop.call_soon_threadsafe(theine._maintainer_loop.stop)
        theine._maintainer_thread.join()


def of_theine() -> tuple[Any, Call]:
    library: Any = pytest.importorskip("theine")
    cache = library.Cache(100)

    def call(key: int) -> None:
        if not cache.get(key)[1]:
            cache.set(key, key)

    return cache, call


def of_theine_function() -> tuple[Any, Call]:
    library: Any = pytest.importorskip("theine")
    function = library.Memoize(100, None)(echo)
    return function, function


def of_cachebox() -> tuple[Any, Call]:
    library: Any = pytest.importorskip("cachebox")
    function = library.cached(library.LRUCache(2))(echo)
    return function, function


KNOWN = [
    of_functools,
    of_ours,
    of_our_function,
    of_our_tiers,
    of_our_decisions,
    of_cachetools_with_info,
    of_theine,
    of_theine_function,
    of_cachebox,
]


@pytest.mark.parametrize("make", KNOWN)
def test_known_cache_is_read(perf_cache: PerfCache, make: Callable[[], tuple[Any, Call]]) -> None:
    cache, call = make()
    with perf_cache(cache) as hits:
        look_up(call)
    with perf_cache(cache) as again:
        call(3)
    assert (hits.hits, hits.misses, hits.started, hits.sequence) == (2, 3, "cold", "")
    assert (again.hits, again.misses, again.started) == (1, 0, "warm")
    assert hits.size_after in {2, 3}


def test_own_cache_tells_evictions_and_time(perf_cache: PerfCache) -> None:
    cache, call = of_ours()
    with perf_cache(cache) as hits:
        look_up(call)
    assert hits.evictions == 1
    assert hits.time_saved == cache.stats().time_saved


def test_async_lru_is_read_across_event_loops(perf_cache: PerfCache) -> None:
    library: Any = pytest.importorskip("async_lru")
    function = library.alru_cache(maxsize=10)(echo_later)

    async def ask() -> None:
        for key in KEYS:
            await function(key)

    with perf_cache(function) as hits:
        asyncio.run(ask())
    assert (hits.hits, hits.misses) == (2, 3)
    with pytest.warns(UserWarning, match="event loop"), perf_cache(function) as again:
        asyncio.run(ask())  # where it clears itself and its counters
    assert (again.hits, again.misses) == (2, 3)


@pytest.mark.parametrize("kind", ["Cache", "FanoutCache"])
@pytest.mark.parametrize("is_counting", [False, True])
def test_diskcache_counts_for_the_block_alone(
    perf_cache: PerfCache, tmp_path: Path, kind: str, *, is_counting: bool
) -> None:
    library: Any = pytest.importorskip("diskcache")
    with getattr(library, kind)(str(tmp_path)) as cache:
        cache.stats(enable=is_counting)
        with perf_cache(cache) as hits:
            look_up(looking_up(cache))
        assert (hits.hits, hits.misses, hits.size_after) == (2, 3, 3)
        assert bool(cache.statistics) is is_counting


# Objects of users


class Info(SimpleNamespace):
    def cache_info(self) -> object:
        return self.info


@pytest.mark.parametrize(
    ("found", "counts"),
    [
        ({"hits": 1, "misses": 2}, Counts(1, 2)),
        ((1, 2), Counts(1, 2)),
        (SimpleNamespace(hits=1, misses=2, currsize=3), Counts(1, 2, size=3)),
        (SimpleNamespace(hit_count=1, request_count=3), Counts(1, 2)),
        ({"hit_count": 1, "miss_count": 0, "eviction_count": 4}, Counts(1, 0, 4)),
        ({"hits": 0, "misses": 0, "time_saved": 0.5}, Counts(0, 0, time_saved=0.5)),
        ({"hits": 0, "misses": 0, "size": -1}, Counts(0, 0)),
    ],
)
def test_counts_are_read_from_many_shapes(found: object, counts: Counts) -> None:
    assert counts_of(found, "it") == counts
    assert probe_of(Info(info=found)).read() == counts


@pytest.mark.parametrize(
    "found",
    [None, {}, {"hits": 1}, {"hits": True, "misses": 2}, {"hits": -1, "misses": 2}, (1,), (1, 2, 3),
     {"hits": 1.5, "misses": 2}, {"misses": 2}, "text"],
)  # fmt: skip
def test_counts_that_are_none_are_refused_with_a_cure(perf_cache: PerfCache, found: object) -> None:
    with pytest.raises(UsageError, match="expected numbers of 0 or more called hits and misses"):
        perf_cache(Info(info=found)).__enter__()


def test_two_functions_are_read(perf_cache: PerfCache) -> None:
    numbers = {"hits": 5, "misses": 5}
    with perf_cache((lambda: numbers["hits"], lambda: numbers["misses"])) as hits:
        numbers["hits"] += 2
    assert (hits.hits, hits.misses, hits.size_before) == (2, 0, None)


@pytest.mark.parametrize(
    "cache", [{}, 3, None, "cache", (1, 2), (len,), (len, len, len), object(), echo]
)
def test_what_cannot_be_read_is_refused_with_what_was_looked_for(
    perf_cache: PerfCache, cache: object
) -> None:
    with pytest.raises(UsageError, match=r"cannot read .* looked for cache_info\(\), stats\(\)"):
        perf_cache(cache)


def test_function_around_a_cache_is_followed_and_a_circle_is_not() -> None:
    inner = Cache(max_size=1)
    assert probe_of(SimpleNamespace(cache=SimpleNamespace(cache=inner))).target is inner
    circle = SimpleNamespace()
    circle.cache = circle
    with pytest.raises(UsageError, match="cannot read"):
        probe_of(circle)


def test_raw_cachebox_is_refused_with_what_can_be_read(perf_cache: PerfCache) -> None:
    library: Any = pytest.importorskip("cachebox")
    with pytest.raises(UsageError, match=r"give it the function behind that cache"):
        perf_cache(library.LRUCache(3))


@pytest.fixture
def redis_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server of its own on a socket."""
    import shutil
    import subprocess
    import tempfile
    import time

    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="redis") as folder:  # a socket's path must be short
        socket = f"{folder}/socket"
        options = ["--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder]
        server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        try:
            for _ in range(1000):
                if Path(socket).is_socket() or server.poll() is not None:
                    break
                time.sleep(0.01)
            yield socket
        finally:
            server.terminate()
            server.wait()


def test_redis_is_read(perf_cache: PerfCache, redis_socket: str) -> None:
    redis: Any = pytest.importorskip("redis")
    with redis.Redis(unix_socket_path=redis_socket) as client:
        with perf_cache(client) as hits:
            look_up(looking_up(client))
        with perf_cache(client, warm=True) as again:
            client.get(1)
    assert (hits.hits, hits.misses, hits.evictions, hits.started) == (2, 3, 0, "cold")
    assert (again.hits, again.misses, again.size_before) == (1, 0, 3)
    assert "Redis (the whole server)" in str(hits)


@pytest.mark.asyncio
async def test_async_redis_is_read(perf_cache: PerfCache, redis_socket: str) -> None:
    redis: Any = pytest.importorskip("redis.asyncio")
    async with redis.Redis(unix_socket_path=redis_socket) as client:
        async with perf_cache(client) as hits:
            for key in KEYS:
                if await client.get(key) is None:
                    await client.set(key, key)
        with pytest.raises(UsageError, match="async with"), perf_cache(client):
            pytest.fail("entered")
    assert (hits.hits, hits.misses, hits.size_after) == (2, 3, 3)


def test_redis_that_was_reset_runs_backwards(perf_cache: PerfCache, redis_socket: str) -> None:
    redis: Any = pytest.importorskip("redis")
    with redis.Redis(unix_socket_path=redis_socket) as client:
        client.get("a")
        with perf_cache(client) as hits:
            client.config_resetstat()
    assert "ran backwards" in str(hits)
