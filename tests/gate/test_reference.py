"""Tests of the reference workload."""

from collections.abc import Iterator

import pytest

from pytest_agentperf.gate.reference import Reference, work


class FakeWork:
    """A clock, and parts of a workload that take the seconds they are told."""

    def __init__(self, parts: Iterator[float]) -> None:
        self.now = 100.0
        self.made = 0
        self._parts = parts

    def clock(self) -> float:
        return self.now

    def part(self) -> None:
        self.made += 1
        self.now += next(self._parts)


def test_interrupted_parts_do_not_count() -> None:
    fake = FakeWork(iter([0.005] * 6 + [1.0] * 4))
    assert Reference(fake.clock, fake.part).seconds() == pytest.approx(0.05)


def test_workload_runs_again_when_its_time_is_half_a_second_old() -> None:
    fake = FakeWork(iter([0.005] * 10 + [0.006] * 10))
    reference = Reference(fake.clock, fake.part)
    reference.seconds()
    fake.now += 0.499
    assert reference.seconds() == pytest.approx(0.05)
    fake.now += 0.001
    assert reference.seconds() == pytest.approx(0.06)
    assert fake.made == 20


def test_work_is_always_the_same() -> None:
    assert work() == work() > 0
