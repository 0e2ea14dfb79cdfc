"""The verdicts of a duet, as they reach the tests and the workers of xdist."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_agentperf.gate.runs_of import nodeid_of
from pytest_agentperf.judge.comparison import SuiteComparison
from pytest_agentperf.report.escape import valid_text
from pytest_agentperf.report.record import ComparisonRecord, record_comparison

__all__ = ["DuetVerdicts", "make_verdicts"]


@dataclass(frozen=True, slots=True)
class DuetVerdicts:
    """What a comparison with a base came to.

    Attributes:
        against: What messages call the base: `base origin/main@a1b2c3d`.
        tests: Of each test those on its measurements, by node id.
        notes: What concerns all of them, in sentences.
        latencies: Seconds of the calls of the base, ascending and few, by the name of the
            comparison; empty where nobody draws them.
    """

    against: str
    tests: Mapping[str, Sequence[ComparisonRecord]]
    notes: Sequence[str] = field(default_factory=list)
    latencies: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def of(self, nodeid: str) -> Sequence[ComparisonRecord]:
        """Return the verdicts on the measurements of the test *nodeid*."""
        return self.tests.get(nodeid, ())

    @property
    def all(self) -> list[ComparisonRecord]:
        """Every verdict."""
        return [one for found in self.tests.values() for one in found]

    def to_builtin(self) -> dict[str, Any]:
        """Return it as builtin types, for the workers of xdist."""
        tests = [one.to_builtin() for one in self.all]
        latencies = {valid_text(name): list(found) for name, found in self.latencies.items()}
        return {
            "against": self.against,
            "tests": tests,
            "notes": list(self.notes),
            "latencies": latencies,
        }

    @classmethod
    def from_builtin(cls, content: Mapping[str, Any]) -> "DuetVerdicts":
        """Return the verdicts that `to_builtin` made *content* from."""
        tests = [ComparisonRecord(**one) for one in content["tests"]]
        return cls(content["against"], _by_test(tests), content["notes"], content["latencies"])


def make_verdicts(
    found: SuiteComparison,
    base: str,
    notes: Sequence[str],
    latencies: Mapping[str, Sequence[float]] | None = None,
) -> DuetVerdicts:
    """Return the verdicts that *found* comes to.

    Args:
        found: What the judge says.
        base: What messages call the base.
        notes: Sentences on all tests.
        latencies: Those of the base by name, where somebody draws them.
    """
    against = f"base {base}"
    tests = [record_comparison(one, against) for one in found.tests]
    return DuetVerdicts(against, _by_test(tests), list(notes), latencies or {})


def _by_test(found: Sequence[ComparisonRecord]) -> dict[str, list[ComparisonRecord]]:
    tests: dict[str, list[ComparisonRecord]] = {}
    for one in found:
        tests.setdefault(nodeid_of(one.name), []).append(one)
    return tests
