"""Tests of how a load ends: in time, early, or against the will of what it calls."""

import asyncio
import pickle
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from pytest_agentperf.core.sample import EXACT_VALUES
from pytest_agentperf.measure.load.engine import EVERY, HOPELESS
from pytest_agentperf.measure.load.progress import Progress
from pytest_agentperf.measure.load.scenario import Scenario
from tests.measure.load.conftest import Loads


async def tenth() -> None:
    await asyncio.sleep(0.10001)


async def never() -> None:
    await asyncio.sleep(1e6)


async def refused() -> None:
    await asyncio.sleep(0.01)
    raise ConnectionError("refused")


@pytest.mark.parametrize("stated", [{"users": 3}, {"rate": 3}])
def test_calls_that_do_not_end_are_cancelled_after_the_grace_and_failed(
    load: Loads, stated: dict[str, int]
) -> None:
    result = load(never, **stated, duration=1, grace="5s")
    assert result.calls == 3
    assert result.errors == {"UnfinishedCall": 3}
    assert result.tally.unfinished == 3
    assert load.clock() - 1000 == pytest.approx(6, rel=1e-3)
    assert "3 calls did not end within grace 5 s: they failed" in str(result)


def test_calls_that_end_within_the_grace_count(load: Loads) -> None:
    async def ask() -> None:
        await asyncio.sleep(4)

    result = load(ask, users=3, duration=1, grace="5s")
    assert result.calls == 3
    assert not result.errors
    assert load.clock() - 1000 == pytest.approx(4, rel=1e-3)


@pytest.mark.parametrize("stated", [{"users": 3}, {"rate": 100}])
def test_load_of_which_every_call_fails_ends_early(load: Loads, stated: dict[str, int]) -> None:
    result = load(refused, **stated, duration=1000)
    assert result.calls >= HOPELESS
    assert result.error_rate == 1
    assert result.first_error == "ConnectionError: refused"
    assert "every call failed" in str(result)
    assert load.clock() - 1000 < 2


def test_load_of_which_one_call_succeeded_goes_on(load: Loads) -> None:
    answers = iter([tenth])

    async def ask() -> None:
        await next(answers, refused)()

    assert load(ask, users=3, duration=5).seconds == pytest.approx(5, rel=0.01)


def test_few_calls_that_fail_are_no_reason_to_end(load: Loads) -> None:
    async def ask() -> None:
        await asyncio.sleep(0.5)
        raise ConnectionError

    result = load(ask, users=1, requests=HOPELESS - 1)
    assert result.calls == HOPELESS - 1


@pytest.mark.parametrize("stated", [{"users": 3}, {"rate": 3}])
def test_calls_that_swallow_cancellation_do_not_keep_the_load_from_ending(
    load: Loads, stated: dict[str, int]
) -> None:
    async def ask() -> None:
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(1e6)

    engine, result = load.engine(ask, **stated, duration=1, grace=1)

    async def main() -> None:
        await engine.run()
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    load.runner.run(main())
    assert load.clock() - 1000 < 4
    assert engine.tally.stubborn == 3
    assert "3 calls went on although they were cancelled" in str(result())


def test_call_that_ends_late_in_spite_of_its_cancellation_counts(load: Loads) -> None:
    async def ask() -> None:
        try:
            await asyncio.sleep(1e6)
        except asyncio.CancelledError:
            await asyncio.sleep(0.1)

    result = load(ask, users=1, duration=1, grace=1)
    assert result.calls == 1
    assert result.tally.stubborn == 0


