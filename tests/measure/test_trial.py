"""Trials: every kind of callable, called as often as the plan asks, with its own result back."""

import asyncio
import contextvars
import functools
import gc
import io
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.timer import PerfTimer

from .conftest import Bench, FakeClock, always_open


class Agent:
    """An agent whose n-th call takes n halves of a second and returns n."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.calls = 0

    def ask(self) -> int:
        self.calls += 1
        self.clock.advance(self.calls / 2)
        return self.calls

    async def ask_async(self) -> int:
        return self.ask()

    def ask_later(self) -> Coroutine[Any, Any, int]:
        return self.ask_async()

    def ask_task(self) -> asyncio.Task[int]:
        return asyncio.ensure_future(self.ask_async())

    def ask_future(self) -> asyncio.Future[int]:
        future = asyncio.get_running_loop().create_future()
        future.set_result(self.ask())
        return future

    def stream(self, word: str = "abc") -> Generator[str, None, None]:
        self.calls += 1
        for letter in word:
            self.clock.advance(0.5)
            yield letter

    async def stream_async(self, word: str = "abc") -> AsyncIterator[str]:
        for letter in self.stream(word):
            yield letter

    async def open_stream(self) -> AsyncIterator[str]:
        return self.stream_async()


class Sync(Agent):
    """A callable object."""

    def __call__(self) -> int:
        return self.ask()


class Async(Agent):
    """A callable object whose call is a coroutine."""

    async def __call__(self) -> int:
        return self.ask()


class Answer:
    """An awaitable that is no coroutine."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def __await__(self) -> Iterator[Any]:
        return self._agent.ask_async().__await__()


@pytest.fixture
def agent(clock: FakeClock) -> Agent:
    return Agent(clock)


def as_lambda(func: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: func()  # noqa: PLW0108 -- a lambda is what is tested


SYNC: list[tuple[str, Callable[[FakeClock], Callable[[], Any]]]] = [
    ("method", lambda clock: Agent(clock).ask),
    ("lambda", lambda clock: as_lambda(Agent(clock).ask)),
    ("partial", lambda clock: functools.partial(Agent.ask, Agent(clock))),
    ("partial-of-partial", lambda clock: functools.partial(functools.partial(Agent(clock).ask))),
    ("object", Sync),
]
ASYNC: list[tuple[str, Callable[[FakeClock], Callable[[], Any]]]] = [
    ("method", lambda clock: Agent(clock).ask_async),
    ("function", lambda clock: Agent(clock).ask_later),
    ("lambda", lambda clock: as_lambda(Agent(clock).ask_async)),
    ("partial", lambda clock: functools.partial(Agent.ask_async, Agent(clock))),
    ("object", Async),
    ("task", lambda clock: Agent(clock).ask_task),
    ("future", lambda clock: Agent(clock).ask_future),
    ("awaitable", lambda clock: functools.partial(Answer, Agent(clock))),
]


@pytest.mark.parametrize("make", [make for _, make in SYNC], ids=[name for name, _ in SYNC])
def test_sync_callable_returns_the_result_of_its_last_round(
    bench: Bench, make: Callable[[FakeClock], Callable[[], Any]]
) -> None:
    assert bench.timer(make(bench.clock)) == 3
    assert bench.latencies() == [0.5, 1.0, 1.5]


@pytest.mark.asyncio
@pytest.mark.parametrize("make", [make for _, make in ASYNC], ids=[name for name, _ in ASYNC])
async def test_async_callable_returns_the_result_of_its_last_round(
    bench: Bench, make: Callable[[FakeClock], Callable[[], Any]]
) -> None:
    pending = bench.timer(make(bench.clock))
    assert asyncio.iscoroutine(pending)
    assert await pending == 3
    assert bench.latencies() == [0.5, 1.0, 1.5]
    assert bench.timings.close() == []


def test_arguments_are_passed_on(perf: PerfTimer) -> None:
    def ask(*args: object, **kwargs: object) -> object:
        return args, kwargs

    assert perf(ask, 1, 2, a=3) == ((1, 2), {"a": 3})


def test_generator_returns_its_items_and_is_measured_as_a_stream(
    bench: Bench, agent: Agent
) -> None:
    assert bench.timer(agent.stream, "ab") == ["a", "b"]
    samples = bench.measured().samples
    assert list(samples["latency"]) == [1.0] * 3
    assert list(samples["ttft"]) == [0.5] * 3
    assert list(samples["itl"]) == [0.5] * 3
    assert bench.measured().values["items_per_second"] == 2.0


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["stream_async", "open_stream"])
async def test_async_stream_returns_its_items_and_is_measured(
    bench: Bench, agent: Agent, name: str
) -> None:
    assert await bench.timer(getattr(agent, name)) == ["a", "b", "c"]
    samples = bench.measured().samples
    assert list(samples["latency"]) == [1.5] * 3
    assert list(samples["ttft"]) == [0.5] * 3
    assert list(samples["itl"]) == [0.5] * 6


