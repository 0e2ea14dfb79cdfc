"""Tests of p-values among others."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.judge.holm import adjust_bonferroni, adjust_holm

CHANCES = st.lists(st.floats(0, 1), max_size=8)


def test_holm_is_the_worked_example() -> None:
    # 4 x .005, 3 x .01, 2 x .03, then .04 held at .06: as R's p.adjust(method = "holm").
    assert adjust_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(CHANCES, st.floats(0.001, 0.5))
def test_holm_rejects_what_its_steps_reject(ps: list[float], level: float) -> None:
    rejected, order = set[int](), sorted(range(len(ps)), key=ps.__getitem__)
    for step, index in enumerate(order):
        if ps[index] * (len(ps) - step) >= level:
            break
        rejected.add(index)
    assert {i for i, p in enumerate(adjust_holm(ps)) if p < level} == rejected


@given(CHANCES)
def test_holm_is_never_stricter_than_bonferroni_nor_laxer_than_nothing(ps: list[float]) -> None:
    for p, adjusted in zip(ps, adjust_holm(ps), strict=True):
        assert p <= adjusted <= adjust_bonferroni(p, len(ps))


@given(CHANCES)
def test_holm_keeps_the_order(ps: list[float]) -> None:
    pairs = list(zip(ps, adjust_holm(ps), strict=True))
    assert all(a[1] <= b[1] for a, b in product(pairs, pairs) if a[0] < b[0])


def test_bonferroni_multiplies_and_ends_at_one() -> None:
    assert adjust_bonferroni(0.01, 41) == pytest.approx(0.41)
    assert adjust_bonferroni(0.01, 101) == 1
    assert adjust_bonferroni(0.01, 0) == 0.01
