"""Random programs for a cache, against a model of what it must, may and must not hold."""
# ruff: noqa: D102 - the name of a rule is its sentence

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from pytest_agentperf.conformance.cache_subject import MISSING, CacheSubject, CacheSuite
from pytest_agentperf.conformance.machine import Machine
from pytest_agentperf.conformance.suite import require

__all__ = ["CacheMachine"]

KEYS = st.sampled_from("abcdef")
TTL = 10.5  # whole seconds pass, so that nothing is ever looked at exactly at its end


class CacheMachine(Machine):
    """What the model knows of each key: its last value, when that ends, and whether it must hit.

    A key that was set *must* be a hit until a `set` finds the cache full: then any may have gone,
    the new one included, for eviction is the cache's own business.
    """

    def __init__(self, suite: CacheSuite) -> None:
        super().__init__(suite)
        self.suite = suite
        self.cache: CacheSubject
        self.values: dict[str, tuple[int, float]] = {}  # what may be there, and when it ends
        self.certain: set[str] = set()  # what must be there
        self.count = self.max_size = 0

    @initialize(max_size=st.integers(1, 3), has_ttl=st.booleans())
    def make_cache(self, max_size: int, has_ttl: bool) -> None:  # noqa: FBT001
        is_timed = has_ttl and self.suite.supports_ttl and self.suite.supports_clock
        self.max_size, self.ttl = max_size, TTL if is_timed else None
        self.do(self._make())

    async def _make(self) -> None:
        self.cache = await self.suite.new_cache(self.max_size, self.ttl, self.clock)

    @rule(key=KEYS)
    def set(self, key: str) -> None:
        self._store(key, None)

    @precondition(lambda self: self.suite.supports_entry_ttl and self.suite.supports_clock)
    @rule(key=KEYS, ttl=st.sampled_from([2.5, 30.5]))
    def set_with_ttl(self, key: str, ttl: float) -> None:
        self._store(key, ttl)

    def _store(self, key: str, ttl: float | None) -> None:
        self.count += 1
        self._forget_ended()
        # Expired ones too, and the key's own: they may be in the way.
        in_the_way = {each for each in self.values if each != key or self._is_over(each)}
        if key not in self.certain and len(in_the_way) >= self.max_size:
            self.certain.clear()
        else:
            self.certain.add(key)
        lifetime = ttl or self.ttl
        ends = float("inf") if lifetime is None else self.clock.now + lifetime
        self.values[key] = self.count, ends
        self.do(self.cache.set(key, self.count, ttl))

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        self.do(self._get(key))

    async def _get(self, key: str) -> None:
        self._forget_ended()
        found: Any = await self.cache.look(key)
        value, ends = self.values.get(key, (MISSING, 0.0))
        if found is MISSING:
            require(key not in self.certain, f"get({key!r}) is a miss: {value!r} was set")
            self.values.pop(key, None)
            return
        require(value is not MISSING, f"get({key!r}) returned {found!r}: nothing is set")
        require(found == value, f"get({key!r}) returned {found!r}: {value!r} was set last")
        require(ends > self.clock.now, f"get({key!r}) returned {found!r}, whose ttl is over")
        self.certain.add(key)
        alive = sorted(self.certain)
        require(len(alive) <= self.max_size, f"{alive} are all hits, with max_size={self.max_size}")

    @precondition(lambda self: self.suite.supports_delete)
    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.values.pop(key, None)
        self.certain.discard(key)
        self.do(self.cache.delete(key))

    @precondition(lambda self: self.ttl is not None or self.suite.supports_entry_ttl)
    @rule(seconds=st.sampled_from([1.0, 3.0, 8.0]))
    def wait(self, seconds: float) -> None:
        if self.suite.supports_clock:
            self.do(self.cache.wait(seconds))

    @rule()
    def length(self) -> None:
        self.do(self._length())

    async def _length(self) -> None:
        self._forget_ended()
        size = await self.cache.size()
        ended = sum(map(self._is_over, self.values))
        least, most = len(self.certain), self.max_size + ended
        require(size >= least, f"len() is {size}: {sorted(self.certain)} must be there")
        require(size <= most, f"len() is {size}, with max_size={self.max_size}, {ended} expired")

    def _forget_ended(self) -> None:
        self.certain -= {key for key in self.values if self._is_over(key)}

    def _is_over(self, key: str) -> bool:
        return self.values[key][1] <= self.clock.now
