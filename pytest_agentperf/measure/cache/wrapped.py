"""Caches that count nothing themselves: their lookups are counted while a block lasts.

Their classes are hooked, not they: CPython reads an object the slower, for ever after, whose
attributes were asked for as a dictionary or whose class was another one.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn, TypeAlias

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.cache.cachetools_hooks import hook_cachetools
from pytest_agentperf.measure.cache.counts import Counts, Tally
from pytest_agentperf.measure.cache.django_hooks import hook_django
from pytest_agentperf.measure.cache.probe import Place, Probe
from pytest_agentperf.measure.hooks import Hooks

__all__ = ["is_made_by", "wrapping_probe"]

Hook: TypeAlias = Callable[[Any, Tally, Place], None]
_MISSING: Final = object()


def is_made_by(cache: object, module: str, name: str = "") -> bool:
    """Return whether a class of *cache* is *name* of *module*, or of a module inside it."""
    return any(
        (cls.__module__ == module or cls.__module__.startswith(f"{module}."))
        and name in {"", cls.__name__}
        for cls in type(cache).__mro__
    )


def wrapping_probe(cache: Any) -> Probe | None:
    """Return how the lookups of *cache* are counted from outside; None where it is none of these.

    Raises:
        UsageError: It is one that cannot be watched from outside.
    """
    for module, name, hook, size in _KINDS:
        if is_made_by(cache, module, name):
            return _refuse(cache) if hook is None else _probe(cache, hook, size)
    return None


def _probe(cache: Any, hook: Hook, size: Callable[[Any], int | None]) -> Probe:
    tally = Tally()
    subject = f"the {type(cache).__name__} of {type(cache).__module__.partition('.')[0].strip('_')}"
    evictions = hasattr(cache, "popitem")

    def read() -> Counts:
        evicted = tally.evictions if evictions else None
        return Counts(tally.hits, tally.misses, evicted, size(cache))

    @contextmanager
    def watch() -> Iterator[None]:
        hooks = Hooks()

        def place(owner: object, name: str, make: Callable[[Any], Any]) -> None:
            if not hooks.place(owner, name, make):
                raise UsageError(
                    f"perf_cache counts the calls of {name!r} of {subject}, and this release has"
                    " none that can be replaced; give perf_cache two functions (get_hits,"
                    " get_misses) instead"
                )

        try:
            hook(cache, tally, place)
            hooks.active = True
            yield
        finally:
            hooks.undo()

    return Probe(cache, subject, read, watch, tally)


# moka-py: its class is in another language, and its objects take no attributes


def _hook_moka(cache: Any, tally: Tally, place: Place) -> None:
    hits = 0
    tally.count_hits = lambda: hits

    def counting_get(get: Any) -> Any:
        def counted(self: Any, key: Any, default: Any = None) -> Any:
            nonlocal hits
            if self is not cache:
                return get(self, key, default)
            value = get(self, key, _MISSING)
            if value is _MISSING:
                tally.miss()
                return default
            hits += 1
            return value

        return counted

    def counting_get_with(get_with: Any) -> Any:
        def counted(self: Any, key: Any, initializer: Any, *args: Any, **kwargs: Any) -> Any:
            if self is not cache:
                return get_with(self, key, initializer, *args, **kwargs)
            computed = []

            def compute() -> Any:
                computed.append(True)
                return initializer()

            try:
                return get_with(self, key, compute, *args, **kwargs)
            finally:
                tally.look(is_hit=not computed)

        return counted

    place(type(cache), "get", counting_get)
    place(type(cache), "get_with", counting_get_with)


def _moka_size(cache: Any) -> int:
    cache.run_pending_tasks()  # it counts when it finds the time
    return int(cache.count())


# cashews and aiocache


def _hook_cashews(cache: Any, tally: Tally, place: Place) -> None:
    def counting_get(get: Any) -> Any:
        @functools.wraps(get)
        async def counted(self: Any, key: Any, default: Any = None) -> Any:
            if self is not cache:
                return await get(self, key, default)
            value = await get(self, key, _MISSING)
            tally.look(is_hit=value is not _MISSING)
            return default if value is _MISSING else value

        return counted

    def counting_many(get_many: Any) -> Any:
        @functools.wraps(get_many)
        async def counted(self: Any, *keys: Any, default: Any = None) -> Any:
            if self is not cache:
                return await get_many(self, *keys, default=default)
            values = await get_many(self, *keys, default=_MISSING)
            for value in values:
                tally.look(is_hit=value is not _MISSING)
            return tuple(default if value is _MISSING else value for value in values)

        return counted

    place(type(cache), "get", counting_get)
    place(type(cache), "get_many", counting_many)


def _cashews_size(cache: Any) -> int | None:
    stores = [getattr(backend, "store", None) for backend in cache._backends.values()]  # noqa: SLF001
    known = [len(store) for store in stores if store is not None]
    return sum(known) if len(known) == len(stores) else None


def _hook_aiocache(cache: Any, tally: Tally, place: Place) -> None:
    def counting_get(get: Any) -> Any:
        @functools.wraps(get)
        async def counted(
            self: Any, key: Any, default: Any = None, *args: Any, **kwargs: Any
        ) -> Any:
            if self is not cache:
                return await get(self, key, default, *args, **kwargs)
            value = await get(self, key, None, *args, **kwargs)
            tally.look(is_hit=value is not None)
            return default if value is None else value

        return counted

    def counting_many(get: Any) -> Any:
        @functools.wraps(get)
        async def counted(self: Any, keys: Any, *args: Any, **kwargs: Any) -> Any:
            values = await get(self, keys, *args, **kwargs)
            for value in values if self is cache else ():
                tally.look(is_hit=value is not None)
            return values

        return counted

    place(type(cache), "get", counting_get)
    place(type(cache), "multi_get", counting_many)


def _dictionary_size(cache: Any) -> int | None:
    entries = getattr(cache, "_cache", None)
    return len(entries) if isinstance(entries, dict) else None


def _refuse(cache: Any) -> NoReturn:
    raise UsageError(
        f"perf_cache cannot count the lookups of a {type(cache).__name__} of cachebox, which is no"
        " Python code; give it the function behind that cache, whose cache_info() it reads"
    )


_KINDS: Final[tuple[tuple[str, str, Hook | None, Callable[[Any], int | None]], ...]] = (
    ("cachetools", "Cache", hook_cachetools, len),
    ("_moka_py", "Moka", _hook_moka, _moka_size),
    ("cashews", "Cache", _hook_cashews, _cashews_size),
    ("aiocache", "BaseCache", _hook_aiocache, _dictionary_size),
    ("django.core.cache", "BaseCache", hook_django, _dictionary_size),
    ("cachebox", "", None, len),
)
"""Who makes a cache, the class that all of that maker have, how it is counted, and its size."""
