"""The suites themselves: bad input, hanging components, and how they run in a user's project."""

import asyncio
import inspect
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import pytest_agentperf.conformance as package
from pytest_agentperf.conformance import CacheConformance
from pytest_agentperf.conformance.stuck import StuckError
from pytest_agentperf.conformance.suite import ConformanceError, ContractError

SUITES: list[Any] = [
    getattr(package, name) for name in package.__all__ if name.endswith("Conformance")
]


class DictCache(dict[Any, Any]):
    def set(self, key: Any, value: Any) -> None:
        self[key] = value


def suite_of(make: Callable[..., Any], **attributes: Any) -> Any:
    class Suite(CacheConformance):
        def make_cache(self, **arguments: Any) -> Any:
            return make(**arguments)

    for name, value in attributes.items():
        setattr(Suite, name, value)
    return Suite()


def all_tests_of(suite: type) -> dict[str, Any]:
    return {name: getattr(suite, name) for name in dir(suite) if name.startswith("test_")}


def play_all(suite: Any, *, without: tuple[str, ...] = ()) -> int:
    played = 0
    for name in all_tests_of(type(suite)):
        if name not in (*without, "test_speed_of_a_hit_is_reported"):
            try:
                getattr(suite, name)()
                played += 1
            except pytest.skip.Exception:
                pass
    return played


# What a component may be


def test_async_cache_whose_factory_is_async_passes() -> None:
    class AsyncCache:
        def __init__(self, max_size: int) -> None:
            self.loop = asyncio.get_running_loop()
            self.max_size, self.entries = max_size, dict[Any, Any]()

        async def get(self, key: Any, default: Any = None) -> Any:
            await asyncio.sleep(0)
            return self.entries.get(key, default)

        async def set(self, key: Any, value: Any) -> None:
            if key not in self.entries and len(self.entries) == self.max_size:
                self.entries.clear()
            self.entries[key] = value

        async def len(self) -> int:
            return len(self.entries)

    async def make(*, max_size: int, ttl: float | None, clock: Any) -> AsyncCache:
        await asyncio.sleep(0)
        return AsyncCache(max_size)

    assert play_all(suite_of(make, supports_ttl=False)) >= 12


def test_sync_face_of_an_async_cache_runs_without_a_loop() -> None:
    class Facade(DictCache):
        def get(self, key: Any, default: Any = None) -> Any:
            async def get() -> Any:
                return dict.get(self, key, default)

            coroutine = get()
            try:
                return asyncio.run(coroutine)
            finally:
                coroutine.close()

    def make(*, max_size: int, ttl: float | None, clock: Any) -> Facade:
        return Facade()

    test = "test_falsy_values_are_no_misses"
    getattr(suite_of(make, needs_loop=False), test)()
    with pytest.raises(RuntimeError, match="running event loop"):
        getattr(suite_of(make), test)()


def test_async_cache_without_a_loop_is_told_so() -> None:
    class AsyncCache(DictCache):
        async def get(self, key: Any, default: Any = None) -> Any:
            await asyncio.sleep(0)

    with pytest.raises(ContractError, match="needs_loop = False, but the component is async"):
        suite_of(lambda **_: AsyncCache(), needs_loop=False).test_missing_key_gives_the_default()


def test_cache_that_starts_threads_passes() -> None:
    class ThreadCache(DictCache):
        def __init__(self) -> None:
            threading.Thread(target=threading.Event().wait, daemon=True).start()

        async def get(self, key: Any, default: Any = None) -> Any:
            return await asyncio.to_thread(super().get, key, default)

    suite = suite_of(lambda **_: ThreadCache())
    suite.test_falsy_values_are_no_misses()
    suite.test_ttl_of_none_never_ends()


def test_threads_are_given_time_before_the_clock_jumps() -> None:
    class SlowCache(DictCache):
        async def get(self, key: Any, default: Any = None) -> Any:
            async with asyncio.timeout(1):  # virtual seconds
                return await asyncio.to_thread(self.find, key, default)

        def find(self, key: Any, default: Any) -> Any:
            time.sleep(0.01)
            return super().get(key, default)

    suite_of(lambda **_: SlowCache()).test_set_replaces_the_value_of_a_key()


