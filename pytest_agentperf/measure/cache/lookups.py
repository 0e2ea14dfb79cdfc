"""Lookups of cachetools and of Django, counted by hooks on the classes of their caches.

`cache[key]` looks for a method in the class alone, and Django asks whose a method is. The class of
the cache is left as it is: CPython takes longer to read an object that ever changed its class.
"""

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final, TypeAlias

from pytest_agentperf.measure.cache.counts import Tally

__all__ = ["Place", "hook_cachetools", "hook_django"]

Place: TypeAlias = Callable[[object, str, Callable[[Any], Any]], None]
"""Replaces a function of an owner by what is made of it, as long as the cache is watched."""

_MISSING: Final = object()


def hook_cachetools(cache: Any, tally: Tally, place: Place) -> None:
    """Count the lookups of *cache* and what it removes."""

    def counting_get(get: Any) -> Any:
        def counted(self: Any, key: Any, default: Any = None) -> Any:
            if self is not cache:
                return get(self, key, default)
            if key in self:
                return self[key]
            tally.miss()
            return default

        return counted

    def counting_missing(missing: Any) -> Any:
        def counted(self: Any, key: Any) -> Any:
            if self is cache:
                tally.miss()
            return missing(self, key)

        return counted

    def counting_popitem(popitem: Any) -> Any:
        def counted(self: Any) -> Any:
            if self is not cache:
                return popitem(self)
            hits = tally.hits
            item = popitem(self)
            tally.forget_hits(tally.hits - hits)  # older versions look up what they remove
            tally.evictions += 1
            return item

        return counted

    place(type(cache), "__getitem__", lambda own: _counting_getitem(cache, own, tally))
    place(type(cache), "__missing__", counting_missing)
    place(type(cache), "get", counting_get)
    place(type(cache), "popitem", counting_popitem)


def _counting_getitem(cache: Any, own: Any, tally: Tally) -> Any:
    """Return *own*, a `__getitem__`, so that it counts hits, in as many frames as it had.

    One frame more would cost a fifth of a cached call. The classes of cachetools take the method
    that looks into the dictionary as a default argument, so another one can be given to a copy.
    """
    if _is_plain(own):
        return _counting_look_up(cache, own, tally)
    defaults = getattr(own, "__defaults__", None) or ()
    if len(defaults) != 1 or not _is_plain(defaults[0]):
        return _counting_around(cache, own, tally)
    look_up = _counting_look_up(cache, defaults[0], tally)
    copy = FunctionType(own.__code__, own.__globals__, own.__name__, (look_up,), own.__closure__)
    return functools.update_wrapper(copy, own)


def _is_plain(function: Any) -> bool:
    """Return whether *function* looks into the dictionary of a cache, and does nothing else."""
    if not isinstance(function, FunctionType):
        return False
    is_theirs = (function.__module__, function.__qualname__) == ("cachetools", "Cache.__getitem__")
    return is_theirs or function.__code__ is _LOOK_UP


def _counting_look_up(cache: Any, below: Any, tally: Tally) -> Any:
    # No attribute of the tally, counted ahead, and a float: each of these makes it cheaper.
    hits = 0.0

    def look_up(self: Any, key: Any) -> Any:
        nonlocal hits
        if self is cache:
            hits += 1.0
            try:
                return self._Cache__data[key]
            except Exception:  # noqa: BLE001 -- missing, or no key: the cache's own code says which
                hits -= 1.0
        return below(self, key)

    tally.count_hits = lambda: int(hits)
    return look_up


_LOOK_UP: Final = _counting_look_up(None, None, Tally()).__code__
"""What all of these have in common: caches of one class may be watched at once."""


def _counting_around(cache: Any, own: Any, tally: Tally) -> Any:
    hits = 0
    tally.count_hits = lambda: hits

    @functools.wraps(own)
    def look_up_around(self: Any, key: Any) -> Any:
        nonlocal hits
        if self is not cache:
            return own(self, key)
        misses = tally.misses
        value = own(self, key)
        hits += tally.misses == misses  # `__missing__` may return a value
        return value

    return look_up_around


class _Default:
    """What `get_or_set` sets; Django asks for it once more then, which is no lookup of the user."""

    def __init__(self, default: Any) -> None:
        self.default = default
        self.calls = 0

    def __call__(self) -> Any:
        value = self.default() if callable(self.default) else self.default
        self.calls += 1
        return value


def hook_django(cache: Any, tally: Tally, place: Place) -> None:
    """Count the lookups of *cache*."""
    hits = 0
    tally.count_hits = lambda: hits

    def counting_get(get: Any) -> Any:
        @functools.wraps(get)
        def counted(self: Any, key: Any, default: Any = None, version: Any = None) -> Any:
            nonlocal hits
            if self is not cache:
                return get(self, key, default, version)
            value = get(self, key, _MISSING, version)
            if value is _MISSING:
                tally.miss()
                return default
            hits += 1
            return value

        return counted

    def counting_get_or_set(get_or_set: Any) -> Any:
        @functools.wraps(get_or_set)
        def counted(self: Any, key: Any, default: Any, *args: Any, **kwargs: Any) -> Any:
            # One that `aget_or_set` calls it with is seen to there.
            if self is not cache or isinstance(default, _Default):
                return get_or_set(self, key, default, *args, **kwargs)
            default = _Default(default)
            value = get_or_set(self, key, default, *args, **kwargs)
            tally.forget_hits(default.calls)
            return value

        return counted

    def counting_aget_or_set(aget_or_set: Any) -> Any:
        @functools.wraps(aget_or_set)
        async def counted(self: Any, key: Any, default: Any, *args: Any, **kwargs: Any) -> Any:
            if self is not cache:
                return await aget_or_set(self, key, default, *args, **kwargs)
            default = _Default(default)
            value = await aget_or_set(self, key, default, *args, **kwargs)
            tally.forget_hits(default.calls)
            return value

        return counted

    def counting_get_many(get_many: Any) -> Any:
        @functools.wraps(get_many)
        def counted(self: Any, keys: Any, version: Any = None) -> Any:
            if self is not cache:
                return get_many(self, keys, version)
            wanted = list(keys)
            found = get_many(self, wanted, version)
            for key in wanted:
                tally.look(is_hit=key in found)
            return found

        return counted

    cls = type(cache)
    place(cls, "get", counting_get)
    place(cls, "get_or_set", counting_get_or_set)
    place(cls, "aget_or_set", counting_aget_or_set)
    if not cls.get_many.__module__.endswith("backends.base"):  # where it asks `get` for each key
        place(cls, "get_many", counting_get_many)
