"""The tiers' moves and the decision cache, on an injected clock."""

import asyncio
import math
import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest

from pytest_agentperf.reference.cache import CacheTypeError, CacheValueError
from pytest_agentperf.reference.tiers import DecisionCache, TieredCache


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def tiers_of(cache: TieredCache, names: str) -> dict[str, str | None]:
    return {name: cache.tier(name) for name in names}


def test_the_tiers_have_the_sizes_and_times_of_the_specification() -> None:
    stats = TieredCache().stats()
    assert [tier.max_size for tier in (stats.hot, stats.warm, stats.cold)] == [100, 500, 2000]
    assert [tier.idle for tier in TieredCache()._tiers] == [300.0, 1800.0, math.inf]
    assert TieredCache().ttl == 3600.0


def test_a_hit_promotes_by_one_tier() -> None:
    cache = TieredCache()
    cache.set("a", 1)
    seen = [cache.tier("a")]
    for _ in range(3):
        assert cache.get("a") == 1
        seen.append(cache.tier("a"))
    assert seen == ["cold", "warm", "hot", "hot"]
    stats = cache.stats()
    assert [t.hits for t in (stats.cold, stats.warm, stats.hot)] == [1, 1, 1]
    assert [t.promoted for t in (stats.cold, stats.warm, stats.hot)] == [1, 1, 0]
    assert len(cache) == 1


def test_overflow_demotes_and_cold_overflow_evicts() -> None:
    cache = TieredCache(1, 1, 1)
    for name in "abc":
        cache.set(name, name)
        for _ in range(2):
            cache.get(name)  # to hot; who was there goes down
    assert tiers_of(cache, "abc") == {"a": "cold", "b": "warm", "c": "hot"}
    cache.set("d", "d")
    assert tiers_of(cache, "abcd") == {"a": None, "b": "warm", "c": "hot", "d": "cold"}
    stats = cache.stats()
    assert (stats.evictions, stats.size, stats.hot.demoted, stats.warm.demoted) == (1, 3, 2, 1)


@pytest.mark.parametrize(
    ("idle", "tier"), [(299.9, "hot"), (300.0, "warm"), (1799.9, "warm"), (1800.0, "cold")]
)
def test_disuse_demotes(clock: FakeClock, idle: float, tier: str) -> None:
    cache = TieredCache(clock=clock)
    cache.set("a", 1)
    cache.get("a")
    cache.get("a")
    clock.now = idle
    assert cache.tier("a") == tier


def test_a_hit_in_hot_begins_the_time_of_disuse_anew(clock: FakeClock) -> None:
    cache = TieredCache(clock=clock)
    cache.set("a", 1)
    for clock.now in (0.0, 0.0, 200.0):
        cache.get("a")
    clock.now = 499.9
    assert cache.tier("a") == "hot"
    clock.now = 500.0
    assert cache.tier("a") == "warm"


def test_disuse_demotes_by_two_tiers_past_fresher_entries(clock: FakeClock) -> None:
    cache = TieredCache(clock=clock)
    cache.set("a", 1)
    cache.get("a")
    cache.get("a")
    clock.now = 299.0
    cache.set("b", 1)
    cache.get("b")
    clock.now = 1800.0
    assert tiers_of(cache, "ab") == {"a": "cold", "b": "warm"}


@pytest.mark.parametrize(("at", "found"), [(3599.9, 1), (3600.0, None)])
def test_promotion_does_not_change_when_an_entry_expires(
    clock: FakeClock, at: float, found: int | None
) -> None:
    cache = TieredCache(clock=clock)
    cache.set("a", 1)
    for clock.now in range(0, 3_500, 200):
        assert cache.get("a") == 1
    clock.now = at
    assert cache.get("a") == found
    assert cache.stats().expirations == (found is None)


def test_falsy_values_are_hits() -> None:
    cache = TieredCache()
    for value in (0, "", None, False):
        cache.set("a", value)
        assert cache.get("a", "missing") == value
    assert cache.stats().misses == 0


def test_set_keeps_the_tier_and_ttl_zero_removes() -> None:
    cache = TieredCache()
    cache.set("a", 1)
    cache.get("a")
    cache.set("a", 2)
    assert (cache.tier("a"), cache.get("a")) == ("warm", 2)
    cache.set("a", 3, ttl=0)
    assert "a" not in cache


def test_keys_are_typed() -> None:
    cache = TieredCache()
    for key in (1, 1.0, True, "1"):
        cache.set(key, repr(key))
    assert [cache.get(key) for key in (1, 1.0, True, "1")] == ["1", "1.0", "True", "'1'"]


def test_delete_and_clear_report_what_they_removed() -> None:
    cache = TieredCache()
    cache.set("a", 1)
    cache.set("b", 1)
    assert (cache.delete("a"), cache.delete("a"), cache.clear(), len(cache)) == (True, False, 1, 0)


def test_tiers_equal_a_segmented_lru() -> None:
    """Against a model of three ordered dicts, with every key in one of them at a time."""
    rng = random.Random(3)
    sizes = (3, 5, 10)
    cache = TieredCache(*sizes)
    model = [OrderedDict[int, None]() for _ in sizes]
    for _ in range(5_000):
        key = min(int(rng.expovariate(0.1)), 60)
        level = next((i for i, tier in enumerate(model) if key in tier), None)
        assert (cache.get(key) is not None) == (level is not None)
        if level is None:
            cache.set(key, key)
        else:
            del model[level][key]
        carry: int | None = key
        for tier, size in list(zip(model, sizes, strict=True))[
            2 if level is None else max(level - 1, 0) :
        ]:
            if carry is None:
                break
            tier[carry] = None
            carry = tier.popitem(last=False)[0] if len(tier) > size else None
    assert [list(tier) for tier in cache._tiers] == [list(tier) for tier in model]


