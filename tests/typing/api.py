"""What users write, for the type checker alone: never run, and no test."""

import functools
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import assert_type

import pytest

from pytest_agentperf import (
    SIMPLE_AGENT,
    AgentPerfError,
    LLMServer,
    LoadResult,
    PerfCache,
    PerfConcurrency,
    PerfLoad,
    PerfMemory,
    PerfPool,
    PerfTimer,
    Reply,
    Sample,
    Scenario,
    Usage,
)
from pytest_agentperf.reference.batcher import Batcher


def length(text: str) -> int:
    return len(text)


async def length_later(text: str) -> int:
    return len(text)


def words(text: str) -> Iterator[str]:
    yield from text.split()


def word_generator(text: str) -> Generator[str, None, None]:
    yield from text.split()


async def words_later(text: str) -> AsyncIterator[str]:
    for word in text.split():
        yield word


class Answer:
    sent = 1
    received = 2


@pytest.mark.perf(rounds=20)
@pytest.mark.perf_budget("ask", p95={"warn": "100ms", "fail": "200ms"})
async def use(perf_timer: PerfTimer, perf_llm_server: Callable[..., LLMServer]) -> None:
    assert_type(perf_timer(length, "a"), int)
    assert_type(perf_timer(functools.partial(length, "a")), int)
    assert_type(await perf_timer(length_later, text="a"), int)
    coroutine = perf_timer(length_later, "a")
    assert_type(await coroutine, int)
    assert_type(perf_timer(word_generator, "a b"), list[str])
    assert_type(await perf_timer(words_later, "a b"), list[str])
    assert_type(perf_timer["label"], PerfTimer)
    assert_type(perf_timer.wrap(length)("a"), int)
    perf_timer.patch(Answer(), "received")
    perf_timer.count(Answer(), "received", metric="tool_calls")
    perf_timer.configure(rounds=5, max_time="10s", usage=lambda answer: (answer.sent, 1))
    with perf_timer.measure("block") as call:
        call.first_item()
        assert_type(list(call.iterate(words("a b"))), list[str])
        call.usage(Usage(1, 2))
    async with perf_timer.measure("block") as call:
        assert_type([word async for word in call.iterate(words_later("a b"))], list[str])
    sample: Sample = perf_timer.latency
    assert_type(sample.p95, float)
    server = perf_llm_server(ttft="50ms", reply=Reply(text="Paris"))
    assert_type(server.url, str)
    raise AgentPerfError


# Wrong arguments of the function under test are found where the timer is called.
def misuse(perf_timer: PerfTimer) -> None:
    perf_timer(length, 1)  # type: ignore[call-overload]


@pytest.mark.perf_budget(loop_block_max="50ms", leaked_tasks=0, parallelism=2)
async def watch(perf_concurrency: PerfConcurrency) -> None:
    answer = Answer()
    async with perf_concurrency("ask", threshold="50ms", independent=("a", "b")) as watch:
        watch.track(answer, "received")
        with watch.span("plan", question="q"):
            pass
        async with watch.span("act"):
            await length_later("a")
    watch.assert_not_blocked("50ms")
    watch.assert_max_in_flight(10)
    watch.assert_parallel("a", "b", min=2.0)
    watch.assert_no_leaks()
    assert_type([block.where for block in watch.blocking], list[str])
    assert_type(watch.in_flight_max, dict[str, int])
    assert_type([str(finding) for finding in watch.findings], list[str])
    assert_type(watch.parallelism, float)
    scaling = await perf_concurrency.scaling(length_later, "a", levels=(1, 2))
    scaling.assert_scales(efficiency=0.8)
    perf_concurrency.scaling(length, "a").assert_scales(0.8)


