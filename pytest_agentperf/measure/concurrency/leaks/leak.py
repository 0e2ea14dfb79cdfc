"""A leak: something that outlives the code that started it."""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

from pytest_agentperf.core.finding import Finding, Place
from pytest_agentperf.measure.concurrency.origins import place_or_none
from pytest_agentperf.measure.frames import Site

__all__ = ["Kind", "Leak", "LeakSource", "leak"]

Kind: TypeAlias = Literal[
    "task",
    "failed task",
    "coroutine",
    "async generator",
    "thread",
    "process",
    "socket",
    "fd",
]

_CAUSES: Final[dict[Kind, str]] = {
    "task": "leaked_task",
    "failed task": "failed_task",
    "coroutine": "unawaited_coroutine",
    "async generator": "open_async_generator",
    "thread": "leaked_thread",
    "process": "leaked_process",
    "socket": "leaked_fd",
    "fd": "leaked_fd",
}


class Leak(NamedTuple):
    """Something that was left behind.

    Attributes:
        kind: What it is; a ``"failed task"`` is one whose exception nobody has seen, a
            ``"coroutine"`` one that was dropped without being awaited.
        name: The name of the task or thread, of the coroutine function, or of the file.
        sentence: All of it in words.
        place: The line that made it, or that dropped a coroutine; None where it is not known.
        now: The line at which it stands; None where it stands nowhere.
        count: How many of the same name come from the same line.
    """

    kind: Kind
    name: str
    sentence: str
    place: Place | None = None
    now: Place | None = None
    count: int = 1  # type: ignore[assignment] # the method of tuples is not missed

    @property
    def finding(self) -> Finding:
        """The leak as a finding."""
        place = self.place or self.now
        return Finding(_CAUSES[self.kind], self.sentence, place, self.name, self.count)


class LeakSource:
    """Sees leaks of some kinds.

    Attributes:
        notes: Sentences about what it cannot see.
    """

    notes: tuple[str, ...] = ()

    def remember(self) -> None:
        """Note what there is already."""

    def start(self) -> None:
        """Note from now on where more comes from."""

    def stop(self) -> None:
        """Put back what was replaced, except for hooks."""

    def leaks(self) -> Iterator[Leak]:
        """Return what is left now."""
        return iter(())


def leak(
    kind: Kind,
    name: str,
    what: str,
    *,
    made: str = "started",
    site: Site | None = None,
    now: Site | None = None,
    count: int = 1,
) -> Leak:
    """Return a leak whose sentence says *what* happened, where it was *made* and where it is."""
    place, stands = place_or_none(site), place_or_none(now)
    times = f" ({count} times)" if count > 1 else ""
    parts = [f"{what}{times}", place and f"{made} at {place}", stands and f"now at {stands}"]
    return Leak(kind, name, "; ".join(part for part in parts if part), place, stands, count)
