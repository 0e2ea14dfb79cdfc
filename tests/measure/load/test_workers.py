"""Tests of who makes the shares of a load."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pytest_agentperf.core.errors import LoadError, LoadTypeError
from pytest_agentperf.measure.load.workers import ExecutorWorkers, OwnWorkers, find_workers


class Cluster:
    """An executor that does not tell how many workers it has."""

    def submit(self) -> None: ...


def test_nobody_else_makes_the_calls_where_nothing_is_said() -> None:
    assert find_workers(None, None) is None


def test_processes_of_our_own_are_as_many_as_is_said() -> None:
    found = find_workers(None, 3)
    assert isinstance(found, OwnWorkers)
    assert found.count == 3


def test_an_executor_makes_as_many_shares_as_it_has_workers() -> None:
    with ThreadPoolExecutor(3) as executor:
        found = find_workers(executor, None)
    assert isinstance(found, ExecutorWorkers)
    assert found.count == 3


def test_there_are_no_more_shares_than_the_load_has_parts() -> None:
    found = find_workers(None, 8, most=2)
    assert found is not None
    assert found.count == 2


@pytest.mark.parametrize(
    ("executor", "workers", "kind", "sentence"),
    [
        (None, 0, LoadError, "workers=0: expected a whole number from 1 to 1000"),
        (None, -1, LoadError, "workers=-1: expected"),
        (None, 1001, LoadError, "workers=1001: expected"),
        (None, True, LoadTypeError, "workers=True: expected a whole number of 1 or more"),
        (None, 2.0, LoadTypeError, "workers=2.0: expected a whole number"),
        (None, "4", LoadTypeError, "workers='4': expected a whole number"),
        (4, None, LoadTypeError, "executor=4: expected one of concurrent.futures"),
        (Cluster(), None, LoadError, "does not tell how many workers it has; add workers="),
    ],
)
def test_workers_that_cannot_be_meant_are_refused(
    executor: Any, workers: Any, kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence):
        find_workers(executor, workers)


def test_an_executor_is_not_asked_for_more_workers_than_it_has() -> None:
    with ThreadPoolExecutor(2) as executor:
        assert find_workers(executor, 2) is not None
        with pytest.raises(LoadError, match="workers=3: the executor has 2; expected 2 at most"):
            find_workers(executor, 3)


def test_a_cluster_has_as_many_workers_as_is_said() -> None:
    found = find_workers(Cluster(), 5)
    assert found is not None
    assert found.count == 5


def test_the_executor_of_the_user_stays_open() -> None:
    with ThreadPoolExecutor(1) as executor:
        ExecutorWorkers(executor, 1).end({1})
        assert executor.submit(abs, -1).result() == 1
