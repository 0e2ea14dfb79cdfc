"""Findings, on both sides of their thresholds."""

from dataclasses import replace

import pytest

from pytest_agentperf.core.finding import CAUSES, Place
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.measure.pool.findings import pool_findings
from pytest_agentperf.measure.pool.tally import HeldLease, Load, Tally

CALM = Tally(
    "Pool",
    seconds=2.0,
    capacity=10,
    acquired=100,
    waits=0,
    created=8,
    reused=92,
    in_use_max=8,
    in_use_mean=4.0,
    full=0.0,
    load=Load(50, 0.1, 8),
)


def causes(tally: Tally) -> list[str]:
    found = pool_findings(tally)
    assert {finding.cause for finding in found} <= CAUSES
    return [finding.cause for finding in found]


def test_pool_of_the_right_size_gives_no_finding() -> None:
    assert causes(CALM) == []


@pytest.mark.parametrize(("most", "is_near"), [(8, False), (9, True), (10, True)])
def test_pool_is_near_capacity_from_ninety_per_cent(most: int, is_near: bool) -> None:
    assert causes(replace(CALM, in_use_max=most)) == ["pool_near_capacity"] * is_near


def test_near_capacity_says_how_full_for_how_long_and_what_size_would_do() -> None:
    (finding,) = pool_findings(replace(CALM, in_use_max=10, full=0.5))
    assert str(finding) == (
        "10 of 10 connections of Pool were in use at once, all of them for 500 ms of 2 s; Little's"
        " law recommends 8 connections (50 leases/s × 100 ms = 5 in use on average, and at most 8"
        " at once)"
    )
    assert finding.seconds == 0.5


def test_waits_say_how_many_waited_how_long_and_who_got_none() -> None:
    (finding,) = pool_findings(replace(CALM, waits=1, failed=1, wait=Sample([0.0, 0.2])))
    assert str(finding).startswith(
        "1 of 101 callers waited for a connection of Pool (p95 of all 190 ms, longest 200 ms), and"
        " 1 got none; Little's law recommends 8 connections or more"
    )


def test_leaks_are_one_finding_for_each_line() -> None:
    here, there = Place("a.py", 1, "f"), Place("a.py", 2, "g", "lease()")
    held = (HeldLease(here, 3.0), HeldLease(there, 2.0), HeldLease(here, 1.0))
    first, second = pool_findings(replace(CALM, held=held))
    assert (first.cause, first.place, first.count, first.seconds) == ("pool_leak", here, 2, 3.0)
    assert str(first).startswith(
        "2 connections of Pool were not returned when the block ended, held for 3 s, taken at"
        " a.py:1 in f; Little's law recommends"
    )
    assert str(second).startswith(
        "1 connection of Pool was not returned when the block ended, held for 2 s, taken at"
        " a.py:2 in g: lease(); "
    )


@pytest.mark.parametrize(
    ("acquired", "created", "reused", "most", "is_found"),
    [
        (20, 20, 0, 2, True),
        (20, 19, 1, 2, False),
        (2, 2, 0, 2, False),  # both were needed at once
        (3, 3, 0, 2, True),
        (1, 1, 0, 1, False),
    ],
)
def test_never_reused_needs_a_lease_that_could_have_reused_one(
    acquired: int, created: int, reused: int, most: int, is_found: bool
) -> None:
    tally = replace(CALM, acquired=acquired, created=created, reused=reused, in_use_max=most)
    assert ("pool_not_reused" in causes(tally)) == is_found


@pytest.mark.parametrize(
    ("capacity", "most", "acquired", "is_found"),
    [
        (16, 8, 100, True),  # twice what was in use, and what the load needs
        (15, 8, 100, False),
        (16, 9, 100, False),
        (16, 8, 5, True),
        (16, 8, 4, False),  # too little to tell
        (2, 1, 100, False),  # one to spare is none too many
    ],
)
def test_oversized_is_twice_what_is_needed(
    capacity: int, most: int, acquired: int, is_found: bool
) -> None:
    load = Load(50, 0.1, 8) if most > 1 else Load(1, 0.1, 1)
    tally = replace(CALM, capacity=capacity, in_use_max=most, acquired=acquired, load=load)
    assert ("pool_oversized" in causes(tally)) == is_found


def test_every_sentence_of_a_pool_carries_the_size() -> None:
    worst = replace(
        CALM, in_use_max=10, waits=3, reused=0, created=100, held=(HeldLease(None, 1.0),)
    )
    sentences = [str(finding) for finding in (*pool_findings(worst),)]
    assert len(sentences) == 4
    assert all("Little's law recommends" in sentence for sentence in sentences)
