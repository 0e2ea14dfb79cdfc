"""What a run leaves to read: the terminal, JUnit, and the file of the last run."""

from pathlib import Path

import pytest

from pytest_agentperf import cli
from tests.plugin.conftest import Project, shown

TESTS = """
    def respond():
        return {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}
    @pytest.mark.perf_budget(p95="60s", tokens_per_call=7)
    def test_passed(perf_timer):
        perf_timer(respond)
    def test_measured(perf_timer):
        perf_timer(answer)
    @pytest.mark.perf_budget(tokens_per_call={"warn": 5, "fail": 10})
    def test_warned(perf_timer):
        perf_timer(respond)
    @pytest.mark.perf_budget(tokens_per_call=5)
    def test_undecided(perf_timer):
        perf_timer(answer)
    @pytest.mark.perf_budget(tokens_per_call=6)
    def test_failed(perf_timer):
        perf_timer(respond)
"""
WARNED = (
    "tokens per call was 7, warning from 5 (5 rounds, median 7; marker on test_it.py::test_warned)"
)
UNDECIDED = (
    "tokens per call is unknown: answer returned int, which reports no usage; give"
    " perf_timer.configure(usage=…) (marker on test_it.py::test_undecided)"
)


def section(result: pytest.RunResult) -> list[str]:
    """Return the lines of the section of the plugin."""
    lines = result.outlines
    starts = [i for i, line in enumerate(lines) if " performance " in line]
    if not starts:
        return []
    rest = lines[starts[0] + 1 :]
    ends = [i for i, line in enumerate(rest) if line.startswith("===") or " in " in line]
    return rest[: ends[0]] if ends else rest


def test_terminal_shows_a_line_for_each_measurement_worst_first(project: Project) -> None:
    project.tests(TESTS)
    lines = section(project.run())
    assert [line.split()[0] for line in lines[2:7]] == [
        "failed",
        "undecided",
        "warned",
        "passed",
        "measured",
    ]
    assert lines[7:] == [
        f"[1] {UNDECIDED}",
        f"[2] {WARNED}",
        "5 measurements: 1 failed, 1 undecided, 1 warned, 1 passed, 1 measured without a budget",
    ]
    failed = next(line for line in lines if line.startswith("failed"))
    assert "tokens per call 7 > 6" in failed
    assert failed.endswith("test_it.py::test_failed")


def test_terminal_leaves_out_what_passed_when_quiet_and_keeps_the_rest_with_its_cure(
    project: Project,
) -> None:
    project.tests(TESTS)
    lines = section(project.run("-q"))
    assert [line.split()[0] for line in lines[2:5]] == ["failed", "undecided", "warned"]
    assert lines[5:7] == [f"[1] {UNDECIDED}", f"[2] {WARNED}"]
    assert not [line for line in lines if "test_passed" in line or "test_measured" in line]


def test_terminal_says_nothing_when_quiet_and_all_passed(project: Project) -> None:
    project.tests(TESTS)
    assert section(project.run("-q", "-k", "test_passed or test_measured")) == []


def test_terminal_shows_every_metric_when_verbose(project: Project) -> None:
    project.tests(TESTS)
    text = "\n".join(section(project.run("-v")))
    for name in ("latency_p99", "latency_stddev", "input_tokens_per_call 3", "tokens_per_call 7"):
        assert name in text
    assert "passed: tokens per call was 7, budget 7 (" in text
    assert f"undecided: {UNDECIDED}" in text
    assert "output_tokens_per_call unknown: answer returned int" in text


def test_terminal_shows_nothing_when_nothing_was_measured(project: Project) -> None:
    project.tests("def test_x(): pass")
    assert section(project.run()) == []


HOSTILE = r"""
    IDS = ["\x1b[31mred", "a\nb", "a|b", "<script>alert(1)</script>", "`c`", "\u202egnp"]
    @pytest.mark.parametrize("n", range(len(IDS)), ids=IDS)
    @pytest.mark.perf_budget(latency="1ms")
    def test_x(n):
        nap()
"""


@pytest.mark.parametrize("is_raw", [False, True])
def test_terminal_spells_out_controls_in_ids(project: Project, is_raw: bool) -> None:
    if is_raw:
        project.ini("disable_test_id_escaping_and_forfeit_all_rights_to_community_support = true")
    project.tests(HOSTILE)
    result = project.run("--junitxml=junit.xml")
    result.assert_outcomes(failed=6)
    lines = section(result)
    rows = [line for line in lines if line.startswith("failed ")]
    assert len(rows) == 6
    text = "\n".join(lines)
    assert "\x1b" not in text
    assert "\u202e" not in text
    for part in (r"\x1b[31mred", "a|b", "<script>alert(1)</script>", "`c`"):
        assert f"test_it.py::test_x[{part}]" in text
    failures = [element.attrib["message"] for element in project.junit().iter("failure")]
    assert len(failures) == 6
    assert not [message for message in failures if "\n" in message or "\x1b" in message]


