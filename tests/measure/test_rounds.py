"""Rounds: how many calls a schedule asks for, and what ends them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.measure.memory.levels import Levels
from pytest_agentperf.measure.recording import Recording
from pytest_agentperf.measure.rounds import Plan, Schedule
from pytest_agentperf.measure.spending import UsageReading

from .conftest import FakeClock, always_open, never_open

PLAN = Plan(
    rounds=5,
    warmup=0,
    max_calls=1000,
    max_time=60.0,
    max_tokens=None,
    max_cost=None,
    is_open=never_open,
    announce=lambda sentence: None,
)


class Runner:
    """Makes the calls that a schedule asks for; each takes as long and as much as is said."""

    def __init__(
        self,
        plan: Plan,
        seconds: float = 0.0,
        *,
        tokens: int | None = None,
        dollars: float | None = None,
        levels: Levels | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.recording = Recording(None)
        self.recording.levels = levels
        self.blocks: list[int] = []
        self._schedule = Schedule(plan, self.recording, "agent.ask", self.clock())
        self._seconds = seconds
        self._reading = UsageReading(
            usage=lambda response: tokens, cost=None if dollars is None else lambda _: dollars
        )

    def run(self) -> "Runner":
        while block := self._schedule.next_block(self.clock()):
            self.blocks.append(block)
            for _ in range(block):
                recording = self._schedule.recording
                self.clock.advance(self._seconds)
                recording.add(self._seconds)
                recording.read("a", "agent.ask", self._reading)
                self._schedule.ended(1)
        return self

    @property
    def calls(self) -> int:
        return sum(self.blocks)

    @property
    def rounds(self) -> int:
        return self.recording.calls


def test_schedule_makes_the_rounds_of_its_plan() -> None:
    run = Runner(PLAN).run()
    assert (run.calls, run.rounds) == (5, 5)
    assert run.recording.bound == ""
    assert run.recording.measurement().notes == ()


def test_schedule_makes_the_first_round_alone() -> None:
    assert Runner(PLAN).run().blocks == [1, 4]


def test_schedule_makes_the_warmup_first_and_records_it_apart() -> None:
    run = Runner(PLAN._replace(warmup=2)).run()
    assert run.blocks == [1, 1, 1, 4]
    assert (run.calls, run.rounds) == (7, 5)


def test_schedule_makes_large_numbers_in_blocks() -> None:
    run = Runner(PLAN._replace(rounds=25_001, max_calls=30_000)).run()
    assert run.blocks == [1, 10_000, 10_000, 5000]


def test_memory_is_read_before_the_first_round_and_after_each_long_one() -> None:
    run = Runner(PLAN._replace(warmup=2), seconds=0.5, levels=Levels()).run()
    assert run.blocks == [1] * 7
    points = run.recording.measurement().curves["rss"].points
    assert [point.at for point in points] == [0, 1, 2, 3, 4, 5]


def test_memory_is_read_every_five_milliseconds_between_short_rounds() -> None:
    run = Runner(PLAN._replace(rounds=101), seconds=1 / 16_384, levels=Levels()).run()
    assert run.blocks == [1, 82, 18]  # 82 of them take 5 ms
    points = run.recording.measurement().curves["rss"].points
    assert [point.at for point in points] == [0, 1, 83, 101]


def test_memory_is_not_read_where_nobody_asks_for_it() -> None:
    assert Runner(PLAN).run().recording.measurement().curves == {}


def test_schedule_asks_after_each_call_when_spending_is_bounded() -> None:
    assert Runner(PLAN._replace(max_tokens=1000), tokens=1).run().blocks == [1] * 5


def test_schedule_doubles_the_rounds_while_the_verdict_is_open() -> None:
    looked: list[int] = []

    def is_open(measured: Measurement) -> bool:
        looked.append(measured.calls)
        return len(looked) < 4

    run = Runner(PLAN._replace(is_open=is_open)).run()
    assert looked == [5, 10, 20, 40]
    assert run.rounds == 40
    assert run.recording.looks == 4
    assert run.recording.bound == ""


def test_schedule_stops_at_max_calls_while_the_verdict_is_open() -> None:
    run = Runner(PLAN._replace(is_open=always_open, warmup=1, max_calls=33)).run()
    assert (run.calls, run.rounds) == (33, 32)
    assert run.recording.looks == 4  # 5, 10, 20, 32
    assert run.recording.planned_looks == 4
    assert run.recording.bound == "max_calls 33"
    assert run.recording.measurement().notes == ()  # the rounds that were asked for were made


@pytest.mark.parametrize(
    ("max_calls", "planned"), [(5, 1), (6, 2), (10, 2), (11, 3), (20, 3), (21, 4), (1000, 9)]
)
def test_planned_looks_are_those_of_a_verdict_that_stays_open(max_calls: int, planned: int) -> None:
    run = Runner(PLAN._replace(is_open=always_open, max_calls=max_calls)).run()
    assert run.recording.planned_looks == planned
    assert run.recording.looks == planned


def test_planned_looks_are_the_most_of_several_schedules(recording: Recording) -> None:
    Schedule(PLAN._replace(max_calls=1000), recording, "ask", 0.0)
    Schedule(PLAN._replace(max_calls=5), recording, "ask", 0.0)
    assert recording.planned_looks == 9


@pytest.mark.parametrize(("max_calls", "rounds"), [(4, 4), (5, 5), (6, 5)])
def test_max_calls_bounds_the_rounds(max_calls: int, rounds: int) -> None:
    assert Runner(PLAN._replace(max_calls=max_calls)).run().rounds == rounds


def test_max_calls_includes_the_warmup_and_says_what_was_made() -> None:
    run = Runner(PLAN._replace(warmup=3, max_calls=7)).run()
    assert (run.calls, run.rounds) == (7, 4)
    assert run.recording.bound == "max_calls 7"
    assert run.recording.measurement().notes == ("4 of 5 rounds were made within max_calls 7",)


def test_max_calls_may_end_the_warmup() -> None:
    run = Runner(PLAN._replace(warmup=3, max_calls=2)).run()
    assert (run.calls, run.rounds) == (2, 0)
    assert run.recording.measurement().notes == ("0 of 5 rounds were made within max_calls 2",)


@pytest.mark.parametrize(("max_time", "calls"), [(1.9, 2), (2.0, 2), (2.1, 3)])
def test_no_call_begins_after_max_time(max_time: float, calls: int) -> None:
    # One call at a time, as bounded spending asks: calls begin at 0, 1 and 2 s.
    plan = PLAN._replace(max_time=max_time, max_tokens=10**6)
    run = Runner(plan, 1.0, tokens=1).run()
    assert run.calls == calls
    assert run.recording.bound.startswith("max_time")


def test_max_time_never_prevents_the_first_call() -> None:
    run = Runner(PLAN._replace(max_time=0.0), 1.0).run()
    assert run.calls == 1
    assert run.recording.bound == "max_time 0 s"
    assert run.recording.measurement().notes == ("1 of 5 rounds were made within max_time 0 s",)


def test_max_time_counts_the_warmup() -> None:
    run = Runner(PLAN._replace(warmup=2, max_time=2.0), 1.0).run()
    assert (run.calls, run.rounds) == (2, 0)


@pytest.mark.parametrize(("max_tokens", "calls"), [(29, 2), (30, 3), (39, 3), (40, 4)])
def test_max_tokens_admits_no_call_that_would_exceed_it(max_tokens: int, calls: int) -> None:
    run = Runner(PLAN._replace(max_tokens=max_tokens), tokens=10).run()
    assert run.calls == calls
    assert run.recording.bound == f"max_tokens {max_tokens}"


def test_max_tokens_counts_the_warmup() -> None:
    run = Runner(PLAN._replace(warmup=2, max_tokens=40), tokens=10).run()
    assert (run.calls, run.rounds) == (4, 2)


@pytest.mark.parametrize(("max_cost", "calls"), [(0.29, 2), (0.3, 3), (0.39, 3), (0.4, 4)])
def test_max_cost_admits_no_call_that_would_exceed_it(max_cost: float, calls: int) -> None:
    # 0.1 + 0.1 + 0.1 is more than 0.3 in floats and must fit all the same.
    run = Runner(PLAN._replace(max_cost=max_cost), dollars=0.1).run()
    assert run.calls == calls
    assert run.recording.bound == f"max_cost ${max_cost}"


def test_max_cost_counts_the_warmup() -> None:
    run = Runner(PLAN._replace(warmup=2, max_cost=1.0), dollars=0.25).run()
    assert (run.calls, run.rounds) == (4, 2)


def test_bound_expects_the_next_call_to_take_as_much_as_the_largest() -> None:
    recording = Recording(None)
    schedule = Schedule(PLAN._replace(max_tokens=100), recording, "ask", 0.0)
    for tokens in (50, 10):
        assert schedule.next_block(0.0) == 1
        recording.add(1.0)
        recording.read(tokens, "ask", UsageReading(usage=lambda response: response))
        schedule.ended(1)
    assert schedule.next_block(0.0) == 0  # 60 + 50 > 100


@pytest.mark.parametrize("warmup", [0, 1])
def test_bound_that_cannot_be_kept_ends_the_calls_and_says_why(warmup: int) -> None:
    run = Runner(PLAN._replace(warmup=warmup, max_tokens=1000)).run()
    assert run.calls == 1
    assert run.recording.bound.startswith(
        "max_tokens 1000, which cannot be kept: agent.ask returned str, which reports no usage"
    )


def test_bound_on_unknown_cost_ends_the_calls() -> None:
    recording = Recording(None)
    schedule = Schedule(PLAN._replace(max_cost=1.0), recording, "ask", 0.0)
    assert schedule.next_block(0.0) == 1
    recording.add(1.0)
    recording.read((1, 2), "ask", UsageReading(usage=lambda pair: pair, wants_cost=True))
    schedule.ended(1)
    assert schedule.next_block(0.0) == 0
    assert "max_cost $1.0, which cannot be kept: the response names no model" in recording.bound


def test_first_round_tells_that_the_others_will_not_fit() -> None:
    announced: list[str] = []
    plan = PLAN._replace(rounds=20, max_time=5.0, announce=announced.append)
    Runner(plan, 0.5).run()
    # 20 rounds of 0.5 s are 10 s, and 20 % more is safe.
    assert announced == [
        "agent.ask: 20 rounds of about 500 ms will not fit in max_time 5 s; max_time='12s' would do"
    ]


def test_first_round_tells_nothing_where_the_others_fit() -> None:
    announced: list[str] = []
    Runner(PLAN._replace(rounds=20, max_time=10.0, announce=announced.append), 0.5).run()
    assert announced == []


def test_first_round_tells_it_with_the_time_of_the_warmup() -> None:
    announced: list[str] = []
    plan = PLAN._replace(warmup=1, max_time=3.0, announce=announced.append)
    Runner(plan, 0.5).run()
    assert announced == []
    Runner(plan._replace(warmup=2), 0.5).run()
    assert len(announced) == 1


plans = st.builds(
    Plan,
    rounds=st.integers(1, 40),
    warmup=st.integers(0, 5),
    max_calls=st.integers(1, 200),
    max_time=st.integers(0, 100).map(float),
    max_tokens=st.none() | st.integers(0, 500),
    max_cost=st.none() | st.integers(0, 50).map(float),
    is_open=st.sampled_from([never_open, always_open]),
    announce=st.just(lambda sentence: None),
)


@given(plans, st.integers(0, 4), st.integers(0, 50))
def test_schedule_never_exceeds_its_bounds(plan: Plan, seconds: int, tokens: int) -> None:
    run = Runner(plan, float(seconds), tokens=tokens, dollars=0.1 * tokens).run()
    assert 1 <= run.calls <= plan.max_calls
    assert run.rounds == max(run.calls - plan.warmup, 0)
    if plan.max_tokens is not None:
        assert run.calls * tokens <= max(plan.max_tokens, tokens)
    if plan.max_cost is not None:
        assert run.calls * 0.1 * tokens <= max(plan.max_cost, 0.1 * tokens) * (1 + 1e-6)
    if plan.is_open is never_open:
        assert run.rounds <= plan.rounds
    if run.rounds < plan.rounds:
        assert run.recording.bound
        assert run.recording.measurement().notes
    assert run.recording.looks <= run.recording.planned_looks


@given(st.integers(1, 100), st.integers(0, 3), st.integers(1, 3000))
def test_looks_are_as_many_as_planned_when_the_verdict_stays_open(
    rounds: int, warmup: int, extra: int
) -> None:
    plan = PLAN._replace(rounds=rounds, warmup=warmup, is_open=always_open)
    run = Runner(plan._replace(max_calls=warmup + rounds + extra)).run()
    assert run.rounds == rounds + extra
    assert run.recording.looks == run.recording.planned_looks
