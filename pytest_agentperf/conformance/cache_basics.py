"""What every cache promises: values, size and time."""

from typing import Any

from pytest_agentperf.conformance.cache_subject import MISSING, CacheSuite
from pytest_agentperf.conformance.suite import expect, require, scenario

__all__ = ["BasicTests", "TTLTests"]

YEARS = 86_400 * 365.25 * 10
FALSY: tuple[Any, ...] = (0, 0.0, False, "", (), [], {}, b"")
SIMILAR = ("a", "A", "ab", "b", "a:b", "a,b", "1", "01", "1.0", "True", "None", "é")


class BasicTests(CacheSuite):
    """Values and size."""

    @scenario()
    async def test_get_returns_the_value_that_was_set(self) -> None:
        """The least that a cache does.

        Seen in sabre-io/cache#24 (lookups of the memory cache disagreed about what it holds).
        """
        cache = await self.new_cache()
        await cache.set("key", "value")
        expect(await cache.get("key"), "value", "get after set")
        expect(await cache.get("key", "default"), "value", "get after set, with a default")
        expect(await cache.get("key"), "value", "a second get")

    @scenario()
    async def test_set_replaces_the_value_of_a_key(self) -> None:
        """Seen in tusharf5/runtime-memcache#23 (`set` kept the old value)."""
        cache = await self.new_cache()
        await cache.set("key", "old")
        await cache.set("key", "new")
        expect(await cache.get("key"), "new", "get after a second set")
        expect(await cache.size(), 1, "len() after a second set of the same key")

    @scenario()
    async def test_missing_key_gives_the_default(self) -> None:
        """Seen in pinterest/pymemcache#350 (None instead of the default)."""
        cache = await self.new_cache()
        default = object()
        expect(await cache.get("nothing"), None, "get of an absent key")
        for each in (default, 0, "", False, None):
            found = await cache.get("nothing", each)
            require(found is each, f"get of an absent key with default {each!r} gave {found!r}")

    @scenario()
    async def test_default_is_not_stored(self) -> None:
        """Seen in django/django#9087 (a default of None stayed in the cache)."""
        cache = await self.new_cache()
        await cache.get("key", "default")
        expect(await cache.get("key"), None, "get after a get with a default")
        expect(await cache.size(), 0, "len() after a get with a default")

    @scenario()
    async def test_none_is_a_value_and_no_miss(self) -> None:
        """Seen in aio-libs/aiocache#1033 and Krukov/cashews#33 (None is computed each time)."""
        cache = await self.new_cache()
        await cache.set("key", None)
        expect(await cache.look("key"), None, "get of a stored None, with a default")

    @scenario()
    async def test_falsy_values_are_no_misses(self) -> None:
        """Seen in aio-libs/aiocache#280 (`return value or default`)."""
        cache = await self.new_cache(max_size=len(FALSY))
        for number, value in enumerate(FALSY):
            await cache.set(f"key {number}", value)
        for number, value in enumerate(FALSY):
            expect(await cache.look(f"key {number}"), value, f"get of a stored {value!r}")

    @scenario()
    async def test_similar_keys_are_not_mixed_up(self) -> None:
        """Seen in peterbe/django-cache-memoize#50 (keys joined by a separator that they hold)."""
        cache = await self.new_cache(max_size=len(SIMILAR))
        await cache.fill(*SIMILAR)
        expect(await cache.hits(*SIMILAR), [*SIMILAR], f"hits after setting {SIMILAR}")

    @scenario()
    async def test_never_more_than_max_size_entries_live(self) -> None:
        """Seen in nodejs/undici#5111 (one too many) and apache/druid#3507 (no bound)."""
        for max_size in (1, 2, 5):
            cache = await self.new_cache(max_size=max_size)
            keys = [f"key {number}" for number in range(4 * max_size)]
            for count, key in enumerate(keys, 1):
                await cache.fill(key)
                size = await cache.size()
                text = f"len() is {size} after {count} keys, with max_size={max_size}"
                require(size <= max_size, text)
            alive = await cache.hits(*keys)
            text = f"{len(alive)} of {len(keys)} keys are hits, with max_size={max_size}: {alive}"
            require(len(alive) <= max_size, text)

    @scenario()
    async def test_nothing_is_evicted_before_the_cache_is_full(self) -> None:
        """Seen in ArcadeData/arcadedb#4559 (`max_size` - 1 entries) and repoze/repoze.lru#5."""
        for max_size in (1, 2, 5):
            cache = await self.new_cache(max_size=max_size)
            keys = [f"key {number}" for number in range(max_size)]
            await cache.fill(*keys)
            for _ in range(2):  # looking must not evict either
                found = await cache.hits(*keys)
                expect(found, keys, f"hits after {max_size} keys, with max_size={max_size}")
            expect(await cache.size(), max_size, f"len() after {max_size} keys")

    @scenario()
    async def test_overwriting_in_a_full_cache_evicts_nothing(self) -> None:
        """Seen in scrapy/scrapy#7981 and langchain-ai/langchain#39639."""
        for overwritten in ("a", "b", "c"):
            cache = await self.new_cache(max_size=3)
            await cache.fill("a", "b", "c")
            for _ in range(3):
                await cache.fill(overwritten)
            found = await cache.hits("a", "b", "c")
            expect(found, ["a", "b", "c"], f"hits of a full cache after {overwritten!r} was reset")

    @scenario()
    async def test_full_cache_never_returns_the_value_of_another_key(self) -> None:
        """Seen in pymc-devs/pymc#4506 (hashes for keys)."""
        cache = await self.new_cache(max_size=3)
        keys = [f"key {number}" for number in range(12)]
        for key in keys:
            await cache.fill(key)
            await cache.hits(*keys)

    @scenario()
    async def test_two_caches_share_nothing(self) -> None:
        """Seen in alastairtree/LazyCache#198 (entries of a class, not of an instance)."""
        one = await self.new_cache()
        other = await self.new_cache()
        await one.set("key", "of one")
        expect(await other.look("key"), MISSING, "get from the other of two caches")


