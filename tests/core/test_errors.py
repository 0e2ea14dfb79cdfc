"""Tests of the errors."""

import pytest

from pytest_agentperf.core import errors
from pytest_agentperf.core.errors import AgentPerfError, UnknownNameError


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.UnitError, ValueError),
        (errors.UnknownNameError, ValueError),
        (errors.EmptySampleError, ValueError),
        (errors.BudgetError, ValueError),
        (errors.FileFormatError, ValueError),
        (errors.UsageError, RuntimeError),
    ],
)
def test_error_derives_from_the_base_and_from_the_builtin_that_a_caller_expects(
    kind: type[Exception], builtin: type[Exception]
) -> None:
    assert issubclass(kind, AgentPerfError)
    assert issubclass(kind, builtin)


def test_error_classes_are_all_public() -> None:
    found = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, AgentPerfError)
    }
    assert found == set(errors.__all__)


@pytest.mark.parametrize(
    ("name", "known", "sentence"),
    [
        ("latncy", ["latency", "ttft"], "unknown metric 'latncy'; did you mean 'latency'?"),
        ("zzz", ["ttft", "itl"], "unknown metric 'zzz'; expected one of itl, ttft"),
        ("zzz", [], "unknown metric 'zzz'; none is defined"),
        (95, ["p95"], "unknown metric '95'; did you mean 'p95'?"),
    ],
)
def test_unknown_name_suggests_the_closest_or_lists_all(
    name: object, known: list[str], sentence: str
) -> None:
    assert str(UnknownNameError("metric", name, known)) == sentence


def test_unknown_name_takes_names_that_can_be_read_once() -> None:
    assert str(UnknownNameError("key", "b", iter("ac"))).endswith("expected one of a, c")
