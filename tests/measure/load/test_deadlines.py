"""Tests of the one timer for the deadlines of all calls."""

import asyncio

import pytest

from pytest_agentperf.measure.load.deadlines import Deadlines
from tests.measure.load.conftest import Loads


def run(load: Loads, seconds: float | None, waits: list[float]) -> list[tuple[float, bool]]:
    """Return when each call ended, and whether at its deadline; one begins each 0.1 s."""
    ends: list[tuple[float, bool]] = []

    async def main() -> None:
        deadlines = Deadlines(seconds, load.clock, asyncio.get_running_loop())

        async def call(wait: float) -> None:
            task = asyncio.current_task()
            assert task is not None
            deadlines.begin(task, load.clock())
            try:
                await asyncio.sleep(wait)
            except asyncio.CancelledError:
                task.uncancel()
            ends.append((round(load.clock() - 1000, 3), deadlines.end(task)))

        tasks = []
        for wait in waits:
            tasks.append(asyncio.create_task(call(wait)))
            await asyncio.sleep(0.1)
        await asyncio.gather(*tasks)
        assert not deadlines.started
        assert not deadlines.late
        deadlines.close()

    load.runner.run(main())
    return ends


def test_calls_that_are_late_are_cancelled_when_they_are(load: Loads) -> None:
    assert run(load, 1, [9, 0.5, 9, 0.99]) == [
        (0.6, False),
        (1.0, True),
        (1.2, True),
        (1.29, False),
    ]


def test_calls_after_a_pause_have_a_deadline_too(load: Loads) -> None:
    assert run(load, 0.15, [9, 0.01, 0.01, 9])[-1] == (0.45, True)


def test_no_deadline_cancels_nothing(load: Loads) -> None:
    assert run(load, None, [9]) == [(9.0, False)]


@pytest.mark.parametrize("calls", [1, 100])
def test_there_is_one_timer_for_all_calls(load: Loads, calls: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        deadlines = Deadlines(1, load.clock, loop)
        waiting = [asyncio.create_task(asyncio.sleep(0)) for _ in range(calls)]
        before = len(loop._scheduled)  # type: ignore[attr-defined]
        for task in waiting:
            deadlines.begin(task, load.clock())
        assert len(loop._scheduled) - before == 1  # type: ignore[attr-defined]
        await asyncio.wait(waiting)
        deadlines.close()

    load.runner.run(main())
