"""Tests of hooks: placed, taken away, and left alone where another tool is on top."""

import inspect
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_agentperf.measure.hooks import Hooks


class Door:
    """Something with functions that are hooked."""

    def open(self) -> list[str]:
        """Open it."""
        return ["opened"]


@pytest.fixture(autouse=True)
def _door() -> Iterator[None]:
    before = Door.open
    yield
    Door.open = before  # type: ignore[method-assign]


@pytest.fixture
def hooks(_door: None) -> Hooks:
    hooks = Hooks()
    hooks.active = True
    return hooks


def noting(hooks: Hooks, word: str) -> Callable[[Any], Any]:
    """Return what makes hooks that add *word* while they are active."""

    def make(original: Callable[..., list[str]]) -> Callable[..., list[str]]:
        return lambda *args: [word, *original(*args)] if hooks.active else original(*args)

    return make


def test_hook_stands_in_for_a_function_until_it_is_undone(hooks: Hooks) -> None:
    before = Door.open
    assert hooks.place(Door, "open", noting(hooks, "seen"))
    assert Door().open() == ["seen", "opened"]
    assert inspect.signature(Door.open) == inspect.signature(before)
    hooks.undo()
    assert Door.open is before


def test_hook_of_an_object_leaves_nothing_behind(hooks: Hooks) -> None:
    door = Door()
    assert hooks.place(door, "open", noting(hooks, "seen"))
    assert (door.open(), Door().open()) == (["seen", "opened"], ["opened"])
    hooks.undo()
    assert vars(door) == {}


def test_hooks_are_placed_again_after_they_were_undone(hooks: Hooks) -> None:
    before = Door.open
    hooks.place(Door, "open", noting(hooks, "seen"))
    hooks.undo()
    hooks.active = True
    hooks.place(Door, "open", noting(hooks, "seen"))
    assert Door().open() == ["seen", "opened"]
    hooks.undo()
    hooks.undo()
    assert Door.open is before


@pytest.mark.parametrize(
    ("owner", "name"), [(Door, "close"), (None, "open"), (object(), "__str__"), (str, "upper")]
)
def test_hook_that_cannot_be_placed_says_so(hooks: Hooks, owner: object, name: str) -> None:
    assert not hooks.place(owner, name, noting(hooks, "seen"))
    hooks.undo()


def test_hook_of_a_class_method_or_an_inherited_function_gets_what_the_class_returns(
    hooks: Hooks,
) -> None:
    class Front(Door):
        @classmethod
        def name(cls) -> list[str]:
            return [cls.__name__]

    assert hooks.place(Front, "name", noting(hooks, "hooked"))
    assert hooks.place(Front, "open", noting(hooks, "hooked"))
    assert (Front.__dict__["name"](), Front().open()) == (["hooked", "Front"], ["hooked", "opened"])
    assert Door().open() == ["opened"]


def test_class_is_not_asked_for_its_functions_since_each_answer_takes_a_version(
    hooks: Hooks,
) -> None:
    asked = set()

    class Noted(type):
        def __getattribute__(cls, name: str) -> Any:
            asked.add(name)
            return super().__getattribute__(name)

    class Gate(Door, metaclass=Noted):
        def close(self) -> list[str]:
            return ["closed"]

    gate = Gate()
    for name in ("open", "close"):
        assert hooks.place(Gate, name, noting(hooks, "hooked"))
    assert (gate.open(), gate.close()) == (["hooked", "opened"], ["hooked", "closed"])
    hooks.undo()
    assert (gate.open(), gate.close()) == (["opened"], ["closed"])
    assert not asked & {"open", "close"}


def test_hook_that_its_maker_declines_is_not_placed(hooks: Hooks) -> None:
    before = Door.open
    assert not hooks.place(Door, "open", lambda original: None)
    assert Door.open is before


def test_hook_of_another_tool_on_top_stays_and_ours_sleeps(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks.place(Door, "open", noting(hooks, "seen"))
    ours = Door.open
    with monkeypatch.context() as theirs:
        theirs.setattr(Door, "open", lambda door: ["theirs", *ours(door)])
        assert Door().open() == ["theirs", "seen", "opened"]
        hooks.undo()
        assert Door().open() == ["theirs", "opened"]


def test_hook_that_another_tool_put_back_is_not_built_upon(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    below: list[object] = []

    def make(original: Any) -> Any:
        below.append(original)
        return noting(hooks, "seen")(original)

    before, ended = Door.open, Hooks()
    ended.active = True
    ended.place(Door, "open", noting(ended, "seen"))
    ours = Door.open
    with monkeypatch.context() as theirs:
        theirs.setattr(Door, "open", lambda door: ["theirs", *ours(door)])
        ended.undo()
    assert Door.open is ours  # put back by a tool that ended after us
    hooks.place(Door, "open", make)
    assert below == [before]


def test_hooks_of_two_watches_are_built_upon_each_other(hooks: Hooks) -> None:
    before, inner = Door.open, Hooks()
    inner.active = True
    hooks.place(Door, "open", noting(hooks, "outer"))
    inner.place(Door, "open", noting(inner, "inner"))
    assert Door().open() == ["inner", "outer", "opened"]
    inner.undo()
    assert Door().open() == ["outer", "opened"]
    hooks.undo()
    assert Door.open is before


@pytest.mark.parametrize("owner", [Door, Door()])
def test_hooks_of_two_watches_of_which_the_outer_ends_first_are_both_taken_away(
    hooks: Hooks, owner: Any
) -> None:
    before, inner = dict(vars(owner)), Hooks()
    inner.active = True
    hooks.place(owner, "open", noting(hooks, "outer"))
    inner.place(owner, "open", noting(inner, "inner"))
    hooks.undo()
    inner.undo()
    assert dict(vars(owner)) == before


def test_hook_copied_by_another_tool_is_not_taken_for_ours(hooks: Hooks) -> None:
    def theirs() -> list[str]:
        return ["theirs"]

    module: Any = SimpleNamespace(open=lambda: ["opened"])
    hooks.place(module, "open", noting(hooks, "seen"))
    theirs.__dict__.update(module.open.__dict__)  # as `functools.wraps` does
    hooks.undo()
    module.open = theirs
    hooks.active = True
    hooks.place(module, "open", noting(hooks, "seen"))
    assert module.open() == ["seen", "theirs"]
    hooks.undo()
    assert module.open is theirs
