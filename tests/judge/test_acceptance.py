"""Tests of accepted findings."""

import pytest

from pytest_agentperf.core.errors import BudgetError
from pytest_agentperf.core.finding import Finding, Place
from pytest_agentperf.judge.acceptance import Acceptances
from pytest_agentperf.judge.budgetreader import parse_budget_file

BLOCKING = Finding("blocking", "blocked", Place("src/agent.py", 4, "Agent.load", "read()"))
TEXT = """
version = 1
[accept.blocking]
"src/agent.py::Agent.load" = "reads 2 kB, once"
[accept.leaked_fd]
"::socket*" = "the client lives as long as the process"
[environments.ci.accept.blocking]
"**/agent.py::*" = "the runner's disk is slow"
"""


def acceptances(environment: str | None = None, text: str = TEXT) -> Acceptances:
    return Acceptances(parse_budget_file(text, "b.toml").accepted(environment))


def test_finding_of_the_stated_cause_file_and_function_is_covered() -> None:
    assert acceptances().cover(BLOCKING)


@pytest.mark.parametrize(
    "other",
    [
        Finding("contention", "", BLOCKING.place),
        Finding("blocking", "", Place("src/agent.py", 4, "Agent.ask")),
        Finding("blocking", "", Place("agent.py", 4, "Agent.load")),
        Finding("blocking", ""),
    ],
)
def test_finding_of_another_cause_file_or_function_is_not_covered(other: Finding) -> None:
    assert not acceptances().cover(other)


def test_finding_without_a_line_is_covered_by_its_name() -> None:
    assert acceptances().cover(Finding("leaked_fd", "", name="socket to 127.0.0.1:80"))
    assert not acceptances().cover(Finding("leaked_fd", "", name="file /tmp/x"))


def test_environment_adds_what_it_accepts() -> None:
    other = Finding("blocking", "", Place("lib/agent.py", 4, "Agent.ask"))
    assert not acceptances().cover(other)
    assert acceptances("ci").cover(other)


def test_path_of_windows_is_met_by_slashes() -> None:
    place = Place("src\\agent.py", 4, "Agent.load")
    assert acceptances().cover(Finding("blocking", "", place))


def test_unused_ones_are_told_with_their_place_and_reason() -> None:
    accepted = acceptances()
    accepted.cover(BLOCKING)
    (sentence,) = accepted.unused()
    assert sentence == (
        'b.toml: accept.leaked_fd."::socket*": nothing of the kind was found; remove it'
        " (the client lives as long as the process)"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[accept.blockin]\n"a::b" = "c"', "accept.blockin: unknown key 'blockin'; did you mean"),
        ('[accept]\nblocking = "a"', "accept.\"blocking\": got 'a', expected a table"),
        ('[accept.blocking]\n"a.py" = "c"', "accept.blocking.\"a.py\": got 'c'; expected a file,"),
        ('[accept.blocking]\n"a::b" = " "', "accept.blocking.\"a::b\": got ' '; expected a file,"),
        ('[accept.blocking]\n"a::b" = 1', 'accept.blocking."a::b": got 1; expected a file,'),
    ],
)
def test_entry_that_cannot_be_meant_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(BudgetError) as caught:
        acceptances(text="version = 1\n" + text)
    assert str(caught.value).startswith(f"b.toml: {sentence}")
