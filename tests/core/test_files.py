"""Tests of reading and writing files."""

import os
from pathlib import Path

import pytest

from pytest_agentperf.core import files
from pytest_agentperf.core.errors import FileFormatError
from pytest_agentperf.core.files import read_text, write_text


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_text_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    write_text(path, "µs\r\nzweite\n")
    assert read_text(path) == "µs\r\nzweite\n"
    write_text(path, "other")
    assert read_text(path) == "other"
    assert names(path.parent) == ["a.txt"]


def test_file_at_the_bound_is_read_and_a_larger_one_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_LARGEST", 10)
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 10)
    assert read_text(path) == "x" * 10
    path.write_bytes(b"x" * 11)
    with pytest.raises(FileFormatError, match=r"a\.txt: larger than 50 MB, which no file of this"):
        read_text(path)


def test_bound_is_50_mb() -> None:
    assert files._LARGEST == 50_000_000


def test_file_that_is_no_text_is_refused_with_the_place(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"abc\xff")
    with pytest.raises(
        FileFormatError, match=r"a\.txt: no UTF-8 text at byte 3; save it as UTF-8$"
    ):
        read_text(path)


def test_file_that_is_missing_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "none")


def test_old_file_stays_when_the_new_one_cannot_be_put_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")

    def refuse(*args: object) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError):
        write_text(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [OSError(28, "no space left"), KeyboardInterrupt()])
def test_old_file_stays_when_writing_is_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")
    seen = []

    def fail(descriptor: int) -> None:
        seen.append(names(tmp_path))
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error)):
        write_text(path, "new")
    assert len(seen[0]) == 2  # the unfinished file stood beside the old one
    assert path.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["a.txt"]


def test_text_that_cannot_be_encoded_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "\ud800")
    assert names(tmp_path) == []


def test_text_that_could_not_be_read_back_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_LARGEST", 10)
    path = tmp_path / "a.txt"
    write_text(path, "x" * 10)
    with pytest.raises(OSError, match=r"larger than the 50 MB that could be read back: '.*a\.txt'"):
        write_text(path, "x" * 11)
    assert read_text(path) == "x" * 10
