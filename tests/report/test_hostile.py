"""Nothing breaks out: every writer, with texts from outside in every place that takes one."""

import json
import re
import unicodedata
from collections.abc import Callable

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from pytest_agentperf.report.bencher import bencher_metrics
from pytest_agentperf.report.escape import markdown_text
from pytest_agentperf.report.gate import comparison_lines
from pytest_agentperf.report.github import annotations
from pytest_agentperf.report.github_benchmark import bigger_is_better, smaller_is_better
from pytest_agentperf.report.markdown import markdown_report
from pytest_agentperf.report.openmetrics import openmetrics_text
from pytest_agentperf.report.pytest_benchmark import benchmark_report
from pytest_agentperf.report.record import (
    ComparisonRecord,
    CurveRecord,
    MeasurementRecord,
    PerfRecord,
    VerdictRecord,
)
from pytest_agentperf.report.run import Run
from pytest_agentperf.report.runfile import run_text
from pytest_agentperf.report.terminal import summary_lines
from tests.report import schemas
from tests.report.samples import ANYTHING, COUNTS, TIMES

PAYLOADS = (
    *("<script>alert(1)</script>", "]]>", "-->", "</details>", "</code>", "&lt;", "&#60;"),
    *("|", "`", "```\n", "**x**", "_x_", "~~x~~", "[x](http://x.y)", "![x](y)", "<http://x.y>"),
    *("http://x.y", "www.x.y", "a@b.c", "@everyone", "#1", "!1", "$x$", "\\", "\\|", "\n\n# x"),
    *("\n- x", "\r\n::error::x", "::stop-commands::x", "%0A::error::x", ",file=x", ":", ","),
    *('"', "'", '"} 1\n# EOF', "# EOF", "{", "}", "\x1b[31m", "\x1b]0;x\x07", "\x9b31m"),
    *("\u202e", "\u2066", "\u200f", "\u2028", "\x85", "\x00", "\ud800", "\udc80", "é", "🙂", " "),
)
HOSTILE = st.lists(st.sampled_from(PAYLOADS) | ANYTHING, min_size=1, max_size=4).map("".join)
# An item of a list without any text is no paragraph, which is no harm.
FILLED = HOSTILE.filter(str.strip)
STATUSES = ("failed", "undecided", "warned", "passed")


def run_of(text: str) -> Run:
    """Return a run with *text* wherever one comes from outside."""
    label = text or "x"
    name = f"t.py::{text}"
    measured = MeasurementRecord(
        *(label, text, 5, 1, {**TIMES, **COUNTS}, {"ttft": text}, [text], [text], [text]),
        {text: CurveRecord(text, text, [[0, 1], [1, 2]])},
        {text: text},
    )
    verdicts = [
        VerdictRecord(status, metric, label, 1.0, 2.0, 1.0, text, text, 0.5, 1.5)
        for status, metric in zip(STATUSES, (*TIMES, *COUNTS), strict=False)
    ]
    numbers = (1.0, 1.1, 1.1, 1.0, 1.2, 0.01, 5)
    compared = ComparisonRecord(f"{name}#{label}", "regressed", text, text, *numbers)
    return Run(
        [
            PerfRecord(name, [measured], verdicts, 0, 1, {}, [compared]),
            PerfRecord(text, [measured], verdicts[-1:], 0),
        ],
        *(text, text, {text: text}, 1, {name: f"{text}:3"}, [text], [text]),
    )


WRITERS: dict[str, Callable[[Run], str]] = {
    "json": run_text,
    "markdown": markdown_report,
    "openmetrics": openmetrics_text,
    "github": smaller_is_better,
    "github.bigger": bigger_is_better,
    "bencher": bencher_metrics,
    "pytest_benchmark": benchmark_report,
    "annotations": lambda run: "\n".join(annotations(run)),
    "gate": lambda run: "\n".join(
        line.text
        for line in comparison_lines(
            [one for record in run.records for one in record.comparisons], 1
        )
    ),
    "terminal": lambda run: "\n".join(
        line.text for line in summary_lines(run.records, 1, run.lost)
    ),
    "narrow": lambda run: "\n".join(
        line.text for line in summary_lines(run.records, 1, run.lost, width=80, is_unicode=False)
    ),
}


