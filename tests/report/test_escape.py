"""Tests of escaping."""

import tomllib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.report.escape import (
    encodable,
    github_property,
    github_text,
    markdown_code,
    markdown_text,
    openmetrics_label,
    plain_line,
    shorten,
    shorten_name,
    toml_string,
    valid_text,
)

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


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("tests/test_x.py::test_it", "tests/test_x.py::test_it"),
        ("_x_ a_b", "&#95;x&#95; a_b"),
        ("a|b`c*d", "a&#124;b&#96;c&#42;d"),
        ("<b>&lt;", "&#60;b&#62;&#38;lt;"),
        ("[x](y)!", "&#91;x&#93;(y)&#33;&#8203;"),
        ("http://x www.x WWW.x a.b", "http&#58;//x www&#46;x WWW&#46;x a.b"),
        ("@me #1 # 5 % %1", "&#64;&#8203;me &#35;&#8203;1 # 5 % &#37;&#8203;1"),
        ("$0.02", "&#36;0.02"),
        ("a\nb", "a&#92;x0ab"),
    ],
)
def test_markdown_has_no_marks(text: str, escaped: str) -> None:
    assert markdown_text(text) == escaped
    assert markdown_code(text) == f"<code>{escaped.replace('&#8203;', '')}</code>"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ('a"b', r'"a\"b"'),
        ("a\\b", r'"a\\b"'),
        ("a\nb", r'"a\\x0ab"'),
        ("a#b", '"a%23b"'),
    ],
)
def test_label_of_openmetrics_is_quoted(text: str, escaped: str) -> None:
    assert openmetrics_label(text) == escaped


def test_commands_of_github_keep_what_github_decodes() -> None:
    assert github_text("5 %, a:b\r\n%0A") == r"5 %25, a:b\x0d\x0a%250A"
    assert github_property("5 %, a:b\r\n") == r"5 %25%2C a%3Ab\x0d\x0a"


@pytest.mark.parametrize(
    ("most", "short"), [(10, "0123456789"), (9, "0123…6789"), (8, "0123…789"), (3, "0…9")]
)
def test_long_text_is_shortened_in_its_middle(most: int, short: str) -> None:
    assert shorten("0123456789", most) == short


def test_long_names_stay_different_where_they_are_shortened() -> None:
    assert shorten_name("é" * 20, 40) == "é" * 20
    first, second = (shorten_name("é" * 20 + end, 40) for end in "ab")
    assert first != second
    assert len(first.encode()) <= 40
    assert first.startswith("éé")


@pytest.mark.parametrize(
    ("encoding", "text"), [("utf-8", "a µ…"), ("latin-1", "a µ\\u2026"), (None, "a \\xb5\\u2026")]
)
def test_text_is_spelled_out_as_far_as_the_encoding_needs(encoding: str | None, text: str) -> None:
    assert encodable("a µ…", encoding) == text
