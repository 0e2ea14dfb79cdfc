"""What the plugin does to sessions, tests and folders that are not its own: nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugin.conftest import Project, shown


def files(project: Project) -> set[Path]:
    """Return the files and folders of the project, without those of the interpreter."""
    return {path for path in project.path.rglob("*") if "__pycache__" not in path.parts}


HOOKS = """
    import sys

    HEAVY = {
        "pytest_agentperf.session", "pytest_agentperf.runtime", "pytest_agentperf.reporter",
        "pytest_agentperf.measure", "pytest_agentperf.judge", "pytest_agentperf.report",
        "pytest_agentperf.integrations", "tabulate", "psutil", "pympler", "hypothesis", "tomllib",
    }

    def pytest_unconfigure(config):
        names = [name for name, _ in config.pluginmanager.list_name_plugin() if "perf" in name]
        print("PLUGINS", names)
        print("HEAVY", sorted(HEAVY & set(sys.modules)))
"""


def test_unused_plugin_registers_no_hooks_and_imports_nothing_heavy(project: Project) -> None:
    project.write("conftest.py", HOOKS)
    project.tests("""
        class TestC:
            @pytest.mark.parametrize("n", [1, 2])
            def test_x(self, n, tmp_path):
                pass
        @pytest.mark.asyncio
        async def test_y():
            pass
    """)
    # The plugin of hypothesis imports hypothesis.
    result = project.run_apart(
        "-Werror", "--strict-markers", "--strict-config", "-pno:hypothesispytest"
    )
    result.assert_outcomes(passed=3)
    assert "PLUGINS ['agentperf']" in result.outlines
    assert "HEAVY []" in result.outlines
    assert "performance" not in shown(result)
    assert not (project.path / ".pytest_cache/d/agentperf").exists()


def test_used_plugin_imports_only_what_it_needs(project: Project) -> None:
    project.write("conftest.py", HOOKS)
    project.tests("""
        def test_x(perf_timer):
            perf_timer(answer)
    """)
    result = project.run_apart("-pno:hypothesispytest")
    result.assert_outcomes(passed=1)
    assert "PLUGINS ['agentperf', 'agentperf-runtime', 'agentperf-reporter']" in result.outlines
    heavy = next(line for line in result.outlines if line.startswith("HEAVY"))
    for name in ("hypothesis", "psutil", "pympler", "pytest_agentperf.integrations"):
        assert f"'{name}'" not in heavy


@pytest.mark.parametrize(("limit", "is_passed"), [("60s", True), ("1ns", False)])
def test_body_that_runs_once_takes_little_to_measure_and_nothing_to_pass_quietly(
    project: Project, limit: str, *, is_passed: bool
) -> None:
    project.write(
        "conftest.py",
        """
        import sys

        CALLS = {"measure.call", "measure.trial", "measure.rounds", "measure.usage", "core.usage"}
        SHOWN = {"report.terminal", "report.run", "report.table"}

        def pytest_unconfigure():
            known = {name.removeprefix("pytest_agentperf.") for name in sys.modules}
            for kind in (CALLS, SHOWN):
                print("GOT", sorted(kind & known))
        """,
    )
    project.tests(f"""
        @pytest.mark.perf_budget(latency={limit!r})
        @pytest.mark.asyncio
        async def test_x():
            pass
    """)
    result = project.run_apart("-q", "-pno:cacheprovider")
    result.assert_outcomes(passed=int(is_passed), failed=int(not is_passed))
    calls, table = (line for line in result.outlines if line.startswith("GOT"))
    assert calls == "GOT []"
    assert (table == "GOT []") is is_passed
    assert ("performance" in shown(result)) is not is_passed


@pytest.mark.parametrize(
    "flags",
    [
        ["--help"],
        ["--markers"],
        ["--collect-only"],
        ["--version"],
        ["--fixtures"],
        ["--setup-plan"],
    ],
    ids=str,
)
def test_plugin_leaves_no_files_when_no_test_runs(project: Project, flags: list[str]) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="60s")
        def test_x():
            pass
    """)
    options = [project.budgets('[tests."*"]\nmean = "60s"'), *flags]
    before = files(project)
    # The cache provider keeps the ids of collected tests; that is its own affair.
    result = project.run(*options)
    assert result.ret == 0
    assert not {path for path in files(project) - before if "agentperf" in str(path)}
    project.run(*options, "-pno:cacheprovider")
    assert {path for path in files(project) - before if ".pytest_cache" not in path.parts} == set()
    assert "performance" not in "\n".join(result.outlines[-8:])


