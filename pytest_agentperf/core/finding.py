"""Findings: what a recorder noticed about the code under test, with the place that causes it."""

from typing import Final, NamedTuple

__all__ = ["CAUSES", "Finding", "Place"]

CAUSES: Final = frozenset(
    {
        "blocking", "sequential", "n_plus_one", "repeated", "serialised", "contention",
        "not_overlapped", "leaked_task", "leaked_thread", "leaked_process", "leaked_fd",
        "unawaited_coroutine", "failed_task", "open_async_generator", "held_object",
        "pool_near_capacity", "pool_wait", "pool_leak", "pool_not_reused", "pool_oversized",
        "batch_lone", "batch_never_full", "batch_full",
    }
)  # fmt: skip
"""What a finding can be."""


class Place(NamedTuple):
    """A line of source.

    Attributes:
        file: Its path, relative to the working directory where it lies below it.
        line: Its number, from 1.
        function: The function around it, as `Class.method`.
        source: The line itself, stripped; empty where it cannot be read.
        owner: The distribution whose code it is; empty for the user's own.
    """

    file: str
    line: int
    function: str
    source: str = ""
    owner: str = ""

    def __str__(self) -> str:
        text = f"{self.file}:{self.line} in {self.function}"
        return f"{text}: {self.source}" if self.source else text


class Finding(NamedTuple):
    """Something about the code under test that its author would want to know.

    Attributes:
        cause: What kind of finding it is, one of `CAUSES`.
        sentence: All of it in words, with numbers, names and the place.
        place: The line that causes it; None where there is none.
        name: The span, task, thread or object that it is about; empty where there is none.
        count: How often it was seen.
        seconds: What it cost, altogether; None where it is no matter of time.
    """

    cause: str
    sentence: str
    place: Place | None = None
    name: str = ""
    count: int = 1  # type: ignore[assignment] # the method of tuples is not missed
    seconds: float | None = None

    def __str__(self) -> str:
        return self.sentence
