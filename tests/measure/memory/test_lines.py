"""Lines: which line is to blame for what is held."""

import json
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_agentperf.measure.memory import lines
from pytest_agentperf.measure.memory.lines import (
    AllocationLine,
    HeldLines,
    held_by_line,
    held_lines,
)

TEXT = json.dumps([f"text {number}" for number in range(1000)])
HERE = f"{Path(__file__).relative_to(Path.cwd())}"


@pytest.fixture(params=[1, 10])
def frames(request: pytest.FixtureRequest) -> Iterator[int]:
    tracemalloc.start(request.param)
    yield request.param
    tracemalloc.stop()


def grown(frames: int) -> HeldLines:
    return held_lines(held_by_line(), {}, frames=frames)


def test_line_of_the_user_is_named_with_its_source(frames: int) -> None:
    number = sys._getframe().f_lineno + 1
    kept = [bytes(1000) for _ in range(100)]
    line = grown(frames).lines[0]
    assert (line.file, line.line, line.owner) == (HERE, number, "")
    assert line.source == "kept = [bytes(1000) for _ in range(100)]"
    assert line.size == pytest.approx(sum(map(sys.getsizeof, kept)), rel=0.02)
    assert line.count == pytest.approx(len(kept), abs=3)


def test_line_of_the_user_behind_a_library_is_named_with_ten_frames(frames: int) -> None:
    kept = json.loads(TEXT)
    held = grown(frames)
    if frames == 10:
        assert held.lines[0].source == "kept = json.loads(TEXT)"
        assert held.notes == ()
    else:
        assert held.lines[0].file.endswith("json/decoder.py")
        assert held.lines[0].owner == "the standard library"
        assert held.notes == (
            (
                "some of the lines are in libraries; frames=10 names the lines of yours that called"
                " them"
            ),
        )
    del kept


def test_what_is_ours_is_not_named(frames: int) -> None:
    held_by_line()
    kept = held_by_line()
    named = grown(frames).lines
    assert not any("pytest_agentperf/" in line.file for line in named)
    assert not any(line.file.endswith(("tracemalloc.py", "linecache.py")) for line in named)
    del kept


def test_lines_that_grew_are_those_of_later_without_those_of_before() -> None:
    before = {("a.py", 1): (100, 1), ("a.py", 2): (500, 5), ("a.py", 3): (50, 1)}
    after = {("a.py", 1): (400, 3), ("a.py", 2): (500, 5), ("b.py", 9): (1000, 2)}
    assert held_lines(after, before, frames=10).lines == (
        AllocationLine("b.py", 9, 1000, 2),
        AllocationLine("a.py", 1, 300, 2),
    )


def test_lines_are_a_hundred_at_most() -> None:
    after = {("a.py", number): (number, 1) for number in range(1, 200)}
    found = held_lines(after, {}).lines
    assert len(found) == 100
    assert found[0].size == 199


def test_too_many_blocks_name_no_lines(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_MOST_BLOCKS", 10)
    kept = [bytes(10) for _ in range(1000)]
    assert held_by_line() is None
    assert "1,000,000 blocks" in grown(frames).notes[0]
    del kept


def test_results_are_sentences() -> None:
    line = AllocationLine("agent.py", 41, 20_000_000, 12_345, "kept.append(text)")
    assert str(line) == "20 MB in 12,345 blocks at agent.py:41: kept.append(text)"
    library = AllocationLine("json/decoder.py", 353, 1000, 1, owner="the standard library")
    assert str(library) == "1 kB in 1 block at json/decoder.py:353 (the standard library)"
    assert str(HeldLines((line, library))) == f"{line}\n{library}"
    assert str(HeldLines()) == "nothing is held"
