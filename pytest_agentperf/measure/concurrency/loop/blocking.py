"""What a watch of the event loop found: the blocks, and the worst of many."""

import heapq
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from pytest_agentperf.core.finding import Place
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.measure.frames import (
    Site,
    culprit,
    is_standard,
    place_of,
    shown_stack,
)

__all__ = ["KEPT_BLOCKS", "BlockLog", "Blocking"]

KEPT_BLOCKS: Final = 1000
"""How many blocks are kept, the worst ones; totals are of all of them."""

_BY_CODE: Final = frozenset({"computing", "waiting", "unknown"})
_CONSTRUCTORS: Final = frozenset({"__init__", "__new__", "__post_init__"})


class Blocking(NamedTuple):
    """A time in which one step of the event loop kept all others from running.

    All times are seconds.

    Attributes:
        seconds: How long it took, without what the operating system gave to other processes: the
            number to assert on, for it does not grow on a busy machine.
        wall: How long it took.
        cause: `computing`; `waiting` (for a file, a socket, a lock, a subprocess, a sleep); `gil`
            (other threads kept the interpreter); `gc` (a garbage collection that nobody asked for);
            `preempted` (other processes had the processor, and without them it is no block);
            `suspended` (the whole machine was); `unknown` where the system has no numbers.
        cpu: Processor time of the loop's thread meanwhile.
        run_delay: How long the loop's thread was ready and waited for a processor.
        other_threads: Processor time of the other threads of this process.
        gc: Processor time of garbage collections that started by themselves.
        place: The line that did it; None where no line is known.
        stack: The lines of the user and of libraries that were running, as `where`, innermost last.
        start: When it began, by the watch's clock.
        task: The name of the task; empty for a callback.
        ready: How many callbacks and tasks were ready to run and could not.
        lost_task_seconds: How long these waited, altogether.
        is_exact: Whether the step itself was timed; else `seconds` is a lower bound.
        is_once: Whether it is a cost of the first call: of an import, or in a constructor.
    """

    seconds: float
    wall: float
    cause: str
    cpu: float = 0.0
    run_delay: float = 0.0
    other_threads: float = 0.0
    gc: float = 0.0
    place: Place | None = None
    stack: tuple[str, ...] = ()
    start: float = 0.0
    task: str = ""
    ready: int = 0
    lost_task_seconds: float = 0.0
    is_exact: bool = False
    is_once: bool = False

    @property
    def where(self) -> str:
        """`file:line in function: source line`; empty where no line is known."""
        return str(self.place) if self.place else ""

    @property
    def is_by_user(self) -> bool:
        """Whether code that the loop ran is to blame, the user's or a library's.

        The other blocks befell the loop: by other threads, processes or the collector.
        """
        return self.cause in _BY_CODE

    def __str__(self) -> str:
        bound = "" if self.is_exact else "at least "
        where = f" at {self.where}" if self.place else ""
        ready = f"; {self.ready} ready to run meanwhile" if self.ready else ""
        task = f"task {self.task!r}; " if self.task else ""
        once = "; a cost of the first call" if self.is_once else ""
        return (
            f"blocked the event loop for {bound}{_shown(self.seconds)}{where}"
            f" ({task}{self._reason()}{ready}{once})"
        )

    def _reason(self) -> str:
        """Return the cause in words, with its number."""
        return {
            "computing": "computing",
            "waiting": "waiting, not computing",
            "gil": f"other threads held the GIL, {_shown(self.other_threads)} of computing",
            "gc": f"garbage collection, {_shown(self.gc)}",
            "preempted": f"other processes had the processor for {_shown(self.run_delay)}",
            "suspended": "the machine was suspended",
            "unknown": "cause unknown on this system",
        }[self.cause]


class BlockLog:
    """The worst blocks, and totals of all: of those by code that the loop ran.

    Lines become text in `read`, not before: that reads files, and the watch has no time for it.

    Args:
        kept: How many blocks to keep.
    """

    __slots__ = ("_heap", "_kept", "count", "dropped", "longest", "lost", "total")

    def __init__(self, kept: int = KEPT_BLOCKS) -> None:
        self._kept = kept
        self._heap: list[tuple[bool, float, int, Blocking, Sequence[Site]]] = []
        self.count = 0
        self.dropped = 0
        self.longest = 0.0
        self.total = 0.0
        self.lost = 0.0

    def add(self, block: Blocking, stack: Sequence[Site]) -> None:
        """Record *block*, which has no place yet, and the *stack* at which it was seen."""
        self.count += 1
        if block.is_by_user:
            self.longest = max(self.longest, block.seconds)
            self.total += block.seconds
            self.lost += block.lost_task_seconds
        entry = (block.is_by_user, block.seconds, self.count, block, stack)
        if len(self._heap) < self._kept:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)
            self.dropped += 1

    def read(self) -> list[Blocking]:
        """Return the kept blocks in the order in which they happened."""
        inorder = sorted(self._heap, key=lambda entry: entry[2])
        placed = [_placed(block, stack) for *_, block, stack in inorder]
        times = Counter(block.where for block in placed)
        # What happened twice at one place is no cost of the first call.
        return [
            block._replace(is_once=False) if block.is_once and times[block.where] > 1 else block
            for block in placed
        ]


def _placed(block: Blocking, stack: Sequence[Site]) -> Blocking:
    """Return *block* with the line to blame and the lines that a reader should see."""
    site = culprit(stack)
    place = place_of(site) if site else None
    return block._replace(place=place, stack=shown_stack(stack), is_once=_is_first_call(stack))


def _is_first_call(stack: Sequence[Site]) -> bool:
    """Return whether *stack* is in an import, or in a constructor of the user or of a library."""
    return any(
        code.co_filename.startswith("<frozen importlib")
        or (code.co_name in _CONSTRUCTORS and not is_standard(code.co_filename))
        for code, _ in stack
    )


def _shown(seconds: float) -> str:
    return format_quantity(seconds, Unit.SECONDS)
