"""Lookups of cachetools, counted by hooks on the class of a cache: `cache[key]` asks that alone."""

import functools
from types import FunctionType
from typing import Any, Final

from pytest_agentperf.measure.cache.counts import Tally
from pytest_agentperf.measure.cache.probe import Place

__all__ = ["hook_cachetools"]


def hook_cachetools(cache: Any, tally: Tally, place: Place) -> None:
    """Count the lookups of *cache* and what it removes."""
    for name, make in (
        ("__getitem__", _counting_getitem),
        ("__missing__", _counting_missing),
        ("get", _counting_get),
        ("popitem", _counting_popitem),
    ):
        place(type(cache), name, functools.partial(make, cache, tally))


def _counting_getitem(cache: Any, tally: Tally, own: Any) -> Any:
    """Return *own* so that it counts hits, in as many frames as it had.

    One frame more would cost a fifth of a cached call. The classes of cachetools take the method
    that looks into the dictionary as a default argument, so another one can be given to a copy.
    """
    if _is_plain(own):
        return _counting_look_up(cache, tally, own)
    defaults = getattr(own, "__defaults__", None) or (None,)
    if len(defaults) > 1 or not _is_plain(defaults[0]):
        return _counting_around(cache, tally, own)
    look_up = _counting_look_up(cache, tally, defaults[0])
    copy = FunctionType(own.__code__, own.__globals__, own.__name__, (look_up,), own.__closure__)
    return functools.update_wrapper(copy, own)


def _is_plain(function: Any) -> bool:
    """Return whether *function* looks into the dictionary of a cache, and does nothing else."""
    if not isinstance(function, FunctionType):
        return False
    is_theirs = (function.__module__, function.__qualname__) == ("cachetools", "Cache.__getitem__")
    return is_theirs or function.__code__ is _LOOK_UP


def _counting_look_up(cache: Any, tally: Tally, own: Any) -> FunctionType:
    # No attribute of the tally, counted ahead, and a float: each of these makes it cheaper.
    hits = 0.0

    def look_up(self: Any, key: Any) -> Any:
        nonlocal hits
        if self is cache:
            hits += 1.0
            try:
                return self._Cache__data[key]
            except KeyError:
                hits -= 1.0  # a miss, which the cache's own code tells
            except BaseException:  # of a key of the user's
                hits -= 1.0
                raise
        return own(self, key)

    tally.count_hits = lambda: int(hits)
    assert isinstance(look_up, FunctionType)  # noqa: S101 -- what `def` makes
    return look_up


_LOOK_UP: Final = _counting_look_up(None, Tally(), None).__code__
"""What those of other caches have in common with it: several may be watched at once."""


def _counting_around(cache: Any, tally: Tally, own: Any) -> Any:
    hits = 0

    def look_up(self: Any, key: Any) -> Any:
        nonlocal hits
        if self is not cache:
            return own(self, key)
        misses = tally.misses
        value = own(self, key)
        hits += tally.misses == misses  # `__missing__` may return a value
        return value

    tally.count_hits = lambda: hits
    return look_up


def _counting_missing(cache: Any, tally: Tally, own: Any) -> Any:
    def missing(self: Any, key: Any) -> Any:
        if self is cache:
            tally.miss()
        return own(self, key)

    return missing


def _counting_get(cache: Any, tally: Tally, own: Any) -> Any:
    def get(self: Any, key: Any, default: Any = None) -> Any:
        if self is not cache:
            return own(self, key, default)
        if key in self:
            return self[key]
        tally.miss()
        return default

    return get


def _counting_popitem(cache: Any, tally: Tally, own: Any) -> Any:
    def popitem(self: Any) -> Any:
        if self is not cache:
            return own(self)
        hits = tally.hits
        item = own(self)
        tally.forget_hits(tally.hits - hits)  # older versions look up what they remove
        tally.evictions += 1
        return item

    return popitem
