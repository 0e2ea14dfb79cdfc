"""Virtual time: the event loop of these tests jumps to its next timer."""

import asyncio
import gc
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

import pytest


class _JumpingSelector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if not events:
            if timeout is None:
                raise AssertionError("deadlock: everything waits and no timer is set")
            self.now += timeout
        return events


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time; it fails a test that would wait for ever."""

    def __init__(self) -> None:
        self.jumping = _JumpingSelector()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now

    def sleep_through(self, seconds: float) -> None:
        """Let time pass without running anything, as code does that blocks the loop."""
        self.jumping.now += seconds


@pytest.fixture
def new_loop() -> Callable[[], JumpingLoop]:
    """Return what makes an event loop in virtual time."""
    return JumpingLoop


@pytest.fixture
def run() -> Callable[..., None]:
    """Return a function that runs a coroutine in virtual time; it must leave no task.

    With `collect`, errors that only garbage would report are reported too; that takes 0.1 s.
    """

    def run(main: Coroutine[Any, Any, None], *, collect: bool = True) -> None:
        async def checked() -> None:
            await main
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, left

        problems: list[dict[str, Any]] = []
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            runner.get_loop().set_exception_handler(lambda _loop, context: problems.append(context))
            runner.run(checked())
            if collect:
                gc.collect()
        assert not problems, problems

    return run
