"""Tests whose body hypothesis calls; `derandomize` makes their examples the same each time."""

import pytest

from tests.plugin.conftest import Project, shown

HEAD = """
from hypothesis import HealthCheck, assume, example, given, settings, strategies as st
examples = settings(derandomize=True, max_examples=30)
"""


def given(project: Project, body: str) -> None:
    """Write a test file with hypothesis imported."""
    lines = [line.removeprefix(" " * 8) for line in body.splitlines()]
    project.tests("\n".join([HEAD, *lines]))


def test_given_records_a_call_for_each_example_of_a_body(project: Project) -> None:
    given(
        project,
        """
        calls = []
        @examples
        @given(st.integers())
        @pytest.mark.perf_budget(p95="60s")
        def test_x(n):
            calls.append(n)
        def test_y():
            pathlib.Path("calls").write_text(str(len(calls)))
        """,
    )
    project.run().assert_outcomes(passed=2)
    calls = int((project.path / "calls").read_text())
    assert calls >= 20
    assert project.calls() == {"test_x": [calls]}
    assert project.verdicts() == {"latency_p95": "passed"}


def test_given_records_a_call_of_the_timer_for_each_example(project: Project) -> None:
    given(
        project,
        """
        calls = []
        @examples
        @given(n=st.integers())
        @pytest.mark.perf_budget(p95="60s")
        def test_x(perf_timer, n):
            assert perf_timer(lambda: calls.append(n)) is None
        def test_y():
            pathlib.Path("calls").write_text(str(len(calls)))
        """,
    )
    result = project.run()
    result.assert_outcomes(passed=2)
    assert "FailedHealthCheck" not in shown(result)
    calls = int((project.path / "calls").read_text())
    assert calls >= 20
    assert project.calls() == {"test_x": [calls]}


def test_given_records_a_call_for_each_example_in_async_tests(project: Project) -> None:
    given(
        project,
        """
        import sniffio
        calls = []
        @pytest.mark.asyncio
        @examples
        @given(n=st.integers())
        @pytest.mark.perf_budget(p95="60s")
        async def test_body(n):
            await asyncio.sleep(0)
            calls.append("body")
        @pytest.mark.asyncio
        @examples
        @given(n=st.integers())
        @pytest.mark.perf_budget(p95="60s")
        async def test_timer(perf_timer, n):
            await perf_timer(ask)
            calls.append("timer")
        @pytest.mark.anyio
        @examples
        @given(n=st.integers())
        @pytest.mark.perf_budget(p95="60s")
        async def test_anyio(n):
            calls.append(sniffio.current_async_library())
        def test_y():
            pathlib.Path("calls").write_text(" ".join(calls))
        """,
    )
    project.run().assert_outcomes(passed=5)
    calls = (project.path / "calls").read_text().split()
    assert project.calls() == {
        "test_body": [calls.count("body")],
        "test_timer": [calls.count("timer")],
        "test_anyio[asyncio]": [calls.count("asyncio")],
        "test_anyio[trio]": [calls.count("trio")],
    }
    assert min(map(calls.count, set(calls))) >= 20


def test_given_records_no_invalid_examples(project: Project) -> None:
    given(
        project,
        """
        valid = []
        @examples
        @given(st.integers())
        @pytest.mark.perf_budget(latency="60s")
        def test_x(n):
            assume(n % 2 == 0)
            valid.append(n)
        def test_y():
            pathlib.Path("valid").write_text(str(len(valid)))
        """,
    )
    project.run().assert_outcomes(passed=2)
    assert project.calls() == {"test_x": [int((project.path / "valid").read_text())]}
    assert project.measurement()["errors"] == 0


