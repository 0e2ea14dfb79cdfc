"""Counts: each counted call belongs to the call in flight that made it."""

import asyncio
import contextvars
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.measure.counting import CallCounts, Counters


@pytest.fixture
def counters() -> Counters:
    counters = Counters()
    counters.metrics["tool_calls"] = None
    return counters


def in_new_thread(work: Callable[[], None]) -> None:
    """Run *work* in a thread that inherits no context."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_count_belongs_to_the_active_call(counters: Counters) -> None:
    one, two = counters.open(), counters.open()
    with counters.active(one):
        counters.count("tool_calls")
        counters.count("retries")
        counters.count("tool_calls")
    assert one.numbers == {"tool_calls": 2, "retries": 1}
    assert two.numbers == {}
    assert counters.outside == 0


def test_count_of_a_nested_call_belongs_to_its_parents_too(counters: Counters) -> None:
    outer = counters.open()
    with counters.active(outer):
        inner = counters.open()
        counters.count("tool_calls")
        with counters.active(inner):
            counters.count("tool_calls")
        counters.count("tool_calls")
    assert inner.parent is outer
    assert inner.numbers == {"tool_calls": 1}
    assert outer.numbers == {"tool_calls": 3}


def test_count_outside_of_any_call_is_counted_apart(counters: Counters) -> None:
    counters.count("tool_calls")
    assert counters.outside == 1


def test_count_after_the_call_was_closed_is_counted_apart(counters: Counters) -> None:
    call = counters.open()
    counters.close(call)
    counters.count("tool_calls")
    assert (counters.outside, call.numbers) == (1, {})


def test_count_of_a_foreign_thread_belongs_to_the_only_call_in_flight(counters: Counters) -> None:
    call = counters.open()
    with counters.active(call):
        in_new_thread(lambda: counters.count("tool_calls"))
    assert call.numbers == {"tool_calls": 1}


def test_count_of_a_foreign_thread_is_outside_when_two_calls_are_in_flight(
    counters: Counters,
) -> None:
    one, two = counters.open(), counters.open()
    with counters.active(one):
        in_new_thread(lambda: counters.count("tool_calls"))
    assert (counters.outside, one.numbers, two.numbers) == (1, {}, {})


def test_active_restores_the_call_around_it(counters: Counters) -> None:
    outer, inner = counters.open(), counters.open()
    with counters.active(outer):
        with pytest.raises(KeyError), counters.active(inner):
            raise KeyError
        counters.count("tool_calls")
    counters.count("tool_calls")
    assert outer.numbers == {"tool_calls": 1}
    assert inner.numbers == {}
    assert counters.outside == 1


def test_active_of_a_call_that_counts_nothing_changes_nothing(counters: Counters) -> None:
    before = contextvars.copy_context()
    with counters.active(None):
        assert contextvars.copy_context() == before
        counters.count("tool_calls")
    assert counters.outside == 1


async def counted_tasks(counters: Counters, calls: int) -> list[CallCounts]:
    """Make *calls* calls at once; the n-th counts n times, between those of the others."""
    ready = asyncio.Barrier(calls)

    async def call(number: int) -> CallCounts:
        counts = counters.open()
        with counters.active(counts):
            await ready.wait()
            for _ in range(number):
                counters.count("tool_calls")
                await asyncio.sleep(0)
        counters.close(counts)
        return counts

    return await asyncio.gather(*(call(number) for number in range(calls)))


@pytest.mark.asyncio
async def test_counts_of_concurrent_tasks_are_told_apart(counters: Counters) -> None:
    found = await counted_tasks(counters, 10)
    assert [counts.numbers.get("tool_calls", 0) for counts in found] == list(range(10))
    assert counters.outside == 0


@pytest.mark.asyncio
async def test_count_in_a_subtask_belongs_to_the_call_that_started_it(counters: Counters) -> None:
    async def tool() -> None:
        counters.count("tool_calls")

    one, two = counters.open(), counters.open()
    with counters.active(one):
        tasks = [asyncio.create_task(tool()) for _ in range(3)]
    with counters.active(two):
        await asyncio.gather(*tasks)
        await asyncio.gather(tool(), tool())
    assert one.numbers == {"tool_calls": 3}
    assert two.numbers == {"tool_calls": 2}


@pytest.mark.asyncio
async def test_counts_of_to_thread_belong_to_the_call_that_waits(counters: Counters) -> None:
    one, two = counters.open(), counters.open()
    with counters.active(one):
        await asyncio.to_thread(counters.count, "tool_calls")
    with counters.active(two):
        await asyncio.gather(*(asyncio.to_thread(counters.count, "tool_calls") for _ in range(2)))
    assert one.numbers == {"tool_calls": 1}
    assert two.numbers == {"tool_calls": 2}


@given(st.lists(st.integers(0, 4), max_size=40), st.lists(st.integers(-1, 3), min_size=5))
def test_counts_belong_to_their_call_in_any_order(steps: list[int], parents: list[int]) -> None:
    """Each step is a count of one of five calls, the k-th opened inside of an earlier one."""
    counters = Counters()
    calls: list[CallCounts] = []
    for number in range(5):
        parent = parents[number]
        with counters.active(calls[parent] if 0 <= parent < number else None):
            calls.append(counters.open())
    for step in steps:
        with counters.active(calls[step]):
            counters.count("llm_calls")

    def is_within(inner: CallCounts | None, outer: CallCounts) -> bool:
        return inner is outer or (inner is not None and is_within(inner.parent, outer))

    for call in calls:
        expected = sum(is_within(calls[step], call) for step in steps)
        assert call.numbers.get("llm_calls", 0) == expected
    assert counters.outside == 0


@given(st.data())
def test_counts_of_interleaved_tasks_are_told_apart(data: st.DataObject) -> None:
    """Contexts take turns in random order, as tasks of a loop do."""
    counters = Counters()
    wanted = data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=6))
    turns = [number for number, times in enumerate(wanted) for _ in range(times)]
    order = data.draw(st.permutations(turns))
    contexts = [contextvars.copy_context() for _ in wanted]
    calls = [counters.open() for _ in wanted]
    blocks = [counters.active(call) for call in calls]
    for context, block in zip(contexts, blocks, strict=True):
        context.run(block.__enter__)
    for turn in order:
        contexts[turn].run(counters.count, "tool_calls")
    for context, block in zip(contexts, blocks, strict=True):
        context.run(block.__exit__, None, None, None)
    assert [call.numbers.get("tool_calls", 0) for call in calls] == wanted
    assert counters.outside == 0
