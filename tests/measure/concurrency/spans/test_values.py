"""Values: what is noted of arguments and results, and that looking runs no code of the user's."""

import datetime as dt
import enum
import threading
import types
import uuid
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.measure.concurrency.spans.values import UNKNOWN, Values, values_of


class Point(NamedTuple):
    """A tuple with names."""

    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Slotted:
    """An instance without a `__dict__`."""

    city: str
    size: float


class Plain:
    """An instance with a `__dict__`."""

    def __init__(self, city: str) -> None:
        self.city = city


class Colour(enum.Enum):
    """An enumeration."""

    RED = "red"


class TextColour(enum.StrEnum):
    """An enumeration of texts."""

    RED = "red"


def of(*values: object) -> Values:
    return values_of(values)


@pytest.mark.parametrize(
    ("value", "atoms"),
    [
        ("Paris", ("Paris",)),
        (b"Paris", (b"Paris",)),
        (bytearray(b"Paris"), (b"Paris",)),
        (21, (21,)),
        (2.5, (2.5,)),
        (True, ()),
        (None, ()),
        (["a", ["b"]], ("a", "b")),
        (("a", {"k": "b"}), ("a", "b")),
        (deque(["a"]), ("a",)),
        (frozenset({"a"}), ("a",)),
        (Point(1, 2), (1, 2)),
        (Slotted("Rome", 1.5), ("Rome", 1.5)),
        (Plain("Rome"), ("Rome",)),
        (Colour.RED, ("red",)),
        (TextColour.RED, ("red",)),
        (uuid.UUID(int=1), ("00000000-0000-0000-0000-000000000001",)),
        (dt.date(2024, 5, 6), ("2024-05-06",)),
    ],
)
def test_values_are_the_texts_and_numbers_inside(value: object, atoms: tuple[object, ...]) -> None:
    found = of(value)
    assert found.atoms == atoms
    assert [type(atom) for atom in found.atoms] == [type(atom) for atom in atoms]
    assert found.is_whole
    assert found.is_comparable


def test_values_of_a_result_include_the_keys_of_its_tables() -> None:
    table = {"Paris": 21, "Rome": {"high": 30}}
    assert sorted(map(str, values_of((table,), is_result=True).atoms)) == [
        "21", "30", "Paris", "Rome", "high",
    ]  # fmt: skip
    assert of(table).atoms == (21, 30)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([[1], 2], [[1, 2]]),
        ({"a": 1}, {"b": 1}),
        ([1], (1,)),
        (1, True),
        (None, False),
        (1, 1.0),
        (Plain("Rome"), Slotted("Rome", 1)),
        (int, str),
        (["a"], ["a", None]),
    ],
)
def test_values_of_another_structure_have_another_shape(one: object, other: object) -> None:
    assert of(one).shape != of(other).shape


def test_equal_values_of_different_objects_have_one_shape() -> None:
    one, other = of({"a": [1, "x"]}, Plain("Rome")), of({"a": [1, "x"]}, Plain("Rome"))
    assert (one.shape, one.atoms) == (other.shape, other.atoms)


def test_objects_are_known_by_identity_and_containers_are_not() -> None:
    instance = Plain("Rome")
    assert of([instance], {"k": instance}).objects == {id(instance)}
    assert of([1], {"k": (2,)}, "text").objects == frozenset()


def test_an_object_without_attributes_cannot_be_compared_and_may_hold_anything_returned() -> None:
    opaque = threading.Lock()
    assert not of(opaque).is_comparable
    assert of(opaque).is_whole
    assert not values_of((opaque,), is_result=True).is_whole


def test_classes_and_modules_compare_by_identity() -> None:
    assert of(Plain, types).is_comparable
    assert of(Plain) == of(Plain)
    assert of(Plain) != of(Slotted)


class Hostile:
    """An object the code of which must not run."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(name)

    def __eq__(self, other: object) -> bool:
        raise AssertionError

    def __hash__(self) -> int:
        raise AssertionError

    def __repr__(self) -> str:
        raise AssertionError

    def __bool__(self) -> bool:
        raise AssertionError


class HostileList(list[Any]):
    """A list the own methods of which must not run."""

    def __iter__(self) -> Any:
        raise AssertionError

    def __len__(self) -> int:
        raise AssertionError


class HostileDict(dict[str, Any]):
    """A dict the own methods of which must not run."""

    def items(self) -> Any:
        raise AssertionError


class HostileText(str):
    """A text the own methods of which must not run."""

    __slots__ = ()

    def __str__(self) -> str:
        raise AssertionError


class HostileNumber(int):
    """A number the own methods of which must not run."""

    def __int__(self) -> int:
        raise AssertionError


def test_looking_at_values_runs_no_code_of_their_classes() -> None:
    hostile = Hostile()
    object.__setattr__(hostile, "city", "Rome")
    found = of(hostile, HostileList(["a"]), HostileDict(k="b"), HostileText("c"), HostileNumber(7))
    assert set(found.atoms) == {"Rome", "a", "b", "c", 7}
    assert all(type(atom) in {str, int} for atom in found.atoms)


class Refusing:
    """An object that cannot be looked at: its `__dict__` is a property."""

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no")


def test_values_that_cannot_be_looked_at_are_unknown() -> None:
    assert of("Paris", Refusing()) == UNKNOWN


def test_a_cycle_ends_at_the_depth_that_is_looked_at() -> None:
    cycle: list[Any] = ["a"]
    cycle.append(cycle)
    found = of(cycle)
    assert set(found.atoms) == {"a"}
    assert not found.is_whole


@pytest.mark.parametrize(("count", "whole"), [(398, True), (399, True), (400, False)])
def test_values_are_whole_up_to_400_parts(count: int, *, whole: bool) -> None:
    found = of(list(range(count)))
    assert (found.is_whole, found.is_comparable) == (whole, whole)
    assert len(found.atoms) <= 400


@pytest.mark.parametrize(("count", "whole"), [(399, True), (400, False), (100_000, False)])
def test_mappings_are_looked_at_up_to_400_parts(count: int, *, whole: bool) -> None:
    assert of(dict.fromkeys(range(count), 1)).is_whole == whole


@pytest.mark.parametrize(("length", "whole"), [(50_000, True), (50_001, False)])
def test_texts_are_kept_up_to_50_000_letters(length: int, *, whole: bool) -> None:
    found = of("x" * length)
    assert found.characters == 50_000
    assert found.is_whole == whole
    assert found.is_comparable  # by a hash of all of it


def test_long_texts_that_differ_behind_what_is_kept_do_not_compare_equal() -> None:
    one, other = of("x" * 60_000 + "a"), of("x" * 60_000 + "b")
    assert one.atoms == other.atoms
    assert one.shape != other.shape
    assert of("x" * 60_000) == of("x" * 60_000)


@pytest.mark.parametrize("value", ["x" * 1_000_001, b"x" * 50_001])
def test_texts_too_long_to_hash_cannot_be_compared(value: object) -> None:
    assert not of(value).is_comparable


@pytest.mark.parametrize(("number", "atoms"), [(2**64 - 1, (2**64 - 1,)), (2**64, ())])
def test_numbers_are_kept_up_to_64_bits(number: int, atoms: tuple[int, ...]) -> None:
    assert of(number).atoms == atoms


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.builds(Plain, inner),
)


@given(anything)
def test_values_never_raise_and_are_the_same_twice(value: object) -> None:
    one, other = values_of((value,), is_result=True), values_of((value,), is_result=True)
    assert one.shape == other.shape
    assert repr(one.atoms) == repr(other.atoms)
