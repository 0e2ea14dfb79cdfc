"""Tests of objects that shall be collected, and of the chains that keep them."""

import asyncio
import contextvars
import functools
import gc
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.memory.collected import CAUSE, Collected, Registered
from pytest_agentperf.measure.memory.holders import find_chain

pytestmark = pytest.mark.usefixtures("whole_heap")

HERE = Path(__file__).name
SESSIONS: dict[str, Any] = {}  # the sessions
KEPT: list[Any] = []  # the kept
VARIABLE: contextvars.ContextVar[Any] = contextvars.ContextVar("current session")


class Session:
    registry: dict[str, Any] = {}  # noqa: RUF012 -- what a leak looks like

    def __init__(self) -> None:
        self.history: list[Any] = []
        self.me: Any = None

    def ask(self) -> None:
        """Be a method that somebody keeps."""


class Slots:
    __slots__ = ("session",)

    def __init__(self, session: Session) -> None:
        self.session = session


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    SESSIONS.clear()
    KEPT.clear()
    Session.registry.clear()


def line_of(text: str) -> int:
    lines = Path(__file__).read_text("utf-8").splitlines()
    return next(at for at, line in enumerate(lines, 1) if line.endswith(f"# {text}"))


def held_by(body: Callable[[Session], object]) -> str:
    """Return who is told to hold a session after *body*; empty where it is gone."""
    collected = Collected()
    body(collected.register(Session()))
    found = collected.check()
    return found[0].sentence.partition(" is still held by ")[2] if found else ""


def test_object_that_nobody_holds_is_gone() -> None:
    assert not held_by(lambda session: None)


def test_cycle_that_nobody_holds_is_gone() -> None:
    def body(session: Session) -> None:
        session.me = session

    assert not held_by(body)


def test_module_variable_is_told_with_its_line_and_key() -> None:
    def body(session: Session) -> None:
        SESSIONS["a"] = [0, 1, 2, session]

    where = f"{HERE}:{line_of('the sessions')}"
    assert held_by(body).endswith(f"{where} SESSIONS['a'] → list[3]")


def keep_in_class(session: Session) -> None:
    Session.registry["a"] = session


def keep_in_attribute(session: Session) -> None:
    KEPT.append(Session())
    KEPT[0].history.append({"k": session})


def keep_in_exception(session: Session) -> None:
    try:
        _ = SESSIONS["none"]
    except KeyError as error:
        KEPT.append(error)


def keep_in_generator(session: Session) -> None:
    def generate(mine: Session) -> Iterator[int]:
        yield len(mine.history)  # the generator

    KEPT.append(generate(session))
    next(KEPT[0])


CHAINS: list[tuple[Callable[[Session], object], str]] = [
    (keep_in_class, "class Session.registry → dict['a']"),
    (keep_in_attribute, "KEPT[0] → Session.history → list[0] → dict['k']"),
    (lambda s: KEPT.append(Slots(s)), "KEPT[0] → Slots.session"),
    (lambda s: KEPT.append((1, (s,))), "KEPT[0] → tuple[1] → tuple[0]"),
    (lambda s: KEPT.append(deque([s])), "KEPT[0] → deque[0]"),
    (lambda s: KEPT.append({s}), "KEPT[0] → set"),
    (lambda s: KEPT.append(functools.partial(print, s)), "KEPT[0] → partial print"),
    (lambda s: KEPT.append(s.ask), "KEPT[0] → method Session.ask ({here}:{ask})"),
    (VARIABLE.set, "ContextVar 'current session'"),
    (
        keep_in_exception,
        "KEPT[0] → KeyError(\"'none'\").__traceback__ → variable session of keep_in_exception (",
    ),
    (
        keep_in_generator,
        "KEPT[0] → variable mine of generate ({here}:{generator})",
    ),
]


@pytest.mark.parametrize(("body", "expected"), CHAINS)
def test_holder_is_told(body: Callable[[Session], object], expected: str) -> None:
    folder = str(Path(__file__).parent.relative_to(Path.cwd())) + "/"
    ask = Session.ask.__code__.co_firstlineno
    expected = expected.format(here=folder + HERE, ask=ask, generator=line_of("the generator"))
    context = contextvars.copy_context()
    assert expected in context.run(held_by, body)


def test_closure_is_told_with_its_variable() -> None:
    def body(session: Session) -> None:
        KEPT.append(lambda: session)

    held = held_by(body)
    assert "KEPT[0] → function <lambda> (" in held
    assert held.endswith(")'s variable session")


def test_default_of_a_function_is_told() -> None:
    def body(session: Session) -> None:
        def keep(mine: Session = session) -> Session:
            return mine

        KEPT.append(keep)

    assert held_by(body).endswith("'s default")


def test_cache_of_a_function_is_told_with_how_full_it_is() -> None:
    @functools.lru_cache(4)
    def session_of(key: str, session: Session) -> Session:
        return session

    assert held_by(lambda s: session_of("a", s)).endswith("session_of (1 of at most 4)")


