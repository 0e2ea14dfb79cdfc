"""A cached call inside a block of perf_cache beside the same call outside of one, interleaved.

Where a cache counts for itself the block adds nothing to a call; where its lookups are counted from
outside, a hit may cost 5 % more. The least that counting can cost in Python stands beside the hits
that take so short that it is more: a frame that only passes on, and a number in a frame that is
there. After the block a hit must cost what it did before.
"""

import asyncio
import functools
import time
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final

import pytest

from pytest_agentperf.measure.cache.door import CacheUse, PerfCache
from pytest_agentperf.reference.cache import Cache, cached

REPEATS: Final = 101
CALLS: Final = 2_000
clock = time.thread_time  # of this thread: what else the machine does is no cost of a call
Case = tuple[Any, Callable[[int], Any]]


def echo(key: int) -> int:
    return key


async def echo_later(key: int) -> int:
    return key


def functools_lru_cache() -> Case:
    function = functools.lru_cache(echo)
    return function, function


def ours() -> Case:
    cache = Cache(max_size=10)
    return cache, cached(cache)(echo)


def cachetools_with_info() -> Case:
    library: Any = pytest.importorskip("cachetools")
    function = library.cached(library.LRUCache(10), info=True)(echo)
    return function, function


def of_cachetools(kind: str) -> Callable[[], Case]:
    def make() -> Case:
        library: Any = pytest.importorskip("cachetools")
        more = (60,) if kind == "TTLCache" else ()
        cache = getattr(library, kind)(10, *more)
        return cache, library.cached(cache)(echo)

    make.__name__ = f"cachetools_{kind}"
    return make


def moka() -> Case:
    library: Any = pytest.importorskip("moka_py")
    function = library.cached(maxsize=10)(echo)
    return function, function


def django() -> Case:
    conf: Any = pytest.importorskip("django.conf")
    backend = "django.core.cache.backends.locmem.LocMemCache"
    if not conf.settings.configured:
        conf.settings.configure(CACHES={"default": {"BACKEND": backend}})
    cache: Any = pytest.importorskip("django.core.cache").cache
    cache.set("1", 1)
    return cache, lambda key: cache.get("1")


def cashews() -> Case:
    library: Any = pytest.importorskip("cashews")
    cache = library.Cache()
    cache.setup("mem://")
    return cache, cache(ttl="10m")(echo_later)


def aiocache() -> Case:
    library: Any = pytest.importorskip("aiocache")
    function = library.cached()(echo_later)
    return function.cache, function


CASES: Final[dict[Callable[[], Case], str]] = {
    functools_lru_cache: "1.00",
    ours: "1.00",
    cachetools_with_info: "1.00",
    of_cachetools("Cache"): "<= 1.05",
    of_cachetools("LRUCache"): "<= 1.05",
    of_cachetools("LFUCache"): "<= 1.05",
    of_cachetools("TTLCache"): "<= 1.05",
    django: "<= 1.05",
    cashews: "<= 1.05",
    aiocache: "<= 1.05",
    moka: "shown",
}


Floor = tuple[Callable[[int], Any], type, str, Callable[..., Any]]


def frame_that_passes_on() -> Floor:
    library: Any = pytest.importorskip("moka_py")
    own = library.Moka.get

    def get(self: Any, key: Any, default: Any = None) -> Any:
        return own(self, key, default)

    return moka()[1], library.Moka, "get", get


def number_in_a_frame_that_is_there() -> Floor:
    library: Any = pytest.importorskip("cachetools")
    own, hits = library.LRUCache.__getitem__, 0.0

    def look_up(self: Any, key: Any) -> Any:
        nonlocal hits
        hits += 1.0
        return self._Cache__data[key]

    get = FunctionType(own.__code__, own.__globals__, own.__name__, (look_up,), own.__closure__)
    return of_cachetools("LRUCache")()[1], library.LRUCache, "__getitem__", get


FLOORS: Final = {
    frame_that_passes_on: "moka",
    number_in_a_frame_that_is_there: "cachetools LRUCache",
}


def seconds(call: Callable[[int], Any]) -> float:
    began = clock()
    for _ in range(CALLS):
        call(1)
    return clock() - began


async def seconds_later(call: Callable[[int], Any]) -> float:
    began = clock()
    for _ in range(CALLS // 20):
        await call(1)
    return clock() - began


async def measure(call: Callable[[int], Any], *, is_async: bool) -> float:
    return await seconds_later(call) if is_async else seconds(call)


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def bench_cached_call(
    make: Callable[[], Case], record_ratio: Callable[[str, str, float], None]
) -> None:
    asyncio.run(compare(make, record_ratio))


@pytest.mark.parametrize("make", FLOORS, ids=lambda make: make.__name__)
def bench_floor(
    make: Callable[[], Floor],
    record_ratio: Callable[[str, str, float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    what = f"a hit of {FLOORS[make]}, {make.__name__.replace('_', ' ')} ÷ none"
    for _ in range(REPEATS):
        call, owner, name, least = make()
        call(1)
        before = seconds(call)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, least)
            inside = seconds(call)
        record_ratio(what, "shown", 2 * inside / (before + seconds(call)))


async def compare(
    make: Callable[[], Case], record_ratio: Callable[[str, str, float], None]
) -> None:
    perf_cache = PerfCache(functools.partial(lambda use: use, CacheUse()))
    name = make.__name__.replace("_", " ")
    for _ in range(REPEATS):
        cache, call = make()  # one that no block has touched
        is_async = asyncio.iscoroutine(first := call(1))
        if is_async:
            await first
        before = await measure(call, is_async=is_async)
        again = await measure(call, is_async=is_async)
        async with perf_cache(cache):
            inside = await measure(call, is_async=is_async)
        after = await measure(call, is_async=is_async)
        record_ratio(f"a hit of {name}, in a block ÷ before", CASES[make], inside / again)
        record_ratio(f"a hit of {name}, after a block ÷ before", "1.00", after / again)
        record_ratio(f"{name} ÷ itself (A/A)", "noise", again / before)