def test_cache_that_takes_no_clock_is_tested_in_real_time() -> None:
    class RealTimeCache(DictCache):
        def __init__(self, ttl: float | None) -> None:
            self.ttl = ttl

        def set(self, key: Any, value: Any) -> None:
            self[key] = value, time.monotonic() + (self.ttl or 1e9)

        def get(self, key: Any, default: Any = None) -> Any:
            value, end = super().get(key, (default, 0))
            return value if time.monotonic() < end else default

    suite = suite_of(lambda *, max_size, ttl, clock: RealTimeCache(ttl), supports_clock=False)
    suite.test_entry_is_a_hit_before_its_ttl()
    suite.test_entry_is_a_miss_after_its_ttl()
    suite.test_reading_does_not_extend_the_ttl()
    with pytest.raises(pytest.skip.Exception, match="supports_clock = False"):
        suite.test_ttl_of_none_never_ends()


def test_factories_get_the_documented_arguments_alone() -> None:
    def make(**arguments: Any) -> DictCache:
        assert list(arguments) == ["max_size", "ttl", "clock"]
        assert isinstance(arguments["max_size"], int)
        assert arguments["ttl"] is None or arguments["ttl"] > 0
        assert arguments["clock"]() == arguments["clock"]()
        return DictCache()

    suite = suite_of(make)
    suite.test_set_replaces_the_value_of_a_key()
    suite.test_entry_is_a_hit_before_its_ttl()


# Right caches that are out of the ordinary


class OddCache:
    """Keeps what it promised; the rest is its own business."""

    def __init__(self, max_size: int, ttl: float | None, clock: Any) -> None:
        self.max_size, self.ttl, self.clock = max_size, ttl, clock
        self.entries: dict[str, tuple[Any, float]] = {}

    def get(self, key: str, default: Any = None) -> Any:
        assert isinstance(key, str)
        if key in self.entries and self.clock() >= self.entries[key][1]:
            del self.entries[key]
        return self.entries.get(key, (default, 0))[0]

    def set(self, key: str, value: Any) -> None:
        is_live = key in self.entries and self.clock() < self.entries[key][1]
        if is_live or self.has_room(key):
            end = float("inf") if self.ttl is None else self.clock() + self.ttl
            self.entries[key] = value, end

    def has_room(self, key: str) -> bool:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.entries)


class AdmitsNothingWhenFull(OddCache):
    def has_room(self, key: str) -> bool:
        return len(self.entries) < self.max_size


class EmptiesItselfWhenFull(OddCache):
    def has_room(self, key: str) -> bool:
        if len(self.entries) == self.max_size:
            self.entries.clear()
        return True


class EvictsTheYoungest(OddCache):
    def has_room(self, key: str) -> bool:
        if len(self.entries) == self.max_size:
            self.entries.popitem()
        return True


class CountsTheExpiredToo(OddCache):
    def has_room(self, key: str) -> bool:
        live = [each for each, (_, end) in self.entries.items() if self.clock() < end]
        if len(live) == self.max_size:
            del self.entries[live[0]]
        return True


@pytest.mark.parametrize(
    "kind", [AdmitsNothingWhenFull, EmptiesItselfWhenFull, EvictsTheYoungest, CountsTheExpiredToo]
)
def test_right_caches_out_of_the_ordinary_pass_by_default(kind: Any) -> None:
    suite = suite_of(kind, examples=200)
    assert play_all(suite) >= 20


# Bad input


@pytest.mark.parametrize(
    ("made", "missing"),
    [(None, "get, set, __len__"), ({}, "set"), (DictCache, "never reached"), (object(), "get")],
)
def test_factory_that_returns_the_wrong_thing_is_told_what_was_expected(
    made: Any, missing: str
) -> None:
    if made is DictCache:  # a class and not an instance
        with pytest.raises((ContractError, TypeError)):
            suite_of(lambda **_: made).test_missing_key_gives_the_default()
        return
    with pytest.raises(ContractError) as caught:
        suite_of(lambda **_: made).test_missing_key_gives_the_default()
    text = str(caught.value)
    assert f"Suite.<lambda> returned {made!r}" in text or "make_cache returned" in text
    assert missing in text


