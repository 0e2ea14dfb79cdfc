"""A census: what has come, without what counting itself makes."""

import gc
from collections.abc import Callable, Iterator

import pytest

from pytest_agentperf.measure.memory.census import Census, CensusTaker, TypeCount
from pytest_agentperf.measure.memory.objects import all_objects


@pytest.fixture(autouse=True)
def few_objects() -> Iterator[None]:
    """Leave what is there already out of every count, which is then fast."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class Message:
    def __init__(self, number: int) -> None:
        self.text = f"message {number}"


class Hostile:
    def __sizeof__(self) -> int:
        raise RuntimeError("no size")


def test_objects_that_came_are_counted_by_type() -> None:
    taker = CensusTaker()
    kept = [Message(number) for number in range(1000)]
    found = {each.name: each for each in taker.come().types}
    message = next(found[name] for name in found if name.endswith(".Message"))
    assert message.count == len(kept)
    assert message.size >= 40 * len(kept)
    assert found["str"].count == pytest.approx(len(kept), abs=5)


@pytest.mark.parametrize("hold", [lambda text: (text,), lambda text: {"text": text}])
def test_objects_held_by_what_no_collection_knows_are_counted(
    hold: Callable[[str], object],
) -> None:
    taker = CensusTaker()
    kept = [hold(f"message {number}") for number in range(1000)]
    gc.collect()  # which stops to look at what holds nothing but strings
    found = {each.name: each for each in taker.come().types}
    assert found["str"].count == pytest.approx(len(kept), abs=5)


def test_counting_counts_nothing_of_its_own() -> None:
    CensusTaker()
    come = CensusTaker().come()
    assert sum(each.count for each in come.types if each.count > 0) <= 5
    assert sum(each.size for each in come.types) <= 5000
    assert "dict" not in {each.name for each in come.types}  # as the first count is


def test_objects_that_went_are_not_told() -> None:
    kept = [Message(number) for number in range(1000)]
    taker = CensusTaker()
    kept.clear()
    assert not [each for each in taker.come().types if each.name.endswith(".Message")]


def test_types_that_take_most_come_first() -> None:
    taker = CensusTaker()
    kept = [bytes(100_000) for _ in range(3)], [Message(number) for number in range(10)]
    come = taker.come()
    assert come.top(1)[0].name == "bytes"
    assert str(come).startswith("+3 bytes (300 kB)")
    del kept


def test_census_of_too_many_objects_is_not_taken() -> None:
    census = CensusTaker(most=1).come()
    assert census.types == ()
    assert "and above 1 it takes more than five seconds" in str(census)


def test_objects_that_come_to_be_too_many_are_not_counted() -> None:
    taker = CensusTaker(most=len(all_objects()) + 2000)
    kept: list[list[int]] = [[] for _ in range(5000)]
    assert "types are not counted" in taker.come().reason
    del kept


def test_object_that_cannot_be_counted_makes_no_crash() -> None:
    taker = CensusTaker()
    hostile = Hostile()
    assert taker.come().reason == (
        "pympler could not count the objects, one of which raised RuntimeError: no size"
    )
    del hostile


def test_functions_are_one_type() -> None:
    taker = CensusTaker()
    kept = [lambda number=number: number for number in range(10)]
    found = {each.name: each.count for each in taker.come().types}
    assert found["function"] == pytest.approx(len(kept), abs=2)  # a comprehension is one, too


def test_results_are_sentences() -> None:
    assert str(Census()) == "no more objects than before"
    assert str(Census((TypeCount("dict", 1200, 280_000),))) == "+1,200 dict (280 kB)"
