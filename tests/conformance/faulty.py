"""Small components, one right of each kind and many wrong: one fault each, as seen in the wild."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T", bound=type)


@dataclass(frozen=True, slots=True)
class Fault:
    """A wrong component, and the test that must find it."""

    component: type
    caught_by: str


FAULTS: list[Fault] = []


def caught_by(test: str) -> Callable[[T], T]:
    """Enter a wrong component into the list."""

    def enter(component: T) -> T:
        FAULTS.append(Fault(component, test))
        return component

    return enter


def faults_of(base: type) -> list[Fault]:
    return [fault for fault in FAULTS if issubclass(fault.component, base)]
