"""Tests of the real clock."""

import time

import pytest

from pytest_agentperf.core import clock
from pytest_agentperf.core.clock import REAL_TIME


def test_real_time_stays_real_when_a_test_replaces_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    assert REAL_TIME.clock is real


def test_real_time_is_no_attribute_of_a_module_that_freezegun_would_replace() -> None:
    # freezegun looks at every attribute of every module (spulec/freezegun#286).
    assert time.perf_counter not in vars(clock).values()


def test_real_time_cannot_be_set() -> None:
    with pytest.raises(AttributeError, match="clock"):
        REAL_TIME.clock = time.monotonic  # type: ignore[misc]