@pytest.mark.asyncio
async def test_coroutine_may_return_a_sync_stream(bench: Bench, agent: Agent) -> None:
    async def ask() -> Iterator[str]:
        return agent.stream()

    pending: Any = bench.timer(ask)
    assert await pending == ["a", "b", "c"]
    assert list(bench.measured().samples["ttft"]) == [0.5] * 3


@pytest.mark.parametrize(
    "make", [lambda: map(str, [1]), lambda: zip([1], strict=True), lambda: iter([1]), io.StringIO]
)
def test_lazy_result_is_returned_untouched(perf: PerfTimer, make: Callable[[], Any]) -> None:
    made: list[Any] = []

    def ask() -> Any:
        made.append(make())
        return made[-1]

    assert perf(ask) is made[2]
    assert len(made) == 3


def test_file_is_returned_open(perf: PerfTimer, tmp_path: Path) -> None:
    path = tmp_path / "answer.txt"
    path.write_text("a\nb\n")
    files: list[Any] = []

    def ask() -> Any:
        files.append(path.open())
        return files[-1]

    assert perf(ask).read() == "a\nb\n"
    for file in files:
        file.close()


def test_warmup_is_made_and_not_recorded(bench: Bench, agent: Agent) -> None:
    bench.timer.configure(warmup=2)
    assert bench.timer(agent.ask) == 5
    assert bench.latencies() == [1.5, 2.0, 2.5]


@pytest.mark.asyncio
async def test_async_warmup_is_made_and_not_recorded(bench: Bench, agent: Agent) -> None:
    bench.timer.configure(warmup=2)
    assert await bench.timer(agent.ask_async) == 5
    assert bench.latencies() == [1.5, 2.0, 2.5]


def test_warmup_of_a_stream_is_not_recorded(bench: Bench, agent: Agent) -> None:
    bench.timer.configure(warmup=1)
    bench.timer(agent.stream)
    assert bench.measured().samples["ttft"].count == 3
    assert agent.calls == 4


def test_rounds_double_while_the_verdict_is_open(clock: FakeClock, agent: Agent) -> None:
    looks = iter([True, True, False])
    bench = Bench(clock, is_open=lambda measured: next(looks))
    bench.timer(agent.ask)
    assert agent.calls == 12
    assert bench.measured().looks == 3


@pytest.mark.asyncio
async def test_max_calls_ends_an_open_verdict(clock: FakeClock, agent: Agent) -> None:
    bench = Bench(clock, is_open=always_open, max_calls=10)
    assert await bench.timer(agent.ask_async) == 10
    assert bench.measured().bound == "max_calls 10"
    assert bench.measured().looks == bench.measured().planned_looks == 3


def test_running_round_is_not_cut_by_max_time(bench: Bench) -> None:
    bench.timer.configure(max_time=3.0)
    bench.timer(bench.takes(8.0))
    assert bench.latencies() == [8.0]
    assert bench.measured().bound == "max_time 3 s"
    assert bench.measured().notes == ("1 of 3 rounds were made within max_time 3 s",)


@pytest.mark.parametrize("result", ["a", {"a": 1}], ids=["plain", "object"])
def test_no_round_begins_after_max_time(bench: Bench, result: object) -> None:
    bench.timer.configure(rounds=20, max_time=3.5)
    bench.timer(bench.takes(1.0, result))
    assert bench.latencies() == [1.0] * 4  # they begin at 0, 1, 2 and 3 s