def test_running_function_is_told() -> None:
    collected = Collected()
    mine = collected.register(Session())
    (finding,) = collected.check()
    assert "variable mine of test_running_function_is_told (" in finding.sentence
    assert mine.me is None


def test_function_of_another_thread_is_told() -> None:
    begun, over = threading.Event(), threading.Event()

    def work(theirs: Session) -> None:
        begun.set()
        over.wait()
        theirs.ask()

    collected = Collected()
    thread = threading.Thread(target=work, args=(collected.register(Session()),))
    thread.start()
    begun.wait()
    (finding,) = collected.check()
    over.set()
    thread.join()
    assert "variable theirs of work (" in finding.sentence


@pytest.mark.asyncio
async def test_task_that_has_not_ended_is_told() -> None:
    collected, event = Collected(), asyncio.Event()

    async def work(theirs: Session) -> None:
        await event.wait()
        theirs.ask()

    task = asyncio.create_task(work(collected.register(Session())), name="worker 1")
    await asyncio.sleep(0)
    (finding,) = collected.check()
    event.set()
    await task
    assert "Task 'worker 1' (work) → variable theirs of work (" in finding.sentence


@pytest.mark.asyncio
async def test_callback_that_is_due_is_told() -> None:
    collected = Collected()
    loop = asyncio.get_running_loop()
    handle = loop.call_later(1000, print, collected.register(Session()))
    (finding,) = collected.check()
    handle.cancel()
    assert "TimerHandle of print" in finding.sentence


def test_registering_returns_the_object_and_holds_it_not() -> None:
    collected = Collected()
    session = Session()
    assert collected.register(session) is session
    del session
    gc.collect()
    assert collected.registered[0].is_held is False


def test_finding_has_name_and_cause() -> None:
    collected = Collected()
    KEPT.append(collected.register(Session(), "the first session"))
    (finding,) = collected.check()
    assert (finding.cause, finding.name) == (CAUSE, "the first session")
    assert str(finding).startswith("the first session (Session) was to be collected and is still")


def test_check_forgets_and_collects_only_where_something_is_registered() -> None:
    collections: list[int] = []
    collected = Collected(collect=lambda: collections.append(1))
    assert collected.check() == ()
    KEPT.append(collected.register(Session()))
    assert len(collected.check()) == 1
    assert collected.check() == ()
    assert len(collections) == 1


def test_many_objects_are_counted_after_the_first_five() -> None:
    collected = Collected()
    KEPT.extend(collected.register(Session()) for _ in range(12))
    found = collected.check()
    assert [finding.count for finding in found] == [1, 1, 1, 1, 1, 7]
    assert found[-1].sentence.startswith("7 more objects")


def test_objects_are_listed_with_their_sizes() -> None:
    collected = Collected(size_of=lambda obj: 2_000_000 if isinstance(obj, Slots) else 100)
    KEPT.append(collected.register(Session(), "small"))

    class Index(Slots):
        __slots__ = ("__weakref__",)

    collected.register(Index(Session()), "index")
    gc.collect()
    listed = [Registered("index", "Index", 2_000_000, is_held=False)]
    listed += [Registered("small", "Session", 100, is_held=True)]
    assert list(collected.registered) == listed
    assert str(listed[0]) == "index: 2 MB (gone)"


@pytest.mark.parametrize("obj", ["text", b"", 1, None, [1], {"a": 1}, (1,)])
def test_what_cannot_be_weakly_referenced_is_refused(obj: object) -> None:
    name = type(obj).__name__
    with pytest.raises(UsageError, match=rf"collected\({name}\): objects .*; register the object"):
        Collected().register(obj)


def test_slots_without_weak_references_are_refused_with_the_cure() -> None:
    with pytest.raises(UsageError, match="Slots has __slots__ without '__weakref__'"):
        Collected().register(Slots(Session()))


def test_object_of_a_fixture_is_refused() -> None:
    provided = Session()
    collected = Collected(lambda obj: "session" if obj is provided else None)
    with pytest.raises(UsageError, match=r"the fixture 'session' provides it.*pytest holds it"):
        collected.register(provided)
    collected.register(Session())


def test_holder_that_is_ignored_is_passed_over() -> None:
    session = Session()
    ours, KEPT[:] = [session], [session]
    where = str(find_chain(session, ignored={id(KEPT)}))
    assert "variable session of" in where
    assert ours


def test_search_that_has_no_time_ends() -> None:
    KEPT.append([[[[Session()]]]])
    ticks = iter(range(100))
    chain = find_chain(KEPT[0][0][0][0][0], max_time=1, clock=lambda: float(next(ticks)))
    assert not chain.is_whole
    assert str(chain) == "list[0] → list[0]"  # as far as it got


def test_search_among_many_holders_is_bounded() -> None:
    session = Session()
    KEPT.extend([session] for _ in range(20_000))
    owner = [[session]]
    chain = find_chain(session)
    assert chain.is_whole
    assert owner
