"""CPU time: what a block took of the processors, by clocks that a test sets."""

import subprocess
import sys
import threading
import time

import pytest

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.memory.cpu import CpuBlock, CpuTime

from ..conftest import FakeClock  # noqa: TID252 -- the fixtures of the layer


class Clocks:
    """The four clocks of a block, each of which a test sets."""

    def __init__(self, step: float = 0.0) -> None:
        self.wall, self.process, self.thread, self.children = (FakeClock() for _ in range(4))
        self.block = CpuBlock(self.wall, self.process, self.thread, self.children, step)


def test_times_are_those_between_the_ends() -> None:
    clocks = Clocks()
    with clocks.block as block:
        clocks.process.advance(3)
        clocks.thread.advance(1)
        clocks.children.advance(0.5)
        clocks.wall.advance(2)
    assert block.result == CpuTime(process=3, thread=1, children=0.5, wall=2)
    assert block.result.share == 1.5
    assert block.result.per_call(4) == 0.75
    assert str(block.result) == "3 s of CPU time in 2 s (150 % of a core)"


def test_time_of_the_thread_is_unknown_where_the_block_ends_on_another() -> None:
    block = Clocks().block
    block.__enter__()
    thread = threading.Thread(target=block.__exit__)
    thread.start()
    thread.join()
    assert block.result.thread is None


@pytest.mark.parametrize(("wall", "is_known"), [(0.3125, True), (0.25, False)])
def test_share_is_unknown_below_20_steps_of_the_clock(wall: float, is_known: bool) -> None:
    clocks = Clocks(step=1 / 64)
    with clocks.block as block:
        clocks.wall.advance(wall)
        clocks.process.advance(1 / 64)
    assert (block.result.share is not None) is is_known
    if not is_known:
        assert str(block.result) == (
            "15.6 ms of CPU time: the block was shorter than 20 steps of this system's processor"
            " clock, 15.6 ms each; measure more calls in one block"
        )


def test_block_in_no_time_has_no_share() -> None:
    with Clocks().block as block:
        pass
    assert block.result.share is None
    assert str(block.result) == "0 s of CPU time"


def test_real_work_takes_time_and_sleep_does_not() -> None:
    with CpuBlock() as work:
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass
    with CpuBlock() as sleep:
        time.sleep(0.02)
    assert work.result.process >= 0.02
    assert sleep.result.process < work.result.process
    assert work.result.thread == pytest.approx(work.result.process, rel=0.5)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not sum children")
def test_children_that_ended_are_counted() -> None:
    program = "import time\nwhile time.process_time() < 0.1: pass"
    with CpuBlock() as block:
        subprocess.run([sys.executable, "-c", program], check=True)
    assert block.result.children >= 0.08
    assert block.result.process < block.result.children


def test_result_is_read_after_the_block() -> None:
    with CpuBlock() as block, pytest.raises(UsageError, match="read it after the block"):
        _ = block.result
