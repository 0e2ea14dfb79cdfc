"""An event loop in virtual time: it jumps to its next timer, so that every schedule is exact."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if not events:
            if timeout is None:
                raise AssertionError("deadlock: everything waits and no timer is set")
            self.now += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop the time of which passes only while all tasks wait; it starts at 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def advance(self, seconds: float) -> None:
        """Let time pass while a task runs, as a blocking call does."""
        self._jumping.now += seconds


def now() -> float:
    """Return the virtual time; 0 outside of the loop."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return 0.0


def block(seconds: float) -> None:
    """Hold the running virtual loop for *seconds*."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.advance(seconds)


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run *main* in virtual time and return its result."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())
