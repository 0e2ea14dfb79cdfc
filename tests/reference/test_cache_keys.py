"""Keys: what is one entry and what is two."""

import asyncio
import datetime as dt
import decimal
import enum
import functools
import math
from collections import namedtuple
from typing import Any

import pytest

from pytest_agentperf.reference.cache import Cache, CacheTypeError, cached

Point = namedtuple("Point", "x y")  # noqa: PYI024 - both kinds are the same class


class Colour(enum.IntEnum):
    RED = 1


def echo() -> tuple[Any, list[Any]]:
    calls = list[Any]()

    @cached(max_size=1000)
    def call(x: Any) -> Any:
        calls.append(x)
        return x

    return call, calls


DISTINCT: list[list[Any]] = [
    [1, 1.0, True, "1", b"1", Colour.RED, decimal.Decimal(1), 1 + 0j],
    [0, 0.0, -0.0, False, "", b"", None, (), [], {}, set(), frozenset()],
    [-1, -2, -1.0],  # hash(-1) == hash(-2)
    [(1,), (1.0,), (True,), [1], [1.0], [True], ["1"], {1}, {1.0}, frozenset({1}), {True}],
    [("a", "b"), ("a,b",), ("ab",), ("a", ("b",)), (("a",), "b"), Point("a", "b")],
    [["a", "b"], ["ab"], ["a,b"], ["a", ["b"]], [["a"], "b"], ["a", ("b",)], ["a", b"b"]],
    [{"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {1: "a"}, [("a", 1)], {("a", 1)}],
    [{"a": {"b": 1}}, {"a": {"b": 2}}, {"a": 1, "b": 1}, {"a": [{"b": {1, 2}}]}],
    [[None], [False], [0], [0.0], [-0.0], [""], [[]], [{}], [()], [10**5000]],
    [[dt.date(2024, 1, 1)], ["2024-01-01"], [dt.datetime(2024, 1, 1)]],  # noqa: DTZ001
    [{Point(1, 2)}, {Point(1.0, 2)}, {(1, 2)}, {Colour.RED}, {1}],
    [[decimal.Decimal(1), 1], [1, decimal.Decimal(1)], [decimal.Decimal(1), 2]],
    [{decimal.Decimal(1): 2}, {decimal.Decimal(2): 1}, {1: 2}],
    ["\ud800", "\udfff", ["\ud800"]],
]


@pytest.mark.parametrize("values", DISTINCT, ids=range(len(DISTINCT)))
def test_different_values_are_different_keys(values: list[Any]) -> None:
    call, calls = echo()
    for value in values:
        assert call(value) is value
    for value in values:
        assert call(value) is value
    assert len(calls) == len(values)


EQUAL: list[tuple[Any, Any]] = [
    ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
    ({3, 1, 2}, {2, 3, 1}),
    ({"a": {1: {"x", "y"}, 2: 3}}, {"a": {2: 3, 1: {"y", "x"}}}),
    ([math.nan], [float("nan")]),
    (math.nan, float("nan")),
    ((1, [2, {3: 4}]), (1, [2, {3: 4}])),
    ({decimal.Decimal(1): [1], "b": 2}, {"b": 2, decimal.Decimal(1): [1]}),
    ({Colour.RED, "a"}, {"a", Colour.RED}),
    ([dt.date(2024, 1, 1)], [dt.date(2024, 1, 1)]),
    (Point([1], {2}), Point([1], {2})),
    ("x" * 100_000, "x" * 100_000),
]


@pytest.mark.parametrize(("one", "other"), EQUAL, ids=range(len(EQUAL)))
def test_equal_content_is_one_key(one: Any, other: Any) -> None:
    call, calls = echo()
    call(one)
    call(other)
    assert len(calls) == 1


def test_a_large_argument_is_not_kept_by_its_key() -> None:
    call, _ = echo()
    call.cache.ttl = None

    @cached()
    def size(payload: list[str]) -> int:
        return len(payload)

    size(["x" * 10_000] * 100)
    kind, digest = next(size.cache._store.policy.heap.alive()).key
    assert (kind, len(digest)) == (list, 32)


def test_get_and_set_keep_typed_keys_apart() -> None:
    cache = Cache()
    for key in (1, 1.0, True, "1", (1,), (1.0,), frozenset({1}), frozenset({1.0})):
        assert cache.get(key) is None
        cache.set(key, repr(key))
        assert cache.get(key) == repr(key)
    assert len(cache) == 8


def test_keys_of_equal_hash_do_not_evict_each_other() -> None:
    assert hash(-1) == hash(-2)
    assert hash(0) == hash("") == hash(0.0)
    cache = Cache()
    keys = [-1, -2, 0, "", 0.0, False, (-1,), (-2,)]
    for at, key in enumerate(keys):
        cache.set(key, at)
    assert [cache.get(key) for key in keys] == list(range(8))


def test_objects_of_equal_text_are_different_keys() -> None:
    class Named:
        def __str__(self) -> str:
            return "same"

        __repr__ = __str__

    call, calls = echo()
    one, other = Named(), Named()
    for value in (one, other, [one], [other], "same", ["same"]):
        call(value)
    assert len(calls) == 6


def test_none_is_a_value() -> None:
    call, calls = echo()
    assert [call(None), call(None)] == [None, None]
    assert calls == [None]
    cache = Cache()
    cache.set("a", None)
    assert cache.get("a", 5) is None


def test_ways_of_passing_the_same_arguments_are_one_key() -> None:
    calls = list[Any]()

    @cached()
    def call(a: int, b: int = 2, /, c: int = 3, *, d: int = 4, **rest: int) -> None:
        calls.append((a, b, c, d, rest))

    for again in (
        lambda: call(1),
        lambda: call(1, 2),
        lambda: call(1, c=3),
        lambda: call(1, d=4, c=3),
        lambda: call(1, 2, 3, d=4),
    ):
        again()  # type: ignore[no-untyped-call]
    assert len(calls) == 1
    call(1, x=1, y=2)
    call(1, y=2, x=1)
    call(1, x=2, y=1)
    call(1, b=2)  # positional-only: this b is one of the rest
    assert len(calls) == 4


@pytest.mark.parametrize(
    "name", ["self", "table", "key", "rules", "call", "args", "kwargs", "loop"]
)
def test_a_parameter_may_have_any_name(name: str) -> None:
    @cached()
    def call(**names: int) -> dict[str, int]:
        return names

    @cached()
    async def acall(**names: int) -> dict[str, int]:
        return names

    assert call(**{name: 1}) == {name: 1}

    async def main() -> dict[str, int]:
        return await acall(**{name: 1})

    assert asyncio.run(main()) == {name: 1}


def test_simple_parameters_by_keyword_position_and_default_are_one_key() -> None:
    calls = list[Any]()

    @cached()
    def call(a: int, b: int = 2) -> None:
        calls.append((a, b))

    call(1)
    call(1, 2)
    call(a=1)
    call(b=2, a=1)
    assert calls == [(1, 2)]
    call(2, 1)
    call(1, b=1)
    assert len(calls) == 3


def test_ignored_parameters_are_no_part_of_the_key() -> None:
    calls = list[Any]()

    class Client:
        @cached(ignore=["self", "trace"])
        def ask(self, question: str, trace: object = None) -> str:
            calls.append((question, trace))
            return question

    assert Client().ask("a", []) == "a"
    assert Client().ask("a", bytearray()) == "a"
    assert len(calls) == 1


def test_methods_of_two_instances_are_two_keys() -> None:
    class Client:
        @cached()
        def me(self) -> int:
            return id(self)

    one, two = Client(), Client()
    assert (one.me(), two.me(), one.me()) == (id(one), id(two), id(one))


def test_two_functions_share_a_cache_without_sharing_entries() -> None:
    cache = Cache(10)
    double = cached(cache)(lambda x: 2 * x)
    triple = cached(cache)(lambda x: 3 * x)
    assert (double(2), triple(2), double(2)) == (4, 6, 4)
    assert len(cache) == 2
    assert cache.get(2) is None


def test_a_key_function_decides() -> None:
    calls = list[Any]()

    @cached(key=lambda request: request["id"])
    def ask(request: dict[str, Any]) -> None:
        calls.append(request)

    ask({"id": 1, "payload": bytearray()})
    ask({"id": 1, "payload": None})
    assert len(calls) == 1


def test_a_key_function_is_called_once_a_lookup() -> None:
    asked = list[int]()

    def key(x: int) -> int:
        asked.append(x)
        return x

    double = cached(key=key)(lambda x: 2 * x)
    double(1)
    double(1)
    assert asked == [1, 1]


def test_parameters_may_have_the_names_of_builtins_and_odd_defaults() -> None:
    calls = list[Any]()

    @cached()
    def call(sorted: int, tuple: Any = [], *, dict: Any = dt, **defaults: int) -> None:  # noqa: A002, B006
        calls.append((sorted, tuple, dict, defaults))

    call(1)
    call(1, [])
    call(1, dict=dt, tuple=[])
    assert calls == [(1, [], dt, {})]
    call(1, defaults=1)
    assert calls[1:] == [(1, [], dt, {"defaults": 1})]


def test_partials_builtins_and_callable_objects_can_be_cached() -> None:
    class Ask:
        async def __call__(self, x: int) -> int:
            return x

    assert cached()(functools.partial(pow, 2))(3) == 8
    assert cached()(len)([1, 2]) == 2
    assert cached()(max)(1, 2) == 2
    assert asyncio.run(_awaited(cached()(Ask())(5))) == 5


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def test_the_wrapper_keeps_name_doc_and_kind() -> None:
    @cached()
    async def ask() -> None:
        """Ask."""

    assert (ask.__name__, ask.__doc__) == ("ask", "Ask.")  # type: ignore[attr-defined]
    assert asyncio.iscoroutinefunction(ask)


def test_an_argument_within_itself_is_refused() -> None:
    call, _ = echo()
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(CacheTypeError, match="maximum recursion depth"):
        call(loop)
