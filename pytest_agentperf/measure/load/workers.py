"""Workers: who does the shares of a load; processes of our own, or an executor of the user's."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar, cast

from pytest_agentperf.core.errors import LoadError, LoadTypeError

__all__ = ["ExecutorWorkers", "OwnWorkers", "Workers", "find_workers"]

T = TypeVar("T")

MOST_WORKERS: Final = 1000


class Workers(Protocol):
    """Do shares, each at the same time as all others."""

    count: int
    """How many there are."""

    def submit(self, number: int, call: Callable[..., T], *args: Any) -> "Future[T]":
        """Have worker *number* call *call*, which can be imported there."""

    def end(self, busy: set[int] | None) -> None:
        """Need them no longer; *busy* are the processes that may still work, None for none."""


class OwnWorkers:
    """Processes of our own, one for each share: where one dies, the others go on.

    They are started anew and not forked, for a fork of a process with threads may hang.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._executors: dict[int, ProcessPoolExecutor] = {}

    def submit(self, number: int, call: Callable[..., T], *args: Any) -> "Future[T]":
        """Have process *number* call *call*."""
        if number not in self._executors:
            context = multiprocessing.get_context("spawn")
            self._executors[number] = ProcessPoolExecutor(1, context)
        return self._executors[number].submit(call, *args)

    def end(self, busy: set[int] | None) -> None:
        """End the processes, those of the ids *busy* without waiting for what they do."""
        for pid in busy or ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        is_bounded = busy is None or bool(busy)  # one that has not come yet may never end
        for executor in self._executors.values():
            executor.shutdown(wait=is_bounded, cancel_futures=True)


class ExecutorWorkers:
    """Those of an executor, which stays as it is.

    Args:
        executor: Of this machine or of a cluster.
        count: How many shares it can do at the same time.
    """

    def __init__(self, executor: Executor, count: int) -> None:
        self.count = count
        self._executor = executor

    def submit(self, number: int, call: Callable[..., T], *args: Any) -> "Future[T]":
        """Have some worker call *call*."""
        del number  # the executor chooses
        return self._executor.submit(call, *args)

    def end(self, busy: set[int] | None) -> None:
        """Leave them alone: they are the user's."""


def find_workers(executor: object, workers: object, most: int = MOST_WORKERS) -> Workers | None:
    """Return who does the shares of a load; None for this process alone.

    Args:
        executor: What the user gives as `executor=`.
        workers: What the user gives as `workers=`.
        most: How many shares there can be.

    Raises:
        LoadError: They are too few or too many, or it cannot be told how many there are.
        LoadTypeError: One of them is of the wrong kind.
    """
    if executor is not None and not hasattr(executor, "submit"):
        raise LoadTypeError(
            f"executor={executor!r:.60}: expected one of concurrent.futures, such as"
            " ProcessPoolExecutor(4) or client.get_executor() of Dask"
        )
    has = getattr(executor, "_max_workers", None)  # those of the standard library, and loky's
    if executor is not None and workers is None:
        if has is None:
            raise LoadError(
                f"executor={executor!r:.60} does not tell how many workers it has; add workers="
            )
        workers = has
    if workers is None:
        return None
    if not isinstance(workers, int) or isinstance(workers, bool):
        raise LoadTypeError(f"workers={workers!r:.60}: expected a whole number of 1 or more")
    if not 1 <= workers <= MOST_WORKERS:
        raise LoadError(f"workers={workers!r}: expected a whole number from 1 to {MOST_WORKERS}")
    if has is not None and workers > has:
        raise LoadError(f"workers={workers}: the executor has {has}; expected {has} at most")
    count = min(workers, most)
    return (
        OwnWorkers(count)
        if executor is None
        else ExecutorWorkers(cast("Executor", executor), count)
    )
