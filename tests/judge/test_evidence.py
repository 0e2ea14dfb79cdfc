"""Tests of what runs show before they are judged."""

from dataclasses import replace
from random import Random

import pytest

from pytest_agentperf.judge.compare import compare_duet
from pytest_agentperf.judge.evidence import Priors, fit_priors, of_history, of_pairs
from pytest_agentperf.judge.runs import Run
from pytest_agentperf.judge.shrinkage import Prior

CALLS = 100


def run(slow: int) -> Run:
    """Return a run of which *slow* calls of 100 take four times as long."""
    return Run(0.01, CALLS, (0.01,) * (CALLS - slow) + (0.04,) * slow)


BASE = [run(slow) for slow in (4, 3, 5, 4, 4)]
HEAD = [run(slow) for slow in (18, 16, 14, 18, 15)]


def test_tail_alone_varies_no_less_than_chance_makes_it() -> None:
    # The arcsine of the root of a share of n calls has the variance 1 / 4n; a pair has two.
    steady = [run(4)] * 5
    pairs, history = of_pairs(steady, steady).shrunk(Priors()), of_history(steady, steady[:1])
    assert pairs.tail is not None
    assert pairs.tail.shift.variance == pytest.approx(2 / (4 * CALLS))
    alone = history.shrunk(Priors()).tail
    assert alone is not None
    assert alone.shift.variance == pytest.approx(1 / (4 * CALLS))


def test_tail_of_a_suite_varies_as_the_suite_does() -> None:
    tail = of_pairs(BASE, HEAD).shrunk(Priors(tail=Prior(0.5, 1e9, 1e9))).tail
    assert tail is not None
    assert tail.shift.variance == pytest.approx(0.5)


def test_priors_of_medians_and_tails_are_apart() -> None:
    random = Random(1)
    without = [replace(run, latencies=()) for run in BASE]
    priors = fit_priors(
        of_pairs([replace(one, median=random.gauss(1, 0.1)) for one in without], without)
        for _ in range(6)
    )
    assert priors.latency is not None
    assert priors.tail is None


def test_tail_shares_the_level_of_its_looks() -> None:
    # p lies between .002 / 4 and .002
    found = compare_duet({"t": BASE}, {"t": HEAD}).tests[0]
    assert found.tail is not None
    assert 0.0005 < found.tail.p < 0.002
    assert found.tail.is_regressed
    later = compare_duet({"t": BASE}, {"t": HEAD}, looks=4).tests[0]
    assert later.tail is not None
    assert not later.tail.is_regressed
    assert later.is_open


def test_tail_that_chance_explains_is_closed() -> None:
    # Half again as many, but far from surely so: p above .2.
    unsure = [run(slow) for slow in (0, 20, 2, 17, 1)]
    found = compare_duet({"t": BASE}, {"t": unsure}).tests[0]
    assert found.tail is not None
    assert found.tail.head > 1.5 * found.tail.base
    assert 0.2 < found.tail.p < 0.5
    assert not found.is_open


def test_detectable_change_grows_with_the_number_of_tests() -> None:
    def suite(noise: float, tests: int) -> dict[str, list[Run]]:
        random = Random(3)
        return {
            str(i): [Run(0.01 * (1 + random.gauss(0, noise)), 20) for _ in range(5)]
            for i in range(tests)
        }

    found = compare_duet(suite(0.05, 40), suite(0.0, 40)).tests[0]
    assert found.latency is not None
    shift = found.latency.shift
    # 5 % over medians and tails of 40 tests
    assert found.latency.detectable == pytest.approx(
        2.718281828459045 ** shift.detectable(0.05 / 80) - 1
    )
