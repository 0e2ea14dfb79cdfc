"""Tests of the lock between processes."""

import threading
from pathlib import Path

import pytest

from pytest_agentperf.core.lock import locked


class FakeClock:
    """Time that passes while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_lock_can_be_had_again_once_it_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / ".lock"
    for _ in range(2):
        with locked(path, 0):
            assert path.exists()


def test_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), locked(tmp_path / ".lock", 0):
        raise RuntimeError
    with locked(tmp_path / ".lock", 0):
        pass


def test_lock_that_another_holds_is_waited_for_no_longer_than_allowed(tmp_path: Path) -> None:
    time = FakeClock()
    with (
        locked(tmp_path / ".lock"),
        pytest.raises(TimeoutError, match=r"still locked after 5 s: '.*\.lock'"),
        locked(tmp_path / ".lock", 5, time.clock, time.sleep),
    ):
        pytest.fail("two had the lock")
    assert 5 <= time.now < 5.1


def test_lock_is_had_as_soon_as_its_holder_gives_it_back(tmp_path: Path) -> None:
    asked = threading.Event()
    events = []

    def wait() -> None:
        with locked(tmp_path / ".lock", sleep=lambda _: asked.set()):
            events.append("second")

    with locked(tmp_path / ".lock"):
        thread = threading.Thread(target=wait)
        thread.start()
        assert asked.wait(30)
        events.append("first")
    thread.join(30)
    assert events == ["first", "second"]
