"""Many tests, one level: what a p-value is worth among others."""

from collections.abc import Sequence

__all__ = ["adjust_bonferroni", "adjust_holm"]


def adjust_holm(ps: Sequence[float]) -> list[float]:
    """Return the p-values *ps*, in their order, each as it counts among all of them.

    Below a level, the chance that any of those is a false alarm is at most that level, however
    the tests depend on each other (S. Holm, Scand. J. Statist. 6, 1979).
    """
    adjusted = [1.0] * len(ps)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, (len(ps) - rank) * ps[index])
        adjusted[index] = min(highest, 1.0)
    return adjusted


def adjust_bonferroni(p: float, tests: int) -> float:
    """Return *p* as it counts among *tests* p-values of which the others are not known."""
    return min(p * max(tests, 1), 1.0)
