"""Thread safety: forced interleavings, then threads that do as they like."""

import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pytest_agentperf.conformance.cache_subject import MISSING, CacheSuite
from pytest_agentperf.conformance.stuck import in_thread
from pytest_agentperf.conformance.suite import expect, require, scenario

__all__ = ["ThreadTests"]

THREADS = 4
OPERATIONS = 400
BLOCKED = 0.02  # real seconds after which another thread is taken to wait for a lock
PLACES = 5  # hashings of a key within one operation that are interrupted, one after the other


class _Key(str):
    """A key that lets another thread in when it is hashed for the *place*-th time."""

    __slots__ = ("interrupt", "place")
    interrupt: Callable[[], None]
    place: int

    def __hash__(self) -> int:
        if self.place > 0:
            self.place -= 1
            if not self.place:
                self.interrupt()
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)


@contextmanager
def _quick_switches() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


class ThreadTests(CacheSuite):
    """Of sync caches that several threads use."""

    async def _plain(self, max_size: int) -> Any:
        subject = await self.new_cache(max_size, self.ttl if self.supports_ttl else None)
        cache = subject.cache
        if await _is_async(cache):
            pytest.skip("supports_thread_safety: its methods are async, so no thread calls them")
        return cache

    async def _interrupted(self, act: Callable[[Any, _Key], Any], meanwhile: str) -> list[Any]:
        """Return what *act* returned, with another thread let in at each place in turn."""
        results: list[Any] = []
        for place in range(1, PLACES + 1):
            cache = await self._plain(max_size=1)
            cache.set("key", "value")

            def disturb(cache: Any = cache) -> None:
                if meanwhile == "delete":
                    self.delete(cache, "key")
                else:
                    cache.set("other", "value of other")

            def interrupt(disturb: Callable[[], None] = disturb) -> None:
                thread = threading.Thread(target=disturb, daemon=True)
                thread.start()
                thread.join(BLOCKED)

            key = _Key("key")
            key.interrupt, key.place = interrupt, place
            results.append(act(cache, key))
            require(len(cache) <= 1, f"len() is {len(cache)} after two threads, with max_size=1")
        return results

    @scenario("supports_thread_safety")
    async def test_get_survives_an_eviction_in_the_middle(self) -> None:
        """Seen in tkem/cachetools#80 and #82 (KeyError between looking and reading)."""
        got = await self._interrupted(lambda cache, key: cache.get(key, MISSING), "evict")
        wrong = [each for each in got if each not in ("value", MISSING)]
        expect(wrong, [], "what get returned while another thread evicted its key")

    @scenario("supports_thread_safety")
    async def test_set_survives_an_eviction_in_the_middle(self) -> None:
        """Seen in tkem/cachetools#224 (two threads that store at once)."""
        await self._interrupted(lambda cache, key: cache.set(key, "new"), "evict")

    @scenario("supports_thread_safety", "supports_delete")
    async def test_deletions_of_a_key_by_two_threads_do_not_collide(self) -> None:
        """Seen in Suor/funcy#93 (one of two threads got a KeyError)."""
        await self._interrupted(self.delete, "delete")

    @scenario("supports_thread_safety")
    async def test_threads_never_see_errors_wrong_values_or_too_many_entries(self) -> None:
        """Seen in tkem/cachetools#80, #82 (KeyError) and aio-libs/async-lru#503."""
        cache = await self._plain(max_size=4)
        sizes: list[int] = []

        def work(seed: int) -> None:
            rng = random.Random(seed)  # noqa: S311 - a schedule
            for number in range(OPERATIONS):
                key = f"key {rng.randrange(12)}"
                what = rng.random()
                if what < 0.5:  # noqa: PLR2004
                    found = cache.get(key, MISSING)
                    require(found is MISSING or found[0] == key, f"get({key!r}) returned {found!r}")
                elif what < 0.9 or not self.supports_delete:  # noqa: PLR2004
                    cache.set(key, (key, seed, number))
                else:
                    self.delete(cache, key)
                sizes.append(len(cache))

        with _quick_switches():
            for future in [in_thread(work, number) for number in range(THREADS)]:
                future.result()
        expect(len(cache) <= 4, True, f"len() is at most max_size=4 at the end ({len(cache)})")  # noqa: PLR2004, FBT003
        require(max(sizes) <= 4 + THREADS, f"len() was up to {max(sizes)}, with max_size=4")


async def _is_async(cache: Any) -> bool:
    import inspect

    found = cache.get("nothing")
    if inspect.isawaitable(found):
        await found
        return True
    return False