def test_plugin_lists_its_markers(project: Project) -> None:
    text = shown(project.run("--markers"))
    assert "@pytest.mark.perf_budget(label=None, /, **limits): fail the test where a metric" in text
    assert "@pytest.mark.perf(rounds=, warmup=, max_time=, max_calls=" in text


def test_plugin_works_without_a_terminal(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="1ms")
        @pytest.mark.perf(rounds=50, max_time="1ms", warmup=0)
        def test_x(perf_timer):
            perf_timer(nap)  # has something to announce
    """)
    result = project.run(project.budgets('[tests."nowhere"]\nlatency = "1s"'), "-pno:terminal")
    assert result.ret == 1
    assert shown(result).strip() == ""
    assert project.verdicts() == {"latency_max": "failed"}


def test_plugin_works_without_the_plugins_that_run_async_tests(project: Project) -> None:
    project.write("pytest.ini", "[pytest]")
    project.tests("""
        @pytest.mark.perf_budget(latency="60s")
        def test_x(perf_timer):
            assert asyncio.run(perf_timer(ask)) == "answer to q"
        @pytest.mark.perf_budget(latency="60s")
        async def test_y():
            pass
    """)
    result = project.run("-pno:asyncio", "-pno:anyio", "-pno:hypothesispytest", "-pno:xdist")
    result.assert_outcomes(passed=1, failed=1)
    assert "async def functions are not natively supported" in shown(result)
    assert "never awaited" not in shown(result)


def test_plugin_works_without_capture_and_junit(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf(rounds=50, max_time="1ms", warmup=0)
        def test_x(perf_timer):
            perf_timer(nap)
    """)
    result = project.run("-s", "-pno:junitxml", "-pno:logging")
    result.assert_outcomes(passed=1)
    assert "will not fit" in shown(result)


@pytest.mark.skipif(
    pytest.version_tuple < (8, 4), reason="with older releases pytest-asyncio leaves a loop open"
)
def test_plugin_raises_no_warnings_and_changes_nothing_global_in_measured_tests(
    project: Project,
) -> None:
    project.tests("""
        import gc, sys, threading, tracemalloc, contextvars
        variable = contextvars.ContextVar("variable")

        threads = threading.active_count()  # pytest-rerunfailures has one

        def check():
            assert threading.active_count() == threads
            assert not tracemalloc.is_tracing()
            assert gc.isenabled()
            assert sys.gettrace() is None
            assert sys.getprofile() is None

        @pytest.mark.perf_budget(latency="60s")
        def test_sync():
            check()
        @pytest.mark.perf_budget(latency="60s")
        @pytest.mark.asyncio
        async def test_async(perf_timer):
            variable.set("mine")
            async def look():
                check()
                loop = asyncio.get_running_loop()
                assert loop.get_task_factory() is None
                assert len(asyncio.all_tasks()) == 1
                return variable.get()
            assert await perf_timer(look) == "mine"
        @pytest.mark.anyio
        @pytest.mark.perf_budget(latency="60s")
        async def test_anyio():
            check()
        @pytest.mark.perf_budget(tokens_per_call=5)
        def test_undecided(perf_timer):
            perf_timer(answer)
        class TestUnit(unittest.IsolatedAsyncioTestCase):
            @pytest.mark.perf_budget(latency="60s")
            async def test_x(self):
                check()
        from hypothesis import given, settings, strategies as st
        @settings(derandomize=True, max_examples=5)
        @given(st.booleans())
        @pytest.mark.perf_budget(latency="60s")
        def test_given(n):
            check()
    """)
    file = project.budgets('[tests."nowhere"]\nlatency = "1s"')
    result = project.run_apart(file, "-Werror", "--strict-markers", "--strict-config")
    result.assert_outcomes(passed=7)
    assert "INTERNALERROR" not in shown(result)


