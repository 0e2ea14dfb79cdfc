"""A class that counts what is looked up in a cache of cachetools: `cache[key]` looks only there."""

import functools
from types import FunctionType
from typing import Any

from pytest_agentperf.measure.cache.counts import Tally
from pytest_agentperf.measure.patching import Patches

__all__ = ["patch_cachetools"]


def patch_cachetools(cache: Any, tally: Tally, patches: Patches) -> None:
    """Give *cache* a class of its own, as long as it is watched."""
    patches.replace(cache, "__class__", lambda cls: _counting_class(cls, tally))


def _counting_class(cls: Any, tally: Tally) -> type:
    class Counting(cls):  # type: ignore[misc]
        __getitem__ = _counting_getitem(cls, tally)

        def get(self, key: Any, default: Any = None) -> Any:
            if key in self:
                return self[key]
            tally.miss()
            return default

        def __missing__(self, key: Any) -> Any:
            tally.miss()
            return super().__missing__(key)

        def popitem(self) -> Any:
            hits = tally.hits
            item = super().popitem()
            tally.forget_hits(tally.hits - hits)  # older versions look up what they remove
            tally.evictions += 1
            return item

    Counting.__name__, Counting.__qualname__ = cls.__name__, cls.__qualname__
    return Counting


def _counting_getitem(cls: Any, tally: Tally) -> Any:
    """Return a `__getitem__` for *cls* that counts hits, in as many frames as it had.

    One frame more would cost a fifth of a cached call. The classes of cachetools take the method
    that looks into the dictionary as a default argument, so another one can be given to a copy.
    """
    hits = 0  # no attribute of the tally: that would cost twice as much

    def look_up(self: Any, key: Any) -> Any:
        nonlocal hits
        try:
            value = self._Cache__data[key]
        except KeyError:
            return self.__missing__(key)
        hits += 1
        return value

    def look_up_around(self: Any, key: Any) -> Any:
        nonlocal hits
        misses = tally.misses
        value = own(self, key)
        hits += tally.misses == misses  # `__missing__` may return a value
        return value

    tally.count_hits = lambda: hits

    own, plain = cls.__getitem__, _plain_getitem(cls)
    if own is plain:
        return look_up
    if own.__defaults__ != (plain,):
        return look_up_around
    copy = FunctionType(own.__code__, own.__globals__, own.__name__, (look_up,), own.__closure__)
    return functools.update_wrapper(copy, own)


def _plain_getitem(cls: Any) -> Any:
    """Return the method that looks into the dictionary, of the class that all others have."""
    (cache_class,) = (
        each for each in cls.__mro__ if (each.__module__, each.__name__) == ("cachetools", "Cache")
    )
    return cache_class.__getitem__
