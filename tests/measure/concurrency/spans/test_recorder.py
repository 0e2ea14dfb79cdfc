"""The recorder of spans: parents, bounds, tracked methods, and what is open at the end."""

import asyncio
import contextvars
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.concurrency.spans.recorder import SpanRecorder
from pytest_agentperf.measure.concurrency.spans.running import RunningSpan
from pytest_agentperf.measure.concurrency.spans.span import Span
from pytest_agentperf.measure.concurrency.spans.tally import Aggregate, Totals
from pytest_agentperf.measure.concurrency.spans.values import UNKNOWN

from .plans import FakeClock
from .virtual_loop import now, run


class Agent:
    """An agent with tools, each of which takes a second."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def ask(self, question: str) -> str:
        return await self.search(question)

    async def search(self, question: str) -> str:
        self.calls.append(question)
        await asyncio.sleep(1)
        return f"found {question}"

    @staticmethod
    async def static(question: str) -> str:
        return question

    @classmethod
    async def of_class(cls, question: str) -> str:
        return f"{cls.__name__} {question}"


@pytest.fixture
def recorder(clock: FakeClock) -> SpanRecorder:
    return SpanRecorder(clock)


def in_new_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work, name="worker")
    thread.start()
    thread.join()


def living(name: str) -> int:
    """Return how many spans of *name* something still refers to."""
    gc.collect()
    spans = [each for each in gc.get_objects() if isinstance(each, RunningSpan)]
    return sum(span.name == name for span in spans)


def parents(recorder: SpanRecorder) -> dict[str, str | None]:
    """Return the name of the parent of each span, by its own."""
    names = {span.id: span.name for span in recorder.spans}
    return {
        span.name: None if span.parent is None else names[span.parent] for span in recorder.spans
    }


# Blocks


def test_a_block_is_a_span_from_its_beginning_to_its_end(
    recorder: SpanRecorder, clock: FakeClock
) -> None:
    clock.advance(1)
    with recorder.span("search", query="Paris", top=3, deep=[1]):
        clock.advance(2)
    (span,) = recorder.spans
    assert (span.id, span.name, span.start, span.end) == (1, "search", 1001.0, 1003.0)
    assert span.seconds == 2
    assert span.attributes == {"query": "Paris", "top": 3, "deep": "list"}
    assert (span.parent, span.error, span.is_open) == (None, "", False)
    assert span.arguments.atoms == ("Paris", 3, 1)
    assert span.result == UNKNOWN


def test_attributes_keep_two_hundred_letters(recorder: SpanRecorder) -> None:
    with recorder.span("search", query="x" * 500):
        pass
    assert recorder.spans[0].attributes == {"query": "x" * 200}


def test_a_block_within_a_block_has_it_as_parent(recorder: SpanRecorder) -> None:
    with recorder.span("ask"):
        with recorder.span("search"), recorder.span("fetch"):
            pass
        with recorder.span("answer"):
            pass
    with recorder.span("next"):
        pass
    assert parents(recorder) == {
        "ask": None, "search": "ask", "fetch": "search", "answer": "ask", "next": None,
    }  # fmt: skip


def test_a_block_tells_the_line_that_entered_it(recorder: SpanRecorder) -> None:
    with recorder.span("search"):
        pass
    place = recorder.spans[0].place
    assert place is not None
    assert place.source == 'with recorder.span("search"):'
    assert place.function == "test_a_block_tells_the_line_that_entered_it"


def test_an_async_block_tells_the_line_that_entered_it() -> None:
    async def main() -> SpanRecorder:
        recorder = SpanRecorder(now)
        async with recorder.span("search"):
            await asyncio.sleep(2)
        return recorder

    (span,) = run(main).spans
    assert span.seconds == 2
    assert span.place is not None
    assert span.place.source == 'async with recorder.span("search"):'


def test_a_block_notes_what_it_found(recorder: SpanRecorder) -> None:
    with recorder.span("search") as block:
        block.returned({"city": "Paris"})
    assert set(recorder.spans[0].result.atoms) == {"Paris", "city"}


def test_a_block_notes_the_error_that_ended_it_and_lets_it_pass(recorder: SpanRecorder) -> None:
    with pytest.raises(KeyError), recorder.span("search"):
        raise KeyError
    assert recorder.spans[0].error == "KeyError"
    assert recorder.aggregates["search"].errors == 1


def test_a_block_entered_twice_is_an_error(recorder: SpanRecorder) -> None:
    block = recorder.span("search")
    with block:
        pass
    with pytest.raises(UsageError, match="span 'search' was entered again; open a new one"):
        block.__enter__()
    with pytest.raises(UsageError, match="entered again"):
        run(block.__aenter__)
    assert recorder.totals.count == 1


def test_a_block_entered_again_while_it_runs_is_an_error(recorder: SpanRecorder) -> None:
    with recorder.span("search") as block, pytest.raises(UsageError, match="entered again"):
        block.__enter__()


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_block_needs_a_name(recorder: SpanRecorder, name: Any) -> None:
    with pytest.raises(UsageError, match="expected a name"):
        recorder.span(name)


def test_blocks_left_in_another_order_end_and_leave_no_parent_behind(
    recorder: SpanRecorder,
) -> None:
    first, second = recorder.span("first"), recorder.span("second")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    with recorder.span("within"):
        pass
    second.__exit__(None, None, None)
    with recorder.span("later"):
        pass
    assert parents(recorder) == {
        "first": None, "second": "first", "within": "second", "later": None,
    }  # fmt: skip


def test_a_block_left_in_another_context_ends_and_changes_nothing_there(
    recorder: SpanRecorder,
) -> None:
    def elsewhere() -> None:
        with recorder.span("there"):
            block.__exit__(None, None, None)
            with recorder.span("below"):
                pass

    block = recorder.span("fixture")
    contextvars.copy_context().run(block.__enter__)
    contextvars.copy_context().run(elsewhere)
    assert parents(recorder) == {"fixture": None, "there": None, "below": "there"}
    assert not recorder.spans[0].is_open


# Tasks and threads


def test_tasks_have_the_span_that_started_them_as_parent() -> None:
    async def main() -> SpanRecorder:
        recorder, agent = SpanRecorder(now), Agent()
        recorder.track(agent, "search")
        with recorder.span("ask"):
            await asyncio.gather(agent.search("a"), agent.search("b"))
            async with asyncio.TaskGroup() as group:
                group.create_task(agent.search("c"), name="mine")
        await agent.search("d")
        recorder.stop()
        return recorder

    recorder = run(main)
    ask, *searches = recorder.spans
    assert [span.parent for span in searches] == [ask.id] * 3 + [None]
    assert [(span.start, span.end) for span in searches] == [(0, 1), (0, 1), (1, 2), (2, 3)]
    assert searches[2].task == "mine"
    assert len({span.strand for span in searches[:2]} | {ask.strand}) == 3
    assert searches[3].strand == ask.strand
    assert all(span.in_task for span in recorder.spans)
    assert recorder.in_flight_max == {"ask": 1, "search": 2}


def test_a_call_after_its_parent_ended_has_the_nearest_open_span_as_parent() -> None:
    async def main() -> SpanRecorder:
        recorder, agent = SpanRecorder(now), Agent()
        recorder.track(agent, "search")

        async def later() -> None:
            await asyncio.sleep(2)
            await agent.search("a")

        with recorder.span("session"):
            with recorder.span("ask"):
                task = asyncio.create_task(later())
            await task
        recorder.stop()
        return recorder

    assert parents(run(main)) == {"session": None, "ask": "session", "search": "session"}


def test_a_thread_that_copies_the_context_has_its_span_as_parent(recorder: SpanRecorder) -> None:
    def work() -> None:
        with recorder.span("work"):
            pass

    async def main() -> None:
        with recorder.span("ask"):
            await asyncio.to_thread(work)

    asyncio.run(main())
    assert parents(recorder) == {"ask": None, "work": "ask"}
    ask, span = recorder.spans
    assert (ask.in_task, span.in_task) == (True, False)
    assert span.task.startswith("asyncio_")


def test_a_thread_of_its_own_has_the_watch_as_parent(recorder: SpanRecorder) -> None:
    def work() -> None:
        with recorder.span("work"):
            pass

    with recorder.span("ask"):
        in_new_thread(work)
    assert parents(recorder) == {"ask": None, "work": None}
    assert recorder.spans[1].task == "worker"


def test_threads_at_once_lose_no_span() -> None:
    recorder = SpanRecorder(max_spans=100)
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        for _ in range(3000):
            with recorder.span("outer"), recorder.span("inner"):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.stop()
    assert {name: found.count for name, found in recorder.aggregates.items()} == {
        "outer": 12_000, "inner": 12_000,
    }  # fmt: skip
    assert len(recorder.spans) == 100
    assert 1 <= recorder.in_flight_max["outer"] <= 4
    assert not any(span.is_open for span in recorder.spans)


def test_two_recorders_at_once_record_for_themselves(clock: FakeClock) -> None:
    outer, inner = SpanRecorder(clock), SpanRecorder(clock)
    with outer.span("a"), inner.span("b"), outer.span("c"), inner.span("d"):
        pass
    assert parents(outer) == {"a": None, "c": "a"}
    assert parents(inner) == {"b": None, "d": "b"}


def test_a_span_left_open_by_an_earlier_watch_is_no_parent(clock: FakeClock) -> None:
    earlier = SpanRecorder(clock)
    left = earlier.span("left")
    left.__enter__()
    earlier.stop()
    recorder = SpanRecorder(clock)
    with recorder.span("ask"):
        pass
    left.__exit__(None, None, None)
    assert parents(recorder) == {"ask": None}


def test_a_span_that_ended_is_not_kept_by_its_context(clock: FakeClock) -> None:
    recorder = SpanRecorder(clock, max_spans=0)
    with recorder.span("forgotten"):
        pass
    del recorder
    assert living("forgotten") == 0


def test_tasks_that_start_one_another_do_not_keep_each_other(clock: FakeClock) -> None:
    recorder = SpanRecorder(clock, max_spans=0)

    async def hop(left: int) -> None:
        with recorder.span("hop"):
            if left:
                hops.append(asyncio.create_task(hop(left - 1)))
            await asyncio.sleep(0)

    hops: list[asyncio.Task[None]] = []

    async def main() -> int:
        hops.append(asyncio.create_task(hop(300)))
        for task in hops:  # grows while it is read
            await task
        recorder.stop()
        hops.clear()
        return living("hop")

    assert asyncio.run(main()) < 20
    assert recorder.totals.count == 301


# Cancellation and the end


def test_a_cancelled_call_ends_then_with_that_error() -> None:
    async def main() -> SpanRecorder:
        recorder, agent = SpanRecorder(now), Agent()
        recorder.track(agent, "search")
        task = asyncio.create_task(agent.search("a"))
        await asyncio.sleep(0.25)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        recorder.stop()
        return recorder

    (span,) = run(main).spans
    assert (span.end, span.error, span.is_open) == (0.25, "CancelledError", False)


def test_a_span_open_at_the_end_counts_until_then_and_says_so() -> None:
    async def main() -> SpanRecorder:
        recorder, agent = SpanRecorder(now), Agent()
        recorder.track(agent, "search")
        with recorder.span("ask"):
            task = asyncio.create_task(agent.search("a"))
            await asyncio.sleep(0.25)
        await asyncio.sleep(0.25)
        recorder.stop()
        await task
        await asyncio.sleep(1)
        return recorder

    recorder = run(main)
    ask, search = recorder.spans
    assert (search.start, search.end, search.is_open, search.error) == (0, 0.5, True, "")
    assert not ask.is_open
    assert recorder.totals == Totals(count=2, seconds=0.75, own=0.5, wall=0.5)
    assert recorder.aggregates["search"] == Aggregate(1, 0, 0.5, 0.5, 1)


def test_results_can_be_read_before_the_end(recorder: SpanRecorder, clock: FakeClock) -> None:
    with recorder.span("ask"):
        clock.advance(2)
        (span,) = recorder.spans
        assert (span.seconds, span.is_open) == (2, True)
        assert recorder.in_flight_max == {"ask": 1}


def test_nothing_is_recorded_after_the_end(recorder: SpanRecorder) -> None:
    def search(question: str) -> str:
        return question

    wrapped = recorder.wrap(search)
    recorder.stop()
    recorder.stop()
    with recorder.span("ask") as block:
        block.returned("a")
        assert wrapped("Paris") == "Paris"
    assert recorder.spans == ()
    assert recorder.totals.count == 0


def test_start_counts_time_from_then(recorder: SpanRecorder, clock: FakeClock) -> None:
    clock.advance(5)
    recorder.start()
    assert (recorder.started, recorder.stopped) == (1005.0, None)
    clock.advance(5)
    recorder.stop()
    assert recorder.stopped == 1010.0


# Tracking


def test_calls_of_a_tracked_method_are_spans_and_return_what_it_returns() -> None:
    async def main() -> tuple[SpanRecorder, str]:
        recorder, agent = SpanRecorder(now), Agent()
        recorder.track(agent, "ask")
        recorder.track(agent, "search", name="tool")
        answer = await agent.ask("Paris")
        recorder.stop()
        assert "ask" not in vars(agent)
        assert "search" not in vars(agent)
        return recorder, answer

    recorder, answer = run(main)
    assert answer == "found Paris"
    assert parents(recorder) == {"ask": None, "tool": "ask"}
    ask, tool = recorder.spans
    assert ask.place is not None
    assert ask.place.source == 'answer = await agent.ask("Paris")'
    assert tool.place is not None
    assert tool.place.source == "return await self.search(question)"
    assert (tool.arguments.atoms, tool.result.atoms) == (("Paris",), ("found Paris",))


def test_calls_of_all_instances_of_a_tracked_class_are_spans() -> None:
    async def main() -> SpanRecorder:
        recorder = SpanRecorder(now)
        for method in ("search", "static", "of_class"):
            recorder.track(Agent, method)
        one, other = Agent(), Agent()
        assert await one.search("a") == "found a"
        assert await other.search(question="a") == "found a"
        assert await Agent.static("a") == "a"
        assert await Agent.of_class("a") == "Agent a"
        recorder.stop()
        return recorder

    kinds = [type(vars(Agent)[name]) for name in ("search", "static", "of_class")]
    recorder = run(main)
    assert kinds == [type(vars(Agent)[name]) for name in ("search", "static", "of_class")]
    first, second, static, of_class = recorder.spans
    assert first.receiver != second.receiver  # on whom it is called is no argument
    assert [span.arguments.atoms for span in recorder.spans] == [("a",)] * 4
    assert (static.name, of_class.name) == ("static", "of_class")


def test_arguments_by_name_are_the_same_in_any_order(recorder: SpanRecorder) -> None:
    def search(**options: int) -> None:
        pass

    wrapped = recorder.wrap(search)
    wrapped(a=1, b=2)
    wrapped(b=2, a=1)
    one, other = recorder.spans
    assert one.arguments == other.arguments


def test_a_method_tracked_twice_is_recorded_once() -> None:
    async def main() -> SpanRecorder:
        recorder, agent = SpanRecorder(now), Agent()
        recorder.track(agent, "search")
        recorder.track(agent, "search")
        await agent.search("a")
        recorder.stop()
        return recorder

    assert run(main).totals.count == 1


def test_a_method_tracked_by_two_recorders_is_recorded_by_both_and_put_back() -> None:
    async def main() -> tuple[SpanRecorder, SpanRecorder]:
        one, other, agent = SpanRecorder(now), SpanRecorder(now), Agent()
        one.track(agent, "search")
        other.track(agent, "search")
        await agent.search("a")
        other.stop()
        await agent.search("b")
        one.stop()
        await agent.search("c")
        assert list(vars(agent)) == ["calls"]
        return one, other

    one, other = run(main)
    assert (one.totals.count, other.totals.count) == (2, 1)


def test_a_patch_on_top_of_ours_stays_and_calls_through() -> None:
    async def main() -> None:
        recorder, agent = SpanRecorder(now), Agent()
        recorder.track(agent, "search")
        ours = agent.search

        async def theirs(question: str) -> str:
            return f"their {await ours(question)}"

        agent.search = theirs  # type: ignore[method-assign]
        recorder.stop()
        assert agent.search is theirs
        assert await agent.search("a") == "their found a"
        assert recorder.totals.count == 0

    run(main)


def test_what_cannot_be_tracked_is_an_error_that_says_why(recorder: SpanRecorder) -> None:
    with pytest.raises(UsageError, match="has no attribute 'missing'"):
        recorder.track(Agent(), "missing")
    with pytest.raises(UsageError, match="expected a method"):
        recorder.track(Agent(), "calls")
    recorder.stop()


def test_a_wrapped_function_is_named_after_it_or_as_told(recorder: SpanRecorder) -> None:
    def search() -> None:
        pass

    class Tool:
        def __call__(self) -> None:
            pass

    recorder.wrap(search)()
    recorder.wrap(search, "tool")()
    recorder.wrap(Tool())()
    assert [span.name for span in recorder.spans] == ["search", "tool", "Tool"]


# Bounds


def test_two_hundred_thousand_spans_are_counted_and_the_first_thousand_kept() -> None:
    clock = FakeClock()
    recorder = SpanRecorder(clock, max_spans=1000)
    before = len(gc.get_objects())
    with recorder.span("all"):
        for number in range(200_000):
            with recorder.span("even" if number % 2 == 0 else "odd", number=number):
                clock.advance(0.5)
    gc.collect()
    grown = len(gc.get_objects()) - before
    recorder.stop()
    assert grown < 6 * 1000
    assert len(recorder.spans) == 1000
    assert [span.id for span in recorder.spans] == list(range(1, 1001))
    assert recorder.totals == Totals(200_001, seconds=200_000, own=100_000, wall=100_000)
    assert recorder.aggregates["even"] == Aggregate(100_000, 0, 50_000, 50_000, 1)
    (note,) = recorder.notes
    assert note == (
        "the first 1000 of 200001 spans are kept one by one; counts, in_flight_max and"
        " parallelism are of all, the critical path and findings of these"
    )


@pytest.mark.parametrize(("count", "notes"), [(3, 0), (4, 1)])
def test_notes_say_when_spans_are_a_sample(clock: FakeClock, count: int, notes: int) -> None:
    recorder = SpanRecorder(clock, max_spans=3)
    for _ in range(count):
        with recorder.span("a"):
            pass
    assert len(recorder.notes) == notes


def test_spans_beyond_the_sample_keep_no_arguments_but_count_in_flight() -> None:
    async def main() -> SpanRecorder:
        recorder, agent = SpanRecorder(now, max_spans=2), Agent()
        recorder.track(agent, "search")
        await asyncio.gather(*(agent.search(letter) for letter in "abcde"))
        recorder.stop()
        return recorder

    recorder = run(main)
    assert recorder.in_flight_max == {"search": 5}
    overlap = recorder.overlap("search")
    assert (overlap.count, overlap.at, len(overlap.spans)) == (5, 0, 5)
    assert [span.arguments is UNKNOWN for span in overlap.spans] == [False, False, True, True, True]


def test_text_of_arguments_is_kept_up_to_a_bound_for_all_together(recorder: SpanRecorder) -> None:
    def search(text: str) -> None:
        pass

    wrapped = recorder.wrap(search)
    for number in range(170):  # of 50,000 letters each, of which 8,000,000 are kept
        wrapped(str(number) * 50_000)
    known = [span.arguments is not UNKNOWN for span in recorder.spans]
    assert known == [True] * 160 + [False] * 10
    assert recorder.notes == (
        "arguments and results had more text than is kept: findings are of the first calls",
    )


# What was never recorded


def test_a_name_that_was_never_recorded_is_an_error_that_lists_the_recorded(
    recorder: SpanRecorder,
) -> None:
    with pytest.raises(UsageError, match="no span was recorded; track a method"):
        recorder.demand()
    for name in ("search", "search", "index"):
        with recorder.span(name):
            pass
    recorder.demand("search", "index")
    with pytest.raises(
        UsageError, match=r"no span 'serch' was recorded; expected one of 'search' \(2\), 'index'"
    ):
        recorder.overlap("serch")


def test_the_moment_of_the_most_in_flight_is_kept_with_its_spans() -> None:
    async def main() -> SpanRecorder:
        recorder = SpanRecorder(now)

        async def call(delay: float, seconds: float) -> None:
            await asyncio.sleep(delay)
            async with recorder.span("search"):
                await asyncio.sleep(seconds)

        await asyncio.gather(call(0, 2), call(1, 4), call(3, 1), call(3.5, 1))
        recorder.stop()
        return recorder

    overlap = run(main).overlap("search")
    assert (overlap.name, overlap.count, overlap.at) == ("search", 3, 3.5)
    assert [(span.start, span.end) for span in overlap.spans] == [(1, 5), (3, 4), (3.5, 4.5)]
    assert all(isinstance(span, Span) for span in overlap.spans)


def test_time_stands_still_for_no_span_when_a_test_freezes_it() -> None:
    from freezegun import freeze_time

    with freeze_time("2024-05-06"):
        recorder = SpanRecorder()
        with recorder.span("a"):
            threading.Event().wait(0.001)
        recorder.stop()
    assert recorder.spans[0].seconds >= 0.001
