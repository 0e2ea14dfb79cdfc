"""Tests of waits: what is added up, what is kept, what is a finding."""

import asyncio
import random
import sys
import threading
from collections.abc import Callable

import httpcore
import pytest

from pytest_agentperf.core.finding import CAUSES
from pytest_agentperf.measure.concurrency.origins import caller
from pytest_agentperf.measure.concurrency.waits import ledger as waits
from pytest_agentperf.measure.concurrency.waits.ledger import KEPT_WAITS, WaitLedger
from pytest_agentperf.measure.concurrency.waits.waiting import Kind, Record

from ...conftest import FakeClock  # noqa: TID252 -- the fixtures of the layer

HERE = caller()
assert HERE


class Agent:
    """An agent whose saves exclude each other."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.lock = asyncio.Lock()

    async def save(self, seconds: float) -> None:
        async with self.lock:
            await asyncio.sleep(0)
            self.clock.advance(seconds)


@pytest.fixture
def ledger(clock: FakeClock) -> WaitLedger:
    return WaitLedger(clock)


@pytest.fixture
def record(ledger: WaitLedger) -> Callable[..., None]:
    """Record a wait."""
    numbers = iter(range(1_000_000))

    def record(
        seconds: float, kind: Kind = "lock", name: str = "a lock", span: object = None
    ) -> None:
        ledger._book.add(Record(seconds, next(numbers), kind, name, HERE, 0.0, "", None, "", span))

    return record


@pytest.mark.asyncio
async def test_finding_says_how_long_how_often_and_behind_whom(
    ledger: WaitLedger, clock: FakeClock
) -> None:
    agent = Agent(clock)
    ledger.start()
    async with asyncio.TaskGroup() as group:
        for number, seconds in enumerate([0.25, 0.5, 0.125, 0.125]):
            group.create_task(agent.save(seconds), name=f"save-{number}")
    ledger.stop()
    (finding,) = ledger.findings()
    # Waits of 0.25, 0.75 and 0.875 s: each saves when all before it have.
    assert (finding.cause, finding.count, finding.seconds) == ("contention", 3, 1.875)
    assert finding.place
    where = f"{finding.place.file}:{finding.place.line}"
    assert str(finding) == (
        f"lock at {where} was waited for 1.88 s altogether in 3 waits; longest 875 ms behind"
        f" {where} in Agent.save (task 'save-1')"
    )
    assert finding.cause in CAUSES
    assert finding.place.source == "async with self.lock:"


@pytest.mark.asyncio
async def test_waits_are_told_with_both_lines_and_the_span(clock: FakeClock) -> None:
    ledger = WaitLedger(clock, current_span=lambda: 7)
    agent = Agent(clock)
    ledger.start()
    await asyncio.gather(agent.save(0.5), agent.save(0.5))
    ledger.stop()
    (wait,) = ledger.waits
    assert wait.place
    assert wait.holder == wait.place
    assert (wait.kind, wait.seconds, wait.span) == ("lock", 0.5, 7)
    assert wait.name == f"lock at {wait.place.file}:{wait.place.line}"
    assert ledger.of_span(7) == {"lock": 0.5}
    assert ledger.of_span(8) == {}


def test_totals_are_exact_and_the_longest_altogether_comes_first(
    ledger: WaitLedger, record: Callable[..., None]
) -> None:
    record(0.5)
    record(0.25)
    record(0.5, name="another")
    first, second = ledger.totals
    assert (first.name, first.count, first.seconds, first.longest.seconds) == (
        "a lock", 2, 0.75, 0.5,
    )  # fmt: skip
    assert (second.name, second.count) == ("another", 1)
    assert str(second) == "another was waited for 500 ms altogether once"


def test_longest_waits_are_kept_and_all_are_counted(
    ledger: WaitLedger, record: Callable[..., None]
) -> None:
    seconds = [float(number) for number in range(KEPT_WAITS + 500)]
    random.Random(1).shuffle(seconds)
    for each in seconds:
        record(each)
    assert [wait.seconds for wait in ledger.waits] == sorted(seconds, reverse=True)[:KEPT_WAITS]
    assert ledger.totals[0].count == len(seconds)
    assert ledger.totals[0].seconds == sum(seconds)


def test_things_beyond_a_bound_are_added_up_together(
    ledger: WaitLedger, record: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "_KEPT_TOTALS", 2)
    for name in ("a", "b", "c", "d", "b"):
        record(1, name=name)
    assert {(total.name, total.count) for total in ledger.totals} == {
        ("a", 1), ("b", 2), ("any other lock", 2),
    }  # fmt: skip


def test_spans_beyond_a_bound_are_left_out_and_it_says_so(
    ledger: WaitLedger, record: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "KEPT_SPANS", 2)
    for span in (1, 2, 1):
        record(1, span=span)
    assert not ledger.notes
    record(1, span=3)
    assert [ledger.of_span(span) for span in (1, 2, 3)] == [{"lock": 2}, {"lock": 1}, {}]
    assert ledger.notes == ("waits are told apart by span for the first 2 spans alone",)
    assert ledger.totals[0].count == 4


@pytest.mark.parametrize(
    ("kind", "is_contention"),
    [
        ("lock", True), ("semaphore", True), ("limiter", True), ("executor", True),
        ("pool", True), ("queue put", True), ("queue get", False), ("condition", False),
        ("event", False),
    ],
)  # fmt: skip
def test_wait_to_be_told_something_is_no_contention(
    ledger: WaitLedger, record: Callable[..., None], kind: Kind, is_contention: bool
) -> None:
    record(1, kind)
    assert len(ledger.totals) == 1
    assert len(ledger.findings()) == is_contention


@pytest.mark.parametrize(("least", "count"), [(0.75, 1), (0.751, 0)])
def test_short_waits_are_no_finding(
    ledger: WaitLedger, record: Callable[..., None], least: float, count: int
) -> None:
    record(0.5)
    record(0.25)
    assert len(ledger.findings(least)) == count


def test_waits_of_many_threads_are_all_counted(
    ledger: WaitLedger, record: Callable[..., None]
) -> None:
    def work() -> None:
        for _ in range(500):
            record(1, span=1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.totals[0].count == 4000
    assert ledger.of_span(1) == {"lock": 4000}


@pytest.mark.asyncio
async def test_ledger_records_between_start_and_stop_alone(
    ledger: WaitLedger, clock: FakeClock
) -> None:
    agent, before = Agent(clock), asyncio.Lock.acquire

    async def contend() -> None:
        await asyncio.gather(agent.save(0.5), agent.save(0.5))

    for start in (True, False, True):
        if start:
            ledger.start()
            ledger.start()
        await contend()
        ledger.stop()
        ledger.stop()
        assert asyncio.Lock.acquire is before
    assert ledger.totals[0].count == 2


@pytest.mark.asyncio
async def test_ledgers_within_each_other_record_the_same(clock: FakeClock) -> None:
    outer, inner, agent = WaitLedger(clock), WaitLedger(clock), Agent(clock)
    before = asyncio.Lock.acquire
    outer.start()
    inner.start()
    await asyncio.gather(*(agent.save(0.5) for _ in range(3)))
    outer.stop()  # in the wrong order, too
    await asyncio.gather(agent.save(0.5), agent.save(0.5))
    inner.stop()
    assert [total.count for total in outer.totals] == [2]
    assert [total.count for total in inner.totals] == [3]
    assert set(outer.waits) < set(inner.waits)
    assert asyncio.Lock.acquire is before


def test_library_that_was_imported_too_late_is_named(
    ledger: WaitLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as absent:
        absent.delitem(sys.modules, httpcore._async.connection_pool.__name__)
        ledger.start()
    ledger.stop()
    assert ledger.notes == ("httpcore was imported during the watch, so waits in it are not seen",)
