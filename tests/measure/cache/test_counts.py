"""Counts of caches, and the tally of one that is counted from outside."""

import pytest

from pytest_agentperf.measure.cache.counts import STRIP, Counts, Tally


def tallied(lookups: str) -> Tally:
    tally = Tally()
    for lookup in lookups:
        tally.look(is_hit=lookup == "H")
    return tally


def test_difference_of_counts_leaves_what_nobody_counts_unknown() -> None:
    assert Counts(7, 3, size=4).since(Counts(2, 1, size=9)) == Counts(5, 2, size=4)


def test_difference_of_counts_covers_evictions_and_time() -> None:
    later = Counts(7, 3, evictions=5, time_saved=2.5)
    assert later.since(Counts(7, 3, evictions=1, time_saved=0.5)) == Counts(0, 0, 4, None, 2.0)


@pytest.mark.parametrize(
    ("counts", "is_backwards"),
    [
        (Counts(0, 0), False),
        (Counts(0, 0, 0, None, 0.0), False),
        (Counts(-1, 5), True),
        (Counts(5, -1), True),
        (Counts(5, 5, -1), True),
        (Counts(5, 5, 0, None, -0.5), True),
    ],
)
def test_counts_are_backwards_when_one_is_negative(counts: Counts, *, is_backwards: bool) -> None:
    assert counts.is_backwards is is_backwards


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        (Counts(1, 1), "1 hit and 1 miss"),
        (Counts(0, 2), "0 hits and 2 misses"),
        (Counts(2, 0), "2 hits and 0 misses"),
    ],
)
def test_counts_are_told_in_words(counts: Counts, text: str) -> None:
    assert str(counts) == text


@pytest.mark.parametrize("lookups", ["", "H", "M", "MMHHM", "HHH", "MMM", "MHMHMH", "HM" * 100])
def test_strip_shows_the_lookups_in_order(lookups: str) -> None:
    assert tallied(lookups).strip(Counts(0, 0)) == lookups


@pytest.mark.parametrize("before", ["", "H", "M", "HMMH"])
def test_strip_begins_where_its_block_began(before: str) -> None:
    tally = tallied(before)
    began = Counts(tally.hits, tally.misses)
    for lookup in "HMH":
        tally.look(is_hit=lookup == "H")
    assert tally.strip(began) == "HMH"


@pytest.mark.parametrize(
    "lookups",
    ["H" * (STRIP + 1), "M" * (STRIP + 1), "M" + "H" * STRIP, "MH" * STRIP, "M" * 500 + "HHM"],
)
def test_strip_is_bounded_and_keeps_the_last_lookups(lookups: str) -> None:
    assert tallied(lookups).strip(Counts(0, 0)) == "…" + lookups[-STRIP:]
