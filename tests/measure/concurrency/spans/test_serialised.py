"""Fan-outs that were none: which are found, and what is said to have held them up."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from pytest_agentperf.core.finding import Finding, Place
from pytest_agentperf.measure.concurrency.spans.findings import find
from pytest_agentperf.measure.concurrency.spans.recorder import SpanRecorder
from pytest_agentperf.measure.concurrency.spans.serialised import Obstacle
from pytest_agentperf.measure.concurrency.spans.span import Span

from .plans import call
from .virtual_loop import block, now, run

BLOCKER = Place("tools.py", 12, "search", "time.sleep(1)")
HOLDER = Place("agent.py", 30, "Agent.save", "async with self.lock:")


def fan_out(*times: tuple[float, float], **more: Any) -> list[Span]:
    """Return calls of tasks T0, T1, … that share no data."""
    return [
        call(at + 1, "search", *time, strand=at, task=f"T{at}", given=(f"query {at}",), **more)
        for at, time in enumerate(times)
    ]


def blocked(task: str, start: float, seconds: float = 1, place: Place = BLOCKER) -> Obstacle:
    return Obstacle("blocking call", start, seconds, task, place=place, stops_others=True)


def waited(task: str, start: float, seconds: float) -> Obstacle:
    return Obstacle("lock", start, seconds, task, name="Agent.lock", place=HOLDER)


def serialised(spans: Sequence[Span], *obstacles: Obstacle) -> list[Finding]:
    return [each for each in find(spans, obstacles=obstacles) if each.cause == "serialised"]


def test_a_blocking_call_in_each_task_is_what_serialised_them() -> None:
    spans = fan_out((0, 1), (1, 2), (2, 3))
    (finding,) = serialised(spans, *(blocked(f"T{at}", at) for at in range(3)))
    assert str(finding) == (
        "3 calls of search in tasks of their own ran one at a time: 3 s instead of 1 s; held up by"
        " blocking call at tools.py:12 in search: time.sleep(1) (3 s)"
    )
    assert (finding.name, finding.count, finding.seconds) == ("search", 3, 2)


def test_a_blocking_call_after_an_await_is_what_serialised_them() -> None:
    # All began at once; each blocked the loop for a second while the others were ready.
    spans = fan_out((0, 1), (0, 2), (0, 3))
    (finding,) = serialised(spans, *(blocked(f"T{at}", at) for at in range(3)))
    assert "3 s instead of 1 s; held up by blocking call at tools.py:12" in str(finding)


def test_a_lock_that_each_waited_for_is_what_serialised_them() -> None:
    spans = fan_out((0, 1), (0, 2), (0, 3))
    (finding,) = serialised(spans, waited("T1", 0, 1), waited("T2", 0, 2))
    assert str(finding).endswith(
        "held up by lock 'Agent.lock' held at agent.py:30 in Agent.save: async with self.lock:"
        " (2 s)"
    )


def test_a_lock_around_the_calls_is_what_serialised_them() -> None:
    spans = fan_out((0, 1), (1, 2), (2, 3))
    (finding,) = serialised(spans, waited("T1", 0, 1), waited("T2", 0, 2))
    assert "lock 'Agent.lock'" in str(finding)


def test_several_causes_are_named_the_worst_first() -> None:
    spans = fan_out((0, 1), (1, 4), (4, 6))
    other = Place("tools.py", 20, "index")
    (finding,) = serialised(
        spans, blocked("T0", 0), blocked("T1", 1, 3, other), blocked("T2", 4, 2)
    )
    assert str(finding).endswith(
        "blocking call at tools.py:12 in search: time.sleep(1) (3 s) and blocking call at"
        " tools.py:20 in index (3 s)"
    ) or str(finding).endswith(
        "blocking call at tools.py:20 in index (3 s) and blocking call at tools.py:12 in search:"
        " time.sleep(1) (3 s)"
    )


def test_a_block_of_an_unknown_task_may_be_the_cause() -> None:
    spans = fan_out((0, 1), (1, 2))
    (finding,) = serialised(spans, blocked("", 0), blocked("", 1))
    assert "held up by blocking call" in str(finding)


def test_tasks_one_right_after_the_other_are_found_without_a_known_cause() -> None:
    (finding,) = serialised(fan_out((0, 1), (1.01, 2), (2.05, 3)))
    assert str(finding).endswith(
        "3 s instead of 1 s; they are awaited one by one, or something that was not recorded lets"
        " in one at a time"
    )


@pytest.mark.parametrize("pause", [0.11, 5])
def test_tasks_with_a_pause_between_may_be_so_by_chance(pause: float) -> None:
    assert serialised(fan_out((0, 1), (1 + pause, 2 + pause))) == []


def test_obstacles_that_explain_less_than_half_of_it_are_no_cause() -> None:
    spans = fan_out((0, 1), (1, 2), (2, 3))  # two seconds lost
    (finding,) = serialised(spans, blocked("T1", 1, 0.99))
    assert "not recorded" in str(finding)
    (finding,) = serialised(spans, blocked("T1", 1, 1))
    assert "held up by" in str(finding)


def test_what_others_waited_for_is_no_cause() -> None:
    spans = fan_out((0, 1), (1, 2))
    (finding,) = serialised(spans, waited("other", 0, 2))
    assert "not recorded" in str(finding)


def test_tasks_that_overlap_are_no_finding() -> None:
    assert serialised(fan_out((0, 1), (0, 1), (0, 1))) == []
    assert serialised(fan_out((0, 1), (0, 1)), blocked("T0", 0, 0.1)) == []


def test_tasks_that_use_each_others_results_are_no_finding() -> None:
    spans = [
        call(1, "a", 0, 1, strand=1, task="T1", found="apples"),
        call(2, "b", 1, 2, strand=2, task="T2", given=("apples",)),
    ]
    assert serialised(spans) == []


def test_tasks_of_different_parents_are_no_fan_out() -> None:
    one, other = fan_out((0, 1), (1, 2))
    assert serialised([one, call(3, "b", 1, 2, strand=9, parent=1)]) == []
    assert len(serialised([one, other])) == 1


def test_calls_in_threads_are_no_fan_out() -> None:
    assert serialised(fan_out((0, 1), (1, 2), in_task=False)) == []


def test_two_fan_outs_are_two_findings() -> None:
    assert len(serialised(fan_out((0, 1), (1, 2), (9, 10), (10, 11)))) == 2


def test_a_sync_tool_in_a_gather_is_found_in_a_running_loop() -> None:
    blocks: list[Obstacle] = []

    async def main() -> SpanRecorder:
        recorder = SpanRecorder(now)

        async def search(query: str) -> str:
            task = asyncio.current_task()
            assert task is not None
            blocks.append(blocked(task.get_name(), now(), 0.1))
            block(0.1)
            return f"found {query}"

        tool = recorder.wrap(search)
        await asyncio.gather(tool("a"), tool("b"), tool("c"))
        recorder.stop()
        return recorder

    (finding,) = serialised(run(main).spans, *blocks)
    assert "3 calls of search in tasks of their own ran one at a time: 300 ms instead of" in str(
        finding
    )
    assert "blocking call at tools.py:12" in str(finding)
