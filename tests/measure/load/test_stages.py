"""Tests of the grammar of stages."""

import pytest

from pytest_agentperf.core.errors import LoadError, LoadTypeError
from pytest_agentperf.measure.load.stages import Stage, parse_stages


def test_stages_of_users_are_read_with_minutes() -> None:
    stages, is_rate = parse_stages("5m:100,10m:500,5m:100")
    assert stages == (Stage(300, 100), Stage(600, 500), Stage(300, 100))
    assert not is_rate


def test_stages_of_rates_are_read() -> None:
    stages, is_rate = parse_stages("30s:50/s,0s:1.5k/s,250ms:0.5/s")
    assert stages == (Stage(30, 50), Stage(0, 1500), Stage(0.25, 0.5))
    assert is_rate


def test_stages_may_have_blanks_and_every_unit() -> None:
    stages, _ = parse_stages(" 1 h : 2k , 2min:1,1.5 s :0 ")
    assert stages == (Stage(3600, 2000), Stage(120, 1), Stage(1.5, 0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "stages='': at its end: expected a time with its unit"),
        ("5q:10", "at 'q:10' (character 2): unknown unit 'q'; expected one of ms, s, m, min, h"),
        ("5:10", "at ':10' (character 2): no unit"),
        ("5s10", "at '10' (character 3): expected ':'"),
        ("5s:", "at its end: expected a number of users, or a rate such as 50/s"),
        ("5s:10;5s:10", "at ';5s:10' (character 6): expected ','"),
        ("5s:10,", "at its end: expected a time with its unit"),
        ("5s:10,x", "at 'x' (character 7): expected a time with its unit"),
        ("-5s:10", "at '-5s:10' (character 1)"),
        ("5s:-10", "at '-10' (character 4): expected a number of users"),
        ("5s:1.5", "at '1.5' (character 4): 1.5 users; expected a whole number"),
        ("5s:10/m", "at '/m' (character 6): expected ','"),
        (f"1s:{'9' * 400}", "expected finite numbers"),
        (f"{'9' * 400}s:1", "expected finite numbers"),
        ("5s:10,5s:5/s", "expected users in all stages, or rates ('50/s') in all"),
        ("0s:5", "they take no time; expected a stage above 0 s"),
        ("5s:0,5s:0", "nobody calls; expected a target above 0"),
    ],
)
def test_stages_with_an_error_show_its_place(text: str, message: str) -> None:
    with pytest.raises(LoadError) as caught:
        parse_stages(text)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [5, ["5s:10"], b"5s:10"])
def test_stages_that_are_no_text_are_refused(value: object) -> None:
    with pytest.raises(LoadTypeError, match="expected a text, as in '5m:100"):
        parse_stages(value)
