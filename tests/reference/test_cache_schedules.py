"""Random schedules: invariants after every step, for each policy, in tasks and in threads."""

import asyncio
import concurrent.futures
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from pytest_agentperf.reference.cache import Cache, cached

Policy = Literal["gdsf", "lru", "value"]
KEYS = st.integers(0, 7)
PATIENCE = 10.0


def check(cache: Cache) -> None:
    """What must hold whenever no call of the cache is under way."""
    with cache._store as store:
        check_store(store)


def check_store(store: Any) -> None:
    heap = store.policy.heap
    alive = list(heap.alive())
    assert store.size == len(alive) <= store.max_size
    for entry in alive:
        assert entry.table is not None
        assert entry.table.entries[entry.key] is entry
    tables = {entry.table for entry in alive}
    assert sum(len(table.entries) for table in tables if table is not None) == len(alive)
    for each in (heap, store.deadlines):
        assert len(each) <= 2 * store.size + 65
        for at in range(1, len(each)):
            assert each[(at - 1) // 2][:2] <= each[at][:2]
    assert {e for e in alive if e.expires < math.inf} == set(store.deadlines.alive())
    tagged = {(tag, entry) for tag, held in store.tagged.items() for entry in held}
    assert tagged == {(tag, entry) for entry in alive for tag in entry.tags}
    assert store._removed == []


STEPS = st.one_of(
    st.tuples(st.just("get"), KEYS),
    st.tuples(st.just("get"), KEYS),
    st.tuples(
        st.just("set"),
        KEYS,
        st.sampled_from([None, 0.0, 1.0, 5.0]),
        st.sampled_from([None, 0, 2, 5, math.inf]),
        st.sampled_from([(), ("x",), ("x", "y")]),
    ),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("glob"), KEYS),
    st.tuples(st.just("tag"), st.sampled_from("xy")),
    st.tuples(st.just("clear"), st.sampled_from([False] * 9 + [True])),
    st.tuples(st.just("tick"), st.sampled_from([1.0, 2.0, 6.0])),
)


@pytest.mark.parametrize("policy", ["gdsf", "lru", "value"])
def test_a_store_keeps_its_invariants_and_never_returns_a_wrong_value(  # noqa: C901 - a model
    policy: Policy,
) -> None:
    @seed(1)
    @settings(max_examples=150, deadline=None, database=None)
    @given(st.integers(1, 4), st.lists(STEPS, min_size=20, max_size=80))
    def run(size: int, steps: list[tuple[Any, ...]]) -> None:
        now = 0.0
        cache = Cache(size, ttl=4, policy=policy, clock=lambda: now)
        model = dict[str, tuple[int, float, tuple[str, ...]]]()
        lookups = 0
        for number, (step, what, *rest) in enumerate(steps):
            key = f"k{what}"
            if step == "get":
                lookups += 1
                found = cache.get(key)
                value, until, _ = model.get(key, (None, 0.0, ()))
                assert found is None or (found == value and now < until)
            elif step == "set":
                cost, ttl, tags = rest
                cache.set(key, number, cost=cost, ttl=ttl, tags=tags)
                model[key] = (number, now + (4 if ttl is None else ttl), tags)
                assert cache.peek(key) == (None if ttl == 0 else number)
            elif step == "delete":
                cache.delete(key)
                model.pop(key, None)
            elif step == "glob":
                cache.invalidate(key)
                model.pop(key, None)
            elif step == "tag":
                cache.invalidate_tag(what)
                model = {k: v for k, v in model.items() if what not in v[2]}
            elif step == "clear" and what:
                cache.clear()
                model.clear()
            elif step == "tick":
                now += what
            check(cache)
            stats = cache.stats()
            assert stats.lookups == lookups
            alive = {k for k, (_, until, _) in model.items() if now < until}
            assert {k for k in model if k in cache} <= alive
            if len(alive) <= size and not stats.evictions:
                assert stats.size == len(alive)

    run()


