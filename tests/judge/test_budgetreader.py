"""Tests of the budget file."""

from pathlib import Path

import pytest

from pytest_agentperf.core.effort import Effort
from pytest_agentperf.core.errors import BudgetError, FileFormatError
from pytest_agentperf.core.usage import Price
from pytest_agentperf.judge.budgetfile import BudgetFile
from pytest_agentperf.judge.budgetreader import parse_budget_file, read_budget_file
from pytest_agentperf.judge.limits import Layer, merge_layers, parse_limit

# The example of the design, section 4.
EXAMPLE = """\
version = 1
[defaults]                               # every measured test, where it applies
latency = "10s"
error_rate = "1%"
[markers.slow]
latency = "60s"
[tests."tests/agents/test_weather.py::*"]
p95 = { warn = "500ms", fail = "1s" }
ttft_p95 = "200ms"
tokens_per_call = "1.5k"
measure = { rounds = 40, max_time = "2min" }
[tests."tests/agents/test_rag.py::test_pipeline#retrieve"]     # #label, after the last ]
p95 = "30ms"
[tests."tests/load/*"]
throughput = "50/s"
p95 = "off"                              # switch an inherited limit off
[regression]
tolerance = "5%"
noise_floor = "20us"
[environments.ci]                        # --perf-env ci; the default when $CI is set
scale = { latency = 1.5 }
[environments.ci.tests."tests/load/*"]
throughput = "30/s"
[prices."gpt-4o"]                        # $ per million tokens; or the extra [cost]
input = 2.5
output = 10.0
"""


def parse(text: str) -> BudgetFile:
    return parse_budget_file("version = 1\n" + text, "budgets.toml")


def errors(text: str) -> list[str]:
    """Return the sentences that a file with content *text* is refused with."""
    with pytest.raises(BudgetError) as caught:
        parse_budget_file(text, "b.toml")
    return str(caught.value).splitlines()


def resolve(
    budget: BudgetFile,
    nodeid: str,
    *markers: Layer,
    marked: str = "",
    environment: str | None = None,
    label: str | None = None,
) -> dict[str, tuple[float | None, str]]:
    """Return limit and source by metric, as they hold for a test."""
    layers = budget.layers(nodeid, lambda name: name == marked, markers, environment)
    limits = merge_layers(layers).of(label)
    return {limit.metric.name: (limit.fail, limit.source) for limit in limits}


def marker(text: str) -> Layer:
    name, limit = parse_limit("p95", text, "marker", is_stated=True)
    return Layer({name: limit})


def test_example_of_the_design_is_read_whole() -> None:
    budget = parse_budget_file(EXAMPLE, "budgets.toml")
    tables = budget.tables
    assert budget.name == "budgets.toml"
    assert list(tables.defaults.limits) == ["latency_max", "error_rate"]
    assert list(tables.markers) == ["slow"]
    assert [pattern.text for pattern, _ in tables.tests] == [
        "tests/load/*",
        "tests/agents/test_weather.py::*",
        "tests/agents/test_rag.py::test_pipeline#retrieve",
    ]
    assert tables.scale == {}
    assert budget.tables.regression == {"tolerance": 0.05, "noise_floor": 2e-5}
    assert budget.prices("ci") == {"gpt-4o": Price(2.5, 10.0)}
    assert list(budget.environments) == ["ci"]
    assert budget.environments["ci"].scale == {"latency": 1.5}


def test_example_of_the_design_holds_for_a_test_with_a_glob() -> None:
    budget = parse_budget_file(EXAMPLE, "budgets.toml")
    nodeid = "tests/agents/test_weather.py::test_x"
    stated = 'budgets.toml: tests."tests/agents/test_weather.py::*".'
    assert resolve(budget, nodeid) == {
        "latency_max": (10.0, "budgets.toml: defaults.latency"),
        "error_rate": (0.01, "budgets.toml: defaults.error_rate"),
        "latency_p95": (1.0, stated + "p95"),
        "ttft_p95": (0.2, stated + "ttft_p95"),
        "tokens_per_call": (1500.0, stated + "tokens_per_call"),
    }
    layers = list(budget.layers(nodeid, lambda _: False, (), None))
    assert merge_layers(layers).effort == Effort(rounds=40, max_time=120.0)
    limits = {limit.metric.name: limit for limit in merge_layers(layers).of(None)}
    assert limits["latency_p95"].warn == 0.5
    assert limits["latency_p95"].is_stated
    assert not limits["latency_max"].is_stated


