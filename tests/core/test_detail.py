"""Tests of details."""

import pytest

from pytest_agentperf.core.detail import Detail, LoopBlock, Trace, merge_details, quantiles
from pytest_agentperf.core.sample import EXACT_VALUES, Sample

BLOCK = LoopBlock(0.0, 1.0, "computing", "blocked", ())
TRACE = Trace("call", 1.0, (), (), 0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], ()), ([3.0], (3.0,)), ([3.0, 1.0, 2.0], (1.0, 2.0, 3.0))],
)
def test_few_values_are_all_kept_ascending(
    values: list[float], expected: tuple[float, ...]
) -> None:
    assert quantiles(Sample(values)) == expected


def test_many_values_are_thinned_evenly_and_keep_their_extremes() -> None:
    found = quantiles(Sample(float(n) for n in range(1001)), 5)
    assert found == (0.0, 250.0, 500.0, 750.0, 1000.0)


@pytest.mark.parametrize(("count", "kept"), [(199, 199), (200, 200), (201, 200)])
def test_about_200_values_are_kept(count: int, kept: int) -> None:
    assert len(quantiles(Sample(map(float, range(count))))) == kept


def test_values_in_buckets_have_quantiles_with_exact_extremes() -> None:
    sample = Sample(1 + n / EXACT_VALUES for n in range(EXACT_VALUES))
    sample.settle()
    found = quantiles(sample, 11)
    assert (found[0], found[-1]) == (sample.min, sample.max)
    assert found[5] == pytest.approx(1.5, rel=0.01)
    assert list(found) == sorted(found)


def test_merged_details_have_all_of_which_there_can_be_many() -> None:
    one = Detail({"latency": (1.0,)}, {}, (), (BLOCK,), "")
    other = Detail(
        {"latency": (2.0,), "ttft": (3.0,)}, {"latency": (4.0,)}, (TRACE,), (BLOCK,), "HM"
    )
    assert merge_details([one, other]) == Detail(
        {"ttft": (3.0,), "latency": (1.0,)}, {"latency": (4.0,)}, (TRACE,), (BLOCK, BLOCK), "HM"
    )


def test_nothing_merges_to_nothing() -> None:
    assert merge_details([]) == Detail()
