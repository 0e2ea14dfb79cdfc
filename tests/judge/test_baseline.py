"""Tests of the baseline: what is kept of each test, and what a file must be."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pytest_agentperf.core.errors import FileFormatError, UnknownNameError
from pytest_agentperf.judge.baseline import KEPT_RUNS, Baseline, Entry, Past, baselines_in
from pytest_agentperf.judge.runs import Count, Run

HERE = "CPU, 2 cores"


def entry(median: float = 0.01, environment: str = HERE, **fields: Any) -> Entry:
    return Entry(Run(median, 20, environment=environment, **fields), "2026-01-02T03:04:05Z", "a1b2")


def medians(past: Past) -> list[float]:
    return [one.run.median for one in past.runs]


@pytest.fixture
def baseline(tmp_path: Path) -> Baseline:
    return Baseline(tmp_path / "perf", HERE)


def test_folder_that_does_not_exist_is_an_empty_history(baseline: Baseline) -> None:
    assert baseline.read() == {}
    assert baseline.history() == {}
    assert not baseline.folder.exists()


def test_runs_read_back_as_they_were_kept(baseline: Baseline) -> None:
    kept = entry(
        0.0123,
        latencies=(0.0111, 0.0123, 0.02),
        counts={"llm_calls": Count(1, 1.5, 2)},
        body="b0d7",
        reference=0.05,
    )
    baseline.append({"t.py::a": kept}, {})
    baseline.append({'t.py::\ud800[\n"]#é': entry()}, {})
    assert baseline.read() == {"t.py::a": Past((kept,)), 't.py::\ud800[\n"]#é': Past((entry(),))}
    assert baseline.history()["t.py::a"] == [kept.run]


def test_each_environment_has_a_file_of_its_own(baseline: Baseline) -> None:
    other = Baseline(baseline.folder, "CPU, 4 cores")
    baseline.append({"a": entry()}, {})
    other.append({"a": entry(0.02, "CPU, 4 cores")}, {})
    assert medians(baseline.read()["a"]) == [0.01]
    assert medians(other.read()["a"]) == [0.02]
    assert {one.environment for one in baselines_in(baseline.folder)} == {HERE, "CPU, 4 cores"}


def test_environment_without_runs_knows_those_of_the_others(baseline: Baseline) -> None:
    Baseline(baseline.folder, "elsewhere").append({"a": entry(environment="elsewhere")}, {})
    assert [run.environment for run in baseline.history()["a"]] == ["elsewhere"]
    baseline.append({"b": entry()}, {})
    assert list(baseline.history()) == ["b"]


def test_newest_twenty_runs_are_kept(baseline: Baseline) -> None:
    for number in range(1, KEPT_RUNS + 2):
        baseline.append({"a": entry(number)}, {})
        if number == KEPT_RUNS:
            assert medians(baseline.read()["a"])[0] == 1
    assert medians(baseline.read()["a"]) == list(range(2, 22))


def test_absent_test_keeps_its_runs(baseline: Baseline) -> None:
    baseline.append({"a": entry(), "b": entry()}, {})
    baseline.append({"b": entry()}, {})
    assert {name: len(past.runs) for name, past in baseline.read().items()} == {"a": 1, "b": 2}


def test_refused_run_is_no_history(baseline: Baseline) -> None:
    baseline.append({"a": entry(1)}, {})
    baseline.append({}, {"a": entry(2)})
    assert [run.median for run in baseline.history()["a"]] == [1]
    assert [one.run.median for one in baseline.read()["a"].refused] == [2]


def test_refused_runs_are_forgotten_once_a_run_is_accepted(baseline: Baseline) -> None:
    baseline.append({"a": entry(1)}, {"b": entry(1)})
    baseline.append({}, {"a": entry(2)})
    baseline.append({"a": entry(1)}, {})
    assert baseline.read()["a"].refused == ()
    assert len(baseline.read()["b"].refused) == 1


def test_accepting_lets_refused_runs_take_the_place_of_the_history(baseline: Baseline) -> None:
    baseline.append({"a": entry(1), "b": entry(1)}, {})
    baseline.append({}, {"a": entry(2)})
    baseline.append({}, {"a": entry(3)})
    assert medians(baseline.accept("a")) == [2, 3]
    assert baseline.read()["a"] == Past((entry(2), entry(3)))
    assert medians(baseline.read()["b"]) == [1]


def test_accepting_without_a_refused_run_begins_anew(baseline: Baseline) -> None:
    baseline.append({"a": entry()}, {})
    assert baseline.accept("a") == Past()
    assert baseline.read() == {"a": Past()}


def test_accepting_an_unknown_test_changes_nothing(baseline: Baseline) -> None:
    baseline.append({"t.py::test_answer": entry()}, {})
    before = baseline.path.read_bytes()
    with pytest.raises(UnknownNameError, match=r"did you mean 't\.py::test_answer'"):
        baseline.accept("t.py::test_answr")
    assert baseline.path.read_bytes() == before


def test_nothing_to_keep_makes_no_file(baseline: Baseline) -> None:
    baseline.append({}, {})
    assert not baseline.folder.exists()


def test_test_takes_three_kilobytes_a_run_at_most(baseline: Baseline) -> None:
    latencies = tuple(1.23456789e-5 + number * 1e-9 for number in range(1000))
    counts = {
        f"a_count_with_a_long_name_{number}": Count(1 / 3, 2 / 3, 1.0) for number in range(12)
    }
    kept = entry(1.23456789e-5, latencies=latencies, counts=counts, body="0" * 16, reference=0.0512)
    for _ in range(KEPT_RUNS):
        baseline.append({"a": kept}, {})
    assert baseline.path.stat().st_size / KEPT_RUNS < 3000
    (run, *_) = baseline.history()["a"]
    assert len(run.latencies) == 60
    assert run.latencies[0] == pytest.approx(latencies[8], rel=1e-3)
    assert run.latencies[-1] == pytest.approx(latencies[991], rel=1e-3)


def valid() -> dict[str, Any]:
    run = {"time": "t", "commit": "", "median": 1, "calls": 1, "latencies": [1, 2]}
    run |= {"counts": {"llm_calls": [1, 1, 1]}, "body": "", "reference": None}
    return {"version": 1, "environment": HERE, "tests": {"a": {"runs": [run], "refused": []}}}


def with_run(**changes: Any) -> dict[str, Any]:
    content = valid()
    content["tests"]["a"]["runs"][0].update(changes)
    return content


def test_file_as_it_should_be_is_read(baseline: Baseline) -> None:
    baseline.folder.mkdir()
    baseline.path.write_text(json.dumps(valid()), encoding="utf-8")
    (one,) = baseline.read()["a"].runs
    assert one.run == Run(1, 1, (1, 2), {"llm_calls": Count(1, 1, 1)}, HERE)


RUN = r"tests\.'a'\.runs\[0\]: "


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("", "Expecting value"),
        ("\x00" * 100, "Expecting value"),
        (json.dumps(valid())[:-20], "Expecting|Unterminated"),
        ("[" * 10_000_000, "recursion"),
        ('{"a":' * 200_000, "recursion"),
        ("[]", "expected an object with version 1"),
        ('{"name": "my-app"}', "expected an object with version 1"),
        (valid() | {"version": 2}, "expected an object with version 1"),
        (valid() | {"version": True}, "expected an object with version 1"),
        ('{"version": 1, "version": 1}', "same key twice"),
        (valid() | {"tests": []}, "an object under 'tests'"),
        (valid() | {"environment": 5}, "text under 'environment'"),
        (
            valid() | {"environment": "x"},
            "of this name: it is that of 'x'; call it [0-9a-f]{16}\\.json again",
        ),
        (valid() | {"tests": {"a": 5}}, r"tests\.'a': got 5, expected an object"),
        (valid() | {"tests": {"a": {"runs": []}}}, r"tests\.'a'\.refused: expected a list of up"),
        (
            valid() | {"tests": {"a": {"runs": [{}] * 21, "refused": []}}},
            r"tests\.'a'\.runs: expected a list of up to 20 runs",
        ),
        (valid() | {"tests": {"a": {"runs": [5], "refused": []}}}, RUN + "got 5"),
        (with_run(time=5), RUN + "expected text under 'time'"),
        (with_run(median="1"), RUN + "median: got '1', expected seconds"),
        (with_run(median=-1), RUN + "median: got -1"),
        (with_run(median=True), RUN + "median: got True"),
        (json.dumps(with_run(median=7.5)).replace("7.5", "NaN"), "NaN is no number"),
        (json.dumps(with_run(median=7.5)).replace("7.5", "1e999"), RUN + "median: got inf"),
        (json.dumps(with_run(median=7.5)).replace("7.5", "9" * 400), RUN + "median: got 999"),
        (json.dumps(with_run(median=7.5)).replace("7.5", "9" * 9999), "Exceeds the limit"),
        (with_run(calls=0), RUN + "calls: got 0, expected a whole number above 0"),
        (with_run(calls=1.5), RUN + "calls: got 1.5"),
        (with_run(latencies=[2, 1]), RUN + r"latencies: got \[2, 1\]"),
        (with_run(latencies=[1, None]), RUN + "latencies"),
        (with_run(latencies=[-1, 1]), RUN + "latencies"),
        (with_run(counts={"a": [1, 2]}), RUN + "counts"),
        (with_run(counts={"a": [1, 2, "3"]}), RUN + "counts"),
        (with_run(body=None), RUN + "body: got None, expected text"),
        (with_run(reference=0), RUN + "reference: got 0, expected seconds"),
    ],
    ids=range(34),
)
def test_broken_or_hostile_file_is_refused_with_its_place_and_never_overwritten(
    baseline: Baseline, content: str | dict[str, Any], place: str
) -> None:
    baseline.folder.mkdir()
    text = content if isinstance(content, str) else json.dumps(content)
    baseline.path.write_text(text, encoding="utf-8")
    for use in (
        baseline.read,
        baseline.history,
        lambda: baseline.append({"a": entry()}, {}),
        lambda: baseline.accept("a"),
    ):
        with pytest.raises(FileFormatError, match=place) as caught:
            use()
        assert str(caught.value).startswith(f"{baseline.path}: no baseline")
    assert baseline.path.read_text(encoding="utf-8") == text


def test_broken_file_of_another_environment_is_found(baseline: Baseline) -> None:
    baseline.append({"a": entry()}, {})
    (baseline.folder / f"{'0' * 16}.json").write_text("{", encoding="utf-8")
    with pytest.raises(FileFormatError, match=r"0{16}\.json: no baseline: "):
        baselines_in(baseline.folder)


def test_foreign_files_in_the_folder_are_left_alone(baseline: Baseline) -> None:
    baseline.append({"a": entry()}, {})
    for name in ("package.json", "0123.json", "README.md"):
        (baseline.folder / name).write_text("mine", encoding="utf-8")
    assert [one.path for one in baselines_in(baseline.folder)] == [baseline.path]


def test_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "perf.json"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(NotADirectoryError, match=r"a baseline is a folder: '.*perf\.json'"):
        baselines_in(path)
    with pytest.raises(NotADirectoryError):
        Baseline(path, HERE).history()
    with pytest.raises(OSError, match=r"exists|directory"):
        Baseline(path, HERE).append({"a": entry()}, {})
    assert path.read_text(encoding="utf-8") == "mine"


# Kills a process before the n-th call of a function written in C, for every n; after each the file
# must be the old or the new one, and usable.
KILLER = """
    import os, sys
    from pathlib import Path
    from pytest_agentperf.judge.baseline import Baseline, Entry
    from pytest_agentperf.judge.runs import Run

    def append(number):
        Baseline(Path(sys.argv[1]), "e").append({"a": Entry(Run(number, 1), "t", "c")}, {})

    def killed_after(calls):
        left = [calls]
        def count(frame, event, arg):
            left[0] -= event == "c_call"
            if left[0] < 0:
                os._exit(9)
        pid = os.fork()
        if not pid:
            sys.setprofile(count)
            append(2)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    append(1)
    path = Baseline(Path(sys.argv[1]), "e").path
    old, seen, calls = path.read_bytes(), set(), 0
    while status := killed_after(calls):
        assert status == 9, status
        runs = [run.median for run in Baseline(path.parent, "e").history()["a"]]
        assert runs in ([1], [1, 2]), runs
        seen.add(len(runs))
        if calls % 10 == 0:
            append(3)
            assert [p.name for p in path.parent.iterdir() if p.name != ".lock"] == [path.name]
        path.write_bytes(old)
        calls += 1
    print(calls, *sorted(seen))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test forks")
