"""Two saved runs: what can be said where each side ran once.

One run knows nothing of the noise between runs. So the most is assumed that any machine of the
simulation behind the gate had between two runs: 8 % on each side. What is slower than that
explains regressed; the rest, short of counts that changed, stays undecided.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pytest_agentperf.judge.compare import compare_duet
from pytest_agentperf.judge.comparison import STANDARD, Rule, SuiteComparison
from pytest_agentperf.judge.evidence import Priors
from pytest_agentperf.judge.runs import Run
from pytest_agentperf.judge.shrinkage import Prior

__all__ = ["compare_saved"]

_NOISE: Final = 0.08
_ASSUMED: Final = Priors(latency=Prior(2 * _NOISE**2, math.inf, pooled_df=1000.0))


def compare_saved(
    base: Mapping[str, Run], head: Mapping[str, Run], rule: Rule = STANDARD
) -> SuiteComparison:
    """Compare two saved runs, by the names of the tests.

    The tails are not judged, since nothing is known of their noise.
    """
    before, after = (
        {name: [replace(run, latencies=())] for name, run in side.items()} for side in (base, head)
    )
    return compare_duet(before, after, rule, priors=_ASSUMED)
