"""Tests of markup."""

import pytest

from pytest_agentperf.core.units import Unit
from pytest_agentperf.report.page.markup import (
    badge,
    file_link,
    is_upper,
    number,
    quantity,
    short,
    text,
    title_of,
    unit_of,
)


def test_text_is_one_line_without_markup() -> None:
    assert text('<a href="\'&">\n\x1b\u202e') == (
        "&lt;a href=&quot;&#x27;&amp;&quot;&gt;\\x0a\\x1b\\x202e"
    )


def test_long_text_is_cut_and_says_so() -> None:
    assert text("abcdef", 6) == "abcdef"
    assert text("abcdefg", 6) == "abcdef… (7 characters)"


def test_name_is_cut_in_the_middle_before_it_is_escaped() -> None:
    assert short("abcdefg", 7) == "abcdefg"
    assert short("abcdefgh", 7) == "abc…fgh"
    assert short("<<<<>>>>", 5) == "&lt;&lt;…&gt;&gt;"


@pytest.mark.parametrize("status", ["failed", "undecided", "warned", "passed", "regressed"])
def test_badge_has_the_class_of_its_status(status: str) -> None:
    assert badge(status) == f'<span class="s {status}">{status}</span>'


def test_badge_of_an_unknown_status_has_no_class_of_its_own() -> None:
    assert badge('"><b>') == '<span class="s measured">&quot;&gt;&lt;b&gt;</span>'
    assert badge("measured") == '<span class="s measured">no budget</span>'


def test_metric_of_a_later_release_is_a_plain_number_of_which_less_is_better() -> None:
    assert (unit_of("wisdom"), title_of("wisdom"), is_upper("wisdom")) == (
        *(Unit.COUNT, "wisdom", True),
    )
    assert number("wisdom", 1.5) == "1.5"
    assert (number("latency_p95", 2e-6), number("latency_p95", None)) == ("2 µs", "–")
    assert not is_upper("hit_rate")
    assert quantity(1500.0, Unit.BYTES) == "1.5 kB"


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("/tmp/a b.prof", "file:///tmp/a%20b.prof"),  # noqa: S108
        ("profiles/a.html", "profiles/a.html"),
        ("javascript:alert(1)", "javascript%3Aalert%281%29"),
        ("C:\\x\\y.prof", "C%3A/x/y.prof"),
        ("\ud800", "%3F"),
    ],
)
def test_address_of_a_file_holds_no_scheme(path: str, address: str) -> None:
    assert file_link(path) == address
