"""What a cache may promise besides; each is declared by a `supports_…`."""

from collections.abc import Sequence
from typing import Any

from pytest_agentperf.conformance.cache_subject import MISSING, CacheSubject, CacheSuite
from pytest_agentperf.conformance.suite import ContractError, expect, scenario

__all__ = ["OptionTests"]

HASHABLE: Sequence[Any] = (1, "1", (1,), ("1",), "(1,)", None, "None", frozenset({1}), b"1")


class OptionTests(CacheSuite):
    """Times of entries, removal, statistics, order of eviction, kinds of keys."""

    @scenario("supports_entry_ttl")
    async def test_ttl_of_an_entry_overrules_that_of_the_cache(self) -> None:
        """Seen in momentohq/client-sdk-java#74 (one time for all)."""
        for cache_ttl in (None, 0.2 * self.ttl, 5 * self.ttl):
            cache = await self.new_cache(ttl=cache_ttl)
            await cache.set("key", "value", ttl=self.ttl)
            await cache.wait(self.early)
            what = f"of the entry, {self.ttl:g} s, in a cache with ttl={cache_ttl}"
            expect(await cache.look("key"), "value", f"get before the ttl {what}")
            await cache.wait(self.late - self.early)
            expect(await cache.look("key"), MISSING, f"get after the ttl {what}")

    @scenario("supports_entry_ttl")
    async def test_ttl_of_an_entry_is_its_own(self) -> None:
        """Seen in tkem/cachetools#18 (times that differ by entry)."""
        cache = await self.new_cache(ttl=None)
        await cache.set("long", "value", ttl=5 * self.ttl)
        await cache.set("short", "value", ttl=self.ttl)
        await cache.set("endless", "value")
        await cache.wait(self.late)
        expect(await cache.look("short"), MISSING, "get after the entry's own ttl")
        expect(await cache.look("long"), "value", "get before the entry's own ttl")
        expect(await cache.look("endless"), "value", "get of an entry without ttl")

    @scenario("supports_entry_ttl")
    async def test_overwriting_replaces_the_ttl_of_an_entry(self) -> None:
        """Seen in redis/redis-vl-python#181 (a time once given stayed)."""
        cache = await self.new_cache(ttl=None)
        await cache.set("key", "old", ttl=self.ttl)
        await cache.set("key", "new")
        await cache.wait(self.late)
        expect(await cache.look("key"), "new", "get of an entry set again without ttl")

    @scenario("supports_delete")
    async def test_deleted_key_is_a_miss(self) -> None:
        """Seen in anupcowkur/Reservoir#20 (a deleted key was still there)."""
        cache = await self.new_cache()
        await cache.fill("a", "b")
        await cache.delete("a")
        expect(await cache.hits("a", "b"), ["b"], "hits after 'a' was deleted")
        expect(await cache.size(), 1, "len() after one of two was deleted")

    @scenario("supports_delete")
    async def test_deleting_an_absent_key_does_nothing(self) -> None:
        """Seen in proteanhq/protean#1391 and Suor/funcy#93 (a race with expiry raised KeyError)."""
        cache = await self.new_cache(ttl=self.ttl if self.supports_ttl else None)
        await cache.delete("nothing")
        await cache.fill("key", "other")
        await cache.delete("key")
        await cache.delete("key")
        expect(await cache.hits("other"), ["other"], "hits after another key was deleted twice")
        await cache.wait(self.late)
        await cache.delete("other")

    @scenario("supports_delete")
    async def test_deleting_makes_room(self) -> None:
        """Seen in jlhutch/pylru#34 (what was deleted stayed in the order of eviction)."""
        cache = await self.new_cache(max_size=2)
        for number in range(6):
            await cache.fill("keep")
            await cache.fill(f"key {number}")
            expect(await cache.hits("keep"), ["keep"], f"hits after {number} deletions")
            await cache.delete(f"key {number}")
        expect(await cache.size(), 1, "len() after all but one key were deleted")

    @scenario("supports_statistics")
    async def test_hits_and_misses_are_counted_exactly(self) -> None:
        """Seen in zio/zio-cache#162 (one lookup counted as both)."""
        cache = await self.new_cache()
        expect(await cache.statistics(), (0, 0), "(hits, misses) of a new cache")
        await cache.fill("key", "other", "key")
        expect(await cache.statistics(), (0, 0), "(hits, misses) after sets alone")
        for _ in range(3):
            await cache.look("key")
        await cache.look("nothing")
        await cache.get("nothing")
        expect(await cache.statistics(), (3, 2), "(hits, misses) after 3 hits and 2 misses")

    @scenario("supports_statistics", "supports_ttl")
    async def test_lookup_of_an_expired_key_counts_as_a_miss(self) -> None:
        """Seen in zio/zio-cache#162 (an expired entry counted as a hit)."""
        cache = await self.new_cache(ttl=self.ttl)
        await cache.fill("key")
        await cache.look("key")
        await cache.wait(self.late)
        await cache.look("key")
        expect(await cache.statistics(), (1, 1), "(hits, misses) before and after ttl")

    @scenario("supports_statistics")
    async def test_lookup_of_an_evicted_key_counts_as_a_miss(self) -> None:
        """Seen in rthalley/dnspython#544 (statistics of entries and of the cache)."""
        cache = await self.new_cache(max_size=1)
        hits = misses = 0
        for key in "abcabc":
            await cache.fill(key)
            for each in "abc":
                is_hit = await cache.look(each) is not MISSING
                hits, misses = hits + is_hit, misses + (not is_hit)
        expect(await cache.statistics(), (hits, misses), "(hits, misses) beside what get returned")

    @scenario("supports_eviction_order")
    async def test_oldest_entry_is_evicted_first(self) -> None:
        """Seen in linera-io/linera-protocol#3736 (an arbitrary entry went)."""
        cache = await self.new_cache(max_size=3)
        await cache.fill("a", "b", "c", "d")
        await self._left(cache, ["b", "c", "d"])
        await cache.fill("e", "f", "g")
        await self._left(cache, ["e", "f", "g"])

    @scenario("supports_eviction_order")
    async def test_reading_counts_as_use_as_the_order_says(self) -> None:
        """Seen in isaacs/node-lru-cache#43 and serby/ttl-lru-cache#2 (reads did not count)."""
        is_lru = self._is_lru()
        cache = await self.new_cache(max_size=3)
        await cache.fill("a", "b", "c")
        await cache.look("a")
        await cache.fill("d")
        await self._left(cache, ["a", "c", "d"] if is_lru else ["b", "c", "d"])

    @scenario("supports_eviction_order")
    async def test_overwriting_counts_as_use_as_the_order_says(self) -> None:
        """Seen in VictoriaMetrics/fastcache#14 (where an overwritten entry stands)."""
        is_lru = self._is_lru()
        cache = await self.new_cache(max_size=3)
        await cache.fill("a", "b", "c", "a", "d")
        if is_lru:
            await self._left(cache, ["a", "c", "d"])
        else:
            expect((await cache.hits("c", "d")), ["c", "d"], "hits of the last two keys")

    @scenario("supports_eviction_order")
    async def test_misses_do_not_change_the_order(self) -> None:
        """Seen in repoze/repoze.lru#5 (lookups moved what goes next)."""
        cache = await self.new_cache(max_size=2)
        await cache.fill("a", "b")
        for key in ("x", "y", "a x"):
            await cache.look(key)
        await cache.fill("c")
        await self._left(cache, ["b", "c"])

    async def _left(self, cache: CacheSubject, wanted: list[str]) -> None:
        found = await cache.hits(*"gfedcba")  # the newest first, lest looking change the order much
        expect(sorted(found), wanted, f"what is left by {self.eviction_order}")

    def _is_lru(self) -> bool:
        if self.eviction_order not in ("lru", "fifo"):
            raise ContractError(f"eviction_order={self.eviction_order!r}: expected 'lru' or 'fifo'")
        return self.eviction_order == "lru"

    @scenario("supports_hashable_keys")
    async def test_keys_of_any_type_are_kept_apart(self) -> None:
        """Seen in DreamLab/memoize#18 (`str()` of objects as keys: 1 and "1" are one)."""
        cache = await self.new_cache(max_size=len(HASHABLE))
        await self._keep_apart(cache, HASHABLE)

    @scenario("supports_hashable_keys")
    async def test_keys_with_equal_hashes_are_kept_apart(self) -> None:
        """Seen in pymc-devs/pymc#4506 (hashes for keys; `hash(-1) == hash(-2)`)."""
        cache = await self.new_cache(max_size=4)
        await self._keep_apart(cache, (-1, -2, 0, ""))

    @scenario("supports_typed_keys")
    async def test_equal_keys_of_different_types_are_kept_apart(self) -> None:
        """Seen in pymc-devs/pymc#4506 (1, 1.0 and True shared an entry)."""
        cache = await self.new_cache(max_size=6)
        await self._keep_apart(cache, (1, 1.0, True, 0, 0.0, False))

    async def _keep_apart(self, cache: CacheSubject, keys: Sequence[Any]) -> None:
        for key in keys:
            await cache.set(key, repr(key))
        for key in keys:
            expect(await cache.look(key), repr(key), f"get({key!r}) after setting {keys}")
