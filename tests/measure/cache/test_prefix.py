"""Prefix reuse: how much of a request repeats the one before, and what ended it."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_agentperf.core.errors import CheckError, UsageError
from pytest_agentperf.measure.cache.door import CacheUse, PerfCache
from pytest_agentperf.measure.cache.prefix import prefix_reuse

SYSTEM = {"role": "system", "content": "Answer briefly."}
TOOLS = [{"type": "function", "function": {"name": "locate"}}]


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def request(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [SYSTEM, *messages], **more}


def laid_out(*messages: dict[str, Any]) -> int:
    """Return the bytes of a prompt of messages alone, without the bracket that ends it."""
    text = json.dumps(list(messages), separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return len(b'"messages":' + text.encode()) - 1


def test_conversation_that_goes_on_repeats_all_that_was_said() -> None:
    reuse = prefix_reuse([request(user("a")), request(user("a"), user("b"))])
    (second,) = reuse.requests
    assert second.change is None
    assert second.repeated == laid_out(SYSTEM, user("a"))
    assert second.size == laid_out(SYSTEM, user("a"), user("b"))
    assert reuse.reuse == second.share == second.repeated / second.size


def test_same_request_repeats_itself_whole() -> None:
    reuse = prefix_reuse([request(user("a"), tools=TOOLS)] * 3)
    assert reuse.shares == (1.0, 1.0)
    assert reuse.change is None
    reuse.assert_prefix_reuse(min=1)


def test_timestamp_in_the_system_prompt_is_named() -> None:
    bodies = [
        {"messages": [{"role": "system", "content": f"It is 12:00:{n} now. Be brief."}, user("q")]}
        for n in (10, 17)
    ]
    (second,) = prefix_reuse(bodies).requests
    change = second.change
    assert change is not None
    text = json.dumps(bodies[1]["messages"], separators=(",", ":"), sort_keys=True)
    at = len('"messages":') + text.index("7 now")
    assert (change.path, change.start, change.end) == ("messages[0].content", at, at + 1)
    assert second.repeated == at
    assert str(change) == (
        f"messages[0].content changed at bytes {at}–{at + 1},"
        " from '…tent\":\"It is 12:00:10 now. Be b' to '…tent\":\"It is 12:00:17 now. Be b'"
    )


def test_order_of_keys_changes_nothing_and_order_of_tools_does() -> None:
    there, back = {"role": "user", "content": "a"}, {"content": "a", "role": "user"}
    assert prefix_reuse([[there], [back]]).reuse == 1
    tools = [{"name": "a"}, {"name": "b"}]
    change = prefix_reuse([request(tools=tools), request(tools=tools[::-1])]).change
    assert change is not None
    assert change.path == "tools[0].name"


def test_tools_come_before_messages() -> None:
    reuse = prefix_reuse([request(tools=TOOLS), request(tools=[*TOOLS, {"name": "more"}])])
    assert reuse.change is not None
    assert reuse.change.path == "tools[1].name"
    assert reuse.reuse < 0.5


def test_message_that_was_taken_away_ends_the_prefix() -> None:
    reuse = prefix_reuse([request(user("a"), user("b")), request(user("a"))])
    assert reuse.shares == (1.0,)  # all that is left repeats
    assert reuse.change is not None
    assert (reuse.change.path, reuse.change.after) == ("messages[2].content", "")


def test_model_and_temperature_are_no_part_of_the_prompt() -> None:
    first, second = request(user("a")), request(user("a"), temperature=1)
    assert prefix_reuse([first, {**second, "model": "other"}]).reuse == 1


def test_bytes_are_those_of_utf_8() -> None:
    change = prefix_reuse([[user("ÄÖ€x")], [user("ÄÖ€y")]]).change
    assert change is not None
    assert change.start == laid_out(user("ÄÖ€y")) - len('y","role":"user"}')
    assert change.end == change.start + 1


def test_values_of_all_kinds_are_compared() -> None:
    body: dict[str, Any] = {"messages": [{"a": None, "b": True, "c": 1.5, "d": [], "e": {}}]}
    other: dict[str, Any] = {"messages": [{"a": None, "b": True, "c": 1.5, "d": [], "e": {"f": 1}}]}
    assert prefix_reuse([body, body]).reuse == 1
    change = prefix_reuse([body, other]).change
    assert change is not None
    assert change.path == "messages[0].e.f"


@pytest.mark.parametrize(
    "shape",
    [
        lambda body: body,
        json.dumps,
        lambda body: json.dumps(body).encode(),
        lambda body: SimpleNamespace(body=body),
        lambda body: body["messages"],
    ],
)
def test_requests_of_many_shapes_are_read(shape: Any) -> None:
    bodies = [request(user("a")), request(user("a"), user("b"))]
    expected = prefix_reuse(bodies)
    assert prefix_reuse(map(shape, bodies)) == expected


@pytest.mark.parametrize("part", ["system", "instructions", "input", "functions", "tools"])
def test_other_parts_of_a_prompt_are_compared(part: str) -> None:
    change = prefix_reuse([{part: "one"}, {part: "two"}]).change
    assert change is not None
    assert change.path == part


@pytest.mark.parametrize(
    "wrong", [{}, {"model": "m"}, {"messages": []}, None, 3, "no JSON", b"[", "3", []]
)
def test_request_without_a_prompt_is_refused(perf_cache: PerfCache, wrong: object) -> None:
    with pytest.raises(UsageError, match=r"request 1 is .* expected a body with one of tools"):
        perf_cache.prefix([request(), wrong])


@pytest.mark.parametrize("wrong", [object(), float("nan"), b"bytes"])
def test_what_is_no_json_is_refused(perf_cache: PerfCache, wrong: object) -> None:
    with pytest.raises(UsageError, match="request 0 is no JSON"):
        perf_cache.prefix([{"messages": [{"content": wrong}]}])


def test_one_body_is_not_taken_for_several(perf_cache: PerfCache) -> None:
    for single in (request(), "text", b"text"):
        with pytest.raises(UsageError, match="expected several requests"):
            perf_cache.prefix(single)


@pytest.mark.parametrize("requests", [[], [request()]])
def test_fewer_than_two_requests_tell_nothing(
    perf_cache: PerfCache, use: CacheUse, requests: list[Any]
) -> None:
    reuse = perf_cache.prefix(requests)
    with pytest.raises(CheckError, match="fewer than two requests"):
        reuse.assert_prefix_reuse(min=0)
    (measurement,) = use.measurements()
    assert "fewer than two" in measurement.unknown["prefix_reuse"]


def test_share_that_is_too_low_names_the_worst_request(
    perf_cache: PerfCache, use: CacheUse
) -> None:
    bodies = [request(user("a" * 100)), request(user("a" * 100)), request(user("b" * 100))]
    reuse = perf_cache.prefix(bodies, "session")
    worst = reuse.worst
    assert worst is not None
    assert worst.index == 2
    reuse.assert_prefix_reuse(min=reuse.reuse)
    with pytest.raises(CheckError) as failure:
        reuse.assert_prefix_reuse(min="90 %")
    assert "expected at least 90 %: request 2 repeats" in str(failure.value)
    assert "messages[1].content changed at bytes" in str(failure.value)
    (measurement,) = use.measurements()
    assert (measurement.label, measurement.values) == ("session", {"prefix_reuse": reuse.reuse})
    assert len(measurement.causes["prefix_reuse"]) < 400


def test_share_above_one_is_refused(perf_cache: PerfCache) -> None:
    with pytest.raises(UsageError, match="at most 1"):
        perf_cache.prefix([request()] * 2).assert_prefix_reuse(min=90)
