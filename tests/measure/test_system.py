"""Tests of the levels that are read while something runs."""

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from pytest_agentperf.measure.memory.pauses import PauseWatch
from pytest_agentperf.measure.system import Source, SystemWatch, system_sources
from tests.measure.conftest import FakeClock


def counting(*levels: float) -> Callable[[], Sequence[float]]:
    """Return a function that returns one of *levels* after the other, and the last for ever."""
    left = list(levels)
    return lambda: (left.pop(0) if len(left) > 1 else left[0],)


def watch(
    clock: FakeClock, *sources: Source, cpu: Callable[[], float] = lambda: 0.0
) -> SystemWatch:
    """Return a watch whose thread does not come in between."""
    return SystemWatch(None, sources, interval=1e9, clock=clock, cpu_clock=cpu)


def points(watched: SystemWatch, name: str) -> list[tuple[float, float]]:
    return [(at, value) for at, value in watched.curves[name].points]


def test_levels_are_read_at_the_beginning_and_at_the_end(clock: FakeClock) -> None:
    # The first value is that of the try-out.
    source = Source(("rss",), "B", counting(0, 100, 300))
    with watch(clock, source) as watched:
        clock.advance(2)
    assert points(watched, "rss") == [(0, 100), (2, 300)]
    assert (watched.curves["rss"].axis, watched.curves["rss"].unit) == ("seconds", "B")


def test_counters_are_shown_by_their_change_in_a_second(clock: FakeClock) -> None:
    source = Source(("network sent",), "B/s", counting(0, 100, 300), is_counter=True)
    with watch(clock, source) as watched:
        clock.advance(4)
    assert points(watched, "network sent") == [(4, 50)]


def test_counters_without_time_between_their_readings_show_nothing(clock: FakeClock) -> None:
    with watch(clock, Source(("cpu",), "%", counting(0, 1), is_counter=True)) as watched:
        pass
    assert watched.curves == {}


def test_one_source_gives_several_levels(clock: FakeClock) -> None:
    with watch(clock, Source(("in", "out"), "B", lambda: (1, 2))) as watched:
        clock.advance(1)
    assert points(watched, "in") == [(0, 1), (1, 1)]
    assert points(watched, "out") == [(0, 2), (1, 2)]


def test_a_source_that_this_system_has_not_is_left_out(clock: FakeClock) -> None:
    def forbidden() -> tuple[float]:
        raise PermissionError("containers")

    with watch(clock, Source(("disk",), "B", forbidden), Source(("rss",), "B", lambda: (1,))) as it:
        clock.advance(1)
    assert list(it.curves) == ["rss"]


def test_a_reading_that_fails_in_between_is_missed_alone(clock: FakeClock) -> None:
    readings: list[float] = [0, 1]

    def read() -> tuple[float]:
        if not readings:
            raise RuntimeError("Set changed size during iteration")
        return (readings.pop(0),)

    with watch(clock, Source(("tasks",), "", read), Source(("rss",), "B", lambda: (1,))) as watched:
        clock.advance(1)
    assert points(watched, "tasks") == [(0, 1)]
    assert points(watched, "rss") == [(0, 1), (1, 1)]


def test_no_level_is_read_twice_within_half_an_interval(clock: FakeClock) -> None:
    watched = SystemWatch(None, [Source(("a",), "", lambda: (1,))], interval=1.0, clock=clock)
    assert watched.look() == 1.0
    clock.advance(0.25)
    assert watched.look() == pytest.approx(0.75)
    assert len(points(watched, "a")) == 1
    clock.advance(0.25)
    watched.look()
    assert len(points(watched, "a")) == 2


def test_readings_wait_the_longer_the_dearer_they_are(clock: FakeClock) -> None:
    spent = [0.0]

    def dear() -> tuple[float]:
        spent[0] += 0.125
        return (1,)

    watched = SystemWatch(
        None, [Source(("a",), "", dear)], interval=1.0, clock=clock, cpu_clock=lambda: spent[0]
    )
    assert watched.look() == pytest.approx(0.125 / 0.005)


def test_levels_are_read_by_another_thread_meanwhile() -> None:
    threads = []
    is_read = threading.Event()

    def read() -> tuple[float]:
        threads.append(threading.get_ident())
        if threads[-1] != threads[0]:
            is_read.set()
        return (1,)

    with SystemWatch(None, [Source(("a",), "", read)], interval=0.001) as watched:
        assert is_read.wait(10)
    assert len(set(threads)) == 2
    assert watched.curves["a"].points[-1].at > 0


def test_nothing_is_read_after_the_end() -> None:
    read: list[float] = []

    def count() -> Sequence[float]:
        read.append(1)
        return read[-1:]

    with SystemWatch(None, [Source(("a",), "", count)], interval=0.001):
        pass
    seen = len(read)
    with SystemWatch(None, [], interval=0.001):  # the same thread looks for the next watch
        pass
    assert len(read) == seen


def test_this_process_has_levels_of_all_kinds() -> None:
    async def watched() -> SystemWatch:
        with SystemWatch(asyncio.get_running_loop(), interval=0.001) as found:
            while len(found.curves) < 11:  # noqa: ASYNC110 -- the thread tells nobody
                await asyncio.sleep(0.001)
        return found

    curves = asyncio.run(asyncio.wait_for(watched(), 10)).curves
    assert set(curves) == {
        "cpu", "rss", "threads", "files", "network received", "network sent", "disk read",
        "disk written", "load average", "gc pauses", "tasks",
    }  # fmt: skip
    assert curves["rss"].points[-1].value > 1_000_000
    assert curves["tasks"].points[-1].value >= 1
    assert curves["threads"].points[-1].value >= 2


def test_no_loop_has_no_tasks() -> None:
    names = {name for source in system_sources(None, PauseWatch()) for name in source.names}
    assert "tasks" not in names
