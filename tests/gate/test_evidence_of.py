"""Tests of what the gate takes from a test."""

import asyncio
import linecache
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_agentperf.core.measurement import Measurement
from pytest_agentperf.core.sample import Sample
from pytest_agentperf.gate.evidence_of import body_hash, environment_key, name_of, runs_of
from pytest_agentperf.judge.runs import Count


def measurement(label: str | None = None, errors: int = 0, **samples: Any) -> Measurement:
    values = {name: Sample(each) for name, each in samples.items()}
    return Measurement(label, "ask", 4, errors, values, {"cost_total": 1.0})


def test_run_has_the_median_the_latencies_and_the_counts() -> None:
    one = measurement(latency=[4.0, 1.0, 2.0, 3.0], ttft=[1.0], llm_calls=[1, 2, 3])
    run = runs_of("t", [one], "here", "b0d7")["t"]
    assert run.median == 2.5
    assert run.calls == 4
    assert run.latencies == (1.0, 2.0, 3.0, 4.0)
    assert run.counts == {"llm_calls": Count(1, 2, 3)}
    assert (run.environment, run.body, run.reference) == ("here", "b0d7", None)


def test_many_latencies_are_thinned_evenly() -> None:
    run = runs_of("t", [measurement(latency=range(600))], "", "")["t"]
    assert run.calls == 600
    assert run.latencies == tuple(range(5, 600, 10))


def test_labels_are_runs_of_their_own() -> None:
    found = runs_of("t", [measurement(latency=[1]), measurement("plan", latency=[2])], "", "")
    assert {name: run.median for name, run in found.items()} == {"t": 1, "t#plan": 2}
    assert name_of("t", "") == "t"


def test_measurement_with_errors_or_without_times_is_no_evidence() -> None:
    found = [measurement("a", 1, latency=[1]), measurement("b"), measurement("c", latency=[])]
    assert runs_of("t", found, "", "") == {}


def test_what_watched_the_calls_is_part_of_the_body() -> None:
    watched = Measurement(None, "ask", 1, 0, {"latency": Sample([1])}, {}, monitors=("watch",))
    assert runs_of("t", [watched], "", "b0d7")["t"].body == "b0d7+watch"


def test_environment_says_what_times_depend_on() -> None:
    key = environment_key(4, ["slow"])
    version = sys.version.split()[0]
    assert f"CPython {version}, asyncio, " in key
    assert key.endswith(", 4 workers, slow")
    assert ", 1 worker" in environment_key(1)
    assert environment_key(1) == environment_key(1)
    assert environment_key(1) != environment_key(2)


def test_environment_says_whether_lines_are_traced() -> None:
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
def test_environment_names_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    uvloop = pytest.importorskip("uvloop")
    monkeypatch.setattr(asyncio, "get_event_loop_policy", uvloop.EventLoopPolicy)
    assert ", uvloop, " in environment_key(1)


SOURCE = """
@mark.parametrize("n", [1])
def test(n):
    '''Ask.'''
    assert ask(n)
"""


def hash_of(source: str) -> str:
    """Return the hash of the test that *source* defines."""
    name = f"<source {hash(source)}>"
    linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name
    scope: dict[str, Any] = {"pytest": pytest, "mark": pytest.mark}
    exec(compile(source, name, "exec"), scope)  # noqa: S102
    return body_hash(SimpleNamespace(obj=scope["test"]))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    assert ask(n)", "\n    assert  ask( n )  # why"),
        ("def test", "@pytest.mark.perf_budget(p95=1)\ndef test"),
        ("def test", "@mark.perf(rounds=3)\ndef test"),
    ],
)
def test_layout_comments_and_budgets_do_not_change_the_body(old: str, new: str) -> None:
    assert hash_of(SOURCE.replace(old, new)) == hash_of(SOURCE)
    assert len(hash_of(SOURCE)) == 16


@pytest.mark.parametrize(
    ("old", "new"),
    [("ask(n)", "ask(n + 1)"), ("[1]", "[2]"), ("def test", "async def test"), ("(n):", "(n=0):")],
)
def test_what_a_test_does_and_its_input_change_the_body(old: str, new: str) -> None:
    assert hash_of(SOURCE.replace(old, new)) != hash_of(SOURCE)


@pytest.mark.parametrize("item", [object(), SimpleNamespace(obj=len), SimpleNamespace(obj=None)])
def test_test_without_source_has_no_hash(item: object) -> None:
    assert body_hash(item) == ""