def test_factory_that_returns_a_used_cache_is_told_so() -> None:
    used = DictCache(key="value")
    with pytest.raises(ContractError, match="returned a cache that holds 1 entries"):
        suite_of(lambda **_: used).test_missing_key_gives_the_default()


def test_suite_without_a_factory_says_what_to_define() -> None:
    for suite in SUITES:
        component = suite.__name__.removesuffix("Conformance").lower()
        test = next(iter(name for name in vars(suite.__mro__[1]) if name.startswith("test_")))
        with pytest.raises(NotImplementedError, match=rf"define make_{component}\(self, \*, "):
            getattr(suite(), test)()


def test_unknown_order_of_eviction_is_refused() -> None:
    suite = suite_of(lambda **_: DictCache(), supports_eviction_order=True, eviction_order="random")
    with pytest.raises(ContractError, match="eviction_order='random': expected 'lru' or 'fifo'"):
        suite.test_reading_counts_as_use_as_the_order_says()


def test_capability_that_is_lacking_skips_with_that_reason() -> None:
    suite = suite_of(lambda **_: DictCache(), supports_ttl=False)
    with pytest.raises(pytest.skip.Exception, match=r"supports_ttl = False: Suite declares"):
        suite.test_entry_is_a_hit_before_its_ttl()


def test_wrong_value_is_reported_with_what_was_expected() -> None:
    class WrongCache(DictCache):
        def get(self, key: Any, default: Any = None) -> Any:
            return default if not super().get(key) else self[key]

    with pytest.raises(ConformanceError, match=r"get of a stored 0: got a miss, expected 0"):
        suite_of(lambda **_: WrongCache()).test_falsy_values_are_no_misses()


# Components that hang


def hanging(get: Callable[..., Any]) -> Any:
    return suite_of(lambda **_: type("Hanging", (DictCache,), {"get": get})(), deadline=0.5)


async def waits_for_nobody(self: Any, key: Any, default: Any = None) -> None:
    await asyncio.Event().wait()  # the line that hangs


async def turns_for_ever(self: Any, key: Any, default: Any = None) -> None:
    while True:  # noqa: ASYNC110
        await asyncio.sleep(0)  # the line that hangs


async def sleeps_for_ever(self: Any, key: Any, default: Any = None) -> None:
    while True:  # noqa: ASYNC110
        await asyncio.sleep(1)  # the line that hangs


async def cannot_be_cancelled(self: Any, key: Any, default: Any = None) -> None:
    while True:
        try:
            await asyncio.Event().wait()  # the line that hangs
        except asyncio.CancelledError:
            continue


async def waits_for_a_thread(self: Any, key: Any, default: Any = None) -> None:
    await asyncio.to_thread(threading.Event().wait, 2)  # the line that hangs


def blocks(self: Any, key: Any, default: Any = None) -> None:
    threading.Event().wait(2)  # the line that hangs


@pytest.mark.parametrize(
    "get",
    [
        waits_for_nobody, turns_for_ever, sleeps_for_ever, cannot_be_cancelled,
        waits_for_a_thread, blocks,
    ],
)  # fmt: skip
def test_hanging_component_is_reported_with_the_line_where_it_hangs(get: Any) -> None:
    began = time.monotonic()
    with pytest.raises(StuckError) as caught:
        hanging(get).test_missing_key_gives_the_default()
    text = str(caught.value)
    assert "it hangs" in text
    assert f"in {get.__name__}" in text
    assert "# the line that hangs" in text
    assert time.monotonic() - began < 10


def test_state_machine_that_hangs_is_reported_too() -> None:
    with pytest.raises(StuckError, match="the line that hangs"):
        hanging(waits_for_nobody).test_any_program_sees_the_values_it_stored()


def test_without_a_deadline_the_test_runs_in_its_own_thread() -> None:
    seen: set[threading.Thread] = set()

    def make(**_: Any) -> DictCache:
        seen.add(threading.current_thread())
        return DictCache()

    suite_of(make, deadline=None).test_set_replaces_the_value_of_a_key()
    assert seen == {threading.current_thread()}
    suite_of(make).test_set_replaces_the_value_of_a_key()
    assert len(seen) == 2


