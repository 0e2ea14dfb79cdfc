"""Tests of the page as text: what is on it, and that no text becomes anything else."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_agentperf.core.units import Unit
from pytest_agentperf.report.html import html_page
from pytest_agentperf.report.record import CurveRecord, MeasurementRecord, PerfRecord, VerdictRecord
from pytest_agentperf.report.run import Run
from tests.report.pages import HOSTILE, big_run, full_record, full_run, hostile_run
from tests.report.samples import check_golden

VOID: Final = frozenset({"meta", "path", "rect", "circle"})
# Every character, lone surrogates and controls included.
ANYTHING: Final = st.text(st.characters(exclude_categories=()), min_size=1, max_size=30)
# A unit that the page knows shapes the axis of a curve.
UNITS: Final = {unit.symbol for unit in Unit} | {"B/s"}
PAGE: Final = html_page(full_run())


class Structure(HTMLParser):
    """The elements of a page with the names of their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def measured(name: str, status: str | None = None, sentence: str = "") -> PerfRecord:
    """Return the record of a test with one number and perhaps a verdict."""
    numbers = {"latency_p50": 0.5, "latency_p95": 0.9}
    found = MeasurementRecord(None, "ask", 20, 0, numbers, {}, [])
    if not status:
        return PerfRecord(f"t.py::{name}", [found], [], 0)
    verdict = VerdictRecord(status, "latency_p95", None, 0.9, 1.0, None, "file", sentence)
    return PerfRecord(f"t.py::{name}", [found], [verdict], 0)


# Hostile text


@settings(max_examples=60)
@given(ANYTHING.filter(lambda text: text not in UNITS))
def test_structure_of_the_page_does_not_depend_on_its_texts(text: str) -> None:
    harmless, hostile = (Structure(html_page(hostile_run(each))) for each in ("x", text))
    assert hostile.elements == harmless.elements


@given(ANYTHING)
def test_page_can_be_encoded_and_holds_no_control_characters(text: str) -> None:
    page = html_page(hostile_run(text))
    page.encode("utf-8")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)


def test_page_has_no_attribute_that_runs_or_loads_something() -> None:
    for page in (html_page(hostile_run(HOSTILE)), PAGE):
        found = Structure(page).attributes
        names = {name for name, _ in found}
        assert not {name for name in names if name.startswith("on")} | names & {"src", "style"}
        links = [value for name, value in found if name == "href"]
        assert all(re.match(r"#t\d+$|file:///|[\w%.…]+", link) for link in links)
        assert not any(":" in link.removeprefix("file://") for link in links)


def test_id_of_100_kb_is_cut() -> None:
    page = html_page(Run([measured("x" * 100_000, "failed", "y" * 100_000)]))
    assert len(page) < 40_000
    assert "(100000 characters)" in page


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=8))
def test_numbers_of_any_size_are_drawn(numbers: list[float]) -> None:
    first, *_ = numbers
    ascending = tuple(sorted(numbers))
    (measurement,) = full_record("t").measurements
    assert measurement.detail is not None
    found = measurement._replace(
        metrics={"latency_p50": first, "latency_p95": first},
        curves={"level": CurveRecord("seconds", "B", [*zip(ascending, numbers, strict=True)])},
        detail=replace(
            measurement.detail, quantiles={"latency": ascending, "tokens_per_call": ascending}
        ),
    )
    bounds = (first, abs(first), abs(first), "", "", first, abs(first))
    verdicts = [VerdictRecord("failed", "latency_p95", None, *bounds)]
    assert (
        "nan" not in html_page(Run([PerfRecord("t", [found], verdicts, 0)])).partition("<main>")[2]
    )


# What is on it


def test_page_is_the_golden_one() -> None:
    record = full_record("t.py::test_x", 12, is_failed=True)
    page = html_page(Run([record], created="2026-11-21T15:00:00+00:00", environment="a processor"))
    _, _, body = page.partition("</head>")
    body, _, _ = body.partition("<script>")
    check_golden("page.html", body.replace("><", ">\n<"))


