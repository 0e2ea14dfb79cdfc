"""The verdicts of the gate, as they reach the tests, their records and the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_agentperf.gate.runs_of import nodeid_of
from pytest_agentperf.judge.comparison import Comparison, Outcome, SuiteComparison
from pytest_agentperf.judge.node_ids import split_label
from pytest_agentperf.report.escape import plain_line
from pytest_agentperf.report.record import ComparisonRecord
from pytest_agentperf.report.terminal import Line

__all__ = ["GateVerdicts", "make_verdicts"]

_STATUS: Final = {"regressed": "failed", "undecided": "undecided", "faster": "passed"}
_QUIET: Final = {"unchanged"}


@dataclass(frozen=True, slots=True)
class GateVerdicts:
    """What a comparison with a base came to.

    Attributes:
        base: What messages call the base: `origin/main@a1b2c3d`.
        tests: By the name of the test, worst first.
        failing: The outcomes that fail a test.
        findings: What concerns all of them, in sentences.
    """

    base: str
    tests: Mapping[str, ComparisonRecord]
    failing: Sequence[str]
    findings: Sequence[str] = field(default_factory=list)

    def of(self, nodeid: str) -> list[ComparisonRecord]:
        """Return the verdicts on the measurements of the test *nodeid*."""
        return [test for test in self.tests.values() if nodeid_of(test.name) == nodeid]

    def failures(self, nodeid: str) -> list[str]:
        """Return the sentences that fail the test *nodeid*; none where it is as good as it was."""
        return [
            f"{test.outcome}{_label(test)}: {test.sentence}; base {self.base}"
            for test in self.of(nodeid)
            if test.outcome in self.failing
        ]

    def lines(self, verbosity: int) -> Iterator[Line]:
        """Yield what the terminal shows: what changed, and with `-v` what did not."""
        for test in self.tests.values():
            if test.outcome not in _QUIET or verbosity > 0:
                sentence = test.sentence.removeprefix(f"{test.outcome}: ")
                text = f"{test.outcome}: {test.name}: {sentence}"
                yield Line(plain_line(text), self._status(test.outcome))
        yield from (Line(plain_line(f"note: {finding}"), "warned") for finding in self.findings)
        if verbosity >= 0 or any(test.outcome not in _QUIET for test in self.tests.values()):
            yield Line(plain_line(f"against {self.base}: {self._totals()}"))

    def _status(self, outcome: str) -> str:
        status = _STATUS.get(outcome, "")
        return "warned" if status == "failed" and outcome not in self.failing else status

    def _totals(self) -> str:
        outcomes = [test.outcome for test in self.tests.values()]
        parts = [f"{outcomes.count(name)} {name}" for name in dict.fromkeys(outcomes)]
        return ", ".join(parts) or "nothing to compare"

    def to_builtin(self) -> dict[str, Any]:
        """Return it as builtin types, for the workers of xdist."""
        return {
            "base": self.base,
            "tests": [test.to_builtin() for test in self.tests.values()],
            "failing": list(self.failing),
            "findings": list(self.findings),
        }

    @classmethod
    def from_builtin(cls, content: Mapping[str, Any]) -> "GateVerdicts":
        """Return the verdicts that `to_builtin` made *content* from."""
        tests = [ComparisonRecord(**test) for test in content["tests"]]
        by_name = {test.name: test for test in tests}
        return cls(content["base"], by_name, content["failing"], content["findings"])


def _label(test: ComparisonRecord) -> str:
    _, label = split_label(test.name)
    return f" ({label})" if label else ""


def make_verdicts(
    found: SuiteComparison, base: str, failing: Sequence[Outcome], notes: Sequence[str]
) -> GateVerdicts:
    """Return the verdicts that *found* comes to.

    Args:
        found: What the judge says.
        base: What messages call the base.
        failing: The outcomes that fail a test.
        notes: Further sentences on all tests.
    """
    worst_first = sorted(found.tests, key=lambda test: list(Outcome).index(test.outcome))
    common = [found.common.sentence] if found.common else []
    return GateVerdicts(
        base,
        {test.name: _record(test) for test in worst_first},
        [outcome.value for outcome in failing],
        [*common, *notes],
    )


def _record(test: Comparison) -> ComparisonRecord:
    latency = test.latency
    return ComparisonRecord(
        name=test.name,
        outcome=test.outcome.value,
        sentence=test.sentence,
        ratio=latency.ratio if latency else None,
        low=latency.interval[0] if latency else None,
        high=latency.interval[1] if latency else None,
        p=latency.p if latency else None,
        pairs=latency.runs if latency else 0,
    )