def test_example_of_the_design_holds_for_a_label() -> None:
    budget = parse_budget_file(EXAMPLE, "budgets.toml")
    nodeid = "tests/agents/test_rag.py::test_pipeline"
    assert "latency_p95" not in resolve(budget, nodeid)
    assert resolve(budget, nodeid, label="retrieve")["latency_p95"][0] == 0.03


def test_example_of_the_design_is_stricter_or_looser_in_an_environment() -> None:
    budget = parse_budget_file(EXAMPLE, "budgets.toml")
    found = resolve(budget, "tests/load/test_a.py::t", marker("1s"), environment="ci")
    assert found == {
        "latency_max": (15.0, "budgets.toml: defaults.latency × 1.5"),
        "error_rate": (0.01, "budgets.toml: defaults.error_rate"),
        "throughput": (30.0, 'budgets.toml: environments.ci.tests."tests/load/*".throughput'),
        "latency_p95": (1.5, "marker × 1.5"),
    }


LAYERS = (
    ("defaults", "1s"),
    ("markers.slow", "2s"),
    ('tests."a/**"', "3s"),
    ('tests."a/b.py::*"', "4s"),
    ("the marker", "5s"),
    ('tests."a/b.py::test_x"', "6s"),
    ("environments.ci.defaults", "7s"),
    ("environments.ci.markers.slow", "8s"),
    ('environments.ci.tests."a/**"', "9s"),
    ('environments.ci.tests."a/b.py::test_x"', "10s"),
)


@pytest.mark.parametrize("used", range(1, len(LAYERS) + 1))
def test_later_of_the_first_layers_wins(used: int) -> None:
    # Written in reverse: the order in the file says nothing.
    present = LAYERS[:used]
    text = "".join(f'[{name}]\np95 = "{p95}"\n' for name, p95 in present[::-1] if " " not in name)
    budget = parse(text + ("" if used > 6 else "[environments.ci]\n"))
    markers = [marker(p95) for name, p95 in present if name == "the marker"]
    found = resolve(budget, "a/b.py::test_x", *markers, marked="slow", environment="ci")
    assert found["latency_p95"][0] == used


def test_markers_of_other_tests_do_not_hold() -> None:
    budget = parse('[markers.slow]\np95 = "1s"\n')
    assert resolve(budget, "a.py::t", marked="fast") == {}


def test_limits_of_patterns_are_stated_for_a_test_and_others_inherited() -> None:
    tables = "[{0}defaults]\np95 = 1\n[{0}markers.m]\nmean = 1\n[{0}tests.t]\nmax = 1\n"
    budget = parse(tables.format("") + tables.format("environments.ci."))
    for environment in (None, "ci"):
        layers = budget.layers("t", lambda _: True, (), environment)
        stated = {limit.metric.name: limit.is_stated for limit in merge_layers(layers).of(None)}
        assert stated == {"latency_p95": False, "latency_mean": False, "latency_max": True}


def test_environment_that_is_not_chosen_does_not_hold() -> None:
    budget = parse("[environments.ci]\nscale = { latency = 2 }\n[environments.ci.defaults]\np95=1")
    assert resolve(budget, "a.py::t") == {}


def test_scale_of_an_environment_leaves_its_own_tables_as_they_are() -> None:
    budget = parse(
        "[defaults]\np95 = 1\nmean = 1\n"
        "[environments.ci]\nscale = { latency = 2 }\n[environments.ci.defaults]\np95 = 3\n"
    )
    found = resolve(budget, "a.py::t", environment="ci")
    assert {name: fail for name, (fail, _) in found.items()} == {
        "latency_p95": 3.0,
        "latency_mean": 2.0,
    }


def test_more_specific_pattern_wins_wherever_it_stands() -> None:
    budget = parse('[tests."a/test_x*"]\np95 = 1\n[tests."a/*"]\np95 = 2\n')
    assert resolve(budget, "a/test_x.py::t")["latency_p95"][0] == 1
    assert resolve(budget, "a/test_y.py::t")["latency_p95"][0] == 2


@pytest.mark.parametrize(("first", "second"), [("a?.py", "?b.py"), ("?b.py", "a?.py")])
def test_tie_of_specific_patterns_goes_to_the_later_in_the_file(first: str, second: str) -> None:
    budget = parse(f'[tests."{first}"]\np95 = 1\n[tests."{second}"]\np95 = 2\n')
    assert resolve(budget, "ab.py::t")["latency_p95"][0] == 2


def test_pattern_with_a_label_has_its_limits_for_the_label_alone() -> None:
    budget = parse('[tests."a.py::t[x#y]#z"]\np95 = 1\n')
    assert resolve(budget, "a.py::t[x#y]") == {}
    assert resolve(budget, "a.py::t[x#y]", label="z")["latency_p95"][0] == 1


