"""Whatever cannot be meant: one clear sentence, exit status 4, and no test runs."""

import os
from collections.abc import Callable

import pytest

from tests.plugin.conftest import Project, shown


def refusal(project: Project, *args: str) -> str:
    """Run a project whose test leaves a file; return the one sentence that refuses to run it."""
    if not (project.path / "test_it.py").exists():
        project.tests("""
            @pytest.mark.perf
            def test_x():
                pathlib.Path("ran").touch()
        """)
    result = project.run(*args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert not (project.path / "ran").exists()
    assert not project.last_run.exists()
    text = shown(result)
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    (sentence,) = [line for line in result.errlines if line]
    assert sentence.startswith("ERROR: ")
    return sentence.removeprefix("ERROR: ")


FILES = {
    '[defaults]\nlatncy = "1s"': (
        "defaults.latncy: unknown metric 'latncy'; did you mean 'latency'?"
    ),
    '[tests."*"]\nttft_media = "1s"': (
        "tests.\"*\".ttft_media: unknown statistic of ttft 'media'; did you mean 'mean'?"
    ),
    '[tests."*"]\np101 = "1s"': (
        "tests.\"*\".p101: metric 'p101': expected a percentile above 0 and below 100; the highest"
        " value is latency_max, the lowest latency_min"
    ),
    '[tests."*"]\np0 = "1s"': "tests.\"*\".p0: metric 'p0': expected a percentile above 0 and *",
    '[tests."*"]\nlatency = "2 sec"': (
        "tests.\"*\".latency: '2 sec': unknown unit 'sec'; expected one of ns, us, ms, s, min, h"
    ),
    '[tests."*"]\nlatency = "2m"': (
        "tests.\"*\".latency: '2m': unknown unit 'm' (minutes or milliseconds?); expected min or ms"
    ),
    '[tests."*"]\nlatency = "soon"': (
        "tests.\"*\".latency: 'soon': expected a time such as '200ms' or '1.5 s'"
    ),
    '[tests."*"]\nmemory_peak = 50': (
        'tests."*".memory_peak: 50: a size needs a unit; expected one of B, kB, MB, GB, KiB, MiB,'
        " GiB"
    ),
    '[tests."*"]\nmemory_peak = "50"': "tests.\"*\".memory_peak: '50': a size needs a unit; *",
    '[tests."*"]\nlatency = -1': ('tests."*".latency: -1: expected a finite time of zero or more'),
    '[tests."*"]\nlatency = nan': (
        'tests."*".latency: nan: expected a finite time of zero or more'
    ),
    '[tests."*"]\nlatency = inf': (
        'tests."*".latency: inf: expected a finite time of zero or more'
    ),
    '[tests."*"]\nlatency = true': 'tests."*".latency: True: expected a time such as *',
    '[tests."*"]\nlatency = ["1s"]': "tests.\"*\".latency: *'1s'*: expected a time such as *",
    '[tests."*"]\nthroughput = "<=2/s"': (
        "tests.\"*\".throughput: '<=2/s': throughput takes a lower limit; write >= or no sign at"
        " all"
    ),
    '[tests."*"]\nlatency = ">1s"': (
        "tests.\"*\".latency: '>1s': latency_max takes an upper limit; write <= or no sign at all"
    ),
    '[tests."*"]\nlatency = { warn = "2s", fail = "1s" }': (
        'tests."*".latency: warn 2 s lies beyond fail 1 s; a warning comes first'
    ),
    '[tests."*"]\nlatency = { wran = "2s" }': (
        "tests.\"*\".latency: a table with 'wran'; expected warn, fail, or both"
    ),
    '[tests."*"]\nlatency = "1s"\nmax = "2s"': (
        'tests."*".max: latency_max has a limit in this table already'
    ),
    '[tests."*"]\nmeasure = { round = 3 }': (
        "tests.\"*\".measure: unknown measuring option 'round'; did you mean 'rounds'?"
    ),
    '[tests."*"]\nmeasure = { rounds = 0 }': (
        'tests."*".measure: rounds=0: expected a whole number of 1 or more'
    ),
    '[tests."*"]\nmeasure = 40': (
        'tests."*".measure: got 40, expected a table such as { rounds = 40 }'
    ),
    '[tests."test_it.py::test_x#"]\nlatency = "1s"': (
        'tests."test_it.py::test_x#": the label behind # is empty'
    ),
    '[test."*"]\nlatency = "1s"': "test: unknown key 'test'; did you mean 'tests'?",
    "default = 5": "default: unknown key 'default'; did you mean 'defaults'?",
    "defaults = 5": "defaults: got 5, expected a table",
    '[tests]\n"*" = 5': 'tests."*": got 5, expected a table',
    "[environments.ci]\nscales = 5": (
        "environments.ci.scales: unknown key 'scales'; did you mean 'scale'?"
    ),
    "[environments.ci]\nscale = { latncy = 1.5 }": (
        "environments.ci.scale.latncy: unknown quantity 'latncy'; did you mean 'latency'?"
    ),
    "[environments.ci]\nscale = { latency = -1 }": (
        "environments.ci.scale.latency: -1: expected a finite factor of zero or more"
    ),
    '[environments.ci.defaults]\nlatency = "2 sec"': (
        "environments.ci.defaults.latency: '2 sec': unknown unit 'sec'; *"
    ),
    '[prices."m"]\ninput = 2.5': ('prices."m": expected input and output, in $ per million tokens'),
    '[regression]\ntolerance = "-5%"': (
        "regression.tolerance: '-5%': expected a finite share of zero or more"
    ),
    '[regression]\ntolrance = "5%"': (
        "regression.tolrance: unknown key 'tolrance'; did you mean 'tolerance'?"
    ),
}


@pytest.mark.parametrize(("content", "sentence"), FILES.items(), ids=range(len(FILES)))
def test_budget_file_is_refused_with_its_key_path_when_it_says(
    project: Project, content: str, sentence: str
) -> None:
    found = refusal(project, project.budgets(content))
    pattern = sentence.replace("[", "[[]")
    pytest.LineMatcher([found]).fnmatch_lines([f"budgets.toml: {pattern}"])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "budgets.toml: version: got nothing, expected 1"),
        ("version = 2", "budgets.toml: version: got 2, expected 1"),
        ("version = true", "budgets.toml: version: got True, expected 1"),
        ('version = "1"', "budgets.toml: version: got '1', expected 1"),
    ],
)
def test_budget_file_of_another_version_is_refused(
    project: Project, content: str, sentence: str
) -> None:
    project.write("budgets.toml", content)
    assert refusal(project, "--perf-budget=budgets.toml") == sentence


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ('version = 1\n[tests."*"]\nlatency = 1s\n', "(at line 3, column 12)"),
        ("version = 1\n[defaults\n", "(at line 2, column 10)"),
        ('version = 1\n[defaults]\np95 = "1s"\np95 = "2s"\n', "(at line 4, column 11)"),
    ],
)
def test_budget_file_that_is_no_toml_is_refused_with_line_and_column(
    project: Project, content: str, where: str
) -> None:
    project.write("budgets.toml", content)
    sentence = refusal(project, "--perf-budget=budgets.toml")
    assert sentence.startswith("budgets.toml: no valid TOML: ")
    assert sentence.endswith(where)


