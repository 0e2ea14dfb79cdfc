"""Tests of what must be the same for two runs to be compared."""

import asyncio
import functools
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_agentperf.gate.environment import body_hash, environment_key


def item(source: str, name: str, tmp_path: Any, **params: object) -> Any:
    """Return a stand-in for the test *name*, which *source* defines in a file of its own."""
    path = tmp_path / f"m{len(list(tmp_path.iterdir()))}.py"
    path.write_text(source)
    scope: dict[str, Any] = {"pytest": pytest}
    exec(compile(source, str(path), "exec"), scope)  # noqa: S102 -- a file of this test
    return SimpleNamespace(obj=scope[name], callspec=SimpleNamespace(params=params))


def test_key_names_what_it_is_about_and_tells_others_apart() -> None:
    key = environment_key(1)
    assert key == environment_key(1)
    major, minor = sys.version_info[:2]
    assert f", CPython {major}.{minor}, asyncio, " in key
    assert key.endswith("1 worker")
    assert environment_key(4, ["slow"]).endswith(", 4 workers, slow")
    assert len({key, environment_key(4), environment_key(1, ["slow"])}) == 3


def test_key_says_whether_lines_are_traced() -> None:
    before = sys.gettrace()
    sys.settrace(None)
    try:
        plain = environment_key(1)
        sys.settrace(lambda *_: None)
        traced = environment_key(1)
    finally:
        sys.settrace(before)
    assert traced == plain.replace(", 1 worker", ", traced, 1 worker")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_key_names_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    uvloop = pytest.importorskip("uvloop")
    monkeypatch.setattr(asyncio, "get_event_loop_policy", uvloop.EventLoopPolicy)
    assert ", uvloop, " in environment_key(1)


PLAIN = "def test_x(perf_timer):\n    perf_timer(len, 'a')\n"


@pytest.mark.parametrize(
    "source",
    [
        "def test_x( perf_timer ):\n\n    # a comment\n    perf_timer(len,\n        'a')\n",
        "@pytest.mark.perf_budget(p95='1s')\n@pytest.mark.perf(rounds=4)\n" + PLAIN,
        "if True:\n" + "".join(f"    {line}\n" for line in PLAIN.splitlines()),
    ],
    ids=["layout", "budgets", "indentation"],
)
def test_body_is_the_same_whatever_does_not_run(source: str, tmp_path: Any) -> None:
    plain = item(PLAIN, "test_x", tmp_path)
    assert body_hash(item(source, "test_x", tmp_path)) == body_hash(plain)


@pytest.mark.parametrize(
    "source",
    [
        PLAIN.replace("'a'", "'b'"),
        "@pytest.mark.usefixtures('tmp_path')\n" + PLAIN,
        PLAIN.replace("def", "async def"),
    ],
    ids=["argument", "decorator", "kind"],
)
def test_body_is_another_where_its_code_is(source: str, tmp_path: Any) -> None:
    plain = item(PLAIN, "test_x", tmp_path)
    assert body_hash(item(source, "test_x", tmp_path)) != body_hash(plain)


def test_body_has_another_input_where_plain_parameters_differ(tmp_path: Any) -> None:
    hashes = {body_hash(item(PLAIN, "test_x", tmp_path, n=n)) for n in (1, 2, [1], {"k": (1,)})}
    assert len(hashes) == 4
    # The repr of an object may be its address, which is no input.
    first, second = (body_hash(item(PLAIN, "test_x", tmp_path, n=object())) for _ in "ab")
    assert first == second


@pytest.mark.parametrize("obj", [None, len, functools.partial(len, "a")], ids=repr)
def test_test_without_source_is_comparable_all_the_same(obj: object) -> None:
    assert body_hash(SimpleNamespace(obj=obj)) == body_hash(SimpleNamespace())