class TTLTests(CacheSuite):
    """Time."""

    @scenario("supports_ttl")
    async def test_entry_is_a_hit_before_its_ttl(self) -> None:
        """Seen in isaacs/node-lru-cache#257 (entries gone at once)."""
        cache = await self.new_cache(ttl=self.ttl)
        await cache.set("key", "value")
        expect(await cache.look("key"), "value", "get at once")
        await cache.wait(self.early)
        expect(await cache.look("key"), "value", f"get after {self.early:g} of {self.ttl:g} s")

    @scenario("supports_ttl")
    async def test_entry_is_a_miss_after_its_ttl(self) -> None:
        """Seen in sabre-io/cache#24 (expired values returned)."""
        cache = await self.new_cache(ttl=self.ttl)
        await cache.set("key", "value")
        await cache.wait(self.late)
        what = f"get {self.late:g} s after set, with ttl={self.ttl:g}"
        expect(await cache.get("key", "default"), "default", what)
        expect(await cache.get("key"), None, what)

    @scenario("supports_ttl")
    async def test_reading_does_not_extend_the_ttl(self) -> None:
        """Seen in avoidwork/tiny-lru#75 (a read renewed the time)."""
        cache = await self.new_cache(ttl=self.ttl)
        await cache.set("key", "value")
        await cache.wait(self.early)
        await cache.look("key")
        await cache.wait(self.late - self.early)
        expect(await cache.look("key"), MISSING, "get after ttl, with a get before")

    @scenario("supports_ttl")
    async def test_overwriting_begins_a_new_ttl(self) -> None:
        """Seen in bitfaster/BitFaster.Caching#123 and avoidwork/tiny-lru#37 (the old time ran)."""
        cache = await self.new_cache(ttl=self.ttl)
        await cache.set("key", "old")
        await cache.wait(self.early)
        await cache.set("key", "new")
        await cache.wait(self.early)
        expect(await cache.look("key"), "new", "get before the ttl of the second set")
        await cache.wait(self.late - self.early)
        expect(await cache.look("key"), MISSING, "get after the ttl of the second set")

    @scenario("supports_ttl")
    async def test_expired_key_can_be_set_again(self) -> None:
        """Seen in avoidwork/tiny-lru#37 (the new value was expired at once)."""
        for is_touched in (False, True):
            cache = await self.new_cache(ttl=self.ttl)
            await cache.set("key", "old")
            await cache.wait(self.late)
            if is_touched:
                await cache.look("key")
            await cache.set("key", "new")
            expect(await cache.look("key"), "new", "get after an expired key was set again")

    @scenario("supports_ttl")
    async def test_expired_entries_that_were_touched_make_room(self) -> None:
        """Seen in cpsubrian/node-stow#3 (an expired entry was never removed)."""
        cache = await self.new_cache(max_size=2, ttl=self.ttl)
        await cache.fill("a", "b")
        await cache.wait(self.late)
        await cache.hits("a", "b")
        await cache.fill("c", "d")
        expect(await cache.hits("c", "d"), ["c", "d"], "hits after two others had expired")
        expect(await cache.size(), 2, "len() after two expired and two were set")

    @scenario("supports_ttl")
    async def test_entries_expire_each_at_its_own_time(self) -> None:
        """Seen in dparker2/py-expiring-dict#8 (the order of expiry after an update)."""
        cache = await self.new_cache(ttl=self.ttl)
        first = self.late - self.early
        await cache.fill("a", "b")
        await cache.wait(first)
        await cache.fill("c", "a")
        await cache.wait(self.early)
        expect(await cache.hits("a", "b", "c"), ["a", "c"], "hits after the ttl of 'b' alone")

    @scenario("supports_ttl", "supports_clock")
    async def test_ttl_of_none_never_ends(self) -> None:
        """Seen in intake/intake#689 (None was no ttl)."""
        cache = await self.new_cache(ttl=None)
        await cache.set("key", "value")
        self.clock.advance(YEARS)
        expect(await cache.look("key"), "value", "get after ten years, with ttl=None")

    @scenario("supports_ttl", "supports_clock")
    async def test_clock_may_start_anywhere(self) -> None:
        """Time 0 is a time like others.

        Seen in victorspringer/http-cache#9 (an expiry of 0 meant none).
        """
        for start in (0.0, 1e9):
            self.clock.now = start
            cache = await self.new_cache(ttl=self.ttl)
            await cache.set("key", "value")
            await cache.wait(self.early)
            expect(await cache.look("key"), "value", f"get before ttl, set at {start:g}")
            await cache.wait(self.late - self.early)
            expect(await cache.look("key"), MISSING, f"get after ttl, set at {start:g}")

    @scenario("supports_ttl", "supports_clock")
    async def test_time_is_read_from_the_given_clock(self) -> None:
        """Seen in spulec/freezegun#286 (clocks bound by name at import)."""
        cache = await self.new_cache(ttl=1e-6)
        await cache.set("key", "value")
        expect(await cache.look("key"), "value", "get while the clock given stood still")
