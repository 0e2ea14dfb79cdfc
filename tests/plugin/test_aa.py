"""The command that compares tests with themselves, with real processes."""

import pytest

from pytest_agentperf.cli import main
from tests.plugin.conftest import Project


@pytest.fixture
def alone(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project in which pytest runs without the plugins of others."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_PLUGINS", raising=False)
    project.write("pytest.ini", "[pytest]\naddopts = -ppytest_agentperf.plugin\n")
    project.tests("""
        def test_timed(perf_timer):
            perf_timer(nap)
        @pytest.mark.perf(rounds=2)
        def test_body():
            pass
    """)
    return project


@pytest.mark.usefixtures("alone")
def test_tests_are_compared_with_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["aa", "--duets=1", "--pairs=2", "test_it.py", "--", "-k", "timed"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("1 duet of the tests with themselves, 1 verdict: 0 regressed (0 %")
    assert "duet 1 of 1: 1 test, 2 pairs of base and head: 84 calls, about" in told.err


@pytest.mark.usefixtures("alone")
def test_tests_that_cannot_be_measured_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["aa", "nowhere.py"]) == 1
    told = capsys.readouterr().err
    assert "ended with status 4 instead of measuring" in told
    assert "nowhere.py" in told


def test_fewer_than_two_pairs_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--duets=0", "--pairs=1"):
        assert main(["aa", option]) == 1
        assert "expected 1 duet and 2 pairs or more" in capsys.readouterr().err
