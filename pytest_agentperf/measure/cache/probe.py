"""A probe: how one cache is read, and what has to be done to it while it is."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias

from pytest_agentperf.measure.cache.counts import Counts, Tally

__all__ = ["Place", "Probe", "Probes", "Reading"]

Reading: TypeAlias = Counts | Awaitable[Counts]
Place: TypeAlias = Callable[[object, str, Callable[[Any], Any]], None]
"""Replaces a function of an owner by what is made of it, as long as a cache is watched."""


@dataclass(frozen=True, slots=True)
class Probe:
    """How one cache is read.

    Attributes:
        target: The cache.
        subject: What messages call it.
        read: Returns what it has counted so far, or an awaitable of that.
        watch: Returns a context in which it counts, where it does not always do so.
        tally: What is counted from outside, where it counts nothing itself.
    """

    target: object
    subject: str
    read: Callable[[], Reading]
    watch: Callable[[], AbstractContextManager[object]] | None = None
    tally: Tally | None = None


class Probes:
    """The caches that are watched now, each once: blocks on one cache may nest and overlap."""

    def __init__(self) -> None:
        self._watched: dict[int, _Watched] = {}

    def enter(self, probe: Probe) -> Probe:
        """Begin to watch what *probe* reads; return the probe that does, which may be older."""
        if probe.watch is None:
            return probe
        watched = self._watched.get(id(probe.target))
        if watched is None:
            watched = _Watched(probe, ExitStack())
            watched.stack.enter_context(probe.watch())
            self._watched[id(probe.target)] = watched
        watched.blocks += 1
        return watched.probe

    def leave(self, probe: Probe) -> None:
        """End what `enter` began."""
        watched = self._watched.get(id(probe.target))
        if watched is None:
            return
        watched.blocks -= 1
        if not watched.blocks:
            del self._watched[id(probe.target)]
            watched.stack.close()


@dataclass(slots=True)
class _Watched:
    """A cache that is watched, by the first probe of the *blocks* that do."""

    probe: Probe
    stack: ExitStack
    blocks: int = 0
