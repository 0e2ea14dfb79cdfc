"""Tests of Markdown."""

import pytest
from markdown_it import MarkdownIt

from pytest_agentperf.report.markdown import MARKER, markdown_report, markdown_within
from pytest_agentperf.report.record import PerfRecord
from pytest_agentperf.report.run import Run
from tests.report.samples import RUN, check_golden, measurement, record, verdict


def many(status: str, number: int, sentence: str = "") -> list[PerfRecord]:
    return [record(f"test_{i}", [verdict(status, sentence=sentence)]) for i in range(number)]


def title(run: Run) -> str:
    return markdown_report(run).splitlines()[1]


def test_report_is_the_golden_one() -> None:
    check_golden("report.md", markdown_report(RUN))


def test_report_begins_with_the_marker_that_an_action_looks_for() -> None:
    assert markdown_report(RUN).startswith(f"{MARKER}\n")
    assert markdown_report(Run([])).startswith(f"{MARKER}\n")


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (many("passed", 3), "### ✅ 3 budgets kept"),
        (many("passed", 1), "### ✅ 1 budget kept"),
        ([*many("failed", 2), *many("passed", 1)], "### ❌ 2 of 3 budgets exceeded"),
        (
            [*many("failed", 1), *many("undecided", 2)],
            "### ❌ 1 of 3 budgets exceeded, 2 undecided",
        ),
        ([*many("passed", 1), *many("undecided", 1)], "### ❔ 1 undecided"),
        ([*many("passed", 1), *many("warned", 1)], "### ⚠️ 1 warned"),
        ([record("a")], "### ▫️ 1 measurement without a budget"),
        ([], "### ▫️ 0 measurements without a budget"),
        ([RUN.records[-1]], "### ❌ 1 regressed"),
    ],
)
def test_headline_says_what_happened(records: list[PerfRecord], said: str) -> None:
    assert title(Run(records)) == said


def test_headline_of_a_regression_that_only_warns_does() -> None:
    assert title(Run([RUN.records[-1]], regressions="warn")) == "### ⚠️ 1 regressed"
    failed = [RUN.records[-1], *many("failed", 1)]
    assert title(Run(failed, regressions="warn")).startswith("### ❌ ")


def test_headline_counts_tests_whose_worker_ended() -> None:
    assert (
        title(Run(many("passed", 1), lost=["a", "b"]))
        == "### ⚠️ 1 budget kept, 2 tests lost with a worker"
    )


def test_table_of_problems_has_a_row_for_each_verdict_that_did_not_pass() -> None:
    verdicts = [
        verdict("failed", limit=0.8),
        verdict("undecided", "cost_per_call", None),
        verdict(),
    ]
    text = markdown_report(Run([record("t", verdicts)]))
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows == [
        "| verdict | test | metric | value | limit | change | calls |",
        "| ❌ failed | <code>t.py::t</code> | p95 | 912 ms | 800 ms |  | 20 |",
        "| ❔ undecided | <code>t.py::t</code> | cost per call | - | &#36;1 |  | 20 |",
    ]


def test_table_shows_the_limit_that_a_warning_is_from() -> None:
    text = markdown_report(Run([record("t", [verdict("warned", warn=0.9)])]))
    assert "| p95 | 912 ms | 900 ms |" in text


def test_folds_are_closed_and_tables_are_tables() -> None:
    text = markdown_report(RUN)
    assert text.count("<details>") == text.count("</details>") == 3
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert html.count("<table>") == html.count("</table>") == 2
    assert "|" not in html


@pytest.mark.parametrize("most", [65_536, 200_000])
@pytest.mark.parametrize(
    "records",
    [
        many("passed", 3_000),
        many("failed", 3_000, "p95 was <much> too high; " * 20),
        [*many("failed", 300, "x" * 10_000), *many("passed", 1_000)],
        [PerfRecord("t" * 100_000, [measurement("é|" * 100_000)], [], 0)] * 500,
    ],
    ids=["passed", "failed", "both", "long"],
)
def test_report_is_never_too_long_and_says_what_was_left_out(
    records: list[PerfRecord], most: int
) -> None:
    text = markdown_within(most, Run(records))
    assert most * 0.9 < len(text.encode()) <= most
    assert text.count("<details>") == text.count("</details>")
    assert "_Left out, because there is no room: " in text


def test_report_of_no_length_at_all_is_still_a_report() -> None:
    text = markdown_within(2_000, Run(many("failed", 100)))
    assert "100 of 100 budgets exceeded" in text
    assert len(text.encode()) <= 2_000


def test_what_passed_is_left_out_before_what_failed() -> None:
    run = Run([*many("failed", 100, "too slow"), *many("passed", 1_000)])
    text = markdown_report(run)
    assert text.count("❌ failed") == 100
    assert text.count("too slow") == 100
    left = text.count("✅ passed")
    assert 0 < left < 1_000
    assert f"no room: {1_000 - left} measurements without a problem._" in text


def test_nothing_is_said_to_be_left_out_where_all_fits() -> None:
    assert "Left out" not in markdown_report(RUN)


def test_report_says_where_it_was_measured() -> None:
    last = markdown_report(RUN).splitlines()[-1]
    assert last == (
        "<sub>a processor × 2; Linux x86_64; cpython-311; asyncio; 0 xdist workers ·"
        " pytest-agentperf 0.1.0 · pytest 9.2.0 · 2026-11-21T15:00:00+00:00</sub>"
    )
