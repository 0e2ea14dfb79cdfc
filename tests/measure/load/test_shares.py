"""Tests of shares as a worker makes them."""

import functools
import operator
import os
import pickle
import socket
from typing import Any

import pytest

from pytest_agentperf.measure.load.shares import Came, Share, do_share, say_hello
from tests.measure.conftest import FakeClock


def share(start: float, work: Any = operator.neg, **ahead: float) -> Share:
    return Share(7, pickle.dumps(work), start, ahead)


def do(given: Share, clock: FakeClock) -> Came:
    return do_share(given, clock, clock.advance)


def test_share_begins_at_the_agreed_moment(clock: FakeClock) -> None:
    assert do(share(1002.5), clock) == Came(7, 0.0, -7)
    assert clock.now == 1002.5


def test_share_begins_at_once_where_the_moment_has_passed(clock: FakeClock) -> None:
    assert do(share(999.5), clock) == Came(7, 0.5, -7)
    assert clock.now == 1000


@pytest.mark.parametrize(("late", "result"), [(1.0, -7), (1.0625, None)])
def test_share_that_comes_too_late_is_not_begun(
    clock: FakeClock, late: float, result: int | None
) -> None:
    assert do(share(1000 - late), clock) == Came(7, late, result)


def test_clock_that_is_ahead_shows_the_moment_later(clock: FakeClock) -> None:
    given = Share(7, pickle.dumps(operator.neg), 1000.0, {socket.gethostname(): 3.5, "other": 9.0})
    assert do(given, clock) == Came(7, 0.0, -7)
    assert clock.now == 1003.5


def test_error_of_a_share_comes_back_in_words(clock: FakeClock) -> None:
    came = do(share(1000, functools.partial(operator.getitem, ())), clock)
    assert came == Came(7, 0.0, problem="IndexError: tuple index out of range")


def test_worker_says_who_and_where_it_is() -> None:
    hello = say_hello(0, 1, pickle.dumps(abs))
    assert (hello.host, hello.pid, hello.problem) == (socket.gethostname(), os.getpid(), "")
    assert hello.name == say_hello(1, 2, pickle.dumps(abs)).name


def test_worker_says_what_it_cannot_load() -> None:
    hello = say_hello(0, 1, b"cno_such_module\nask\n.")
    assert hello.problem == "ModuleNotFoundError: No module named 'no_such_module'"