@pytest.mark.asyncio
async def test_no_async_round_begins_after_max_time(bench: Bench) -> None:
    async def ask() -> str:
        await bench.clock.sleep(1.0)
        return "a"

    bench.timer.configure(rounds=20, max_time=3.5)
    await bench.timer(ask)
    assert bench.latencies() == [1.0] * 4


def test_first_round_announces_that_the_others_will_not_fit(bench: Bench) -> None:
    bench.timer.configure(rounds=20, max_time="5s")
    bench.timer(bench.takes(1.0))
    assert len(bench.announced) == 1
    assert (
        "20 rounds of about 1 s will not fit in max_time 5 s; max_time='24s' would do"
        in (bench.announced[0])
    )


def used(sent: int, received: int) -> dict[str, Any]:
    return {"usage": {"input_tokens": sent, "output_tokens": received}}


def test_max_tokens_ends_the_rounds(bench: Bench) -> None:
    bench.timer.configure(rounds=20, max_tokens=35)
    bench.timer(lambda: used(6, 4))
    assert bench.measured().calls == 3
    assert bench.measured().bound == "max_tokens 35"


def test_max_cost_ends_the_rounds(bench: Bench) -> None:
    bench.timer.configure(rounds=20, max_cost=1.0, cost=lambda reply: 0.25)
    bench.timer(lambda: "a")
    assert bench.measured().calls == 4
    assert bench.measured().values["cost_total"] == 1.0
    assert bench.measured().bound == "max_cost $1.0"


def test_bound_on_tokens_that_nobody_knows_ends_the_rounds(bench: Bench) -> None:
    bench.timer.configure(rounds=20, max_tokens=1000)
    bench.timer(lambda: "a")
    assert bench.measured().calls == 1
    assert "cannot be kept" in bench.measured().bound


def test_usage_of_plain_results_is_unknown_for_all_calls(bench: Bench) -> None:
    bench.timer(lambda: "a")
    reason = bench.measured().unknown["tokens_per_call"]
    assert reason.startswith("<lambda> returned str, which reports no usage")


def test_usage_of_every_round_is_read(bench: Bench) -> None:
    replies = iter([used(1, 1), used(2, 2), used(3, 3)])
    bench.timer(lambda: next(replies))
    assert list(bench.measured().samples["tokens_per_call"]) == [2, 4, 6]


@pytest.mark.asyncio
async def test_usage_of_every_async_round_is_read(bench: Bench) -> None:
    numbers = count(1)

    async def ask() -> dict[str, Any]:
        return used(next(numbers), 0)

    await bench.timer(ask)
    assert list(bench.measured().samples["tokens_per_call"]) == [1, 2, 3]


class BoomError(Exception):
    """What the code under test raises."""


def failing_at(call: int, work: Callable[[], Any]) -> Callable[[], Any]:
    """Return *work* that raises instead of its *call*-th call."""
    numbers = count(1)

    def ask() -> Any:
        if next(numbers) == call:
            raise BoomError
        return work()

    return ask


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("result", ["a", {"a": 1}], ids=["plain", "object"])
def test_exception_propagates_and_what_was_recorded_is_kept(
    bench: Bench, call: int, result: object
) -> None:
    with pytest.raises(BoomError):
        bench.timer(failing_at(call, bench.takes(0.5, result)))
    measured = bench.measured()
    assert list(measured.samples["latency"]) == [0.5] * (call - 1)
    assert (measured.calls, measured.errors) == (call, 1)


@pytest.mark.asyncio
@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("result", ["a", {"a": 1}], ids=["plain", "object"])
async def test_exception_of_a_coroutine_propagates_and_what_was_recorded_is_kept(
    bench: Bench, call: int, result: object
) -> None:
    ask = failing_at(call, bench.takes(0.5, result))

    async def ask_async() -> Any:
        return ask()

    with pytest.raises(BoomError):
        await bench.timer(ask_async)
    measured = bench.measured()
    assert list(measured.samples["latency"]) == [0.5] * (call - 1)
    assert (measured.calls, measured.errors) == (call, 1)
    assert bench.timings.close() == []