# The examples of each writer add up, and the texts are the same ones.
FEW = settings(max_examples=25)


@pytest.mark.parametrize("name", WRITERS)
@FEW
@given(HOSTILE)
@example("".join(PAYLOADS))
@example("x" * 100_000)
@example("\x1b|`é\n" * 20_000)
def test_no_control_reaches_a_file(name: str, text: str) -> None:
    written = WRITERS[name](run_of(text))
    written.encode()
    odd = {c for c in set(written) - {"\n"} if unicodedata.category(c) in {"Cc", "Zl", "Zp", "Cs"}}
    assert not odd
    assert not set(written) & set(
        "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    )


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("json", schemas.RUN),
        ("github", schemas.GITHUB_BENCHMARK),
        ("github.bigger", schemas.GITHUB_BENCHMARK),
        ("bencher", schemas.BENCHER),
        ("pytest_benchmark", schemas.PYTEST_BENCHMARK),
    ],
)
@FEW
@given(HOSTILE)
@example("".join(PAYLOADS))
@example("x" * 100_000)
def test_json_stays_what_its_reader_demands(name: str, schema: object, text: str) -> None:
    jsonschema.validate(json.loads(WRITERS[name](run_of(text))), schema)


@given(HOSTILE)
def test_run_reads_back(text: str) -> None:
    content = json.loads(run_text(run_of(text)))
    assert Run.from_builtin(content).to_builtin() == run_of(text).to_builtin()


SAMPLE = re.compile(
    r'[a-z_0-9]+\{([a-z]+="([^"\\\n]|\\["\\n])*",)*[a-z]+="([^"\\\n]|\\["\\n])*"\} [-+.e0-9]+'
)


@given(HOSTILE)
@example("".join(PAYLOADS))
def test_openmetrics_has_samples_and_their_heads_alone(text: str) -> None:
    *lines, end, last = openmetrics_text(run_of(text)).split("\n")
    assert (end, last) == ("# EOF", "")
    heads = [line for line in lines if line.startswith("#")]
    assert all(re.fullmatch(r"# (TYPE|UNIT|HELP) agentperf_[a-z_]+ [a-z0-9 ]+", h) for h in heads)
    assert all(SAMPLE.fullmatch(line) for line in lines if line not in heads)


@given(HOSTILE)
@example("".join(PAYLOADS))
def test_openmetrics_is_read_by_the_parser_of_prometheus(text: str) -> None:
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    written = openmetrics_text(run_of(text))
    families = list(parser.text_string_to_metric_families(written))
    samples = [sample for family in families for sample in family.samples]
    assert len(samples) == sum(not line.startswith("#") for line in written.splitlines())


def structure(text: str) -> list[str]:
    """Return what Markdown takes *text* for, but for the words."""

    def walk(tokens: list[Token]) -> list[str]:
        found = []
        for token in tokens:
            if token.type.startswith("html"):
                found.append(f"{token.type} {token.content.strip()}")
            elif not token.type.startswith("text"):
                found.append(token.type)
            found += walk(token.children or [])
        return found

    return walk(MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text))


@given(FILLED)
@example("".join(PAYLOADS))
@example("x" * 100_000)
def test_markdown_takes_texts_for_texts(text: str) -> None:
    assert structure(markdown_report(run_of(text))) == structure(markdown_report(run_of("x")))


@given(HOSTILE)
@example("".join(PAYLOADS))
def test_markdown_has_no_links_mentions_or_references(text: str) -> None:
    written = markdown_text(text)
    assert not re.search(r"://|www\.|@|(?<!&)#(?=\w)|!", written, re.IGNORECASE)
    mentioned = re.findall(r"&#(?:64|33|35);(?!&#8203;)", written)
    assert not mentioned


ANNOTATION = re.compile(
    r"::(error|warning) (file=[^:,\r\n]*,line=\d+,)?title=(failed|regressed|undecided|warned)"
    r"%3A [^:,\r\n]*::[^\r\n]*"
)


@given(HOSTILE)
@example("".join(PAYLOADS))
@example("x" * 100_000)
def test_annotations_are_one_command_a_line(text: str) -> None:
    for line in annotations(run_of(text)):
        assert ANNOTATION.fullmatch(line)
        assert not re.search("%(?!25|3A|2C)", line)