def test_patterns_are_those_that_are_meant_to_match() -> None:
    budget = parse(
        '[tests."a"]\np95=1\n[environments.ci.tests."b"]\np95=1\n[environments.x.tests."c"]\np95=1'
    )
    assert [pattern.text for pattern in budget.patterns(None)] == ["a"]
    assert [pattern.text for pattern in budget.patterns("ci")] == ["a", "b"]


def test_file_of_a_version_alone_holds_nothing() -> None:
    budget = parse("")
    assert resolve(budget, "a.py::t") == {}
    assert (budget.environments, budget.prices(None), budget.tables.regression) == ({}, {}, {})


def test_price_of_cached_tokens_is_read() -> None:
    budget = parse('[prices.m]\ninput = "$2.5"\noutput = 10\ncached_input = 1.25\n')
    assert budget.prices(None) == {"m": Price(2.5, 10.0, 1.25)}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        # Names
        ('defaults = { latncy = "1s" }', "defaults.latncy: unknown metric 'latncy'; did you mean"),
        (
            'defaults = { ttft_p9x = "1s" }',
            "defaults.ttft_p9x: unknown statistic of ttft 'p9x'; did you mean 'p99'?",
        ),
        (
            'markers.slow = { p101 = "1s" }',
            "markers.slow.p101: metric 'p101': expected a percentile above 0 and below 100;",
        ),
        ("[test.x]", "test: unknown key 'test'; did you mean 'tests'?"),
        (
            "scale = {}",
            "scale: unknown key 'scale'; expected one of accept, defaults, environments, ",
        ),
        ("[environments.ci.test.x]", "environments.ci.test: unknown key 'test'; did you mean 't"),
        (
            "[environments.ci.scale]\nlatncy = 2",
            "environments.ci.scale.latncy: unknown quantity 'latncy'; did you mean 'latency'?",
        ),
        (
            "[regression]\ntolerence = 1",
            "regression.tolerence: unknown key 'tolerence'; did you mean 'tolerance'?",
        ),
        (
            "[prices.m]\ninput = 1\noutput = 2\ncached = 3",
            """prices."m".cached: unknown key 'cached'; did you mean 'cached_input'?""",
        ),
        (
            "defaults.measure = { round = 5 }",
            "defaults.measure: unknown measuring option 'round'; did you mean 'rounds'?",
        ),
        # Values
        (
            '[tests."t.py::*"]\np95 = "2 sec"',
            """tests."t.py::*".p95: '2 sec': unknown unit 'sec'; expected one of ns, us, ms,""",
        ),
        (
            'defaults.p95 = ">= 200ms"',
            "defaults.p95: '>= 200ms': latency_p95 takes an upper limit; write <= or no sign",
        ),
        (
            "defaults.memory_peak = 5",
            "defaults.memory_peak: 5: a size needs a unit; expected one of B, kB, MB, GB, KiB,",
        ),
        ("defaults.p95 = -1", "defaults.p95: -1: expected a finite time of zero or more"),
        ("defaults.p95 = nan", "defaults.p95: nan: expected a finite time of zero or more"),
        ("defaults.p95 = inf", "defaults.p95: inf: expected a finite time of zero or more"),
        ("defaults.p95 = true", "defaults.p95: True: expected a time such as '200ms' or '1.5 s'"),
        ("defaults.p95 = []", "defaults.p95: []: expected a time such as '200ms' or '1.5 s'"),
        ("defaults.p95 = 2020-01-01", "defaults.p95: datetime.date(2020, 1, 1): expected a time"),
        (
            "defaults.p95 = { warn = 2, fail = 1 }",
            "defaults.p95: warn 2 s lies beyond fail 1 s; a warning comes first",
        ),
        (
            "defaults.p95 = { wran = 2 }",
            "defaults.p95: a table with 'wran'; expected warn, fail, or both",
        ),
        (
            "defaults = { p95 = 1, latency_p95 = 2 }",
            "defaults.latency_p95: latency_p95 has a limit in this table already",
        ),
        (
            "[environments.ci.scale]\nlatency = -1",
            "environments.ci.scale.latency: -1: expected a finite factor of zero or more",
        ),
        (
            '[regression]\ntolerance = "5 s"',
            "regression.tolerance: '5 s': unknown unit 's'; expected one of %",
        ),
        (
            "[prices.m]\ninput = 1",
            """prices."m": expected input and output, in $ per million tokens""",
        ),
        (
            "[prices.m]\ninput = 1\noutput = -1",
            """prices."m": -1: expected a finite amount of money of zero or more""",
        ),
        ("defaults.measure = { rounds = 0 }", "defaults.measure: rounds=0: expected a whole num"),
        # Tables
        ("defaults = 5", "defaults: got 5, expected a table"),
        ("tests = []", "tests: got [], expected a table"),
        ("tests.x = 5", 'tests."x": got 5, expected a table'),
        ("markers.slow = 5", 'markers."slow": got 5, expected a table'),
        ("environments.ci = 5", 'environments."ci": got 5, expected a table'),
        ("environments.ci.scale = 2", "environments.ci.scale: got 2, expected a table"),
        ("environments.ci.tests.x = 5", 'environments.ci.tests."x": got 5, expected a table'),
        ("prices.m = 5", 'prices."m": got 5, expected a table'),
        ("regression = 5", "regression: got 5, expected a table"),
        (
            "defaults.measure = 5",
            "defaults.measure: got 5, expected a table such as { rounds = 40 }",
        ),
        # Labels
        ('[tests."t.py::t#"]', """tests."t.py::t#": the label behind # is empty"""),
        (
            '[environments.ci.tests."t.py::t#"]',
            """environments.ci.tests."t.py::t#": the label behind # is empty""",
        ),
    ],
)
def test_file_that_cannot_be_meant_is_refused_with_its_place(text: str, sentence: str) -> None:
    (found,) = errors("version = 1\n" + text)
    assert found.startswith(f"b.toml: {sentence}")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "b.toml: version: got nothing, expected 1"),
        ("version = 2", "b.toml: version: got 2, expected 1"),
        ("version = '1'", "b.toml: version: got '1', expected 1"),
        ("version = true", "b.toml: version: got True, expected 1"),
    ],
)
def test_file_of_another_version_is_refused(text: str, sentence: str) -> None:
    assert errors(text) == [sentence]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("version = 1\n[defaults\n", "(at line 2, column 10)"),
        ("version = 1\nversion = 1\n", "(at line 2, column 12)"),
        ('[tests."a"]\n[tests."a"]\n', "(at line 2, column 11)"),
        ("a = \x00", "(at line 1, column 5)"),
    ],
)
def test_file_that_is_no_toml_is_refused_with_line_and_column(text: str, place: str) -> None:
    (found,) = errors(text)
    assert found.startswith("b.toml: no valid TOML: ")
    assert found.endswith(place)


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 100_000, "a = " + "1" * 5000], ids=["nested", "long number"]
)
def test_file_that_breaks_the_parser_is_refused(text: str) -> None:
    (found,) = errors(text)
    assert found.startswith("b.toml: no valid TOML: ")