def test_plugin_runs_a_function_of_the_same_kind_and_puts_the_own_one_back(
    project: Project,
) -> None:
    project.write(
        "conftest.py",
        """
        import inspect
        import pytest

        originals = {}

        def kind(function):
            return inspect.iscoroutinefunction(function), str(inspect.signature(function))

        def pytest_runtest_setup(item):
            originals[item.name] = item.obj

        @pytest.hookimpl(tryfirst=True)
        def pytest_pyfunc_call(pyfuncitem):
            original = originals[pyfuncitem.name]
            assert pyfuncitem.obj is not original
            assert kind(pyfuncitem.obj) == kind(original)
            assert pyfuncitem.obj.__name__ == original.__name__

        def pytest_runtest_teardown(item):
            assert item.obj is originals[item.name]
        """,
    )
    project.tests("""
        @pytest.fixture
        def anyio_backend():
            return "asyncio"
        @pytest.mark.perf
        def test_sync(tmp_path):
            pass
        @pytest.mark.perf
        @pytest.mark.anyio
        async def test_async(tmp_path):
            pass
        @pytest.mark.perf
        def test_raises():
            raise OSError("down")
    """)
    result = project.run()
    result.assert_outcomes(passed=2, failed=1)
    assert "OSError: down" in shown(result)


def test_plugin_keeps_its_clock_when_a_test_patches_that_of_the_library(project: Project) -> None:
    project.tests("""
        from unittest import mock
        @pytest.mark.perf_budget(latency="1ms")
        def test_patch(perf_timer, monkeypatch):
            monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
            monkeypatch.setattr(time, "perf_counter_ns", lambda: 0)
            monkeypatch.setattr(time, "monotonic", lambda: 0.0)
            perf_timer(nap)
        @pytest.mark.perf_budget(latency="1ms")
        @mock.patch("time.perf_counter", lambda: 0.0)
        def test_body():
            nap()
        @pytest.fixture
        def patched(monkeypatch):
            monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
        @pytest.mark.perf_budget(latency="1ms")
        def test_fixture(patched):
            nap()
    """)
    project.run().assert_outcomes(failed=3)
    for test in ("test_patch", "test_body", "test_fixture"):
        metrics = project.measurement(test)["metrics"]
        assert 0.004 < metrics["latency_min"] < 10


def test_plugin_keeps_its_clock_when_a_test_freezes_time(project: Project) -> None:
    project.tests("""
        from freezegun import freeze_time
        @pytest.mark.perf_budget(latency="1ms")
        def test_timer(perf_timer):
            with freeze_time("2020-01-01"):
                perf_timer(nap)
        @pytest.mark.perf_budget(latency="1ms")
        @freeze_time("2020-01-01")
        def test_body():
            nap()
        @pytest.fixture
        def frozen():
            with freeze_time("2020-01-01"):
                yield
        @pytest.mark.perf_budget(latency="1ms")
        def test_fixture(frozen):
            nap()
    """)
    project.run_apart().assert_outcomes(failed=3)
    for test in ("test_timer", "test_body", "test_fixture"):
        metrics = project.measurement(test)["metrics"]
        assert 0.004 < metrics["latency_min"] < 10


