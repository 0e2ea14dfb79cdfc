"""Batchers: what ours counts, what aiodataloader is seen to do, and what any other tells."""

# ruff: noqa: SLF001 -- what a batcher is made for is asked of itself
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pytest_agentperf.core.clock import Clock
from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.hooks import Hooks
from pytest_agentperf.measure.pool.readers import stats_of
from pytest_agentperf.measure.timings import name_of

__all__ = ["Batches", "Batching", "Source", "find_source"]


class Batching(Protocol):
    """A batcher, as far as type checkers are told; others are known when a test runs."""

    @property
    def submit(self) -> Callable[..., Awaitable[Any]]:
        """Queue an item."""


@dataclass(frozen=True, slots=True)
class Batches:
    """What a batcher did, altogether.

    Attributes:
        sizes: Batches by number of items.
        starts: Batches by what started them, as the batcher calls it.
        waits: Seconds that the first items of the batches waited, altogether; None if unknown.
    """

    sizes: Mapping[int, int]
    starts: Mapping[str, int] = field(default_factory=dict)
    waits: float | None = None


class Source(Protocol):
    """Tells what a batcher did.

    Attributes:
        name: What messages call it.
        limit: Items in a batch, at most; None for no limit or an unknown one.
        is_paid: Whether calls take longer for it.
    """

    name: str
    limit: int | None
    is_paid: bool

    def start(self) -> None:
        """Begin."""

    def read(self) -> Batches:
        """Return what the batcher did so far."""

    def stop(self) -> None:
        """End."""


def find_source(thing: Any, clock: Clock) -> Source | None:
    """Return what tells of the batches of *thing*; None where it is no batcher."""
    libraries = {cls.__module__.partition(".")[0] for cls in type(thing).__mro__}
    if "aiodataloader" in libraries and hasattr(thing, "batch_load_fn"):
        return _Loader(thing, clock)
    read = stats_of(thing)
    if read is not None and isinstance(_told(read(), _SIZES), Mapping):
        return _Told(thing, read)
    return None


class _Told:
    """A batcher that counts by itself: nothing is replaced."""

    is_paid = False

    def __init__(self, batcher: Any, read: Callable[[], Any]) -> None:
        self.name = type(batcher).__name__
        self._read = read
        limit = getattr(batcher, "_size", getattr(batcher, "batch_size", None))
        self.limit: int | None = limit if isinstance(limit, int) else None

    def start(self) -> None:
        """Do nothing: it counts always."""

    def stop(self) -> None:
        """Do nothing."""

    def read(self) -> Batches:
        """Return what it counted so far."""
        told = self._read()
        sizes = _told(told, _SIZES)
        starts, waits = _told(told, _STARTS), _told(told, ("wait_total",))
        return Batches(dict(sizes), dict(starts or {}), waits)


_SIZES: Final = ("sizes", "batch_sizes")
_STARTS: Final = ("starts", "reasons", "flushes", "flush_reasons")


def _told(told: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        value = told.get(name) if isinstance(told, Mapping) else getattr(told, name, None)
        if value is not None:
            return value
    return None


class _Loader:
    """A loader of aiodataloader, whose two functions are replaced for the time of the block."""

    is_paid = True

    def __init__(self, loader: Any, clock: Clock) -> None:
        self.name = f"{type(loader).__name__} of {name_of(loader.batch_load_fn)}"
        self.limit: int | None = loader.max_batch_size if loader.batch else 1
        self._loader = loader
        self._clock = clock
        self._hooks = Hooks()
        self._sizes: Counter[int] = Counter()
        self._starts: Counter[str] = Counter()
        self._waits = 0.0
        self._opened = 0.0

    def start(self) -> None:
        """Replace its functions."""
        self._hooks.place(self._loader, "load", self._loading)
        if not self._hooks.place(self._loader, "batch_load_fn", self._batching):
            raise UsageError(f"{self._loader!r:.80} has no function batch_load_fn to be observed")
        self._hooks.active = True

    def stop(self) -> None:
        """Put them back."""
        self._hooks.undo()

    def read(self) -> Batches:
        """Return what was seen so far."""
        return Batches(dict(self._sizes), dict(self._starts), self._waits)

    def _loading(self, load: Callable[..., Any]) -> Callable[..., Any]:
        def loaded(*args: Any, **kwargs: Any) -> Any:
            if not self._loader._queue:
                self._opened = self._clock()
            return load(*args, **kwargs)

        return loaded

    def _batching(self, process: Callable[..., Any]) -> Callable[..., Any]:
        def processed(keys: Any, *args: Any, **kwargs: Any) -> Any:
            if self._hooks.active:
                self._sizes[len(keys)] += 1
                self._starts["full" if len(keys) == self.limit else "tick"] += 1
                self._waits += self._clock() - self._opened
            return process(keys, *args, **kwargs)

        return processed
