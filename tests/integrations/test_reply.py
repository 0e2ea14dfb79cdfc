from typing import Any

import pytest

from pytest_agentperf.core.errors import UnitError, UsageError
from pytest_agentperf.integrations.answer import Defaults, make_answer
from pytest_agentperf.integrations.reply import Reply, split_text

DEFAULTS = Defaults(ttft=1.0, itl=0.5, tokens=None, text=None, prompt_tokens=10)


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        ("", None, ()),
        ("", 3, ()),
        ("  ", None, ("  ",)),
        ("one", None, ("one",)),
        (" one  two\n", None, (" one", "  two\n")),
        ("a b c d e", 2, ("a b", " c d e")),
        ("a b c", 3, ("a", " b", " c")),
        ("abc d", 4, ("a", "b", "c", " d")),
        ("ab", 2, ("a", "b")),
        ("a b", 1, ("a b",)),
    ],
)
def test_text_is_split_into_words_or_into_a_number_of_chunks(
    text: str, count: int | None, expected: tuple[str, ...]
) -> None:
    assert split_text(text, count) == expected


@pytest.mark.parametrize("count", range(1, 24))
def test_text_is_kept_whole_and_no_chunk_is_empty(count: int) -> None:
    text = "A text, with some words"  # 23 characters
    chunks = split_text(text, count)
    assert len(chunks) == count
    assert all(chunks)
    assert "".join(chunks) == text


@pytest.mark.parametrize("count", [0, 3])
def test_text_of_two_characters_has_one_or_two_tokens(count: int) -> None:
    with pytest.raises(UsageError, match=f"^'ab' in {count} tokens: .* has 1 to 2 tokens"):
        Reply(text="ab", tokens=count)
    Reply(text="ab", tokens=2)
    Reply(text="ab", tokens=1)


def test_chunks_are_due_at_equal_steps_from_the_request() -> None:
    answer = make_answer(Reply(text="a b c"), DEFAULTS, "m", 1)
    assert answer.dues == (1.0, 1.5, 2.0)
    assert answer.due == 2.0


@pytest.mark.parametrize(
    ("reply", "dues", "due"),
    [
        (Reply(text="a b c", stall=10), (1.0, 11.5, 12.0), 12.0),
        (Reply(text="a", stall=10), (1.0,), 11.0),
        (Reply(text="", stall=10), (), 11.0),
        # After the first chunk of text, not of reasoning.
        (Reply(reasoning="r s", text="a b", stall=10), (1.0, 1.5, 2.0, 12.5), 12.5),
        (Reply(tool_calls=(("f", {}),), stall=10), (1.0, 11.5), 11.5),
        (Reply(text="a b", ttft="2s", itl=0), (2.0, 2.0), 2.0),
    ],
)
def test_chunks_after_a_stall_are_due_later(
    reply: Reply, dues: tuple[float, ...], due: float
) -> None:
    answer = make_answer(reply, DEFAULTS, "m", 1)
    assert (answer.dues, answer.due) == (dues, due)


def test_tokens_of_the_reply_include_those_of_the_reasoning() -> None:
    answer = make_answer(Reply(reasoning="r s", text="a b c", tokens=3), DEFAULTS, "m", 1)
    assert (answer.reasoning, answer.text) == (("r", " s"), ("a b c",))
    assert answer.usage is not None
    assert answer.usage["completion_tokens"] == 3


@pytest.mark.parametrize("text", ["a b c", None])
def test_reasoning_that_leaves_no_token_for_the_text_is_refused(text: str | None) -> None:
    with pytest.raises(UsageError, match="tokens=2: the reasoning takes 2 of them"):
        make_answer(Reply(reasoning="r s", text=text, tokens=2), DEFAULTS, "m", 1)
    make_answer(Reply(reasoning="r s", text="", tokens=2), DEFAULTS, "m", 1)


def test_tokens_of_a_tool_call_are_those_the_reply_names() -> None:
    answer = make_answer(Reply(tool_calls=(("f", {}),), tokens=50), DEFAULTS, "m", 1)
    assert answer.text == ()
    assert answer.usage is not None
    assert answer.usage["completion_tokens"] == 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"status": 200.0}, "status=200.0: expected a whole number"),
        ({"status": 204}, "status=204: expected 200, or an error from 400 to 599"),
        ({"status": 399}, "status=399: expected 200"),
        ({"status": 600}, "status=600: expected 200"),
        ({"retry_after": 1}, "retry_after=1 with status 200: only an error is tried again"),
        ({"status": 429, "retry_after": "soon"}, "retry_after='soon': expected a time"),
        ({"stall": "0.5ms"}, "stall='0.5ms': timers cannot keep a delay below 1 ms"),
        ({"ttft": "0.5ms"}, "ttft='0.5ms': timers cannot keep"),
        ({"itl": -1}, "itl=-1: expected a finite time"),
        ({"tokens": 1.0}, "tokens=1.0: expected a whole number of 0 or more"),
        ({"prompt_tokens": -1}, "prompt_tokens=-1: expected a whole number"),
        ({"cached_tokens": None}, "cached_tokens=None: expected a whole number"),
        ({"text": b"x"}, "text=b'x': expected text"),
        ({"reasoning": None}, "reasoning=None: expected text"),
        ({"model": 4}, "model=4: expected text"),
        ({"tool_calls": ("search",)}, "expected pairs of a name and arguments"),
        ({"tool_calls": ((1, {}),)}, "expected pairs of a name and arguments"),
        ({"tool_calls": (("f", {"x": object()}),)}, "arguments that JSON can hold"),
        ({"tool_calls": 1}, "tool_calls=1: expected pairs"),
    ],
)
def test_field_that_cannot_work_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((UsageError, UnitError), match=message):
        Reply(**arguments)


@pytest.mark.parametrize("status", [200, 400, 599])
def test_status_at_the_edge_is_accepted(status: int) -> None:
    assert Reply(status=status).status == status