def test_all_errors_of_a_file_are_listed() -> None:
    found = errors(
        """
        version = 2
        unknown = 1
        [defaults]
        latncy = 1
        p95 = "2 sec"
        [environments.ci.markers.slow]
        p101 = 1
        """
    )
    assert sorted(line.split(": ")[1] for line in found) == [
        "defaults.latncy",
        "defaults.p95",
        "environments.ci.markers.slow.p101",
        "unknown",
        "version",
    ]


def test_file_is_read_under_its_own_name_or_another(tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    path.write_text("version = 1\n[defaults]\np95 = 1\n", encoding="utf-8")
    assert read_budget_file(path).name == "b.toml"
    budget = read_budget_file(path, "x/b.toml")
    assert resolve(budget, "t")["latency_p95"] == (1.0, "x/b.toml: defaults.p95")


def test_file_with_windows_line_ends_is_read(tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    path.write_bytes(b"version = 1\r\n[defaults]\r\np95 = 1\r\n")
    assert resolve(read_budget_file(path), "t")["latency_p95"][0] == 1


def test_file_that_is_missing_or_no_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_budget_file(tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff")
    with pytest.raises(FileFormatError, match="no UTF-8 text at byte 0"):
        read_budget_file(tmp_path / "b.toml")


def test_prices_of_an_environment_win_over_those_of_the_top_level() -> None:
    budget = parse(
        "[prices.m]\ninput = 1\noutput = 2\n[prices.n]\ninput = 1\noutput = 2\n"
        "[environments.ci.prices.m]\ninput = 3\noutput = 4\n"
        "[environments.ci.regression]\ntolerance = '10%'\n"
    )
    assert budget.prices("ci") == {"m": Price(3.0, 4.0), "n": Price(1.0, 2.0)}
    assert budget.prices(None) == {"m": Price(1.0, 2.0), "n": Price(1.0, 2.0)}
    assert budget.environments["ci"].regression == {"tolerance": 0.1}


def test_version_too_long_to_print_is_refused() -> None:
    with pytest.raises(BudgetError, match="version: got another, expected 1"):
        parse_budget_file("version = 0x" + "f" * 5000, "budgets.toml")
