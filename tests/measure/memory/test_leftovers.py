"""Tests of the search for objects that calls left, and of the types that explain them."""

import asyncio
import gc
import sys
import time
import tracemalloc
from collections.abc import Iterator
from types import CellType
from typing import Any

import pytest

from pytest_agentperf.measure.memory.leakedtypes import find_leftovers
from pytest_agentperf.measure.memory.leftovers import LeftoverSearch, newborns, type_name
from pytest_agentperf.measure.memory.objects import is_module

Line = tuple[str, int]


@pytest.fixture
def trace() -> Iterator[None]:
    tracemalloc.start(10)
    yield
    tracemalloc.stop()


def line_of(obj: object) -> Line:
    traceback = tracemalloc.get_object_traceback(obj)
    assert traceback is not None
    return traceback[-1].filename, traceback[-1].lineno


@pytest.mark.usefixtures("trace")
def test_texts_in_a_dict_that_the_collector_leaves_out_are_found() -> None:
    kept = {number: "x" * (1000 + number) for number in range(20)}
    holder: list[Any] = [kept]
    gc.collect()
    left = find_leftovers({line_of(kept[0]): 1}, 20)
    kind = left.types[0]
    assert (kind.name, kind.holder, kind.count, kind.count_per_call) == ("str", "dict", 20, 1)
    assert kind.size == sum(map(sys.getsizeof, kept.values()))
    assert left.holder is holder[0]


@pytest.mark.usefixtures("trace")
def test_what_is_at_other_lines_is_not_found() -> None:
    kept = [bytes(1000) for _ in range(20)]
    assert find_leftovers({("elsewhere.py", 1): 1}, 20).types == ()
    assert kept


@pytest.mark.usefixtures("trace")
def test_containers_that_were_made_to_hold_it_count_with_it() -> None:
    kept: list[Any] = []
    gc.collect()
    gc.disable()
    try:
        kept.extend({"content": bytes(1000 + number)} for number in range(20))
        born = newborns()
    finally:
        gc.enable()
    line = line_of(kept[0]["content"])
    kind = find_leftovers({line: 1}, 20, born).types[0]
    assert (kind.name, kind.holder, kind.count) == ("dict", "list", 20)


@pytest.mark.usefixtures("trace")
def test_search_keeps_nothing_of_what_it_looked_at() -> None:
    kept = [bytes(1000) for _ in range(20)]
    gc.collect()
    gc.disable()
    try:
        find_leftovers({line_of(kept[0]): 1}, 20)
        assert not [obj for obj in gc.get_objects() if type(obj) is LeftoverSearch]
        holders = [obj for obj in gc.get_referrers(kept) if type(obj) is list]
    finally:
        gc.enable()
    assert not holders


@pytest.mark.usefixtures("trace")
def test_search_without_time_says_that_it_is_partial() -> None:
    kept = [bytes(1000) for _ in range(20)]
    left = find_leftovers({line_of(kept[0]): 1}, 20, max_time=-1, clock=time.perf_counter)
    assert left.is_partial
    assert left.types == ()


def test_modules_are_known_whatever_their_class() -> None:
    assert is_module(asyncio)
    assert not is_module(asyncio.Task)
    assert not is_module(vars(asyncio))


def test_type_is_named_as_users_know_it() -> None:
    class Inner: ...

    assert type_name(Inner()) == "Inner"
    assert type_name("") == "str"
    assert type_name(CellType(1)) == "closure"
