"""Lookups of Django, counted by hooks on the class of a cache: Django asks whose a method is."""

import functools
from typing import Any, Final

from pytest_agentperf.measure.cache.counts import Tally
from pytest_agentperf.measure.cache.probe import Place

__all__ = ["hook_django"]

_MISSING: Final = object()


def hook_django(cache: Any, tally: Tally, place: Place) -> None:
    """Count the lookups of *cache*."""
    makes = {
        "get": _counting_get,
        "get_or_set": _counting_get_or_set,
        "aget_or_set": _counting_aget_or_set,
    }
    if not type(cache).get_many.__module__.endswith("backends.base"):  # which asks `get` for each
        makes["get_many"] = _counting_get_many
    for name, make in makes.items():
        place(type(cache), name, functools.partial(make, cache, tally))


def _counting_get(cache: Any, tally: Tally, own: Any) -> Any:
    hits = 0

    @functools.wraps(own)
    def get(self: Any, key: Any, default: Any = None, version: Any = None) -> Any:
        nonlocal hits
        if self is not cache:
            return own(self, key, default, version)
        value = own(self, key, _MISSING, version)
        if value is _MISSING:
            tally.miss()
            return default
        hits += 1
        return value

    tally.count_hits = lambda: hits
    return get


class _Default:
    """What `get_or_set` sets; Django asks for it once more then, which is no lookup of the user."""

    def __init__(self, default: Any) -> None:
        self.default = default
        self.calls = 0

    def __call__(self) -> Any:
        value = self.default() if callable(self.default) else self.default
        self.calls += 1
        return value


def _counting_get_or_set(cache: Any, tally: Tally, own: Any) -> Any:
    @functools.wraps(own)
    def get_or_set(self: Any, key: Any, default: Any, *args: Any, **kwargs: Any) -> Any:
        # One that `aget_or_set` passes on is counted there.
        if self is not cache or isinstance(default, _Default):
            return own(self, key, default, *args, **kwargs)
        default = _Default(default)
        value = own(self, key, default, *args, **kwargs)
        tally.forget_hits(default.calls)
        return value

    return get_or_set


def _counting_aget_or_set(cache: Any, tally: Tally, own: Any) -> Any:
    @functools.wraps(own)
    async def aget_or_set(self: Any, key: Any, default: Any, *args: Any, **kwargs: Any) -> Any:
        if self is not cache:
            return await own(self, key, default, *args, **kwargs)
        default = _Default(default)
        value = await own(self, key, default, *args, **kwargs)
        tally.forget_hits(default.calls)
        return value

    return aget_or_set


def _counting_get_many(cache: Any, tally: Tally, own: Any) -> Any:
    @functools.wraps(own)
    def get_many(self: Any, keys: Any, version: Any = None) -> Any:
        if self is not cache:
            return own(self, keys, version)
        wanted = list(keys)
        found = own(self, wanted, version)
        for key in wanted:
            tally.look(is_hit=key in found)
        return found

    return get_many
