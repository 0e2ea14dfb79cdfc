"""Wording: lists and times as a reader wants them."""

import pytest

from pytest_agentperf.measure.concurrency.spans.wording import at_place, listed, named, with_times

from .plans import call


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (list("abcdef"), "a, b, c, d, e and f"),
        (list("abcdefg"), "a, b, c, d, e and 2 more"),
    ],
)
def test_a_list_is_in_words_and_counts_what_is_too_much(parts: list[str], text: str) -> None:
    assert listed(parts) == text


def test_calls_of_one_name_in_a_row_are_told_together() -> None:
    spans = [call(1, "a", 0, 1), call(2, "b", 1, 3), call(3, "b", 3, 4), call(4, "a", 4, 5)]
    assert with_times(spans) == "a (1 s), b × 2 (3 s) and a (1 s)"
    assert named(spans) == "a and b"


def test_a_span_without_a_site_has_no_place() -> None:
    assert at_place(call(1, "a", 0, 1)) == ""