def test_load_that_is_cancelled_keeps_what_it_has_recorded(load: Loads) -> None:
    engine, result = load.engine(tenth, users=2, duration=100)

    async def main() -> None:
        task = asyncio.create_task(engine.run())
        await asyncio.sleep(1.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    load.runner.run(main())
    assert result().calls == 20
    assert result().is_partial
    assert not result().errors
    assert "it was interrupted" in str(result())
    assert load.clock() - 1000 < 1.1


def test_load_that_is_interrupted_ends_at_once(load: Loads) -> None:
    engine, result = load.engine(never, users=2, duration=100)

    async def main() -> None:
        task = asyncio.create_task(engine.run())
        await asyncio.sleep(1)
        engine.interrupt()
        await task

    load.runner.run(main())
    assert result().is_partial
    assert result().calls == 0
    assert load.clock() - 1000 < 2


def test_error_that_is_no_exception_ends_the_load(load: Loads) -> None:
    class Skipped(BaseException):
        pass

    async def ask() -> None:
        await asyncio.sleep(1)
        raise Skipped

    with pytest.raises(Skipped):
        load(ask, users=3, duration=100)
    assert load.clock() - 1000 < 2


@pytest.mark.parametrize("stated", [{"users": 2}, {"rate": 10}])
def test_calls_that_are_late_are_cancelled_at_their_deadline(
    load: Loads, stated: dict[str, int]
) -> None:
    waits = iter([5, 0.1, 5] + [0.1] * 1000)

    async def ask() -> None:
        await asyncio.sleep(next(waits))

    result = load(ask, **stated, duration=4, deadline="1s")
    assert result.errors == {"TimeoutError": 2}
    assert list(result.failed) == pytest.approx([1, 1], rel=1e-3)
    assert result.first_error == "TimeoutError: deadline of 1 s"
    assert result.latency.count > 20


def test_deadline_counts_from_the_start_of_each_call(load: Loads) -> None:
    waits = iter([0.004] * 4 + [5])

    async def ask() -> None:
        await asyncio.sleep(next(waits))

    result = load(ask, users=1, requests=5, deadline="1s")
    assert list(result.failed) == pytest.approx([1], abs=1e-4)


def test_late_call_that_swallows_its_cancellation_is_late_all_the_same(load: Loads) -> None:
    async def ask() -> str:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            await asyncio.sleep(0.5)
        return "late"

    result = load(ask, users=1, requests=2, deadline="1s")
    assert result.errors == {"TimeoutError": 2}
    assert list(result.failed) == pytest.approx([1.5, 1.5], rel=1e-3)


def test_streams_give_ttft_and_itl(load: Loads) -> None:
    async def items() -> AsyncIterator[str]:
        await asyncio.sleep(0.3)
        for item in "abc":
            yield item
            await asyncio.sleep(0.05)

    result = load(items, users=2, requests=10)
    assert result.ttft.count == 10
    assert result.ttft.p50 == pytest.approx(0.3, rel=1e-3)
    assert result.itl.count == 20
    assert result.itl.max == pytest.approx(0.05, rel=1e-3)
    assert result.latency.p50 == pytest.approx(0.45, rel=1e-3)


def test_stream_that_breaks_is_a_failed_call(load: Loads) -> None:
    async def items() -> AsyncIterator[str]:
        yield "a"
        raise ConnectionError("lost")

    result = load(items, users=1, requests=3)
    assert result.errors == {"ConnectionError": 3}
    assert not result.ttft.count


def test_goodput_counts_calls_that_meet_every_limit(load: Loads) -> None:
    waits = iter([0.1, 0.3] * 50)

    async def items() -> AsyncIterator[str]:
        await asyncio.sleep(next(waits))
        for item in "abc":
            yield item
            await asyncio.sleep(0.1)

    limits = {"ttft": "200ms", "itl": "150ms", "latency": "1s"}
    result = load(items, users=1, requests=20, goodput=limits)
    assert result.goodput == pytest.approx(10 / result.seconds)
    assert result.throughput == pytest.approx(20 / result.seconds)


def test_call_without_items_meets_no_limit_on_them(load: Loads) -> None:
    assert load(tenth, users=1, requests=5, goodput={"ttft": "9s"}).goodput == 0
    assert load(tenth, users=1, requests=5, goodput={"latency": "9s"}).goodput > 0


def test_warmup_counts_for_nothing(load: Loads) -> None:
    async def ask() -> None:
        await asyncio.sleep(1.0001 if load.clock() < 1002 else 0.10001)

    result = load(ask, users=1, duration=12, warmup="2s")
    assert result.latency.max < 0.2
    assert result.calls == pytest.approx(100, abs=2)
    assert result.seconds == pytest.approx(10, rel=0.01)
    assert result.throughput == pytest.approx(10, rel=0.02)


def test_scenarios_come_by_their_weight_and_are_counted_apart(load: Loads) -> None:
    async def slow() -> None:
        await asyncio.sleep(1.0001)

    result = load(Scenario(tenth, weight=3), Scenario(slow), users=4, requests=100)
    assert {name: part.calls for name, part in result.scenarios.items()} == {
        "tenth": 75,
        "slow": 25,
    }
    assert result.scenarios["tenth"].latency.max < 0.2
    assert result.calls == 100


def test_who_looks_at_a_load_sees_how_far_it_has_come(load: Loads) -> None:
    seen: list[Progress] = []
    load(tenth, users=5, duration=2, observe=seen.append)
    assert [progress.elapsed for progress in seen[:3]] == pytest.approx(
        [EVERY, 2 * EVERY, 3 * EVERY], rel=1e-2
    )
    last = seen[-1]
    assert last.in_flight == 5
    assert last.rate == pytest.approx(50, rel=0.2)
    assert last.remaining == pytest.approx(2 - last.elapsed)


def test_who_looks_at_a_load_may_end_it(load: Loads) -> None:
    def look(progress: Progress) -> str | None:
        return "enough" if progress.elapsed > 3 else None

    result = load(tenth, users=5, duration=100, observe=look)
    assert load.clock() - 1000 < 4
    assert "the load ended after" in str(result)
    assert "enough" in str(result)
    assert not result.errors


def test_who_looks_and_raises_ends_the_load_with_its_error(load: Loads) -> None:
    def look(progress: Progress) -> None:
        raise LookupError("no terminal")

    with pytest.raises(LookupError):
        load(tenth, users=5, duration=100, observe=look)


def test_values_that_are_too_many_to_keep_are_counted_in_buckets(load: Loads) -> None:
    async def ask() -> None:
        await asyncio.sleep(1)

    engine, result = load.engine(ask, users=1, duration=10)
    for window in range(3):  # as if so many calls had ended by then
        sample = engine.tally.cell(0, window).latency
        sample.merge(type(sample)([0.5] * (EXACT_VALUES // 2)))
    load.run(engine)
    kept = sum(cell.latency.kept for cell in engine.tally.cells.values())
    assert kept < EXACT_VALUES / 10
    assert result().latency.count == pytest.approx(1.5 * EXACT_VALUES + 10, abs=1)
    assert result().latency.p50 == pytest.approx(0.5, rel=0.005)


def test_tally_of_a_load_survives_pickling(load: Loads) -> None:
    engine, result = load.engine(tenth, refused, users=3, duration=5)
    load.run(engine)
    copied = pickle.loads(pickle.dumps(engine.tally))  # noqa: S301 -- our own
    again = type(result())(result().plan, copied, ("tenth", "refused"), "tenth and refused")
    assert str(again) == str(result())
