"""Tests of the watchdog's decisions, on a loop and counters that tell what a test wants."""

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from pytest_agentperf.core.sample import Sample
from pytest_agentperf.measure.concurrency.loop.attribution import Reading
from pytest_agentperf.measure.concurrency.loop.blocking import Blocking, BlockLog
from pytest_agentperf.measure.concurrency.loop.handles import TimedStep
from pytest_agentperf.measure.concurrency.loop.steps import IDLE, Stack
from pytest_agentperf.measure.concurrency.loop.watchdog import Watchdog

WORK = 7  # a step of the loop


def line() -> None:
    """Be the line that is seen."""


STACK: Stack = ((line.__code__, line.__code__.co_firstlineno),)


class Loop:
    """A loop that runs what a test says, and answers the ping when it says so."""

    shows_next = False

    def __init__(self) -> None:
        self.key = IDLE
        self.ping: Callable[[], None] | None = None
        self.seen = STACK
        self.runs = True

    def is_running(self) -> bool:
        return self.runs

    def is_running_here(self) -> bool:
        return False

    def timer(self, threshold: float, clock: Any) -> None:
        return None

    def post(self, callback: Callable[[], None], *, wake: bool) -> None:
        self.ping = callback

    def wake(self) -> None: ...

    def withdraw(self) -> None:
        self.ping = None

    def glance(self) -> int:
        return self.key

    def stack(self) -> Stack:
        return self.seen

    def task(self) -> str:
        return "Task-1"

    def ready(self, seconds: float) -> tuple[int, float]:
        return 3, 3 * seconds


class Counters:
    """Counters that a test sets."""

    is_known = True

    def __init__(self) -> None:
        self.starved = self.surely_starved = 0.0
        self.cpu = self.gc = self.delay = 0.0
        self.own_delay, self.own_turns = 0.0, 1
        self.others = self.slept = 0.0
        self.meanwhile: Callable[[], None] = lambda: None

    def refresh(self) -> tuple[float, int]:
        self.meanwhile()  # to read gives up the GIL
        return self.own_delay, self.own_turns

    def read(self) -> Reading:
        return Reading(
            cpu=self.cpu,
            run_delay=self.delay,
            gc=self.gc,
            starved=self.starved,
            surely_starved=self.surely_starved,
            others=self.others,
            slept=self.slept,
        )


class Timer:
    """A timer of steps, to which a test adds those that ended."""

    def __init__(self) -> None:
        self.began = 1e9  # it times the pings
        self.slow: deque[TimedStep] = deque()


class Scene:
    """A watchdog that looks every 10 ms, at 25 ms, and what it sees."""

    def __init__(self, timer: Timer | None = None) -> None:
        self.now = 0.0
        self.loop, self.counters, self.log = Loop(), Counters(), BlockLog()
        self.dog = Watchdog(
            self.loop, self.counters, 0.025, lambda: self.now, self.log, Sample(), timer
        )
        self.dog.begin()
        self.answer()

    def answer(self) -> None:
        if self.loop.ping:
            self.loop.ping()
            self.loop.ping = None

    def pass_time(self, seconds: float, *, cpu: float = 0.0, gc: float = 0.0) -> None:
        self.now += seconds
        self.counters.cpu += cpu
        self.counters.gc += gc

    def look(self, key: int) -> None:
        self.loop.key = key
        self.dog.look()

    def rest(self) -> None:
        """Let the loop answer and rest for two looks."""
        for _ in range(3):
            self.answer()
            self.pass_time(0.01)
            self.look(IDLE)

    @property
    def blocks(self) -> list[Blocking]:
        return self.log.read()


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.rest()
    return scene


def test_step_that_is_seen_for_longer_than_the_threshold_is_a_block(scene: Scene) -> None:
    for _ in range(8):
        scene.pass_time(0.005, cpu=0.005)
        scene.look(WORK)
    scene.rest()
    (block,) = scene.blocks
    assert block.cause == "computing"
    assert block.place is not None
    assert block.place.function.endswith("line")
    assert block.task == "Task-1"
    assert block.wall == pytest.approx(0.035)  # from the first look to the last
    assert block.ready == 3


@pytest.mark.parametrize("following", [IDLE, WORK + 1], ids=["between two steps", "the next step"])
def test_what_was_ready_is_counted_though_the_ping_is_answered_after_a_look(
    scene: Scene, following: int
) -> None:
    for _ in range(8):
        scene.pass_time(0.005, cpu=0.005)
        scene.look(WORK)
    scene.pass_time(0.001)
    scene.look(following)
    scene.rest()
    (block,) = scene.blocks
    assert block.ready == 3
    assert block.wall == pytest.approx(0.035)


