"""Value flow: what a call may have needed of an earlier one, and what is no evidence of it."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from pytest_agentperf.measure.concurrency.spans.findings import SEQUENTIAL, find
from pytest_agentperf.measure.concurrency.spans.recorder import SpanRecorder
from pytest_agentperf.measure.concurrency.spans.span import Span
from pytest_agentperf.measure.concurrency.spans.valueflow import by_parent, dependencies, words
from pytest_agentperf.measure.concurrency.spans.values import UNKNOWN

from .plans import call
from .virtual_loop import now, run


def second_needs_first(found: object, *given: object, first: tuple[object, ...] = ("q",)) -> bool:
    """Return whether a call of *given* may depend on an earlier one of *first* with its result."""
    spans = [call(1, "a", 0, 1, given=first, found=found), call(2, "b", 1, 2, given=given)]
    return dependencies(spans)[2] == {1}


@pytest.mark.parametrize(
    ("found", "given"),
    [
        ("the weather in Paris is fine", "Paris"),
        ("Paris", "Is it fine in Paris?"),
        ("the weather in PARIS", "paris"),
        ("ticket A7F3", "A7F3"),
        ({"id": 17}, 17),
        ({"id": 17}, "17"),
        ({"id": "17"}, 17),
        ({"id": 7}, 7),
        ("row 7", 7),
        ({"price": 12.5}, "12.5 euros"),
        ({"price": 12.0}, 12),
        ({"change": -12}, 12),
        ({"Paris": 21}, "Paris"),
        ([["deep", {"k": ("Paris",)}]], "Paris"),
        (b"the weather in Paris", "Paris"),
        ("東京の天気", "東京"),
        ("done", "done"),
    ],
)
def test_a_call_with_something_of_a_result_may_need_it(found: object, given: object) -> None:
    assert second_needs_first(found, given)
    assert second_needs_first(found, {"options": [given]})


@pytest.mark.parametrize(
    ("found", "given"),
    [
        ("the weather in Paris is fine", "Rome"),
        ("for all the men", "for the men"),  # words of three letters
        ("17 rows", "row 18"),
        ("the top 3 of them", "the best 3 here"),  # one digit in two texts
        (None, "Paris"),
        (True, True),
        ([], "Paris"),
        ("", ""),
        ({"title": "Rome"}, {"title": "Milan"}),  # keys of arguments are names
    ],
)
def test_a_call_with_nothing_of_a_result_does_not_need_it(found: object, given: object) -> None:
    assert not second_needs_first(found, given)


def test_a_call_with_an_object_that_was_returned_may_need_the_call_that_returned_it() -> None:
    class Session:
        def __init__(self) -> None:
            self.name = ""

    session = Session()
    assert second_needs_first(session, session)
    assert second_needs_first([session], {"k": session})
    assert not second_needs_first(Session(), Session())
    assert not second_needs_first(session, session, first=(session,))  # it was there before


@pytest.mark.parametrize("known", ["Paris", 21])
def test_what_both_calls_were_given_is_no_evidence(known: object) -> None:
    found = {"echo": known, "more": "something else"}
    assert not second_needs_first(found, known, first=(known,))
    assert second_needs_first(found, known, first=("another",))


def test_a_result_that_is_the_argument_itself_is_evidence_all_the_same() -> None:
    options = ("urgent", "normal")  # the first call chose one of them
    assert second_needs_first("urgent", "urgent", first=options)


def test_what_an_earlier_call_returned_is_no_evidence_for_a_later_one() -> None:
    plan = call(1, "plan", 0, 1, found=["apples", "pears"])
    one = call(2, "search", 1, 2, given=("apples",), found="apples go with pears")
    other = call(3, "search", 2, 3, given=("pears",))
    assert dependencies([plan, one, other]) == {1: set(), 2: {1}, 3: {1}}


def test_what_the_parent_was_given_is_no_evidence() -> None:
    ask = call(1, "ask", 0, 9, given=("Paris",))
    one = call(2, "a", 0, 1, parent=1, given=("q",), found="all about Paris")
    other = call(3, "b", 1, 2, parent=1, given=("Paris",))
    assert dependencies([ask, one, other])[3] == set()


def test_order_counts_where_no_time_passes() -> None:
    one = call(1, "a", 0, 0, given=("q",), found=["Paris", "more"])
    other = call(2, "b", 0, 0, given=("Paris",))
    assert dependencies([one, other]) == {1: set(), 2: {1}}


def test_what_was_given_first_and_returned_in_no_time_is_no_evidence() -> None:
    one = call(1, "a", 0, 0, given=("Paris",), found=["Paris", "more"])
    other = call(2, "b", 0, 0, given=("Paris",))
    assert dependencies([one, other])[2] == set()


def test_a_call_needs_nothing_of_one_that_had_not_ended() -> None:
    spans = [call(1, "a", 0, 2, found="Paris"), call(2, "b", 1, 3, given=("Paris",))]
    assert dependencies(spans)[2] == set()


def test_calls_of_different_parents_are_not_compared() -> None:
    spans = [
        call(1, "a", 0, 1, parent=7, found="Paris"),
        call(2, "b", 1, 2, parent=8, given=("Paris",)),
    ]
    assert dependencies(spans)[2] == set()
    assert list(by_parent(spans)) == [7, 8]


@pytest.mark.parametrize(
    "hidden", [{"result": UNKNOWN}, {"error": "ValueError"}, {"found": object()}]
)
def test_a_result_that_nobody_saw_may_be_in_any_later_call(hidden: dict[str, Any]) -> None:
    spans = [call(1, "a", 0, 1, **hidden), call(2, "b", 1, 2), call(3, "c", 2, 3)]
    assert dependencies(spans) == {1: set(), 2: {1}, 3: {1}}
    assert dependencies(spans, assume=False) == {1: set(), 2: set(), 3: set()}


def test_arguments_that_nobody_saw_may_be_from_any_earlier_call() -> None:
    spans = [call(1, "a", 0, 1), call(2, "b", 1, 2), call(3, "c", 2, 3, arguments=UNKNOWN)]
    assert dependencies(spans)[3] == {1, 2}
    assert dependencies(spans, assume=False)[3] == set()


def test_many_calls_with_a_common_word_stay_cheap_and_need_the_last_of_them() -> None:
    spans = [
        call(id_, "a", id_, id_ + 1, given=(f"q{id_}",), found=f"common {id_}")
        for id_ in range(1, 5001)
    ]
    spans.append(call(5001, "b", 6000, 6001, given=("common",)))
    assert dependencies(spans)[5001] == set(range(4969, 5001))


@pytest.mark.parametrize(
    ("atom", "expected"),
    [
        ("Weather in_Paris, 12.5 C", {"weather", "paris", "12.5"}),
        ("u-1234", {"1234"}),
        ("a1b2c3d4", {"a1b2c3d4"}),
        (2.0, {"2"}),
        (-2.5, {"2.5"}),
        (float("inf"), {"inf"}),
        (b"\xff Paris", {"paris"}),
        ("天気予報", {"天気", "気予", "予報"}),
        ("Straße", {"strasse"}),
    ],
)
def test_words_are_pieces_of_four_letters_and_numbers(atom: Any, expected: set[str]) -> None:
    assert words(atom) == expected


# Small agents: which of their sequences are found, as one who reads the code would say.


async def tool(result: Any) -> Any:
    await asyncio.sleep(1)
    return result


class Toys:
    """Agents that call two tools in turn; the name says whether they need each other."""

    def __init__(self, recorder: SpanRecorder) -> None:
        self.search = self._tool(recorder, "search", lambda query: f"found {query}: apples 4711")
        self.other = self._tool(recorder, "other", lambda query: {"query": query, "hits": 9})
        self.ids = self._tool(recorder, "ids", lambda query: [101, 102])
        self.classify = self._tool(recorder, "classify", lambda text, options: options[0])

    @staticmethod
    def _tool(recorder: SpanRecorder, name: str, reply: Callable[..., Any]) -> Callable[..., Any]:
        async def run_tool(*given: Any) -> Any:
            return await tool(reply(*given))

        return recorder.wrap(run_tool, name)

    async def independent_same_question(self) -> None:
        await self.search("the weather in Paris")
        await self.other("the weather in Paris")

    async def independent_other_questions(self) -> None:
        await self.search("weather")
        await self.other("trains")

    async def independent_after_a_common_plan(self) -> None:
        query, top = "weather", (await self.ids("plan"))[0]
        await self.search(query)
        await self.other((query, top))

    async def dependent_on_text(self) -> None:
        await self.other((await self.search("fruit")).split()[2])

    async def dependent_on_a_number(self) -> None:
        await self.other((await self.ids("fruit"))[1])

    async def dependent_in_upper_case(self) -> None:
        await self.other((await self.search("fruit")).upper())

    async def dependent_in_a_template(self) -> None:
        await self.other(f"Summarise this: {await self.search('fruit')}")

    async def dependent_on_a_choice(self) -> None:
        await self.search(await self.classify("mail", ("urgent", "normal")))

    async def dependent_on_a_hash(self) -> None:
        text = await self.search("fruit")
        await self.other(hashlib.sha256(text.encode()).hexdigest())

    async def dependent_on_a_branch(self) -> None:
        if len(await self.ids("fruit")) > 1:
            await self.other("several")


def sequences(agent: Callable[[Toys], Any]) -> list[str]:
    async def main() -> tuple[Span, ...]:
        recorder = SpanRecorder(now)
        await agent(Toys(recorder))
        recorder.stop()
        return recorder.spans

    return [each.cause for each in find(run(main)) if each.cause == SEQUENTIAL]


@pytest.mark.parametrize("name", [name for name in vars(Toys) if name.startswith("independent")])
def test_sequences_of_independent_calls_are_found(name: str) -> None:
    assert sequences(getattr(Toys, name)) == [SEQUENTIAL]


KNOWN_FALSE = {"dependent_on_a_hash", "dependent_on_a_branch"}


@pytest.mark.parametrize("name", [name for name in vars(Toys) if name.startswith("dependent")])
def test_sequences_of_dependent_calls_are_left_alone_save_where_no_value_shows_it(
    name: str,
) -> None:
    assert sequences(getattr(Toys, name)) == ([SEQUENTIAL] if name in KNOWN_FALSE else [])
