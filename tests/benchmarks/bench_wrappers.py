"""What a guard adds to a call that succeeds, beside the bare await and the peers, interleaved."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from pytest_agentperf.reference.breaker import Breaker
from pytest_agentperf.reference.retry import Retry, RetryBudget

REPEATS = 15
CALLS = 2_000
Call: TypeAlias = Callable[[], Awaitable[int]]
clock = time.perf_counter


async def answer() -> int:
    return 1


def breaker() -> Call:
    return Breaker(name="ours")(answer)


def breaker_with_a_ratio() -> Call:
    return Breaker(name="ours", failure_ratio=0.5)(answer)


def breaker_called() -> Call:
    guard = Breaker(name="ours")
    return lambda: guard.call(answer)


def retrying() -> Call:
    return Retry(on=OSError)(answer)


def retrying_with_a_budget() -> Call:
    return Retry(on=OSError, budget=RetryBudget())(answer)


def purgatory() -> Call:
    peer: Any = pytest.importorskip("purgatory")
    wrapped: Call = peer.AsyncCircuitBreakerFactory()("peer")(answer)
    return wrapped


def tenacity() -> Call:
    peer: Any = pytest.importorskip("tenacity")
    wrapped: Call = peer.retry(retry=peer.retry_if_exception_type(OSError))(answer)
    return wrapped


def stamina() -> Call:
    peer: Any = pytest.importorskip("stamina")
    wrapped: Call = peer.retry(on=OSError)(answer)
    return wrapped


GUARDS = {
    breaker: "<= 6",
    breaker_with_a_ratio: "<= 6",
    breaker_called: "<= 6",
    retrying: "<= 6",
    retrying_with_a_budget: "<= 6",
    purgatory: "shown",
    tenacity: "shown",
    stamina: "shown",
}


async def seconds(call: Call) -> float:
    """Return what a call takes."""
    began = clock()
    for _ in range(CALLS):
        await call()
    return (clock() - began) / CALLS


@pytest.mark.asyncio
@pytest.mark.parametrize("repeat", range(REPEATS))
async def bench_guards(record_ratio: Callable[[str, str, float], None], repeat: int) -> None:
    for guard, must_be in GUARDS.items():
        guarded = guard()
        await guarded()
        base = await seconds(answer)
        ours = await seconds(guarded)
        again = await seconds(answer)
        name = guard.__name__.replace("_", " ")
        record_ratio(f"a call, {name} ÷ bare await", must_be, 2 * ours / (base + again))
        record_ratio("bare await ÷ itself (A/A)", "noise", again / base)
