"""Projects under git, and with a history, for tests of the gate."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.plugin.conftest import Project

__all__ = ["TOOLS", "Repository", "git", "kept", "make_history", "stored", "wait_for"]

CODE = """
    class Agent:
        def ask(self):
            for _ in range(TOOLS):
                self.call_tool()
        def call_tool(self):
            pass
    def counted(perf_timer, tools):
        global TOOLS
        TOOLS = tools
        agent = Agent()
        perf_timer.count(agent, "call_tool", metric="tool_calls")
        perf_timer(agent.ask)
"""
TOOLS = """
    import agents
    def test_tools(perf_timer):
        agents.counted(perf_timer, agents.WANTED)
"""


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Repository:
    """A project under git, in which pytest runs apart and without the plugins of others."""

    def __init__(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project = project
        self.path = project.path
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        monkeypatch.delenv("PYTEST_PLUGINS", raising=False)
        project.write("pytest.ini", "[pytest]\n")
        project.write(".gitignore", ".pytest_cache\n__pycache__\n")
        git(self.path, "init", "-q")

    def write(self, name: str, text: str) -> None:
        self.project.write(name, text)

    def agents(self, wanted: int, name: str = "agents.py") -> None:
        """Write the code under test, whose agent calls its tool *wanted* times."""
        self.project.write(name, CODE)
        with (self.path / name).open("a") as file:
            file.write(f"WANTED = {wanted}\n")

    def commit(self) -> None:
        git(self.path, "add", "-A")
        git(self.path, "commit", "-qm", "m")

    def run(self, *arguments: str, pairs: int = 2) -> pytest.RunResult:
        options = ("-ppytest_agentperf.plugin", "--perf-against=HEAD", f"--perf-pairs={pairs}")
        return self.project.run_apart(*options, *arguments)

    @property
    def worktrees(self) -> list[str]:
        """The worktrees of the repository, but for its own."""
        listed = git(self.path, "worktree", "list", "--porcelain").splitlines()
        return [line for line in listed if line.startswith("worktree ")][1:]


def stored(project: Project, folder: str = "perf") -> Path:
    (path,) = (project.path / folder).glob("*.json")
    return path


def kept(project: Project) -> dict[str, tuple[int, int]]:
    """Return how many runs are accepted and refused, by test."""
    tests = json.loads(stored(project).read_text(encoding="utf-8"))["tests"]
    return {name: (len(past["runs"]), len(past["refused"])) for name, past in tests.items()}


def make_history(project: Project, factor: float, runs: int = 10, **changes: Any) -> None:
    """Let the history of every test be *runs* runs, *factor* times as long as its newest one."""
    path = stored(project)
    content = json.loads(path.read_text(encoding="utf-8"))
    for past in content["tests"].values():
        newest = past["runs"][-1]
        scales = [factor * (1 + number % 3 / 100) for number in range(runs)]
        past["runs"] = [
            newest
            | {"median": newest["median"] * scale, "latencies": [], "reference": None}
            | changes
            for scale in scales
        ]
    path.write_text(json.dumps(content), encoding="utf-8")


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)
