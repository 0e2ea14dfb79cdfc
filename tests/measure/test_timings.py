"""Timings: what one test timed, by label, and what is left when it ends."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

from pytest_agentperf.core.effort import Effort
from pytest_agentperf.core.usage import Price
from pytest_agentperf.measure.rounds import Plan
from pytest_agentperf.measure.settings import TimingSettings
from pytest_agentperf.measure.timings import Timings, name_of

from .conftest import Bench, FakeClock, never_open


class Agent:
    def ask(self) -> str:
        return "a"

    @staticmethod
    def static() -> str:
        return "a"

    def __call__(self) -> str:
        return "a"


def with_rounds(rounds: int) -> Callable[[TimingSettings], TimingSettings]:
    return lambda old: old._replace(effort=old.effort.updated(Effort(rounds=rounds)))


@pytest.mark.parametrize(
    ("func", "name"),
    [
        (Agent().ask, "Agent.ask"),
        (Agent.ask, "Agent.ask"),
        (Agent.static, "Agent.static"),
        (Agent(), "Agent"),
        (Agent, "Agent"),
        (functools.partial(functools.partial(Agent().ask)), "Agent.ask"),
        (len, "len"),
        (lambda: 1, "<lambda>"),
        (functools.partial(Agent()), "Agent"),
    ],
)
def test_name_is_what_the_author_of_a_test_would_write(func: object, name: str) -> None:
    assert name_of(func) == name


def test_name_of_a_local_function_leaves_its_surroundings_out() -> None:
    class Local:
        def ask(self) -> None:
            pass

    def ask() -> None:
        pass

    assert name_of(ask) == "ask"
    assert name_of(Local().ask) == "Local.ask"


def test_settings_of_the_unnamed_label_serve_the_others(bench: Bench) -> None:
    bench.timings.configure(None, with_rounds(7))
    assert bench.timings.settings("plan").effort.rounds == 7


def test_settings_of_a_label_begin_with_those_of_the_unnamed_one(bench: Bench) -> None:
    bench.timings.configure(
        None, lambda old: old._replace(effort=old.effort.updated(Effort(warmup=2)))
    )
    bench.timings.configure("plan", with_rounds(7))
    assert bench.timings.settings("plan").effort == Effort(rounds=7, warmup=2)
    assert bench.timings.settings(None).effort == Effort(warmup=2)
    assert bench.timings.settings("ask").effort == Effort(warmup=2)


def test_plan_is_asked_with_the_label_and_what_is_stated(clock: FakeClock) -> None:
    asked: list[tuple[str | None, Effort]] = []

    def plan(label: str | None, effort: Effort) -> Plan:
        asked.append((label, effort))
        return Plan(1, 0, 10, 60.0, None, None, never_open, lambda sentence: None)

    timings = Timings(plan, {}, clock, wants_cost=False)
    timings.configure("plan", with_rounds(7))
    timings.run("plan", Agent().ask, (), {})
    timings.run(None, Agent().ask, (), {})
    assert asked == [("plan", Effort(rounds=7)), (None, Effort())]


def test_measurements_stand_in_order_of_first_use(bench: Bench) -> None:
    for label in ("b", "a", None, "b"):
        bench.timings.run(label, Agent().ask, (), {})
    assert [found.label for found in bench.timings.measurements()] == ["b", "a", None]
    assert bench.measured("b").calls == 6


def test_calls_under_one_label_share_their_measurement_and_are_all_named(bench: Bench) -> None:
    bench.timings.run(None, Agent().ask, (), {})
    bench.timings.run(None, len, ("a",), {})
    assert bench.measured().subject == "Agent.ask and len"
    assert "Agent.ask, len share one measurement" in bench.measured().notes[0]


@pytest.mark.parametrize(
    ("wants_cost", "prices", "expected"),
    [(False, {}, False), (True, {}, True), (False, {"m": Price(1.0, 1.0)}, True)],
)
def test_costs_are_wanted_where_a_limit_or_a_price_is_stated(
    clock: FakeClock, wants_cost: bool, prices: dict[str, Price], expected: bool
) -> None:
    bench = Bench(clock, prices=prices, wants_cost=wants_cost)
    reply = {"usage": {"input_tokens": 1, "output_tokens": 1}, "model": "m"}
    bench.timings.run(None, lambda: reply, (), {})
    measured = bench.measured()
    assert ("cost_per_call" in {*measured.samples, *measured.unknown}) is expected


def test_costs_are_wanted_where_they_are_bounded(bench: Bench) -> None:
    bench.timings.configure(None, lambda old: old._replace(effort=Effort(max_cost=1.0)))
    reply = {"usage": {"input_tokens": 1, "output_tokens": 1}}
    bench.timings.run(None, lambda: reply, (), {})
    assert "cost_per_call" in bench.measured().unknown


def test_counts_outside_of_any_call_are_noted(bench: Bench) -> None:
    agent = Agent()
    bench.timer.count(agent, "ask", metric="tool_calls")
    agent.ask()
    assert bench.timings.measurements() == []
    bench.timings.run(None, agent.ask, (), {})
    assert bench.measured().notes == (
        "1 counted calls belong to no timed call: they ran outside of any",
    )


def test_last_plain_names_the_call_that_returned_no_coroutine(bench: Bench) -> None:
    async def ask() -> None:
        pass

    assert bench.timings.last_plain == ""
    bench.timings.run(None, Agent().ask, (), {})
    assert bench.timings.last_plain == "Agent.ask"
    _ = bench.timings.run(None, ask, (), {})
    assert bench.timings.last_plain == ""
    assert len(bench.timings.close()) == 1


def test_close_undoes_the_patches(bench: Bench) -> None:
    agent = Agent()
    bench.timer.patch(agent, "ask")
    bench.timer.count(agent, "ask", metric="tool_calls")
    assert "ask" in vars(agent)
    assert bench.timings.close() == []
    assert vars(agent) == {}


@pytest.mark.parametrize("error", [None, KeyError])
def test_body_is_a_single_call(bench: Bench, error: type[Exception] | None) -> None:
    running = bench.timings.begin_body()
    bench.clock.advance(0.5)
    if error:
        running.fail(error())
    else:
        running.end()
    measured = bench.measured()
    assert measured.subject == "the test"
    assert (measured.calls, measured.errors) == (1, int(error is not None))
    assert "error_rate" not in measured.values


def test_begin_records_under_its_label(bench: Bench) -> None:
    running: Any = bench.timings.begin("plan", "Agent.plan")
    bench.clock.advance(0.5)
    running.end()
    assert bench.latencies("plan") == [0.5]
    assert bench.measured("plan").subject == "Agent.plan"