def schedules(*more: str) -> Any:
    """Return a strategy of moves: asking is the commonest, *more* go beside those of all."""
    return st.lists(
        st.one_of(
            st.tuples(st.just("ask"), st.integers(0, 2)),
            st.tuples(st.just("ask"), st.integers(0, 2)),
            st.tuples(st.sampled_from(["finish", "finish", "fail", *more]), st.integers(0, 20)),
            st.tuples(st.just("invalidate"), st.integers(0, 2)),
            st.tuples(st.just("clear"), st.just(0)),
            st.tuples(st.just("tick"), st.integers(1, 8)),
        ),
        min_size=15,
        max_size=50,
    )


class Interrupted(BaseException):
    """What stops one caller's thread."""


class Schedule:
    """Callers of one function whose computations end when told to.

    A value is its key and how often that had been invalidated when its computation began.
    """

    def __init__(self, policy: Policy) -> None:
        self.now = 0.0
        self.cache = Cache(2, ttl=5, policy=policy, clock=lambda: self.now, uniform=lambda: 0.6)
        self.decorate = cached(self.cache, early=0.5, stale_if_error=3, errors={ValueError: 2})
        self.gates: list[tuple[int, Any]] = []
        self.invalidated = [0, 0, 0]
        self.ask_for: Any = None

    def play(self, schedule: list[tuple[str, int]]) -> Iterator[None]:
        for move, what in schedule:
            getattr(self, move)(what)
            check(self.cache)
            yield

    def finish(self, what: int) -> None:
        self.release(what, None)

    def fail(self, what: int) -> None:
        self.release(what, ValueError if what % 2 else OSError)

    def release(self, what: int, kind: Any) -> None:
        raise NotImplementedError

    def invalidate(self, key: int) -> None:
        self.ask_for.invalidate(key)
        self.invalidated[key] += 1

    def clear(self, _: int) -> None:
        self.cache.clear()
        self.invalidated = [times + 1 for times in self.invalidated]

    def tick(self, seconds: int) -> None:
        self.now += seconds

    def check_outcome(self, key: int, asked: int, outcome: Any) -> None:
        """Check what a caller got who asked when *key* had been invalidated *asked* times."""
        if isinstance(outcome, tuple):
            assert outcome[0] == key
            assert outcome[1] >= asked, "a value from before the key was invalidated"
        else:
            assert isinstance(outcome, ValueError | OSError)
            assert outcome.args == (key,)


class TaskSchedule(Schedule):
    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.ask_for = self.decorate(self.compute)
        self.callers: list[asyncio.Task[None]] = []
        self.running = [0, 0, 0]
        self.overlaps = 0
        self.is_disturbed = False

    async def compute(self, key: int) -> Any:
        value, gate = (key, self.invalidated[key]), asyncio.get_running_loop().create_future()
        self.gates.append((key, gate))
        self.running[key] += 1
        self.overlaps += self.running[key] > 1
        try:
            await gate
        finally:
            self.running[key] -= 1
            self.gates.remove((key, gate))
        return value

    def ask(self, key: int) -> None:
        async def caller() -> None:
            asked = self.invalidated[key]
            try:
                outcome = await self.ask_for(key)
            except Exception as error:  # noqa: BLE001 - the outcome
                outcome = error
            self.check_outcome(key, asked, outcome)

        self.callers.append(asyncio.ensure_future(caller()))

    def release(self, what: int, kind: Any) -> None:
        waiting = [(key, gate) for key, gate in self.gates if not gate.done()]
        if waiting:
            key, gate = waiting[what % len(waiting)]
            if kind is None:
                gate.set_result(None)
            elif kind is asyncio.CancelledError:
                gate.cancel()
            else:
                gate.set_exception(kind(key))

    def kill(self, what: int) -> None:
        self.release(what, asyncio.CancelledError)

    def cancel(self, what: int) -> None:
        self.is_disturbed = True
        if self.callers:
            self.callers[what % len(self.callers)].cancel()

    def turn(self, _: int) -> None:
        """Let the loop go once round; `run` does."""


