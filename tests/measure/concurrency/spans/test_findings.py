"""Findings about spans: what is advised, what is counted, and what is left alone."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pytest_agentperf.core.finding import Finding
from pytest_agentperf.measure.concurrency.spans.findings import count_calls, find
from pytest_agentperf.measure.concurrency.spans.recorder import SpanRecorder
from pytest_agentperf.measure.concurrency.spans.serialised import Obstacle
from pytest_agentperf.measure.concurrency.spans.values import UNKNOWN
from pytest_agentperf.measure.frames import Site

from .plans import call
from .virtual_loop import now, run

HERE: Site = (test_code := (lambda: None).__code__, test_code.co_firstlineno)


class Tools:
    """Tools that take 300, 200 and 150 ms and say what they were asked."""

    async def search(self, query: str) -> str:
        await asyncio.sleep(0.3)
        return f"search says apples to {query}"

    async def index(self, query: str) -> str:
        await asyncio.sleep(0.2)
        return f"index says pears to {query}"

    async def storage(self, query: str) -> str:
        await asyncio.sleep(0.15)
        return f"storage says plums to {query}"

    async def fetch(self, page: int) -> dict[str, str]:
        await asyncio.sleep(0.05)
        return {"text": f"page of {'abcdefgh'[page % 8] * 5}"}


def found(
    agent: Callable[[Tools, SpanRecorder], Awaitable[Any]], **options: Any
) -> tuple[Finding, ...]:
    """Return what is found in *agent*, which uses tracked tools in virtual time."""

    async def main() -> SpanRecorder:
        recorder, tools = SpanRecorder(now), Tools()
        for method in ("search", "index", "storage", "fetch"):
            recorder.track(tools, method)
        await agent(tools, recorder)
        recorder.stop()
        return recorder

    return find(run(main).spans, **options)


# Sequential calls


async def in_turn(tools: Tools, recorder: SpanRecorder) -> None:
    await tools.search("Paris")
    await tools.index("Paris")
    await tools.storage("Paris")


async def at_once(tools: Tools, recorder: SpanRecorder) -> None:
    await asyncio.gather(tools.search("Paris"), tools.index("Paris"), tools.storage("Paris"))


def test_calls_in_turn_that_share_no_data_are_found_with_what_a_gather_would_save() -> None:
    (finding,) = found(in_turn)
    assert finding.cause == "sequential"
    assert str(finding).startswith(
        "search (300 ms), index (200 ms) and storage (150 ms) ran one after the other and share no"
        " data: 650 ms that asyncio.gather or a TaskGroup would make 300 ms ("
    )
    assert str(finding).endswith('in in_turn: await tools.search("Paris"))')
    assert finding.place is not None
    assert finding.place.source == 'await tools.search("Paris")'
    assert (finding.name, finding.count) == ("search", 3)
    assert finding.seconds == pytest.approx(0.35)


def test_calls_at_once_are_no_finding() -> None:
    assert found(at_once) == ()


def test_a_call_that_uses_a_result_ends_the_run() -> None:
    async def agent(tools: Tools, recorder: SpanRecorder) -> None:
        await tools.search("Paris")
        hits = await tools.index("Paris")
        await tools.storage(hits)

    (finding,) = found(agent)
    assert str(finding).startswith("search (300 ms) and index (200 ms) ran one after the other")


def test_a_call_that_uses_a_result_through_another_call_ends_the_run() -> None:
    async def agent(tools: Tools, recorder: SpanRecorder) -> None:
        first = await tools.search("Paris")
        (second,) = await asyncio.gather(tools.index(first))
        await tools.storage(second)

    assert found(agent) == ()


def test_calls_of_different_parents_are_no_run() -> None:
    async def agent(tools: Tools, recorder: SpanRecorder) -> None:
        with recorder.span("one") as block:
            await tools.search("Paris")
            block.returned(None)
        with recorder.span("other") as block:
            await tools.index("Paris")
            block.returned(None)

    assert [str(each).partition(" ran")[0] for each in found(agent)] == [
        "one (300 ms) and other (200 ms)"
    ]


def test_blocks_whose_result_nobody_saw_are_no_run() -> None:
    async def agent(tools: Tools, recorder: SpanRecorder) -> None:
        for name in ("one", "other"):
            with recorder.span(name):
                await asyncio.sleep(1)

    assert found(agent) == ()


def test_plain_functions_are_no_run_for_they_cannot_overlap() -> None:
    async def agent(tools: Tools, recorder: SpanRecorder) -> None:
        recorder.wrap(lambda: 1, "one")()
        recorder.wrap(lambda: 2, "other")()

    assert found(agent) == ()


def test_blocks_outside_of_a_task_are_no_run() -> None:
    recorder = SpanRecorder()
    for name in ("one", "other"):
        with recorder.span(name) as block:
            block.returned(1)
    assert find(recorder.spans) == ()


@pytest.mark.parametrize(("pause", "count"), [(0.05, 1), (0.051, 0)])
def test_short_calls_with_a_pause_between_are_no_run(pause: float, count: int) -> None:
    spans = [call(1, "a", 0, 0.01), call(2, "b", 0.01 + pause, 0.02 + pause)]
    assert len(find(spans)) == count


@pytest.mark.parametrize(("pause", "count"), [(1, 1), (1.5, 0)])
def test_a_pause_longer_than_both_calls_ends_the_run(pause: float, count: int) -> None:
    spans = [call(1, "a", 0, 1), call(2, "b", 1 + pause, 3 + pause)]
    assert len(find(spans)) == count


def test_runs_are_counted_whatever_they_cost() -> None:
    spans = [call(1, "a", 0, 0.000001), call(2, "b", 0.000002, 0.000003)]
    assert count_calls(find(spans)) == {"sequential_calls": 2, "repeated_calls": 0}


# Declared independent


def test_calls_declared_independent_are_found_whatever_they_share() -> None:
    async def agent(tools: Tools, recorder: SpanRecorder) -> None:
        await tools.index(await tools.search("Paris"))

    assert found(agent) == ()
    (finding,) = found(agent, independent=("search", "index"))
    assert finding.cause == "not_overlapped"
    assert "search (300 ms) and index (200 ms) ran one after the other and were declared" in str(
        finding
    )


def test_calls_declared_independent_that_overlap_are_no_finding() -> None:
    assert found(at_once, independent=("search", "index", "storage")) == ()


def test_calls_declared_independent_are_found_once() -> None:
    (finding,) = found(in_turn, independent=("search", "index", "storage"))
    assert (finding.cause, finding.count) == ("not_overlapped", 3)


def test_calls_declared_independent_in_tasks_of_their_own_are_found() -> None:
    async def agent(tools: Tools, recorder: SpanRecorder) -> None:
        await asyncio.create_task(tools.search("Paris"))
        await asyncio.create_task(tools.index("Paris"))

    assert [each.cause for each in found(agent, independent=("search", "index"))] == [
        "not_overlapped"
    ]


def test_calls_declared_independent_with_another_call_between_are_of_different_turns() -> None:
    async def agent(tools: Tools, recorder: SpanRecorder) -> None:
        first = await tools.search("Paris")
        second = await tools.storage(first)
        await tools.index(second)

    assert found(agent, independent=("search", "index")) == ()


def test_two_calls_of_one_declared_name_are_no_finding_of_it() -> None:
    spans = [
        call(1, "search", 0, 1, found="apples"),
        call(2, "search", 1, 2, given=("apples",)),
    ]
    assert find(spans, independent=("search", "index")) == ()


# Loops


def test_calls_in_a_loop_that_differ_in_an_id_are_found() -> None:
    async def agent(tools: Tools, recorder: SpanRecorder) -> None:
        for page in range(1, 6):
            await tools.fetch(page)

    (finding,) = found(agent)
    assert finding.cause == "n_plus_one"
    assert str(finding).startswith(
        "fetch was called 5 times, one after the other, with one value that differs: 250 ms that"
        " one call for all, or asyncio.gather, would make about 50 ms ("
    )
    assert (finding.name, finding.count) == ("fetch", 5)
    assert finding.seconds == pytest.approx(0.2)
    assert finding.place is not None
    assert finding.place.source == "await tools.fetch(page)"
    assert count_calls([finding]) == {"sequential_calls": 5, "repeated_calls": 0}


def test_calls_in_a_loop_with_other_calls_between_are_found() -> None:
    async def agent(tools: Tools, recorder: SpanRecorder) -> None:
        for page in range(3):
            text = await tools.fetch(page)
            await tools.storage(text["text"])

    assert [each.cause for each in found(agent)] == ["n_plus_one"]


def loop(*given: tuple[Any, ...], **more: Any) -> list[str]:
    """Return the causes found in calls of one line with these arguments."""
    spans = [
        call(at + 1, "fetch", at, at + 1, **{"given": each, "site": HERE, **more})
        for at, each in enumerate(given)
    ]
    return [each.cause for each in find(spans) if each.cause == "n_plus_one"]


LOOP = ["n_plus_one"]


@pytest.mark.parametrize(
    ("given", "causes"),
    [
        ([(1,), (2,), (3,)], LOOP),
        ([(1,), (2,)], []),  # two are no loop
        ([("users", 1), ("users", 2), ("users", 3)], LOOP),
        ([({"city": "Paris"},), ({"city": "Rome"},), ({"city": "New York"},)], LOOP),
        ([("a", 1), ("b", 2), ("c", 3)], []),  # two values differ
        ([(1,), (2,), (2,)], []),  # one was there before
        ([(1,), ("2",), (3,)], []),  # of another type
        ([(1.5,), (2.5,), (3.5,)], []),  # a measure is no id
        ([("x" * 100,), ("y",), ("z",)], LOOP),
        ([("x" * 101,), ("y",), ("z",)], []),  # a text is no id
        ([(), (), ()], []),
    ],
)
def test_a_loop_is_three_calls_that_differ_in_one_id(
    given: list[tuple[Any, ...]], causes: list[str]
) -> None:
    assert loop(*given) == causes


def test_calls_on_several_objects_are_a_loop() -> None:
    spans = [
        call(at, "load", at, at + 1, given=(), site=HERE, receiver=at, found=at)
        for at in range(1, 4)
    ]
    assert [each.cause for each in find(spans)] == LOOP


def test_calls_of_different_lines_are_no_loop() -> None:
    spans = [call(at, "fetch", at, at + 1, given=(at,), site=(HERE[0], at)) for at in range(1, 4)]
    assert "n_plus_one" not in {each.cause for each in find(spans)}


def test_calls_of_a_loop_that_overlap_are_none() -> None:
    spans = [
        call(at, "fetch", at, at + 1.5, given=(at,), site=HERE, strand=at) for at in range(1, 5)
    ]
    assert find(spans) == ()


def test_calls_of_several_tasks_are_no_loop() -> None:
    spans = [call(at, "fetch", at, at + 1, given=(at,), site=HERE, strand=at) for at in range(1, 5)]
    assert [each.cause for each in find(spans)] == ["serialised"]


def test_a_loop_over_pages_each_of_which_tells_the_next_is_none() -> None:
    spans = [
        call(
            at, "fetch", at, at + 1, given=(f"page{at}",), found=f"next is page{at + 1}", site=HERE
        )
        for at in range(1, 5)
    ]
    assert find(spans) == ()


def test_a_loop_in_which_another_call_finds_the_next_is_none() -> None:
    spans = []
    for turn in range(4):
        fetch, plan, begin = 2 * turn + 1, 2 * turn + 2, 2 * turn
        spans += [
            call(fetch, "fetch", begin, begin + 1, given=(f"page{turn}",), found=f"text{turn}",
                 site=HERE),
            call(plan, "plan", begin + 1, begin + 2, given=(f"text{turn}",),
                 found=f"page{turn + 1}"),
        ]  # fmt: skip
    assert find(spans) == ()


def test_a_loop_of_calls_whose_results_nobody_saw_is_one() -> None:
    assert loop((1,), (2,), (3,), result=UNKNOWN) == LOOP


def test_a_loop_of_plain_calls_is_one() -> None:
    assert loop((1,), (2,), (3,), is_awaited=False, in_task=False) == LOOP


# Repeated calls


def test_calls_with_equal_arguments_are_found_with_what_a_cache_would_save() -> None:
    async def agent(tools: Tools, recorder: SpanRecorder) -> None:
        await asyncio.gather(tools.search("Paris"), tools.search("Rome"))
        await tools.search("Paris")
        await tools.search("Paris")

    (finding,) = found(agent)
    assert finding.cause == "repeated"
    assert str(finding).startswith(
        "search was called 3 times with equal arguments and returned the same: a cache would save"
        " 600 ms ("
    )
    assert (finding.name, finding.count) == ("search", 2)
    assert finding.seconds == pytest.approx(0.6)
    assert count_calls([finding]) == {"sequential_calls": 0, "repeated_calls": 2}


@pytest.mark.parametrize(
    "second",
    [
        {"given": ("Rome",)},
        {"receiver": 7},
        {"error": "TimeoutError"},
        {"is_open": True},
        {"found": "other"},  # asked again until something happens
        {"arguments": UNKNOWN},
        {"name": "index"},
    ],
)
def test_calls_that_differ_are_not_repeated(second: dict[str, Any]) -> None:
    one = call(1, "search", 0, 1, given=("Paris",), found="fine")
    same: dict[str, Any] = {"name": "search", "given": ("Paris",), "found": "fine"}
    assert [each.cause for each in find([one, call(2, start=1, end=2, **same)])] == ["repeated"]
    other = call(2, start=1, end=2, **{**same, **second})
    assert "repeated" not in {each.cause for each in find([one, other])}


def test_calls_that_return_nothing_are_not_repeated() -> None:
    assert find([call(1, "save", 0, 1, strand=1), call(2, "save", 5, 6, strand=2)]) == ()


def test_blocks_with_equal_attributes_are_repeated() -> None:
    recorder = SpanRecorder()
    for query in ("Paris", "Paris", "Rome"):
        with recorder.span("search", query=query):
            pass
    assert [(each.cause, each.count) for each in find(recorder.spans)] == [("repeated", 1)]


# All together


def test_the_most_expensive_finding_comes_first() -> None:
    async def agent(tools: Tools, recorder: SpanRecorder) -> None:
        for page in range(4):
            await tools.fetch(page)
        await in_turn(tools, recorder)
        await asyncio.sleep(1)
        await tools.fetch(1)

    assert [(each.cause, each.count) for each in found(agent)] == [
        ("sequential", 3), ("n_plus_one", 4), ("repeated", 1),
    ]  # fmt: skip


def test_nothing_is_found_in_nothing() -> None:
    assert find(()) == ()
    assert count_calls(()) == {"sequential_calls": 0, "repeated_calls": 0}


def test_serialised_tasks_are_found_with_what_held_them_up() -> None:
    spans = [
        call(at + 1, "search", at, at + 1, strand=at, task=f"T{at}", given=(at,)) for at in range(3)
    ]
    blocks = [Obstacle("blocking call", at, 1, f"T{at}", stops_others=True) for at in range(3)]
    assert [(each.cause, each.count) for each in find(spans, obstacles=blocks)] == [
        ("serialised", 3)
    ]


def test_five_thousand_calls_are_looked_through() -> None:
    spans = [
        call(at, "fetch", at, at + 1, given=(f"item {at}",), found=f"text {at}", site=HERE)
        for at in range(1, 5001)
    ]
    assert [each.count for each in find(spans)] == [5000]