def test_terminal_spells_out_controls_in_labels(project: Project) -> None:
    project.tests(r"""
        def test_x(perf_timer):
            perf_timer["a\x1b[31m\nfailed"](answer)
    """)
    result = project.run("-v")
    assert r"test_it.py::test_x#a\x1b[31m\x0afailed" in shown(result)
    assert "\x1b[31m\n" not in shown(result)


def test_junit_has_scalar_properties_of_each_measurement(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(tokens_per_call=7)
        def test_x(perf_timer, record_property):
            record_property("mine", 1)
            respond = lambda: {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}
            perf_timer(respond)
            perf_timer["plan"](respond)
        def test_y():
            pass
    """)
    # pytest's own record_property warns under the default family.
    project.run("--junitxml=junit.xml", "-ojunit_family=xunit1").assert_outcomes(passed=2)
    cases = {case.attrib["name"]: case for case in project.junit().iter("testcase")}
    found = [(e.attrib["name"], e.attrib["value"]) for e in cases["test_x"].iter("property")]
    properties = dict(found)
    assert len(found) == len(properties)
    assert properties["mine"] == "1"
    assert properties["agentperf.calls"] == "5"
    assert float(properties["agentperf.tokens_per_call"]) == 7
    assert float(properties["agentperf.latency_p95"]) > 0
    assert properties["agentperf.plan.calls"] == "5"
    assert properties["agentperf.verdict"] == "passed"
    assert list(cases["test_y"].iter("property")) == []


def test_junit_has_no_properties_when_they_are_switched_off(project: Project) -> None:
    project.tests(TESTS)
    project.ini("perf_junit = false")
    project.run("--junitxml=junit.xml")
    assert list(project.junit().iter("property")) == []


def test_last_run_is_kept_after_passed_and_after_failed_tests(project: Project) -> None:
    project.tests(TESTS)
    assert project.run("-k", "test_passed").ret == 0
    assert set(project.records()) == {"test_passed"}
    assert project.run("-k", "test_failed").ret == 1
    assert set(project.records()) == {"test_failed"}


def test_last_run_is_left_alone_by_a_run_without_measured_tests(project: Project) -> None:
    project.tests(TESTS)
    project.run("-k", "test_passed")
    before = project.last_run.read_bytes()
    project.tests("def test_x(): pass")
    project.run()
    project.run("-k", "nothing")
    assert project.last_run.read_bytes() == before


@pytest.mark.parametrize(
    ("body", "ret"),
    [
        ("raise KeyboardInterrupt", pytest.ExitCode.INTERRUPTED),
        ("pytest.exit('enough')", pytest.ExitCode.INTERRUPTED),
        ("pytest.exit('enough', returncode=9)", 9),
    ],
)
@pytest.mark.parametrize("fixture", ["", "perf_timer"])
def test_last_run_is_left_alone_by_a_run_that_was_interrupted(
    project: Project, body: str, ret: int, fixture: str
) -> None:
    call = "perf_timer(interrupt)" if fixture else "interrupt()"
    project.tests(f"""
        class Agent:
            def ask(self):
                pass
        @pytest.mark.perf
        def test_a():
            pass
        def interrupt():
            {body}
        @pytest.mark.perf
        def test_b({fixture}):
            {call}
    """)
    result = project.interrupted()
    assert result.ret == ret
    assert "INTERNALERROR" not in shown(result)
    assert not project.last_run.exists()


def test_last_run_is_replaced_whole_or_not_at_all(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.tests(TESTS)
    project.run("-k", "test_passed")
    before = project.last_run.read_bytes()

    def refuse(path: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        result = project.run("-k", "test_measured")
    assert result.ret == 0
    assert project.last_run.read_bytes() == before
    assert [path.name for path in project.last_run.parent.iterdir()] == ["last-run.json"]
    result.stdout.fnmatch_lines(["warning: *: the run could not be kept: No space left on device"])


def test_last_run_is_written_under_another_name_first(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.tests(TESTS)
    replaced = []
    original = Path.replace

    def replace(path: Path, target: Path) -> Path:
        assert path.parent == target.parent
        assert path.read_text(encoding="utf-8").startswith("{")
        replaced.append(target)
        return original(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    project.run("-k", "test_passed")
    assert project.last_run in replaced


@pytest.mark.parametrize("flags", [[], ["-q"]])
@pytest.mark.parametrize("what", [".pytest_cache", ".pytest_cache/d", ".pytest_cache/d/agentperf"])
def test_last_run_that_cannot_be_written_is_one_line_and_keeps_the_exit_code(
    project: Project, what: str, flags: list[str]
) -> None:
    project.tests(TESTS)
    project.write(what, "a file where a folder should be")
    for test, ret in (("test_passed", 0), ("test_failed", 1)):
        result = project.run("-k", test, "-Wignore", *flags)
        assert result.ret == ret
        text = shown(result)
        assert text.count("the run could not be kept") == 1
        assert "INTERNALERROR" not in text
        assert "Traceback" not in text


def test_last_run_becomes_a_budget_file_that_is_valid_and_holds(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.tests("""
        @pytest.mark.parametrize("q", ['a"b', "a#b", "x[1]"])
        def test_x(perf_timer, q):
            perf_timer["retrieve"](lambda: {
                "usage": {"prompt_tokens": 3, "completion_tokens": 4}
            })
        @pytest.mark.perf
        @pytest.mark.asyncio
        async def test_y():
            await asyncio.sleep(0)
    """)
    project.run().assert_outcomes(passed=4)
    assert cli.main(["init"]) == 0
    assert cli.main(["check"]) == 0
    # The file has limits on time that a slow moment could miss; a quick run judges counts alone.
    result = project.run("--perf-budget=budgets.toml", "--perf-quick", "--perf-strict")
    result.assert_outcomes(passed=4)
    statuses = project.statuses()
    assert len([one for one in statuses.values() if one == {"tokens_per_call": "passed"}]) == 3
    out = capsys.readouterr().out
    assert "budgets.toml: budgets of 4 tests; try: pytest --perf-budget budgets.toml" in out
    assert "budgets.toml: valid: 4 test patterns" in out


def test_init_leaves_out_a_label_that_no_pattern_can_name(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.tests("""
        @pytest.mark.parametrize("label", ["a#b", "a]b", "plain"])
        def test_x(perf_timer, label):
            perf_timer[label](answer)
    """)
    project.run().assert_outcomes(passed=3)
    assert cli.main(["init"]) == 0
    result = project.run("--perf-budget=budgets.toml", "--perf-strict", "--perf-quick")
    result.assert_outcomes(passed=3)


def test_init_does_not_replace_a_file_unless_it_is_forced(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.tests(TESTS)
    project.run("-k", "test_passed")
    project.write("budgets.toml", "mine")
    assert cli.main(["init"]) == 1
    assert "budgets.toml exists; give --force to replace it" in capsys.readouterr().err
    assert (project.path / "budgets.toml").read_text() == "mine"
    assert cli.main(["init", "--force"]) == 0
    assert (project.path / "budgets.toml").read_text() != "mine"


def test_init_says_what_it_needs_when_there_is_no_last_run(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.tests(TESTS)
    result = project.run("-p", "no:cacheprovider", "-k", "test_passed")
    assert result.ret == 0
    assert "passed" in "\n".join(section(result))
    assert not (project.path / ".pytest_cache").exists()
    assert cli.main(["init"]) == 1
    assert capsys.readouterr().err == (
        "agentperf: no run found in .pytest_cache here or above; run pytest with a measured test"
        " first (with its cache provider), or name a saved run\n"
    )
    assert not (project.path / "budgets.toml").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[]", "expected an object with version 1"),
        ('{"version": 2, "tests": []}', "expected an object with version 1"),
        ('{"version": 1, "tests": [{}]}', "field 'nodeid' of a record is nothing"),
        ('{"version": 1, "tests": NaN}', "NaN is no number of JSON"),
        ('{"version": 1, "version": 1, "tests": []}', "an object has the same key twice"),
        ("[" * 100_000, "no saved run"),
    ],
)
def test_init_refuses_a_run_that_the_plugin_did_not_write(
    project: Project, capsys: pytest.CaptureFixture[str], content: str, reason: str
) -> None:
    project.write("run.json", content)
    assert cli.main(["init", "run.json"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("agentperf: run.json: no saved run: ")
    assert reason in err
    assert err.count("\n") == 1


def test_check_refuses_a_budget_file_that_pytest_would_refuse(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.budgets('[defaults]\nlatncy = "1s"')
    assert cli.main(["check"]) == 1
    assert capsys.readouterr().err == (
        "agentperf: budgets.toml: defaults.latncy: unknown metric 'latncy'; did you mean"
        " 'latency'?\n"
    )
