"""Tests of what the terminal says about the gate."""

from pytest_agentperf.report.gate import gate_lines
from pytest_agentperf.report.record import ComparisonRecord, PerfRecord


def record(*outcomes: str) -> PerfRecord:
    found = [
        ComparisonRecord(
            f"t[{one}\x1b]", one, f"{one}: why", "baseline perf", None, None, None, None
        )
        for one in outcomes
    ]
    return PerfRecord("t", [], [], 0, comparisons=found)


ALL = ["unchanged", "faster", "gone", "new", "other environment", "not comparable", "undecided"]


def lines(verbosity: int, *outcomes: str) -> list[tuple[str, str]]:
    return [(line.text, line.status) for line in gate_lines([record(*outcomes)], verbosity)]


def test_what_changed_has_a_line_and_the_rest_is_counted() -> None:
    assert lines(0, *ALL, "regressed", "new") == [
        ("t[regressed\\x1b] regressed: why", "failed"),
        ("t[undecided\\x1b] undecided: why", "undecided"),
        ("t[faster\\x1b] faster: why", "passed"),
        (
            (
                "against baseline perf: 1 regressed, 1 undecided, 1 not comparable, 1 other"
                " environment, 2 new, 1 gone, 1 faster, 1 unchanged"
            ),
            "",
        ),
    ]


def test_quiet_run_shows_what_needs_attention() -> None:
    assert [text.split()[1] for text, _ in lines(-1, *ALL)] == ["undecided:", "baseline"]
    assert lines(-1, "faster", "new", "unchanged") == []


def test_verbose_run_shows_every_test() -> None:
    assert len(lines(1, *ALL)) == len(ALL) + 1


def test_without_a_gate_nothing_is_said() -> None:
    assert gate_lines([PerfRecord("t", [], [], 0)], 1) == []


def test_sentence_gets_its_outcome_in_front_once() -> None:
    one = ComparisonRecord("t", "regressed", "latency 1 → 2", "a", 1.0, 2.0, 2.0, 0.0)
    (line, _) = gate_lines([PerfRecord("t", [], [], 0, comparisons=[one])], 0)
    assert line.text == "t regressed: latency 1 → 2"


def test_shift_that_all_tests_share_is_named() -> None:
    found = [
        ComparisonRecord(f"t{number}", "undecided", "why", "a", 1.0, 1.1, 1.1, 0.1)
        for number in range(5)
    ]
    for tests, last in ((5, "all 5 tests +10 %: machine or a shared dependency"), (4, "against")):
        told = gate_lines([PerfRecord("t", [], [], 0, comparisons=found[:tests])], -1)
        assert told[-1].text.startswith(last)
