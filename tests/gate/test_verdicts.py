"""Tests of the verdicts of the gate, as tests, workers and the terminal get them."""

import json

from pytest_agentperf.gate.verdicts import GateVerdicts, make_verdicts
from pytest_agentperf.judge.compare import compare_duet
from pytest_agentperf.judge.comparison import CommonShift, Comparison, Outcome, SuiteComparison
from pytest_agentperf.judge.runs import Run

FOUND = SuiteComparison(
    tuple(
        Comparison(name, outcome, sentence)
        for name, outcome, sentence in (
            ("t.py::same", Outcome.UNCHANGED, "latency 1 → 1"),
            ("t.py::new", Outcome.NEW, "new: the base does not have it"),
            ("t.py::fast", Outcome.FASTER, "latency 2 → 1"),
            ("t.py::slow#plan", Outcome.REGRESSED, "latency 1 → 2"),
            ("t.py::slow[a#b]", Outcome.REGRESSED, "latency 1 → 3"),
            ("t.py::open", Outcome.UNDECIDED, "latency 1 → 1.\x1b1"),
        )
    ),
    CommonShift(1.1, 5, 6, "5 of 6 tests +10 %: machine or a shared dependency"),
)


def verdicts(*failing: Outcome) -> GateVerdicts:
    return make_verdicts(FOUND, "main@a1b2c3d", failing, ["cut short"])


def lines(found: GateVerdicts, verbosity: int = 0) -> list[tuple[str, str]]:
    return [(line.status, line.text) for line in found.lines(verbosity)]


def test_regression_fails_its_test_and_names_base_and_label() -> None:
    found = verdicts(Outcome.REGRESSED)
    assert found.failures("t.py::slow") == ["regressed (plan): latency 1 → 2; base main@a1b2c3d"]
    assert found.failures("t.py::slow[a#b]") == ["regressed: latency 1 → 3; base main@a1b2c3d"]
    assert found.failures("t.py::open") == found.failures("t.py::same") == []
    assert found.failures("t.py::unheard") == []


def test_what_fails_is_what_was_asked_for() -> None:
    assert verdicts().failures("t.py::slow") == []
    strict = verdicts(Outcome.REGRESSED, Outcome.UNDECIDED)
    assert strict.failures("t.py::open") == ["undecided: latency 1 → 1.\x1b1; base main@a1b2c3d"]


def test_terminal_shows_what_changed_worst_first() -> None:
    assert lines(verdicts(Outcome.REGRESSED)) == [
        ("failed", "regressed: t.py::slow#plan: latency 1 → 2"),
        ("failed", "regressed: t.py::slow[a#b]: latency 1 → 3"),
        ("undecided", "undecided: t.py::open: latency 1 → 1.\\x1b1"),
        ("", "new: t.py::new: the base does not have it"),
        ("passed", "faster: t.py::fast: latency 2 → 1"),
        ("warned", "note: 5 of 6 tests +10 %: machine or a shared dependency"),
        ("warned", "note: cut short"),
        (
            "",
            "against main@a1b2c3d: 2 regressed, 1 undecided, 1 new, 1 faster, 1 unchanged",
        ),
    ]


def test_terminal_shows_the_unchanged_where_it_is_verbose() -> None:
    assert ("", "unchanged: t.py::same: latency 1 → 1") in lines(verdicts(), 1)
    assert lines(verdicts())[0] == ("warned", "regressed: t.py::slow#plan: latency 1 → 2")


def test_quiet_run_without_a_change_is_silent() -> None:
    same = make_verdicts(SuiteComparison(FOUND.tests[:1]), "main@a1b2c3d", (), ())
    assert lines(same, -1) == []
    assert lines(same) == [("", "against main@a1b2c3d: 1 unchanged")]
    nothing = make_verdicts(SuiteComparison(()), "main@a1b2c3d", (), ())
    assert lines(nothing) == [("", "against main@a1b2c3d: nothing to compare")]


def test_verdicts_reach_a_worker_as_they_are() -> None:
    found = verdicts(Outcome.REGRESSED)
    content = json.loads(json.dumps(found.to_builtin()))
    assert GateVerdicts.from_builtin(content) == found


def test_record_of_a_comparison_holds_its_numbers() -> None:
    pairs = [Run(0.010, 20), Run(0.010, 20)], [Run(0.020, 20), Run(0.021, 20)]
    found = compare_duet({"t": pairs[0]}, {"t": pairs[1]})
    (record,) = make_verdicts(found, "main", (), ()).of("t")
    change = found.tests[0].latency
    assert change
    assert (record.ratio, record.p, record.pairs) == (change.ratio, change.p, 2)
    assert (record.low, record.high) == change.interval
    (other,) = verdicts().of("t.py::new")
    assert (other.ratio, other.low, other.high, other.p, other.pairs) == (None, None, None, None, 0)
