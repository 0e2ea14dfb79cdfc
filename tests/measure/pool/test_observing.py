"""What an observer tells a ledger of functions that it observes; its clock moves by hand."""

import pytest

from pytest_agentperf.measure.pool.ledger import Ledger
from pytest_agentperf.measure.pool.observing import Observer
from tests.measure.conftest import FakeClock


class Library:
    """A pool with one function of each kind."""

    def take(self) -> object:
        return object()

    def give(self, lease: object, *, broken: bool = False) -> tuple[object, bool]:
        return lease, broken


@pytest.mark.parametrize("is_named", [False, True])
def test_lease_is_known_whether_it_is_given_back_by_position_or_by_name(
    clock: FakeClock, *, is_named: bool
) -> None:
    pool, ledger = Library(), Ledger(clock, 2)
    observer = Observer(pool, ledger)
    observer.takes(Library, "take")
    observer.gives(Library, "give")
    observer.start()
    lease, kept = pool.take(), pool.take()
    if is_named:
        assert pool.give(lease=lease, broken=True) == (lease, True)
    else:
        assert pool.give(lease, broken=True) == (lease, True)
    observer.stop()
    pool.give(kept)
    tally = ledger.tally("pool")
    assert (tally.acquired, len(tally.held)) == (2, 1)
