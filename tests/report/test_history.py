"""Tests of the history as text."""

import pytest

from pytest_agentperf.judge.baseline import Entry, Past
from pytest_agentperf.judge.runs import Run
from pytest_agentperf.report.history import history_table, runs_table, sparkline


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([1], "▁"),
        ([0, 0], "▁▁"),
        ([1, 2, 3], "▁▅█"),
        ([1, 1.25], "▁█"),
        ([1, 1.02], "▁▂"),  # less than a quarter is drawn less than full
        ([1, 1.01], "▁▁"),
        ([8, 7, 6, 5, 4, 3, 2, 1], "█▇▆▅▄▃▂▁"),
    ],
)
def test_sparkline_shows_changes_and_no_noise(values: list[float], bars: str) -> None:
    assert sparkline(values) == bars


def entry(median: float, commit: str = "") -> Entry:
    return Entry(Run(median, 20), "2026-01-02T03:04:05Z", commit)


def test_table_has_a_line_for_each_test() -> None:
    tests = {
        "t.py::b": Past((entry(0.01, "a" * 12), entry(0.02, "b" * 12 + "-dirty"))),
        "t.py::a\x1b": Past((entry(0.01), entry(0.01)), (entry(0.03),)),
        "t.py::c": Past(),
    }
    assert history_table(tests).splitlines() == [
        "           runs    median          history    commits                    test",
        "---------------  --------  ------  ---------  -------------------------  -----------",
        "2 + 1 regressed     10 ms  +0.0 %  ▁▁         ?                          t.py::a\\x1b",
        "              2     20 ms  +100 %  ▁█         aaaaaaaaaaaa…bbbbbbbbbbbb  t.py::b",
        "              0         -                                                t.py::c",
    ]


def test_runs_of_a_test_are_listed_with_those_that_regressed() -> None:
    past = Past((entry(0.01, "a1b2"),), (entry(0.03, "c3d4"),))
    assert runs_table(past).splitlines() == [
        "time                  commit      calls    median",
        "--------------------  --------  -------  --------  ---------",
        "2026-01-02T03:04:05Z  a1b2           20     10 ms",
        "2026-01-02T03:04:05Z  c3d4           20     30 ms  regressed",
    ]