def test_exception_in_the_middle_of_a_stream_propagates(bench: Bench) -> None:
    def stream() -> Iterator[str]:
        yield "a"
        raise BoomError

    with pytest.raises(BoomError):
        bench.timer(stream)
    assert (bench.measured().calls, bench.measured().errors) == (1, 1)


def test_exception_of_a_warmup_propagates_and_is_not_recorded(bench: Bench) -> None:
    bench.timer.configure(warmup=1)
    with pytest.raises(BoomError):
        bench.timer(failing_at(1, lambda: "a"))
    assert bench.measured().calls == 0


@pytest.mark.asyncio
async def test_cancelled_trial_is_over(bench: Bench) -> None:
    entered = asyncio.Event()

    async def ask() -> None:
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(bench.timer(ask))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.measured().errors == 1
    assert bench.timings.close() == []


def test_kind_of_result_may_change_between_calls(bench: Bench, agent: Agent) -> None:
    results: list[Any] = ["a", "b", None, used(3, 4), "c", agent.stream(), 7]
    replies = iter(results)
    bench.timer.configure(rounds=7)
    assert bench.timer(lambda: next(replies)) == 7
    measured = bench.measured()
    assert list(measured.samples["latency"]) == [0, 0, 0, 0, 0, 1.5, 0]
    assert list(measured.samples["tokens_per_call"]) == [7]
    assert list(measured.samples["ttft"]) == [0.5]
    assert measured.unknown["tokens_per_call"].startswith("6 of 7 calls:")


@pytest.mark.asyncio
async def test_kind_of_an_async_result_may_change_between_calls(bench: Bench, agent: Agent) -> None:
    replies = iter(["a", "b", None, used(3, 4), "c", agent.stream_async(), 7])

    async def ask() -> Any:
        return next(replies)

    bench.timer.configure(rounds=7)
    assert await bench.timer(ask) == 7
    measured = bench.measured()
    assert list(measured.samples["latency"]) == [0, 0, 0, 0, 0, 1.5, 0]
    assert list(measured.samples["tokens_per_call"]) == [7]
    assert list(measured.samples["ttft"]) == [0.5]


@pytest.mark.asyncio
async def test_kind_of_awaitable_may_change_between_calls(bench: Bench, agent: Agent) -> None:
    kinds = iter([agent.ask_async, agent.ask_task, agent.ask_future, agent.ask_async])

    def ask() -> Awaitable[int]:
        kind = next(kinds)
        return kind()

    bench.timer.configure(rounds=4)
    assert await bench.timer(ask) == 4
    assert bench.latencies() == [0.5, 1.0, 1.5, 2.0]


@pytest.mark.asyncio
@pytest.mark.parametrize("first", ["a", {"a": 1}], ids=["plain", "object"])
async def test_awaitable_after_plain_results_is_refused(
    bench: Bench, agent: Agent, first: object
) -> None:
    replies = iter([first, first, agent.ask_async()])
    with pytest.raises(UsageError, match="<lambda> returned a coroutine after plain results"):
        bench.timer(lambda: next(replies))
    assert bench.measured().calls == 3
    assert bench.measured().errors == 1


def test_setup_and_teardown_stand_around_each_call_outside_of_its_time(bench: Bench) -> None:
    events: list[str] = []

    def note(event: str, seconds: float) -> None:
        bench.clock.advance(seconds)
        events.append(event)

    bench.timer.configure(
        warmup=1,
        rounds=2,
        setup=lambda: note("setup", 4.0),
        teardown=lambda: note("teardown", 8.0),
    )
    bench.timer(note, "call", 0.5)
    assert events == ["setup", "call", "teardown"] * 3
    assert bench.latencies() == [0.5, 0.5]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("is_setup_async", "is_call_async", "is_teardown_async"),
    [kinds for kinds in product([False, True], repeat=3) if kinds != (False, False, True)],
)
async def test_setup_and_teardown_may_be_async(
    bench: Bench, is_setup_async: bool, is_call_async: bool, is_teardown_async: bool
) -> None:
    events: list[str] = []

    def noting(event: str, seconds: float, *, is_async: bool) -> Callable[[], Any]:
        def note() -> None:
            bench.clock.advance(seconds)
            events.append(event)

        async def note_async() -> None:
            note()

        return note_async if is_async else note

    bench.timer.configure(
        rounds=2,
        setup=noting("setup", 4.0, is_async=is_setup_async),
        teardown=noting("teardown", 8.0, is_async=is_teardown_async),
    )
    pending: Any = bench.timer(noting("call", 0.5, is_async=is_call_async))
    if is_setup_async or is_call_async:
        await pending
    assert events == ["setup", "call", "teardown"] * 2
    assert bench.latencies() == [0.5, 0.5]


