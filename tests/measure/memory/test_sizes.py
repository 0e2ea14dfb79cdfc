"""Deep sizes beside what tracemalloc counted when the objects were made."""

import asyncio
import collections
import dataclasses
import gc
import logging
import sys
import tracemalloc
import types
from collections.abc import Callable
from typing import Any

import pydantic
import pytest

from pytest_agentperf.measure.memory.sizes import reachable, size

MANY = 2000


class Plain:
    def __init__(self, number: int) -> None:
        self.text = str(number)
        self.ratio = number * 1.5
        self.parts = [number * 1000]


class Child(Plain):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.more = {number}


class Slots:
    __slots__ = ("number", "text")

    def __init__(self, number: int) -> None:
        self.text = str(number)
        self.number = number


@dataclasses.dataclass
class Data:
    number: int
    text: str
    more: dict[str, int]


class Model(pydantic.BaseModel):
    number: int
    text: str


class Cycle:
    def __init__(self) -> None:
        self.me = self
        self.around = [self]


class HoldsDict:
    """An instance that could be taken for one with a `__dict__`."""

    def __init__(self, number: int) -> None:
        self.only = {"number": number * 1000}


def chain() -> object:
    last: object = None
    for number in range(MANY):
        last = (last, number * 1000)
    return last


MAKES: dict[str, Callable[[], object]] = {
    "plain instances": lambda: [Plain(n) for n in range(MANY)],
    "instances of a subclass": lambda: [Child(n) for n in range(MANY)],
    "instances that hold a dict": lambda: [HoldsDict(n) for n in range(MANY)],
    "slots": lambda: [Slots(n) for n in range(MANY)],
    "dataclasses": lambda: [Data(n, str(n), {}) for n in range(MANY)],
    "models that set their dict": lambda: [Model(number=n, text=str(n)) for n in range(MANY)],
    "dicts": lambda: [{"number": n, "text": str(n)} for n in range(MANY)],
    "dict with keys of its own": lambda: {str(n): n for n in range(MANY)},
    "ints": lambda: list(range(1000, 1000 + MANY)),
    "floats": lambda: [n * 0.5 for n in range(MANY)],
    "bytes": lambda: bytes(100_000),
    "bytearrays": lambda: [bytearray(n) for n in range(MANY)],
    "strings": lambda: ["é" * (n % 50) + "x" * 10 for n in range(MANY)],
    "sets": lambda: [{n, n + 1} for n in range(MANY)],
    "tuples that hold each other": chain,
    "cycles": lambda: [Cycle() for _ in range(MANY)],
    "a shared list": lambda: [[1000, 2000]] * 50 * MANY,
    "deque": lambda: collections.deque(str(n) for n in range(MANY)),
    "defaultdict": lambda: collections.defaultdict(list, {n: [n] for n in range(MANY)}),
    "Counter": lambda: collections.Counter(str(n) for n in range(MANY)),
    "OrderedDict": lambda: collections.OrderedDict((n, str(n)) for n in range(MANY)),
    "memoryviews": lambda: [memoryview(bytes(n)) for n in range(MANY)],
}


def made(make: Callable[[], object]) -> tuple[object, int]:
    """Return what *make* makes, and the bytes that it took."""
    make()
    taken = []
    for _ in range(3):  # what other threads of the process allocate meanwhile comes on top
        gc.collect()
        tracemalloc.start()
        try:
            thing = make()
            gc.collect()
            taken.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
    return thing, min(taken)


@pytest.mark.parametrize("kind", MAKES)
def test_size_is_what_was_allocated(kind: str) -> None:
    thing, truth = made(MAKES[kind])
    assert size(thing) == pytest.approx(truth, rel=0.01)


def test_size_makes_no_dict_for_instances() -> None:
    things = [Plain(number) for number in range(MANY)]
    size(things)
    gc.collect()
    tracemalloc.start()
    try:
        size(things)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 1000
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="3.13 does not tell of these dicts")
def test_instances_whose_dict_was_asked_for_are_counted_with_it() -> None:
    def make() -> list[Plain]:
        things = [Plain(number) for number in range(MANY)]
        for thing in things:
            vars(thing)
        return things

    thing, truth = made(make)
    assert size(thing) == pytest.approx(truth, rel=0.03)


def test_arrays_count_with_their_data_and_views_with_what_they_view() -> None:
    numpy: Any = pytest.importorskip("numpy")

    def make() -> list[object]:
        array = numpy.zeros(100_000)
        return [array, array[::2], array.reshape(2, -1), numpy.zeros(100_000)[:10]]

    thing, truth = made(make)
    assert size(thing) == pytest.approx(truth, rel=0.01)
    thing, truth = made(lambda: numpy.array([str(n) for n in range(MANY)], dtype=object))
    assert size(thing) == pytest.approx(truth, rel=0.01)


def test_what_belongs_to_the_process_is_not_followed() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    holder = [types, Plain, chain, len, logging.getLogger("agent"), loop, sys._getframe()]
    assert size(holder) == sys.getsizeof(holder)


def test_what_is_static_takes_nothing() -> None:
    holder = [None, True, (), "", 5, -5, 256]
    assert size(holder) == sys.getsizeof(holder)
    assert size(None) == 0


def test_own_sizeof_of_the_user_is_not_run() -> None:
    class Proud(list[int]):
        def __sizeof__(self) -> int:
            raise AssertionError

    assert size(Proud([1, 2])) >= sys.getsizeof([1, 2])


def test_objects_that_pretend_to_be_others_are_not_asked() -> None:
    class Proxy:
        @property  # type: ignore[misc]
        def __class__(self) -> type:
            raise RuntimeError

        def __getattr__(self, name: str) -> object:
            raise RuntimeError

    assert size([Proxy()]) > 0


def test_reachable_visits_each_once_and_stops_at_its_limit() -> None:
    inner = [1000]
    things = [inner, inner, [1000]]
    assert list(reachable(things)) == [[things], [[1000], [1000]], [1000]]
    assert list(reachable(things, limit=2)) == [[things], [inner]]
    assert list(reachable(things, limit=3)) == [[things], [inner, [1000]]]
