"""Items of every kind, and everything that decides whether and how often one runs."""

import pytest

from tests.plugin.conftest import Project, shown


def junit_properties(project: Project) -> list[list[tuple[str, str]]]:
    """Return the properties of each test case in the JUnit report: one for each attempt."""
    return [
        [(element.attrib["name"], element.attrib["value"]) for element in case.iter("property")]
        for case in project.junit().iter("testcase")
    ]


@pytest.mark.parametrize("scope", ["function", "class", "module", "package", "session"])
def test_fixtures_of_every_scope_are_not_timed(project: Project, scope: str) -> None:
    project.tests(f"""
        import pytest_asyncio
        @pytest.fixture(scope="{scope}")
        def agent():
            nap()
            yield ask
            nap()
        @pytest_asyncio.fixture(scope="{scope}", loop_scope="{scope}")
        async def client():
            await asyncio.sleep(0.005)
            yield ask
            await asyncio.sleep(0.005)
        @pytest.mark.perf_budget(latency="60s")
        @pytest.mark.asyncio(loop_scope="{scope}")
        async def test_body(agent, client):
            assert await client() == await agent()
        @pytest.mark.perf_budget(latency="60s")
        @pytest.mark.asyncio(loop_scope="{scope}")
        async def test_timer(perf_timer, agent, client):
            assert await perf_timer(client) == await perf_timer(agent)
    """)
    project.run().assert_outcomes(passed=2)
    assert project.calls() == {"test_body": [1], "test_timer": [10]}
    # The body awaits nothing that takes time; were a fixture timed, it would show.
    assert project.measurement("test_body")["metrics"]["latency_max"] < 0.005


def test_methods_of_classes_and_parameters_are_measured_apart(project: Project) -> None:
    project.tests("""
        class TestAgent:
            @pytest.mark.parametrize("n", [1, 2])
            @pytest.mark.perf_budget(latency="60s")
            def test_body(self, n):
                pass
            @pytest.mark.parametrize("n", [1, 2])
            def test_timer(self, perf_timer, n):
                assert perf_timer(lambda: n) == n
            @pytest.mark.perf(rounds=3)
            @pytest.mark.asyncio
            async def test_async(self):
                self.seen = getattr(self, "seen", 0) + 1
    """)
    project.run().assert_outcomes(passed=5)
    assert project.calls() == {
        "TestAgent::test_body[1]": [1],
        "TestAgent::test_body[2]": [1],
        "TestAgent::test_timer[1]": [5],
        "TestAgent::test_timer[2]": [5],
        "TestAgent::test_async": [3],
    }


UNITTEST = """
    @pytest.mark.perf_budget(latency="{limit}")
    class TestSync(unittest.TestCase):
        def setUp(self):
            nap()
            self.ready = True
        def test_body(self):
            {nap}
            assert self.ready
        def test_skip(self):
            self.skipTest("no")
        def test_fail(self):
            self.assertEqual(1, 2)
        @unittest.expectedFailure
        def test_expected(self):
            self.fail()
    @pytest.mark.perf_budget(latency="{limit}")
    class TestAsync(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self):
            await asyncio.sleep(0.005)
            self.ready = True
        async def test_body(self):
            {nap}
            assert self.ready
        @pytest.mark.perf(rounds=3)
        async def test_rounds(self):
            {nap}
        async def test_skip(self):
            self.skipTest("no")
        async def test_fail(self):
            self.assertEqual(1, 2)
"""


def test_unittest_bodies_are_timed_without_their_set_up(project: Project) -> None:
    project.tests(UNITTEST.format(limit="60s", nap="pass"))
    result = project.run()
    result.assert_outcomes(passed=3, failed=2, skipped=2, xfailed=1)
    calls = project.calls()
    assert calls["TestSync::test_body"] == calls["TestAsync::test_body"] == [1]
    assert calls["TestAsync::test_rounds"] == [3]
    for name in ("TestSync::test_body", "TestAsync::test_body"):
        assert project.measurement(name)["metrics"]["latency_max"] < 0.005
    assert not [name for name in calls if "skip" in name]


