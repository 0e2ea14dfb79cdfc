"""Tests of escaping."""

import tomllib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.report.escape import plain_line, toml_string, valid_text

# Every character, lone surrogates and controls included.
ANYTHING = st.text(st.characters(exclude_categories=()))


@given(ANYTHING)
def test_valid_text_can_be_encoded(text: str) -> None:
    valid_text(text).encode()


def test_valid_text_spells_lone_surrogates_out_and_keeps_the_rest() -> None:
    assert valid_text("a\ud800b") == "a\\ud800b"
    assert valid_text("µ🙂\n\x1b") == "µ🙂\n\x1b"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a b\\c", "a b\\c"),
        ("µs 🙂 é", "µs 🙂 é"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\r\nb\tc", "a\\x0d\\x0ab\\x09c"),
        ("\x00\x7f\x85\x9b", "\\x00\\x7f\\x85\\x9b"),
        ("\u2028\u2029", "\\x2028\\x2029"),
        ("\u202eabc\u2066\u200f", "\\x202eabc\\x2066\\x200f"),
        ("\udc80", "\\udc80"),
    ],
)
def test_line_has_controls_spelled_out(text: str, line: str) -> None:
    assert plain_line(text) == line


@given(ANYTHING)
def test_line_is_one_line_without_controls(text: str) -> None:
    line = plain_line(text)
    assert not [char for char in line if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}]
    assert len(line.splitlines()) <= 1
    # Characters that change the direction of what follows, but for those of a script itself.
    directions = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert not directions & {unicodedata.bidirectional(char) for char in line}


@given(ANYTHING)
def test_toml_string_reads_back(text: str) -> None:
    written = toml_string(text)
    assert tomllib.loads(f"[{written}]\na = {written}") == {
        valid_text(text): {"a": valid_text(text)}
    }
    assert not set(written) & {*map(chr, range(0x20)), "\x7f"}


def test_toml_string_escapes_quotes_backslashes_and_controls() -> None:
    assert toml_string('a"\\\n\x7fµ') == '"a\\"\\\\\\u000a\\u007fµ"'
