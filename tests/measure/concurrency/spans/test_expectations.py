"""Expectations: what holds, what does not, and what is said of what happened instead."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.concurrency.spans.expectations import (
    max_in_flight,
    never_full,
    overlap,
    parallel,
)
from pytest_agentperf.measure.concurrency.spans.recorder import SpanRecorder

from .virtual_loop import now, run


class Agent:
    """The agent of an orchestrator that calls three others, of 300, 200 and 150 ms."""

    SECONDS = {"search": 0.3, "index": 0.2, "storage": 0.15}  # noqa: RUF012 -- never changed

    async def search(self, query: str = "q") -> str:
        return await self.reply("search")

    async def index(self, query: str = "q") -> str:
        return await self.reply("index")

    async def storage(self, query: str = "q") -> str:
        return await self.reply("storage")

    async def reply(self, name: str) -> str:
        await asyncio.sleep(self.SECONDS[name])
        return f"{name} replies"

    async def ask_in_turn(self) -> None:
        await self.search()
        await self.index()
        await self.storage()

    async def ask_at_once(self) -> None:
        await asyncio.gather(self.search(), self.index(), self.storage())


def watched(
    work: Callable[[SpanRecorder, Agent], Awaitable[object]], **options: Any
) -> SpanRecorder:
    """Return what was recorded of *work* from the virtual time 10 on."""

    async def main() -> SpanRecorder:
        await asyncio.sleep(10)
        recorder, agent = SpanRecorder(now, **options), Agent()
        for method in ("search", "index", "storage"):
            recorder.track(agent, method)
        await work(recorder, agent)
        recorder.stop()
        return recorder

    return run(main)


def nothing(recorder: SpanRecorder, agent: Agent) -> Awaitable[None]:
    return asyncio.sleep(0)


IN_TURN = watched(lambda _, agent: agent.ask_in_turn())
AT_ONCE = watched(lambda _, agent: agent.ask_at_once())


# parallel


def test_sequential_calls_of_650_ms_have_a_parallelism_of_one_and_could_take_300() -> None:
    assert parallel(IN_TURN, 1) == ""
    assert parallel(IN_TURN, 2.0) == (
        "parallelism was 1.00, expected at least 2: 650 ms of work took 650 ms; the critical path"
        " is search 300 ms, index 200 ms, storage 150 ms; begun as soon as what they need was"
        " there, the calls take 300 ms"
    )


def test_the_same_calls_at_once_take_300_ms_and_have_a_parallelism_of_650_by_300() -> None:
    assert AT_ONCE.totals.wall == pytest.approx(0.3)
    assert AT_ONCE.totals.parallelism == pytest.approx(650 / 300)
    assert parallel(AT_ONCE, 2.0) == ""
    assert parallel(AT_ONCE, 650 / 300 - 1e-9) == ""
    assert parallel(AT_ONCE, 2.5).startswith("parallelism was 2.17, expected at least 2.5: 650 ms")


def test_a_long_critical_path_is_told_by_its_longest_steps() -> None:
    async def work(recorder: SpanRecorder, agent: Agent) -> None:
        for name in range(8):
            async with recorder.span(f"step {name}"):
                await asyncio.sleep(1 + name)

    assert (
        "is step 3 4 s, step 4 5 s, step 5 6 s, step 6 7 s, step 7 8 s and 3 shorter steps;"
        in parallel(watched(work), 2)
    )


@pytest.mark.parametrize("minimum", [0.99, 0, -1, "2", None, True, float("nan")])
def test_parallelism_below_one_is_no_expectation(minimum: Any) -> None:
    with pytest.raises(UsageError, match="expected a number of 1 or more"):
        parallel(AT_ONCE, minimum)


# in flight


def searches(*delays: float) -> SpanRecorder:
    async def later(agent: Agent, delay: float) -> None:
        await asyncio.sleep(delay)
        await agent.search()

    return watched(lambda _, agent: asyncio.gather(*(later(agent, each) for each in delays)))


def test_calls_in_flight_up_to_the_limit_hold() -> None:
    recorder = searches(0, 0.1, 0.2)
    assert max_in_flight(recorder, 3) == ""
    assert max_in_flight(recorder, 3, "search") == ""
    assert max_in_flight(AT_ONCE, 1) == ""  # each name for itself


def test_calls_in_flight_beyond_the_limit_are_told_with_the_moment_and_their_beginnings() -> None:
    message = max_in_flight(searches(0, 0.1, 0.25, 0.5), 2)
    assert message.startswith(
        "3 calls of search were in flight at 250 ms, begun at 0 s, 100 ms, 250 ms ("
    )
    assert message.endswith("in later: await agent.search()); expected at most 2")
    assert max_in_flight(searches(0, 0.1, 0.25, 0.5), 2, "search") == message


def test_of_several_names_the_one_most_in_flight_is_told() -> None:
    recorder = watched(
        lambda _, agent: asyncio.gather(*(agent.index() for _ in range(20)), agent.search())
    )
    message = max_in_flight(recorder, 10)
    assert message.startswith("20 calls of index were in flight at 0 s, begun at 0 s, 0 s,")
    assert ", 0 s, 4 more until then (" in message
    assert max_in_flight(recorder, 10, "search") == ""


def test_a_semaphore_that_was_never_full_is_told_with_how_full_it_was() -> None:
    recorder = searches(0, 0.1, 0.25, 0.5)
    assert never_full(recorder, "search", 3) == ""
    message = never_full(recorder, "search", 8)
    assert message.startswith(
        "at most 3 of 8 were used: 3 calls of search were in flight at 250 ms, begun at 0 s,"
    )
    assert message.endswith("; expected 8 at some moment")
    assert never_full(recorder, "search", 4) != ""


@pytest.mark.parametrize("limit", [0, -1, 1.5, "3", None, True])
def test_a_limit_is_a_whole_number_of_one_or_more(limit: Any) -> None:
    with pytest.raises(UsageError, match="expected a whole number of 1 or more"):
        max_in_flight(AT_ONCE, limit)
    with pytest.raises(UsageError, match="expected a whole number of 1 or more"):
        never_full(AT_ONCE, "search", limit)


# overlap


def test_calls_at_once_overlap() -> None:
    assert overlap(AT_ONCE, "search", "index", "storage") == ""
    assert overlap(AT_ONCE, "storage", "search") == ""


def test_calls_in_turn_are_told_with_the_time_by_which_they_missed_each_other() -> None:
    assert overlap(IN_TURN, "search", "index") == (
        "search and index did not overlap: index began 0 s after search had ended (search from 0 s"
        " to 300 ms, index from 300 ms to 500 ms)"
    )
    assert overlap(IN_TURN, "index", "storage", "search") == (
        "search, index and storage did not overlap: storage began 0 s after index had ended and"
        " index began 0 s after search had ended (search from 0 s to 300 ms, index from 300 ms to"
        " 500 ms, storage from 500 ms to 650 ms)"
    )


def test_calls_with_a_gap_are_told_with_it() -> None:
    async def work(recorder: SpanRecorder, agent: Agent) -> None:
        await agent.storage()
        await asyncio.sleep(0.25)
        await agent.index()

    assert "index began 250 ms after storage had ended" in overlap(
        watched(work), "index", "storage"
    )


def test_calls_that_overlap_in_pairs_but_never_all_are_told_so() -> None:
    async def work(recorder: SpanRecorder, agent: Agent) -> None:
        async def late(call: Callable[[], Awaitable[str]], delay: float) -> None:
            await asyncio.sleep(delay)
            await call()

        # storage until 150 ms, search from 100 to 400 ms, index from 200 ms on
        await asyncio.gather(agent.storage(), late(agent.search, 0.1), late(agent.index, 0.2))

    recorder = watched(work)
    assert overlap(recorder, "storage", "search") == ""
    assert overlap(recorder, "search", "index") == ""
    assert overlap(recorder, "search", "index", "storage").startswith(
        "storage, search and index did not overlap: at no moment were all of them in flight ("
    )


def test_in_every_round_calls_must_overlap() -> None:
    async def work(recorder: SpanRecorder, agent: Agent) -> None:
        await agent.ask_at_once()
        await agent.ask_in_turn()
        await agent.ask_at_once()

    message = overlap(watched(work), "search", "index")
    assert "(search from 300 ms to 600 ms, index from 600 ms to 800 ms)" in message


def test_more_calls_of_one_name_need_no_partner_each() -> None:
    async def work(recorder: SpanRecorder, agent: Agent) -> None:
        await agent.search()
        await agent.ask_at_once()
        await agent.search()

    assert overlap(watched(work), "search", "index") == ""


def test_calls_of_another_session_are_no_partners() -> None:
    async def work(recorder: SpanRecorder, agent: Agent) -> None:
        async def session(delay: float) -> None:
            await asyncio.sleep(delay)
            async with recorder.span("session"):
                await agent.search()
                await agent.index()

        await asyncio.gather(session(0), session(0.2))

    recorder = watched(work)
    assert recorder.in_flight_max == {"session": 2, "search": 2, "index": 2}
    assert "index began 0 s after search had ended" in overlap(recorder, "search", "index")


def test_calls_below_other_parents_of_one_session_are_partners() -> None:
    async def work(recorder: SpanRecorder, agent: Agent) -> None:
        async def retrieve() -> None:
            async with recorder.span("retrieve"):
                await agent.search()

        async with recorder.span("session"):
            await asyncio.gather(retrieve(), agent.index())

    assert overlap(watched(work), "search", "index") == ""


@pytest.mark.parametrize("names", [(), ("search",), ("search", "search")])
def test_overlap_needs_two_different_names(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="expected two or more different names"):
        overlap(AT_ONCE, *names)


def test_overlap_of_ten_thousand_calls_is_looked_through() -> None:
    async def work(recorder: SpanRecorder, agent: Agent) -> None:
        for _ in range(3300):
            await agent.ask_at_once()

    assert overlap(watched(work), "search", "index", "storage") == ""


# No data proves nothing


EXPECTATIONS = [
    lambda recorder, name: max_in_flight(recorder, 1, name),
    lambda recorder, name: never_full(recorder, name, 1),
    lambda recorder, name: overlap(recorder, "search", name),
]


@pytest.mark.parametrize("expectation", EXPECTATIONS)
def test_a_name_that_was_never_recorded_is_an_error_that_lists_the_recorded(
    expectation: Callable[[SpanRecorder, str], str],
) -> None:
    with pytest.raises(
        UsageError,
        match=r"no span 'serch' was recorded; expected one of 'search' \(1\), 'index' \(1\)",
    ):
        expectation(AT_ONCE, "serch")


@pytest.mark.parametrize(
    "expectation",
    [
        *(lambda recorder, each=each: each(recorder, "index") for each in EXPECTATIONS),
        lambda recorder: max_in_flight(recorder, 10),
        lambda recorder: parallel(recorder, 1),
    ],
)
def test_expectations_of_nothing_are_errors(expectation: Callable[[SpanRecorder], str]) -> None:
    with pytest.raises(UsageError, match="no span was recorded; track a method"):
        expectation(watched(nothing))


def test_a_name_none_of_which_was_kept_is_an_error() -> None:
    recorder = watched(lambda _, agent: agent.ask_in_turn(), max_spans=2)
    with pytest.raises(
        UsageError, match="no call of storage was kept: the first 2 of 3 spans are kept"
    ):
        overlap(recorder, "search", "storage")
