"""Advice: what is said with which numbers, and that nothing is said where nothing is won."""

import copy
import dataclasses
import sys
import tracemalloc
from array import array
from collections.abc import Callable

import pydantic
import pytest

from pytest_agentperf.measure.memory.advice import advise
from pytest_agentperf.measure.memory.sizes import size


class Message:
    def __init__(self, number: int) -> None:
        self.role = "user"
        self.number = number


@dataclasses.dataclass
class Data:
    role: str
    number: int


@dataclasses.dataclass(slots=True)
class SlotData:
    role: str
    number: int


class Model(pydantic.BaseModel):
    number: int


def sentences(obj: object) -> list[str]:
    return [str(each) for each in advise(obj)]


def test_array_is_advised_for_floats() -> None:
    numbers = [*(number * 0.5 for number in range(1_000_000))][:]
    (advice,) = advise(numbers)
    assert str(advice) == (
        "array('d') would take 8 MB instead of 32 MB, for a sequence of 1,000,000 floats"
        " among the first 200,000 objects"
    )
    assert advice.now == pytest.approx(size(numbers), rel=0.02)
    assert advice.then == pytest.approx(sys.getsizeof(array("d", numbers)), rel=0.02)


@pytest.mark.parametrize(
    ("highest", "code"),
    [(2**31 - 1, "'i'"), (2**31, "'q'"), (2**63 - 1, "'q'"), (2**63, None)],
)
def test_array_of_ints_can_hold_the_greatest(highest: int, code: str | None) -> None:
    found = sentences([*range(10_000), highest])
    assert [text.split("(")[1].split(")")[0] for text in found] == ([code] if code else [])


@pytest.mark.parametrize(("lowest", "code"), [(-(2**31), "'i'"), (-(2**31) - 1, "'q'")])
def test_array_of_ints_can_hold_the_least(lowest: int, code: str) -> None:
    assert sentences([*range(10_000), lowest])[0].startswith(f"array({code})")


def test_arrays_of_many_lists_are_one_advice() -> None:
    vectors = [[number * 0.1 + place for place in range(384)] for number in range(50)]
    (text,) = sentences(vectors)
    assert text.endswith("for 50 sequences of 19,200 floats")


def test_slots_are_advised_for_instances_without() -> None:
    messages = [Message(number) for number in range(1000)]
    (advice,) = advise(messages)
    assert str(advice).startswith("__slots__ in Message would take 48 kB instead of ")
    assert str(advice).endswith(", for 1,000 instances")
    assert advice.now == pytest.approx(size(messages) - size(list(range(1000))), rel=0.05)


def test_slots_of_a_dataclass_are_advised_as_such() -> None:
    found = sentences([Data("user", number) for number in range(1000)])
    assert found[0].startswith("@dataclass(slots=True) in Data would take 48 kB")


def test_dataclass_is_advised_for_dicts_with_the_same_keys() -> None:
    messages = [{"role": "user", "content": None} for _ in range(1000)]
    (advice,) = advise(messages)
    assert str(advice) == (
        "a dataclass with slots would take 48 kB instead of 184 kB,"
        " for 1,000 dicts with the keys role, content"
    )
    assert advice.now == sum(map(sys.getsizeof, messages))
    assert advice.then == 1000 * sys.getsizeof(SlotData("", 0))


def test_interning_is_advised_for_texts_that_repeat() -> None:
    texts = ["".join(["weather ", str(number % 10)]) for number in range(1000)]
    (advice,) = advise(texts)
    each = sys.getsizeof("weather 0")
    assert advice.sentence == (
        f"sys.intern would take {10 * each} B instead of {each} kB,"
        " for 1,000 strings, 990 of which repeat another"
    )


def test_what_saves_most_comes_first() -> None:
    things = [[n * 0.5 for n in range(10_000)], [Message(number) for number in range(200)]]
    saved = [advice.now - advice.then for advice in advise(things)]
    assert len(saved) == 2
    assert saved == sorted(saved, reverse=True)


def unhashable_keys() -> list[object]:
    return [{("a", 1): 1, 2: 3} for _ in range(1000)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: None,
        lambda: "text" * 1000,
        lambda: [n * 0.5 for n in range(99)],  # too few
        lambda: [0.5] * 10_000,  # one float
        lambda: [1, 2.5] * 1000,  # of two types
        lambda: [True, False] * 1000,
        lambda: list(range(200)),  # made with the interpreter; an array would save little
        lambda: [SlotData("user", number) for number in range(1000)],
        lambda: [Model(number=number) for number in range(1000)],  # its metaclass decides
        lambda: [{"class": number, "two words": 1} for number in range(1000)],  # no names
        unhashable_keys,
        lambda: [{str(number): number} for number in range(1000)],  # keys that differ
        lambda: ["weather"] * 1000,  # one object already
        lambda: [Message(number) for number in range(99)],
    ],
)
def test_nothing_is_said_where_little_is_won(make: Callable[[], object]) -> None:
    assert [text for text in sentences(make()) if "array" not in text] == []


def test_dicts_of_instances_are_not_taken_for_records() -> None:
    messages = [Message(number) for number in range(1000)]
    for message in messages:
        vars(message)
    assert not any("dicts" in text for text in sentences(messages))


def test_object_is_never_changed() -> None:
    things = [Message(1000 + number) for number in range(1000)], [{"role": "user"}] * 200
    before = copy.deepcopy(things)
    advise(things)
    tracemalloc.start()
    try:
        advise(things)
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()
    assert [vars(each) for each in things[0]] == [vars(each) for each in before[0]]
    assert things[1] == before[1]


def test_cut_visit_is_said() -> None:
    found = sentences([Message(1000) for _ in range(200_000)])
    assert found[0].endswith("for 199,999 instances among the first 200,000 objects")
