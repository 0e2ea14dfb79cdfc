"""Tests of what a command line says of budgets."""

import pytest

from pytest_agentperf.core.errors import BudgetError, UnknownNameError
from pytest_agentperf.judge.budgetreader import parse_budget_file
from pytest_agentperf.judge.overrides import choose_environment, parse_overrides

FILE = parse_budget_file("version = 1\n[environments.ci]\n[environments.big]\n", "b.toml")


def test_overrides_name_where_they_come_from() -> None:
    layer = parse_overrides(["p95=200ms", "throughput = 50"], is_stated=True)
    p95, throughput = layer.limits["latency_p95"], layer.limits["throughput"]
    assert p95 is not None
    assert throughput is not None
    assert (p95.fail, p95.source, p95.is_stated) == (0.2, "--perf-set p95=200ms", True)
    assert throughput.fail == 50
    assert layer.is_over_all


def test_override_switches_a_limit_off() -> None:
    assert parse_overrides(["p95=off"], is_stated=False).limits == {"latency_p95": None}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("p95", "--perf-set p95: expected METRIC=LIMIT"),
        ("p95=1 sec", "--perf-set p95=1 sec: .*unknown unit 'sec'"),
        ("speed=1", "--perf-set speed=1: unknown metric 'speed'"),
    ],
)
def test_override_that_cannot_be_meant_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(BudgetError, match=sentence):
        parse_overrides([text], is_stated=False)


def test_environment_that_is_named_holds() -> None:
    assert choose_environment(FILE, "big") == ("big", False)


@pytest.mark.parametrize(("ci", "chosen"), [("1", ("ci", True)), ("", (None, False))])
def test_environment_of_ci_holds_there(
    monkeypatch: pytest.MonkeyPatch, ci: str, chosen: tuple[str | None, bool]
) -> None:
    monkeypatch.setenv("CI", ci)
    assert choose_environment(FILE, None) == chosen
    assert choose_environment(None, None) == (None, False)


def test_environment_that_no_file_has_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"environment of b\.toml 'cii'; did you mean 'ci'"):
        choose_environment(FILE, "cii")
    with pytest.raises(BudgetError, match="without a file; give --perf-budget too"):
        choose_environment(None, "ci")
