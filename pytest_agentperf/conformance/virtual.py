"""Virtual time: an event loop that jumps to its next timer and notices when nothing is left."""

import asyncio
import selectors
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, Final, cast

from pytest_agentperf.conformance.stuck import StuckError, stacks_of_tasks, stacks_of_threads
from pytest_agentperf.core.errors import AgentPerfError

__all__ = ["Runner", "StrayCancellationError", "VirtualClock", "VirtualLoop", "real_io", "turns"]

THREAD_TIME: Final = 0.05  # real seconds that threads of a component get before the clock jumps
ENOUGH: Final = 10  # turns of the loop in which whatever can go on without a server does
SERVER_TIME: Final = 1.0  # real seconds that a server gets to answer before the clock jumps
SERVER_TURN: Final = 0.002  # those of them that one turn of the loop may take
PATIENCE: Final = 10_000.0  # virtual seconds after which a test that waits is said to hang


class VirtualClock:
    """Seconds that pass when they are told to; the clock of a component and of its event loop."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now
        self.waited = 0.0  # seconds that the loop jumped over

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass, without running anything."""
        self.now += seconds


class StrayCancellationError(AgentPerfError, AssertionError):
    """A component cancelled a caller of its own accord."""


class _CutOffError(BaseException):
    """Ends a coroutine; unlike `close`, it gets through an async generator that waits."""


class _Selector(selectors.DefaultSelector):
    """Waits for no file: it lets the clock jump instead."""

    clock: VirtualClock
    threads: set[threading.Thread]
    until: float  # real time
    turns = 0
    asked = 0  # of real servers that have not answered

    def select(self, timeout: float | None = None) -> Any:
        """Return what is ready; if nothing is, move the clock to the next timer."""
        self.turns += 1
        is_idle = timeout is None or timeout > 0
        events = super().select(0)
        if self.asked and not events:
            events = super().select(SERVER_TIME if is_idle else SERVER_TURN)
        if events or not is_idle:
            self._check_time(self.clock.waited)
            return events
        if new := set(threading.enumerate()) - self.threads:
            events = self._wait_for_threads(timeout, new)
            if events:
                return events
        if timeout is None:
            raise StuckError("it hangs: everything waits and no timer is set")
        self._check_time(self.clock.waited + timeout)
        self.clock.waited += timeout
        self.clock.advance(timeout)
        return events

    def _check_time(self, waited: float) -> None:
        if waited > PATIENCE:
            raise StuckError(f"it hangs: it still waits after {PATIENCE:g} s of virtual time")
        if time.monotonic() > self.until:
            raise StuckError("it hangs: it goes on and on without coming to an end")

    def _wait_for_threads(self, timeout: float | None, new: set[threading.Thread]) -> Any:
        """Give the threads that a component started real time; for ever only if no timer is set."""
        real = self.until - time.monotonic() if timeout is None else THREAD_TIME
        events = super().select(max(0.0, real))
        if timeout is None and not events:
            raise StuckError(f"it hangs: it waits for its threads\n{stacks_of_threads(new)}")
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time.

    Args:
        clock: Its time; it is moved to the next timer whenever nothing else is to do.
        until: Real time (`time.monotonic`) at which whoever still runs is said to hang.
    """

    def __init__(self, clock: VirtualClock, until: float) -> None:
        self._virtual = selector = _Selector()
        selector.clock, selector.until = clock, until
        selector.threads = set(threading.enumerate())
        super().__init__(selector)
        # A timer is due from so many seconds before its time: with less than the distance of two
        # floats the loop would wait for ever for a moment that it has reached.
        self._clock_resolution = 1e-6

    def begin_again(self, until: float) -> None:
        """Take a new real time at which whoever still runs is said to hang."""
        self._virtual.until, self._virtual.clock.waited = until, 0.0

    def seem_closed(self, *, is_closed: bool) -> None:
        """Refuse all work as a closed loop does, or take it again."""
        self._closed = is_closed

    @contextmanager
    def real_io(self) -> Iterator[None]:
        """See `real_io`."""
        self._virtual.asked += 1
        try:
            yield
        finally:
            self._virtual.asked -= 1

    @property
    def is_asking(self) -> bool:
        """Whether a real server has not answered yet."""
        return self._virtual.asked > 0

    @property
    def turns(self) -> int:
        """How often it went round."""
        return self._virtual.turns

    def time(self) -> float:
        """Return virtual seconds."""
        return self._virtual.clock.now


@contextmanager
def real_io() -> Iterator[None]:
    """Let the clock stand still in the block, in which a real server is asked.

    Virtual time passes when nothing else is to do, and does not wait for what comes from outside of
    the process: without this a server that answers at once looks like one that never does.
    """
    loop = asyncio.get_running_loop()
    with loop.real_io() if isinstance(loop, VirtualLoop) else nullcontext():
        yield


async def turns(count: int = ENOUGH) -> None:
    """Let the loop go round *count* times, so that whatever can go on does; no time passes.

    By default, or more often, it also goes round until real servers have answered.
    """
    loop = asyncio.get_running_loop()
    until = time.monotonic() + SERVER_TIME
    for _ in range(count):
        await asyncio.sleep(0)
    while count >= ENOUGH and isinstance(loop, VirtualLoop) and loop.is_asking:
        if time.monotonic() > until:
            break
        await asyncio.sleep(0)


class Runner:
    """Runs coroutines one after the other in one virtual loop; close it at the end.

    Args:
        clock: The loop's time.
        seconds: Real seconds until what runs is said to hang.
    """

    def __init__(self, clock: VirtualClock, seconds: float) -> None:
        self.problems: list[dict[str, Any]] = []  # what a loop would log
        self._loop = VirtualLoop(clock, time.monotonic() + seconds)
        self._loop.set_exception_handler(lambda _, context: self.problems.append(context))

    @property
    def turns(self) -> int:
        """How often the loop went round."""
        return self._loop.turns

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Run *main* to its end, with patience as at the start.

        Raises:
            StuckError: It would never end; the message has the stack of each task that waits.
        """
        __tracebackhide__ = True
        try:
            self._loop.run_until_complete(self._loop.create_task(main, name="the test"))
        except StuckError as error:
            stacks = stacks_of_tasks(asyncio.all_tasks(self._loop))
            raise StuckError(f"{error}\n{stacks}") from None
        except asyncio.CancelledError as error:
            raise StrayCancellationError(
                "a CancelledError came out of the component to a caller that nobody had cancelled"
            ) from error

    def abandon(self) -> None:
        """Let the loop seem closed to whatever still waits in it, until it is closed."""
        self._loop.seem_closed(is_closed=True)

    def close(self) -> None:
        """Cancel what is left and close the loop; what swallows its cancellation is cut off."""
        self._loop.seem_closed(is_closed=False)
        self._loop.begin_again(time.monotonic() + 1)
        ending = self._loop.create_task(_cancel_all())
        with suppress(StuckError):
            self._loop.run_until_complete(ending)
        left = asyncio.all_tasks(self._loop)
        self._loop.close()
        for task in left:  # or its clean-up fails in whichever test is next
            coroutine = cast("Coroutine[Any, Any, Any]", task.get_coro())
            with suppress(_CutOffError, Exception):
                coroutine.throw(_CutOffError())
            with suppress(Exception):
                coroutine.close()


async def _cancel_all() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=1)
    await asyncio.get_running_loop().shutdown_asyncgens()