def test_block_that_was_seen_before_the_loop_stopped_is_reported(scene: Scene) -> None:
    for _ in range(8):
        scene.pass_time(0.005, cpu=0.005)
        scene.look(WORK)
    scene.loop.runs = False
    for _ in range(3):
        scene.pass_time(0.01)
        scene.look(IDLE)
    (block,) = scene.blocks
    assert block.cause == "computing"
    assert block.wall == pytest.approx(0.035)


def test_step_that_is_seen_for_less_than_the_threshold_is_none(scene: Scene) -> None:
    for _ in range(5):
        scene.pass_time(0.005, cpu=0.005)
        scene.look(WORK)
    scene.rest()
    assert scene.blocks == []


def test_time_in_which_other_processes_had_the_processor_does_not_count(scene: Scene) -> None:
    for _ in range(8):
        scene.pass_time(0.005)
        scene.counters.delay += 0.004
        scene.look(WORK)
    scene.rest()
    assert [block.cause for block in scene.blocks] == ["preempted"]
    assert scene.blocks[0].seconds < 0.025


@pytest.mark.parametrize("slept", [0.0, 0.035])
def test_time_for_which_the_loop_slept_is_no_wait_for_a_processor(
    scene: Scene, slept: float
) -> None:
    for look in range(8):
        scene.pass_time(0.005)
        scene.counters.slept += slept / 8
        scene.counters.delay += 0.035 if look == 7 else 0.0  # as of a thread that was moved asleep
        scene.look(WORK)
    scene.rest()
    assert [block.cause for block in scene.blocks] == ["waiting" if slept else "preempted"]


@pytest.mark.parametrize(("turns", "found"), [(2, 0), (14, 1)])
def test_gil_that_was_kept_for_long_is_a_block_though_its_step_is_over(
    scene: Scene, turns: int, found: int
) -> None:
    scene.counters.own_turns = turns  # 70 ms are 14 switch intervals
    scene.pass_time(0.08)
    scene.look(IDLE)
    scene.counters.own_turns = 1
    scene.rest()
    assert len(scene.blocks) == found
    assert all(block.is_by_user and block.place is None for block in scene.blocks)


@pytest.mark.parametrize(
    ("seen", "computed", "cause"),
    [
        (STACK, 0.005, "waiting"),
        ((), 0.005, "gil"),
        ((), 0.001, "gil"),  # as far as a busy system let them
        ((), 0.0002, "waiting"),
    ],
)
def test_wait_beside_threads_that_compute_is_for_the_gil_where_no_line_waits(
    scene: Scene, seen: Stack, computed: float, cause: str
) -> None:
    scene.loop.seen = seen
    for _ in range(8):
        scene.pass_time(0.005)
        scene.counters.others += computed
        scene.look(WORK)
    scene.rest()
    assert [block.cause for block in scene.blocks] == [cause]


def test_look_that_is_late_for_want_of_a_processor_finds_nothing(scene: Scene) -> None:
    scene.counters.own_turns, scene.counters.own_delay = 14, 0.07
    scene.pass_time(0.08)
    scene.look(IDLE)
    scene.counters.own_turns, scene.counters.own_delay = 1, 0.0
    scene.rest()
    assert scene.blocks == []


@pytest.mark.parametrize(("before", "cause"), [(0.001, "gc"), (0.009, "computing")])
def test_collection_in_code_that_blocks_without_it_is_the_codes_block(
    scene: Scene, before: float, cause: str
) -> None:
    scene.pass_time(0.01, cpu=before)  # the step began before it was seen
    scene.look(WORK)
    for _ in range(8):
        scene.pass_time(0.005, cpu=0.005, gc=0.0027)
        scene.look(WORK)
    scene.rest()
    assert [block.cause for block in scene.blocks] == [cause]


def origin() -> None:
    """Be the function that the loop called."""


@pytest.mark.parametrize(
    ("key", "is_over", "shown"), [(WORK, False, "line"), (IDLE, True, "origin")]
)
def test_timed_step_has_the_line_that_was_seen_while_it_ran(
    key: int, is_over: bool, shown: str
) -> None:
    timer = Timer()
    scene = Scene(timer)
    scene.rest()
    site = (origin.__code__, origin.__code__.co_firstlineno)

    def end_step() -> None:
        if not timer.slow:
            timer.slow.append(TimedStep(scene.now - 0.07, scene.now, site))

    scene.loop.key = WORK
    scene.dog.look()
    scene.answer()
    scene.pass_time(0.08, cpu=0.07)
    if is_over:
        end_step()
    else:
        scene.counters.meanwhile = end_step
    scene.look(key)
    scene.counters.meanwhile = lambda: None
    scene.rest()
    (block,) = scene.blocks
    assert block.is_exact
    assert block.wall == pytest.approx(0.07)
    assert block.place is not None
    assert block.place.function == shown
