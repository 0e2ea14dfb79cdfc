"""Patches: attributes of every kind of owner, replaced and put back."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from pytest_agentperf.core.errors import UsageError
from pytest_agentperf.measure.patching import Patches


class Agent:
    """An agent with a method of each kind."""

    def ask(self, question: str) -> str:
        return f"{question}!"

    @staticmethod
    def static(question: str) -> str:
        return f"{question}!"

    @classmethod
    def of_class(cls, question: str) -> str:
        return f"{cls.__name__} {question}!"


class Child(Agent):
    """An agent that inherits all of them."""


@dataclass(frozen=True)
class Frozen:
    """An agent that refuses to be changed."""

    reply: Callable[[str], str]

    def ask(self, question: str) -> str:
        return f"{question}!"


@dataclass(frozen=True, slots=True)
class FrozenSlots:
    """An agent that refuses and has no `__dict__`."""

    reply: Callable[[str], str]

    def ask(self, question: str) -> str:
        return f"{question}!"


class Slots:
    """An agent whose callable stands in a slot."""

    __slots__ = ("reply",)

    def __init__(self) -> None:
        self.reply: Callable[[str], str] = exclaim


class Model(BaseModel):
    """An agent that is a model of pydantic."""

    reply: Any

    def ask(self, question: str) -> str:
        return f"{question}!"


class FrozenModel(Model):
    """The same, frozen."""

    model_config = ConfigDict(frozen=True)


def exclaim(question: str) -> str:
    return f"{question}!"


def doubled(func: Callable[..., str]) -> Callable[..., str]:
    return lambda *args: 2 * func(*args)


@pytest.fixture
def patches() -> Patches:
    return Patches()


OWNERS: list[tuple[Callable[[], Any], str]] = [
    (Agent, "ask"),
    (Child, "ask"),
    (Agent, "static"),
    (lambda: Frozen(exclaim), "ask"),
    (lambda: Frozen(exclaim), "reply"),
    (lambda: FrozenSlots(exclaim), "reply"),
    (Slots, "reply"),
    (lambda: Model(reply=exclaim), "ask"),
    (lambda: Model(reply=exclaim), "reply"),
    (lambda: FrozenModel(reply=exclaim), "ask"),
    (lambda: FrozenModel(reply=exclaim), "reply"),
]


@pytest.mark.parametrize(("make", "name"), OWNERS)
def test_patch_of_an_instance_is_used_and_undone(
    patches: Patches, make: Callable[[], Any], name: str
) -> None:
    owner, other = make(), make()
    before = dict(getattr(owner, "__dict__", {}))
    patches.replace(owner, name, doubled)
    assert getattr(owner, name)("a") == "a!a!"
    assert getattr(other, name)("a") == "a!"
    patches.undo()
    assert getattr(owner, name)("a") == "a!"
    assert getattr(owner, "__dict__", {}) == before


@pytest.mark.parametrize("kind", [Agent, Frozen, FrozenSlots, Model])
def test_patch_of_a_class_holds_for_its_instances(patches: Patches, kind: type) -> None:
    owner = kind() if kind is Agent else kind(reply=exclaim)
    raw = vars(kind)["ask"]
    patches.replace(kind, "ask", doubled)
    assert owner.ask("a") == "a!a!"
    patches.undo()
    assert owner.ask("a") == "a!"
    assert vars(kind)["ask"] is raw


@pytest.mark.parametrize(("name", "reply"), [("static", "a!"), ("of_class", "Agent a!")])
def test_patch_of_a_static_or_class_method_is_put_back_as_such(
    patches: Patches, name: str, reply: str
) -> None:
    raw = vars(Agent)[name]
    patches.replace(Agent, name, doubled)
    assert getattr(Agent, name)("a") == 2 * reply
    assert getattr(Agent(), name)("a") == 2 * reply
    patches.undo()
    assert vars(Agent)[name] is raw
    assert getattr(Agent(), name)("a") == reply


def test_patch_of_an_inherited_method_is_removed_from_the_class(patches: Patches) -> None:
    patches.replace(Child, "ask", doubled)
    assert Child().ask("a") == "a!a!"
    assert Agent().ask("a") == "a!"
    patches.undo()
    assert "ask" not in vars(Child)
    assert Child().ask("a") == "a!"


def test_patch_of_an_instance_attribute_is_put_back(patches: Patches) -> None:
    owner = Agent()
    owner.ask = exclaim  # type: ignore[method-assign]
    patches.replace(owner, "ask", doubled)
    assert owner.ask("a") == "a!a!"
    patches.undo()
    assert owner.ask is exclaim


def test_patch_of_a_module_is_undone(patches: Patches) -> None:
    module: Any = ModuleType("tools")
    module.call = exclaim
    patches.replace(module, "call", doubled)
    assert module.call("a") == "a!a!"
    patches.undo()
    assert module.call is exclaim


def test_patches_of_the_same_attribute_are_undone_in_reverse_order(patches: Patches) -> None:
    owner = Agent()
    patches.replace(owner, "ask", doubled)
    patches.replace(owner, "ask", doubled)
    assert owner.ask("a") == "a!a!a!a!"
    patches.undo()
    assert owner.ask("a") == "a!"
    assert vars(owner) == {}


def test_patches_are_undone_once(patches: Patches) -> None:
    owner = Agent()
    patches.replace(owner, "ask", doubled)
    patches.undo()
    owner.ask = exclaim  # type: ignore[method-assign]
    patches.undo()
    assert owner.ask is exclaim


def test_patch_of_an_absent_attribute_is_refused(patches: Patches) -> None:
    with pytest.raises(UsageError, match=r"has no attribute 'aks'; expected a method of it"):
        patches.replace(Agent(), "aks", doubled)


def test_patch_of_what_is_no_method_is_refused(patches: Patches) -> None:
    owner = Model(reply="Paris")
    with pytest.raises(UsageError, match=r"'reply' of .* is 'Paris'; expected a method"):
        patches.replace(owner, "reply", doubled)
    assert owner.reply == "Paris"


@pytest.mark.parametrize(
    ("owner", "name"),
    [(FrozenSlots(exclaim), "ask"), (Slots, "__class__"), (str, "upper"), ("text", "upper")],
    ids=["slots", "class", "builtin-type", "builtin"],
)
def test_patch_that_cannot_be_set_is_refused_with_its_cure(
    patches: Patches, owner: object, name: str
) -> None:
    with pytest.raises(UsageError, match=r"cannot be set \(.*\); wrap the method with perf_timer"):
        patches.replace(owner, name, doubled)
    patches.undo()  # and nothing is left to undo
    assert "text".upper() == "TEXT"
