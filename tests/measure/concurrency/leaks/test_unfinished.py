"""Tests of unfinished work: tasks, coroutines and async generators."""

import asyncio
import gc
import sys
import warnings
from asyncio import staggered
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from pytest_agentperf.measure.concurrency.leaks.snapshot import Leak, Snapshot

pytestmark = pytest.mark.asyncio


class Agent:
    """An agent whose work may be left undone."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None

    async def poll(self) -> None:
        await asyncio.Event().wait()

    async def fail(self) -> None:
        raise ValueError("boom")

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        self.task = asyncio.create_task(work, name="poller")

    async def stream(self) -> AsyncIterator[str]:
        yield "a"
        yield "b"


async def left(before: Snapshot) -> tuple[Leak, ...]:
    return await before.settle_and_diff(patience=0)


@pytest.fixture
def messages() -> list[str]:
    """What the loop's own exception handler is told."""
    return []


@pytest.fixture
def handler(messages: list[str]) -> Callable[..., None]:
    return lambda loop, context: messages.append(context["message"])


async def test_task_says_what_it_runs_who_created_it_and_where_it_stands() -> None:
    before, agent = Snapshot.take(), Agent()
    agent.start(agent.poll())
    await asyncio.sleep(0)
    (leak,) = await left(before)
    assert leak.kind == "task"
    assert leak.name == "poller"
    assert leak.place is not None
    assert leak.now is not None
    assert (leak.place.function, leak.now.function) == ("Agent.start", "Agent.poll")
    assert leak.sentence == (
        f"task 'poller' (Agent.poll) has not ended; created at {leak.place}; now at {leak.now}"
    )
    assert "create_task" in leak.place.source
    assert agent.task
    agent.task.cancel()


async def test_task_that_has_not_begun_is_found() -> None:
    before, agent = Snapshot.take(), Agent()
    agent.start(agent.poll())
    agent_task = agent.task
    (leak,) = before._leaks()
    assert leak.now is not None
    assert leak.now.function == "Agent.poll"
    before.stop()
    assert agent_task
    agent_task.cancel()


async def test_task_of_before_is_not_reported() -> None:
    agent = Agent()
    agent.start(agent.poll())
    assert await left(Snapshot.take()) == ()
    assert agent.task
    agent.task.cancel()


async def test_task_that_a_task_of_asyncio_creates_is_laid_to_the_line_behind_both() -> None:
    before, agent = Snapshot.take(), Agent()
    race: Any = staggered.staggered_race([agent.poll], None)
    agent.start(race)  # and the race itself creates one more, below no line of the user's
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    found = await left(before)
    assert len(found) > 1
    assert {leak.place and leak.place.function for leak in found} == {"Agent.start"}
    assert agent.task
    agent.task.cancel()
    await asyncio.wait([agent.task])


async def test_task_keeps_the_name_that_python_gives_it() -> None:
    plain = asyncio.create_task(asyncio.sleep(0)).get_name()
    before = Snapshot.take()
    unnamed = asyncio.create_task(asyncio.sleep(0)).get_name()
    named = asyncio.create_task(asyncio.sleep(0), name="mine").get_name()
    before.stop()
    assert (unnamed.startswith("Task-"), plain.startswith("Task-"), named) == (True, True, "mine")


async def test_task_factory_of_the_user_is_used_and_kept() -> None:
    made: list[object] = []

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> Any:
        made.append(coro)
        return asyncio.Task(coro, loop=loop, **kwargs)

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    before = Snapshot.take()
    await asyncio.create_task(asyncio.sleep(0), name="mine")
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(0), name="grouped")
    assert await left(before) == ()
    assert len(made) == 2
    assert loop.get_task_factory() is factory
    loop.set_task_factory(None)


async def test_task_without_weak_references_is_created_as_ever() -> None:
    class Slotted:
        __slots__ = ("coro",)

        def __init__(self, coro: Any) -> None:
            self.coro = coro

        def set_name(self, name: object) -> None:
            pass

    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda loop, coro, **kwargs: Slotted(coro))  # type: ignore[arg-type]
    before = Snapshot.take()
    made: Any = loop.create_task(asyncio.sleep(0))
    made.coro.close()
    loop.set_task_factory(None)
    assert isinstance(made, Slotted)
    assert await left(before) == ()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks are eager from Python 3.12 on")
async def test_eager_task_is_seen_when_it_goes_on_and_not_when_it_ends_at_once() -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]
    before, agent = Snapshot.take(), Agent()
    agent.start(asyncio.sleep(0))
    await asyncio.create_task(asyncio.sleep(0))
    agent.start(agent.poll())
    (leak,) = await left(before)
    loop.set_task_factory(None)
    assert leak.place is not None
    assert leak.place.function == "Agent.start"
    assert agent.task
    agent.task.cancel()


