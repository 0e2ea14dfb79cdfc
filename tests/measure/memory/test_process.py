"""Process memory: what the system says a block took, on systems of every kind."""

import mmap
import sys

import psutil
import pytest

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.memory import process
from pytest_agentperf.measure.memory.process import (
    LinuxResident,
    OtherResident,
    ProcessMemory,
    ProcessMeter,
    resident_bytes,
)

MB = 1_000_000
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


class FakeResident:
    """A process whose memory a test sets."""

    def __init__(self, *, can_reset: bool, mark: int = 100 * MB) -> None:
        self.can_reset = can_reset
        self.level = 50 * MB
        self.mark = mark

    def now(self) -> int:
        return self.level

    def highest(self) -> int:
        return self.mark

    def reset(self) -> None:
        if self.can_reset:
            self.mark = self.level

    def touch(self, level: int) -> None:
        """Take *level* bytes for a moment."""
        self.mark = max(self.mark, level)


def take(size: int) -> None:
    """Take memory of the system for a moment, page by page."""
    with mmap.mmap(-1, size) as memory:
        for at in range(0, size, mmap.PAGESIZE):
            memory[at] = 1


@on_linux
def test_peak_sees_native_memory_that_was_released() -> None:
    meter = ProcessMeter()
    for _ in range(2):
        with meter.block() as block:
            take(40 * MB)
        assert block.result.rss_peak == pytest.approx(40 * MB, abs=2 * MB)
        assert block.result.rss_growth == pytest.approx(0, abs=2 * MB)


@on_linux
def test_inner_block_does_not_take_the_peak_of_the_outer() -> None:
    meter = ProcessMeter()
    with meter.block() as outer:
        take(60 * MB)
        with meter.block() as inner:
            take(20 * MB)
    assert outer.result.rss_peak == pytest.approx(60 * MB, abs=2 * MB)
    assert inner.result.rss_peak == pytest.approx(20 * MB, abs=2 * MB)


@on_linux
def test_resident_bytes_agree_with_psutil() -> None:
    assert resident_bytes() == pytest.approx(psutil.Process().memory_info().rss, rel=0.05)


@on_linux
def test_mark_that_a_container_forbids_to_reset_is_known_to_be_fixed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "_CLEAR", "/proc/self/absent")
    assert not LinuxResident().can_reset
    assert LinuxResident().highest() >= resident_bytes() * 0.9


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
def test_source_of_other_systems_tells_level_and_mark() -> None:
    resident = OtherResident()
    resident.reset()
    assert not resident.can_reset
    assert resident.now() == pytest.approx(psutil.Process().memory_info().rss, rel=0.05)
    assert resident.highest() >= resident.now() * 0.9


def test_fixed_mark_that_rises_gives_the_peak() -> None:
    resident = FakeResident(can_reset=False)
    with ProcessMeter(resident).block() as block:
        resident.touch(120 * MB)
    assert block.result == ProcessMemory(70 * MB, 0)


@pytest.mark.parametrize("highest", [99 * MB, 100 * MB])
def test_fixed_mark_that_does_not_rise_tells_no_peak_and_why(highest: int) -> None:
    resident = FakeResident(can_reset=False)
    with ProcessMeter(resident).block() as block:
        resident.touch(highest)
        resident.level += MB
    assert block.result.rss_peak is None
    assert block.result.rss_growth == MB
    assert str(block.result) == (
        "n/a: the block stayed below the 100 MB that the process had taken before, and this system"
        " cannot reset its high-water mark; run the test in a process of its own"
    )


def test_mark_that_lags_behind_counts_for_no_less_than_the_growth() -> None:
    resident = FakeResident(can_reset=True)
    with ProcessMeter(resident).block() as block:
        resident.level += 3 * MB
    assert block.result == ProcessMemory(3 * MB, 3 * MB)


def test_process_that_shrinks_has_no_peak_below_zero() -> None:
    resident = FakeResident(can_reset=True)
    with ProcessMeter(resident).block() as block:
        resident.level -= 3 * MB
    assert block.result == ProcessMemory(0, -3 * MB)


def test_system_without_a_source_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_find_resident", lambda: None)
    with ProcessMeter().block() as block:
        pass
    assert str(block.result) == "n/a: this system does not say how much memory a process takes"


def test_sources_that_fail_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_STATM", "/proc/self/absent")
    assert isinstance(process._find_resident(), OtherResident)
    monkeypatch.setattr(process, "OtherResident", LinuxResident)
    assert process._find_resident() is None


def test_result_is_read_after_the_block() -> None:
    with (
        ProcessMeter().block() as block,
        pytest.raises(UsageError, match="read it after the block"),
    ):
        _ = block.result


def test_result_tells_its_number() -> None:
    assert str(ProcessMemory(20 * MB, 0)) == "peak 20 MB (process memory)"


@pytest.mark.parametrize(
    ("rss_peak", "traced_peak", "native"),
    [
        (21 * MB, 20, 21 * MB - 20),
        (1_000_000, 0, None),  # below what the kernel's counters tell
        (1_000_001, 0, 1_000_001),
        (25 * MB, 20 * MB, None),  # fragments may take a quarter more
        (25 * MB + 1, 20 * MB, 5 * MB + 1),
        (10 * MB, 50 * MB, None),  # memory that was resident before
        (None, 50 * MB, None),
    ],
)
def test_native_is_stated_where_it_is_no_noise(
    rss_peak: int | None, traced_peak: int, native: int | None
) -> None:
    assert ProcessMemory(rss_peak, 0).native(traced_peak) == native


def test_native_beside_a_trace_is_stated_above_what_the_trace_takes() -> None:
    traced = ProcessMemory(60 * MB, 0, is_traced=True)
    assert traced.native(10 * MB) is None
    assert traced.native(9 * MB) == 51 * MB
    assert "limit rss_peak in a test that traces nothing" in traced.notes[0]
    assert ProcessMemory(60 * MB, 0).notes == ()
