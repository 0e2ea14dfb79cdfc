"""Tests of the units."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.core.errors import UnitError
from pytest_agentperf.core.units import Unit, format_quantity, parse_quantity

TIMES = "expected one of ns, us, ms, s, min, h"
SIZES = "expected one of B, kB, MB, GB, KiB, MiB, GiB"


@pytest.mark.parametrize(
    ("text", "unit", "number"),
    [
        ("10ns", Unit.SECONDS, 1e-8),
        (" 5 us ", Unit.SECONDS, 5e-6),
        ("5µs", Unit.SECONDS, 5e-6),
        ("200ms", Unit.SECONDS, 0.2),
        ("1.5 s", Unit.SECONDS, 1.5),
        ("2min", Unit.SECONDS, 120.0),
        ("1h", Unit.SECONDS, 3600.0),
        ("1e-3 s", Unit.SECONDS, 0.001),
        (".5s", Unit.SECONDS, 0.5),
        ("+5.s", Unit.SECONDS, 5.0),
        (3, Unit.SECONDS, 3.0),
        ("3", Unit.SECONDS, 3.0),
        (0, Unit.SECONDS, 0.0),
        ("7B", Unit.BYTES, 7.0),
        ("1.5kB", Unit.BYTES, 1500.0),
        ("20MB", Unit.BYTES, 2e7),
        ("2GB", Unit.BYTES, 2e9),
        ("1KiB", Unit.BYTES, 1024.0),
        ("1 MiB", Unit.BYTES, 1048576.0),
        ("1GiB", Unit.BYTES, 1073741824.0),
        ("1.5k", Unit.COUNT, 1500.0),
        ("2M", Unit.COUNT, 2e6),
        (1500, Unit.COUNT, 1500.0),
        ("90 %", Unit.SHARE, 0.9),
        ("5%", Unit.SHARE, 0.05),
        (0.01, Unit.SHARE, 0.01),
        ("50/s", Unit.RATE, 50.0),
        ("2k/s", Unit.RATE, 2000.0),
        ("1M/s", Unit.RATE, 1e6),
        (50, Unit.RATE, 50.0),
        ("$0.02", Unit.DOLLARS, 0.02),
        ("$ 0.02", Unit.DOLLARS, 0.02),
        ("0.02", Unit.DOLLARS, 0.02),
        ("1.5x", Unit.FACTOR, 1.5),
        (1.5, Unit.FACTOR, 1.5),
    ],
)
def test_quantity_is_parsed_to_the_base_unit(text: object, unit: Unit, number: float) -> None:
    assert parse_quantity(text, unit) == number


@pytest.mark.parametrize(
    ("value", "unit", "sentence"),
    [
        ("2 sec", Unit.SECONDS, f"'2 sec': unknown unit 'sec'; {TIMES}"),
        (
            "5m",
            Unit.SECONDS,
            "'5m': unknown unit 'm' (minutes or milliseconds?); expected min or ms",
        ),
        ("5MS", Unit.SECONDS, f"'5MS': unknown unit 'MS'; {TIMES}"),
        ("20", Unit.BYTES, f"'20': a size needs a unit; {SIZES}"),
        (20, Unit.BYTES, f"20: a size needs a unit; {SIZES}"),
        ("5m", Unit.BYTES, f"'5m': unknown unit 'm'; {SIZES}"),
        ("1_000", Unit.COUNT, "'1_000': unknown unit '_000'; expected one of k, M"),
        ("5/min", Unit.RATE, "'5/min': unknown unit '/min'; expected one of /s, k/s, M/s"),
        ("5 eur", Unit.DOLLARS, "'5 eur': unknown unit 'eur'; expected a bare amount of money"),
        ("-1ms", Unit.SECONDS, "'-1ms': expected a finite time of zero or more"),
        (-0.5, Unit.SHARE, "-0.5: expected a finite share of zero or more"),
        (math.nan, Unit.SECONDS, "nan: expected a finite time of zero or more"),
        (math.inf, Unit.RATE, "inf: expected a finite rate of zero or more"),
        (-math.inf, Unit.RATE, "-inf: expected a finite rate of zero or more"),
        ("nan", Unit.SECONDS, "'nan': expected a time such as '200ms' or '1.5 s'"),
        ("inf", Unit.SECONDS, "'inf': expected a time such as '200ms' or '1.5 s'"),
        ("1e400", Unit.COUNT, "'1e400': expected a finite count of zero or more"),
        (10**400, Unit.COUNT, f"{10**400}: expected a finite count of zero or more"),
        (True, Unit.COUNT, "True: expected a count such as 1500 or '1.5k'"),
        (False, Unit.SECONDS, "False: expected a time such as '200ms' or '1.5 s'"),
        (None, Unit.RATE, "None: expected a rate such as '50/s' or 50"),
        ([1], Unit.BYTES, "[1]: expected a size such as '20MB' or '512 KiB'"),
        (b"5ms", Unit.SECONDS, "b'5ms': expected a time such as '200ms' or '1.5 s'"),
        ("", Unit.FACTOR, "'': expected a factor such as 1.5"),
        ("ms", Unit.SECONDS, "'ms': expected a time such as '200ms' or '1.5 s'"),
        ("5 ms ms", Unit.SECONDS, "'5 ms ms': expected a time such as '200ms' or '1.5 s'"),
        ("1,5 s", Unit.SECONDS, "'1,5 s': expected a time such as '200ms' or '1.5 s'"),
        ("$5", Unit.SECONDS, "'$5': expected a time such as '200ms' or '1.5 s'"),
        ("$5", Unit.SHARE, "'$5': expected a share such as '1 %' or 0.01"),
    ],
)
def test_quantity_that_cannot_be_meant_is_refused_with_what_was_expected(
    value: object, unit: Unit, sentence: str
) -> None:
    with pytest.raises(UnitError) as caught:
        parse_quantity(value, unit)
    assert str(caught.value) == sentence


def test_sign_of_money_without_a_number_is_refused() -> None:
    with pytest.raises(UnitError, match=r"^'\$': expected .* money such as '\$0\.02' or 0\.02$"):
        parse_quantity("$", Unit.DOLLARS)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, Unit.SECONDS, "0 s"),
        (5e-10, Unit.SECONDS, "0.5 ns"),
        (1e-6, Unit.SECONDS, "1 us"),
        (0.912, Unit.SECONDS, "912 ms"),
        (0.2, Unit.SECONDS, "200 ms"),
        # Rounding to three digits decides the unit, so that no text says 1000 ms.
        (0.9994, Unit.SECONDS, "999 ms"),
        (0.9996, Unit.SECONDS, "1 s"),
        (100.0, Unit.SECONDS, "100 s"),
        (119.0, Unit.SECONDS, "119 s"),
        (120.0, Unit.SECONDS, "2 min"),
        (7199.0, Unit.SECONDS, "2 h"),
        (7100.0, Unit.SECONDS, "118 min"),
        (0, Unit.BYTES, "0 B"),
        (999, Unit.BYTES, "999 B"),
        (1000, Unit.BYTES, "1 kB"),
        (1.5e6, Unit.BYTES, "1.5 MB"),
        (2.5e12, Unit.BYTES, "2500 GB"),
        (1500, Unit.COUNT, "1500"),
        (1234567, Unit.COUNT, "1234567"),
        (0.95, Unit.SHARE, "95 %"),
        (0, Unit.SHARE, "0 %"),
        (50, Unit.RATE, "50/s"),
        (0.02, Unit.DOLLARS, "$0.02"),
        (0, Unit.DOLLARS, "$0"),
        (1.5, Unit.FACTOR, "1.5"),
    ],
)
def test_quantity_is_shown_with_three_digits_in_the_unit_that_fits(
    value: float, unit: Unit, text: str
) -> None:
    assert format_quantity(value, unit) == text


@pytest.mark.parametrize(
    ("digits", "text"), [(1, "1 s"), (2, "1.2 s"), (6, "1.23457 s"), (9, "1.23456789 s")]
)
def test_quantity_is_shown_with_the_digits_asked_for(digits: int, text: str) -> None:
    assert format_quantity(1.23456789, Unit.SECONDS, digits) == text


@given(st.sampled_from(Unit), st.floats(1e-12, 1e15), st.integers(1, 17))
def test_quantity_reads_back_within_the_digits_shown(unit: Unit, value: float, digits: int) -> None:
    read = parse_quantity(format_quantity(value, unit, digits), unit)
    # Half of the last digit, and the roundings of one product and one quotient.
    assert read == pytest.approx(value, rel=0.5 * 10 ** (1 - digits) + 1e-15, abs=0)


@pytest.mark.parametrize("unit", Unit)
def test_zero_reads_back(unit: Unit) -> None:
    assert parse_quantity(format_quantity(0, unit), unit) == 0
