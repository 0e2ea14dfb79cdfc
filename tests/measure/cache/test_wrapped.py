"""Caches that count nothing: their lookups are counted for a block, and then left as they were."""

import asyncio
import copy
import inspect
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pytest_agentperf.measure.cache.door import PerfCache

KEYS = (1, 2, 1, 1, 3)
KINDS = ["Cache", "LRUCache", "FIFOCache", "LFUCache", "RRCache", "TTLCache", "TLRUCache"]


def made(library: Any, kind: str, **options: Any) -> Any:
    """Return a cache of cachetools for two entries."""
    more = {"TTLCache": (60,), "TLRUCache": (lambda key, value, now: now + 60,)}
    return getattr(library, kind)(2, *more.get(kind, ()), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_cachetools_is_counted_through_its_function(perf_cache: PerfCache, kind: str) -> None:
    library: Any = pytest.importorskip("cachetools")
    cache = made(library, kind)
    answer = library.cached(cache)(str)
    with perf_cache(answer) as hits:
        for key in KEYS:
            answer(key)
    assert (hits.sequence, hits.evictions, hits.size_after) == ("MMHHM", 1, 2)
    answer(1)
    assert hits.hits == 2


@pytest.mark.parametrize("kind", KINDS)
def test_cachetools_is_counted_as_a_mapping(perf_cache: PerfCache, kind: str) -> None:
    library: Any = pytest.importorskip("cachetools")
    cache = made(library, kind)
    cache["a"] = 1
    with perf_cache(cache) as hits:
        assert cache["a"] == cache.get("a") == 1
        assert (cache.get("b"), cache.get("b", 5)) == (None, 5)
        with pytest.raises(KeyError):
            cache["b"]
    assert hits.sequence == "HHMMM"


@pytest.mark.parametrize("kind", ["Cache", "LRUCache", "TTLCache"])
def test_lookup_by_what_cannot_be_a_key_is_no_lookup(perf_cache: PerfCache, kind: str) -> None:
    library: Any = pytest.importorskip("cachetools")
    cache = getattr(library, kind)(10, *((60,) if kind == "TTLCache" else ()))
    cache[1] = 1
    with perf_cache(cache) as hits:
        with pytest.raises(TypeError):
            cache[[]]
        cache[1]
    assert (hits.hits, hits.misses) == (1, 0)


@pytest.mark.parametrize("kind", ["Cache", "LRUCache", "TTLCache"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_lookup_that_a_key_breaks_off_is_none_and_asks_the_key_once(
    perf_cache: PerfCache, kind: str, error: type[BaseException]
) -> None:
    library: Any = pytest.importorskip("cachetools")
    cache = getattr(library, kind)(10, *((60,) if kind == "TTLCache" else ()))
    cache[1] = 1
    asked = []

    class Key:
        def __hash__(self) -> int:
            return hash(1)

        def __eq__(self, other: object) -> bool:
            asked.append(other)
            raise error

    with perf_cache(cache) as hits, pytest.raises(error):
        cache[Key()]
    assert (hits.hits, hits.misses) == (0, 0)
    assert asked == [1]


@pytest.mark.parametrize("kind", KINDS)
def test_hit_of_cachetools_runs_in_as_many_frames_as_without_the_block(
    perf_cache: PerfCache, kind: str
) -> None:
    library: Any = pytest.importorskip("cachetools")
    depths = []

    class Key:
        def __hash__(self) -> int:
            depths.append(len(inspect.stack(0)))
            return 1

    def look_up() -> list[int]:
        depths.clear()
        assert cache[key] == 1
        return depths.copy()

    cache, other, key = made(library, kind), made(library, kind), Key()
    cache[key] = 1
    before = look_up()
    with perf_cache(cache):
        assert look_up() == before
    with perf_cache(other), perf_cache(cache):
        assert look_up() == before


def test_cachetools_with_a_lock_is_counted(perf_cache: PerfCache) -> None:
    import threading

    library: Any = pytest.importorskip("cachetools")
    for lock in (threading.Lock(), threading.RLock()):
        answer = library.cached(library.LRUCache(2), lock=lock)(str)
        with perf_cache(answer) as hits:
            for key in KEYS:
                answer(key)
        assert hits.sequence == "MMHHM"


def test_expired_entry_of_cachetools_is_a_miss(perf_cache: PerfCache) -> None:
    library: Any = pytest.importorskip("cachetools")
    now = [0.0]
    cache = made(library, "TTLCache", timer=lambda: now[0])
    with perf_cache(cache) as hits:
        cache["a"] = 1
        assert cache.get("a") == 1
        now[0] = 61.0
        assert cache.get("a") is None
        with pytest.raises(KeyError):
            cache["a"]
    assert hits.sequence == "HMM"


def test_users_own_class_of_cachetools_is_counted(perf_cache: PerfCache) -> None:
    library: Any = pytest.importorskip("cachetools")

    class Doubling(library.LRUCache):  # type: ignore[misc]
        def __getitem__(self, key: Any) -> Any:
            return super().__getitem__(key)

        def __missing__(self, key: Any) -> Any:
            self[key] = 2 * key
            return 2 * key

    cache = Doubling(2)
    with perf_cache(cache) as hits:
        assert [cache[key] for key in KEYS] == [2, 4, 2, 2, 6]
    assert hits.sequence == "MMHHM"


def test_blocks_on_a_wrapped_cache_nest_and_overlap(perf_cache: PerfCache) -> None:
    library: Any = pytest.importorskip("cachetools")
    cache = library.LRUCache(5)
    first, second = perf_cache(cache), perf_cache(cache)
    first.__enter__()
    cache.get("a")
    second.__enter__()
    cache.get("b")
    first.__exit__(None, None, None)
    cache["c"] = 1
    cache.get("c")
    second.__exit__(None, None, None)
    assert (first.sequence, second.sequence) == ("MM", "MH")


@pytest.mark.parametrize("kind", KINDS)
def test_caches_of_one_class_are_counted_apart_and_leave_it_as_it_was(
    perf_cache: PerfCache, kind: str
) -> None:
    library: Any = pytest.importorskip("cachetools")
    cls, before = getattr(library, kind), dict(vars(getattr(library, kind)))
    caches = [made(library, kind) for _ in range(3)]
    for cache in caches:
        cache["a"] = 1
    blocks = [perf_cache(cache) for cache in caches[:2]]
    for block in blocks:
        block.__enter__()
    for cache in caches:
        assert (cache["a"], cache.get("a"), cache.get("b")) == (1, 1, None)
        with pytest.raises(KeyError):
            cache["b"]
        cache["b"] = cache["c"] = 2
    blocks[0].__exit__(None, None, None)  # the one that began first
    for cache in caches:
        assert cache["c"] == 2
    blocks[1].__exit__(None, None, None)
    assert [block.sequence for block in blocks] == ["HHMM", "HHMMH"]
    assert [block.evictions for block in blocks] == [1, 1]
    assert vars(cls) == before


def test_cache_of_the_plain_class_and_one_of_another_are_counted_apart(
    perf_cache: PerfCache,
) -> None:
    library: Any = pytest.importorskip("cachetools")
    plain, lru = library.Cache(5), library.LRUCache(5)
    plain["a"] = lru["a"] = 1
    with perf_cache(plain) as first, perf_cache(lru) as second:
        assert (plain["a"], lru["a"], lru["a"], lru.get("b")) == (1, 1, 1, None)
    assert (first.sequence, second.sequence) == ("H", "HHM")


def test_cachetools_in_a_block_keeps_its_class_and_its_copies_are_not_counted(
    perf_cache: PerfCache,
) -> None:
    library: Any = pytest.importorskip("cachetools")
    cache = library.LRUCache(5)
    cache["a"] = 1
    with perf_cache(cache) as hits:
        assert type(cache) is library.LRUCache
        for each in copy.copy(cache), copy.deepcopy(cache):
            assert (each["a"], each.get("b")) == (1, None)
    assert (hits.hits, hits.misses) == (0, 0)


def test_block_left_by_an_error_leaves_the_cache_as_it_was(perf_cache: PerfCache) -> None:
    library: Any = pytest.importorskip("cachetools")
    cache = library.LRUCache(5)
    hits = perf_cache(cache)

    def work() -> None:
        with hits:
            cache.get("a")
            raise ValueError("of the block")

    with pytest.raises(ValueError, match="of the block"):
        work()
    assert hits.misses == 1
    cache.get("a")
    assert (hits.misses, "get" in vars(library.LRUCache)) == (1, False)


def test_refused_block_leaves_the_cache_as_it_was(perf_cache: PerfCache) -> None:
    library: Any = pytest.importorskip("cachetools")
    cache = library.LRUCache(5)
    with pytest.raises(RuntimeError, match="warm=True"):
        perf_cache(cache, warm=True).__enter__()
    assert "get" not in vars(library.LRUCache)


def test_other_caches_of_a_class_are_not_counted(perf_cache: PerfCache) -> None:
    library: Any = pytest.importorskip("moka_py")
    mine, other = library.Moka(10), library.Moka(10)
    before = (library.Moka.get, library.Moka.get_with)
    with perf_cache(mine) as hits:
        other.get("a")
        other.get_with("a", lambda: 1)
        mine.get("a", 3)
    assert hits.sequence == "M"
    assert (library.Moka.get, library.Moka.get_with) == before


def test_overlapping_blocks_on_caches_of_moka_leave_their_class_as_it_was(
    perf_cache: PerfCache,
) -> None:
    library: Any = pytest.importorskip("moka_py")
    before = dict(vars(library.Moka))
    caches = [library.Moka(10), library.Moka(10)]
    first, second = map(perf_cache, caches)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    for cache in caches:
        cache.get("a")
    second.__exit__(None, None, None)
    assert (first.sequence, second.sequence) == ("", "M")
    assert dict(vars(library.Moka)) == before


def test_moka_is_counted(perf_cache: PerfCache) -> None:
    library: Any = pytest.importorskip("moka_py")
    cache = library.Moka(10)
    with perf_cache(cache) as hits:
        assert cache.get("a") is None
        assert cache.get("a", 5) == 5
        assert cache.get_with("a", lambda: 1) == 1
        assert cache.get_with("a", lambda: 2) == 1
        assert cache.get("a") == 1
    assert (hits.sequence, hits.size_after) == ("MMMHH", 1)


@pytest.mark.parametrize("waits", [False, True])
def test_function_of_moka_leads_to_its_cache(perf_cache: PerfCache, *, waits: bool) -> None:
    library: Any = pytest.importorskip("moka_py")
    answer = library.cached(maxsize=10, wait_concurrent=waits)(str)
    with perf_cache(answer) as hits:
        for key in KEYS:
            answer(key)
    assert hits.sequence == "MMHHM"


async def ask(answer: Callable[[int], Awaitable[object]]) -> None:
    for key in KEYS:
        await answer(key)


async def echo(key: int) -> int:
    return key


@pytest.mark.asyncio
async def test_cashews_is_counted(perf_cache: PerfCache) -> None:
    library: Any = pytest.importorskip("cashews")
    cache = library.Cache()
    cache.setup("mem://")
    answer = cache(ttl="10m")(echo)
    async with perf_cache(cache) as hits:
        await ask(answer)
        assert await cache.get("x", 5) == 5
        assert await cache.get("x", default=6) == 6
        await cache.set("y", None)
        assert await cache.get_many("x", "y", default=7) == (7, None)
        other = library.Cache()
        other.setup("mem://")
        assert (await other.get("x", 5), await other.get_many("x")) == (5, (None,))
    assert (hits.sequence, hits.size_after) == ("MMHHMMMMH", 4)
    await ask(answer)
    assert not {"get", "get_many"} & {*vars(cache), *vars(library.Cache)}


@pytest.mark.asyncio
async def test_aiocache_is_counted(perf_cache: PerfCache) -> None:
    library: Any = pytest.importorskip("aiocache")
    answer, other = library.cached()(echo), library.SimpleMemoryCache()
    before = dict(vars(type(other)))
    async with perf_cache(answer) as hits:
        await ask(answer)
        assert (await other.get("x", 5), await other.multi_get(["x"])) == (5, [None])
        assert await answer.cache.get("x", 5) == 5
        assert await answer.cache.get("x", default=6) == 6
        assert await answer.cache.multi_get(["x", "y"]) == [None, None]
    assert (hits.sequence, hits.size_after) == ("MMHHMMMMM", 3)
    assert not {"get", "multi_get"} & set(vars(answer.cache))
    assert dict(vars(type(other))) == before


@pytest.fixture(scope="module")
def django_cache() -> Any:
    conf: Any = pytest.importorskip("django.conf")
    backend = "django.core.cache.backends.locmem.LocMemCache"
    if not conf.settings.configured:
        conf.settings.configure(CACHES={"default": {"BACKEND": backend}})
    return pytest.importorskip("django.core.cache").cache


@pytest.fixture
def django(django_cache: Any) -> Any:
    django_cache.clear()
    return django_cache


def test_django_is_counted_through_its_proxy(perf_cache: PerfCache, django: Any) -> None:
    with perf_cache(django) as hits:
        assert django.get("a") is None
        assert django.get("a", 5) == 5
        django.set("a", None)
        assert django.get("a", 5) is None
        assert django.get_many(["a", "b"]) == {"a": None}
    assert (hits.sequence, hits.size_after) == ("MMHHM", 1)


def test_backend_of_django_that_gets_many_at_once_is_counted(
    perf_cache: PerfCache, django: Any
) -> None:
    base: Any = pytest.importorskip("django.core.cache.backends.locmem").LocMemCache

    class AtOnce(base):  # type: ignore[misc]
        def get_many(self, keys: Any, version: Any = None) -> Any:
            return {key: base.get(self, key) for key in keys if self.has_key(key)}

    cache = AtOnce("here", {})
    cache.set("a", 1)
    with perf_cache(cache) as hits:
        assert cache.get_many(iter(["a", "b"])) == {"a": 1}
        assert AtOnce("there", {}).get_many(["b"]) == {}
    assert hits.sequence == "HM"
    assert "get" not in vars(AtOnce)


@pytest.mark.parametrize("default", [3, lambda: 3])
def test_get_or_set_of_django_is_one_lookup(
    perf_cache: PerfCache, django: Any, default: object
) -> None:
    with perf_cache(django) as hits:
        assert django.get_or_set("a", default) == 3
        assert django.get_or_set("a", default) == 3
    assert (hits.hits, hits.misses) == (1, 1)


def test_async_calls_of_django_are_counted(perf_cache: PerfCache, django: Any) -> None:
    async def look_up() -> None:
        async with perf_cache(django) as hits:
            assert await django.aget("a", 5) == 5
            assert await django.aget_or_set("a", 3) == 3
            assert await django.aget("a") == 3
        assert (hits.hits, hits.misses) == (1, 2)

    asyncio.run(look_up())


def test_other_caches_of_django_are_not_counted(perf_cache: PerfCache, django: Any) -> None:
    other = pytest.importorskip("django.core.cache.backends.locmem").LocMemCache("other", {})

    async def look_up() -> None:
        async with perf_cache(django) as hits:
            assert (other.get("a"), other.get("a", 5), other.get_or_set("a", 6)) == (None, 5, 6)
            assert await other.aget_or_set("b", 7) == 7
        assert (hits.hits, hits.misses) == (0, 0)

    asyncio.run(look_up())


def test_long_strip_of_a_wrapped_cache_is_bounded(perf_cache: PerfCache) -> None:
    library: Any = pytest.importorskip("cachetools")
    cache = library.LRUCache(5)
    with perf_cache(cache) as hits:
        for key in itertools.islice(itertools.cycle("ab"), 10_000):
            cache.get(key)
    assert hits.misses == 10_000
    assert hits.sequence == "…" + "M" * 200