def test_stats_and_repr_tell_the_state() -> None:
    cache = TieredCache(1, 2, 3)
    cache.set("a", 1)
    cache.get("a")
    cache.get("b")
    assert cache.stats().hit_rate == 0.5
    assert repr(cache) == "<TieredCache hot=0/1 warm=1/2 cold=0/3 ttl=3600 s hit_rate=0.50>"
    assert TieredCache().stats().hit_rate == 0.0
    with pytest.raises(AttributeError):
        cache.stats().misses = 1  # type: ignore[misc]


# decisions ------------------------------------------------------------------------------------


def test_a_denial_is_remembered_like_a_permission(clock: FakeClock) -> None:
    decisions = DecisionCache(clock=clock)
    asked = list[str]()

    def decide() -> bool:
        asked.append("asked")
        return False

    assert decisions.check("a:read", decide) is False
    assert decisions.check("a:read", decide) is False
    assert decisions.get("a:read", default="unknown") is False
    clock.now = 300.0
    assert decisions.get("a:read", default="unknown") == "unknown"
    assert asked == ["asked"]
    assert (decisions.stats().hits, decisions.stats().misses) == (2, 2)


def test_a_pattern_forgets_one_agents_decisions() -> None:
    decisions = DecisionCache()
    for key in ("spiffe://a:read", "spiffe://a:write", "spiffe://ab:read", "x:spiffe://a"):
        decisions.set(key, value=True)
    decisions.set(("spiffe://a", "delete"), value=True)
    assert decisions.invalidate_pattern("*spiffe://a:*") == 3
    assert len(decisions) == 2
    assert decisions.delete("spiffe://ab:read")
    assert decisions.clear() == 1


def test_a_separator_in_a_part_does_not_mix_up_keys() -> None:
    decisions = DecisionCache()
    decisions.set(("a:b", "c"), "first")
    assert decisions.get(("a", "b:c")) is None
    assert decisions.get("a:b:c") is None
    assert decisions.get(("a:b", "c")) == "first"


def test_a_policy_update_forgets_everything_once() -> None:
    decisions = DecisionCache()
    decisions.set("a", value=True)
    assert decisions.policy_updated("v2") == 1
    decisions.set("a", value=True)
    assert decisions.policy_updated("v2") == 0
    assert decisions.get("a") is True


def test_a_decision_made_before_a_policy_update_is_not_stored_after_it() -> None:
    async def main() -> tuple[list[bool], Any]:
        decisions, go = DecisionCache(), asyncio.Event()
        asked = 0

        async def decide() -> bool:
            nonlocal asked
            asked += 1
            await go.wait()
            return True

        tasks = [asyncio.ensure_future(decisions.acheck("a", decide)) for _ in range(3)]
        for _ in range(3):
            await asyncio.sleep(0)
        decisions.policy_updated("v2")
        go.set()
        found = await asyncio.gather(*tasks)
        assert asked == 1
        return found, decisions.get("a", "unknown")

    assert asyncio.run(main()) == ([True] * 3, "unknown")


def test_a_deciders_exception_is_not_remembered() -> None:
    decisions = DecisionCache()

    def decide() -> bool:
        raise ConnectionError("no answer")

    for _ in range(2):
        with pytest.raises(ConnectionError):
            decisions.check("a", decide)
    assert decisions.stats().errors == 2


def test_a_disabled_cache_asks_each_time() -> None:
    decisions = DecisionCache(enabled=False)
    answers = iter([True, False])
    assert decisions.check("a", lambda: next(answers)) is True
    assert decisions.check("a", lambda: next(answers)) is False
    decisions.set("a", value=True)
    assert decisions.get("a") is None

    async def decide() -> bool:
        return True

    assert asyncio.run(decisions.acheck("a", decide)) is True


def test_the_least_recently_used_decision_goes() -> None:
    decisions = DecisionCache(max_size=2)
    decisions.set("a", 1)
    decisions.set("b", 2)
    decisions.get("a")
    decisions.set("c", 3)
    assert [decisions.get(key) for key in "abc"] == [1, None, 3]
    assert repr(decisions).startswith("<DecisionCache policy='lru' ttl=300.0 size=2/2 hits=3 ")


CALLS: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: TieredCache(hot=0), CacheValueError, "hot=0: expected an int of at least 1"),
    (lambda: TieredCache(warm=True), CacheTypeError, "warm=True"),
    (lambda: TieredCache(cold=1.5), CacheTypeError, "cold=1.5"),  # type: ignore[arg-type]
    (lambda: TieredCache(hot_idle=-1), CacheValueError, "hot_idle=-1"),
    (lambda: TieredCache(ttl="x"), CacheTypeError, "ttl='x'"),  # type: ignore[arg-type]
    (lambda: TieredCache(clock=5), CacheTypeError, "clock=5"),  # type: ignore[arg-type]
    (lambda: TieredCache().set([], 1), CacheTypeError, "unhashable type: 'list'"),
    (lambda: TieredCache().set("a", 1, ttl=-1), CacheValueError, "ttl=-1"),
    (lambda: DecisionCache(0), CacheValueError, "max_size=0"),
    (lambda: DecisionCache(ttl=-1), CacheValueError, "ttl=-1"),
    (lambda: DecisionCache().get([]), CacheTypeError, "key \\[\\]: unhashable type: 'list'"),
    (lambda: DecisionCache().invalidate_pattern("["), CacheValueError, "every bracket closed"),
]


@pytest.mark.parametrize(("call", "kind", "message"), CALLS, ids=[c[2] for c in CALLS])
def test_bad_input_names_the_argument_and_what_is_accepted(
    call: Callable[[], object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        call()
