"""Tests of the files for other programs, each read as its reader does."""

import json
import shlex
from typing import Any

import jsonschema
import pytest

from pytest_agentperf.report.bencher import bencher_metrics
from pytest_agentperf.report.github_benchmark import bigger_is_better, smaller_is_better
from pytest_agentperf.report.openmetrics import openmetrics_text
from pytest_agentperf.report.pytest_benchmark import benchmark_report
from pytest_agentperf.report.record import PerfRecord
from pytest_agentperf.report.run import Run
from pytest_agentperf.report.runfile import run_text
from tests.report import schemas
from tests.report.samples import RUN, TIMES, check_golden, measurement, verdict

FILES = {
    "run.json": run_text,
    "openmetrics.txt": openmetrics_text,
    "github.json": smaller_is_better,
    "github.bigger.json": bigger_is_better,
    "bencher.json": bencher_metrics,
    "pytest_benchmark.json": benchmark_report,
}
SCHEMAS = {
    "run.json": schemas.RUN,
    "github.json": schemas.GITHUB_BENCHMARK,
    "github.bigger.json": schemas.GITHUB_BENCHMARK,
    "bencher.json": schemas.BENCHER,
    "pytest_benchmark.json": schemas.PYTEST_BENCHMARK,
}


def one(metrics: dict[str, float], **fields: Any) -> Run:
    """Return a run of one test that measured *metrics*."""
    measured = measurement(metrics=metrics)._replace(**fields)
    return Run([PerfRecord("t.py::t", [measured], [], 0)])


@pytest.mark.parametrize("name", FILES)
def test_file_is_the_golden_one(name: str) -> None:
    check_golden(name, FILES[name](RUN))


@pytest.mark.parametrize("name", SCHEMAS)
def test_file_is_what_its_reader_demands(name: str) -> None:
    jsonschema.validate(json.loads(FILES[name](RUN)), SCHEMAS[name])


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_refuses_what_its_reader_would(name: str) -> None:
    text = FILES[name](RUN).replace('"value"', '"valued"').replace('"iqr"', '"iqrs"')
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(text.replace('"version": 1', '"version": 2')), SCHEMAS[name])


def test_exports_have_medians_p95_plain_numbers_and_what_has_a_budget() -> None:
    run = Run(
        [
            PerfRecord(
                "t.py::t",
                [measurement(metrics={**TIMES, "tokens_per_call": 3.0})],
                [verdict(metric="latency_p99", value=1.2)],
                0,
            )
        ]
    )
    assert set(json.loads(bencher_metrics(run))["t.py::t"]) == {
        *("latency", "latency-p95", "latency-p99", "tokens-per-call"),
    }


def test_bencher_has_nanoseconds_and_the_bounds_of_a_verdict() -> None:
    judged = verdict()._replace(low=0.88, high=0.951)
    run = Run([PerfRecord("t.py::t", [measurement()], [judged], 0)])
    assert json.loads(bencher_metrics(run))["t.py::t"] == {
        "latency": {"value": 5e8},
        "latency-p95": {"value": 9.12e8, "lower_value": 8.8e8, "upper_value": 9.51e8},
    }
    half = Run([PerfRecord("t.py::t", [measurement()], [judged._replace(high=None)], 0)])
    assert "upper_value" not in json.loads(bencher_metrics(half))["t.py::t"]["latency-p95"]


def test_bencher_leaves_out_what_measured_nothing() -> None:
    assert json.loads(bencher_metrics(one({}))) == {}


def test_bencher_shortens_long_names_so_that_they_stay_different() -> None:
    names = [f"t.py::t[{'é' * 60_000}{end}]" for end in "ab"]
    run = Run([PerfRecord(name, [measurement()], [], 0) for name in names])
    found = json.loads(bencher_metrics(run))
    assert len(found) == 2
    assert all(len(name.encode()) <= 1024 for name in found)
    jsonschema.validate(found, schemas.BENCHER)


def test_github_benchmark_has_one_direction_a_file() -> None:
    run = one({"tokens_per_call": 271.0, "throughput": 2.0, "hit_rate": 0.5, "ttft_p50": 0.25})
    smaller, bigger = (
        {entry["name"]: (entry["value"], entry["unit"]) for entry in json.loads(text)}
        for text in (smaller_is_better(run), bigger_is_better(run))
    )
    assert smaller == {
        "t.py::t: tokens per call": (271.0, ""),
        "t.py::t: p50 ttft": (250.0, "ms"),
    }
    assert bigger == {"t.py::t: throughput": (2.0, "/s"), "t.py::t: hit rate": (50.0, "%")}


def test_github_benchmark_has_no_second_file_where_nothing_is_better_when_bigger() -> None:
    assert bigger_is_better(one({"tokens_per_call": 1.0})) == ""
    assert smaller_is_better(one({"throughput": 1.0})) == "[]\n"


