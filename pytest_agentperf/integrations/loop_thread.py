"""One daemon thread with an event loop that all test servers of the process share."""

import asyncio
import select
import selectors
import threading
from collections.abc import Coroutine
from typing import Any, ClassVar, Final, TypeVar

from pytest_agentperf.core.clock import REAL_TIME
from pytest_agentperf.core.errors import UsageError

__all__ = ["LoopThread"]

T = TypeVar("T")

_FD_SETSIZE: Final = 1024  # the largest descriptor that select(2) takes, plus one
_PATIENCE: Final = 10.0


class _PreciseSelector(selectors.DefaultSelector):
    """Waits to the microsecond.

    epoll(7) waits whole milliseconds and asyncio rounds up: gaps of 10 ms were 10.4 ms in the
    median. select(2) counts microseconds, and a descriptor of epoll can itself be waited for.
    """

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0 and self._is_selectable():
            select.select([self], [], [], timeout)
            timeout = 0
        return super().select(timeout)

    def _is_selectable(self) -> bool:
        # Not on Windows, whose selector has no descriptor and already uses select(2).
        return hasattr(self, "fileno") and self.fileno() < _FD_SETSIZE


class _RealTimeLoop(asyncio.SelectorEventLoop):
    """Keeps its delays while a test freezes `time.monotonic`, which asyncio reads otherwise."""

    def time(self) -> float:
        return REAL_TIME.clock()


class LoopThread:
    """A daemon thread that runs an event loop until the process ends.

    Attributes:
        loop: The event loop.
    """

    # A thread belongs to the process, not to a session, so its holder is state of the module.
    _lock: ClassVar = threading.Lock()
    _shared: ClassVar["LoopThread | None"] = None

    def __init__(self) -> None:
        self.loop = _RealTimeLoop(_PreciseSelector())
        self.loop.set_debug(False)  # PYTHONASYNCIODEBUG would log slow scripts
        self._thread = threading.Thread(
            target=self.loop.run_forever, name="agentperf-llm-server", daemon=True
        )
        self._thread.start()

    @classmethod
    def shared(cls) -> "LoopThread":
        """Return the thread of this process, started when there is none."""
        with cls._lock:
            # A forked child has the object of its parent, but not the thread.
            if cls._shared is None or not cls._shared.is_alive:
                cls._shared = cls()
            return cls._shared

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs in this process."""
        return self._thread.is_alive()

    @property
    def is_current(self) -> bool:
        """Whether the caller is the thread itself, where waiting for it would never end."""
        return threading.current_thread() is self._thread

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run *coroutine* in the thread and return its result.

        Raises:
            UsageError: The loop is held up by a script of replies, which may call this itself.
        """
        if self.is_current:
            coroutine.close()
            raise UsageError(
                "a server is started or closed by a reply script, which runs in the server's own "
                "thread; do it in the test"
            )
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(_PATIENCE)
        except TimeoutError as error:
            future.cancel()
            raise UsageError(
                f"the thread of the test server did not answer within {_PATIENCE:g} s; a reply "
                "script must return at once, so let it not wait or call the server"
            ) from error
