"""The threads that look: one for each watch at work, kept for a second for the next one."""

import _thread
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeAlias

from pytest_agentperf.core.clock import REAL_TIME
from pytest_agentperf.measure.concurrency.origins import off_the_loop

__all__ = ["Look", "WatchThread", "waiting_thread"]

Look: TypeAlias = Callable[[], float | None]
"""Looks once; returns the seconds until the next look, None for never again."""

_DOZE: Final = 0.005
_DOZES: Final = 10
_LINGER: Final = 1.0
_PATIENCE: Final = 1.0
# Of the process, as threads are: starting one takes longer than all else that begins a watch.
_WAITING: "Final[list[WatchThread]]" = []


class WatchThread:
    """A thread that looks for one watch after another, until none has come for a second.

    It is one of `_thread`, not of `threading`: a test that counts its threads does not see it,
    tracers and debuggers leave it alone, and starting it takes half the time. A watch is handed
    over by an assignment; only a thread that sleeps for longer than until the first look is woken.
    It dozes before it sleeps: short watches often follow each other, and to be woken costs both.

    Attributes:
        native_id: What the system calls it; 0 before it runs.
    """

    __slots__ = (
        "_awake",
        "_due",
        "_is_quiet",
        "_is_started",
        "_look",
        "_process",
        "_wake",
        "native_id",
    )

    def __init__(self) -> None:
        self.native_id = 0
        self._process = os.getpid()
        self._is_started = self._is_quiet = False
        self._look: Look | None = None
        self._due = 0.0
        self._wake = _thread.allocate_lock()
        self._wake.acquire()
        self._awake = _thread.allocate_lock()  # held by the thread, unless it sleeps
        self._awake.acquire()

    @property
    def is_ours(self) -> bool:
        """Whether it is of this process: a forked child has none of its parent's."""
        return self._process == os.getpid()

    def begin(self, look: Look, within: float) -> None:
        """Look, for the first time within so many seconds, until `end`."""
        self._is_quiet = False
        self._look = look
        if not self._is_started:
            self._is_started = True
            _thread.start_new_thread(self._run, ())
        elif not self._awake.locked() or self._due > REAL_TIME.clock() + within:
            self._rouse()

    def end(self, *, quiet: bool) -> None:
        """Look no more, and wait for the next watch.

        Args:
            quiet: Whether to return only when the thread sleeps, which takes microseconds:
                otherwise it asks for the GIL twice more, when its next looks would have been.
        """
        self._look, self._is_quiet = None, quiet
        if quiet and self._awake.locked():
            self._rouse()
            with off_the_loop():
                if self._awake.acquire(timeout=_PATIENCE):
                    self._awake.release()
        _WAITING.append(self)

    def _rouse(self) -> None:
        if self._wake.locked():
            self._wake.release()

    def _run(self) -> None:
        self.native_id = _thread.get_native_id()
        is_wanted, dozes = True, 0
        while is_wanted:
            pause = self._look_once()
            if pause is None and (dozes == _DOZES or self._is_quiet):
                is_wanted, dozes = self._sleep(), 0
            else:
                dozes = dozes + 1 if pause is None else 0
                pause = _DOZE if pause is None else pause
                self._due = REAL_TIME.clock() + pause
                self._wake.acquire(timeout=pause)

    def _look_once(self) -> float | None:
        # A function of its own, so that nothing of the watch is referred to while the thread waits.
        look = self._look
        return look() if look else None

    def _sleep(self) -> bool:
        """Sleep until there is a watch; return False where none came."""
        self._awake.release()
        # Asked after that: who has handed one over before saw a thread that is awake.
        is_wanted = self._look is not None or self._wake.acquire(timeout=_LINGER)
        if not is_wanted:
            try:
                _WAITING.remove(self)
            except ValueError:  # taken, just now
                is_wanted = True
        if is_wanted:
            self._awake.acquire()
        return is_wanted


def waiting_thread() -> WatchThread:
    """Return a thread that waits for a watch, or a new one."""
    with suppress(IndexError):
        while not (thread := _WAITING.pop()).is_ours:
            pass
        return thread
    return WatchThread()
