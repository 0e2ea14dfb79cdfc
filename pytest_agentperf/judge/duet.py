"""The duet: base and head run in alternation on one machine, and what remains is the change.

Bulej et al., Duet benchmarking: improving measurement accuracy in the cloud, ICPE 2020
(arXiv:2001.05811); here the two alternate instead of running at once. A pair shares the state of
the machine, which cancels in its difference: Student's paired t (Biometrika 6, 1908).
"""

import math
from collections.abc import Sequence
from typing import Final

from pytest_agentperf.judge.shift import Shift, mean_of, variance_of
from pytest_agentperf.judge.shrinkage import LEAST_TESTS

__all__ = ["compare_pairs", "planned_pairs"]

_PAIRS: Final = (5, 10, 20, 40)


def planned_pairs(tests: int) -> tuple[int, ...]:
    """Return after how many pairs a duet of *tests* tests is judged, those left open further on.

    Few tests have no variance to share and begin with 10 pairs.
    """
    return _PAIRS if tests >= LEAST_TESTS else _PAIRS[1:]


def compare_pairs(base: Sequence[float], head: Sequence[float]) -> Shift:
    """Return the shift from *base* to *head*, whose values pair up by position.

    Args:
        base: One value per run, on an additive scale such as the logarithm of its median.
        head: As many, of the runs beside those of the base. A single pair knows nothing of its
            variance, which is 0 then, without a degree of freedom.
    """
    differences = [after - before for before, after in zip(base, head, strict=True)]
    pairs = len(differences)
    variance = variance_of(differences) if pairs > 1 else 0.0
    return Shift(mean_of(differences), variance, float(pairs - 1), 1 / math.sqrt(pairs))