def test_pytest_benchmark_has_the_statistics_of_latencies() -> None:
    (found,) = json.loads(benchmark_report(one(TIMES, calls=40)))["benchmarks"]
    assert found["fullname"] == "t.py::t"
    assert found["name"] == "t"
    assert found["stats"] == {
        "min": 0.4,
        "max": 1.25,
        "mean": 0.55,
        "stddev": 0.125,
        "q1": 0.45,
        "median": 0.5,
        "q3": 0.6,
        "iqr": pytest.approx(0.15),
        "ops": pytest.approx(1.8182, abs=1e-4),
        "rounds": 40,
        "iterations": 1,
        "outliers": "-",
    }


def test_pytest_benchmark_leaves_out_measurements_without_latencies() -> None:
    assert json.loads(benchmark_report(one({"hit_rate": 0.5})))["benchmarks"] == []
    some = {name: value for name, value in TIMES.items() if name != "latency_p75"}
    assert json.loads(benchmark_report(one(some)))["benchmarks"] == []


def test_pytest_benchmark_has_no_infinite_rate() -> None:
    run = one(dict.fromkeys(TIMES, 0.0))
    assert json.loads(benchmark_report(run))["benchmarks"][0]["stats"]["ops"] == 0


def test_openmetrics_reads_back_by_the_parser_of_prometheus() -> None:
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    found = parser.text_string_to_metric_families(openmetrics_text(RUN))
    families = {family.name: family for family in found}
    latency = families["agentperf_latency_seconds"]
    assert (latency.type, latency.unit) == ("gauge", "seconds")
    values = {
        (sample.labels["test"], sample.labels.get("label"), sample.labels["stat"]): sample.value
        for sample in latency.samples
    }
    assert values["t.py::test_open", "plan", "p95"] == 0.91
    assert values["agents/test_b.py::test_answer", None, "p50"] == 0.5
    assert families["agentperf_tokens_per_call"].samples[0].value == 271
    assert families["agentperf_memory_peak_bytes"].samples[0].value == 1.5e6
    assert families["agentperf_hit_rate_ratio"].samples[0].value == 0.5
    totals = {s.labels["status"]: s.value for s in families["agentperf_measurements"].samples}
    assert totals == {"failed": 2, "undecided": 1, "warned": 1, "passed": 2, "measured": 2}


@pytest.mark.parametrize(
    ("metrics", "number"),
    [
        ({"latency_p50": 0.123456}, "0.12"),
        ({"memory_peak": 123456.0}, "1.2e+05"),
        ({"hit_rate": 0.98765}, "0.99"),
        ({"tokens_per_call": 123456.0}, "123456"),
        ({"cost_per_call": 0.0123456}, "0.0123456"),
    ],
)
def test_openmetrics_rounds_what_varies_and_keeps_what_is_counted(
    metrics: dict[str, float], number: str
) -> None:
    samples = [s for s in openmetrics_text(one(metrics)).splitlines() if '"t.py::t"' in s]
    assert [sample.rpartition(" ")[2] for sample in samples] == [number]


def test_openmetrics_is_read_by_gitlab_also_where_an_id_has_a_hash_and_blanks() -> None:
    name = """t.py::t[a #b "c" \\ 'd' | x]"""
    run = Run([PerfRecord(name, [measurement("p l#an", {"latency_p50": 0.5})], [], 0)])
    # gitlab-org/gitlab, ee/lib/gitlab/ci/parsers/metrics/generic.rb: what is behind a "#" goes,
    # the rest is split as a shell does, and the second word is the value.
    lines = [line.partition("#")[0] for line in openmetrics_text(run).splitlines()]
    words = [shlex.split(line) for line in lines if "stat=" in line]
    assert [word[1] for word in words] == ["0.5"]
    assert words[0][0].startswith("agentperf_latency_seconds{test=t.py::t[a %23b ")


def test_run_has_units() -> None:
    units = json.loads(run_text(RUN))["units"]
    assert units["latency_p95"] == "s"
    assert units["memory_peak"] == "B"
    assert units["throughput"] == "/s"
    assert units["cost_per_call"] == "$"
    assert units["tokens_per_call"] == units["hit_rate"] == ""


def test_exports_of_a_run_of_nothing_are_valid() -> None:
    for name, schema in SCHEMAS.items():
        if name != "github.bigger.json":
            jsonschema.validate(json.loads(FILES[name](Run([]))), schema)


@pytest.mark.parametrize(
    "name", ["openmetrics.txt", "github.json", "bencher.json", "pytest_benchmark.json"]
)
def test_exports_have_controls_spelled_out(name: str) -> None:
    run = Run([PerfRecord("t[\x1b\n\u202e]", [measurement(metrics=TIMES)], [], 0)])
    assert r"t[\x1b\x0a\x202e]" in FILES[name](run).replace(r"\\", "\\")