# What the suites promise about themselves


@pytest.mark.parametrize("suite", SUITES)
def test_every_test_names_the_public_issue_it_comes_from(suite: type) -> None:
    for name, test in all_tests_of(suite).items():
        doc = inspect.getdoc(test) or ""
        assert re.search(r"[\w.-]+/[\w.-]+#\d+", doc), name


def test_suites_are_imported_when_they_are_used() -> None:
    program = (
        "import sys, pytest_agentperf.conformance as c; before = set(sys.modules)\n"
        "assert not {'pytest', 'hypothesis', 'asyncio'} & before\n"
        "c.CacheConformance; assert 'hypothesis' not in sys.modules\n"
        "assert set(c.__all__) <= set(dir(c))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_unknown_suite_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'QueueConformance'"):
        _ = package.QueueConformance


def test_speed_is_reported_as_a_ratio() -> None:
    noted: list[tuple[str, Any]] = []
    request: Any = SimpleNamespace(node=SimpleNamespace(user_properties=noted))
    suite_of(lambda **_: DictCache()).test_speed_of_a_hit_is_reported(request)
    ((name, ratio),) = noted
    assert name == "agentperf.hit_ratio"
    assert 0.1 < ratio < 100


# In the project of a user

ASYNCIO = (
    "-W",
    "ignore::pytest.PytestDeprecationWarning",
)  # of pytest-asyncio, where it has no ini

PROJECT = """
    from collections import OrderedDict
    from pytest_agentperf.conformance import CacheConformance

    class LRU:
        def __init__(self, size, evicts_early=False):
            self.size, self.entries = size, OrderedDict()
            self.evicts_early = evicts_early
        def get(self, key, default=None):
            return self.entries.get(key, default)
        def set(self, key, value):
            is_new = key not in self.entries or self.evicts_early
            if is_new and len(self.entries) >= self.size:
                self.entries.popitem(last=False)
            self.entries[key] = value
        def __len__(self):
            return len(self.entries)

    class TestRight(CacheConformance):
        supports_ttl = False
        def make_cache(self, *, max_size, ttl, clock): return LRU(max_size)
"""
WRONG = """
    class TestWrong(CacheConformance):
        supports_ttl = False
        def make_cache(self, *, max_size, ttl, clock): return LRU(max_size, evicts_early=True)
"""


@pytest.mark.parametrize(
    ("ini", "options"),
    [
        ("", ()),
        ("asyncio_mode = auto", ()),
        ("", ("-p", "no:asyncio")),
        ("", ("-p", "no:agentperf", "-p", "no:anyio")),
        ("", ("-n", "2")),
        ("addopts = --import-mode=importlib", ()),
    ],
)
def test_suite_runs_as_plain_tests_in_any_project(
    pytester: pytest.Pytester, ini: str, options: tuple[str, ...]
) -> None:
    pytester.makeini(f"[pytest]\n{ini}\n")
    pytester.makepyfile(test_ours=PROJECT)
    result = pytester.runpytest_subprocess("-W", "error", *ASYNCIO, "-q", *options)
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] >= 13
    assert set(outcomes) == {"passed", "skipped"}


def test_failure_shows_the_line_of_the_suite_and_a_short_program(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_ours=PROJECT + WRONG)
    result = pytester.runpytest_subprocess("-W", "error", *ASYNCIO, "-q", "-k", "TestWrong")
    failed = {line.split("::")[-1].split(" ")[0] for line in result.outlines if "FAILED" in line}
    assert failed == {
        "test_overwriting_in_a_full_cache_evicts_nothing",
        "test_any_program_sees_the_values_it_stored",
    }
    text = result.stdout.str()
    assert (
        "hits of a full cache after 'a' was reset: got ['a', 'c'], expected ['a', 'b', 'c']" in text
    )
    program = [line for line in result.outlines if re.match(r"E\s+state\.", line)]
    assert 3 <= len(program) <= 9, program
    assert "call_within" not in text  # the machinery of the suite is hidden
