"""Random schedules against a model: invariants after every step, for each policy."""

import asyncio
import math
from typing import Any, Literal

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from pytest_agentperf.reference.cache import TABLE, Cache, cached

Policy = Literal["gdsf", "lru", "value"]
KEYS = st.integers(0, 7)


def check(cache: Cache) -> None:
    """What must hold whenever no call of the cache is under way."""
    alive = [entry for entry in cache._policy.heap if entry[TABLE] is not None]
    assert cache._size == len(alive) <= cache.max_size
    for entry in alive:
        assert entry[TABLE].entries[entry[2]] is entry
    tables = {id(entry[TABLE]): entry[TABLE] for entry in alive}
    assert sum(len(table.entries) for table in tables.values()) == len(alive)
    heap = cache._policy.heap
    for at in range(1, len(heap)):
        assert heap[(at - 1) // 2][:2] <= heap[at][:2]
    assert len(heap) <= 2 * cache._size + 65
    assert len(cache._deadlines) <= 2 * cache._size + 65
    expiring = {entry[1] for entry in alive if entry[10] < math.inf}
    assert expiring <= {number for _, number, _ in cache._deadlines}
    tagged = {(tag, number) for tag, held in cache._tagged.items() for number in held}
    assert tagged == {(tag, entry[1]) for entry in alive for tag in entry[12]}
    assert cache._trash == []


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


MOVES = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, 3)),
    st.tuples(st.just("ask"), st.integers(0, 3)),
    st.tuples(st.just("finish"), st.integers(0, 20)),
    st.tuples(st.just("fail"), st.integers(0, 20)),
    st.tuples(st.just("break"), st.integers(0, 20)),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
    st.tuples(st.just("kill"), st.integers(0, 20)),
    st.tuples(st.just("invalidate"), st.integers(0, 3)),
    st.tuples(st.just("clear"), st.just(0)),
    st.tuples(st.just("tick"), st.integers(1, 8)),
    st.tuples(st.just("turn"), st.just(0)),
)


@pytest.mark.parametrize("policy", ["gdsf", "lru", "value"])
def test_every_waiter_settles_and_no_task_leaks(policy: Policy) -> None:
    @seed(2)
    @settings(max_examples=150, deadline=None, database=None)
    @given(st.lists(MOVES, min_size=15, max_size=60))
    def run(moves: list[tuple[str, int]]) -> None:
        asyncio.run(play(policy, moves))

    run()


async def play(  # noqa: C901, PLR0912, PLR0915 - a schedule, step by step
    policy: Policy, moves: list[tuple[str, int]]
) -> None:
    now = 0.0
    noise = list[Any]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    cache = Cache(2, ttl=5, policy=policy, clock=lambda: now, uniform=lambda: 0.6)
    open_calls: list[tuple[int, asyncio.Future[str]]] = []
    running = dict[int, int]()
    overlaps = 0

    @cached(cache, early=0.5, stale_if_error=3, errors={ValueError: 2})
    async def ask(key: int) -> str:
        nonlocal overlaps
        gate = asyncio.get_running_loop().create_future()
        open_calls.append((key, gate))
        running[key] = running.get(key, 0) + 1
        overlaps += running[key] > 1
        try:
            return str(await gate)
        finally:
            running[key] -= 1
            open_calls.remove((key, gate))

    callers = list[asyncio.Task[str]]()
    invalidated = cancelled = False
    for move, what in moves:
        calls = [(key, gate) for key, gate in open_calls if not gate.done()]
        if move == "ask":
            callers.append(asyncio.ensure_future(ask(what)))
        elif move in ("finish", "fail", "break") and calls:
            key, gate = calls[what % len(calls)]
            if move == "finish":
                gate.set_result(f"value {key}")
            else:
                gate.set_exception(ValueError(key) if move == "fail" else OSError(key))
        elif move == "cancel" and callers:
            callers[what % len(callers)].cancel()
            cancelled = True
        elif move == "kill" and calls:
            calls[what % len(calls)][1].cancel()
        elif move == "invalidate":
            ask.invalidate(what)
            invalidated = True
        elif move == "clear":
            cache.clear()
            invalidated = True
        elif move == "tick":
            now += what
        else:
            await asyncio.sleep(0)
        check(cache)
    for _ in range(10):
        await asyncio.sleep(0)
        for key, gate in open_calls:
            if not gate.done():
                gate.set_result(f"value {key}")
    assert all(caller.done() for caller in callers)
    assert overlaps == 0 or invalidated or cancelled  # one computation a key
    for caller in callers:
        if not caller.cancelled() and caller.exception() is None:
            assert caller.result().startswith("value ")
    assert not cache._flights
    assert not cache._tasks
    assert asyncio.all_tasks() == {asyncio.current_task()}
    check(cache)
    stats = cache.stats()
    assert stats.lookups <= len(callers)  # a caller cancelled before it ran looked nothing up
    if not cancelled:
        assert stats.lookups == len(callers)
    assert noise == []
