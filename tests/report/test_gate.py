"""Tests of what the terminal says about the gate."""

from pytest_agentperf.report.gate import comparison_lines, told
from pytest_agentperf.report.record import ComparisonRecord

ALL = ["unchanged", "faster", "gone", "new", "other environment", "not comparable", "undecided"]


def lines(verbosity: int, *outcomes: str, failing: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    found = [ComparisonRecord(f"t[{one}\x1b]", one, "why", "base main") for one in outcomes]
    return [(line.text, line.status) for line in comparison_lines(found, verbosity, failing)]


def test_what_changed_has_a_line_and_the_rest_is_counted() -> None:
    assert lines(0, *ALL, "regressed", "new", failing=("regressed",)) == [
        ("regressed: t[regressed\\x1b]: why", "failed"),
        ("undecided: t[undecided\\x1b]: why", "undecided"),
        ("not comparable: t[not comparable\\x1b]: why", ""),
        ("gone: t[gone\\x1b]: why", ""),
        ("faster: t[faster\\x1b]: why", "passed"),
        (
            (
                "against base main: 1 regressed, 1 undecided, 1 not comparable, 1 other"
                " environment, 2 new, 1 gone, 1 faster, 1 unchanged"
            ),
            "",
        ),
    ]


def test_regression_that_fails_no_test_is_a_warning() -> None:
    assert lines(0, "regressed")[0][1] == "warned"


def test_quiet_run_shows_what_needs_attention() -> None:
    assert [text.split()[0] for text, _ in lines(-1, *ALL)] == ["undecided:", "against"]
    assert lines(-1, "faster", "new", "unchanged") == []


def test_verbose_run_shows_every_test() -> None:
    assert len(lines(1, *ALL)) == len(ALL) + 1


def test_without_a_gate_nothing_is_said() -> None:
    assert comparison_lines([], 1) == []


def test_sentence_gets_its_outcome_in_front_once() -> None:
    one = ComparisonRecord("t", "gone", "gone: the base has it", "a")
    assert told(one) == "the base has it"
    (line, _) = comparison_lines([one], 0)
    assert line.text == "gone: t: the base has it"


def test_shift_that_all_tests_share_is_named() -> None:
    found = [
        ComparisonRecord(f"t{number}", "undecided", "why", "a", ratio=1.1) for number in range(5)
    ]
    *_, note, totals = comparison_lines(found, -1)
    assert note.text == "note: all 5 tests +10 %: machine or a shared dependency"
    assert totals.text == "against a: 5 undecided"
    assert "note" not in comparison_lines(found[:4], -1)[-2].text