@pytest.mark.perf_budget("ask", hit_rate="80%", misses=1, prefix_reuse=0.9, time_saved="1s")
async def cache(perf_cache: PerfCache) -> None:
    load = perf_cache.count(length)
    assert_type(load("a"), int)
    assert_type(load.computed.calls, int)
    answer = functools.lru_cache(load)
    with perf_cache(answer, "ask", load=load) as hits:
        answer("a")
    async with perf_cache((lambda: 1, lambda: 2), warm=False) as hits:
        assert_type(await perf_cache.count(length_later)("a"), int)
    assert_type(hits.hit_rate, float)
    assert_type(hits.evictions, int)
    assert_type(hits.size_after, int | None)
    hits.assert_hit_rate(at_least="80%")
    hits.assert_all_hits()
    hits.assert_misses(exactly=0)
    perf_cache.assert_computed_once(length, "a", load=load, concurrency=50, hold="50ms")
    await perf_cache.assert_computed_once(length_later, "a", load=load)
    await perf_cache.assert_expires(length_later, "a", load=load, after="60s", advance=print)
    perf_cache.assert_evicts(length, ["a", "b"], load=load, evicted=["a"], kept=["b"])
    reuse = perf_cache.prefix([{"messages": []}], "session")
    reuse.assert_prefix_reuse(min="90%")
    assert_type(reuse.shares, tuple[float, ...])


@pytest.mark.perf(rerun=True)
@pytest.mark.perf_budget(memory_per_request="50MB", gc_pause_max="20ms", cpu_percent="80%")
async def memory(perf_memory: PerfMemory) -> None:
    with perf_memory() as block:
        assert_type(length("a"), int)
    async with perf_memory("load", frames=10) as block:
        pass
    assert_type(block.peak, int)
    assert_type(block.native, int | None)
    assert_type([line.file for line in block.top(3)], list[str])
    leak = await perf_memory.leak(length_later, "a", calls=200, max_leak_per_call="1kB")
    leak.assert_clean()
    assert_type(perf_memory.leak(length, "a").bytes_per_call, float)
    assert_type(perf_memory.collected(Answer()), Answer)
    assert_type(perf_memory.size([1, 2]), int)
    assert_type([str(advice) for advice in perf_memory.advise([1.0])], list[str])
    with perf_memory.freeze_gc():
        pass


@pytest.mark.perf_budget(**SIMPLE_AGENT)
@pytest.mark.perf_budget("stage 1", p95="1s", throughput="50/s", goodput="10/s")
async def load(perf_load: PerfLoad) -> None:
    result = await perf_load(length_later, "a", users=5, duration="1s", think_time=("1s", "2s"))
    assert_type(result, LoadResult)
    assert_type(result.model, str)
    assert_type(result.windows[0].throughput, float)
    assert_type(result.scenarios["a"].latency, Sample)
    mix = [Scenario(length_later, "a", weight=3), Scenario(length, name="b", data=["a", "b"])]
    await perf_load["label"](mix, stages="5m:100,10m:500", each="stage", goodput={"ttft": "1s"})


async def double(items: list[int]) -> list[int]:
    return [2 * item for item in items]


@pytest.mark.perf_budget("db", pool_utilization_max="80%", pool_wait_p95="5ms", pool_reuse_rate=0.9)
async def pool(perf_pool: PerfPool) -> None:
    async with perf_pool(Answer(), "db") as use:
        pass
    with perf_pool(lambda: {"capacity": 4, "in_use": 2}, every="1ms") as use:
        pass
    use.assert_not_exhausted()
    use.assert_no_leaks()
    use.assert_reused(at_least="90%")
    use.assert_waits(at_most=3)
    use.assert_waits(at_most="50ms")
    assert_type(use.utilization_max, float)
    assert_type(use.wait, Sample)
    assert_type(use.recommended_size(), int)
    assert_type([str(finding) for finding in use.findings], list[str])
    async with perf_pool(Batcher(double)) as batches:
        pass
    batches.assert_batched(at_least=2)
    assert_type(batches.sizes, Sample)
    assert_type(batches.reasons, dict[str, int])
