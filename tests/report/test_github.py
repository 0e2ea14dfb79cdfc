"""Tests of what GitHub is told."""

import pytest

from pytest_agentperf.report.github import annotations, job_summary
from pytest_agentperf.report.record import PerfRecord
from pytest_agentperf.report.run import Run
from tests.report.samples import RUN, check_golden, record, verdict


def test_annotations_are_the_golden_ones() -> None:
    check_golden("annotations.txt", "".join(f"{line}\n" for line in annotations(RUN)))


@pytest.mark.parametrize(
    ("status", "level"), [("failed", "error"), ("undecided", "warning"), ("warned", "warning")]
)
def test_level_follows_the_verdict(status: str, level: str) -> None:
    run = Run([record("a", [verdict(status, sentence="why")])], places={"t.py::a": "t.py:7"})
    assert annotations(run) == [
        f"::{level} file=t.py,line=7,title={status}%3A t.py%3A%3Aa::why",
    ]


@pytest.mark.parametrize("verdicts", [[], [verdict()]])
def test_what_passed_has_no_annotation(verdicts: list) -> None:  # type: ignore[type-arg]
    assert annotations(Run([record("a", verdicts)])) == []


def test_regression_is_an_error_also_where_the_budgets_are_kept() -> None:
    (line,) = annotations(Run([RUN.records[-1]]))
    assert line.startswith("::error title=regressed%3A agents/test_b.py%3A%3Atest_answer::")
    assert line.endswith("::median latency 500 ms is 12 %25 above 446 ms")


def test_regression_that_only_warns_is_a_warning() -> None:
    (line,) = annotations(Run([RUN.records[-1]], regressions="warn"))
    assert line.startswith("::warning title=regressed%3A ")
    failed = RUN.records[-1]._replace(verdicts=[verdict("failed")])
    (line,) = annotations(Run([failed], regressions="warn"))
    assert line.startswith("::error title=regressed%3A ")


def test_sentences_of_the_worst_verdict_stand_together() -> None:
    verdicts = [verdict("failed", sentence=word) for word in ("one", "two")]
    (line,) = annotations(Run([record("a", [*verdicts, verdict("warned", sentence="three")])]))
    assert line.endswith("::one; two")


@pytest.mark.parametrize("number", [9, 10, 11])
def test_at_most_ten_are_written_worst_first(number: int) -> None:
    warned = [record(f"w{i}", [verdict("warned")]) for i in range(number)]
    lines = annotations(Run([*warned, record("last", [verdict("failed")])]))
    assert len(lines) == min(number + 1, 10)
    assert lines[0].startswith("::error ")
    assert all(line.startswith("::warning ") for line in lines[1:])


def test_places_count_from_the_top_of_the_repository() -> None:
    run = Run([record("a", [verdict("failed")])], places={"t.py::a": "sub/t.py:7"})
    (line,) = annotations(run, "packages/agent/")
    assert line.startswith("::error file=packages/agent/sub/t.py,line=7,")


def test_marks_that_end_a_property_or_a_line_are_spelled_out() -> None:
    name = "t.py::a[50%,x:y\r\n::stop-commands::z]"
    one = PerfRecord(name, [], [verdict("failed", sentence="a%0Ab\n::error::c")], 0)
    (line,) = annotations(Run([one], places={name: "odd,file:x%.py:7"}))
    assert line == (
        "::error file=odd%2Cfile%3Ax%25.py,line=7,"
        r"title=failed%3A t.py%3A%3Aa[50%25%2Cx%3Ay\x0d\x0a%3A%3Astop-commands%3A%3Az]"
        r"::a%250Ab\x0a::error::c"
    )


def test_long_texts_are_shortened() -> None:
    one = record("a" * 100_000, [verdict("failed", sentence="b" * 100_000)])
    (line,) = annotations(Run([one]))
    assert len(line) < 5_000
    assert "aaa…aaa" in line
    assert "bbb…bbb" in line


def test_summary_of_a_job_is_small_enough_to_share_its_file() -> None:
    records = [record(f"test_{i}", [verdict("failed", sentence="x" * 500)]) for i in range(2_000)]
    text = job_summary(Run(records))
    assert 150_000 < len(text.encode()) <= 200_000
    assert text.startswith("\n<!-- pytest-agentperf -->\n")
