"""Tests of what crosses between a duet and its processes."""

from pathlib import Path

import pytest

from pytest_agentperf.gate.job import (
    Job,
    SideReport,
    read_job,
    read_report,
    write_job,
    write_report,
)
from pytest_agentperf.judge.runs import Count, Run


@pytest.mark.parametrize("only", [None, (), ("t.py::test[é]",)])
def test_job_reads_back_as_it_was(tmp_path: Path, only: tuple[str, ...] | None) -> None:
    job = Job(str(tmp_path / "report"), is_probe=True, only=only, wants_cost=False, foreign="/x")
    write_job(tmp_path / "job", job)
    assert read_job(tmp_path / "job") == job


def test_report_reads_back_as_it_was(tmp_path: Path) -> None:
    run = Run(0.1, 3, (0.1, 0.2), {"retries": Count(0, 0.5, 1)}, "here", "body")
    report = SideReport({"t#x": run}, {"t#x": 21}, {"u": "was skipped"}, ("t",), ("/x/m.py",))
    write_report(tmp_path / "report", report)
    assert read_report(tmp_path / "report") == report
