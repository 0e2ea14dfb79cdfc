"""Tests of users who call again when their call has ended."""

import asyncio
from typing import Any

import pytest

from pytest_agentperf.measure.load.scenario import Scenario
from tests.measure.load.conftest import Loads

TENTH = 0.10001  # the virtual loop runs timers up to a microsecond early


async def tenth() -> None:
    await asyncio.sleep(TENTH)


def test_users_call_as_often_as_their_calls_end(load: Loads) -> None:
    result = load(tenth, users=10, duration=10)
    assert result.calls == 1000  # 10 users × 10 s ÷ 0.1 s
    assert result.throughput == pytest.approx(100, rel=0.01)
    assert result.latency.min == pytest.approx(0.1, rel=1e-3)
    assert result.latency.max == pytest.approx(0.1, rel=1e-3)
    assert result.in_flight_max == 10
    assert result.error_rate == 0


def test_requests_are_shared_by_all_users_and_end_the_load(load: Loads) -> None:
    result = load(tenth, users=10, requests=25)
    assert result.calls == 25
    assert result.seconds == pytest.approx(0.3, rel=1e-3)


def test_load_ends_with_its_duration_before_all_requests(load: Loads) -> None:
    assert load(tenth, users=1, requests=100, duration=1).calls == 10


def test_ramp_up_spreads_the_first_calls_evenly(load: Loads) -> None:
    started: list[float] = []

    async def ask() -> None:
        started.append(load.clock() - 1000)
        await asyncio.sleep(100)

    load(ask, users=5, ramp_up=10, duration=20, grace=200)
    assert started == pytest.approx([0, 2, 4, 6, 8])


def test_users_of_stages_come_and_go_as_the_target_does(load: Loads) -> None:
    result = load(tenth, stages="10s:10,10s:10,0s:2,10s:2,10s:0")
    ramp, held, spike_over, leaving = result.stages
    assert ramp.calls == pytest.approx(550, abs=10)  # 1 to 10 users, 10 calls a second each
    assert held.calls == 1000
    assert spike_over.calls == 200
    assert leaving.calls == pytest.approx(150, abs=4)
    assert held.throughput == pytest.approx(100, rel=0.01)


def test_users_think_between_calls_and_thinking_is_no_latency(load: Loads) -> None:
    result = load(tenth, users=2, duration=10, think_time="400.1ms")
    assert result.calls == 40  # each 10 s ÷ (0.1 s + 0.4 s)
    assert result.latency.max == pytest.approx(0.1, rel=1e-3)


def test_think_time_between_two_bounds_is_drawn_from_the_seed(load: Loads) -> None:
    stated: dict[str, Any] = {"users": 1, "duration": 100, "think_time": (0, 1.8)}
    first, same, other = (load(tenth, seed=seed, **stated) for seed in (1, 1, 2))
    assert first.calls == same.calls == pytest.approx(100, abs=15)
    assert first.windows[0].calls == same.windows[0].calls
    assert [w.calls for w in first.windows] != [w.calls for w in other.windows]


def test_thinking_user_ends_with_the_load(load: Loads) -> None:
    result = load(tenth, users=1, duration=1, think_time="60s")
    assert result.calls == 1
    assert load.clock() - 1000 == pytest.approx(1, rel=1e-3)


def test_each_user_starts_and_stops_once_and_calls_with_what_it_started(load: Loads) -> None:
    events: list[str] = []

    async def login() -> str:
        events.append("login")
        return "session"

    async def ask(session: str, question: str) -> None:
        events.append(f"{session} {question}")
        await asyncio.sleep(1.0001)

    async def logout(session: str) -> None:
        events.append(f"logout {session}")

    load(Scenario(ask, "q"), users=1, duration=2, hooks=(login, logout))
    assert events == ["login", "session q", "session q", "logout session"]


def test_start_that_returns_nothing_adds_no_argument(load: Loads) -> None:
    async def login() -> None:
        pass

    assert load(tenth, users=1, requests=3, hooks=(login, login)).error_rate == 0


def test_start_that_fails_ends_the_load_with_its_error(load: Loads) -> None:
    async def login() -> None:
        raise ConnectionError("no login")

    with pytest.raises(ConnectionError, match="no login"):
        load(tenth, users=2, duration=10, hooks=(login, None))


