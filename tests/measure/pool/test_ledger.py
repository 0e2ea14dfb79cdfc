"""What a ledger makes of what it is told; its clock moves by hand."""

import inspect

from pytest_agentperf.measure.pool.ledger import FIELDS, MANY, Ledger
from tests.measure.conftest import FakeClock


def taken(ledger: Ledger, key: str) -> None:
    ledger.take(ledger.ask(None), key)


def test_levels_are_weighed_with_the_time_that_they_last(clock: FakeClock) -> None:
    ledger = Ledger(clock, 2)
    clock.advance(1)  # nothing is leased
    taken(ledger, "a")
    clock.advance(1)
    taken(ledger, "b")
    clock.advance(0.5)
    ledger.give("a")
    ledger.give("b")
    clock.advance(1.5)
    tally = ledger.tally("pool")
    assert (tally.in_use_max, tally.in_use_mean, tally.full) == (2, (1 + 2 * 0.5) / 4, 0.5)


def test_caller_waits_where_all_is_taken_or_promised_to_those_before(clock: FakeClock) -> None:
    ledger = Ledger(clock, 2)
    asks = [ledger.ask(None) for _ in range(3)]
    for key, ask in enumerate(asks):
        assert ledger.tally("pool").waits == 0
        ledger.take(ask, key)
    assert ledger.tally("pool").waits == 1


def test_wait_lasts_from_asking_to_having(clock: FakeClock) -> None:
    ledger = Ledger(clock, 1)
    taken(ledger, "a")
    ask = ledger.ask(None)
    clock.advance(0.25)
    ledger.give("a")
    ledger.take(ask, "a")
    tally = ledger.tally("pool")
    assert (tally.waits, list(tally.wait)) == (1, [0.0, 0.25])


def test_who_gives_up_has_waited_and_failed(clock: FakeClock) -> None:
    ledger = Ledger(clock, 1)
    taken(ledger, "a")
    ask = ledger.ask(None)
    clock.advance(0.5)
    ledger.leave(ask)
    tally = ledger.tally("pool")
    assert (tally.acquired, tally.failed, tally.waits, tally.wait.max) == (1, 1, 1, 0.5)


def test_lease_from_before_counts_until_it_is_returned(clock: FakeClock) -> None:
    ledger = Ledger(clock, 2, before=1)
    taken(ledger, "a")
    ledger.give("unknown")
    ledger.give("a")
    ledger.give("unknown")  # and what nobody holds is ignored
    taken(ledger, "b")
    tally = ledger.tally("pool")
    assert (tally.in_use_max, len(tally.held)) == (2, 1)


def test_second_lease_by_the_same_key_does_not_hide_the_first(clock: FakeClock) -> None:
    ledger = Ledger(clock, 2)
    taken(ledger, "a")
    clock.advance(1)
    taken(ledger, "a")
    ledger.give("a")
    assert [held.seconds for held in ledger.tally("pool").held] == [1.0]


def test_leases_still_held_count_for_the_load(clock: FakeClock) -> None:
    ledger = Ledger(clock, 4)
    taken(ledger, "a")
    taken(ledger, "b")
    clock.advance(2)
    ledger.give("a")
    clock.advance(2)
    load = ledger.tally("pool").load
    assert load is not None
    # Two leases in 4 s, of 2 s and of 4 s until now.
    assert (load.rate, load.lease_time, load.mean, load.most) == (0.5, 3.0, 1.5, 2)


def test_nothing_asked_is_no_load(clock: FakeClock) -> None:
    tally = Ledger(clock, 4).tally("pool")
    assert tally.load is None
    assert not tally.is_used


def test_pool_without_a_limit_is_never_full(clock: FakeClock) -> None:
    ledger = Ledger(clock, None)
    for key in "abc":
        taken(ledger, key)
    clock.advance(1)
    tally = ledger.tally("pool")
    assert (tally.in_use_max, tally.full, tally.waits) == (3, 0.0, 0)


def test_one_lease_after_the_other_is_one_at_once(clock: FakeClock) -> None:
    ledger = Ledger(clock, 4)
    for _ in range(3):
        taken(ledger, "a")
        clock.advance(1)
        ledger.give("a")
    load = ledger.tally("pool").load
    assert load is not None
    assert load.most == 1


def test_what_is_noted_is_settled_before_it_is_much(clock: FakeClock) -> None:
    ledger = Ledger(clock, 4)
    for _ in range(MANY):
        taken(ledger, "a")
        ledger.give("a")
        assert len(ledger.events) <= MANY + 2 * FIELDS  # a lease and its return follow the ask
    assert ledger.tally("pool").acquired == MANY


def test_spot_is_shown_as_the_line_of_its_instruction(clock: FakeClock) -> None:
    frame = inspect.currentframe()
    assert frame is not None
    ledger = Ledger(clock, 4)
    ledger.take(ledger.ask((frame.f_code, frame.f_lasti)), "a")  # here
    (held,) = ledger.tally("pool").held
    assert held.place is not None
    assert held.place.source.endswith("# here")