def test_unittest_bodies_fail_when_a_budget_is_missed(project: Project) -> None:
    project.tests(UNITTEST.format(limit="1ms", nap="nap()"))
    result = project.run("-m", "perf")
    result.assert_outcomes(failed=5, skipped=2, xfailed=1)
    for name in ("TestSync::test_body", "TestAsync::test_body", "TestAsync::test_rounds"):
        assert project.statuses()[name] == {"latency_max": "failed"}
    assert shown(result).count("AssertionError: 1 != 2") >= 2


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest 9 brought subtests")
def test_subtests_are_kept_beside_the_verdict_of_their_test(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="60s")
        def test_one_fails(subtests):
            for i in range(3):
                with subtests.test(i=i):
                    assert i != 1
        @pytest.mark.perf_budget(latency="1ms")
        def test_all_pass(subtests):
            with subtests.test():
                nap()
        class TestUnit(unittest.TestCase):
            @pytest.mark.perf_budget(latency="60s")
            def test_one_fails(self):
                for i in range(3):
                    with self.subTest(i=i):
                        self.assertNotEqual(i, 1)
    """)
    result = project.run("--junitxml=junit.xml")
    assert result.ret == 1
    text = shown(result)
    assert "SUBFAILED(i=1) test_it.py::test_one_fails" in text
    assert "SUBFAILED(i=1) test_it.py::TestUnit::test_one_fails" in text
    assert "FAILED test_it.py::test_all_pass - Failed: max latency was " in text
    assert project.calls() == {
        "test_one_fails": [1],
        "test_all_pass": [1],
        "TestUnit::test_one_fails": [1],
    }
    assert project.statuses()["test_one_fails"] == {"latency_max": "passed"}


@pytest.mark.parametrize(
    ("mark", "limit", "outcome"),
    [
        ("xfail", "1ms", {"xfailed": 1}),
        ("xfail", "60s", {"xpassed": 1}),
        ("xfail(strict=True)", "1ms", {"xfailed": 1}),
        ("xfail(strict=True)", "60s", {"failed": 1}),
        ("xfail(raises=OSError)", "1ms", {"failed": 1}),
        ("xfail(False, reason='never')", "1ms", {"failed": 1}),
    ],
)
def test_xfail_means_the_budget_too(
    project: Project, mark: str, limit: str, outcome: dict[str, int]
) -> None:
    project.tests(f"""
        @pytest.mark.{mark}
        @pytest.mark.perf_budget(latency="{limit}")
        def test_x():
            nap()
    """)
    result = project.run("-rA")
    result.assert_outcomes(**outcome)
    assert project.verdicts() == {"latency_max": "failed" if limit == "1ms" else "passed"}
    assert ("XPASS(strict)" in shown(result)) == (mark == "xfail(strict=True)" and limit == "60s")


def test_skip_in_the_body_is_no_measurement(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="60s")
        def test_body():
            pytest.skip("no")
        @pytest.mark.perf_budget(ttft="60s")
        def test_timer(perf_timer):
            pytest.skip("no")
        @pytest.mark.perf_budget(latency="60s")
        @pytest.mark.perf(rounds=2)
        @pytest.mark.asyncio
        async def test_async():
            pytest.skip("no")
        @pytest.mark.skip
        @pytest.mark.perf
        def test_mark():
            pass
        @pytest.mark.perf
        def test_other():
            pass
    """)
    result = project.run("--perf-strict")
    result.assert_outcomes(skipped=4, passed=1)
    assert set(project.records()) == {"test_other"}


def test_doctests_are_timed_as_a_whole_when_a_glob_of_the_file_matches(project: Project) -> None:
    project.write(
        "agent.py",
        '''
        def slow():
            """
            >>> import time; time.sleep(0.005)
            """
        def quick():
            """
            >>> 1 + 1
            2
            """
        def wrong():
            """
            >>> 1 + 1
            3
            """
        ''',
    )
    file = project.budgets("""
        [tests."agent.py::*"]
        latency = "60s"
        [tests."agent.py::agent.slow"]
        latency = "1ms"
    """)
    result = project.run(file, "--doctest-modules")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            (
                "max latency was * ms, budget 1 ms (1 call;"
                ' budgets.toml: tests."agent.py::agent.slow".latency)'
            )
        ]
    )
    assert "Expected:" in shown(result)
    assert {name: calls for name, calls in project.calls().items() if "wrong" not in name} == {
        "agent.slow": [1],
        "agent.quick": [1],
    }


CUSTOM = """
    import time
    import pytest

    class Case(pytest.Item):
        def runtest(self):
            for line in self.path.read_text().split():
                key, _, value = line.partition(":")
                if key == "nap":
                    time.sleep(float(value))
                if key == "raise":
                    raise OSError(value)

    class File(pytest.File):
        def collect(self):
            yield Case.from_parent(self, name="case")

    def pytest_collect_file(file_path, parent):
        if file_path.suffix == ".yaml":
            return File.from_parent(parent, path=file_path)
"""


def test_custom_items_are_timed_as_a_whole_when_a_glob_of_the_file_matches(
    project: Project,
) -> None:
    project.write("conftest.py", CUSTOM)
    project.write("cases/test_slow.yaml", "nap:0.005")
    project.write("cases/test_quick.yaml", "nap:0")
    project.write("cases/test_wrong.yaml", "raise:down")
    project.write("test_else.yaml", "nap:0")
    file = project.budgets("""
        [tests."cases/*"]
        latency = "1ms"
        [tests."cases/test_quick.yaml"]
        latency = "60s"
    """)
    result = project.run(file)
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        [
            'max latency was * ms, budget 1 ms (1 call; budgets.toml: tests."cases/[*]".latency)',
            "*cases/test_slow.yaml::case*",
        ]
    )
    assert "OSError: down" in shown(result)
    assert "test_else" not in project.last_run.read_text()


