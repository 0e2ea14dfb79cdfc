"""Tests of how the steps of a compiled loop are told apart: by their Python frames alone."""

import asyncio
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import pytest

from pytest_agentperf.measure.concurrency.loop.loops import OpaqueLoop
from pytest_agentperf.measure.concurrency.loop.steps import IDLE


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """Trace no line of the loop's thread, as for coverage: the frames are to be free for marks."""
    before = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(before)


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    if request.param == "uvloop":
        uvloop: Any = pytest.importorskip("uvloop")
        return uvloop.new_event_loop  # type: ignore[no-any-return]
    return asyncio.SelectorEventLoop


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


class Looker:
    """Looks at the loop from another thread, while the loop's waits for that."""

    def __init__(self, loop: OpaqueLoop, beside: ThreadPoolExecutor) -> None:
        self.keys: list[int] = []
        self._loop, self._beside = loop, beside

    def look(self) -> None:
        self.keys.append(self._beside.submit(self._loop.glance).result())

    def look_twice(self) -> None:
        self.look()
        self.look()


Body = Callable[[Looker], Any]


@pytest.fixture
def keys_of(
    event_loop_factory: Callable[[], asyncio.AbstractEventLoop], beside: ThreadPoolExecutor
) -> Callable[[Body], list[int]]:
    """Run *body* in a coroutine, and return the keys that were seen."""

    async def run(body: Body) -> list[int]:
        looker = Looker(OpaqueLoop(asyncio.get_running_loop()), beside)
        await body(looker)
        return looker.keys

    def keys_of(body: Body) -> list[int]:
        with asyncio.Runner(loop_factory=event_loop_factory) as runner:
            return runner.run(run(body))

    return keys_of


async def once_round() -> None:
    """Return when the loop has run all that was ready."""
    loop = asyncio.get_running_loop()
    reached = loop.create_future()
    loop.call_soon(reached.set_result, None)
    await reached


def test_one_call_is_one_step_however_often_it_is_looked_at(
    keys_of: Callable[[Body], list[int]],
) -> None:
    async def body(looker: Looker) -> None:
        asyncio.get_running_loop().call_soon(looker.look_twice)
        await once_round()

    first, second = keys_of(body)
    assert first == second != IDLE


def test_two_calls_of_one_function_are_two_steps(keys_of: Callable[[Body], list[int]]) -> None:
    async def body(looker: Looker) -> None:
        for _ in range(20):
            asyncio.get_running_loop().call_soon(looker.look_twice)
        await once_round()

    keys = keys_of(body)
    assert keys[::2] == keys[1::2]
    assert len(set(keys)) == 20


def test_task_is_one_step_and_another_task_another(keys_of: Callable[[Body], list[int]]) -> None:
    async def body(looker: Looker) -> None:
        async def work() -> None:
            looker.look_twice()

        await asyncio.gather(work(), work())

    first, again, second, again_second = keys_of(body)
    assert first == again != second == again_second


def test_look_keeps_nothing_of_a_call_that_returned(keys_of: Callable[[Body], list[int]]) -> None:
    class Local:
        pass

    freed: list[threading.Thread] = []

    async def body(looker: Looker) -> None:
        def call() -> None:
            local = Local()
            looker.look()
            weakref.finalize(local, freed.append, threading.current_thread())

        asyncio.get_running_loop().call_soon(call)
        await once_round()

    keys_of(body)
    assert freed == [threading.current_thread()]


def test_frame_that_a_debugger_traces_stays_its_own(keys_of: Callable[[Body], list[int]]) -> None:
    lines = []

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code is call.__code__:
            lines.append(event)
            return trace
        return None

    def call(looker: Looker) -> None:
        looker.look_twice()
        lines.append("after")

    async def body(looker: Looker) -> None:
        asyncio.get_running_loop().call_soon(call, looker)
        sys.settrace(trace)
        try:
            await once_round()
        finally:
            sys.settrace(None)

    first, second = keys_of(body)
    assert first == second != IDLE
    assert lines == ["call", "line", "line", "after", "return"]


def test_debugger_may_begin_in_a_call_that_was_looked_at(
    keys_of: Callable[[Body], list[int]],
) -> None:
    lines = []

    async def body(looker: Looker) -> None:
        def call() -> None:
            looker.look()
            sys.settrace(lambda *_: None)
            lines.append("traced")
            sys.settrace(None)

        asyncio.get_running_loop().call_soon(call)
        await once_round()

    keys_of(body)
    assert lines == ["traced"]
