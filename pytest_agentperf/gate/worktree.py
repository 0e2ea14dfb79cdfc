"""The base of a duet: a revision, checked out in a git worktree in a temporary folder.

The head is the tree as it lies there, with whatever is not committed.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_agentperf.gate.errors import BrokenGateError

__all__ = ["Base", "checked_out", "find_base"]

_NAME: Final = "base"
# A line of `git worktree list --porcelain` that is about a worktree of ours.
_OURS: Final = re.compile(rf"worktree (.+/agentperf-(\d+)-[^/]+)/{_NAME}")
# Set by git for its hooks; here they would name another repository.
_INHERITED: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")


@dataclass(frozen=True, slots=True)
class Base:
    """A revision of a repository.

    Attributes:
        top: The repository's top folder.
        ref: What the user calls the revision.
        commit: Its full hash.
    """

    top: Path
    ref: str
    commit: str

    @property
    def title(self) -> str:
        """What messages call it: `origin/main@a1b2c3d`."""
        return f"{self.ref}@{self.commit[:7]}"


def find_base(folder: Path, ref: str) -> Base:
    """Return the revision *ref* of the repository around *folder*.

    Raises:
        BrokenGateError: There is no git, no repository, or no such revision.
    """
    if not ref or ref.startswith("-"):
        raise BrokenGateError(f"--perf-against {ref!r}: expected a revision, as in origin/main")
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top.returncode:
        raise BrokenGateError(
            f"--perf-against {ref}: {folder} is in no work tree of git ({_reason(top)}); run it"
            " inside of one"
        )
    found = _git(folder, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    if found.returncode:
        raise BrokenGateError(f"--perf-against {ref}: {_explain_unknown(folder, ref)}")
    return Base(Path(top.stdout.rstrip("\n")).resolve(), ref, found.stdout.strip())


def _explain_unknown(folder: Path, ref: str) -> str:
    """Return why *ref* may be unknown, and the cure."""
    if _git(folder, "rev-parse", "--is-shallow-repository").stdout.strip() == "true":
        return (
            "no such revision in this shallow clone; fetch it with its history (git fetch"
            " --unshallow, or fetch-depth: 0 of actions/checkout)"
        )
    remote, slash, branch = ref.partition("/")
    cure = f"git fetch {remote} {branch}" if slash else "git fetch --all --tags"
    return f"no such revision in {folder}; check the spelling, or fetch it: {cure}"


@contextmanager
def checked_out(base: Base) -> Iterator[Path]:
    """Check *base* out for the time of this context, in the folder `base` of the one that it gives.

    What earlier processes left behind when they crashed is removed first.

    Raises:
        BrokenGateError: Git could not do it.
    """
    _remove_stale(base.top)
    folder = Path(tempfile.mkdtemp(prefix=f"agentperf-{os.getpid()}-")).resolve()
    try:
        checkout = ("worktree", "add", "--detach", folder / _NAME, base.commit)
        added = _git(base.top, *_NO_HOOKS, *checkout)
        if added.returncode:
            raise BrokenGateError(
                f"--perf-against {base.ref}: git could not check it out ({_reason(added)})"
            )
        yield folder
    finally:
        _remove(base.top, folder)


_NO_HOOKS: Final = ("-c", f"core.hooksPath={os.devnull}")


def _remove(top: Path, folder: Path) -> None:
    _git(top, "worktree", "remove", "--force", folder / _NAME)
    shutil.rmtree(folder, ignore_errors=True)


def _remove_stale(top: Path) -> None:
    """Remove the worktrees of processes that ended without doing so."""
    import psutil  # costly

    temporary = Path(tempfile.gettempdir()).resolve()
    listed = _git(top, "worktree", "list", "--porcelain").stdout.splitlines()
    for line in listed:
        ours = _OURS.fullmatch(line)
        # Where it was made, and nowhere else: what is removed here is gone.
        if ours and Path(ours[1]).parent == temporary and not psutil.pid_exists(int(ours[2])):
            _remove(top, Path(ours[1]))


def _git(folder: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run git in *folder*."""
    environment = {name: value for name, value in os.environ.items() if name not in _INHERITED}
    try:
        return subprocess.run(  # noqa: S603 -- no shell, and the revision was checked
            ["git", "-C", folder, *arguments],  # noqa: S607 -- the user's own git
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="surrogateescape",
            env={**environment, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        raise BrokenGateError(
            f"--perf-against needs git, which could not be run ({error.strerror}); install it, or"
            " put it on the PATH"
        ) from error


def _reason(failed: "subprocess.CompletedProcess[str]") -> str:
    """Return what git says went wrong, in a line."""
    lines = [line for line in failed.stderr.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return next(iter([*fatal, *lines]), f"git ended with {failed.returncode}")