def test_given_goes_on_recording_after_an_example_that_could_not_be_drawn(
    project: Project,
) -> None:
    given(
        project,
        """
        valid = []
        @settings(examples, suppress_health_check=list(HealthCheck))
        @given(st.data())
        @pytest.mark.perf_budget(latency="60s")
        def test_x(data):
            # Hypothesis gives such an example up by an exception of its own, not by assume().
            data.draw(st.integers(0, 1000).filter(lambda n: n % 5 == 0))
            valid.append(1)
        def test_y():
            pathlib.Path("valid").write_text(str(len(valid)))
        """,
    )
    project.run().assert_outcomes(passed=2)
    valid = int((project.path / "valid").read_text())
    assert valid > 1
    assert project.calls() == {"test_x": [valid]}


@pytest.mark.parametrize("failure", ["raise OSError('down')", "pytest.fail('down')"])
def test_given_records_nothing_of_the_shrinking_when_an_example_failed(
    project: Project, failure: str
) -> None:
    given(
        project,
        """
        before = []
        failed = []
        @examples
        @given(st.integers(0, 10_000))
        @pytest.mark.perf_budget(latency="60s")
        def test_x(n):
            if n > 100:
                failed.append(n)
                FAILURE
            if not failed:
                before.append(n)
        def test_y():
            assert len(failed) > 2  # it was shrunk
            pathlib.Path("before").write_text(str(len(before)))
        """.replace("FAILURE", failure),
    )
    project.run().assert_outcomes(failed=1, passed=1)
    before = int((project.path / "before").read_text())
    assert before >= 1
    assert project.calls() == {"test_x": [before]}


def test_given_records_no_calls_of_the_timer_after_an_example_failed(project: Project) -> None:
    given(
        project,
        """
        before, failed = [], []
        @examples
        @given(n=st.integers(0, 10_000))
        def test_x(perf_timer, n):
            if not failed:
                before.append(n)
            assert perf_timer(lambda: n) == n
            if n > 100:
                failed.append(n)
                raise OSError("down")
        def test_y():
            assert len(failed) > 2  # it was shrunk
            pathlib.Path("before").write_text(str(len(before)))
        """,
    )
    project.run().assert_outcomes(failed=1, passed=1)
    # The call inside of the example that failed first came to its end.
    assert project.calls() == {"test_x": [int((project.path / "before").read_text())]}


def test_given_records_explicit_examples(project: Project) -> None:
    given(
        project,
        """
        from hypothesis import Phase
        @settings(examples, phases=[Phase.explicit])
        @given(st.integers())
        @example(1)
        @example(2)
        @pytest.mark.perf_budget(latency="60s")
        def test_x(n):
            pass
        """,
    )
    project.run().assert_outcomes(passed=1)
    assert project.calls() == {"test_x": [2]}


def test_given_fails_without_shrinking_when_a_budget_is_missed(project: Project) -> None:
    given(
        project,
        """
        @settings(examples, max_examples=5)
        @given(st.integers())
        @pytest.mark.perf_budget(latency="1ms")
        def test_x(n):
            nap()
        """,
    )
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["max latency was * ms, budget 1 ms (* calls, *"])
    assert "Falsifying example" not in shown(result)


def test_given_keeps_the_deadline_of_hypothesis(project: Project) -> None:
    given(
        project,
        """
        @settings(examples, max_examples=3, deadline=1)
        @given(st.integers())
        @pytest.mark.perf_budget(latency="60s")
        def test_missed(n):
            nap()
        @settings(examples, max_examples=3, deadline=60_000)
        @given(st.integers())
        @pytest.mark.perf_budget(latency="60s")
        def test_kept(n):
            nap()
        """,
    )
    result = project.run()
    result.assert_outcomes(failed=1, passed=1)
    assert "DeadlineExceeded" in shown(result)


def test_given_may_state_a_percentile_in_a_marker(project: Project) -> None:
    given(
        project,
        """
        @settings(examples, max_examples=3)
        @given(st.booleans())
        @pytest.mark.perf_budget(p95="60s")
        def test_x(n):
            pass
        """,
    )
    result = project.run()
    result.assert_outcomes(passed=1)
    assert project.verdicts() == {"latency_p95": "undecided"}
