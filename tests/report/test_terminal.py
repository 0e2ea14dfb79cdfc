"""Tests of the terminal section, against golden text."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.report.record import PerfRecord, VerdictRecord
from pytest_agentperf.report.terminal import summary_lines
from tests.report.samples import (
    ANYTHING,
    RECORDS,
    RUN,
    TIMES,
    check_golden,
    measurement,
    record,
    verdict,
)


def shown(records: Sequence[PerfRecord], verbosity: int = 0, lost: Sequence[str] = ()) -> str:
    return "".join(f"{line.text}\n" for line in summary_lines(records, verbosity, lost))


@pytest.mark.parametrize(("name", "verbosity"), [("quiet", -1), ("normal", 0), ("verbose", 1)])
def test_section_is_the_golden_one(name: str, verbosity: int) -> None:
    check_golden(f"{name}.txt", shown(RECORDS, verbosity, lost=["t.py::test_crash"]))


def test_golden_file_that_differs_is_shown_and_the_new_one_left(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("same\nold\n", encoding="utf-8")
    with pytest.raises(pytest.fail.Exception, match=r"(?s)\n same\n-old\n\+new$"):
        check_golden("a.txt", "same\nnew\n", tmp_path)
    assert (tmp_path / "a.txt.new").read_text(encoding="utf-8") == "same\nnew\n"


@pytest.mark.parametrize("name", ["narrow", "ascii"])
def test_section_of_another_terminal_is_the_golden_one(name: str) -> None:
    width = 80 if name == "narrow" else None
    lines = summary_lines(RUN.records, 1, RUN.lost, width=width, is_unicode=name != "ascii")
    check_golden(f"{name}.txt", "".join(f"{line.text}\n" for line in lines))


def test_section_loses_nothing_where_it_is_narrow() -> None:
    wide, narrow = (
        [line.text for line in summary_lines(RUN.records, 0, width=width)] for width in (None, 40)
    )
    words = [
        {word.rstrip(",") for line in lines for word in line.split() if set(word) != {"-"}}
        for lines in (wide, narrow)
    ]
    assert words[0] == words[1] | {"test"}


@pytest.mark.parametrize(("spare", "is_wide"), [(-1, False), (0, True)])
def test_section_is_no_wider_than_the_terminal(spare: int, *, is_wide: bool) -> None:
    records = [record("test_x" * 10, [verdict()])]
    needed = max(len(line.text) for line in summary_lines(records, 0))
    lines = summary_lines(records, 0, width=needed + spare)
    assert max(len(line.text) for line in lines) <= needed + spare
    assert [line.status for line in lines].count("passed") == (1 if is_wide else 2)


def test_spread_shows_a_tail_beside_the_median() -> None:
    def spread(**times: float) -> str:
        one = measurement(metrics={**TIMES, **times})
        return summary_lines([record("t", [], [one])], 0)[2].text.split()[6]

    same = {name: 0.5 for name in TIMES if name not in {"latency_stddev", "latency_mean"}}
    assert spread(**same) == "▄▄▄▄▄▄▄▄"
    assert spread(**{**same, "latency_max": 5.0}) == "▄▄▄▄▄▄▄█"


def test_lines_have_the_status_that_colours_them() -> None:
    lines = summary_lines(RECORDS, 0, ["t.py::test_crash"])
    assert [line.status for line in lines] == [
        *("", ""),
        *("failed", "failed", "undecided", "warned", "passed", "measured", "measured"),
        *("", "", "", ""),
        *("undecided", ""),
    ]


def test_quiet_section_of_passed_tests_is_empty() -> None:
    assert summary_lines(RECORDS[:2], -1) == []


def test_section_of_nothing_is_empty() -> None:
    assert summary_lines([], 0) == []
    assert summary_lines([], 1) == []


@pytest.mark.parametrize("verbosity", [-1, 0])
def test_test_whose_worker_ended_is_listed_alone(verbosity: int) -> None:
    assert (
        shown([], verbosity, ["t.py::a\x1b"]) == "not measured: t.py::a\\x1b (its worker ended)\n"
    )


def test_test_that_measured_nothing_is_counted() -> None:
    assert shown([record("test_x", measurements=[])]) == "0 measurements\n"


@pytest.mark.parametrize(
    ("records", "totals"),
    [
        ([record("a", [verdict()])], "1 measurement: 1 passed"),
        (
            [record("a", not_applicable=1)],
            "1 measurement: 1 measured without a budget, 1 limit not applicable",
        ),
        (
            [record("a", [verdict()], not_applicable=2), record("b", [verdict("failed")])],
            "2 measurements: 1 failed, 1 passed, 2 limits not applicable",
        ),
    ],
)
def test_totals_count_measurements_by_verdict(records: list[PerfRecord], totals: str) -> None:
    assert summary_lines(records, 0)[-1].text == totals


def test_rows_are_worst_first_and_then_in_order_of_the_run() -> None:
    statuses = ("passed", "warned", "failed", "undecided", "failed")
    records = [record(f"test_{i}", [verdict(status)]) for i, status in enumerate(statuses)]
    rows = summary_lines(records, 0)[2:7]
    assert [row.text.rsplit("_", 1)[1] for row in rows] == ["2", "4", "3", "1", "0"]


@pytest.mark.parametrize(
    ("one", "brief"),
    [
        (verdict(), "p95 912 ms <= 1 s"),
        (verdict("failed", limit=0.8), "p95 912 ms > 800 ms"),
        (verdict("warned", warn=0.9), "p95 912 ms > 900 ms"),
        (verdict(limit=None, warn=1.0), "p95 912 ms <= 1 s"),
        (verdict("failed", value=None), "p95 ?"),
        (verdict("failed", limit=None), "p95 ?"),
        (verdict(metric="throughput", value=60.0, limit=50.0), "throughput 60/s >= 50/s"),
        (verdict("failed", "throughput", 30.0, 50.0), "throughput 30/s < 50/s"),
        (verdict(metric="ttft_p95", value=0.1, limit=0.2), "ttft p95 100 ms <= 200 ms"),
        (verdict(metric="memory_peak", value=1.5e6, limit=2e6), "memory peak 1.5 MB <= 2 MB"),
        (verdict(metric="misses", value=0.0, limit=0.0), "misses 0 <= 0"),
    ],
)
def test_budget_is_shown_in_brief(one: VerdictRecord, brief: str) -> None:
    row = summary_lines([record("test_x", [one])], 0)[2].text
    assert row.split("912 ms  ", 1)[1].split("  ")[0] == brief


def test_two_tightest_budgets_are_shown_and_the_others_counted() -> None:
    names = ("latency_p50", "latency_p90", "latency_p95", "throughput")
    limits = (1.0, 0.92, 0.93, 0.91)  # a throughput of 0.912 is at 100.2 % of its limit
    verdicts = [
        verdict(metric=name, limit=limit) for name, limit in zip(names, limits, strict=True)
    ]
    row = summary_lines([record("test_x", verdicts)], 0)[2].text
    assert "throughput 0.912/s >= 0.91/s, p90 912 ms <= 920 ms, 2 more" in row


def test_only_budgets_of_the_worst_verdict_are_shown() -> None:
    verdicts = [verdict("failed", limit=0.8), verdict(metric="latency_mean")]
    row = summary_lines([record("test_x", verdicts)], 0)[2].text
    assert "p95 912 ms > 800 ms" in row
    assert "mean" not in row


def test_footnote_that_two_rows_need_stands_once() -> None:
    records = [record(name, [verdict("undecided", sentence="state it")]) for name in "ab"]
    text = shown(records)
    assert text.count("undecided [1]") == 2
    assert text.count("state it") == 1


def test_quiet_section_has_no_footnotes_of_rows_that_it_leaves_out() -> None:
    passed = record("a", [verdict()], [measurement(notes=["few calls"])])
    quiet = shown([passed, record("b", [verdict("failed")])], -1)
    assert "few calls" not in quiet
    assert "2 measurements: 1 failed, 1 passed" in quiet


def test_verbose_section_says_what_is_unknown() -> None:
    one = measurement()._replace(unknown={"cost_per_call": "no price\n"})
    assert "\n  cost_per_call unknown: no price\\x0a\n" in shown([record("a", [], [one])], 1)


@given(ANYTHING, ANYTHING, ANYTHING, st.integers(-1, 1))
def test_text_from_outside_never_reaches_the_terminal_raw(
    nodeid: str, label: str, sentence: str, verbosity: int
) -> None:
    one = measurement(label, notes=[sentence])._replace(
        subject=sentence, unknown={"ttft": sentence}
    )
    verdicts = [
        verdict("undecided", label=label, sentence=sentence),
        verdict("failed", label=label + "x", sentence=sentence),
    ]
    lines = summary_lines([PerfRecord(nodeid, [one], verdicts, 0)], verbosity, [nodeid])
    for line in lines:
        line.text.encode()
        assert not [c for c in line.text if unicodedata.category(c) in {"Cc", "Zl", "Zp"}]
        assert not set(line.text) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068")
