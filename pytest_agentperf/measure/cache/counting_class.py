"""Classes that count what is looked up, for caches of cachetools and of Django.

`cache[key]` looks for a method in the class alone, and Django asks whose a method is.
"""

import functools
from types import FunctionType
from typing import Any, Final

from pytest_agentperf.measure.cache.counts import Tally
from pytest_agentperf.measure.patching import Patches

__all__ = ["patch_cachetools", "patch_django"]

_MISSING: Final = object()


def patch_cachetools(cache: Any, tally: Tally, patches: Patches) -> None:
    """Give *cache* a class of its own, as long as it is watched."""
    patches.replace(cache, "__class__", lambda cls: _counting_cachetools(cls, tally))


def _counting_cachetools(cls: Any, tally: Tally) -> type:
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

    return _named(Counting, cls)


def _named(counting: type, cls: type) -> type:
    """Return *counting* by the name of *cls*, which messages of the cache show."""
    counting.__name__, counting.__qualname__ = cls.__name__, cls.__qualname__
    return counting


def _counting_getitem(cls: Any, tally: Tally) -> Any:
    """Return a `__getitem__` for *cls* that counts hits, in as many frames as it had.

    One frame more would cost a fifth of a cached call. The classes of cachetools take the method
    that looks into the dictionary as a default argument, so another one can be given to a copy.
    """
    # No attribute of the tally, counted ahead, and a float: each of these makes it cheaper.
    hits = 0.0

    def look_up(self: Any, key: Any) -> Any:
        nonlocal hits
        hits += 1.0
        try:
            return self._Cache__data[key]
        except KeyError:
            hits -= 1.0
            return self.__missing__(key)
        except BaseException:  # of a key that cannot be one
            hits -= 1.0
            raise

    def look_up_around(self: Any, key: Any) -> Any:
        nonlocal hits
        misses = tally.misses
        value = own(self, key)
        hits += tally.misses == misses  # `__missing__` may return a value
        return value

    tally.count_hits = lambda: int(hits)

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


def patch_django(cache: Any, tally: Tally, patches: Patches) -> None:
    """Give *cache* a class of its own, as long as it is watched."""
    patches.replace(cache, "__class__", lambda cls: _counting_django(cls, tally))


class _Default:
    """What `get_or_set` sets; Django asks for it once more then, which is no lookup of the user."""

    def __init__(self, default: Any) -> None:
        self.default = default
        self.calls = 0

    def __call__(self) -> Any:
        value = self.default() if callable(self.default) else self.default
        self.calls += 1
        return value


def _counting_django(cls: Any, tally: Tally) -> type:
    hits, own = 0, cls.get
    tally.count_hits = lambda: hits

    class Counting(cls):  # type: ignore[misc]
        def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
            nonlocal hits
            value = own(self, key, _MISSING, version)
            if value is _MISSING:
                tally.miss()
                return default
            hits += 1
            return value

        def get_or_set(self, key: Any, default: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(default, _Default):  # called by `aget_or_set`, which sees to it
                return super().get_or_set(key, default, *args, **kwargs)
            default = _Default(default)
            value = super().get_or_set(key, default, *args, **kwargs)
            tally.forget_hits(default.calls)
            return value

        async def aget_or_set(self, key: Any, default: Any, *args: Any, **kwargs: Any) -> Any:
            default = _Default(default)
            value = await super().aget_or_set(key, default, *args, **kwargs)
            tally.forget_hits(default.calls)
            return value

    if not cls.get_many.__module__.endswith("backends.base"):  # where it asks `get` for each key

        def get_many(self: Any, keys: Any, version: Any = None) -> Any:
            wanted = list(keys)
            found = cls.get_many(self, wanted, version)
            for key in wanted:
                tally.look(is_hit=key in found)
            return found

        Counting.get_many = get_many
    return _named(Counting, cls)