def test_setup_that_raises_ends_the_trial_before_the_call(bench: Bench, agent: Agent) -> None:
    def fail() -> None:
        raise BoomError

    bench.timer.configure(setup=fail)
    with pytest.raises(BoomError):
        bench.timer(agent.ask)
    assert agent.calls == 0
    assert bench.measured().calls == 0


def test_teardown_that_raises_ends_the_trial_after_the_call(bench: Bench, agent: Agent) -> None:
    def fail() -> None:
        raise BoomError

    bench.timer.configure(teardown=fail)
    with pytest.raises(BoomError):
        bench.timer(agent.ask)
    assert bench.latencies() == [0.5]
    assert bench.measured().errors == 0


@pytest.mark.asyncio
async def test_time_before_the_await_is_not_the_calls(bench: Bench, agent: Agent) -> None:
    pending = bench.timer(agent.ask_async)
    bench.clock.advance(8.0)
    await pending
    assert bench.latencies() == [0.5, 1.0, 1.5]


@pytest.mark.asyncio
async def test_trials_of_different_labels_may_run_at_once(bench: Bench) -> None:
    async def ask(word: str) -> str:
        await asyncio.sleep(0)
        return word

    words = [f"w{number}" for number in range(5)]
    assert await asyncio.gather(*(bench.timer[word](ask, word) for word in words)) == words
    assert [bench.measured(word).calls for word in words] == [3] * 5
    assert bench.timings.close() == []


def test_trial_needs_no_asyncio(bench: Bench) -> None:
    async def ask() -> str:
        await trio.lowlevel.checkpoint()
        return "a"

    async def main() -> str:
        return await bench.timer(ask)

    assert trio.run(main) == "a"
    assert bench.measured().calls == 3


def test_trial_restores_the_context(bench: Bench, agent: Agent) -> None:
    bench.timer.count(agent, "ask", metric="tool_calls")
    before = dict(contextvars.copy_context())
    bench.timer(agent.ask)
    assert dict(contextvars.copy_context()) == before
    with pytest.raises(BoomError):
        bench.timer(failing_at(1, agent.ask))
    assert dict(contextvars.copy_context()) == before


@pytest.mark.asyncio
async def test_async_trial_restores_the_context(bench: Bench, agent: Agent) -> None:
    bench.timer.count(agent, "ask", metric="tool_calls")
    before = dict(contextvars.copy_context())
    pending = bench.timer(agent.ask_async)
    assert dict(contextvars.copy_context()) == before
    await pending
    assert dict(contextvars.copy_context()) == before