@pytest.mark.parametrize(
    "obj", ["obj = 5", "obj = None", "def obj(self): 1 / 0", "async def obj(self): 1 / 0"]
)
def test_custom_items_keep_an_attribute_obj_of_their_own(project: Project, obj: str) -> None:
    custom = CUSTOM.replace(
        "class Case(pytest.Item):", f"class Case(pytest.Item):\n        {obj}\n"
    )
    project.write("conftest.py", custom)
    project.write("test_slow.yaml", "nap:0.005")
    file = project.budgets("""
        [tests."test_slow.yaml"]
        latency = "1ms"
    """)
    result = project.run(file)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["max latency was * ms, budget 1 ms (1 call; *"])


def test_exit_first_and_last_failed_know_missed_budgets(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="60s")
        def test_a():
            pass
        @pytest.mark.perf_budget(latency="1ms")
        def test_b():
            nap()
        @pytest.mark.perf_budget(latency="60s")
        def test_c():
            pass
    """)
    result = project.run("-x")
    result.assert_outcomes(passed=1, failed=1)
    assert set(project.records()) == {"test_a", "test_b"}
    result = project.run("--lf")
    result.assert_outcomes(failed=1)
    assert set(project.records()) == {"test_b"}


def test_reruns_judge_each_attempt_and_keep_the_last(project: Project) -> None:
    project.tests("""
        attempts = []
        @pytest.mark.flaky(reruns=3)
        @pytest.mark.perf_budget(latency="20ms")
        def test_x():
            attempts.append(1)
            if len(attempts) < 3:
                time.sleep(0.05)
    """)
    result = project.run("--junitxml=junit.xml")
    assert result.parseoutcomes() == {"passed": 1, "rerun": 2}
    assert project.record()["attempt"] == 3
    assert project.verdicts() == {"latency_max": "passed"}
    for properties in junit_properties(project):
        names = [name for name, _ in properties]
        assert "agentperf.calls" in names
        assert len(names) == len(set(names))


def test_reruns_forget_an_attempt_when_the_last_one_measured_nothing(project: Project) -> None:
    project.tests("""
        attempts = []
        @pytest.mark.flaky(reruns=1)
        @pytest.mark.perf_budget(latency="1ms")
        def test_x():
            attempts.append(1)
            if len(attempts) == 2:
                pytest.skip("the service is down")
            nap()
        @pytest.mark.perf
        def test_y():
            pass
    """)
    result = project.run("--junitxml=junit.xml")
    assert result.parseoutcomes() == {"passed": 1, "skipped": 1, "rerun": 1}
    assert set(project.records()) == {"test_y"}
    result.stdout.fnmatch_lines(["1 measurement: 1 measured without a budget"])
    attempts = junit_properties(project)
    assert ("agentperf.verdict", "failed") in attempts[0]
    assert attempts[1] == []


def test_reruns_fail_when_every_attempt_misses_the_budget(project: Project) -> None:
    project.tests("""
        @pytest.mark.flaky(reruns=2)
        @pytest.mark.perf_budget(latency="1ms")
        def test_x():
            nap()
    """)
    result = project.run()
    assert result.parseoutcomes() == {"failed": 1, "rerun": 2}
    assert project.record()["attempt"] == 3


def test_glob_measures_an_existing_suite_without_touching_its_code(project: Project) -> None:
    source = """
        def test_slow():
            nap()
        @pytest.mark.asyncio
        async def test_async():
            await asyncio.sleep(0.005)
        def test_quick():
            pass
        class TestUnit(unittest.TestCase):
            def test_slow(self):
                nap()
        def test_other():
            nap()
    """
    project.tests(source)
    file = project.budgets("""
        [tests."test_it.py::*_slow"]
        latency = "1ms"
        [tests."test_it.py::test_async"]
        latency = "1ms"
        [tests."test_it.py::test_quick"]
        latency = "60s"
    """)
    result = project.run(file)
    result.assert_outcomes(passed=2, failed=3)
    assert set(project.records()) == {
        "test_slow",
        "test_async",
        "test_quick",
        "TestUnit::test_slow",
    }


@pytest.mark.parametrize(("expression", "passed"), [("perf", 4), ("not perf", 1)])
def test_marker_perf_selects_the_measured_tests(
    project: Project, expression: str, passed: int
) -> None:
    project.tests("""
        def test_fixture(perf_timer):
            pass
        @pytest.mark.perf_budget(error_rate=1)
        def test_budget(perf_timer):
            perf_timer(answer)
        @pytest.mark.perf
        def test_mark():
            pass
        def test_glob():
            pass
        def test_other():
            pass
    """)
    file = project.budgets("""
        [tests."test_it.py::test_glob"]
        latency = "60s"
    """)
    result = project.run(file, "-m", expression, "--strict-markers")
    result.assert_outcomes(passed=passed, deselected=5 - passed)


def test_marker_perf_selects_where_only_another_test_asks(project: Project) -> None:
    project.tests("""
        def test_fixture(perf_timer):
            pass
        def test_other():
            pass
    """)
    project.run("-m", "not perf").assert_outcomes(passed=1, deselected=1)
    assert not project.last_run.exists()