def test_process_killed_at_any_point_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    done = run_program(KILLER, tmp_path / "perf").communicate()
    assert done[1] == ""
    calls, *seen = map(int, done[0].split())
    assert calls > 50
    assert seen == [1, 2]  # killed both before the file was replaced and after


WRITER = """
    import sys
    from pathlib import Path
    from pytest_agentperf.judge.baseline import Baseline, Entry
    from pytest_agentperf.judge.runs import Run
    for number in range(20):
        entry = Entry(Run(1 + number, 1), "t", "c")
        Baseline(Path(sys.argv[1]), "e").append({sys.argv[2]: entry}, {"both": entry})
"""


def run_program(source: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", textwrap.dedent(source), *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )


def test_sessions_that_write_at_once_all_end_up_in_the_file(tmp_path: Path) -> None:
    writers = [run_program(WRITER, tmp_path, name) for name in "abc"]
    assert [writer.communicate() for writer in writers] == [("", "")] * 3
    tests = Baseline(tmp_path, "e").read()
    assert {name: medians(tests[name]) for name in "abc"} == {
        name: [*range(1, 21)] for name in "abc"
    }
    assert len(tests["both"].refused) == 20


def test_full_disk_leaves_the_old_file(baseline: Baseline) -> None:
    resource = pytest.importorskip("resource")
    baseline.append({"a": entry()}, {})
    before = baseline.path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            baseline.append({"b": entry()}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert baseline.path.read_bytes() == before
    assert {path.name for path in baseline.folder.iterdir()} == {baseline.path.name, ".lock"}


@contextmanager
def no_superuser() -> Iterator[None]:
    """Give up the right to write everywhere, for a while."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs the permissions of POSIX")
def test_folder_that_may_only_be_read_is_an_error_of_the_system(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        baseline = Baseline(Path(name) / "perf", HERE)
        baseline.append({"a": entry()}, {})
        before = baseline.path.read_bytes()
        baseline.folder.chmod(0o555)
        with no_superuser(), pytest.raises(PermissionError):
            baseline.append({"b": entry()}, {})
        with no_superuser():
            assert list(baseline.history()) == ["a"]
        assert baseline.path.read_bytes() == before
        baseline.folder.chmod(0o755)
