"""Tests of bases: revisions that are found, checked out and removed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_agentperf.gate.errors import BrokenGateError
from pytest_agentperf.gate.worktree import checked_out, find_base

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def worktrees(folder: Path) -> int:
    """Return how many worktrees the repository has beside its own."""
    return git(folder, "worktree", "list", "--porcelain").count("worktree ") - 1


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with two commits, whose path has a blank."""
    folder = tmp_path / "my repo"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for text in ("old", "new"):
        (folder / "code.py").write_text(text)
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", text)
    return folder


def test_base_is_checked_out_beside_a_dirty_head_and_removed(repository: Path) -> None:
    (repository / "code.py").write_text("newest")
    (repository / "sub").mkdir()
    base = find_base(repository / "sub", "main~1")
    assert base.top == repository
    assert base.title == f"main~1@{git(repository, 'rev-parse', 'main~1')[:7]}"
    with checked_out(base) as folder:
        assert (folder / "base" / "code.py").read_text() == "old"
        assert (repository / "code.py").read_text() == "newest"
    assert not folder.exists()
    assert worktrees(repository) == 0


def test_base_is_removed_after_an_error(repository: Path) -> None:
    folders = []

    def interrupted() -> None:
        with checked_out(find_base(repository, "main")) as folder:
            folders.append(folder)
            (folder / "base" / "code.py").write_text("changed")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not folders[0].exists()
    assert worktrees(repository) == 0


def test_base_of_a_process_that_crashed_is_removed_by_the_next_one(repository: Path) -> None:
    crash = (
        "import os, pathlib, sys\n"
        "from pytest_agentperf.gate.worktree import checked_out, find_base\n"
        "with checked_out(find_base(pathlib.Path(sys.argv[1]), 'main')) as folder:\n"
        "    print(folder, flush=True)\n"
        "    os._exit(9)"
    )
    command = [sys.executable, "-c", crash, str(repository)]
    left = Path(subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip())
    assert (left / "base").is_dir()
    assert worktrees(repository) == 1
    with checked_out(find_base(repository, "main")):
        assert not left.exists()
        assert worktrees(repository) == 1


def test_base_of_a_process_that_lives_and_worktrees_of_others_stay(
    repository: Path, tmp_path: Path
) -> None:
    git(repository, "worktree", "add", "--detach", str(tmp_path / "base"))
    base = find_base(repository, "main")
    with checked_out(base) as first, checked_out(base) as second:
        assert (first / "base").is_dir()
        assert (second / "base").is_dir()
    assert (tmp_path / "base" / "code.py").exists()
    assert worktrees(repository) == 1


def test_detached_head_and_linked_worktree_are_no_obstacle(
    repository: Path, tmp_path: Path
) -> None:
    linked = tmp_path / "linked"
    git(repository, "worktree", "add", "--detach", str(linked))
    with checked_out(find_base(linked, "HEAD~1")) as folder:
        assert (folder / "base" / "code.py").read_text() == "old"


def test_repository_that_a_hook_of_git_names_is_not_meant(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(repository / "nowhere"))
    assert find_base(repository, "main").top == repository


def test_hooks_of_the_repository_do_not_run(repository: Path) -> None:
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{repository}/hooked'\n")
    hook.chmod(0o755)
    with checked_out(find_base(repository, "main")):
        assert not (repository / "hooked").exists()


def refusal(folder: Path, ref: str) -> str:
    with pytest.raises(BrokenGateError) as caught:
        find_base(folder, ref)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_missing_revision_is_refused_with_its_cure(repository: Path) -> None:
    assert refusal(repository, "origin/main") == (
        f"--perf-against origin/main: no such revision in {repository}; check the spelling, or"
        " fetch it: git fetch origin main"
    )
    assert refusal(repository, "v9").endswith("git fetch --all --tags")


@pytest.mark.parametrize("ref", ["", "--help", "HEAD:code.py", "HEAD..main"])
def test_what_is_no_revision_is_refused(repository: Path, ref: str) -> None:
    assert "revision" in refusal(repository, ref)


def test_shallow_clone_is_named_as_the_cause(repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth=1", repository.as_uri(), "shallow")
    assert "in this shallow clone; fetch it with its history (git fetch --unshallow" in refusal(
        tmp_path / "shallow", "HEAD~1"
    )


def test_folder_without_a_repository_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert f"{tmp_path} is in no work tree of git (fatal: not a git" in refusal(tmp_path, "main")


def test_missing_git_is_refused(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    assert "needs git, which could not be run" in refusal(repository, "main")


def test_worktree_that_git_cannot_make_is_refused(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = find_base(repository, "main")
    shutil.move(repository / ".git" / "objects", repository / "gone")
    (repository / ".git" / "objects").mkdir()
    with pytest.raises(BrokenGateError, match="git could not check it out"), checked_out(base):
        pytest.fail("it was checked out")
