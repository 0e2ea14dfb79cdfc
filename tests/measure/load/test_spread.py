"""Tests of work that several workers do at the same time."""

import asyncio
import functools
import operator
import pickle
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from pytest_agentperf.core.errors import LoadError
from pytest_agentperf.measure.load.shares import Came, Hello
from pytest_agentperf.measure.load.spread import Spread, SpreadResult
from pytest_agentperf.measure.load.workers import ExecutorWorkers


class Told:
    """Workers that answer what they are told to; an error is what becomes of them."""

    def __init__(self, hellos: list[Any], answers: list[Any]) -> None:
        self.count = len(answers)
        self._left = [*hellos, *answers]
        self.asked: list[tuple[Any, ...]] = []
        self.ended: list[set[int] | None] = []

    def submit(self, number: int, call: Callable[..., Any], *args: Any) -> "Future[Any]":
        self.asked.append(args)
        future: Future[Any] = Future()
        answer = self._left.pop(0)
        if isinstance(answer, Exception):
            future.set_exception(answer)
        elif answer is not None:
            future.set_result(answer)
        return future

    def end(self, busy: set[int] | None) -> None:
        self.ended.append(busy)


def hello(number: int, host: str = "here", wall: float = 0.0, problem: str = "") -> Hello:
    return Hello(host, 100 + number, 1, wall, problem)


def spread(workers: Any, work: Any = operator.neg, patience: float = 10.0) -> SpreadResult:
    return asyncio.run(Spread(workers, work, (abs,), 0.0, patience=patience).run())


HELLOS = [hello(0), hello(1)]


def test_results_come_in_order_of_the_shares() -> None:
    workers = Told(HELLOS, [Came(0, 0.0, "a"), Came(1, 0.0, "b")])
    assert spread(workers) == SpreadResult(("a", "b"), (), ())
    assert workers.ended == [None]


def test_shares_are_told_the_same_moment_a_little_ahead() -> None:
    workers = Told(HELLOS, [Came(0, 0.0, "a"), Came(1, 0.0, "b")])
    now = time.time()
    spread(workers)
    (first,), (second,) = workers.asked[-2:]
    assert (first.number, second.number) == (0, 1)
    assert first.start == second.start > now
    assert pickle.loads(first.packed)(3) == -3  # noqa: S301


def test_workers_are_asked_until_there_are_as_many_as_shares() -> None:
    workers = Told([hello(0), hello(0), *HELLOS], [Came(0, 0.0, "a"), Came(1, 0.0, "b")])
    assert spread(workers).results == ("a", "b")
    attempts = [attempt for _, attempt, _ in workers.asked[:4]]
    assert attempts == [1, 1, 2, 2]


def test_clocks_of_other_machines_are_told_apart() -> None:
    ahead = time.time() + 100
    workers = Told(
        [
            *(hello(0, "far", ahead - 5), hello(0, "far", ahead)),
            *(hello(0, "far", ahead - 1), hello(1, socket.gethostname(), ahead)),
        ],
        [Came(0, 0.0, "a"), Came(1, 0.0, "b")],
    )
    spread(workers)
    ((share,), _) = workers.asked[-2:]
    # This machine's own clock is right, and the answer that took the least time tells most.
    assert share.ahead == {"far": pytest.approx(100, abs=0.9)}


def test_share_that_raises_is_lost_and_said() -> None:
    workers = Told(HELLOS, [Came(0, 0.0, problem="OSError: gone"), Came(1, 0.0, "b")])
    result = spread(workers)
    assert result.results == ("b",)
    assert result.lost == ("share 1 of 2 was lost: OSError: gone",)


def test_share_whose_worker_dies_is_lost_and_said() -> None:
    workers = Told(HELLOS, [Came(0, 0.0, "a"), ConnectionError("worker 7 died")])
    result = spread(workers)
    assert result.lost == ("share 2 of 2 was lost: ConnectionError: worker 7 died",)
    assert workers.ended == [{100, 101}]