@pytest.fixture
def strict() -> Iterator[None]:
    """Whatever warns in the test, also while it is collected, fails it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()  # what tests before this one left
        warnings.simplefilter("error")
        yield
        gc.collect()


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("hook", ["none", "setup", "stream"])
def test_trial_that_nobody_awaited_is_named_without_a_warning(bench: Bench, hook: str) -> None:
    class Agent:
        async def ask(self) -> str:
            raise AssertionError("awaited")

    async def prepare() -> None:
        raise AssertionError("awaited")

    if hook == "setup":
        bench.timer.configure(setup=prepare)
    if hook == "stream":
        bench.timer.configure(stream=iter)
    _ = bench.timer(Agent().ask)
    del _
    gc.collect()
    (sentence,) = bench.timings.close()
    name = "Agent.ask"
    assert sentence == (
        f"perf_timer({name}) was never awaited: nothing was timed; write"
        f" `await perf_timer({name}, …)` in an async test"
    )
    assert bench.timings.close() == []
    assert bench.measured().calls == 0


@pytest.mark.usefixtures("strict")
def test_each_trial_that_nobody_awaited_is_named(bench: Bench, agent: Agent) -> None:
    _ = bench.timer(agent.ask_async)
    _ = bench.timer(agent.stream_async)
    named = [sentence.partition(" ")[0] for sentence in bench.timings.close()]
    assert named == ["perf_timer(Agent.ask_async)", "perf_timer(Agent.stream_async)"]


@pytest.mark.usefixtures("strict")
def test_trial_that_has_not_ended_is_named_without_a_warning(bench: Bench) -> None:
    async def ask() -> None:
        await asyncio.Event().wait()

    async def main() -> list[str]:
        task = asyncio.ensure_future(bench.timer(ask))
        await asyncio.sleep(0)
        sentences = bench.timings.close()
        task.cancel()
        return sentences

    (sentence,) = asyncio.run(main())
    assert sentence == (
        "perf_timer(ask) had not ended when the test did: its rounds are incomplete;"
        " await it inside the test"
    )


@pytest.mark.asyncio
async def test_trial_that_ended_is_not_named(bench: Bench, agent: Agent) -> None:
    await bench.timer(agent.ask_async)
    _ = bench.timer(agent.stream_async)
    assert len(bench.timings.close()) == 1


@pytest.mark.asyncio
async def test_trials_that_ended_are_not_kept(bench: Bench, agent: Agent) -> None:
    for _ in range(10):
        await bench.timer(agent.ask_async)
    assert len(bench.timings._unfinished) == 1  # the last one, until another begins


def test_body_of_a_test_may_return_anything(bench: Bench, agent: Agent) -> None:
    made = bench.timings.run_body(agent.stream)
    assert list(made) == ["a", "b", "c"]
    assert bench.measured().calls == 3
    assert set(bench.measured().samples) == {"latency"}
    assert bench.measured().subject == "the test"
    assert bench.measured().values == {}


@pytest.mark.asyncio
async def test_body_of_an_async_test_is_awaited(bench: Bench, agent: Agent) -> None:
    assert await bench.timings.run_body(agent.ask_async) == 3
    assert bench.latencies() == [0.5, 1.0, 1.5]


def test_result_of_a_body_reports_no_usage(bench: Bench) -> None:
    bench.timings.run_body(lambda: used(3, 4))
    measured = bench.measured()
    assert "tokens_per_call" not in {*measured.samples, *measured.unknown}


steps = st.lists(st.sampled_from(["str", "None", "dict", "list", "stream"]), min_size=1)


@given(kinds=steps, warmup=st.integers(0, 3), is_async=st.booleans())
def test_every_round_is_recorded_once_whatever_it_returns(
    kinds: list[str], warmup: int, is_async: bool
) -> None:
    bench = Bench(FakeClock())
    made = count()

    def ask() -> Any:
        number = next(made)
        bench.clock.advance(number)
        results = {"str": "a", "None": None, "dict": {"a": 1}, "list": [1], "stream": None}
        kind = kinds[max(number - warmup, 0)]
        return (letter for letter in "ab") if kind == "stream" else results[kind]

    async def ask_async() -> Any:
        return ask()

    bench.timer.configure(rounds=len(kinds), warmup=warmup, max_time=10**9)
    if is_async:
        asyncio.run(main_of(bench.timer(ask_async)))
    else:
        bench.timer(ask)
    assert bench.latencies() == [float(warmup + number) for number in range(len(kinds))]
    streams = kinds.count("stream")
    ttft = bench.measured().samples.get("ttft")
    assert (ttft.count if ttft else 0) == streams


async def main_of(pending: Awaitable[Any]) -> Any:
    return await pending


def test_plan_of_the_bench_follows_what_is_stated(bench: Bench, agent: Agent) -> None:
    bench.timer["few"].configure(rounds=1)
    bench.timer["few"](agent.ask)
    bench.timer["many"](agent.ask)
    assert bench.measured("few").calls == 1
    assert bench.measured("many").calls == 3
    assert bench.measured("few")._replace(label=None).subject == "Agent.ask"