@pytest.mark.parametrize("policy", ["gdsf", "lru", "value"])
def test_every_waiting_task_gets_what_it_may_and_no_task_leaks(policy: Policy) -> None:
    async def run(schedule: list[tuple[str, int]]) -> None:
        noise = list[Any]()
        asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
        tasks = TaskSchedule(policy)
        for (move, _), _ in zip(schedule, tasks.play(schedule), strict=True):
            if move == "turn":
                await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
            while any(not gate.done() for _, gate in tasks.gates):
                tasks.finish(0)
        assert all(task.done() for task in tasks.callers)
        cancelled = sum(task.cancelled() for task in tasks.callers)
        for task in tasks.callers:
            assert task.cancelled() or task.exception() is None
        assert tasks.overlaps == 0 or tasks.is_disturbed or any(tasks.invalidated)
        assert not tasks.cache._store.flights
        assert not tasks.cache._tasks
        assert asyncio.all_tasks() == {asyncio.current_task()}
        check(tasks.cache)
        lookups = tasks.cache.stats().lookups
        assert len(tasks.callers) - cancelled <= lookups <= len(tasks.callers)
        assert noise == []

    @seed(2)
    @settings(max_examples=150, deadline=None, database=None)
    @given(schedules("cancel", "cancel", "kill", "turn", "turn", "turn"))
    def examples(schedule: list[tuple[str, int]]) -> None:
        asyncio.run(run(schedule))

    examples()


class ThreadSchedule(Schedule):
    """Each move waits until the caller concerned computes, has joined another, or is done."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.ask_for = self.decorate(self.compute)
        self.callers: list[threading.Thread] = []
        self.running = list[Any]()
        self.errors = list[BaseException]()
        self.changed = threading.Condition()
        self.own = threading.local()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            until = time.monotonic() + PATIENCE
            while not condition():  # joining another's flight notifies nobody
                self.changed.wait(0.0005)
                assert time.monotonic() < until, "a thread hangs"

    def compute(self, key: int) -> Any:
        value, gate = (key, self.invalidated[key]), concurrent.futures.Future[None]()
        with self.changed:
            assert value not in self.running, "two computations of one key at a time"
            self.running.append(value)
            self.gates.append((key, gate))
            self.own.state.append("computes")
            self.changed.notify_all()
        try:
            gate.result(PATIENCE)
        finally:
            with self.changed:
                self.running.remove(value)
        return value

    def ask(self, key: int) -> None:
        asked, state, joined = self.invalidated[key], list[str](), self.cache.stats().coalesced

        def caller() -> None:
            self.own.state = state
            try:
                outcome = self.ask_for(key)
            except BaseException as error:  # noqa: BLE001 - the outcome
                outcome = error
            try:
                if not isinstance(outcome, Interrupted):
                    self.check_outcome(key, asked, outcome)
                else:
                    assert state == ["computes"], "an interrupt reached another thread"
            except AssertionError as error:
                self.errors.append(error)
            with self.changed:
                state.append("done")
                self.changed.notify_all()

        self.callers.append(threading.Thread(target=caller, daemon=True))
        self.callers[-1].start()
        self.wait_until(lambda: bool(state) or self.cache.stats().coalesced > joined)

    def release(self, what: int, kind: Any) -> None:
        with self.changed:
            if not self.gates:
                return
            key, gate = self.gates.pop(what % len(self.gates))
        if kind is None:
            gate.set_result(None)
        else:
            gate.set_exception(kind(key))

    def interrupt(self, what: int) -> None:
        self.release(what, Interrupted)

    def done(self) -> bool:
        while self.gates:
            self.finish(0)
        return not any(caller.is_alive() for caller in self.callers)


@pytest.mark.parametrize("policy", ["gdsf", "lru", "value"])
def test_every_waiting_thread_gets_what_it_may_and_none_hangs(policy: Policy) -> None:
    @seed(3)
    @settings(max_examples=100, deadline=None, database=None)
    @given(schedules("interrupt"))
    def examples(schedule: list[tuple[str, int]]) -> None:
        threads = ThreadSchedule(policy)
        for _ in threads.play(schedule):
            assert threads.errors == []
        threads.wait_until(threads.done)
        assert threads.errors == []
        assert not threads.cache._store.flights
        assert not threads.running
        assert threads.cache.stats().lookups == len(threads.callers)
        check(threads.cache)

    examples()
