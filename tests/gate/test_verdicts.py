"""Tests of the verdicts of a duet, as tests and workers get them."""

import json

from pytest_agentperf.gate.verdicts import DuetVerdicts, make_verdicts
from pytest_agentperf.judge.compare import compare_duet
from pytest_agentperf.judge.comparison import Comparison, Outcome, SuiteComparison
from pytest_agentperf.judge.runs import Run

FOUND = SuiteComparison(
    tuple(
        Comparison(name, Outcome.REGRESSED, f"of {name}")
        for name in ("t.py::slow#plan", "t.py::slow", "t.py::slow[a#b]", "t.py::other")
    )
)


def test_verdicts_on_a_test_are_those_on_all_its_labels() -> None:
    found = make_verdicts(FOUND, "main@a1b2c3d", ["cut short"])
    assert [one.name for one in found.of("t.py::slow")] == ["t.py::slow#plan", "t.py::slow"]
    assert [one.name for one in found.of("t.py::slow[a#b]")] == ["t.py::slow[a#b]"]
    assert found.of("t.py::unheard") == ()
    assert {one.against for one in found.all} == {"base main@a1b2c3d"}
    assert len(found.all) == 4


def test_verdicts_reach_a_worker_as_they_are() -> None:
    found = make_verdicts(FOUND, "main@a1b2c3d", ["cut short"])
    assert DuetVerdicts.from_builtin(json.loads(json.dumps(found.to_builtin()))) == found


def test_record_of_a_comparison_holds_its_numbers() -> None:
    pairs = [Run(0.010, 20), Run(0.010, 20)], [Run(0.020, 20), Run(0.021, 20)]
    found = compare_duet({"t": pairs[0]}, {"t": pairs[1]})
    (record,) = make_verdicts(found, "main", ()).of("t")
    change = found.tests[0].latency
    assert change
    assert (record.base, record.head) == (change.base, change.head)
    assert (record.ratio, record.p, record.pairs) == (change.ratio, change.p, 2)
    assert (record.low, record.high) == change.interval
    (other,) = make_verdicts(FOUND, "main", ()).of("t.py::other")
    assert (other.base, other.ratio, other.low, other.p, other.pairs) == (None, None, None, None, 0)


def test_latencies_of_the_base_cross_to_the_workers() -> None:
    found = make_verdicts(FOUND, "main", (), {"t.py::t\ud800": (0.1, 0.2)})
    read = DuetVerdicts.from_builtin(json.loads(json.dumps(found.to_builtin())))
    assert read.latencies == {"t.py::t\\ud800": [0.1, 0.2]}