async def test_failed_task_that_is_kept_is_found_without_being_looked_at(
    messages: list[str], handler: Callable[..., None]
) -> None:
    asyncio.get_running_loop().set_exception_handler(handler)
    before, agent = Snapshot.take(), Agent()
    agent.start(agent.fail())
    await asyncio.sleep(0)
    (leak,) = await left(before)
    assert leak.kind == "failed task"
    assert leak.name == "Agent.fail"
    assert leak.sentence.startswith(
        "a task of Agent.fail failed with ValueError: boom, and nobody awaited it; created at "
    )
    assert messages == []
    agent.task = None  # and so Python still says it, too
    assert messages == ["Task exception was never retrieved"]


async def test_failed_task_that_is_dropped_is_found_and_the_handler_told(
    messages: list[str], handler: Callable[..., None]
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(handler)
    before, agent = Snapshot.take(), Agent()
    for _ in range(2):
        agent.start(agent.fail())
        await asyncio.sleep(0)
        agent.task = None
    (leak,) = await left(before)
    assert (leak.kind, leak.count) == ("failed task", 2)
    assert "(2 times); created at" in leak.sentence
    assert leak.place is not None
    assert leak.place.function == "Agent.start"
    assert messages == ["Task exception was never retrieved"] * 2
    assert loop.get_exception_handler() is handler


async def test_failed_task_with_an_error_that_cannot_be_shown_is_found() -> None:
    class UnshowableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    async def fail() -> None:
        raise UnshowableError

    before = Snapshot.take()
    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    (leak,) = await left(before)
    assert "UnshowableError" in leak.sentence
    task.exception()


@pytest.mark.parametrize("ending", ["return", "cancel", "look"])
async def test_task_that_somebody_has_seen_the_end_of_is_not_reported(ending: str) -> None:
    before, agent = Snapshot.take(), Agent()
    work = {"return": lambda: asyncio.sleep(0), "cancel": agent.poll, "look": agent.fail}
    agent.start(work[ending]())
    assert agent.task
    await asyncio.sleep(0)
    if ending == "cancel":
        agent.task.cancel()
    await asyncio.wait([agent.task])
    if ending == "look":
        agent.task.exception()
    assert await left(before) == ()


async def test_failed_task_of_before_is_not_reported(
    messages: list[str], handler: Callable[..., None]
) -> None:
    asyncio.get_running_loop().set_exception_handler(handler)
    agent = Agent()
    agent.start(agent.fail())
    await asyncio.sleep(0)
    before = Snapshot.take()
    agent.task = None
    assert messages == ["Task exception was never retrieved"]
    assert await left(before) == ()


async def test_pending_task_that_is_dropped_by_everyone_is_found(
    messages: list[str], handler: Callable[..., None]
) -> None:
    asyncio.get_running_loop().set_exception_handler(handler)
    before, agent = Snapshot.take(), Agent()

    async def wait_for_nobody() -> None:
        await asyncio.get_running_loop().create_future()

    agent.start(wait_for_nobody())
    await asyncio.sleep(0)
    agent.task = None
    gc.collect()
    (leak,) = await left(before)
    assert leak.kind == "task"
    assert leak.sentence.startswith("a task of wait_for_nobody was dropped while it was pending")
    assert leak.place is not None
    assert leak.place.function == "Agent.start"
    assert messages == ["Task was destroyed but it is pending!"]


async def test_exception_handler_that_is_set_meanwhile_stays(handler: Callable[..., None]) -> None:
    loop = asyncio.get_running_loop()
    before = Snapshot.take()
    loop.set_exception_handler(handler)
    before.stop()
    assert loop.get_exception_handler() is handler


async def test_exception_handler_of_the_loop_itself_is_called_where_there_is_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    before = Snapshot.take()
    loop.call_exception_handler({"message": "something else"})
    assert await left(before) == ()
    assert loop.get_exception_handler() is None
    assert "something else" in caplog.text


async def test_origins_are_not_noted_when_not_wanted() -> None:
    loop = asyncio.get_running_loop()
    before, agent = Snapshot.take(origins=False), Agent()
    assert "create_task" not in vars(loop)
    agent.start(agent.poll())
    await asyncio.sleep(0)
    (leak,) = await left(before)
    assert (leak.name, leak.place) == ("poller", None)
    assert leak.now is not None
    assert leak.now.function == "Agent.poll"
    assert leak.finding.place == leak.now
    assert agent.task
    agent.task.cancel()


async def test_failed_task_that_is_dropped_is_found_without_origins(
    messages: list[str], handler: Callable[..., None]
) -> None:
    asyncio.get_running_loop().set_exception_handler(handler)
    before, agent = Snapshot.take(origins=False), Agent()
    agent.start(agent.fail())
    await asyncio.sleep(0)
    agent.task = None
    (leak,) = await left(before)
    assert (leak.kind, leak.place) == ("failed task", None)
    assert messages == ["Task exception was never retrieved"]


async def test_coroutine_is_found_whatever_the_filters_of_warnings_do() -> None:
    for action in ("ignore", "always"):
        before, agent = Snapshot.take(), Agent()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter(action)
            agent.poll()  # type: ignore[unused-coroutine]
        (leak,) = await left(before)
        assert (leak.kind, leak.name) == ("coroutine", "Agent.poll")
        assert leak.sentence.startswith("coroutine Agent.poll was never awaited; dropped at ")
        assert len(caught) == (action == "always")


async def test_warning_of_a_coroutine_still_blames_the_users_line() -> None:
    def caught_line() -> tuple[str, int]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            Agent().poll()  # type: ignore[unused-coroutine]
        return caught[0].filename, caught[0].lineno

    alone = caught_line()
    before, within = Snapshot.take(), Snapshot.take()
    watched = caught_line()
    within.stop()
    before.stop()
    assert watched == alone
    assert alone[0] == __file__


async def test_coroutines_dropped_by_one_line_are_one_leak() -> None:
    before, agent = Snapshot.take(), Agent()
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        for _ in range(3):
            agent.poll()  # type: ignore[unused-coroutine]
    (leak,) = await left(before)
    assert leak.count == 3
    assert "never awaited (3 times)" in leak.sentence


async def test_coroutine_that_the_garbage_collector_finds_may_be_older_and_is_not_reported() -> (
    None
):
    gc.disable()
    agent: Any = Agent()
    agent.task = agent.poll()  # a cycle
    del agent
    before = Snapshot.take()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
    gc.enable()
    assert [str(warning.message)[:30] for warning in caught] == ["coroutine 'Agent.poll' was nev"]
    assert await left(before) == ()


async def test_coroutine_is_no_leak_where_this_python_cannot_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(warnings, "_warn_unawaited_coroutine", lambda coroutine: None)
    before = Snapshot.take()
    Agent().poll()  # type: ignore[unused-coroutine]
    assert await left(before) == ()
    assert before.notes == (
        "un-awaited coroutines are not seen: this Python reports them otherwise",
    )


async def test_async_generator_says_who_began_it_and_where_it_stands() -> None:
    before, stream = Snapshot.take(), Agent().stream()
    assert await anext(stream) == "a"
    (leak,) = await left(before)
    assert (leak.kind, leak.name) == ("async generator", "Agent.stream")
    assert leak.now is not None
    assert leak.now.source == 'yield "a"'
    await stream.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("end", ["exhausted", "closed", "never begun", "begun before"])
async def test_async_generator_that_is_not_open_is_not_reported(end: str) -> None:
    stream: Any = Agent().stream()
    if end == "begun before":
        await anext(stream)
    before = Snapshot.take()
    if end == "exhausted":
        assert [item async for item in stream] == ["a", "b"]
    elif end == "closed":
        await anext(stream)
        await stream.aclose()
    assert await left(before) == ()
    await stream.aclose()


async def test_async_generator_in_use_by_another_task_is_that_tasks() -> None:
    async def use() -> None:
        async for _ in Agent().stream():
            await asyncio.Event().wait()

    before = Snapshot.take()
    task = asyncio.create_task(use())
    await asyncio.sleep(0)
    (leak,) = await left(before)
    assert leak.kind == "task"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_async_generator_hook_of_the_loop_is_called_and_put_back() -> None:
    hooks = sys.get_asyncgen_hooks()
    outer, inner = Snapshot.take(), Snapshot.take()
    stream: Any = Agent().stream()
    await anext(stream)
    inner.stop()
    outer.stop()
    assert sys.get_asyncgen_hooks() == hooks
    loop: Any = asyncio.get_running_loop()
    assert stream in loop._asyncgens
    await stream.aclose()


async def test_async_generator_hook_is_left_alone_by_another_thread() -> None:
    hooks = sys.get_asyncgen_hooks()
    before = Snapshot.take()
    placed = sys.get_asyncgen_hooks()
    await asyncio.to_thread(before.stop)
    assert sys.get_asyncgen_hooks() == placed
    stream: Any = Agent().stream()
    await anext(stream)
    await stream.aclose()
    sys.set_asyncgen_hooks(*hooks)