def test_plugin_does_not_mind_a_test_that_closes_its_loop(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf_budget(latency="60s")
        def test_timer(perf_timer):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(perf_timer(ask))
            loop.close()
        @pytest.mark.perf(rounds=3)
        def test_body():
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            loop.run_until_complete(ask())
            loop.close()
            asyncio.set_event_loop(None)
        @pytest.mark.perf(rounds=3)
        @pytest.mark.asyncio
        async def test_async():
            await ask()
    """)
    project.run().assert_outcomes(passed=3)
    assert project.calls() == {"test_timer": [5], "test_body": [3], "test_async": [3]}


def test_plugin_does_not_mind_mocks_that_a_test_leaves_behind(project: Project) -> None:
    project.tests("""
        from unittest import mock
        @pytest.mark.perf
        def test_leak():
            asyncio.sleep = mock.AsyncMock()
            time.sleep = mock.Mock()
            time.perf_counter = mock.Mock()
            os.getpid = mock.Mock(return_value=1)
        @pytest.mark.perf_budget(latency="60s")
        @pytest.mark.asyncio
        async def test_x(perf_timer):
            await perf_timer(ask)
    """)
    project.run_apart().assert_outcomes(passed=2)
    assert project.calls() == {"test_leak": [1], "test_x": [5]}


def test_plugin_lets_a_cancelled_call_be_cancelled(project: Project) -> None:
    project.tests("""
        @pytest.mark.asyncio
        async def test_x(perf_timer):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(perf_timer(asyncio.sleep, 60), 0.02)
            assert await perf_timer["next"](ask) == "answer to q"
    """)
    project.run().assert_outcomes(passed=1)
    assert project.measurement("test_x", "next")["calls"] == 5


def test_plugin_keeps_no_run_in_a_forked_child(project: Project) -> None:
    project.tests("""
        @pytest.mark.perf
        def test_a():
            pass
        @pytest.mark.perf
        def test_fork():
            child = os.fork()
            if child == 0:
                raise OSError("the child goes on as if it were pytest")
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 1  # it came to the end of its session
            assert not pathlib.Path(".pytest_cache/d/agentperf/last-run.json").exists()
    """)
    assert project.run_apart().ret == 0
    assert set(project.records()) == {"test_a", "test_fork"}


def test_plugin_can_be_switched_off(project: Project) -> None:
    project.tests("def test_x(): pass")
    project.run("-pno:agentperf", "--strict-markers").assert_outcomes(passed=1)


def test_package_is_loaded_past_the_loader_of_pytest(project: Project) -> None:
    project.tests("""
        import sys
        from importlib.machinery import SourceFileLoader

        def test_x(perf_timer):
            ours = [module for name, module in sys.modules.items() if "agentperf.measure" in name]
            loaders = {type(module.__loader__) for module in ours}
            assert loaders == {SourceFileLoader}
    """)
    project.run_apart().assert_outcomes(passed=1)


def test_plugin_does_not_mind_that_the_package_was_imported_before(project: Project) -> None:
    project.tests("def test_x(perf_timer): perf_timer(answer)")
    program = "import pytest_agentperf, pytest, sys; sys.exit(pytest.main(['-Werror']))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, "warning" in done.stdout) == (0, False), done.stdout


def test_measured_test_leaves_nothing_to_the_garbage_collector(project: Project) -> None:
    project.write(
        "conftest.py",
        """
        import gc

        logged = []

        def pytest_runtest_logfinish():
            logged.append(None)
            if len(logged) == 4:  # by then all is imported, and what is made once is made
                gc.collect()
                gc.disable()
            if len(logged) == 8:
                print("GARBAGE", gc.collect())
        """,
    )
    body = """
        @pytest.mark.perf_budget(loop_block_max="50ms", leaked_tasks=0, latency="10s")
        @pytest.mark.asyncio
        async def test_watched_{n}():
            pass

        def test_timed_{n}(perf_timer):
            perf_timer(answer)
    """
    project.tests("".join(body.format(n=n) for n in range(4)))
    result = project.run_apart("-s")
    result.assert_outcomes(passed=8)
    assert any(line.endswith("GARBAGE 0") for line in result.outlines), result.outlines
