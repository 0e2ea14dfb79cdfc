"""Tests of tables."""

from pytest_agentperf.report.table import table_rows

COLUMNS = {"name": "left", "calls": "right"}


def test_columns_are_aligned() -> None:
    assert table_rows(COLUMNS, [["a", "1"], ["long one", "100"]]) == [
        ["name        calls", "--------  -------"],
        ["a               1"],
        ["long one      100"],
    ]


def test_column_without_a_text_is_left_out() -> None:
    assert table_rows(COLUMNS, [["a", ""], ["b", ""]]) == [["name", "------"], ["a"], ["b"]]


def test_row_has_as_many_lines_as_its_highest_cell() -> None:
    head, first, second = table_rows(COLUMNS, [["a\nb\nc", "1"], ["d", "2"]])
    assert len(head) == 2
    assert [line.split() for line in first] == [["a", "1"], ["b"], ["c"]]
    assert [line.split() for line in second] == [["d", "2"]]