@pytest.mark.parametrize(
    "content",
    ["x = " + "[" * 100_000, "x = " + "9" * 10_000],
    ids=["nested too deeply", "too many digits"],
)
def test_budget_file_that_breaks_the_parser_is_refused(project: Project, content: str) -> None:
    project.write("budgets.toml", f"version = 1\n{content}\n")
    assert refusal(project, "--perf-budget=budgets.toml").startswith("budgets.toml: no valid TOML:")


def no_file(project: Project) -> None:
    """Leave the file missing."""


def folder(project: Project) -> None:
    (project.path / "budgets.toml").mkdir()


def loop(project: Project) -> None:
    (project.path / "budgets.toml").symlink_to("budgets.toml")


def latin(project: Project) -> None:
    (project.path / "budgets.toml").write_bytes(b"version = 1 # \xe9t\xe9")


@pytest.mark.parametrize("make", [no_file, folder, loop, latin])
@pytest.mark.parametrize("is_flag", [True, False], ids=["flag", "ini"])
def test_budget_file_that_cannot_be_read_is_refused_with_the_reason(
    project: Project, make: Callable[[Project], None], is_flag: bool
) -> None:
    make(project)
    if not is_flag:
        project.ini("perf_budget = budgets.toml")
    sentence = refusal(project, *(["--perf-budget=budgets.toml"] if is_flag else []))
    path = project.path / "budgets.toml"
    reasons: dict[Callable[[Project], None], str] = {
        no_file: f"budget file {path}: cannot be read: No such file or directory",
        folder: f"budget file {path}: cannot be read: Is a directory",
        loop: f"budget file {path}: cannot be read: Too many levels of symbolic links",
        latin: f"{path}: no UTF-8 text at byte 14; save it as UTF-8",
    }
    assert sentence == reasons[make]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable for root")
def test_budget_file_without_permission_is_refused(project: Project) -> None:
    file = project.budgets("")
    (project.path / "budgets.toml").chmod(0)
    assert refusal(project, file).endswith("cannot be read: Permission denied")


def test_budget_file_is_refused_before_anything_is_imported(project: Project) -> None:
    project.tests("pathlib.Path('imported').touch()")
    refusal(project, "--perf-budget=budgets.toml")
    assert not (project.path / "imported").exists()