def test_policy_allows_the_style_and_the_script_by_hash_and_nothing_else() -> None:
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', PAGE)
    hashes = {
        tag: base64.b64encode(
            hashlib.sha256(
                re.findall(f"<{tag}>(.*?)</{tag}>", PAGE, re.DOTALL)[0].encode()
            ).digest()
        ).decode()
        for tag in ("style", "script")
    }
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{hashes['style']}';"
        f" script-src 'sha256-{hashes['script']}'; base-uri 'none'; form-action 'none'"
    )


def test_elements_are_closed_in_order() -> None:
    stack: list[str] = []
    optional = {"td", "th", "tr"}
    for closing, tag, empty in re.findall(r"<(/?)(\w+)[^>]*?(/?)>", PAGE.replace(" > ", "")):
        if tag in VOID or empty or tag in optional:
            continue
        if not closing:
            stack.append(tag)
        else:
            assert stack.pop() == tag
    assert stack == []


@pytest.mark.parametrize(
    ("records", "headline"),
    [
        ([], "0 measurements without a budget"),
        ([measured("a")], "1 measurement without a budget"),
        ([measured("a", "passed")], "1 budget kept"),
        ([measured("a", "failed"), measured("b", "passed")], "1 of 2 budgets exceeded"),
    ],
)
def test_headline_says_what_happened(records: list[PerfRecord], headline: str) -> None:
    assert f"<h1>{headline}</h1>" in html_page(Run(records))


def test_run_of_nothing_has_no_table() -> None:
    assert "<table" not in html_page(Run([]))


def test_passed_sections_are_folded_where_there_are_many() -> None:
    few = html_page(Run([measured(f"t{nth}", "passed") for nth in range(25)]))
    many = html_page(
        Run([*(measured(f"t{nth}", "passed") for nth in range(25)), measured("bad", "failed")])
    )
    assert few.count('class="test" id="t') == few.count(" open><summary>") == 25
    assert many.count(" open><summary>") == 1


def test_sections_without_data_have_no_figures() -> None:
    found = measured("a").measurements[0]._replace(metrics={"hit_rate": 0.5})
    page = html_page(Run([PerfRecord("t.py::a", [found], [], 0)]))
    assert "<figure" not in page
    assert "hit rate <b>50 %</b>" in page


@pytest.mark.parametrize(
    "part",
    [
        "<figcaption>Latency <small>median",
        "<figcaption>Time to first item ",
        "<figcaption>Time between items ",
        "<figcaption>Per call",
        "<figcaption>Spans of the median call, ",
        "<figcaption>Spans of the slowest call, ",
        "<figcaption>Cache lookups ",
        "<figcaption>Event loop blocked ",
        "; dashed: the baseline",
        "a.py:1 in f\nx</pre>",
        'href="file:///home/a%20b/c.prof"',
        "<li>search × 3 ran one after the other",
        "cost per call unknown: no price",
        "not measured: t.py::test_crash",
        "measured beside loop watch",
        "+11.0 %",
    ],
)
def test_part_is_on_the_page(part: str) -> None:
    assert part in PAGE


def test_finding_that_a_verdict_tells_is_not_told_again() -> None:
    record = measured("a", "failed", "p95 was 2 s: search ran in turn (20 calls)")
    found = record.measurements[0]._replace(findings=["search ran in turn", "another"])
    page = html_page(Run([record._replace(measurements=[found])]))
    assert "<li>another</li>" in page
    assert "<li>search ran in turn</li>" not in page


def test_percentiles_are_drawn_where_nothing_else_is_known() -> None:
    numbers = {"latency_min": 0.1, "latency_p50": 0.2, "latency_p95": 0.4, "latency_max": 0.5}
    found = measured("a").measurements[0]._replace(metrics=numbers)
    assert "<figcaption>Latency" in html_page(Run([PerfRecord("t.py::a", [found], [], 0)]))


def test_status_of_a_later_release_is_no_class() -> None:
    run = Run([each._replace(verdicts=each.verdicts[:1]) for each in full_run().records])
    assert "no-such" not in html_page(run)


def test_twenty_tests_of_a_thousand_calls_fit_into_a_megabyte() -> None:
    assert len(html_page(big_run(20)).encode()) <= 1_000_000
