"""Single-flight: what concurrent callers of one key get, in threads and in tasks."""

import asyncio
import contextvars
import gc
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pytest_agentperf.reference.cache import Cache, cached

PATIENCE = 10.0


class Gate:
    """An async computation that logs its start and end and waits to be let through."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.open = asyncio.Event()
        self.error: BaseException | None = None

    async def __call__(self, key: str) -> str:
        self.events.append(f"start {key}")
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.events.append(f"cancelled {key}")
            raise
        self.events.append(f"end {key}")
        if self.error is not None:
            raise self.error
        return key.upper()


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


def shown(outcomes: list[Any]) -> list[str]:
    return [str(each) if isinstance(each, str) else type(each).__name__ for each in outcomes]


def idle(cache: Cache) -> bool:
    return not (cache._store.flights or cache._tasks)


@asynccontextmanager
async def callers(
    ask: Callable[[str], Any], count: int, key: str = "a"
) -> AsyncIterator[list["asyncio.Task[str]"]]:
    tasks = [asyncio.ensure_future(ask(key)) for _ in range(count)]
    await turns()
    yield tasks
    assert all(task.done() for task in tasks)


def run_in_threads(count: int, call: Callable[[], Any], started: Callable[[], bool]) -> list[Any]:
    """Start *count* callers; return their results or exceptions, once `started` let them end."""

    def outcome() -> Any:
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - the outcome
            return error

    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(outcome) for _ in range(count)]
        while not started():
            threading.Event().wait(0.001)
        return [future.result(PATIENCE) for future in futures]


# threads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [None, ValueError("down")])
def test_eight_threads_make_one_call_and_share_its_outcome(error: Exception | None) -> None:
    calls = list[str]()
    go = threading.Event()

    @cached()
    def ask(key: str) -> str:
        calls.append(key)
        assert go.wait(PATIENCE)
        if error is not None:
            raise error
        return key.upper()

    def all_joined() -> bool:
        if ask.stats().coalesced == 7:
            go.set()
        return go.is_set()

    outcomes = run_in_threads(8, lambda: ask("a"), all_joined)
    assert calls == ["a"]
    assert outcomes == [error or "A"] * 8
    stats = ask.stats()
    assert (stats.misses, stats.coalesced, stats.errors) == (8, 7, int(error is not None))
    assert idle(ask.cache)


def test_an_exception_is_not_cached_and_does_not_block_the_key() -> None:
    outcomes: Iterator[Any] = iter([ValueError("down"), 5])

    @cached()
    def ask(_key: str) -> int:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return int(outcome)

    with pytest.raises(ValueError, match="down"):
        ask("a")
    assert ask("a") == 5


def test_followers_of_an_interrupted_leader_start_anew() -> None:
    calls = list[int]()
    go = threading.Event()

    @cached()
    def ask(_key: str) -> int:
        calls.append(len(calls))
        if len(calls) == 1:
            assert go.wait(PATIENCE)
            raise KeyboardInterrupt
        return 5

    found = list[object]()

    def lead() -> None:
        try:
            ask("a")
        except KeyboardInterrupt:
            found.append("interrupted")

    threads = [threading.Thread(target=lead)]
    threads[0].start()
    while not calls:
        threading.Event().wait(0.001)
    threads.append(threading.Thread(target=lambda: found.append(ask("a"))))
    threads[1].start()
    while not ask.stats().coalesced:
        threading.Event().wait(0.001)
    go.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(map(str, found)) == ["5", "interrupted"]
    assert (ask.stats().misses, calls) == (2, [0, 1])


def test_a_thread_that_enters_its_own_computation_computes_directly() -> None:
    depth = 0

    @cached()
    def ask(key: str) -> str:
        nonlocal depth
        depth += 1
        return ask(key) + "!" if depth == 1 else key

    assert ask("a") == "a!"
    assert idle(ask.cache)


def test_two_threads_that_need_each_others_key_do_not_deadlock() -> None:
    both = threading.Barrier(2)
    waiting = threading.local()

    @cached()
    def ask(key: str) -> str:
        if getattr(waiting, "inside", False):
            return key
        waiting.inside = True
        both.wait(PATIENCE)
        return key + ask("b" if key == "a" else "a")

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(ask, key) for key in "ab"]
        found = sorted(future.result(PATIENCE) for future in futures)
    assert found in (["ab", "ba"], ["aba", "ba"], ["ab", "bab"])
    assert idle(ask.cache)


def test_threads_lose_no_value_and_mix_up_none() -> None:
    cache = Cache(50)

    @cached(cache)
    def double(number: int) -> int:
        return 2 * number

    def work(seed: int) -> bool:
        return all(double(key) == 2 * key for key in range(seed, 3_000) for key in (key % 97,))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert len(cache) == 50
    assert idle(cache)


# tasks ----------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_twenty_tasks_make_one_call() -> None:
    gate = Gate()
    ask = cached()(gate.__call__)
    async with callers(ask, 20) as tasks:
        assert gate.events == ["start a"]
        gate.open.set()
        assert await asyncio.gather(*tasks) == ["A"] * 20
    assert gate.events == ["start a", "end a"]
    stats = ask.stats()
    assert (stats.misses, stats.coalesced, stats.computations) == (20, 19, 1)
    assert idle(ask.cache)


@pytest.mark.asyncio
async def test_an_exception_reaches_all_waiters_and_is_not_cached() -> None:
    gate = Gate()
    gate.error = ValueError("down")
    ask = cached()(gate.__call__)
    async with callers(ask, 3) as tasks:
        gate.open.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [repr(each) for each in outcomes] == ["ValueError('down')"] * 3
    gate.error = None
    assert await ask("a") == "A"
    assert gate.events == ["start a", "end a", "start a", "end a"]


@pytest.mark.asyncio
async def test_a_cancelled_leader_leaves_the_computation_to_its_followers() -> None:
    gate = Gate()
    ask = cached()(gate.__call__)
    async with callers(ask, 4) as tasks:
        tasks[0].cancel()
        await turns()
        assert tasks[0].cancelled()
        gate.open.set()
        assert await asyncio.gather(*tasks[1:]) == ["A"] * 3
    assert gate.events == ["start a", "end a"]
    assert await ask("a") == "A"
    assert ask.stats().hits == 1


@pytest.mark.asyncio
async def test_a_cancelled_follower_leaves_the_others_alone() -> None:
    gate = Gate()
    ask = cached()(gate.__call__)
    async with callers(ask, 3) as tasks:
        tasks[1].cancel()
        await turns()
        gate.open.set()
        assert [await tasks[0], await tasks[2]] == ["A", "A"]
    assert gate.events == ["start a", "end a"]


@pytest.mark.asyncio
async def test_the_last_waiters_cancellation_cancels_the_computation() -> None:
    gate = Gate()
    ask = cached()(gate.__call__)
    async with callers(ask, 2) as tasks:
        for task in tasks:
            task.cancel()
            await turns()
    assert gate.events == ["start a", "cancelled a"]
    assert idle(ask.cache)
    assert len(ask.cache) == 0


@pytest.mark.asyncio
async def test_nobody_joins_a_computation_that_is_being_cancelled() -> None:
    gate = Gate()
    ask = cached()(gate.__call__)
    first = asyncio.ensure_future(ask("a"))
    await turns()
    first.cancel()
    await asyncio.sleep(0)  # the caller is gone, its computation not yet
    second = asyncio.ensure_future(ask("a"))
    await turns()
    gate.open.set()
    assert await second == "A"
    assert gate.events == ["start a", "cancelled a", "start a", "end a"]
    assert first.cancelled()


@pytest.mark.asyncio
async def test_waiters_settle_when_the_task_is_cancelled_before_its_first_step() -> None:
    gate = Gate()
    ask = cached()(gate.__call__)
    waiter = asyncio.ensure_future(ask("a"))
    await asyncio.sleep(0)
    for task in ask.cache._tasks:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiter, PATIENCE)
    assert gate.events == []
    assert idle(ask.cache)


@pytest.mark.asyncio
async def test_followers_of_a_computation_that_cancels_itself_start_anew() -> None:
    gate = Gate()
    gate.error = asyncio.CancelledError()
    ask = cached()(gate.__call__)
    async with callers(ask, 3) as tasks:
        gate.open.set()
        await asyncio.sleep(0)
        gate.error = None
        found = await asyncio.gather(*tasks, return_exceptions=True)
    assert shown(found) == ["CancelledError", "A", "A"]
    assert gate.events == ["start a", "end a"] * 2
    assert (ask.stats().misses, ask.stats().coalesced) == (3, 2)
    assert idle(ask.cache)


@pytest.mark.asyncio
async def test_a_cancelled_computation_that_goes_on_stores_nothing() -> None:
    go = asyncio.Event()

    @cached()
    async def ask() -> str:
        try:
            await go.wait()
        except asyncio.CancelledError:
            return "old"
        return "new"

    first = asyncio.ensure_future(ask())
    await turns()
    first.cancel()
    await turns()
    assert len(ask.cache) == 0
    go.set()
    assert await ask() == "new"


@pytest.mark.asyncio
async def test_cancel_and_failure_in_the_same_turn_leave_no_unretrieved_exception() -> None:
    noise = list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    gate = Gate()
    gate.error = ValueError("down")
    ask = cached()(gate.__call__)
    async with callers(ask, 2) as tasks:
        gate.open.set()
        await asyncio.sleep(0)
        tasks[0].cancel()
        await turns()
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    del tasks
    gc.collect()
    assert noise == []


@pytest.mark.asyncio
async def test_a_task_that_enters_its_own_computation_computes_directly() -> None:
    depth = 0

    @cached()
    async def ask(key: str) -> str:
        nonlocal depth
        depth += 1
        if depth == 1:
            return (await asyncio.gather(ask(key)))[0] + "!"  # from a child task
        return key

    assert await asyncio.wait_for(ask("a"), PATIENCE) == "a!"
    assert idle(ask.cache)


@pytest.mark.asyncio
async def test_two_tasks_that_need_each_others_key_do_not_deadlock() -> None:
    inside = contextvars.ContextVar("inside", default=0)

    @cached()
    async def ask(key: str) -> str:
        if inside.get() == 2:
            return key
        inside.set(inside.get() + 1)
        await asyncio.sleep(0)
        return key + await ask("b" if key == "a" else "a")

    found: Any = await asyncio.wait_for(asyncio.gather(ask("a"), ask("b")), PATIENCE)
    assert {text[0] for text in found} == {"a", "b"}
    assert idle(ask.cache)


@pytest.mark.asyncio
async def test_computations_that_share_others_make_each_once() -> None:
    """A search for deadlocks that walked every path would take 10²⁰ steps."""

    @cached()
    async def fibonacci(n: int) -> int:
        if n < 2:
            return n
        await asyncio.sleep(0)
        one, two = await asyncio.gather(fibonacci(n - 1), fibonacci(n - 2))
        return int(one + two)

    assert await asyncio.wait_for(fibonacci(100), PATIENCE) == 354224848179261915075
    stats = fibonacci.stats()
    assert stats.computations == stats.size == 101
    assert idle(fibonacci.cache)


@pytest.mark.asyncio
async def test_a_long_computation_does_not_collect_those_it_has_waited_for() -> None:
    most = 0

    @cached()
    async def tool(_number: int) -> None:
        nonlocal most
        flights = agent.cache._store.flights.values()
        most = max(most, *(len(flight.waits_for) for flight in flights))

    @cached()
    async def agent() -> None:
        for number in range(50):
            await tool(number)

    await agent()
    assert most == 1


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
@pytest.mark.asyncio
async def test_single_flight_holds_with_eager_tasks() -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]
    gate = Gate()
    ask = cached()(gate.__call__)
    async with callers(ask, 4) as tasks:
        assert gate.events == ["start a"]
        tasks[0].cancel()
        await turns()
        gate.open.set()
        assert await asyncio.gather(*tasks[1:]) == ["A"] * 3
    async with callers(ask, 2, "b") as tasks:  # ends in its first step
        assert await asyncio.gather(*tasks) == ["B"] * 2
    gate.open.clear()
    async with callers(ask, 2, "c") as tasks:
        for task in tasks:
            task.cancel()
        await turns()
    assert gate.events == ["start a", "end a", "start b", "end b", "start c", "cancelled c"]
    assert idle(ask.cache)


@pytest.mark.asyncio
async def test_the_computation_runs_in_the_callers_context() -> None:
    user = contextvars.ContextVar("user", default="nobody")

    @cached()
    async def ask() -> str:
        return user.get()

    user.set("somebody")
    assert await ask() == "somebody"


def test_values_survive_event_loops() -> None:
    calls = list[str]()

    @cached()
    async def ask(key: str) -> str:
        calls.append(key)
        await asyncio.sleep(0)
        return key

    assert run(ask("a")) == "a"
    assert run(ask("a")) == "a"
    assert calls == ["a"]


def test_a_loop_closed_during_a_flight_does_not_block_the_next_loop() -> None:
    calls = list[str]()

    @cached()
    async def ask(key: str) -> str:
        calls.append(key)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return key

    loop = asyncio.new_event_loop()
    tasks: list[Any] = [loop.create_task(ask("a"))]
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    tasks += ask.cache._tasks
    loop.close()
    assert run(ask("a")) == "a"
    assert calls == ["a", "a"]
    assert not ask.cache._store.flights
    for task in tasks:
        task._log_destroy_pending = False
        task.get_coro().close()


def test_two_loops_in_two_threads_compute_once_each() -> None:
    calls = list[str]()
    both = threading.Barrier(2)

    @cached()
    async def ask(key: str) -> str:
        calls.append(key)
        await asyncio.get_running_loop().run_in_executor(None, both.wait, PATIENCE)
        return key

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda key: run(ask(key)), "aa"))
    assert found == calls == ["a", "a"]
    assert idle(ask.cache)


# invalidation and refresh during a flight -----------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["argument", "glob", "tag", "clear"])
async def test_what_is_invalidated_during_its_computation_is_not_stored(how: str) -> None:
    gate = Gate()
    ask = cached(tags=["t"])(gate.__call__)
    async with callers(ask, 2) as tasks:
        removed: dict[str, Callable[[], object]] = {
            "argument": lambda: ask.invalidate("a"),
            "glob": lambda: ask.cache.invalidate("*:a"),
            "tag": lambda: ask.cache.invalidate_tag("t"),
            "clear": ask.cache.clear,
        }
        removed[how]()
        late = asyncio.ensure_future(ask("a"))  # must not get the value of before
        await turns()
        assert gate.events == ["start a", "start a"]
        late.cancel()
        await turns()
        gate.open.set()
        assert await asyncio.gather(*tasks) == ["A", "A"]
    assert len(ask.cache) == 0


@pytest.mark.asyncio
async def test_a_value_set_during_the_computation_is_not_overwritten() -> None:
    gate = Gate()
    cache = Cache()
    task = asyncio.ensure_future(cache.aget_or_compute("a", lambda: gate("a")))
    await turns()
    cache.set("a", "newer")
    gate.open.set()
    assert await task == "A"
    assert cache.get("a") == "newer"


@pytest.mark.asyncio
async def test_an_early_refresh_runs_behind_the_callers_back() -> None:
    now = 0.0
    events = list[str]()
    cache = Cache(ttl=100, clock=lambda: now, uniform=lambda: 1.0 - 0.3679)

    @cached(cache, early=5.0)
    async def ask() -> float:
        nonlocal now
        events.append("compute")
        now += 1.0
        return now

    assert await ask() == 1.0
    now = 99.0
    assert [await ask(), await ask()] == [1.0, 1.0]
    assert events == ["compute"]
    await turns()
    assert events == ["compute", "compute"]
    assert await ask() == 100.0
    assert cache.stats().refreshes == 1
    assert idle(cache)


@pytest.mark.asyncio
async def test_a_failed_refresh_is_counted_and_keeps_the_value() -> None:
    now = 0.0
    cache = Cache(ttl=100, clock=lambda: now, uniform=lambda: 1.0 - 0.3679)
    is_down = False

    @cached(cache, early=5.0)
    async def ask() -> float:
        nonlocal now
        now += 1.0
        if is_down:
            raise ValueError("down")
        return now

    await ask()
    is_down, now = True, 99.0
    assert await ask() == 1.0
    await turns()
    assert await ask() == 1.0
    assert (cache.stats().errors, cache.stats().refreshes, cache.stats().misses) == (1, 1, 1)


@pytest.mark.asyncio
@pytest.mark.parametrize("outcome", ["value", "failure", "nobody waits", "invalidated"])
async def test_who_asks_after_expiry_joins_the_refresh_under_way(outcome: str) -> None:
    now = 0.0
    gate = Gate()
    cache = Cache(ttl=100, clock=lambda: now, uniform=lambda: 1.0 - 0.3679)

    @cached(cache, early=5.0)
    async def ask(key: str) -> str:
        nonlocal now
        now += 1.0
        return await gate(key) + str(now)

    gate.open.set()
    assert await ask("a") == "A1.0"
    gate.open.clear()
    now = 99.0
    assert await ask("a") == "A1.0"  # and refreshes
    await turns()
    now = 150.0
    async with callers(ask, 2) as tasks:
        if outcome == "failure":
            gate.error = ValueError("down")
        if outcome == "nobody waits":
            for task in tasks:
                task.cancel()
            await turns()
        if outcome == "invalidated":
            ask.invalidate("a")
        gate.open.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
    expected = {"failure": "ValueError", "nobody waits": "CancelledError"}
    assert shown(found) == [expected.get(outcome, "A150.0")] * 2
    await turns()
    assert gate.events == ["start a", "end a"] * 2
    assert len(cache) == (outcome in ("value", "nobody waits"))
    assert (cache.stats().refreshes, cache.stats().misses, cache.stats().coalesced) == (1, 3, 2)
    assert idle(cache)


@pytest.mark.asyncio
async def test_a_stale_value_reaches_all_waiters_of_a_failing_computation() -> None:
    now = 0.0
    gate = Gate()
    gate.open.set()
    ask = cached(ttl=10, stale_if_error=10, clock=lambda: now)(gate.__call__)
    await ask("a")
    now, gate.error = 15.0, ValueError("down")
    gate.open.clear()
    async with callers(ask, 3) as tasks:
        gate.open.set()
        assert await asyncio.gather(*tasks) == ["A"] * 3
    assert (ask.stats().stale, ask.stats().errors) == (3, 1)


def test_get_or_compute_shares_its_table_with_get_and_set() -> None:
    cache = Cache()
    assert cache.get_or_compute("a", lambda: 5) == 5
    assert cache.get_or_compute("a", lambda: 6) == 5
    assert cache.get("a") == 5


@pytest.mark.asyncio
async def test_idle_caches_put_nothing_on_the_loop() -> None:
    loop: Any = asyncio.get_running_loop()
    caches = [cached(ttl=1, early=1.0, stale_if_error=1)(Gate().__call__) for _ in range(10)]
    for ask in caches:
        gate = ask.__wrapped__.__self__  # type: ignore[attr-defined]
        gate.open.set()
        await ask("a")
    await turns()
    assert loop._scheduled == []
    assert asyncio.all_tasks() == {asyncio.current_task()}