@pytest.mark.parametrize("is_flag", [True, False], ids=["flag", "ini"])
@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (None, "environment 'stage' without a file; give --perf-budget too"),
        ("", "unknown environment of budgets.toml 'stage'; none is defined"),
        (
            "[environments.ci]\n[environments.staging]",
            "unknown environment of budgets.toml 'stage'; did you mean 'staging'?",
        ),
        (
            "[environments.ci]\n[environments.laptop]",
            "unknown environment of budgets.toml 'stage'; expected one of ci, laptop",
        ),
    ],
)
def test_environment_is_refused_when_it_is_unknown(
    project: Project, is_flag: bool, file: str | None, sentence: str
) -> None:
    options = [] if file is None else [project.budgets(file)]
    if is_flag:
        options.append("--perf-env=stage")
    else:
        project.ini("perf_env = stage")
    assert refusal(project, *options) == sentence


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("p95", "expected METRIC=LIMIT, as in --perf-set p95=1s"),
        ("p95=", "'': expected a time such as '200ms' or '1.5 s'"),
        ("latncy=1s", "unknown metric 'latncy'; did you mean 'latency'?"),
        ("p95=2 sec", "'2 sec': unknown unit 'sec'; expected one of ns, us, ms, s, min, h"),
        ("p95=nan", "nan: expected a finite time of zero or more"),
        ("p95=-1", "-1.0: expected a finite time of zero or more"),
        ("memory_peak=50", "50.0: a size needs a unit; expected one of B, kB, *"),
    ],
)
def test_override_is_refused_when_it_is(project: Project, value: str, sentence: str) -> None:
    found = refusal(project, "--perf-set", value)
    pytest.LineMatcher([found]).fnmatch_lines([f"--perf-set {value}: {sentence}"])


MARKERS = {
    "perf_budget(0.2)": (
        'got 0.2; expected a label or keywords, as in perf_budget("retrieve", p95="30ms")'
    ),
    'perf_budget("a", "b", latency="1s")': "got 'a', 'b'; expected a label or keywords, as in *",
    'perf_budget("", latency="1s")': "got ''; expected a label or keywords, as in *",
    'perf_budget("retrieve")': ('no limit given; expected some, as in perf_budget(p95="200ms")'),
    "perf_budget()": 'no limit given; expected some, as in perf_budget(p95="200ms")',
    'perf_budget(latncy="1s")': "latncy: unknown metric 'latncy'; did you mean 'latency'?",
    'perf_budget(p101="1s")': "p101: metric 'p101': expected a percentile above 0 and below 100; *",
    'perf_budget(latency="2 sec")': "latency: '2 sec': unknown unit 'sec'; expected one of *",
    "perf_budget(latency=-1)": "latency: -1: expected a finite time of zero or more",
    'perf_budget(latency=float("nan"))': "latency: nan: expected a finite time of zero or more",
    'perf_budget(latency=float("inf"))': "latency: inf: expected a finite time of zero or more",
    "perf_budget(latency=None)": "latency: None: expected a time such as '200ms' or '1.5 s'",
    "perf_budget(latency=10**400)": "latency: 1000*: expected a finite time of zero or more",
    'perf_budget(latency="1s", max="1s")': "max: latency_max has a limit in this marker already",
    'perf_budget(throughput="<2/s")': "throughput: '<2/s': throughput takes a lower limit; *",
    "perf_budget(memory_peak=50)": "memory_peak: 50: a size needs a unit; expected one of *",
    'perf_budget(latency={"wran": 1})': "latency: a table with 'wran'; expected warn, fail, *",
    'perf_budget(latency={"warn": 2, "fail": 1})': "latency: warn 2 s lies beyond fail 1 s; *",
    "perf(20)": "got 20; expected keywords, as in perf(rounds=20)",
    "perf(round=20)": "unknown measuring option 'round'; did you mean 'rounds'?",
    "perf(rounds=0)": "rounds=0: expected a whole number of 1 or more",
    "perf(rounds=2.5)": "rounds=2.5: expected a whole number of 1 or more",
    "perf(rounds=True)": "rounds=True: expected a whole number of 1 or more",
    "perf(warmup=-1)": "warmup=-1: expected a whole number of 0 or more",
    'perf(max_time="2 sec")': "'2 sec': unknown unit 'sec'; expected one of *",
    "perf(max_cost=-1)": "-1: expected a finite amount of money of zero or more",
}


@pytest.mark.parametrize(("marker", "sentence"), MARKERS.items(), ids=MARKERS)
def test_marker_is_refused_with_its_place_when_it_is(
    project: Project, marker: str, sentence: str
) -> None:
    project.tests(f"""
        @pytest.mark.{marker}
        def test_x(perf_timer):
            pathlib.Path("ran").touch()
        def test_y():
            pathlib.Path("ran").touch()
    """)
    found = refusal(project)
    name = marker.partition("(")[0]
    place = f"marker on test_it.py::test_x: @pytest.mark.{name}: "
    pytest.LineMatcher([found]).fnmatch_lines([place + sentence])


def test_option_that_is_no_option_is_refused_by_pytest(project: Project) -> None:
    project.tests("def test_x(): pass")
    assert project.run("--perf-bugdet=x").ret == pytest.ExitCode.USAGE_ERROR