def test_share_that_another_worker_would_begin_late_is_lost_and_said() -> None:
    result = spread(Told(HELLOS, [Came(0, 0.0, "a"), Came(1, 2.5)]))
    assert result.lost == (
        "share 2 of 2 was lost: its worker died, and another would have begun it 2.5 s too late",
    )


def test_share_that_never_comes_back_is_lost_and_said() -> None:
    result = spread(Told(HELLOS, [Came(0, 0.0, "a"), None]), patience=0.1)
    assert result.results == ("a",)
    assert result.lost == ("share 2 of 2 was lost: no answer within 400 ms",)


def test_load_of_which_no_share_comes_back_is_an_error() -> None:
    workers = Told(HELLOS, [OSError("a"), OSError("b")])
    with pytest.raises(LoadError, match="share 1 of 2 was lost: OSError: a; share 2 of 2 was lost"):
        spread(workers)
    assert workers.ended == [{100, 101}]


@pytest.mark.parametrize(("late", "noted"), [(0.1, False), (0.2, True)])
def test_share_that_begins_later_is_noted(late: float, noted: bool) -> None:
    notes = spread(Told(HELLOS, [Came(0, 0.0, "a"), Came(1, late, "b")])).notes
    assert notes == (("share 2 of 2 began 200 ms after the others",) if noted else ())


def test_workers_that_do_not_come_are_an_error() -> None:
    with pytest.raises(LoadError, match="workers of the load did not come: OSError: no cluster"):
        spread(Told([hello(0), OSError("no cluster")], [None, None]))


def test_too_few_workers_are_an_error_when_patience_ends() -> None:
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(LoadError, match=r"1 of 2 workers came within 300 ms; give workers= as many"),
    ):
        spread(ExecutorWorkers(executor, 2), patience=0.3)


def test_executor_that_is_shut_down_is_an_error() -> None:
    executor = ThreadPoolExecutor(2)
    executor.shutdown()
    with pytest.raises(LoadError, match="did not come: RuntimeError: cannot schedule new futures"):
        spread(ExecutorWorkers(executor, 2))


def test_shares_in_one_process_are_noted() -> None:
    with ThreadPoolExecutor(2) as executor:
        result = spread(ExecutorWorkers(executor, 2))
    assert result.results == (0, -1)
    assert result.notes == (
        "2 shares ran in 1 process, whose threads share a core; give each worker a process",
    )


def test_functions_are_sent_by_value_where_workers_cannot_import_them() -> None:
    pytest.importorskip("cloudpickle")
    workers = Told(
        [hello(0), hello(1, problem="ModuleNotFoundError: x"), *HELLOS],
        [Came(0, 0.0, "a"), Came(1, 0.0, "b")],
    )
    assert spread(workers, functools.partial(operator.mul, 2)).results == ("a", "b")
    assert workers.asked[0][2] != workers.asked[2][2]


def test_functions_that_workers_can_load_in_no_way_are_an_error() -> None:
    pytest.importorskip("cloudpickle")
    broken = [hello(number, problem="ImportError: x") for number in (0, 1)]
    with pytest.raises(LoadError, match="cannot load what they are to call: ImportError: x"):
        spread(Told([*broken, *broken], [None, None]))


def test_what_came_back_before_an_interruption_is_kept() -> None:
    workers = Told(HELLOS, [Came(0, 0.0, "a"), None])
    making = Spread(workers, operator.neg, (abs,), 1000.0)

    async def interrupted() -> None:
        task = asyncio.create_task(making.run())
        while len(workers.asked) < 4:  # noqa: ASYNC110 -- the stand-in tells nobody
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupted())
    assert making.result.results == ("a",)
    assert making.result.lost == ("share 2 of 2 was lost: the load was interrupted",)
    assert workers.ended == [{100, 101}]
