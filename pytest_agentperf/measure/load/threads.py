"""Threads for the calls of sync functions.

Those of `concurrent.futures` keep the interpreter from exiting while a call hangs; these do not.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar

__all__ = ["Threads"]

T = TypeVar("T")


class Threads:
    """Makes calls in threads, of which there are as many as calls at once.

    Args:
        loop: The event loop that waits for the calls.

    Attributes:
        busy: Calls that have not ended.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._idle: list[SimpleQueue[Callable[[], None] | None]] = []
        self.busy = 0
        self._is_closed = False

    def run(self, call: Callable[[], T]) -> "asyncio.Future[T]":
        """Begin *call* in a thread; it must not raise."""
        future: asyncio.Future[T] = self._loop.create_future()
        queue = self._idle.pop() if self._idle else self._start()
        self.busy += 1

        def work() -> None:
            result = call()
            with suppress(RuntimeError):  # the loop has been closed meanwhile
                self._loop.call_soon_threadsafe(self._end, queue, future, result)

        queue.put(work)
        return future

    def _start(self) -> "SimpleQueue[Callable[[], None] | None]":
        queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        thread = threading.Thread(target=_work, args=(queue,), name="agentperf load", daemon=True)
        thread.start()
        return queue

    def _end(
        self,
        queue: "SimpleQueue[Callable[[], None] | None]",
        future: "asyncio.Future[T]",
        result: T,
    ) -> None:
        self.busy -= 1
        if self._is_closed:
            queue.put(None)
        else:
            self._idle.append(queue)
        if not future.done():
            future.set_result(result)

    async def wait(self, seconds: float) -> None:
        """Wait until the calls have ended, *seconds* at most."""
        looks = 20
        for _ in range(looks):
            if not self.busy:
                return
            await asyncio.sleep(seconds / looks)

    def close(self) -> None:
        """End the threads: each that works when its call has ended."""
        self._is_closed = True
        for queue in self._idle:
            queue.put(None)
        self._idle.clear()


def _work(queue: "SimpleQueue[Callable[[], None] | None]") -> None:
    while (work := queue.get()) is not None:
        work()
