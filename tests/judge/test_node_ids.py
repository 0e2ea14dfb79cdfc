"""Tests of patterns for node ids."""

import pytest

from pytest_agentperf.judge.node_ids import NodePattern


@pytest.mark.parametrize(
    ("pattern", "nodeid"),
    [
        ("tests/test_a.py", "tests/test_a.py::test_x"),
        ("tests/test_a.py", "tests/test_a.py"),
        ("tests/*", "tests/test_a.py::TestB::test_x"),
        ("tests/*.py::*", "tests/test_a.py::test_x[a/b]"),
        ("tests/test_?.py", "tests/test_a.py::test_x"),
        ("tests/**", "tests/a/b/test_c.py::test_x"),
        ("tests/**/test_c.py", "tests/a/b/test_c.py::test_x"),
        ("tests/**/test_c.py", "tests/test_c.py::test_x"),
        ("**/test_c.py::test_x", "tests/a/test_c.py::test_x"),
        ("**", "tests/a/test_c.py::test_x"),
        ("t.py::test_x[a*]", "t.py::test_x[a/b]"),
        ("t.py::test_x[a?b]", "t.py::test_x[a/b]"),
        ("t.py::*/b]", "t.py::test_x[a/b]"),
        ("t.py::test_x[**/b]", "t.py::test_x[a/b]"),
        ("t.py::test_x[[]", "t.py::test_x[[]"),
        ("t.py::test_x[a.b+c$]", "t.py::test_x[a.b+c$]"),
        ("t.py::*", "t.py::test_x[a\nb]"),
        ("t.py::*::test_x", "t.py::TestA::test_x"),
        ("t.py::test_x#retrieve", "t.py::test_x"),
    ],
)
def test_pattern_matches(pattern: str, nodeid: str) -> None:
    assert NodePattern.parse(pattern).matches(nodeid)


@pytest.mark.parametrize(
    ("pattern", "nodeid"),
    [
        ("tests/*", "tests/a/test_c.py::test_x"),
        ("*.py", "tests/test_a.py::test_x"),
        ("tests?test_a.py", "tests/test_a.py::test_x"),
        ("tests/test_?.py", "tests/test_ab.py::test_x"),
        ("tests/**/test_c.py", "tests/xtest_c.py::test_x"),
        ("tests/test_a", "tests/test_a.py::test_x"),
        ("tests", "tests/test_a.py::test_x"),
        ("test_a.py", "tests/test_a.py::test_x"),
        ("t.py::test_x", "t.py::test_x[a]"),
        ("t.py::test_x", "t.py::test_xy"),
        ("t.py::test_[xy]", "t.py::test_x"),
        ("t.py::test_x[?]", "t.py::test_x[ab]"),
        ("t.py::test_x[**/b]", "t.py::test_x[b]"),
        ("t?py::test_x", "t/py::test_x"),
        ("t.py::test.x", "t.py::test_x"),
        ("", "t.py::test_x"),
    ],
)
def test_pattern_does_not_match(pattern: str, nodeid: str) -> None:
    assert not NodePattern.parse(pattern).matches(nodeid)


@pytest.mark.parametrize(
    ("text", "ids", "label"),
    [
        ("t.py::test_x", "t.py::test_x", None),
        ("t.py::test_x#a", "t.py::test_x", "a"),
        ("t.py::test_x#", "t.py::test_x", ""),
        ("t.py::test_x[a#b]", "t.py::test_x[a#b]", None),
        ("t.py::test_x[a#b]#c", "t.py::test_x[a#b]", "c"),
        ("t.py::test_x#a#b", "t.py::test_x#a", "b"),
        ("tests/**#a b", "tests/**", "a b"),
        ("#a", "", "a"),
    ],
)
def test_label_begins_at_the_last_hash_behind_the_last_bracket(
    text: str, ids: str, label: str | None
) -> None:
    pattern = NodePattern.parse(text)
    assert (pattern.text, pattern.ids, pattern.label) == (text, ids, label)


@pytest.mark.parametrize(
    ("text", "is_exact"),
    [
        ("t.py::test_x", True),
        ("t.py::test_x[a]", True),
        ("t.py::test_x[a]#l*", True),
        ("t.py", False),
        ("t.py::*", False),
        ("t.py::test_x[?]", False),
        ("**/t.py::test_x", False),
    ],
)
def test_pattern_is_exact_where_it_is_one_whole_node_id(text: str, is_exact: bool) -> None:
    assert NodePattern.parse(text).is_exact is is_exact


@pytest.mark.parametrize(
    ("text", "literal"),
    [("", 0), ("**", 0), ("a*", 1), ("a/**/b?", 4), ("a.py::test_x#label", 12), ("a#*", 1)],
)
def test_pattern_is_as_specific_as_it_has_literal_characters(text: str, literal: int) -> None:
    assert NodePattern.parse(text).literal_characters == literal