def test_failed_calls_count_by_the_name_of_their_error_and_not_as_latency(load: Loads) -> None:
    numbers = iter(range(100))

    async def ask() -> None:
        await asyncio.sleep(TENTH)
        if next(numbers) % 4 == 0:
            raise ConnectionError("refused")

    result = load(ask, users=1, duration=10)
    assert result.calls == 100
    assert result.errors == {"ConnectionError": 25}
    assert result.error_rate == 0.25
    assert result.latency.count == 75
    assert result.failed.count == 25
    assert result.throughput == pytest.approx(7.5, rel=0.01)
    assert result.first_error == "ConnectionError: refused"


def test_calls_that_never_suspend_let_the_load_end(load: Loads) -> None:
    async def ask() -> None:
        load.clock.advance(0.001)  # computes

    result = load(ask, users=2, duration=1)
    assert result.calls == pytest.approx(1000, abs=50)
    assert load.clock() - 1000 < 1.1


def test_data_give_each_call_its_last_argument_again_and_again(load: Loads) -> None:
    seen: list[str] = []

    async def ask(prefix: str, item: str) -> None:
        seen.append(prefix + item)

    load(Scenario(ask, "q", data=["a", "b"]), users=1, requests=5)
    assert seen == ["qa", "qb", "qa", "qb", "qa"]


def test_iterator_that_ends_ends_the_load(load: Loads) -> None:
    async def ask(item: str) -> None:
        await asyncio.sleep(1.0001)

    result = load(Scenario(ask, data=iter("abc")), users=2, duration=100)
    assert result.calls == 3
    assert "its data ended" in str(result)
    assert load.clock() - 1000 < 3


def test_calls_are_of_the_window_in_which_they_began(load: Loads) -> None:
    async def ask() -> None:
        await asyncio.sleep(1.0001)

    result = load(ask, users=1, duration=60)
    assert len(result.windows) == 60
    assert [window.calls for window in result.windows] == [1] * 60


def test_results_that_change_from_values_to_streams_are_still_gone_through(load: Loads) -> None:
    async def items() -> Any:
        for item in "abc":
            await asyncio.sleep(0.1)
            yield item

    answers = iter([1, 1, items(), 1, None, items()])

    async def ask() -> Any:
        return next(answers)

    result = load(ask, users=1, requests=6)
    assert result.calls == 6
    assert result.ttft.count == 2
    assert result.ttft.max == pytest.approx(0.1, rel=1e-3)
    assert result.itl.count == 4


def test_cancellation_by_the_called_code_is_a_failed_call(load: Loads) -> None:
    async def ask() -> None:
        await asyncio.sleep(0.1)
        raise asyncio.CancelledError

    ends = iter([tenth, tenth, ask, tenth])

    async def call() -> None:
        await next(ends)()

    result = load(call, users=1, requests=4)
    assert result.errors == {"CancelledError": 1}
    assert result.calls == 4


def test_requests_that_are_made_spare_the_users_who_have_not_begun(load: Loads) -> None:
    started: list[None] = []

    async def login() -> None:
        started.append(None)

    result = load(tenth, users=10, ramp_up=100, requests=5, hooks=(login, None))
    assert result.calls == 5
    assert len(started) == 1
    assert load.clock() - 1000 < 1


def test_user_who_comes_again_starts_again(load: Loads) -> None:
    started: list[float] = []

    async def login() -> None:
        started.append(load.clock() - 1000)

    load(tenth, stages="0s:1,5s:1,0s:0,5s:0,0s:1,5s:1", hooks=(login, None))
    assert started == pytest.approx([0, 10])


def test_user_whose_task_is_cancelled_by_somebody_else_ends(load: Loads) -> None:
    numbers = iter(range(1000))

    async def ask() -> None:
        await asyncio.sleep(0.10001)
        if next(numbers) == 9:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(1)

    result = load(ask, users=2, duration=10)
    assert result.errors == {"CancelledError": 1}
    assert result.calls == pytest.approx(105, abs=2)  # 10 of both, then 95 of one
