"""`perf_timer` as the author of a test holds it."""

import asyncio
import contextvars
import gc
import inspect
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel as CannedModel

from pytest_agentperf.core.errors import (
    BudgetError,
    EmptySampleError,
    UnitError,
    UnknownNameError,
    UsageError,
)
from pytest_agentperf.core.usage import Price, Usage
from pytest_agentperf.measure.timer import PerfTimer

from .conftest import Bench, FakeClock


class Agent:
    """An agent that calls a tool as often as it is told to."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock

    def call_tool(self) -> None:
        self.clock.advance(0.5)

    async def call_tool_async(self) -> None:
        await asyncio.sleep(0)

    def ask(self, tools: int = 1) -> str:
        for _ in range(tools):
            self.call_tool()
        return "a"

    async def ask_async(self, tools: int = 1) -> str:
        for _ in range(tools):
            await self.call_tool_async()
        return "a"

    async def ask_all(self, tools: int) -> str:
        await asyncio.gather(*(self.call_tool_async() for _ in range(tools)))
        return "a"

    async def ask_threads(self, tools: int) -> str:
        await asyncio.gather(*(asyncio.to_thread(self.call_tool) for _ in range(tools)))
        return "a"


@pytest.fixture
def agent(clock: FakeClock) -> Agent:
    return Agent(clock)


def counted(bench: Bench, label: str | None = None, metric: str = "tool_calls") -> list[float]:
    return list(bench.measured(label).samples[metric])


def test_timer_refuses_what_cannot_be_called(perf: PerfTimer) -> None:
    with pytest.raises(UsageError, match=r"got a str; expected a callable and its arguments"):
        perf("ask")  # type: ignore[call-overload]


def test_timer_refuses_a_coroutine_without_a_warning(perf: PerfTimer, agent: Agent) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UsageError, match=r"got a coroutine; .*, not perf_timer\(ask\('q'\)\)"):
            perf(agent.ask_async())  # type: ignore[call-overload]
        gc.collect()


@pytest.mark.parametrize("label", ["", 7, None])
def test_label_is_a_string_that_is_not_empty(perf: PerfTimer, label: Any) -> None:
    with pytest.raises(UsageError, match="expected a label, a string that is not empty"):
        perf[label]


def test_label_keeps_measurements_apart(bench: Bench, agent: Agent) -> None:
    bench.timer["retrieve"](agent.ask)
    bench.timer["answer"](agent.ask, 3)
    bench.timer(agent.ask, 2)
    assert bench.latencies("retrieve") == [0.5] * 3
    assert bench.latencies("answer") == [1.5] * 3
    assert bench.latencies() == [1.0] * 3


def test_repr_shows_the_label(perf: PerfTimer) -> None:
    assert repr(perf) == "<perf_timer>"
    assert repr(perf["plan"]) == "<perf_timer['plan']>"


def test_configure_holds_for_its_label(bench: Bench, agent: Agent) -> None:
    bench.timer.configure(rounds=2)
    bench.timer["plan"].configure(rounds=5)
    bench.timer(agent.ask)
    bench.timer["plan"](agent.ask)
    bench.timer["other"](agent.ask)
    calls = {found.label: found.calls for found in bench.timings.measurements()}
    assert calls == {None: 2, "plan": 5, "other": 2}


def test_configure_adds_to_what_was_configured(bench: Bench, agent: Agent) -> None:
    events: list[str] = []
    bench.timer.configure(rounds=2, setup=lambda: events.append("setup"))
    bench.timer.configure(warmup=1, teardown=lambda: events.append("teardown"))
    bench.timer(agent.ask)
    assert events == ["setup", "teardown"] * 3


def test_configure_takes_a_hook_back(bench: Bench, agent: Agent) -> None:
    def fail() -> None:
        raise AssertionError("called")

    bench.timer.configure(setup=fail)
    bench.timer.configure(setup=None)
    assert bench.timer(agent.ask) == "a"


@pytest.mark.parametrize("name", ["setup", "teardown", "usage", "cost", "stream"])
def test_configure_refuses_a_hook_that_cannot_be_called(perf: PerfTimer, name: str) -> None:
    with pytest.raises(UsageError, match=f"{name}='x': expected a callable"):
        perf.configure(**{name: "x"})


def test_configure_refuses_an_unknown_option_and_suggests_one(perf: PerfTimer) -> None:
    with pytest.raises(UnknownNameError, match=r"option of configure 'round'; did you"):
        perf.configure(round=3)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"rounds": 0}, BudgetError),
        ({"rounds": 2.5}, BudgetError),
        ({"warmup": -1}, BudgetError),
        ({"max_calls": True}, BudgetError),
        ({"max_time": "5 sec"}, UnitError),
        ({"max_cost": -1}, UnitError),
    ],
)
def test_configure_refuses_a_number_that_cannot_be_meant(
    bench: Bench, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        bench.timer.configure(**options)
    assert bench.timings.settings(None).effort.rounds is None


def test_configured_usage_is_read_from_each_reply(bench: Bench) -> None:
    bench.timer.configure(usage=lambda reply: (3, len(reply)))
    bench.timer(lambda: "Paris")
    assert bench.timer.tokens_per_call == 8
    assert bench.timer.input_tokens_per_call == 3
    assert bench.timer.output_tokens_per_call == 5


def test_configured_cost_is_read_from_each_reply(bench: Bench) -> None:
    bench.timer.configure(cost=lambda reply: 0.25)
    bench.timer(lambda: "Paris")
    assert bench.timer.cost_per_call == 0.25
    assert bench.timer.cost_total == 0.75


def test_statistics_of_latency_are_read_from_the_timer(bench: Bench) -> None:
    seconds = iter([1.0, 2.0, 3.0])
    bench.timer(lambda: bench.clock.advance(next(seconds)))
    timer = bench.timer
    assert list(timer.latency) == [1.0, 2.0, 3.0]
    assert (timer.latency.p50, timer.latency_max, timer.mean) == (2.0, 3.0, 2.0)
    assert (timer.p50, timer.min, timer.max) == (2.0, 1.0, 3.0)
    assert timer.error_rate == 0


def test_statistics_of_a_label_are_read_from_the_timer_of_the_label(
    bench: Bench, agent: Agent
) -> None:
    bench.timer["plan"](agent.ask, 3)
    bench.timer["ask"](agent.ask)
    assert bench.timer["plan"].p50 == 1.5
    assert bench.timer["ask"].p50 == 0.5


def test_statistics_of_the_only_label_need_not_name_it(bench: Bench, agent: Agent) -> None:
    bench.timer["plan"](agent.ask, 3)
    assert bench.timer.p50 == 1.5


def test_statistics_of_nothing_name_the_labels_that_there_are(bench: Bench, agent: Agent) -> None:
    with pytest.raises(EmptySampleError, match=r"without a label recorded no latency_p95; .* none"):
        _ = bench.timer.p95
    bench.timer["plan"](agent.ask)
    bench.timer["ask"](agent.ask)
    with pytest.raises(EmptySampleError, match=r"without a label .* measurement: 'plan', 'ask'"):
        _ = bench.timer.p95
    with pytest.raises(EmptySampleError, match=r"perf_timer\['pln'\] recorded no latency_p95"):
        _ = bench.timer["pln"].p95


def test_statistics_of_a_function_that_was_not_called_name_the_other_labels(
    bench: Bench, agent: Agent
) -> None:
    bench.timer.wrap(agent.ask)
    bench.timer["plan"](agent.ask)
    with pytest.raises(EmptySampleError, match=r"without a label .* measurement: 'plan'"):
        _ = bench.timer.p95


def test_statistics_that_are_unknown_say_why(bench: Bench) -> None:
    bench.timer(lambda: "a")
    with pytest.raises(EmptySampleError, match=r"tokens_per_call is unknown: <lambda> returned"):
        _ = bench.timer.tokens_per_call


def test_statistics_that_do_not_exist_are_no_attributes(perf: PerfTimer) -> None:
    assert not hasattr(perf, "latencies")
    assert not hasattr(perf, "_private")
    with pytest.raises(AttributeError, match=r"perf_timer has no 'latncy'.*did you mean"):
        _ = perf.latncy


def test_statistics_of_streams_are_empty_where_nothing_streamed(bench: Bench, agent: Agent) -> None:
    bench.timer["plan"](agent.ask)
    assert bench.timer["plan"].ttft.count == 0
    with pytest.raises(EmptySampleError):
        _ = bench.timer["plan"].ttft.p50


def test_measure_is_one_call(bench: Bench) -> None:
    with bench.timer.measure("plan"):
        bench.clock.advance(0.5)
    assert bench.latencies("plan") == [0.5]
    assert bench.measured("plan").subject == "the block 'plan'"


def test_measure_without_a_label_uses_that_of_the_timer(bench: Bench) -> None:
    with bench.timer.measure():
        bench.clock.advance(0.5)
    with bench.timer["plan"].measure():
        bench.clock.advance(1.0)
    assert bench.latencies() == [0.5]
    assert bench.measured().subject == "the block"
    assert bench.latencies("plan") == [1.0]


def test_measure_that_is_never_entered_is_a_measurement_without_calls(bench: Bench) -> None:
    bench.timer.measure("plan")
    assert bench.measured("plan").calls == 0


@pytest.mark.asyncio
async def test_measure_of_a_stream_reads_ttft_itl_and_usage(bench: Bench) -> None:
    async def stream() -> AsyncIterator[str]:
        for letter in "abc":
            await bench.clock.sleep(0.5)
            yield letter

    async with bench.timer.measure("plan") as call:
        assert [item async for item in call.iterate(stream())] == ["a", "b", "c"]
        call.usage(Usage(3, 4))
    timer = bench.timer["plan"]
    assert list(timer.ttft) == [0.5]
    assert list(timer.itl) == [0.5, 0.5]
    assert timer.tokens_per_call == 7


def test_measure_left_by_an_exception_is_an_error(bench: Bench) -> None:
    with pytest.raises(KeyError), bench.timer.measure():
        raise KeyError
    assert bench.timer.error_rate == 1


def test_wrap_records_each_call(bench: Bench, agent: Agent) -> None:
    ask = bench.timer.wrap(agent.ask)
    assert bench.measured().calls == 0
    assert ask(2) == "a"
    assert ask() == "a"
    assert bench.latencies() == [1.0, 0.5]
    assert bench.measured().subject == "Agent.ask"


@pytest.mark.asyncio
async def test_wrap_of_a_coroutine_function_is_one(bench: Bench, agent: Agent) -> None:
    ask = bench.timer["plan"].wrap(agent.ask_async)
    assert inspect.iscoroutinefunction(ask)
    assert await ask() == "a"
    assert bench.measured("plan").calls == 1


def test_wrap_refuses_what_cannot_be_called(perf: PerfTimer) -> None:
    with pytest.raises(UsageError, match="wrap got a str; expected a callable"):
        perf.wrap("ask")  # type: ignore[type-var]


def test_wrap_counts_errors_into_the_error_rate(bench: Bench) -> None:
    replies = iter(["1", "x", "2", "y"])

    def read() -> int:
        return int(next(replies))

    ask = bench.timer.wrap(read)
    for _ in range(2):
        ask()
        with pytest.raises(ValueError, match="invalid literal"):
            ask()
    assert bench.timer.error_rate == 0.5


@dataclass(frozen=True)
class FrozenAgent:
    async def ask(self) -> str:
        return "a"


class ModelAgent(BaseModel):
    model_config = ConfigDict(frozen=True)

    async def ask(self) -> str:
        return "a"


class PlainAgent:
    async def ask(self) -> str:
        return "a"


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [PlainAgent, FrozenAgent, ModelAgent])
async def test_patch_records_each_call_until_the_test_ends(bench: Bench, kind: type[Any]) -> None:
    agent = kind()
    bench.timer.patch(agent, "ask")
    assert inspect.iscoroutinefunction(agent.ask)
    assert await agent.ask() == "a"
    bench.timings.close()
    assert await agent.ask() == "a"
    assert vars(agent) == {}
    assert bench.measured("ask").calls == 1


@pytest.mark.asyncio
async def test_patch_of_a_class_records_under_the_label_of_the_timer(bench: Bench) -> None:
    bench.timer["any"].patch(PlainAgent, "ask")
    await PlainAgent().ask()
    await PlainAgent().ask()
    bench.timings.close()
    await PlainAgent().ask()
    assert bench.measured("any").calls == 2
    assert bench.measured("any").subject == "ask"


def test_patch_of_an_absent_method_is_refused(perf: PerfTimer, agent: Agent) -> None:
    with pytest.raises(UsageError, match="has no attribute 'aks'"):
        perf.patch(agent, "aks")


def test_count_is_recorded_for_each_call(bench: Bench, agent: Agent) -> None:
    bench.timer.count(agent, "call_tool", metric="tool_calls")
    tools = iter([2, 0, 3])
    bench.timer(lambda: agent.ask(next(tools)))
    assert counted(bench) == [2, 0, 3]
    assert bench.timer.tool_calls == 3  # the most of any call


def test_count_of_two_methods_may_share_a_metric(bench: Bench, agent: Agent) -> None:
    bench.timer.count(agent, "call_tool", metric="llm_calls")
    bench.timer.count(agent, "ask", metric="llm_calls")
    bench.timer(agent.ask)
    assert counted(bench, metric="llm_calls") == [2] * 3


def test_count_of_another_metric_is_refused(perf: PerfTimer, agent: Agent) -> None:
    with pytest.raises(UnknownNameError, match="counted metric 'tool_cals'; did you mean"):
        perf.count(agent, "call_tool", metric="tool_cals")
    assert vars(agent) == {"clock": agent.clock}


def test_count_of_an_absent_method_is_refused_and_counts_nothing(bench: Bench) -> None:
    with pytest.raises(UsageError, match="has no attribute 'call_tool'"):
        bench.timer.count(object(), "call_tool", metric="tool_calls")
    bench.timer(lambda: "a")
    assert "tool_calls" not in bench.measured().samples


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["ask_async", "ask_all"])
async def test_counts_of_concurrent_calls_are_told_apart(
    bench: Bench, agent: Agent, name: str
) -> None:
    bench.timer.count(agent, "call_tool_async", metric="tool_calls")
    ask = getattr(agent, name)
    await asyncio.gather(*(bench.timer[f"{tools}"](ask, tools) for tools in range(5)))
    assert [counted(bench, f"{tools}") for tools in range(5)] == [[tools] * 3 for tools in range(5)]


@pytest.mark.asyncio
async def test_counts_of_to_thread_belong_to_their_call(bench: Bench, agent: Agent) -> None:
    bench.timer.count(agent, "call_tool", metric="tool_calls")
    await asyncio.gather(*(bench.timer[f"{tools}"](agent.ask_threads, tools) for tools in range(4)))
    assert [counted(bench, f"{tools}") for tools in range(4)] == [[tools] * 3 for tools in range(4)]


def test_counts_of_a_raw_thread_belong_to_the_only_call(bench: Bench, agent: Agent) -> None:
    def ask() -> None:
        threads = [threading.Thread(target=agent.call_tool) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    bench.timer.count(agent, "call_tool", metric="tool_calls")
    bench.timer(ask)
    assert counted(bench) == [3] * 3


def test_counts_of_a_nested_call_belong_to_both(bench: Bench, agent: Agent) -> None:
    def ask() -> None:
        agent.call_tool()
        with bench.timer.measure("inner"):
            agent.ask(2)

    bench.timer.count(agent, "call_tool", metric="tool_calls")
    bench.timer(ask)
    assert counted(bench) == [3] * 3
    assert counted(bench, "inner") == [2] * 3


@pytest.mark.asyncio
async def test_counts_of_wrapped_calls_are_told_apart(bench: Bench, agent: Agent) -> None:
    bench.timer.count(agent, "call_tool_async", metric="tool_calls")
    ask = bench.timer.wrap(agent.ask_async)
    await asyncio.gather(*(ask(tools) for tools in (2, 0, 1)))
    assert sorted(counted(bench)) == [0, 1, 2]


@pytest.mark.asyncio
async def test_counts_of_streams_belong_to_the_call(bench: Bench, agent: Agent) -> None:
    async def stream(tools: int) -> AsyncIterator[str]:
        for _ in range(tools):
            await agent.call_tool_async()
            yield "a"

    bench.timer.count(agent, "call_tool_async", metric="tool_calls")
    await asyncio.gather(*(bench.timer[f"{tools}"](stream, tools) for tools in range(4)))
    assert [counted(bench, f"{tools}") for tools in range(4)] == [[tools] * 3 for tools in range(4)]


@given(
    st.lists(
        st.lists(st.sampled_from(["tool", "yield", "task", "thread"]), max_size=5),
        min_size=1,
        max_size=5,
    )
)
def test_counts_are_told_apart_under_any_interleaving(scripts: list[list[str]]) -> None:
    bench = Bench(FakeClock(), rounds=1)
    agent = Agent(bench.clock)
    bench.timer.count(agent, "call_tool", metric="tool_calls")

    async def tool() -> None:
        await asyncio.sleep(0)
        agent.call_tool()

    async def ask(script: list[str]) -> None:
        for step in script:
            if step == "tool":
                agent.call_tool()
            elif step == "thread":
                contextvars.copy_context().run(agent.call_tool)
            elif step == "task":
                await asyncio.gather(tool(), tool())
            else:
                await asyncio.sleep(0)

    async def main() -> None:
        calls = enumerate(scripts)
        await asyncio.gather(*(bench.timer[f"{number}"](ask, script) for number, script in calls))

    asyncio.run(main())
    weights = {"tool": 1, "thread": 1, "task": 2, "yield": 0}
    for number, script in enumerate(scripts):
        assert counted(bench, f"{number}") == [sum(weights[step] for step in script)]
    assert bench.timings.counters.outside == 0


@pytest.mark.asyncio
async def test_stream_of_pydantic_ai_is_entered_and_measured(bench: Bench) -> None:
    model = CannedModel(custom_output_text="Paris is it")
    agent = PydanticAgent(model)
    bench.timer.configure(stream=lambda run: run.stream_text(delta=True, debounce_by=None))
    pending: Any = bench.timer(agent.run_stream, "Where?")
    items = await pending
    assert "".join(items) == "Paris is it"
    assert len(items) == 3
    samples = bench.measured().samples
    assert samples["ttft"].count == 3
    assert samples["itl"].count == 6
    assert list(samples["output_tokens_per_call"]) == [3] * 3


@pytest.mark.asyncio
async def test_stream_of_pydantic_ai_has_the_times_of_its_model(bench: Bench) -> None:
    async def stream(messages: Any, info: AgentInfo) -> AsyncIterator[str]:
        for word in ("Paris ", "is ", "it"):
            await bench.clock.sleep(0.5)
            yield word

    agent = PydanticAgent(FunctionModel(stream_function=stream))
    bench.timer.configure(stream=lambda run: run.stream_text(delta=True, debounce_by=None))
    pending: Any = bench.timer(agent.run_stream, "Where?")
    items = await pending
    assert items == ["Paris ", "is ", "it"]
    samples = bench.measured().samples
    assert list(samples["latency"]) == [1.5] * 3
    assert list(samples["ttft"]) == [0.5] * 3
    assert list(samples["itl"]) == [0.5] * 6


@pytest.mark.asyncio
async def test_run_of_pydantic_ai_reports_usage_and_cost(clock: FakeClock) -> None:
    bench = Bench(clock, prices={"test": Price(1_000_000.0, 0.0)})
    agent = PydanticAgent(CannedModel(custom_output_text="Paris"))
    result = await bench.timer(agent.run, "Where?")
    assert result.output == "Paris"
    sent = bench.timer.input_tokens_per_call
    assert sent > 0
    assert bench.timer.output_tokens_per_call == 1
    assert bench.timer.cost_per_call == sent  # $1 a token


@pytest.mark.asyncio
async def test_stream_hook_may_be_configured_for_one_label(bench: Bench) -> None:
    @asynccontextmanager
    async def run() -> AsyncIterator[str]:
        yield "ab"

    async def letters(word: str) -> AsyncIterator[str]:
        for letter in word:
            yield letter

    bench.timer["stream"].configure(stream=letters)
    pending: Any = bench.timer["stream"](run)
    assert await pending == ["a", "b"]
    plain: Any = bench.timer["plain"](run)
    assert not isinstance(plain, Coroutine)


def outside() -> Any:
    raise UsageError("perf_timer was used outside of a test")


@pytest.mark.parametrize(
    "use",
    [
        lambda perf: perf(len, "a"),
        lambda perf: perf.measure(),
        lambda perf: perf.wrap(len),
        lambda perf: perf.patch(Agent, "ask"),
        lambda perf: perf.count(Agent, "ask", metric="tool_calls"),
        lambda perf: perf.configure(rounds=1),
        lambda perf: perf.p95,
        lambda perf: perf["a"](len, "a"),
    ],
    ids=["call", "measure", "wrap", "patch", "count", "configure", "statistic", "label"],
)
def test_timer_outside_of_a_test_is_refused(use: Callable[[PerfTimer], Any]) -> None:
    with pytest.raises(UsageError, match="outside of a test"):
        use(PerfTimer(outside))
